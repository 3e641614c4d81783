//! What `ingot lock` found to be new.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::lock::{Lock, LockedImage};
use crate::text::escape;

/// One thing that is locked: its old and its new state.
#[derive(Serialize)]
pub struct Change {
    name: String,
    old: Option<String>,
    new: Option<String>,
}

/// One image.
#[derive(Serialize)]
pub struct ImageLock {
    /// The variant.
    pub variant: String,
    /// The platform.
    pub platform: String,
    packages: usize,
    wheels: usize,
    changes: Vec<Change>,
}

/// `ingot lock`.
#[derive(Serialize)]
pub struct LockReport {
    images: Vec<ImageLock>,
}

impl LockReport {
    /// What is in `new`, and how it differs from `old`.
    pub fn new(old: Option<&Lock>, new: &Lock) -> Self {
        let image = |image: &LockedImage| {
            let before = old.and_then(|old| old.image(&image.variant, &image.platform)).map(things).unwrap_or_default();
            let after = things(image);
            let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            let change = |name: &String| Change {
                name: name.clone(),
                old: before.get(name).cloned(),
                new: after.get(name).cloned(),
            };
            let changed = |name: &&String| before.get(*name) != after.get(*name);
            ImageLock {
                variant: image.variant.clone(),
                platform: image.platform.clone(),
                packages: image.packages.len(),
                wheels: image.wheels.len(),
                changes: names.into_iter().filter(changed).map(change).collect(),
            }
        };
        LockReport { images: new.images.iter().map(image).collect() }
    }

    /// The first image that changed, and how.
    pub fn first_change(&self) -> Option<(&ImageLock, String)> {
        let image = self.images.iter().find(|image| !image.changes.is_empty())?;
        let first = image.changes.first()?;
        let more = image.changes.len() - 1;
        let and = if more > 0 { format!(", and {more} more") } else { String::new() };
        Some((image, format!("{}{and}", line(first))))
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for image in &self.images {
            let (variant, platform) = (escape(&image.variant), escape(&image.platform));
            let counted = format!("{} OS packages, {} wheels", image.packages, image.wheels);
            let changed =
                if image.changes.is_empty() { "unchanged".into() } else { format!("{} changed", image.changes.len()) };
            out.push_str(&format!("{variant} for {platform}: {counted}, {changed}\n"));
            image.changes.iter().for_each(|change| out.push_str(&format!("  {}\n", escape(&line(change)))));
        }
        out
    }
}

fn line(change: &Change) -> String {
    match (&change.old, &change.new) {
        (None, Some(new)) => format!("+ {} {new}", change.name),
        (Some(old), None) => format!("- {} {old}", change.name),
        (old, new) => {
            let shown = |state: &Option<String>| state.clone().unwrap_or_default();
            format!("~ {} {} -> {}", change.name, shown(old), shown(new))
        }
    }
}

/// Everything that is locked, by name.
fn things(image: &LockedImage) -> BTreeMap<String, String> {
    let mut things = BTreeMap::new();
    for (name, digest) in [("base", &image.base), ("manifest", &image.manifest)] {
        things.extend(digest.iter().map(|digest| (name.to_string(), digest.to_string())));
    }
    things.extend(image.inputs.iter().map(|(name, value)| (format!("input `{name}`"), value.clone())));
    let package = |package: &crate::lock::LockedPackage| {
        (format!("package {}", package.name), format!("{} ({})", package.version, package.sha256.0.short()))
    };
    things.extend(image.packages.iter().map(package));
    let wheel = |wheel: &crate::lock::LockedWheel| {
        (format!("wheel {}", wheel.name), format!("{} ({})", wheel.file, wheel.sha256.0.short()))
    };
    things.extend(image.wheels.iter().map(wheel));
    things
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{Hex, LockedWheel};
    use crate::oci::Digest;

    #[test]
    fn what_changed_is_said_in_a_line_each() {
        let wheel = |name: &str, file: &str| LockedWheel {
            name: name.into(),
            file: file.into(),
            sha256: Hex(Digest::of(b"x")),
            layer: None,
        };
        let lock = |wheels: Vec<LockedWheel>| {
            let image =
                LockedImage { variant: "cpu".into(), platform: "linux/amd64".into(), wheels, ..Default::default() };
            Lock { images: vec![image] }
        };
        let old = lock(vec![wheel("a", "a-1.whl"), wheel("b", "b-1.whl")]);
        let new = lock(vec![wheel("a", "a-2.whl"), wheel("c", "c-1.whl")]);
        let report = LockReport::new(Some(&old), &new);
        assert_eq!(
            report.text(),
            "cpu for linux/amd64: 0 OS packages, 2 wheels, 3 changed\n  ~ wheel a a-1.whl (2d711642b726) -> a-2.whl \
             (2d711642b726)\n  - wheel b b-1.whl (2d711642b726)\n  + wheel c c-1.whl (2d711642b726)\n"
        );
        let (image, reason) = report.first_change().unwrap();
        assert_eq!(image.variant, "cpu");
        assert!(reason.ends_with(", and 2 more"), "{reason}");
        let same = LockReport::new(Some(&new), &new);
        assert!(same.first_change().is_none() && same.text().ends_with("unchanged\n"));
    }
}
