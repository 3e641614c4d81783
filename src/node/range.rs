//! Versions of packages and of Node, and ranges of them as package.json files write them (node-semver):
//! `>=18`, `^16.14 || 18.x`, `1.2.3 - 2`, `~2.0.0-rc.1`.

use std::cmp::Ordering;
use std::fmt;

/// A version. What stands behind a plus means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    numbers: [u64; 3],
    /// What makes it one that comes before the release; empty for a release.
    before: Vec<Part>,
}

/// A part of what stands behind the hyphen: numbers come before words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Word(String),
}

impl Version {
    /// A release.
    pub const fn new(major: u64, minor: u64, patch: u64) -> Version {
        Version { numbers: [major, minor, patch], before: Vec::new() }
    }

    /// A package's version: `1.2.3`, `1.2.3-rc.1+build.5`.
    pub fn parse(text: &str) -> Option<Version> {
        match Partial::parse(text.trim())? {
            Partial { numbers: [Some(major), Some(minor), Some(patch)], before } => {
                Some(Version { numbers: [major, minor, patch], before })
            }
            _ => None,
        }
    }

    /// The release that a distribution has: `18.20.4+dfsg-1~deb12u3`, `v20.11.0`, `20.20.2-1nodesource1`.
    pub fn of_release(text: &str) -> Option<Version> {
        let digits = text.trim_start_matches('v');
        let end = digits.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(digits.len());
        let mut parts = digits.get(..end)?.split('.');
        let mut next = || parts.next()?.parse().ok();
        Some(Version::new(next()?, next()?, next()?))
    }

    /// The lowest that comes before this release: `-0`.
    fn first_before(major: u64, minor: u64, patch: u64) -> Version {
        Version { numbers: [major, minor, patch], before: vec![Part::Number(0)] }
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let before = || match (self.before.is_empty(), other.before.is_empty()) {
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            _ => self.before.cmp(&other.before),
        };
        self.numbers.cmp(&other.numbers).then_with(before)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        for (place, part) in self.before.iter().enumerate() {
            f.write_str(if place == 0 { "-" } else { "." })?;
            match part {
                Part::Number(number) => write!(f, "{number}")?,
                Part::Word(word) => f.write_str(word)?,
            }
        }
        Ok(())
    }
}

/// A version of which parts may be missing: `18`, `18.x`, `*`. Behind one that is missing nothing is said any more.
#[derive(Clone, Debug)]
struct Partial {
    numbers: [Option<u64>; 3],
    before: Vec<Part>,
}

impl Partial {
    fn parse(text: &str) -> Option<Partial> {
        let text = text.trim_start_matches(['v', '=']).split('+').next().unwrap_or_default();
        let (numbers, before) = text.split_once('-').map_or((text, None), |(numbers, rest)| (numbers, Some(rest)));
        let mut found = Partial { numbers: [None; 3], before: Vec::new() };
        let mut parts = numbers.split('.');
        let mut open = false;
        for (place, number) in found.numbers.iter_mut().enumerate() {
            let Some(part) = parts.next() else { break };
            match part {
                "x" | "X" | "*" => open = true,
                "" if place == 0 && numbers.is_empty() => open = true,
                digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    let value = digits.parse().ok().filter(|value| *value < u64::MAX / 2)?;
                    *number = Some(value).filter(|_| !open);
                }
                _ => return None,
            }
        }
        if parts.next().is_some() {
            return None;
        }
        if let Some(before) = before {
            let parts = before.split('.').map(Part::parse).collect::<Option<Vec<Part>>>()?;
            let whole = found.numbers.iter().all(Option::is_some);
            found.before = if whole { parts } else { Vec::new() };
        }
        Some(found)
    }

    fn lowest(&self) -> Version {
        let [major, minor, patch] = self.numbers.map(Option::unwrap_or_default);
        Version { numbers: [major, minor, patch], before: self.before.clone() }
    }

    /// Where the versions of this one end that have the same first `parts`; `None` if nothing is said of those.
    fn end(&self, parts: usize) -> Option<Version> {
        let [major, minor, patch] = self.numbers;
        Some(match (parts, major?, minor, patch) {
            (3, major, Some(minor), Some(patch)) => Version::first_before(major, minor, patch + 1),
            (2 | 3, major, Some(minor), _) => Version::first_before(major, minor + 1, 0),
            (_, major, ..) => Version::first_before(major + 1, 0, 0),
        })
    }

    fn is_whole(&self) -> bool {
        self.numbers.iter().all(Option::is_some)
    }
}

impl Part {
    fn parse(text: &str) -> Option<Part> {
        let fit = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        fit.then(|| number.map_or_else(|| Part::Word(text.to_string()), Part::Number))
    }
}

/// What a version has to be: a comparison.
#[derive(Clone, Debug)]
enum Comparison {
    From(Version),
    Above(Version),
    Below(Version),
    UpTo(Version),
    Is(Version),
}

use Comparison::{Above, Below, From, Is, UpTo};

impl Comparison {
    fn holds(&self, version: &Version) -> bool {
        match self {
            From(bound) => version >= bound,
            Above(bound) => version > bound,
            Below(bound) => version < bound,
            UpTo(bound) => version <= bound,
            Is(bound) => version == bound,
        }
    }

    fn bound(&self) -> &Version {
        let (From(bound) | Above(bound) | Below(bound) | UpTo(bound) | Is(bound)) = self;
        bound
    }

