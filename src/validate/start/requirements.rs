//! What installed distributions need of each other: `pip check` without pip.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use pep508_rs::MarkerEnvironment;

use crate::python::{Dependency, Headers, marker_environment, shown};
use crate::target::{Libc, Target};
use crate::validate::findings::{Draft, Findings};
use crate::validate::hardening::packaged::Packaged;
use crate::validate::python::{Distribution, Environment, Pythons};
use crate::validate::subject::Subject;

/// The most requirements of one distribution that are read. Seen: 400.
const REQUIREMENTS_LIMIT: usize = 10_000;
/// How often extras may lead to extras.
const ROUNDS_LIMIT: usize = 20;
/// The most extras of one distribution that are asked for. Seen: 150.
const EXTRAS_LIMIT: usize = 1_000;

/// What may be read of all distributions of an image together. A distribution is read anew for each environment that
/// sees it and whenever more of its extras are asked for, so that no two have to be in memory at once.
struct Budget {
    /// Requirements. An environment with 500 distributions has 20,000.
    requirements: usize,
    /// What they weigh, in bytes: at least their text.
    text: usize,
    /// Comparisons of a requirement with an extra.
    comparisons: usize,
    /// Whether there was more.
    is_spent: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { requirements: 200_000, text: 16 << 20, comparisons: 20_000_000, is_spent: false }
    }
}

impl Budget {
    /// Pays for a requirement that is judged with so many extras; false if there is nothing left.
    fn pay(&mut self, text: &str, extras: usize) -> bool {
        let left = || {
            let (requirements, text) =
                (self.requirements.checked_sub(1)?, self.text.checked_sub(Dependency::weight(text))?);
            Some((requirements, text, self.comparisons.checked_sub(extras)?))
        };
        match left().filter(|_| !self.is_spent) {
            Some(left) => (self.requirements, self.text, self.comparisons) = left,
            None => self.is_spent = true,
        }
        !self.is_spent
    }
}

/// Looks at each environment.
pub(super) fn look(subject: &Subject, pythons: &Pythons<'_>, findings: &mut Findings<'_>) {
    for (folder, installed) in &pythons.installed {
        if matches!(folder.name(), "site-packages" | "dist-packages") {
            duplicates(installed, findings);
        }
    }
    let mut budget = Budget::default();
    Image { subject, pythons, packaged: OnceCell::new() }.requirements(findings, &mut budget);
    if budget.is_spent {
        let message = "its Python distributions have more requirements than are read; the rest was not judged";
        findings.add(Draft::new("start-limit", "/", message));
    }
}

fn duplicates(installed: &[Distribution<'_>], findings: &mut Findings<'_>) {
    for pair in installed.windows(2) {
        let [one, other] = pair else { continue };
        // Debian's packages leave a link beside what it leads to.
        if one.name == other.name && one.version != other.version {
            let message =
                format!("{} is installed as {} and as {}", one.name, shown(&one.version), shown(&other.version));
            let draft = Draft::new("start-duplicate", format!("/{}", one.info), message);
            findings.add(draft.detail(format!("/{}", other.info)));
        }
    }
}

/// An image, as far as it matters here.
struct Image<'a> {
    subject: &'a Subject,
    pythons: &'a Pythons<'a>,
    /// What the system's package managers list, once it is asked for.
    packaged: OnceCell<Packaged>,
}

impl Image<'_> {
    fn requirements(&self, findings: &mut Findings<'_>, budget: &mut Budget) {
        for environment in &self.pythons.environments {
            self.unmet(environment, findings, budget);
        }
    }

    /// What distributions of the environment's own need and do not get.
    fn unmet(&self, environment: &Environment, findings: &mut Findings<'_>, budget: &mut Budget) {
        let Some(python) = environment.version else { return };
        // Markers do not ask for the C library.
        let target = Target { python, platform: self.subject.platform.clone(), libc: Libc::Glibc(2, 17) };
        let Ok(markers) = marker_environment(&target) else { return };
        let visible = self.pythons.visible(environment);
        let extras = asked(&visible, &markers, budget);
        for (name, distribution) in &visible {
            if !is_own(environment, distribution) {
                continue;
            }
            each(distribution, extras.get(name), &markers, budget, |need| {
                let found = visible.get(need.name.as_str()).map(|found| found.version.as_str());
                let problem = match found {
                    None => "it is not installed".to_string(),
                    Some(version) if !need.accepts(version) => format!("{} is installed", shown(version)),
                    Some(_) => return,
                };
                let message =
                    format!("{} {} needs `{}`: {problem}", name, shown(&distribution.version), shown(&need.text));
                findings.add(Draft::new(self.rule(distribution), format!("/{}", distribution.info), message));
            });
        }
    }

    /// What the system's package manager installs is told as its own. Where it installs does not say so: on Alpine, pip
    /// installs into the same folder.
    fn rule(&self, distribution: &Distribution<'_>) -> &'static str {
        let below = |name: &str| distribution.info.join(name).ok();
        let mut files = [Some(distribution.info.clone()), below("METADATA"), below("PKG-INFO")].into_iter().flatten();
        // dnf keeps no list that is read here, but leaves its name; only Debian's packages are in Debian's folder.
        let installer = below("INSTALLER").and_then(|path| self.subject.file(&path));
        let is_rpm = || installer.is_some_and(|fact| fact.content.head.trim_ascii() == b"rpm");
        let debian = || distribution.info.as_str().starts_with("usr/lib/python3/dist-packages/");
        let packaged = self.packaged.get_or_init(|| Packaged::system(self.subject));
        match files.any(|path| packaged.is_system(&path)) || is_rpm() || packaged.has_no_system() && debian() {
            true => "start-system-requirement",
            false => "start-requirement",
        }
    }
}

