//! Versions of Node, and ranges of them as packages write them in `engines` (node-semver): `>=18`, `^16.14 || 18.x`.

use std::fmt;

/// A release: major, minor, patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u64, pub u64, pub u64);

impl Version {
    /// From `18.20.4`, `v20.11.0` or what a distribution adds to it: `18.20.4+dfsg-1`.
    pub fn parse(text: &str) -> Option<Version> {
        let numbers: String =
            text.trim_start_matches('v').chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        let mut parts = numbers.split('.');
        let mut next = || parts.next()?.parse().ok();
        Some(Version(next()?, next()?, next()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// From the first on, up to and without the second, if there is one.
type Span = (Version, Option<Version>);

const LOWEST: Version = Version(0, 0, 0);

/// A version of which parts may be missing: `18`, `18.x`, `*`.
#[derive(Clone, Copy, Debug, Default)]
struct Partial(Option<u64>, Option<u64>, Option<u64>);

impl Partial {
    /// What comes behind a hyphen or a plus does not matter: Node's own versions have neither.
    fn parse(text: &str) -> Option<Partial> {
        let text = text.trim_start_matches(['v', '=']).split(['-', '+']).next().unwrap_or_default();
        let mut partial = Partial::default();
        let mut open = false;
        for (place, part) in text.split('.').enumerate() {
            let number = match part {
                "" if place == 0 => None,
                "x" | "X" | "*" => None,
                digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
                _ => return None,
            };
            // Behind an `x` nothing is said any more.
            open |= number.is_none();
            match place {
                _ if open => {}
                0 => partial.0 = number,
                1 => partial.1 = number,
                2 => partial.2 = number,
                _ => return None,
            }
        }
        Some(partial)
    }

    fn lowest(self) -> Version {
        Version(self.0.unwrap_or(0), self.1.unwrap_or(0), self.2.unwrap_or(0))
    }

    /// The first version that is not one of these.
    fn end(self) -> Option<Version> {
        match self {
            Partial(None, ..) => None,
            Partial(Some(major), None, _) => Some(Version(major.saturating_add(1), 0, 0)),
            Partial(Some(major), Some(minor), None) => Some(Version(major, minor.saturating_add(1), 0)),
            Partial(Some(major), Some(minor), Some(patch)) => Some(Version(major, minor, patch.saturating_add(1))),
        }
    }
}

/// Whether a version is in a range; `None` if the range is not understood.
pub fn contains(range: &str, version: Version) -> Option<bool> {
    let mut found = false;
    for alternative in range.split("||") {
        let spans = spans(alternative)?;
        found |= spans.iter().all(|(from, to)| version >= *from && to.is_none_or(|to| version < to));
    }
    Some(found)
}

/// All of which have to hold.
fn spans(text: &str) -> Option<Vec<Span>> {
    if let Some((from, to)) = text.split_once(" - ") {
        let (from, to) = (Partial::parse(from.trim())?, Partial::parse(to.trim())?);
        return Some(vec![(from.lowest(), to.end())]);
    }
    // An operator may stand apart from its version.
    let mut words: Vec<String> = Vec::new();
    for word in text.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
        match words.last_mut().filter(|last| last.ends_with(['<', '>', '=', '~', '^'])) {
            Some(operator) => operator.push_str(word),
            None => words.push(word.to_string()),
        }
    }
    if words.is_empty() {
        return Some(vec![(LOWEST, None)]);
    }
    words.iter().map(|word| span(word)).collect()
}

fn span(word: &str) -> Option<Span> {
    let version = word.trim_start_matches(['<', '>', '=', '~', '^']);
    let operator = word.get(..word.len() - version.len())?;
    let partial = Partial::parse(version)?;
    let (lowest, end) = (partial.lowest(), partial.end());
    Some(match operator {
        "" | "=" => (lowest, end),
        ">=" => (lowest, None),
        // Nothing is above all versions.
        ">" => (end.unwrap_or(Version(u64::MAX, 0, 0)), None),
        "<" => (LOWEST, Some(lowest)),
        "<=" => (LOWEST, end),
        "~" | "~>" => (lowest, Partial(partial.0, partial.1, None).end()),
        "^" => (lowest, caret(partial)),
        _ => return None,
    })
}

/// Up to the next change of the first part that is not 0.
fn caret(partial: Partial) -> Option<Version> {
    match partial {
        Partial(Some(0), Some(0), _) => partial.end(),
        Partial(Some(0), Some(_), _) => Partial(partial.0, partial.1, None).end(),
        _ => Partial(partial.0, None, None).end(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_cut_out_of_what_distributions_write() {
        for (text, expected) in [
            ("18.20.4", Some(Version(18, 20, 4))),
            ("v20.11.0", Some(Version(20, 11, 0))),
            ("18.20.4+dfsg-1~deb12u3", Some(Version(18, 20, 4))),
            ("20.20.2-1nodesource1", Some(Version(20, 20, 2))),
            ("18", None),
            ("", None),
        ] {
            assert_eq!(Version::parse(text), expected, "{text}");
        }
        assert_eq!(Version(18, 20, 4).to_string(), "18.20.4");
    }

    /// The answers are node-semver's, `satisfies(version, range, { includePrerelease: true })`.
    #[test]
    fn ranges_are_read_as_npm_reads_them() {
        for (range, inside, outside) in [
            ("", "0.0.0 99.0.0", ""),
            ("*", "0.0.0 99.0.0", ""),
            ("x", "18.0.0", ""),
            ("18", "18.0.0 18.99.0", "17.9.9 19.0.0"),
            ("18.x", "18.0.0 18.99.0", "17.9.9 19.0.0"),
            ("18.2", "18.2.0 18.2.9", "18.1.0 18.3.0"),
            ("=18.2.1", "18.2.1", "18.2.0 18.2.2"),
            ("v18.2.1", "18.2.1", "18.2.2"),
            (">=18", "18.0.0 20.0.0", "17.9.9"),
            (">= 18", "18.0.0 20.0.0", "17.9.9"),
            (">=18.0.0-0", "18.0.0", "17.9.9"),
            (">18", "19.0.0", "18.99.0"),
            (">18.2", "18.3.0", "18.2.9"),
            (">18.2.1", "18.2.2", "18.2.1"),
            (">*", "", "18.0.0"),
            ("<18", "17.9.9", "18.0.0"),
            ("<=18", "18.99.0", "19.0.0"),
            ("<=18.2.1", "18.2.1", "18.2.2"),
            ("~18.2.1", "18.2.1 18.2.9", "18.2.0 18.3.0"),
            ("~> 18", "18.0.0 18.9.0", "19.0.0"),
            ("^18.2.1", "18.2.1 18.9.0", "18.2.0 19.0.0"),
            ("^0.2.1", "0.2.1 0.2.9", "0.3.0 0.2.0"),
            ("^0.0.3", "0.0.3", "0.0.4 0.0.2"),
            ("^0.0", "0.0.9", "0.1.0"),
            ("^0", "0.9.0", "1.0.0"),
            ("^16.14.0 || >=18.0.0", "16.14.0 16.99.0 18.0.0 22.0.0", "16.13.0 17.0.0"),
            (">=10 <12 || 14", "10.0.0 11.9.0 14.1.0", "12.0.0 13.0.0"),
            ("10 - 12", "10.0.0 12.9.9", "9.0.0 13.0.0"),
            ("10.1.2 - 12.0.1", "10.1.2 12.0.1", "10.1.1 12.0.2"),
        ] {
            let of = |text: &str| contains(range, Version::parse(text).unwrap());
            inside.split_whitespace().for_each(|version| assert_eq!(of(version), Some(true), "{version} in {range}"));
            outside
                .split_whitespace()
                .for_each(|version| assert_eq!(of(version), Some(false), "{version} not in {range}"));
        }
        for nonsense in ["latest", ">=node", "1.2.3.4", "=>18", "99999999999999999999"] {
            assert_eq!(contains(nonsense, Version(18, 0, 0)), None, "{nonsense}");
        }
    }
}
