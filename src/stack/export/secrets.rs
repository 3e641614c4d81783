//! Secrets: which values must not be written, and which objects must be there instead.

use std::collections::{BTreeMap, BTreeSet};

use super::environment::Variable;
use super::files::Origin;
use super::names::has_word;
use super::read;
use super::translation::{Translation, shown};
use crate::check::{is_secret_variable, secrets_in_stack};
use crate::fs;
use crate::stack::node::Node;
use crate::stack::secrets::{is_number, is_published, is_secret, is_switch};
use crate::stack::told::{self, Told};

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

/// What is said of a secret that cannot be a reference.
pub(super) const NOWHERE: &str = "which no manifest may have";
/// A shorter value is no secret: it stands in every second word.
const SHORTEST: usize = 4;
/// From this length on a value is looked for inside words.
const LONG: usize = 8;
/// A longer value is a secret even if it is somebody's name.
const GUESSED: usize = 12;
/// The largest file of a secret that is read, in bytes (engines have the same limit).
const FILE_LIMIT: u64 = 500 << 10;
/// A line of a file of many is looked for from this length on.
const LINE: usize = 32;
/// How variables end whose values everybody may know.
const OPEN: [&str; 7] = ["USER", "USERNAME", "DB", "DATABASE", "HOST", "NAME", "PORT"];
/// Answers and usual words: who reads them knows nothing.
const ANSWERS: [&str; 22] = [
    "true",
    "false",
    "none",
    "null",
    "disable",
    "disabled",
    "enable",
    "enabled",
    "password",
    "passwd",
    "secret",
    "token",
    "example",
    "test",
    "admin",
    "root",
    "user",
    "guest",
    "default",
    "local",
    "development",
    "production",
];
/// How the last word of a name is where any value is a secret.
const WORDS: [&str; 8] = ["PWD", "PW", "PASS", "PASSWORDS", "CREDENTIAL", "CREDENTIALS", "CREDS", "SALT"];
/// The same, where it may also be the name of something.
const KEYS: [&str; 6] = ["KEY", "KEYS", "AUTH", "TOKENS", "SECRETS", "PEPPER"];
/// Ways to log in.
const WAYS: [&str; 14] = [
    "basic", "digest", "github", "gitlab", "google", "jwt", "keycloak", "ldap", "oauth", "oauth2", "oidc", "plain",
    "saml", "trust",
];

/// Values that must not be written, and what they are.
#[derive(Default)]
pub(super) struct Sensitive {
    values: BTreeMap<String, Known>,
}

struct Known {
    name: String,
    /// Whether it is the whole value of a variable of that name.
    variable: bool,
}

impl Sensitive {
    /// The whole value of a variable.
    fn add(&mut self, value: &str, name: &str, open: &BTreeSet<String>) {
        self.insert(value, Known { name: name.to_string(), variable: true }, open);
    }

    /// A part of a value.
    fn add_part(&mut self, value: &str, name: &str, open: &BTreeSet<String>) {
        self.insert(value, Known { name: name.to_string(), variable: false }, open);
    }

    fn insert(&mut self, value: &str, known: Known, open: &BTreeSet<String>) {
        let named = value.len() < GUESSED && open.contains(value);
        let answer = ANSWERS.contains(&value.to_ascii_lowercase().as_str());
        let better = self.values.get(value).is_none_or(|other| known.variable && !other.variable);
        if value.len() >= SHORTEST && !named && !answer && better {
            self.values.insert(value.to_string(), known);
        }
    }

    /// What the secret is that stands in a text.
    pub fn found(&self, text: &str) -> Option<&str> {
        self.all(text).first().map(|(_, known)| known.name.as_str())
    }

    fn all(&self, text: &str) -> Vec<(&String, &Known)> {
        let stands =
            |value: &str| if value.len() >= LONG { text.contains(value) } else { has_word(text, value, &['_']) };
        self.values.iter().filter(|(value, _)| stands(value)).collect()
    }

    /// Text in which no long secret stands.
    pub fn hidden(&self, text: &str) -> String {
        let long = self.values.keys().filter(|value| value.len() >= LONG);
        let text = long.fold(text.to_string(), |text, value| text.replace(value.as_str(), "***"));
        let mut out = text.clone();
        // From the end on, so that places stay what they are.
        for told in secrets_in_stack(text.as_bytes()).into_iter().rev() {
            if out.get(told.range.clone()).is_some() {
                out.replace_range(told.range, "***");
            }
        }
        out
    }

