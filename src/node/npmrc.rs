//! .npmrc files: `key = value`, as the `ini` package of npm reads them, with `${VARIABLE}` in keys and values.

use std::collections::BTreeMap;

/// A setting as it is written, and after its variables were put in.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// The value; never shown.
    pub value: String,
    /// Where it stands: a file or a variable.
    pub place: String,
    /// A variable that it names and that is not set.
    pub unset: Option<String>,
}

/// The settings of one file, without sections. The last of several with the same name holds.
pub fn parse(text: &str, place: &str, variables: &BTreeMap<String, String>) -> BTreeMap<String, Setting> {
    let mut settings = BTreeMap::new();
    let mut in_section = false;
    // Lines end as the ini package has it; JavaScript takes the mark at the beginning for a blank.
    for line in text.trim_start_matches('\u{feff}').split(['\r', '\n']) {
        let line = line.trim();
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        if line.starts_with('[') && line.ends_with(']') {
            in_section = true;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| !in_section) else { continue };
        let (key, unset_in_key) = expand(&unquoted(key.trim()), variables);
        let (value, unset) = expand(&unquoted(value.trim()), variables);
        let unset = unset_in_key.or(unset);
        settings.insert(key, Setting { value, place: place.to_string(), unset });
    }
    settings
}

/// A value without its quotes, or without the comment behind it; `\;`, `\#` and `\\` are `;`, `#` and `\`.
fn unquoted(text: &str) -> String {
    if text.len() >= 2 && text.starts_with('"') && text.ends_with('"') {
        return serde_json::from_str::<String>(text).unwrap_or_else(|_| text.to_string());
    }
    if let Some(inner) = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return inner.to_string();
    }
    let mut plain = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some(escaped @ ('\\' | ';' | '#')) => plain.push(escaped),
                Some(other) => plain.extend(['\\', other]),
                None => plain.push('\\'),
            },
            ';' | '#' => break,
            other => plain.push(other),
        }
    }
    plain.trim().to_string()
}

/// With its variables put in, and one that is not set. `${NAME?}` is empty if it is not; `\${NAME}` is itself.
pub fn expand(text: &str, variables: &BTreeMap<String, String>) -> (String, Option<String>) {
    let (mut expanded, mut unset) = (String::new(), None);
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, behind) = rest.split_at(at);
        let backslashes = before.len() - before.trim_end_matches('\\').len();
        let named = behind.get(2..).and_then(|inner| inner.split_once('}'));
        let name = named.map(|(name, _)| name).filter(|name| !name.is_empty() && !name.contains(['$', '{']));
        let (Some(name), Some((_, after))) = (name, named) else {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = behind.get(2..).unwrap_or_default();
            continue;
        };
        expanded.push_str(before.get(..before.len() - backslashes).unwrap_or_default());
        expanded.push_str(&"\\".repeat(backslashes / 2));
        let (plain, may_lack) = name.strip_suffix('?').map_or((name, false), |plain| (plain, true));
        match variables.get(plain) {
            _ if backslashes % 2 == 1 => expanded.push_str(&format!("${{{name}}}")),
            Some(value) => expanded.push_str(value),
            None if may_lack => {}
            None => {
                unset = unset.or(Some(plain.to_string()));
                expanded.push_str(&format!("${{{plain}}}"));
            }
        }
        rest = after;
    }
    expanded.push_str(rest);
    (expanded, unset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> BTreeMap<String, String> {
        [("TOKEN", "t"), ("HOST", "registry.example")].map(|(n, v)| (n.to_string(), v.to_string())).into()
    }

    #[test]
    fn files_are_read_as_npm_reads_them() {
        let text = "\u{20}; comment\n# comment\nregistry = https://registry.example/ ; why\n\
                    \"@s:registry\"='https://s.example/'\n//${HOST}/:_authToken=${TOKEN}\nx=a\\;b\\#c\\\\d\\e\n\
                    empty=\nflag\nq=\"a\\u0041\"\nx2=1\nx2=2\n[section]\nregistry = https://other.example/\n";
        let settings = parse(text, "f", &variables());
        let all: Vec<String> = settings.iter().map(|(key, setting)| format!("{key}={}", setting.value)).collect();
        assert_eq!(
            all,
            [
                "//registry.example/:_authToken=t",
                "@s:registry=https://s.example/",
                "empty=",
                "q=aA",
                "registry=https://registry.example/",
                "x=a;b#c\\d\\e",
                "x2=2"
            ]
        );
    }

    #[test]
    fn marks_and_old_ends_of_lines_hide_nothing() {
        let settings = parse(
            "\u{feff}@s:registry=https://s.example/\r\nregistry=https://r.example/\r//r.example/:_authToken=t\r",
            "f",
            &variables(),
        );
        let all: Vec<String> = settings.iter().map(|(key, setting)| format!("{key}={}", setting.value)).collect();
        assert_eq!(all, ["//r.example/:_authToken=t", "@s:registry=https://s.example/", "registry=https://r.example/"]);
    }

    #[test]
    fn variables_are_put_in() {
        let of = |text: &str| expand(text, &variables());
        let plain = |text: &str| (text.to_string(), None);
        assert_eq!(of("a${TOKEN}b${HOST}"), plain("atbregistry.example"));
        assert_eq!(of("${NONE?}x"), plain("x"));
        assert_eq!(of("\\${TOKEN}"), plain("${TOKEN}"));
        assert_eq!(of("\\\\${TOKEN}"), plain("\\t"));
        assert_eq!(of("${NONE}"), ("${NONE}".into(), Some("NONE".into())));
        for same in ["$TOKEN", "${", "${}", "${TOKEN", "}", "${a${b"] {
            assert_eq!(of(same), plain(same), "{same}");
        }
    }
}
