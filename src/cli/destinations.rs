//! Where the images of a build go: `-o`, `-t`, `--push`, and the default.
//!
//! With several variants, each needs a place of its own: `{variant}` in a destination or a tag stands for the
//! variant's name, and a layout without a tag gets the variant as its tag.

use std::sync::Arc;

use crate::build::Leaving;
use crate::error::Result;
use crate::image::{Access, Early, ImageName, Sink, sink};
use crate::layer::LayerBlob;
use crate::oci::Reference;

use super::args::Build;
use super::settings::Error;

/// The placeholder for the variant's name.
const PLACEHOLDER: &str = "{variant}";

/// The destinations of one variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destinations {
    /// What the image is called: its first tag.
    pub reference: Option<Reference>,
    /// Where it is written to.
    pub outputs: Vec<ImageName>,
}

/// What can be said of the destinations before anything is planned.
pub fn check(build: &Build) -> Result<()> {
    if build.push && build.tag.is_empty() {
        let advice = "say where to with -t REGISTRY/REPOSITORY:TAG, or use -o docker://REF";
        return Err(Error::usage("--push needs a tag", advice).into());
    }
    Ok(())
}

/// For each of `variants`: where it goes. `names` are their images' names.
pub fn destinations(build: &Build, variants: &[(String, String)]) -> Result<Vec<Destinations>> {
    let several = variants.len() > 1;
    for text in build.tag.iter().chain(&build.output) {
        let layout = text.strip_prefix("oci:").is_some_and(|rest| !rest.contains(':'));
        if several && !text.contains(PLACEHOLDER) && !(layout && build.output.contains(text)) {
            let problem = format!("`{text}` is one place, but there are {} variants", variants.len());
            return Err(Error::usage(problem, format!("write {PLACEHOLDER} where the variant's name belongs")).into());
        }
    }
    variants.iter().map(|(variant, name)| one(build, variant, name, several)).collect()
}

fn one(build: &Build, variant: &str, name: &str, several: bool) -> Result<Destinations> {
    let fill = |text: &String| text.replace(PLACEHOLDER, variant);
    let tags = build.tag.iter().map(|tag| Ok(fill(tag).parse::<Reference>()?)).collect::<Result<Vec<_>>>()?;
    let mut outputs = Vec::new();
    for template in &build.output {
        let text = &fill(template);
        let mut output: ImageName = text.parse()?;
        // `docker build -o DIR` writes a folder: a plain name must not push.
        if matches!(output, ImageName::Registry(_)) && !text.starts_with("docker://") {
            let problem = format!("`{text}` does not say what kind of place it is");
            return Err(Error::usage(problem, format!("write `oci:{text}` or `docker://{text}`")).into());
        }
        if let ImageName::OciLayout { tag: tag @ None, .. } = &mut output
            && several
            && !template.contains(PLACEHOLDER)
        {
            *tag = Some(variant.to_string());
        }
        outputs.push(output);
    }
    if build.push {
        outputs.extend(tags.iter().cloned().map(ImageName::Registry));
    }
    if outputs.is_empty() {
        let tag = tags.first().and_then(Reference::tag).unwrap_or("latest");
        let folder = format!("dist/{}-{variant}", name.replace('/', "-"));
        outputs.push(ImageName::OciLayout { dir: folder.into(), tag: Some(tag.to_string()) });
    }
    Ok(Destinations { reference: tags.into_iter().next(), outputs })
}

/// The destinations of all variants, one after the other, each with the variant that it gets.
pub fn sinks(
    variants: &[(String, String)],
    places: &[Destinations],
    access: &Access,
) -> Result<Vec<(String, Arc<dyn Sink>)>> {
    let mut sinks: Vec<(String, Arc<dyn Sink>)> = Vec::new();
    for ((variant, _), place) in variants.iter().zip(places) {
        for output in &place.outputs {
            sinks.push((variant.clone(), sink(output, access, place.reference.as_ref())?.into()));
        }
    }
    Ok(sinks)
}

/// What stands between finished layers and the places that they are for.
pub struct Gate<'a> {
    /// Sends layers ahead of their images.
    pub early: &'a Early,
    /// Whether nothing leaves before all images are finished: somebody wants to see them first.
    pub closed: bool,
}

impl Leaving for Gate<'_> {
    fn ready(&self, variant: &str, layer: &LayerBlob) {
        if !self.closed {
            self.early.ready(variant, layer);
        }
    }

    fn begins(&self, variant: &str, layer: &LayerBlob) {
        if !self.closed {
            self.early.begins(variant, layer);
        }
    }

    fn wanted(&self) -> Result<()> {
        self.early.wanted()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn places(typed: &str, variants: &[&str]) -> Result<Vec<String>, String> {
        let Command::Build(build) = Cli::parse_from(typed.split(' ')).command else { panic!("not a build") };
        let variants: Vec<_> = variants.iter().map(|v| (v.to_string(), "team/app".to_string())).collect();
        check(&build).map_err(|error| error.to_string())?;
        let found = destinations(&build, &variants).map_err(|error| error.to_string())?;
        Ok(found.iter().flat_map(|place| place.outputs.iter().map(ImageName::to_string)).collect())
    }

    #[test]
    fn every_variant_has_its_own_place() {
        let one = |typed| places(typed, &["cpu"]).unwrap();
        let two = |typed| places(typed, &["cpu", "gpu"]);
        assert_eq!(one("ingot build"), ["oci:dist/team-app-cpu:latest"]);
        assert_eq!(one("ingot build -t x:1.2"), ["oci:dist/team-app-cpu:1.2"]);
        assert_eq!(one("ingot build -t localhost:5000/x:1 --push"), ["docker://localhost:5000/x:1"]);
        assert_eq!(one("ingot build -o oci:d -o oci-archive:f.tar"), ["oci:d", "oci-archive:f.tar"]);
        assert_eq!(two("ingot build").unwrap(), ["oci:dist/team-app-cpu:latest", "oci:dist/team-app-gpu:latest"]);
        assert_eq!(two("ingot build -o oci:d").unwrap(), ["oci:d:cpu", "oci:d:gpu"]);
        assert_eq!(
            two("ingot build -t localhost/x:{variant} --push").unwrap(),
            ["docker://localhost/x:cpu", "docker://localhost/x:gpu"]
        );
        assert_eq!(
            two("ingot build -o oci-archive:f.tar").unwrap_err(),
            "`oci-archive:f.tar` is one place, but there are 2 variants"
        );
        assert_eq!(places("ingot build --push", &["cpu"]).unwrap_err(), "--push needs a tag");
        assert_eq!(places("ingot build -o foo", &["cpu"]).unwrap_err(), "`foo` does not say what kind of place it is");
    }
}
