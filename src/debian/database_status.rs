//! `/var/lib/dpkg/status`: the paragraphs of the base that still hold, and those of new packages as dpkg writes them.

use std::collections::BTreeMap;

use super::install_base::{info_name, md5, predecessor};
use super::install_upgrade::{CONFFILE_LIMIT, Obsolete};
use super::{Deb, Installed, MultiArch, Package, Paragraph, Relation, paragraphs, parse_relations};
use crate::error::Result;
use crate::layer::TreePath;

/// Where it is.
pub(super) const STATUS: &str = "var/lib/dpkg/status";

/// The order in which dpkg writes the fields that it knows; `Status` and `Conffiles` are its own. Other fields follow
/// as they come (dpkg, lib/dpkg/parse.c).
const FIELDS: [&str; 25] = [
    "Package",
    "Essential",
    "Protected",
    "Status",
    "Priority",
    "Section",
    "Installed-Size",
    "Origin",
    "Maintainer",
    "Bugs",
    "Architecture",
    "Multi-Arch",
    "Source",
    "Version",
    "Replaces",
    "Provides",
    "Depends",
    "Pre-Depends",
    "Recommends",
    "Suggests",
    "Breaks",
    "Conflicts",
    "Enhances",
    "Conffiles",
    "Description",
];

/// Those of them that name packages.
const RELATIONS: [&str; 9] =
    ["Replaces", "Provides", "Depends", "Pre-Depends", "Recommends", "Suggests", "Breaks", "Conflicts", "Enhances"];

/// The text of the status file: sorted by name, as dpkg writes it.
pub(super) fn merge(base: &str, debs: &[&Deb], installed: &Installed, obsolete: &Obsolete) -> Result<String> {
    let mut all: BTreeMap<(String, String), String> = BTreeMap::new();
    for text in paragraphs(base) {
        let paragraph = Paragraph::parse(text);
        let field = |name: &str| paragraph.get(name).unwrap_or_default().to_string();
        let (name, architecture) = (field("Package"), field("Architecture"));
        if !debs.iter().any(|deb| takes_the_place(&deb.package, &name, &architecture, &paragraph)) {
            let end = if text.ends_with('\n') { "" } else { "\n" };
            all.insert((name, architecture), format!("{text}{end}"));
        }
    }
    for deb in debs {
        let key = (deb.package.name.clone(), deb.package.architecture.clone());
        let held = predecessor(&deb.package, installed).is_some_and(|old| old.held);
        let none = BTreeMap::new();
        let old = obsolete.get(&info_name(&deb.package)).unwrap_or(&none);
        all.insert(key, paragraph(deb, held, old)?.render());
    }
    Ok(all.into_values().map(|text| text + "\n").collect())
}

fn takes_the_place(new: &Package, name: &str, architecture: &str, old: &Paragraph) -> bool {
    let several = new.multi_arch == MultiArch::Same && old.get("Multi-Arch") == Some("same");
    new.name == name && (new.architecture == architecture || !several)
}

/// The paragraph of one installed package.
fn paragraph(deb: &Deb, held: bool, obsolete: &BTreeMap<TreePath, String>) -> Result<Paragraph> {
    let status = if held { "hold ok installed" } else { "install ok installed" };
    let conffiles = conffiles(deb, obsolete)?;
    let mut paragraph = Paragraph::default();
    for field in FIELDS {
        match field {
            "Status" => paragraph.set(field, status),
            "Conffiles" if conffiles.is_empty() => {}
            "Conffiles" => paragraph.set(field, &conffiles),
            // Only what is true is written.
            "Essential" | "Protected" if deb.control.get(field) != Some("yes") => {}
            _ => {
                let value = deb.control.get(field).map(|value| normal(field, value));
                value.into_iter().for_each(|value| paragraph.set(field, &value));
            }
        }
    }
    for (name, value) in deb.control.fields() {
        if !FIELDS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            paragraph.set(name, value);
        }
    }
    Ok(paragraph)
}

/// The value of a field in dpkg's writing: relations are separated by `, ` and ` | `.
fn normal(field: &str, value: &str) -> String {
    match parse_relations(value) {
        Ok(relations) if RELATIONS.contains(&field) => {
            let one = |alternatives: &Vec<Relation>| {
                alternatives.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
            };
            relations.iter().map(one).collect::<Vec<_>>().join(", ")
        }
        _ => value.to_string(),
    }
}

/// Lines of path and MD5 of what the package ships, whatever is in the image now.
fn conffiles(deb: &Deb, obsolete: &BTreeMap<TreePath, String>) -> Result<String> {
    let mut text = String::new();
    for path in &deb.conffiles {
        let Ok(at) = TreePath::new(path) else { continue };
        let found = deb.entries.binary_search_by(|(other, _)| other.cmp(&at)).ok();
        let Some((_, entry)) = found.and_then(|found| deb.entries.get(found)) else { continue };
        if let Some(bytes) = entry.read(&at, CONFFILE_LIMIT)? {
            text.push_str(&format!("\n {path} {}", md5(&bytes)));
        }
    }
    obsolete.iter().for_each(|(path, md5)| text.push_str(&format!("\n /{path} {md5} obsolete")));
    Ok(text)
}
