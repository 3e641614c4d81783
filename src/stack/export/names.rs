//! Names that Kubernetes takes, and what becomes of those that it does not.

use std::collections::{BTreeMap, BTreeSet};

use super::read;
use super::translation::{Translation, shown};
use crate::oci::Digest;
use crate::stack::node::{Node, Place};

/// The longest name of a service: a StatefulSet adds the number of a pod and a hash, a Service `-public`.
pub(super) const LIMIT: usize = 52;
/// Characters of a host name, as a program's configuration has it.
const HOST: [char; 3] = ['-', '_', '.'];

/// A label of DNS (RFC 1035) that comes of a name: the name itself if it is one.
pub(super) fn label(name: &str, limit: usize) -> String {
    let usual = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let plain: String = name.chars().map(usual).collect();
    let plain = plain.trim_matches('-');
    let plain = if plain.starts_with(|c: char| c.is_ascii_lowercase()) { plain.into() } else { format!("x-{plain}") };
    let plain = plain.trim_end_matches('-').to_string();
    if plain.len() <= limit {
        return plain;
    }
    let digest = Digest::of(name.as_bytes()).hex();
    let start = plain.get(..limit.saturating_sub(9)).unwrap_or_default().trim_end_matches('-');
    format!("{start}-{}", digest.get(..8).unwrap_or_default())
}

/// Whether an object may be called so: labels of DNS with dots between them.
pub(super) fn is_object(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-');
    name.len() <= 253 && name.split('.').all(is_part)
}

/// Chooses the names of all services.
pub(super) fn choose(translation: &mut Translation<'_>) {
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    for (service, node) in translation.stack.services() {
        let name = label(service, LIMIT);
        if let Some(other) = taken.insert(name.clone(), service.to_string()) {
            let what = format!("`{other}` and `{service}` would both be called `{name}`");
            translation.refuse(node.place, &what, "give one of them another name");
        }
        translation.names.insert(service.into(), name);
    }
}

/// Tells of services that get another name, and refuses those whose old one is used by somebody.
pub(super) fn mentioned(translation: &mut Translation<'_>) {
    let renamed: Vec<(String, String, Place)> = translation
        .stack
        .services()
        .map(|(service, node)| (service.to_string(), translation.name(service), node.place))
        .filter(|(service, name, _)| service != name)
        .collect();
    for (old, new, place) in renamed {
        match mention(translation, &old) {
            Some((who, at)) => {
                let what = format!("`{who}` speaks of `{}`, which is called `{new}` in a cluster", shown(&old));
                translation.refuse(at, &what, &format!("call the service `{new}` in the file"));
            }
            None => translation.note(place, format!("`{}` is called `{new}` in the cluster", shown(&old))),
        }
    }
}

/// The service that has a host's name in its configuration, and where.
pub(super) fn mention(translation: &Translation<'_>, host: &str) -> Option<(String, Place)> {
    for (service, node) in translation.stack.services() {
        for (place, _, text) in texts(translation, service, node) {
            if has_word(&text, host, &HOST) {
                return Some((service.to_string(), place));
            }
        }
    }
    None
}

/// Whether a service speaks of others that, at last, speak of it.
pub(super) fn is_in_circle(translation: &Translation<'_>, service: &str) -> bool {
    let stack = translation.stack;
    let (mut seen, mut next) = (BTreeSet::new(), vec![service.to_string()]);
    while let Some(one) = next.pop() {
        let Some((_, node)) = stack.services().find(|(name, _)| *name == one) else { continue };
        let texts = texts(translation, &one, node);
        for (other, _) in stack.services() {
            if texts.iter().any(|(_, _, text)| has_word(text, other, &HOST)) {
                if other == service {
                    return true;
                }
                if seen.insert(other.to_string()) {
                    next.push(other.to_string());
                }
            }
        }
    }
    false
}

/// Whether a text has the address of a host: `http://web/`, `web:8080`, `me@web`.
pub(super) fn is_address(text: &str, host: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || HOST.contains(&c);
    text.match_indices(host).any(|(at, _)| {
        let (before, after) = (text.get(..at).unwrap_or_default(), text.get(at + host.len()..).unwrap_or_default());
        let port = after.strip_prefix(':').is_some_and(|port| port.starts_with(|c: char| c.is_ascii_digit()));
        let begins = before.ends_with("//") || before.ends_with('@');
        !before.ends_with(part) && !after.starts_with(part) && (port || begins)
    })
}

