//! Secrets: which values must not be written, and which objects must be there instead.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{has_word, texts};
use super::translation::{Translation, shown};
use crate::check::{is_secret_variable, secrets_in_lines};
use crate::stack::node::Place;
use crate::stack::secrets::is_secret;

/// Where the value of a key of a Secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A variable of the service; whoever makes the Secret sets it.
    Variable,
    /// A variable of another name.
    Environment(String),
    /// A file.
    File(String),
    /// Somebody else makes it.
    External,
}

/// A shorter value is no secret: it stands in every second word.
const SHORTEST: usize = 4;
/// From this length on a value is looked for inside words.
const LONG: usize = 8;
/// A longer value is a secret even if it is somebody's name.
const GUESSED: usize = 12;
/// How variables end whose values everybody may know.
const OPEN: [&str; 7] = ["USER", "USERNAME", "DB", "DATABASE", "HOST", "NAME", "PORT"];
/// Answers, not secrets.
const ANSWERS: [&str; 8] = ["true", "false", "none", "null", "disable", "disabled", "enable", "enabled"];
/// How options end that have a secret behind them.
const OPTIONS: [&str; 8] = ["password", "passwd", "pass", "requirepass", "masterauth", "token", "secret", "api-key"];

/// Values that must not be written, and what they are.
#[derive(Default)]
pub(super) struct Sensitive {
    values: BTreeMap<String, String>,
}

impl Sensitive {
    fn add(&mut self, value: &str, name: &str, open: &BTreeSet<String>) {
        let known = value.len() < GUESSED && open.contains(value);
        let answer = ANSWERS.contains(&value.to_ascii_lowercase().as_str());
        if value.len() >= SHORTEST && !known && !answer {
            self.values.entry(value.to_string()).or_insert_with(|| name.to_string());
        }
    }

    /// What the secret is that stands in a text.
    pub fn found(&self, text: &str) -> Option<&str> {
        let stands =
            |value: &str| if value.len() >= LONG { text.contains(value) } else { has_word(text, value, &['_']) };
        self.values.iter().find(|(value, _)| stands(value)).map(|(_, name)| name.as_str())
    }
}

/// Decides which variables are secret, and refuses texts that have a secret in them.
pub(super) fn collect(translation: &mut Translation<'_>) {
    let stack = translation.stack;
    let ends = |name: &str| OPEN.iter().any(|end| name == *end || name.ends_with(&format!("_{end}")));
    let mut open: BTreeSet<String> = stack.services().map(|(name, _)| name.to_string()).collect();
    for variable in translation.variables.values().flatten().filter(|variable| ends(&variable.name)) {
        open.insert(variable.value.clone());
    }
    let mut sensitive = Sensitive::default();
    for variable in translation.variables.values_mut().flatten() {
        let (name, value) = (variable.name.as_str(), variable.value.as_str());
        let line = format!("{name}={}", value.replace(['\n', '\r'], " "));
        let inside = passwords(value);
        if is_secret(name) || is_secret_variable(name, value) {
            sensitive.add(value, name, &open);
        } else if inside.is_empty() && secrets_in_lines(&line, true).is_empty() {
            continue;
        }
        inside.iter().for_each(|password| sensitive.add(password, name, &open));
        variable.secret = true;
    }
    for name in stack.variables.used.iter().filter(|name| is_secret(name)) {
        sensitive.add(stack.variables.get(name).unwrap_or_default(), name, &open);
    }
    // What a secret is made of is one, whatever the variable is called, and wherever else it is used.
    for (_, secret) in stack.root.get("secrets").and_then(|all| all.map()).into_iter().flatten().map(|(_, one)| one) {
        if let Some(name) = secret.get("environment").and_then(|node| node.scalar()) {
            sensitive.add(stack.variables.get(name).unwrap_or_default(), name, &open);
        }
    }
    for variable in translation.variables.values_mut().flatten() {
        variable.secret |= sensitive.found(&variable.value).is_some();
    }
    translation.sensitive = sensitive;
    for (service, node) in stack.services() {
        let texts: Vec<(Place, String, String)> = texts(translation, service, node)
            .into_iter()
            .filter(|(_, key, _)| !key.starts_with("environment."))
            .collect();
        let mut before: Option<(&str, &str)> = None;
        for (place, key, text) in &texts {
            let option = before.is_some_and(|(other, flag)| other == key && is_option(flag) && is_open(text));
            let inside = option || !passwords(text).is_empty() || !secrets_in_lines(text, false).is_empty();
            let known = translation.sensitive.found(text).map(|name| format!("the value of `{}`", shown(name)));
            if let Some(what) = known.or_else(|| inside.then(|| "a password or key".into())) {
                let what = format!("`{key}` of `{service}` has {what}, which no manifest may have");
                let hint = "give it to the service as a variable or a secret, and let the service read it there";
                translation.refuse(*place, &what, hint);
            }
            before = Some((key, text));
        }
    }
}

