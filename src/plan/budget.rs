//! Size budgets: checked when every layer is finished and before anything is written or sent.

use crate::layer::{LargeFile, LayerBlob};
use crate::project::Budget;
use crate::text::{Align, Table, size};

use super::Error;

/// How many layers and files the table of an image over its budget shows.
const SHOWN: usize = 10;

/// What an image weighs.
pub struct Weight<'a> {
    /// All layers, base first.
    pub layers: &'a [LayerBlob],
    /// The largest files of Ingot's own layers, with the layer's name.
    pub files: &'a [(String, LargeFile)],
    /// What the files of each input (a wheel, a module of the application) weigh, unpacked.
    pub inputs: &'a [(String, u64)],
}

impl Weight<'_> {
    fn compressed(&self) -> u64 {
        self.layers.iter().map(|layer| layer.descriptor.size).fold(0, u64::saturating_add)
    }

    fn uncompressed(&self) -> u64 {
        self.layers.iter().filter_map(|layer| layer.uncompressed_size).fold(0, u64::saturating_add)
    }
}

/// What is over the budget, in words; nothing if it holds.
pub fn excesses(budget: &Budget, weight: &Weight<'_>) -> Vec<String> {
    let mut excesses = Vec::new();
    let mut check = |what: &str, limit: Option<u64>, found: u64| {
        if let Some(limit) = limit.filter(|limit| found > *limit) {
            excesses.push(format!("{what} {} of {} allowed", size(found), size(limit)));
        }
    };
    check("compressed", budget.compressed, weight.compressed());
    check("uncompressed", budget.uncompressed, weight.uncompressed());
    for layer in weight.layers {
        check(&format!("layer `{}`", layer.name), budget.layer, layer.descriptor.size);
    }
    if let Some(limit) = budget.layers.filter(|limit| weight.layers.len() as u64 > u64::from(*limit)) {
        excesses.push(format!("{} layers of {limit} allowed", weight.layers.len()));
    }
    excesses
}

/// An error with the largest layers, packages and files, if the budget does not hold.
pub fn check(image: &str, budget: &Budget, weight: &Weight<'_>) -> Result<(), Error> {
    let excesses = excesses(budget, weight);
    if excesses.is_empty() {
        Ok(())
    } else {
        Err(Error::OverBudget { image: image.into(), excesses, table: table(weight) })
    }
}

fn table(weight: &Weight<'_>) -> String {
    let mut layers: Vec<&LayerBlob> = weight.layers.iter().collect();
    layers.sort_by(|a, b| b.descriptor.size.cmp(&a.descriptor.size).then_with(|| a.name.cmp(&b.name)));
    let mut out =
        Table::new([("largest layers", Align::Left), ("compressed", Align::Right), ("unpacked", Align::Right)]);
    for layer in layers.iter().take(SHOWN) {
        let unpacked = layer.uncompressed_size.map_or("?".into(), size);
        out.row([layer.name.clone(), size(layer.descriptor.size), unpacked]);
    }
    let mut text = out.render();
    let mut inputs = weight.inputs.to_vec();
    inputs.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut packages = Table::new([("largest packages and sources", Align::Left), ("unpacked", Align::Right)]);
    inputs.iter().take(SHOWN).for_each(|(input, bytes)| packages.row([input.clone(), size(*bytes)]));
    let mut files: Vec<&(String, LargeFile)> = weight.files.iter().collect();
    files.sort_by(|a, b| b.1.size.cmp(&a.1.size).then_with(|| a.1.path.cmp(&b.1.path)));
    let mut out = Table::new([("largest files", Align::Left), ("unpacked", Align::Right), ("layer", Align::Left)]);
    for (layer, file) in files.iter().take(SHOWN) {
        out.row([format!("/{}", file.path), size(file.size), layer.clone()]);
    }
    for more in [packages, out] {
        if !more.is_empty() {
            text.push('\n');
            text.push_str(&more.render());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Origin;
    use crate::oci::{Descriptor, Digest, media_type};

    fn layer(name: &str, size: u64) -> LayerBlob {
        LayerBlob {
            descriptor: Descriptor::new(media_type::LAYER_GZIP, Digest::of(name.as_bytes()), size),
            diff_id: Digest::of(b""),
            uncompressed_size: Some(size * 3),
            name: name.into(),
            created_by: String::new(),
            origin: Origin::Store,
        }
    }

    #[test]
    fn every_limit_is_checked_and_the_table_names_the_largest() {
        let layers = [layer("base 1/1", 30_000_000), layer("venv", 70_000_000)];
        let file = LargeFile { path: "opt/venv/x.so".into(), size: 60_000_000, input: "wheel `x`".into() };
        let inputs = [("wheel `x`".to_string(), 65_000_000)];
        let weight = Weight { layers: &layers, files: &[("venv".to_string(), file)], inputs: &inputs };
        let fits = Budget { compressed: Some(100_000_000), layers: Some(2), ..Budget::default() };
        assert!(check("x", &fits, &weight).is_ok());
        let tight =
            Budget { compressed: Some(99_999_999), uncompressed: Some(1), layer: Some(50_000_000), layers: Some(1) };
        let error = check("gameforge (cpu)", &tight, &weight).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`gameforge (cpu)` is over its budget: compressed 100.0 MB of 100.0 MB allowed; uncompressed 300.0 MB of \
             1 B allowed; layer `venv` 70.0 MB of 50.0 MB allowed; 2 layers of 1 allowed"
        );
        let table = table(&weight);
        assert!(table.starts_with("LARGEST LAYERS  COMPRESSED  UNPACKED\nvenv               70.0 MB"), "{table}");
        assert!(table.contains("wheel `x`                      65.0 MB"), "{table}");
        assert!(table.contains("/opt/venv/x.so   60.0 MB  venv"), "{table}");
    }
}
