//! What the value of a secret says: that it is none, that everybody knows it, or that it is to be replaced.

use std::collections::BTreeSet;

/// Values that everybody tries first, in lower case without digits and signs at their end.
const USUAL: [&str; 25] = [
    "password",
    "passwd",
    "pass",
    "secret",
    "changeme",
    "change",
    "changeit",
    "admin",
    "root",
    "postgres",
    "mysql",
    "example",
    "test",
    "dev",
    "development",
    "default",
    "letmein",
    "supersecret",
    "guest",
    "minioadmin",
    "mongo",
    "redis",
    "qwerty",
    "replace",
    "yoursecret",
];
/// Words of values that somebody is to replace.
const PLACEHOLDERS: [&str; 16] = [
    "changeme",
    "enter",
    "fill",
    "generate",
    "generated",
    "here",
    "insert",
    "placeholder",
    "please",
    "put",
    "random",
    "replace",
    "string",
    "todo",
    "xxx",
    "your",
];
/// The most words that can be guessed together.
const FEW_WORDS: usize = 3;
/// A shorter secret can be guessed.
const SHORT: usize = 12;

/// Of a secret that is not there.
pub const EMPTY: &str = "is empty";

/// Why a secret is none.
pub fn weakness(value: &str) -> Option<&'static str> {
    let lower = value.to_ascii_lowercase();
    let weak = lower.trim_end_matches(|c: char| !c.is_ascii_alphabetic());
    let parts = || weak.split(['-', '_', ' ', '.']);
    let few = value.chars().collect::<BTreeSet<char>>().len() < 4;
    let is_words = lower.chars().all(|c| c.is_ascii_alphabetic() || "-_ .".contains(c)) && parts().count() > 1;
    let is_open = value.starts_with('<') && value.ends_with('>') || lower.starts_with("xxx");
    match () {
        () if value.trim().is_empty() => Some(EMPTY),
        () if parts().any(|part| USUAL.contains(&part)) || few => Some("has a value that everybody tries first"),
        () if is_open || is_words && parts().any(|part| PLACEHOLDERS.contains(&part)) => {
            Some("has a value that is to be replaced")
        }
        () if value.len() < SHORT => Some("is short enough to be guessed"),
        () if is_words && parts().count() <= FEW_WORDS => Some("is made of words that can be guessed"),
        () => None,
    }
}

/// What a shell in the container puts in: `$DB_PASSWORD`, `${DB_PASSWORD}`, `$(cat FILE)`. Compose writes `$$` for its dollar.
pub fn is_shells(value: &str) -> bool {
    let Some(rest) = value.strip_prefix('$') else { return false };
    let is_closed = |open: char, close: char| rest.starts_with(open) && rest.ends_with(close);
    let is_name = rest.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        && rest.starts_with(|c: char| c.is_ascii_uppercase() || c == '_');
    is_name || is_closed('{', '}') || is_closed('(', ')')
}

/// The passwords in the URLs of a text: `postgres://me:PASSWORD@db/x`.
pub fn in_urls(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for behind in text.split("://").skip(1) {
        let authority = behind.split(|c: char| "/?#,\"'".contains(c) || c.is_whitespace()).next().unwrap_or_default();
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        found.extend(user.and_then(|user| user.split_once(':')).map(|(_, password)| password));
    }
    found.retain(|password| !password.is_empty() && !is_shells(password));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_say_why_they_are_none() {
        for (value, expected) in [
            ("", Some("is empty")),
            (" ", Some("is empty")),
            ("changeme1", Some("has a value that everybody tries first")),
            ("aaaaaaaaaaaaaaaaaa", Some("has a value that everybody tries first")),
            ("generate-a-random-one", Some("has a value that is to be replaced")),
            ("your-tunnel-token-here", Some("has a value that is to be replaced")),
            ("long-and-random-alphanumeric-string", Some("has a value that is to be replaced")),
            ("<YOUR-PRESHARED-KEY>", Some("has a value that is to be replaced")),
            ("xxxabcdefghijkl", Some("has a value that is to be replaced")),
            ("infini_rag_flow", Some("is made of words that can be guessed")),
            ("airflow", Some("is short enough to be guessed")),
            ("k2J9xQ7vRt4Wm8Zs", None),
            ("Rdgfdfghjgkhw", None),
            ("correct-horse-battery-staple", None),
            ("kQvRtWmZsX-yourkQvRt4", None),
        ] {
            assert_eq!(weakness(value), expected, "{value}");
        }
    }

    #[test]
    fn urls_have_passwords() {
        assert_eq!(in_urls("postgres://a:b@db/x redis://:c@r:6379,amqp://u:d:e@q"), ["b", "c", "d:e"]);
        assert_eq!(in_urls("postgresql+psycopg2://airflow:airflow@db/a"), ["airflow"]);
        for text in
            ["http://a@b/", "http://host:80/x@y:z", "postgres://a:$PASS@db", "redis://:@r", "a:b@c", "http://x/a:b@c"]
        {
            assert_eq!(in_urls(text), [""; 0], "{text}");
        }
    }
}
