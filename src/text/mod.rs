//! Text for people: escaping what came from outside, sizes, tables. It decides nothing and prints nothing.

mod table;

pub use table::{Align, Table};

/// Where `what` begins in `bytes` for the first time.
pub fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let Some(first) = what.first() else { return Some(0) };
    let mut at = 0;
    loop {
        let rest = bytes.get(at..)?;
        // Most bytes are looked at once.
        at += rest.iter().position(|byte| byte == first)?;
        if bytes.get(at..)?.starts_with(what) {
            return Some(at);
        }
        at += 1;
    }
}

/// Text without anything that a terminal would act on: control and bidirectional characters are written as escapes.
pub fn escape(text: &str) -> String {
    escaped(text, false)
}

/// Like [`escape`], but line ends and tabs stay.
pub fn escape_lines(text: &str) -> String {
    escaped(text, true)
}

fn escaped(text: &str, lines: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let harmless = lines && matches!(character, '\n' | '\t');
        let bidirectional =
            matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if (character.is_control() && !harmless) || bidirectional {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// A size in decimal units, as registries and budgets count: "12.3 MB".
pub fn size(bytes: u64) -> String {
    let units = [("GB", 1_000_000_000u64), ("MB", 1_000_000), ("kB", 1_000)];
    match units.iter().find(|(_, unit)| bytes >= *unit) {
        // Tenths, rounded half up, without floating point.
        Some((name, unit)) => {
            let tenths = (u128::from(bytes) * 10 + u128::from(*unit) / 2) / u128::from(*unit);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_found() {
        for (bytes, what, at) in [
            ("aab", "ab", Some(1)),
            ("aaaab", "aab", Some(2)),
            ("", "a", None),
            ("ab", "b", Some(1)),
            ("a", "ab", None),
        ] {
            assert_eq!(find(bytes.as_bytes(), what.as_bytes()), at, "{bytes} {what}");
        }
        assert_eq!(find(b"a", b""), Some(0));
    }

    #[test]
    fn terminals_are_not_told_what_to_do() {
        assert_eq!(escape("a\x1b]52;c;x\x07\u{202e}b\n"), "a\\u{1b}]52;c;x\\u{7}\\u{202e}b\\n");
        assert_eq!(escape_lines("a\n\tb\r"), "a\n\tb\\r");
    }

    #[test]
    fn sizes_are_decimal() {
        let table = [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (1_249_999, "1.2 MB"), (1_250_000, "1.3 MB")];
        for (bytes, text) in table {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(size(u64::MAX), "18446744073.7 GB");
    }
}
