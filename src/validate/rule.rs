//! Every rule of `ingot validate`, declared once by its group. The page `docs/validate.md` lists them from here.

use std::sync::OnceLock;

use super::{gpu, hardening, integrity, link, running, start, target};
use crate::check::{Rule, Severity};

/// A rule as its group declares it.
pub(super) struct Declared {
    /// Its name on the command line and in files: `group-noun`.
    pub id: &'static str,
    pub severity: Severity,
    /// What fires it, a short noun phrase.
    pub title: &'static str,
    pub why: &'static str,
    pub fix: &'static str,
    /// An image that breaks it, as the tests make one.
    pub breaks: &'static str,
    /// One that is much the same, and does not.
    pub passes: &'static str,
}

/// The groups and their rules, in the order of the page.
pub(super) const GROUPS: [(&str, &[Declared]); 7] = [
    ("Integrity", integrity::RULES),
    ("Hardening", hardening::RULES),
    ("It will start", start::RULES),
    ("It will link", link::RULES),
    ("GPU sense", gpu::RULES),
    ("Target profiles", target::RULES),
    ("At run time", running::RULES),
];

/// All rules, sorted by id.
pub fn rules() -> &'static [Rule] {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    RULES.get_or_init(|| {
        let declared = GROUPS.iter().flat_map(|(_, rules)| rules.iter());
        let mut rules: Vec<Rule> = declared
            .map(|rule| Rule {
                id: rule.id.into(),
                title: rule.title.into(),
                severity: rule.severity,
                why: rule.why,
                fix: rule.fix,
            })
            .collect();
        rules.sort_by(|a, b| a.id.cmp(&b.id));
        rules
    })
}

/// The tables of `docs/validate.md`.
pub fn markdown() -> String {
    let mut page = String::new();
    for (group, rules) in GROUPS {
        page += &format!("### {group}\n\n| rule | severity | fires at | why | fix | broken by | passed by |\n");
        page += "|---|---|---|---|---|---|---|\n";
        for rule in rules {
            let Declared { id, severity, title, why, fix, breaks, passes } = rule;
            page += &format!("| `{id}` | {severity} | {title} | {why} | {fix} | {breaks} | {passes} |\n");
        }
        page.push('\n');
    }
    page + &targets()
}

/// The table of what `--target` knows.
fn targets() -> String {
    let mut page = String::from(
        "### Places\n\n| `--target` | what it is, and what is checked | where that is from |\n|---|---|---|\n",
    );
    for place in target::profiles().iter().filter(|place| !place.about.is_empty()) {
        page += &format!("| `{}` | {} | {} |\n", place.name, place.about, place.source);
    }
    page + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_validate_lists_every_rule() {
        crate::project::page::holds("validate.md", "src/validate", &markdown());
    }

    #[test]
    fn ids_are_unique() {
        assert!(rules().windows(2).all(|pair| pair[0].id < pair[1].id));
    }
}