/// `--password`, `--requirepass`.
fn is_option(word: &str) -> bool {
    let name = word.trim_start_matches('-').to_ascii_lowercase();
    word.starts_with('-') && OPTIONS.iter().any(|option| name == *option || name.ends_with(&format!("-{option}")))
}

/// Whether a text is a value, and not a variable of a shell or a file that has it.
fn is_open(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(['$', '/', '-', '<', '%', '{'])
}

/// The passwords that stand in URLs, in `password=...` and behind options of a text.
fn passwords(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, mark) in text.match_indices("://") {
        let rest = text.get(at + mark.len()..).unwrap_or_default();
        let end = rest.find(|c: char| c.is_whitespace() || "/?#\"'`<>".contains(c)).unwrap_or(rest.len());
        let authority = rest.get(..end).unwrap_or_default();
        if let Some((_, password)) = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':')) {
            found.push(password.to_string());
        }
    }
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || ";&?,\"'".contains(c)).filter(|word| !word.is_empty()).collect();
    for word in &words {
        let Some((key, value)) = word.split_once('=') else { continue };
        let key = key.trim_start_matches('-').to_ascii_lowercase();
        let ends = |option: &&str| {
            key == **option || key.ends_with(&format!("-{option}")) || key.ends_with(&format!("_{option}"))
        };
        if key == "pwd" || OPTIONS.iter().any(ends) {
            found.push(value.to_string());
        }
    }
    for pair in words.windows(2) {
        if let [flag, value] = pair
            && is_option(flag)
        {
            found.push(value.to_string());
        }
    }
    found.retain(|password| is_open(password));
    found
}

/// The commands that make the Secrets. No value is in them.
pub(super) fn commands(needed: &BTreeMap<String, BTreeMap<String, Source>>, namespace: Option<&str>) -> Vec<String> {
    let namespace = namespace.map(|name| format!(" --namespace {name}")).unwrap_or_default();
    let one = |(name, keys): (&String, &BTreeMap<String, Source>)| {
        let mut line = format!("kubectl create secret generic {name}{namespace}");
        for (key, source) in keys {
            match source {
                Source::Variable => line += &format!(" --from-literal={key}=\"${{{}:?}}\"", variable(key)),
                Source::Environment(name) => line += &format!(" --from-literal={key}=\"${{{}:?}}\"", variable(name)),
                Source::File(path) => line += &format!(" --from-file={key}={}", quoted(path)),
                Source::External => return format!("# {name} is external: it must be there, with the key {key}"),
            }
        }
        line
    };
    needed.iter().map(one).collect()
}

/// A name that a shell takes for a variable.
fn variable(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// A path for a shell. What would begin another line stands in a comment of a manifest, too.
fn quoted(path: &str) -> String {
    let path: String = path.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if path.chars().all(plain) && !path.is_empty() { path } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_seen_where_they_stand() {
        for (text, expected) in [
            ("postgres://app:hunter2@db:5432/x", vec!["hunter2"]),
            ("amqp://a:p@ss@h/ redis://:q@h", vec!["p@ss", "q"]),
            ("host=db user=x password=abc dbname=y", vec!["abc"]),
            ("Server=db;Pwd=abc;", vec!["abc"]),
            ("redis-server --requirepass abc", vec!["abc"]),
            ("x --db-password=abc", vec!["abc"]),
            ("sh -c 'redis-cli -a $PASS --requirepass $PASS'", vec![]),
            ("--password-file /run/secrets/x --password /run/secrets/x", vec![]),
            ("http://db:5432/x postgres://app@db/x http://[::1]:80/", vec![]),
        ] {
            assert_eq!(passwords(text), expected, "{text}");
        }
    }

    #[test]
    fn values_are_found_but_names_and_answers_are_not() {
        let mut sensitive = Sensitive::default();
        let open = BTreeSet::from(["postgres".to_string(), "a-very-long-name".to_string()]);
        for value in ["postgres", "true", "abc", "hunter2", "long-secret", "a-very-long-name"] {
            sensitive.add(value, "X", &open);
        }
        for (text, expected) in [
            ("postgres", false),
            ("true abc", false),
            ("-p hunter2", true),
            ("xhunter2", false),
            ("xlong-secretx", true),
            ("a-very-long-name", true),
        ] {
            assert_eq!(sensitive.found(text).is_some(), expected, "{text}");
        }
    }

    #[test]
    fn commands_have_names_and_no_values() {
        let keys = BTreeMap::from([
            ("A".to_string(), Source::Variable),
            ("b.c".to_string(), Source::Environment("X-Y".into())),
            ("d".to_string(), Source::File("it's\nx".into())),
        ]);
        let needed =
            BTreeMap::from([("s".to_string(), keys), ("t".into(), BTreeMap::from([("k".into(), Source::External)]))]);
        assert_eq!(
            commands(&needed, Some("n")),
            [
                r#"kubectl create secret generic s --namespace n --from-literal=A="${A:?}" --from-literal=b.c="${X_Y:?}" --from-file=d='it'\''s?x'"#,
                "# t is external: it must be there, with the key k",
            ]
        );
    }
}
