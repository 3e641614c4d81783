//! Files of variables: `.env`, and those that `env_file` names.

use std::collections::BTreeMap;

use super::error::Error;
use super::interpolate::Variables;
use super::node::Place;

/// The variables of a file, each with its line.
pub type Found = BTreeMap<String, (usize, String)>;

/// Reads lines of `NAME=VALUE` as Compose does: with `export`, quotes and comments; `NAME` alone takes the value that is
/// known. In double quotes and without quotes, variables of `known` and of the lines above are expanded.
pub fn dotenv(text: &str, name: &str, known: &BTreeMap<String, String>) -> Result<Found, Error> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let mut found = Found::new();
    let (mut rest, mut line) = (text.as_str(), 1);
    loop {
        let begin = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
        line += newlines(rest, begin);
        rest = rest.get(begin..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(found);
        }
        let (statement, behind) = rest.split_once('\n').unwrap_or((rest, ""));
        if statement.starts_with('#') {
            (rest, line) = (behind, line + 1);
            continue;
        }
        let wrong = |what: &str| Error::Yaml { file: name.into(), line, what: what.into() };
        let (key, value) = key(statement).map_err(wrong)?;
        let Some(value) = value else {
            if let Some(value) = known.get(key) {
                found.insert(key.into(), (line, value.clone()));
            }
            (rest, line) = (behind, line + 1);
            continue;
        };
        let (key, at) = (key.to_string(), line);
        let start = value.trim_start_matches(is_blank);
        let from = rest.len() - behind.len() - usize::from(rest.contains('\n')) - start.len();
        let (raw, is_expanded, used) = match start.chars().next() {
            Some(quote @ ('\'' | '"')) => {
                let inner = rest.get(from + 1..).unwrap_or_default();
                let (raw, used) = quoted(inner, quote).ok_or_else(|| wrong("a quote is not closed"))?;
                (if quote == '"' { unescaped(&raw) } else { raw }, quote == '"', from + 1 + used)
            }
            _ => {
                let plain = start.split(" #").next().unwrap_or_default().trim_end();
                (plain.to_string(), true, statement.len())
            }
        };
        line += newlines(rest, used);
        let value = if is_expanded && raw.contains('$') {
            let above = found.iter().map(|(name, (_, value))| (name.clone(), value.clone())).collect();
            let mut variables = Variables::new(above, known.clone());
            let wrong = |what| Error::Yaml { file: name.into(), line: at, what };
            variables.text(&raw, Place::default(), 0).map_err(wrong)?
        } else {
            raw
        };
        found.insert(key, (at, value));
        rest = rest.get(used..).unwrap_or_default();
    }
}

/// The same lines without quotes, comments at their end and variables (`format: raw`).
pub fn raw(text: &str) -> Found {
    let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim_start().starts_with('#'));
    let pair = |(at, line): (usize, &str)| {
        let (name, value) = line.split_once('=')?;
        Some((name.trim().to_string(), (at + 1, value.to_string())))
    };
    lines.filter_map(pair).collect()
}

fn newlines(text: &str, until: usize) -> usize {
    text.get(..until).unwrap_or_default().matches('\n').count()
}

fn is_blank(c: char) -> bool {
    c != '\n' && c.is_whitespace()
}

/// The name of a statement, and what stands behind its `=` (or `:`).
fn key(statement: &str) -> Result<(&str, Option<&str>), &'static str> {
    let without = statement.strip_prefix("export").filter(|rest| rest.starts_with(is_blank));
    let statement = without.unwrap_or(statement).trim_start();
    let (key, value) = match statement.find(['=', ':']) {
        Some(at) => (statement.get(..at).unwrap_or_default(), statement.get(at + 1..)),
        None => (statement, None),
    };
    let key = key.trim_end();
    match () {
        () if key.contains(char::is_whitespace) && value.is_none() => Err("a line without `=`"),
        () if key.is_empty() || !key.chars().all(|c| c.is_alphanumeric() || "_.-[]".contains(c)) => {
            Err("a name that no variable can have")
        }
        () => Ok((key, value)),
    }
}

/// What stands until the quote that closes, and how many bytes that is with it. Only a quote is taken out of its escape.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let (mut out, mut escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            _ if c == quote && !escaped => return Some((out, at + 1)),
            '\\' if !escaped => escaped = true,
            _ => {
                if escaped && c != quote {
                    out.push('\\');
                }
                escaped = false;
                out.push(c);
            }
        }
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some('$') => out.push_str("$$"),
                Some(other @ ('\\' | '"')) => out.push(other),
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
                None => out.push('\\'),
            },
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_compose_reads_them() {
        let text = "# c\n\nexport A=1\nB = two words # c\nC='$A \"x\"'\nD=\"$A \\\"x\\\"\\n\\$A\"\nE=\"two\nlines\" # c\nF=${A}${HOST}\nG=\nH=a#b\nI=#c\nHOST\nNOWHERE\nJ: yaml\r\nK='it\\'s'\nL=$(x)\nM=\"\\d\"\n";
        let known = BTreeMap::from([("HOST".to_string(), "h".to_string())]);
        let found = dotenv(text, ".env", &known).unwrap();
        let expected = [
            ("A", 3, "1"),
            ("B", 4, "two words"),
            ("C", 5, "$A \"x\""),
            ("D", 6, "1 \"x\"\n$A"),
            ("E", 7, "two\nlines"),
            ("F", 9, "1h"),
            ("G", 10, ""),
            ("H", 11, "a#b"),
            ("HOST", 13, "h"),
            ("I", 12, "#c"),
            ("J", 15, "yaml"),
            ("K", 16, "it's"),
            ("L", 17, "$(x)"),
            ("M", 18, "\\d"),
        ];
        assert_eq!(found, expected.map(|(name, line, value)| (name.to_string(), (line, value.to_string()))).into());
        for (text, expected) in [
            ("A B C", "line 1: a line without `=`"),
            ("\nA B=1", "line 2: a name"),
            ("A='x", "a quote is not closed"),
            ("A=${", "without `}`"),
            ("A='x'y z", "a line without `=`"),
        ] {
            let error = dotenv(text, ".env", &known).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert_eq!(raw("A='x' # $y\n# c\n")["A"], (1, "'x' # $y".to_string()));
    }
}
