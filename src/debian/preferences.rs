//! Which version is preferred (apt_preferences(5)): pins by package, version, release and origin.

use super::sources::SourcesError;
use super::{Paragraph, paragraphs};

/// The priority of a version where nothing is said.
pub const DEFAULT_PRIORITY: i32 = 500;
/// The priority of a suite that says `NotAutomatic`.
const NOT_AUTOMATIC: i32 = 1;
/// The priority of a suite that says `NotAutomatic` and `ButAutomaticUpgrades`.
const ONLY_UPGRADES: i32 = 100;

/// What pins look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pocket {
    /// `Suite`: "stable".
    pub suite: String,
    /// `Codename`: "bookworm".
    pub codename: String,
    /// `Origin`: "Debian".
    pub origin: String,
    /// `Label`: "Debian-Security".
    pub label: String,
    /// `Version`: "12.5".
    pub version: String,
    /// "main"; empty in a flat repository.
    pub component: String,
    /// The host of the archive.
    pub host: String,
    /// `NotAutomatic`.
    pub not_automatic: bool,
    /// `ButAutomaticUpgrades`.
    pub automatic_upgrades: bool,
}

/// All pins, in apt's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preferences {
    pins: Vec<PinRule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct PinRule {
    /// Globs of names; `src:` before those of source packages. `*` alone makes it a general one.
    packages: Vec<String>,
    pin: Pin,
    priority: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pin {
    Version(String),
    /// Letter and glob: `a=stable`.
    Release(Vec<(char, String)>),
    Origin(String),
}

impl Preferences {
    /// Adds what a file says.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), SourcesError> {
        for (number, text) in paragraphs(text).enumerate() {
            let paragraph = Paragraph::parse(text);
            if paragraph.is_empty() {
                continue;
            }
            let origin = format!("{file}, paragraph {}", number + 1);
            let rule = rule(&paragraph).map_err(|reason| SourcesError::Preference { origin, reason })?;
            self.pins.push(rule);
        }
        Ok(())
    }

    /// The priority of one version of a package: of the first pin that names the package, else of the first general
    /// one, else of its suite.
    pub fn priority(&self, name: &str, source: &str, version: &str, pocket: &Pocket) -> i32 {
        let matching = |rule: &&PinRule| rule.pin.matches(version, pocket);
        let named = self.pins.iter().filter(|rule| !rule.is_general() && rule.is_about(name, source)).find(matching);
        let general = || self.pins.iter().filter(|rule| rule.is_general()).find(matching);
        named.or_else(general).map_or_else(|| pocket.priority(), |rule| rule.priority)
    }
}

impl Pocket {
    fn priority(&self) -> i32 {
        match (self.not_automatic, self.automatic_upgrades) {
            (false, _) => DEFAULT_PRIORITY,
            (true, false) => NOT_AUTOMATIC,
            (true, true) => ONLY_UPGRADES,
        }
    }
}

impl PinRule {
    fn is_general(&self) -> bool {
        self.packages.iter().all(|name| name == "*")
    }

    fn is_about(&self, name: &str, source: &str) -> bool {
        self.packages.iter().any(|pattern| match pattern.strip_prefix("src:") {
            Some(pattern) => glob(pattern, source),
            None => glob(pattern, name),
        })
    }
}

impl Pin {
    fn matches(&self, version: &str, pocket: &Pocket) -> bool {
        match self {
            Pin::Version(pattern) => glob(pattern, version),
            Pin::Origin(host) => glob(host, &pocket.host),
            Pin::Release(fields) => fields.iter().all(|(letter, pattern)| match letter {
                'a' => glob(pattern, &pocket.suite),
                'n' => glob(pattern, &pocket.codename),
                'o' => glob(pattern, &pocket.origin),
                'l' => glob(pattern, &pocket.label),
                'c' => glob(pattern, &pocket.component),
                'v' => glob(pattern, &pocket.version),
                '*' => true,
                _ => false,
            }),
        }
    }
}

fn rule(paragraph: &Paragraph) -> Result<PinRule, String> {
    let field =
        |name: &str| paragraph.get(name).filter(|value| !value.is_empty()).ok_or_else(|| format!("it has no `{name}`"));
    let packages: Vec<String> = field("Package")?.split_whitespace().map(package).collect::<Result<_, _>>()?;
    let pin = field("Pin")?;
    let (kind, value) = pin.split_once(char::is_whitespace).unwrap_or((pin, ""));
    let value = value.trim();
    let plain = |value: &str| refuse_regex(value).map(|()| value.to_string());
    let pin = match kind {
        "version" => Pin::Version(plain(value)?),
        "origin" => Pin::Origin(plain(value.trim_matches('"'))?),
        "release" => Pin::Release(release(value)?),
        _ => return Err("its `Pin` is neither `version`, `release` nor `origin`".into()),
    };
    let number = field("Pin-Priority")?;
    match number.parse::<i32>() {
        Ok(priority) if priority != 0 => Ok(PinRule { packages, pin, priority }),
        _ => Err("its `Pin-Priority` is no number other than 0".into()),
    }
}

/// A name or glob; the architecture after a colon is left out.
fn package(text: &str) -> Result<String, String> {
    refuse_regex(text)?;
    match text.strip_prefix("src:") {
        Some(name) => Ok(format!("src:{}", name.split(':').next().unwrap_or_default())),
        None => Ok(text.split(':').next().unwrap_or_default().to_string()),
    }
}

