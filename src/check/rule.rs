//! Every rule, declared once. The page `docs/hygiene.md` lists them from here.

use std::sync::OnceLock;

use super::finding::Severity;
use super::secret;

/// A rule and all that is told of it.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name on the command line and in files.
    pub id: String,
    /// What fires it, a short noun phrase.
    pub title: String,
    /// How much it matters, unless the project says otherwise.
    pub severity: Severity,
    /// Why it is looked for.
    pub why: &'static str,
    /// What to do about a finding.
    pub fix: &'static str,
}

const LEAVE_OUT: &str = "leave it out with .dockerignore";

/// id, title, severity, why, fix: all rules but those of the table of secrets.
const OWN: [(&str, &str, Severity, &str, &str); 16] = [
    (
        "config-secret",
        "a variable of the image's environment that is called like a secret and has a value",
        Severity::Warning,
        "Whoever has the image can read its environment.",
        "set it where the container is started, not in ingot.toml",
    ),
    (
        "credential-file",
        "a file that programs keep credentials or private keys in",
        Severity::Error,
        "Whoever has the image has the file.",
        "leave it out with .dockerignore, and mount it where the container runs",
    ),
    (
        "env-file",
        "a file of environment variables (`.env`)",
        Severity::Warning,
        "It holds the settings of one machine, often with passwords.",
        "leave it out with .dockerignore; set variables where the container is started",
    ),
    (
        "version-control",
        "a folder of a version control system",
        Severity::Error,
        "It holds every file that was ever committed, also those that were removed because they were secret.",
        LEAVE_OUT,
    ),
    (
        "key-store",
        "a key store (PKCS#12, Java, KeePass)",
        Severity::Error,
        "It is made to hold private keys and passwords.",
        "leave it out with .dockerignore, and mount it where the container runs",
    ),
    (
        "cache",
        "a cache of a tool, an editor's or a desktop's file",
        Severity::Warning,
        "It makes the image larger and different on every machine.",
        LEAVE_OUT,
    ),
    (
        "environment",
        "a virtual environment in the source folder",
        Severity::Warning,
        "The image has an environment of its own, made of the lock.",
        LEAVE_OUT,
    ),
    (
        "dump",
        "a database, a dump, a log, a backup or a recording",
        Severity::Warning,
        "It holds data of one machine, often of people.",
        "leave it out with .dockerignore; data belongs in a volume",
    ),
    (
        "notebook-output",
        "a notebook with the output of its cells",
        Severity::Warning,
        "Outputs hold data, and tokens that were printed once.",
        "clear its outputs, or leave it out with .dockerignore",
    ),
    (
        "large-file",
        "a file over the limit (`[hygiene] large-file`, 100 MB)",
        Severity::Warning,
        "It is pulled by every machine; models and data sets belong in a volume or an own layer.",
        "leave it out with .dockerignore, or raise `large-file` in `[hygiene]`",
    ),
    (
        "ignored-elsewhere",
        "a file that a line of .dockerignore means, but does not match: patterns there hold from the project's root",
        Severity::Warning,
        "Unlike .gitignore, `*.log` matches in the project's root only.",
        "write `**/` before the pattern",
    ),
    (
        "base-moves",
        "a base whose tag moves, without a digest and without ingot.lock",
        Severity::Info,
        "The same project makes another image tomorrow.",
        "run `ingot lock`, and commit ingot.lock",
    ),
    (
        "lock-unusable",
        "a lock that a build refuses: unpinned, or without a sha256",
        Severity::Error,
        "Only what a lock names with its hash is the same everywhere.",
        "write the lock with hashes: `uv pip compile --generate-hashes`, or `uv export --format pylock.toml`",
    ),
    (
        "lock-missing",
        "`[python]` without a lock, beside a file of requirements",
        Severity::Warning,
        "The image gets none of the dependencies that the file lists.",
        "lock it, and name the lock in `[python] lock`",
    ),
    (
        "lock-duplicate",
        "a distribution that is locked twice",
        Severity::Warning,
        "One of the two is not what is installed.",
        "keep one of the lines",
    ),
    (
        "allow-unused",
        "a line of .ingot-allow that answers for nothing any more",
        Severity::Warning,
        "It would hide the next finding of that rule.",
        "remove the line",
    ),
];

/// What all secrets have in common.
const SECRET_WHY: &str = "Whoever has the image has the secret; a later layer does not take it back.";
const SECRET_FIX: &str =
    "take it out and revoke it; give it to the container where it is started. If it is none, say so in .ingot-allow";

/// All rules, sorted by id.
pub fn rules() -> &'static [Rule] {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    RULES.get_or_init(|| {
        let own = OWN.iter().map(|(id, title, severity, why, fix)| Rule {
            id: id.to_string(),
            title: title.to_string(),
            severity: *severity,
            why,
            fix,
        });
        let secrets = secret::forms().iter().map(|form| Rule {
            id: form.rule(),
            title: form.title.clone(),
            severity: form.severity,
            why: SECRET_WHY,
            fix: SECRET_FIX,
        });
        let mut rules: Vec<Rule> = own.chain(secrets).collect();
        rules.sort_by(|a, b| a.id.cmp(&b.id));
        rules
    })
}

/// The rule of hygiene with this id.
pub fn rule(id: &str) -> Option<&'static Rule> {
    find(rules(), id)
}

/// The rule with this id, of some that are sorted by id.
pub fn find(rules: &'static [Rule], id: &str) -> Option<&'static Rule> {
    rules.binary_search_by(|rule| rule.id.as_str().cmp(id)).ok().and_then(|at| rules.get(at))
}

/// The tables of `docs/hygiene.md`.
pub fn markdown() -> String {
    let (secrets, own): (Vec<&Rule>, Vec<&Rule>) = rules().iter().partition(|rule| rule.id.starts_with(secret::PREFIX));
    let mut page = "| rule | severity | fires at | why | fix |\n|---|---|---|---|---|\n".to_string();
    for rule in own {
        page += &format!("| `{}` | {} | {} | {} | {} |\n", rule.id, rule.severity, rule.title, rule.why, rule.fix);
    }
    page += &format!("\nSecrets. {SECRET_WHY} Fix: {SECRET_FIX}.\n\n| rule | severity | fires at |\n|---|---|---|\n");
    for rule in secrets {
        page += &format!("| `{}` | {} | {} |\n", rule.id, rule.severity, rule.title);
    }
    page + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_hygiene_lists_every_rule() {
        crate::project::page::holds("hygiene.md", "src/check/rule.rs", &markdown());
    }

    #[test]
    fn ids_are_unique_and_found() {
        for pair in rules().windows(2) {
            assert!(pair[0].id < pair[1].id, "{}", pair[0].id);
        }
        assert!(rules().len() > 60 && rules().iter().all(|known| rule(&known.id).is_some_and(|r| r.id == known.id)));
        assert!(rule("none").is_none());
    }
}