    /// What the long secret is that stands in a text.
    pub fn left(&self, text: &str) -> Option<&str> {
        let mut long = self.values.iter().filter(|(value, _)| value.len() >= LONG);
        long.find(|(value, _)| text.contains(value.as_str())).map(|(_, known)| known.name.as_str())
    }
}

/// Decides which variables are secret, and refuses texts that have a secret in them.
pub(super) fn collect(translation: &mut Translation<'_>) {
    let open = open(translation);
    let mut sensitive = Sensitive::default();
    for variable in translation.variables.values_mut().flatten() {
        let (name, value) = (variable.name.clone(), variable.value.clone());
        let line = format!("{name}={value}");
        let inside = secrets_in_stack(line.as_bytes());
        let named = is_called(&name, &value);
        if named {
            sensitive.add(&value, &name, &open);
        }
        for one in &inside {
            sensitive.add_part(line.get(one.range.clone()).unwrap_or_default(), &name, &open);
        }
        variable.secret |= named || !inside.is_empty();
    }
    from_stack(translation, &mut sensitive, &open);
    for variable in translation.variables.values_mut().flatten() {
        variable.secret |= sensitive.found(&variable.value).is_some();
    }
    translation.sensitive = sensitive;
    let stack = translation.stack;
    for (service, node) in stack.services() {
        spoken(translation, service, node);
        for told in told::all(node) {
            refuse(translation, service, told);
        }
    }
    configs(translation);
}

/// What everybody may know: names of what the file has, and of users and databases.
fn open(translation: &Translation<'_>) -> BTreeSet<String> {
    let root = &translation.stack.root;
    let named = ["services", "volumes", "networks", "configs", "secrets"]
        .into_iter()
        .flat_map(|key| read::pairs(root, key).map(|(name, _)| name.to_string()).collect::<Vec<_>>());
    let ends = |name: &str| OPEN.iter().any(|end| name == *end || name.ends_with(&format!("_{end}")));
    let variables = translation.variables.values().flatten().filter(|variable| ends(&variable.name));
    named.chain(variables.map(|variable| variable.value.clone())).collect()
}

/// Secrets of the stack: variables that are called so, and what its `secrets` are made of, whatever that is called.
fn from_stack(translation: &Translation<'_>, sensitive: &mut Sensitive, open: &BTreeSet<String>) {
    let stack = translation.stack;
    for name in &stack.variables.used {
        let value = stack.variables.get(name).unwrap_or_default();
        if is_called(name, value) {
            sensitive.add(value, name, open);
        }
        secrets_in_stack(value.as_bytes())
            .into_iter()
            .for_each(|one| sensitive.add_part(value.get(one.range).unwrap_or_default(), name, open));
    }
    // What stands in for a variable that is not set stands in the file.
    for (name, value) in stack.sources.iter().flat_map(|source| defaults(&source.text)) {
        if is_called(name, value) {
            sensitive.add(value, name, open);
        }
    }
    for (name, secret) in read::pairs(&stack.root, "secrets") {
        if let Some(variable) = read::text(secret, "environment") {
            sensitive.add(stack.variables.get(variable).unwrap_or_default(), variable, open);
        }
        let Some(file) = read::text(secret, "file") else { continue };
        // Nothing outside of the project is read.
        let path = std::path::PathBuf::from(stack.real(file));
        let bytes =
            if path.starts_with(&stack.folder) { fs::read(&path, FILE_LIMIT).unwrap_or_default() } else { Vec::new() };
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim();
        let lines = text.lines().map(str::trim).filter(|line| *line == text || is_line(line));
        for line in lines {
            sensitive.add_part(line, name, open);
        }
    }
}

/// Every `${NAME:-VALUE}` of a text, also inside of others.
fn defaults(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for (at, mark) in text.match_indices("${") {
        let rest = text.get(at + mark.len()..).unwrap_or_default();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let Some(value) = rest.strip_prefix(":-").or_else(|| rest.strip_prefix('-')) else { continue };
        let mut depth = 1;
        let end = value.find(|c: char| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0 || c == '\n'
        });
        let value = end.and_then(|end| value.get(..end)).unwrap_or_default();
        if !value.is_empty() && !value.contains('$') {
            found.push((name, value));
        }
    }
    found
}