fn refuse_regex(text: &str) -> Result<(), String> {
    match text.starts_with('/') {
        true => Err("it has a regular expression, which Ingot does not do".into()),
        false => Ok(()),
    }
}

fn release(text: &str) -> Result<Vec<(char, String)>, String> {
    let mut fields = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some((letter, pattern)) => {
                let letter = letter.trim().chars().next().unwrap_or('?');
                let pattern = pattern.trim().trim_matches('"');
                refuse_regex(pattern)?;
                fields.push((letter, pattern.to_string()));
            }
            None if part == "*" => fields.push(('*', String::new())),
            // As apt reads a bare word: a number is a version, all else the name of a suite.
            None if part.starts_with(|c: char| c.is_ascii_digit()) => fields.push(('v', part.to_string())),
            None => fields.push(('a', part.to_string())),
        }
    }
    if fields.is_empty() {
        return Err("its `Pin: release` says nothing".into());
    }
    Ok(fields)
}

/// Shell patterns with `*` and `?`, over the whole text.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut of) = (0, 0);
    // Where the last `*` was, and what it has swallowed so far.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(at) {
        match pattern.get(of) {
            Some(b'*') => {
                star = Some((of, at));
                of += 1;
            }
            Some(wanted) if *wanted == b'?' || wanted == byte => {
                at += 1;
                of += 1;
            }
            _ => match star {
                Some((place, swallowed)) => {
                    star = Some((place, swallowed + 1));
                    at = swallowed + 1;
                    of = place + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(of).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pocket() -> Pocket {
        Pocket {
            suite: "stable".into(),
            codename: "bookworm".into(),
            origin: "Debian".into(),
            label: "Debian".into(),
            version: "12.5".into(),
            component: "main".into(),
            host: "archive.example".into(),
            ..Pocket::default()
        }
    }

    fn preferences(text: &str) -> Preferences {
        let mut preferences = Preferences::default();
        preferences.add("preferences", text).unwrap();
        preferences
    }

    #[test]
    fn the_first_pin_that_names_the_package_counts_then_general_ones() {
        let text = "Explanation: x\nPackage: *\nPin: release a=stable\nPin-Priority: 900\n\n\
                    Package: python3.* src:openssl\nPin: version 3.11*\nPin-Priority: 1001\n\n\
                    Package: nodejs:any\nPin: origin \"archive.example\"\nPin-Priority: -1\n\n\
                    Package: *\nPin: release *\nPin-Priority: 7\n\n\
                    Package: old\nPin: release n=book*, c=main, o=Debian, l=Debian, v=12.?\nPin-Priority: 2\n\n\
                    Package: older\nPin: release 12.5\nPin-Priority: 3\n";
        let pins = preferences(text);
        let of = |name: &str, source: &str, version: &str| pins.priority(name, source, version, &pocket());
        assert_eq!(of("python3.11", "python3.11", "3.11.2"), 1001);
        assert_eq!(of("python3.11", "python3.11", "3.12"), 900);
        assert_eq!(of("libssl3", "openssl", "3.11"), 1001);
        assert_eq!(of("nodejs", "nodejs", "1"), -1);
        assert_eq!((of("old", "old", "1"), of("older", "older", "1"), of("x", "x", "1")), (2, 3, 900));
        let other = Pocket { suite: "testing".into(), ..pocket() };
        assert_eq!(pins.priority("x", "x", "1", &other), 7);
    }

    #[test]
    fn suites_have_priorities_of_their_own() {
        let none = Preferences::default();
        let of = |not_automatic, automatic_upgrades| {
            none.priority("x", "x", "1", &Pocket { not_automatic, automatic_upgrades, ..pocket() })
        };
        assert_eq!((of(false, false), of(true, false), of(true, true)), (500, 1, 100));
    }

    #[test]
    fn bad_preferences_are_told() {
        for (text, reason) in [
            ("Pin: version 1\nPin-Priority: 1", "it has no `Package`"),
            ("Package: x\nPin-Priority: 1", "it has no `Pin`"),
            ("Package: x\nPin: version 1", "it has no `Pin-Priority`"),
            ("Package: x\nPin: version 1\nPin-Priority: 0", "its `Pin-Priority` is no number other than 0"),
            ("Package: x\nPin: suite 1\nPin-Priority: 1", "its `Pin` is neither `version`, `release` nor `origin`"),
            ("Package: x\nPin: release ,\nPin-Priority: 1", "its `Pin: release` says nothing"),
            ("Package: /^x/\nPin: version 1\nPin-Priority: 1", "it has a regular expression, which Ingot does not do"),
        ] {
            let error = Preferences::default().add("preferences.d/x", text).unwrap_err();
            assert_eq!(error.to_string(), format!("`preferences.d/x, paragraph 1` is not a preference: {reason}"));
        }
    }

    #[test]
    fn patterns() {
        for (pattern, text) in [("*", ""), ("a*c", "abc"), ("a*b*c", "aXbYbZc"), ("?", "x"), ("a**", "a"), ("", "")] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a", ""), ("a*c", "abd"), ("?", ""), ("a", "ab"), ("*b", "a")] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }
}