/// Whether a word stands in a text, with neither letters nor digits nor one of these around it.
pub(super) fn has_word(text: &str, word: &str, inner: &[char]) -> bool {
    let part = |c: char| c.is_alphanumeric() || inner.contains(&c);
    !word.is_empty()
        && text.match_indices(word).any(|(at, _)| {
            let before = text.get(..at).and_then(|text| text.chars().next_back());
            let after = text.get(at + word.len()..).and_then(|text| text.chars().next());
            !before.is_some_and(part) && !after.is_some_and(part)
        })
}

/// The texts of a service that programs read: place, what it is called, text. Not the secret ones' values alone.
pub(super) fn texts(translation: &Translation<'_>, service: &str, node: &Node) -> Vec<(Place, String, String)> {
    let mut found = Vec::new();
    for variable in translation.variables.get(service).into_iter().flatten() {
        found.push((variable.place, format!("environment.{}", variable.name), variable.value.clone()));
    }
    let mut from = |key: &str, node: &Node| match (node.scalar(), node.list()) {
        (Some(text), _) => found.push((node.place, key.to_string(), text.to_string())),
        (_, Some(list)) => {
            found.extend(list.iter().filter_map(|one| Some((one.place, key.to_string(), one.scalar()?.to_string()))));
        }
        _ => {}
    };
    for key in ["command", "entrypoint", "hostname", "working_dir"] {
        node.get(key).into_iter().for_each(|node| from(key, node));
    }
    if let Some(endpoint) = node.get("x-ingot").and_then(|ingot| ingot.get("health")) {
        from("x-ingot.health", endpoint);
    }
    if let Some(test) = node.get("healthcheck").and_then(|check| check.get("test")) {
        from("healthcheck.test", test);
    }
    for key in ["post_start", "pre_stop"] {
        read::list(node, key).iter().filter_map(|hook| hook.get("command")).for_each(|node| from(key, node));
    }
    for key in ["labels", "annotations", "sysctls"] {
        read::pairs(node, key).for_each(|(_, node)| from(key, node));
    }
    if let Some(deploy) = node.get("deploy") {
        read::pairs(deploy, "labels").for_each(|(_, node)| from("deploy.labels", node));
    }
    for grant in read::list(node, "configs") {
        if let Some(config) = read::text(grant, "source").and_then(|source| translation.configs.get(source)) {
            found.push((grant.place, "configs".into(), String::from_utf8_lossy(&config.content).into_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_what_dns_takes() {
        for (name, expected) in [
            ("web", "web"),
            ("my_db", "my-db"),
            ("My.Web", "my-web"),
            ("1password", "x-1password"),
            ("-a-", "a"),
            ("___", "x"),
            ("a--b", "a--b"),
        ] {
            assert_eq!(label(name, LIMIT), expected);
        }
        for (name, expected) in
            [("a.b-1", true), ("1", true), ("a_b", false), ("A", false), ("a..b", false), ("", false)]
        {
            assert_eq!(is_object(name), expected, "{name}");
        }
        let long = "a".repeat(60);
        let (short, other) = (label(&long, LIMIT), label(&format!("{long}b"), LIMIT));
        assert_eq!((short.len(), other.len()), (LIMIT, LIMIT));
        assert_ne!(short, other);
    }

    #[test]
    fn addresses_are_told_from_words() {
        for (text, expected) in [
            ("1@kafka:9093", true),
            ("http://kafka/", true),
            ("kafka", false),
            ("my-kafka:1", false),
            ("kafka: x", false),
        ] {
            assert_eq!(is_address(text, "kafka"), expected, "{text}");
        }
    }

    #[test]
    fn words_stand_alone() {
        for (text, expected) in [
            ("postgres://u:p@my_db:5432/x", true),
            ("my_db", true),
            ("http://my_db/", true),
            ("my_db.example", false),
            ("the_my_db", false),
            ("my_dbs", false),
        ] {
            assert_eq!(has_word(text, "my_db", &HOST), expected, "{text}");
        }
        assert!(!has_word("x", "", &HOST));
    }
}