    /// The lower end, and whether it belongs to it.
    fn lower(&self) -> Option<(&Version, bool)> {
        match self {
            From(bound) | Is(bound) => Some((bound, true)),
            Above(bound) => Some((bound, false)),
            Below(_) | UpTo(_) => None,
        }
    }

    fn upper(&self) -> Option<(&Version, bool)> {
        match self {
            UpTo(bound) | Is(bound) => Some((bound, true)),
            Below(bound) => Some((bound, false)),
            From(_) | Above(_) => None,
        }
    }
}

/// A range: alternatives, in each of which all comparisons have to hold.
#[derive(Clone, Debug)]
pub struct Range(Vec<Vec<Comparison>>);

impl Range {
    /// `None` if it is not understood: a tag, a URL, or nonsense.
    pub fn parse(text: &str) -> Option<Range> {
        let mut alternatives = text.split("||").map(alternative).collect::<Option<Vec<_>>>()?;
        // From the very first on is no condition, not even for what comes before it.
        alternatives
            .iter_mut()
            .for_each(|all| all.retain(|one| !matches!(one, From(bound) if *bound == Version::new(0, 0, 0))));
        Some(Range(alternatives))
    }

    /// Whether a version is in it. One from before a release only is if the range names one of the same release.
    pub fn contains(&self, version: &Version) -> bool {
        let named = |all: &Vec<Comparison>| {
            let same = |one: &Comparison| !one.bound().before.is_empty() && one.bound().numbers == version.numbers;
            version.before.is_empty() || all.iter().any(same)
        };
        self.0.iter().any(|all| all.iter().all(|one| one.holds(version)) && named(all))
    }

    /// Whether some version could be in both.
    pub fn meets(&self, other: &Range) -> bool {
        self.0.iter().any(|own| other.0.iter().any(|theirs| is_possible(&[own.as_slice(), theirs].concat())))
    }
}

/// Whether a version could hold them all.
fn is_possible(all: &[Comparison]) -> bool {
    let none = |one: &Comparison| matches!(one, Below(bound) if bound.numbers == [0; 3]);
    // One from before a release is in nothing that does not name one of the same release.
    let named = |one: &Comparison| match one {
        Is(version) if !version.before.is_empty() => all.iter().all(|other| {
            other.holds(version) && !other.bound().before.is_empty() && other.bound().numbers == version.numbers
        }),
        _ => true,
    };
    let fits = |(from, with): (&Version, bool), (to, too): (&Version, bool)| from < to || (from == to && with && too);
    !all.iter().any(none)
        && all.iter().all(named)
        && all
            .iter()
            .filter_map(Comparison::lower)
            .all(|from| all.iter().filter_map(Comparison::upper).all(|to| fits(from, to)))
}

/// All of which have to hold.
fn alternative(text: &str) -> Option<Vec<Comparison>> {
    if let Some((from, to)) = text.split_once(" - ") {
        let (from, to) = (Partial::parse(from.trim())?, Partial::parse(to.trim())?);
        let mut all: Vec<Comparison> = from.numbers[0].map(|_| From(from.lowest())).into_iter().collect();
        all.extend(if to.is_whole() { Some(UpTo(to.lowest())) } else { to.end(3).map(Below) });
        return Some(all);
    }
    // An operator may stand apart from its version.
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match words.last_mut().filter(|last| last.ends_with(['<', '>', '=', '~', '^'])) {
            Some(operator) => operator.push_str(word),
            None => words.push(word.to_string()),
        }
    }
    let all = words.iter().map(|word| comparisons(word)).collect::<Option<Vec<_>>>()?;
    Some(all.concat())
}

fn comparisons(word: &str) -> Option<Vec<Comparison>> {
    let text = word.trim_start_matches(['<', '>', '=', '~', '^']);
    let operator = word.get(..word.len() - text.len())?;
    let partial = Partial::parse(text)?;
    let between = |end: Option<Version>| match partial.numbers[0] {
        Some(_) => [Some(From(partial.lowest())), end.map(Below)].into_iter().flatten().collect(),
        None => Vec::new(),
    };
    // Nothing comes before everything, or behind it.
    let nothing = || vec![Below(Version::first_before(0, 0, 0))];
    let [major, minor, _] = partial.numbers;
    Some(match operator {
        "" | "=" if partial.is_whole() => vec![Is(partial.lowest())],
        "" | "=" => between(partial.end(3)),
        ">=" => between(None),
        ">" if partial.is_whole() => vec![Above(partial.lowest())],
        // Behind all that it leaves open.
        ">" => partial.end(3).map_or_else(nothing, |end| vec![From(Version { before: Vec::new(), ..end })]),
        "<" if major.is_none() => nothing(),
        "<" if partial.is_whole() => vec![Below(partial.lowest())],
        "<" => vec![Below(Version { before: vec![Part::Number(0)], ..partial.lowest() })],
        "<=" if partial.is_whole() => vec![UpTo(partial.lowest())],
        "<=" => partial.end(3).map(Below).into_iter().collect(),
        "~" | "~>" => between(partial.end(2)),
        // Up to the next change of the first part that is not 0.
        "^" => between(partial.end(match (major, minor) {
            (Some(0), Some(0)) => 3,
            (Some(0), _) => 2,
            _ => 1,
        })),
        _ => return None,
    })
}

#[cfg(test)]
#[path = "range_tests.rs"]
mod tests;
