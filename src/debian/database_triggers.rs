//! Which packages wait for which triggers (deb-triggers(5)): without these files, installing something in a derived
//! image would not run `ldconfig`.

use std::collections::{BTreeMap, BTreeSet};

use super::Deb;
use super::install_base::{BaseFiles, TRIGGERS, info_name};
use crate::layer::TreePath;

/// What is no trigger in that folder.
const OTHERS: [&str; 3] = ["File", "Lock", "Unincorp"];

/// The files that change, by name, with their whole text.
pub(super) fn merge(base: &BaseFiles, debs: &[&Deb]) -> BTreeMap<String, String> {
    let mut interests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for deb in debs {
        let package = info_name(&deb.package);
        for (trigger, suffix) in deb.triggers.as_deref().map(interests_of).unwrap_or_default() {
            match trigger.starts_with('/') {
                true => interests.entry("File".into()).or_default().push(format!("{trigger} {package}{suffix}")),
                false => interests.entry(trigger.into()).or_default().push(format!("{package}{suffix}")),
            }
        }
    }
    // A new version may have lost an interest.
    let names: BTreeSet<String> = debs.iter().map(|deb| info_name(&deb.package)).collect();
    let there = base.folder(TRIGGERS).filter(|(name, _)| !matches!(*name, "Lock" | "Unincorp"));
    let there: BTreeMap<String, String> = there.map(|(name, text)| (name.to_string(), text)).collect();
    let mut changed = BTreeMap::new();
    for name in there.keys().chain(interests.keys()).cloned().collect::<BTreeSet<_>>() {
        let old = there.get(&name).map(String::as_str).unwrap_or_default();
        let package = |line: &str| {
            let last = line.rsplit(' ').next().unwrap_or_default();
            last.split('/').next().unwrap_or_default().to_string()
        };
        let mut lines: Vec<String> =
            old.lines().filter(|line| !names.contains(&package(line))).map(str::to_string).collect();
        lines.extend(interests.remove(&name).unwrap_or_default());
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        if text != old {
            changed.insert(name, text);
        }
    }
    changed
}

/// Triggers that a package waits for, and how dpkg marks that.
fn interests_of(text: &str) -> Vec<(&str, &'static str)> {
    let lines = text.lines().filter_map(|line| line.split('#').next()?.trim().split_once(char::is_whitespace));
    lines
        .filter_map(|(directive, trigger)| {
            let suffix = match directive {
                "interest" | "interest-await" => "",
                "interest-noawait" => "/noawait",
                _ => return None,
            };
            let trigger = trigger.trim();
            let is_path = trigger.starts_with('/') && TreePath::new(trigger).is_ok();
            let is_name = !trigger.contains('/')
                && !trigger.starts_with('.')
                && TreePath::new(trigger).is_ok()
                && !OTHERS.contains(&trigger);
            let plain = trigger.chars().all(|c| c.is_ascii_graphic());
            ((is_path || is_name) && plain).then_some((trigger, suffix))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interests_are_told_from_activations() {
        let text = "# interest no\ninterest a\ninterest-await b # why\ninterest-noawait /usr/share/x\nactivate c\n\
                    interest File\ninterest ../x\ninterest\ninterest a b\ninterest .wh.a\n";
        assert_eq!(interests_of(text), [("a", ""), ("b", ""), ("/usr/share/x", "/noawait")]);
    }
}