/// A line that says nothing to people: of a key, and not of a program or its settings.
fn is_line(line: &str) -> bool {
    line.len() >= LINE && line.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '-' | '_'))
}

/// Whether a variable or a label is called like a secret, and has a value that can be one.
pub(super) fn is_called(name: &str, value: &str) -> bool {
    if value.starts_with("/run/secrets/") || is_switch(name, value) || is_number(name, value) || is_published(name) {
        return false;
    }
    let upper = name.to_ascii_uppercase();
    let mut parts = upper.rsplit(['_', '-', '.', '/']);
    let last = parts.next().unwrap_or_default();
    let number = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && !value.is_empty();
    if is_secret(name) || is_secret(&name.replace(['.', '-', '/'], "_")) {
        return true;
    }
    let path = value.starts_with(['/', '.']) && !value.ends_with('=');
    let usable = value.len() >= SHORTEST && !path && !ANSWERS.contains(&value.to_ascii_lowercase().as_str());
    let joined = ["PASS", "PASSWORD", "PASSWD"].iter().any(|end| last.ends_with(end)) && !last.ends_with("BYPASS");
    let identifier = value.len() < LONG * 2 && value.bytes().all(|b| b.is_ascii_lowercase() || b"_-.:".contains(&b));
    let key = KEYS.contains(&last)
        && value.len() >= LONG
        && !number
        && (last == "AUTH" || !identifier)
        && !value.contains("://")
        && !WAYS.contains(&value.to_ascii_lowercase().as_str())
        && !upper.contains("PUBLI");
    is_secret_variable(name, value) || usable && (WORDS.contains(&last) || joined || key)
}

/// Secrets in a command that are those of a variable: the kubelet puts them there.
fn spoken(translation: &mut Translation<'_>, service: &str, node: &Node) {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut more: Vec<Variable> = Vec::new();
    let own = translation.variables.get(service).cloned().unwrap_or_default();
    for told in told::commands(node) {
        for (place, text) in &told.pieces {
            for (value, known) in translation.sensitive.all(text).into_iter().filter(|(_, known)| known.variable) {
                let same = own.iter().find(|variable| variable.secret && variable.value == *value);
                let taken = own.iter().chain(&more).find(|variable| variable.name == known.name);
                let name = match (same, taken) {
                    (Some(same), _) => same.name.clone(),
                    (None, Some(taken)) if taken.value != *value => continue,
                    (None, Some(taken)) => taken.name.clone(),
                    (None, None) => {
                        let (name, value) = (known.name.clone(), value.clone());
                        more.push(Variable { name, place: *place, value, secret: true });
                        known.name.clone()
                    }
                };
                found.insert(value.clone(), name);
            }
        }
    }
    for variable in &more {
        let what = format!("`{service}` gets the variable `{}`, because its command has it", shown(&variable.name));
        translation.note(variable.place, what);
    }
    translation.variables.entry(service.to_string()).or_default().extend(more);
    let mut found: Vec<(String, String)> = found.into_iter().collect();
    found.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    translation.spoken.insert(service.to_string(), found);
}

/// Refuses what a service is told if there is a secret in it.
fn refuse(translation: &mut Translation<'_>, service: &str, told: Told) {
    let told =
        if told.is_command() { told.with(translation.spoken.get(service).map_or(&[], Vec::as_slice)) } else { told };
    let text = told.text();
    let mut found: Vec<(usize, String)> = Vec::new();
    if let Some(name) = translation.sensitive.found(&text) {
        let at = told.pieces.iter().position(|(_, piece)| translation.sensitive.found(piece).is_some()).unwrap_or(0);
        found.push((at, format!("the value of `{}`", shown(name))));
    }
    if let (true, Some((name, value))) = (told.is_label(), text.split_once('='))
        && is_called(name, value)
    {
        found.push((0, "a password or key".into()));
    }
    found.extend(
        secrets_in_stack(text.as_bytes()).into_iter().map(|one| (told.piece(one.range.start), one.title.into())),
    );
    let Some((at, what)) = found.into_iter().next() else { return };
    let place = told.pieces.get(at).map(|(place, _)| *place).unwrap_or_default();
    let what = format!("`{}` of `{service}` has {what}, {NOWHERE}", shown(&told.key));
    translation.refuse(place, &what, told.hint());
}