/// Extras that are asked for by others: they have requirements of their own.
fn asked<'a>(
    visible: &BTreeMap<&'a str, &'a Distribution<'_>>,
    markers: &MarkerEnvironment,
    budget: &mut Budget,
) -> BTreeMap<&'a str, BTreeSet<String>> {
    let mut extras: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut changed: BTreeSet<&str> = visible.keys().copied().collect();
    for _ in 0..ROUNDS_LIMIT {
        let mut next = BTreeSet::new();
        for (name, distribution) in visible.iter().filter(|(name, _)| changed.contains(*name)) {
            let own = extras.get(name).cloned();
            each(distribution, own.as_ref(), markers, budget, |need| {
                let Some((name, _)) = visible.get_key_value(need.name.as_str()) else { return };
                for extra in need.extras {
                    let known = extras.entry(*name).or_default();
                    if known.len() < EXTRAS_LIMIT && known.insert(extra) {
                        next.insert(*name);
                    }
                }
            });
        }
        if next.is_empty() {
            break;
        }
        changed = next;
    }
    extras
}

/// Reads what a distribution needs if these extras of it are asked for, one requirement at a time.
fn each(
    distribution: &Distribution<'_>,
    extras: Option<&BTreeSet<String>>,
    markers: &MarkerEnvironment,
    budget: &mut Budget,
    mut told: impl FnMut(Dependency),
) {
    if budget.is_spent {
        return;
    }
    let none = BTreeSet::new();
    let extras = extras.unwrap_or(&none);
    let headers = Headers::parse(distribution.metadata);
    for text in headers.all("Requires-Dist").into_iter().take(REQUIREMENTS_LIMIT) {
        if !budget.pay(text, extras.len()) {
            return;
        }
        if let Some(need) = Dependency::parse(text).filter(|need| need.applies(markers, extras)) {
            told(need);
        }
    }
}

/// A virtual environment does not tell of what is installed for the Python below it; that one does.
fn is_own(environment: &Environment, distribution: &Distribution<'_>) -> bool {
    environment.venv.is_none() || distribution.info.as_str().starts_with(&format!("{}/", environment.prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Policy;
    use crate::project::RulesSpec;
    use crate::validate::fixture::Recipe;

    const SITE: &str = "opt/venv/lib/python3.11/site-packages";

    /// What is left of a budget after the distributions of an environment, and how many findings there are.
    fn spent(budget: Budget, count: usize, needs: &str) -> (Budget, usize) {
        let mut recipe = Recipe::good();
        recipe.file(1, "opt/venv/pyvenv.cfg", 0o644, "home = /usr/bin\nversion = 3.11.2\n");
        recipe.folder(1, SITE, 0o755);
        for n in 0..count {
            let text = format!("Name: p{n}\nVersion: 1\n{needs}");
            recipe.file(1, &format!("{SITE}/p{n}-1.dist-info/METADATA"), 0o644, text);
        }
        let (_folder, subject) = recipe.read();
        let subject = subject.unwrap();
        let policy = Policy::new(crate::validate::rules(), &RulesSpec::default(), &[], "docs/validate.md").unwrap();
        let (mut findings, mut budget) = (Findings::new(&policy), budget);
        let image = Image { subject: &subject, pythons: &Pythons::of(&subject), packaged: OnceCell::new() };
        image.requirements(&mut findings, &mut budget);
        (budget, findings.report(&subject).findings.len())
    }

    #[test]
    fn all_distributions_of_an_image_share_one_budget() {
        let many = "Requires-Dist: p1[e0,e1,e2]; extra=='e1'\nRequires-Dist: missing\n".repeat(20);
        let (left, found) = spent(Budget::default(), 30, &many);
        assert!(!left.is_spent);
        // Once for what is asked for, once to judge: no extra is, for `e1` of no distribution is asked for.
        assert_eq!(Budget::default().requirements - left.requirements, 30 * 40 * 2);
        assert_eq!(found, 6, "each distribution once among the 100 that are kept, and how many more");
        let (left, found) = spent(Budget { requirements: 1_500, ..Budget::default() }, 30, &many);
        assert!(left.is_spent && left.requirements == 0 && found == 6, "{found}");
        let (left, found) = spent(Budget { text: 1_000, ..Budget::default() }, 30, &many);
        assert!(left.is_spent && left.text < 100 && left.requirements > 190_000 && found == 0);
    }

    #[test]
    fn extras_that_ask_for_more_and_more_are_bounded() {
        let each = |n: usize| format!("Requires-Dist: p0[e{}]; extra == 'e{n}'\n", n + 1);
        let chain: String = (0..1_000).map(each).chain(["Requires-Dist: p0[e0]\n".into()]).collect();
        let (left, _) = spent(Budget::default(), 1, &chain);
        assert!(!left.is_spent && Budget::default().requirements - left.requirements <= 1_001 * (ROUNDS_LIMIT + 1));
        let (left, _) = spent(Budget { comparisons: 10_000, ..Budget::default() }, 1, &chain);
        assert!(left.is_spent);
    }
}