/// Configs that have a secret are Secrets, if they can be made of what they come from.
fn configs(translation: &mut Translation<'_>) {
    let mut all = std::mem::take(&mut translation.configs);
    for (name, config) in &mut all {
        let inside = secrets_in_stack(&config.content).into_iter().next();
        let text = String::from_utf8_lossy(&config.content);
        let known = translation.sensitive.found(&text).map(|name| format!("the value of `{}`", shown(name)));
        let called = matches!(&config.origin, Origin::Variable(variable) if is_called(variable, &text));
        let what = match (inside, known) {
            (Some(one), _) => format!("{} in line {}", one.title, one.line),
            (None, Some(known)) => known,
            (None, None) if called => "a password or key".into(),
            _ => continue,
        };
        let what = format!("the config `{}` has {what}", shown(name));
        if config.origin == Origin::Written {
            let hint = "make it one of `secrets`, with `file`, and give it the same `target`";
            translation.refuse(config.place, &format!("{what}, {NOWHERE}"), hint);
        } else {
            config.object = format!("{}-config", config.object);
            config.secret = true;
            translation.note(config.place, format!("{what}: it is the Secret `{}`, and no ConfigMap", config.object));
        }
    }
    translation.configs = all;
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
    fn names_say_what_is_secret() {
        for (name, value) in [
            ("DB_PASSWORD", "x"),
            ("MYPASS", "abcd"),
            ("DB_PWD", "abcd"),
            ("db.password", "x"),
            ("REDIS_AUTH", "foobared"),
            ("API_KEYS", "a1b2c3d4,e5"),
            ("KEY", "Zm9vYmFyYmF6"),
            ("AUTH_SALT", "put your phrase here"),
            ("AWS_CREDS", "abcd:efgh"),
        ] {
            assert!(is_called(name, value), "{name}");
        }
        for (name, value) in [
            ("PASSWORD_FILE", "/run/secrets/x"),
            ("JWT_PRIVATE_KEY", "/run/secrets/x"),
            ("MYSQL_ALLOW_EMPTY_PASSWORD", "yes"),
            ("PWD", "/app"),
            ("MAX_TOKEN", "100"),
            ("NEXT_PUBLIC_API_KEY", "pk-abcdefghijkl"),
            ("SORT_KEY", "created_at"),
            ("CACHE_KEY", "v1"),
            ("ENABLE_AUTH", "true"),
            ("AUTH", "keycloak"),
            ("VAPID_PUBLIC_KEY", "BNcRdreALRFXTkOOUHK1"),
            ("BYPASS", "always"),
            ("KEYBOARD", "us-international"),
        ] {
            assert!(!is_called(name, value), "{name}");
        }
    }

    #[test]
    fn what_stands_in_for_a_variable_is_seen() {
        for (text, expected) in [
            ("a: ${A_PASS:-hunter2}-${B-x}", vec![("A_PASS", "hunter2"), ("B", "x")]),
            ("${A:-${B:-in{n}er}}", vec![("B", "in{n}er")]),
            ("$A ${A} ${A:?x} ${A:+x} ${A:-", vec![]),
        ] {
            assert_eq!(defaults(text), expected, "{text}");
        }
    }

    #[test]
    fn messages_have_no_secret() {
        let mut sensitive = Sensitive::default();
        sensitive.add("correct-horse", "X", &BTreeSet::new());
        for (text, expected) in [
            ("`/correct-horse/x` of this machine", "`/***/x` of this machine"),
            ("`https://me:hunter2@host/x` is none", "`https://me:***@host/x` is none"),
            ("`a` has no password", "`a` has no password"),
        ] {
            assert_eq!(sensitive.hidden(text), expected);
        }
    }

    #[test]
    fn values_are_found_but_names_and_answers_are_not() {
        let mut sensitive = Sensitive::default();
        let open = BTreeSet::from(["postgres".to_string(), "a-very-long-name".to_string()]);
        for value in ["postgres", "true", "abc", "hunter2", "long-secret", "a-very-long-name", "password"] {
            sensitive.add(value, "X", &open);
        }
        for (text, expected) in [
            ("postgres", false),
            ("true abc --password-file x", false),
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
