//! Names of distributions and of wheel files (PEP 503, PEP 427).

use pep440_rs::Version;

use super::Error;
use super::tags::Tag;

/// The normalised name of PEP 503: lower case, runs of `-`, `_` and `.` as one `-`.
pub fn normalize(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            other => normal.push(other.to_ascii_lowercase()),
        }
    }
    normal
}

/// Whether two versions are the same release (`1.0` and `1.0.0`); texts that are no versions must be equal.
pub fn same_version(left: &str, right: &str) -> bool {
    match (left.parse::<Version>(), right.parse::<Version>()) {
        (Ok(left), Ok(right)) => left == right,
        _ => left == right,
    }
}

/// The parts of a wheel's file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WheelName {
    /// The normalised name.
    pub name: String,
    /// As it is written.
    pub version: String,
    /// The build number and its suffix, for choosing between builds.
    pub build: Option<(u64, String)>,
    /// All combinations of the compressed tag set.
    pub tags: Vec<Tag>,
}

/// The most combinations that a compressed tag set may have.
const TAGS_LIMIT: usize = 2000;

impl WheelName {
    /// From `name-version(-build)?-python-abi-platform.whl`.
    pub fn parse(file: &str) -> Result<Self, Error> {
        let refuse = |reason: &str| Error::Wheel { file: shown(file), reason: reason.to_string() };
        let stem = file.strip_suffix(".whl").ok_or_else(|| refuse("its name does not end in `.whl`"))?;
        if !stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+!".contains(&byte)) {
            return Err(refuse("its name has characters that no wheel name has"));
        }
        let parts: Vec<&str> = stem.split('-').collect();
        let (name, version, build, tags) = match parts[..] {
            [name, version, python, abi, platform] => (name, version, None, [python, abi, platform]),
            [name, version, build, python, abi, platform] => (name, version, Some(build), [python, abi, platform]),
            _ => return Err(refuse("its name is not `name-version-python-abi-platform.whl`")),
        };
        if name.is_empty() || tags.iter().any(|tag| tag.is_empty()) {
            return Err(refuse("a part of its name is empty"));
        }
        version.parse::<Version>().map_err(|_| refuse("its version is not a PEP 440 version"))?;
        let build = build.map(build_number).map(|build| build.ok_or_else(|| refuse("its build tag has no number")));
        let count: usize = tags.iter().map(|tag| tag.split('.').count()).product();
        if count > TAGS_LIMIT {
            return Err(refuse("it has too many tags"));
        }
        Ok(WheelName {
            name: normalize(name),
            version: version.to_string(),
            build: build.transpose()?,
            tags: Tag::expand(tags[0], tags[1], tags[2]),
        })
    }
}

fn build_number(text: &str) -> Option<(u64, String)> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok()?, rest.to_string()))
}

/// A text as it may be shown: short, without control characters and credentials.
pub fn shown(text: &str) -> String {
    const SHOWN: usize = 160;
    let text = &super::location::redact(text);
    let mut short: String = text.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    if text.chars().count() > SHOWN {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_normalised_as_pep_503_says() {
        for (given, expected) in [("Flask", "flask"), ("zope.interface", "zope-interface"), ("A__-.b", "a-b")] {
            assert_eq!(normalize(given), expected);
        }
    }

    #[test]
    fn wheel_names() {
        let name =
            WheelName::parse("Foo_Bar-1.0+cu121-2b-cp310.cp311-abi3-manylinux1_x86_64.linux_x86_64.whl").unwrap();
        assert_eq!((name.name.as_str(), name.version.as_str()), ("foo-bar", "1.0+cu121"));
        assert_eq!((name.build, name.tags.len()), (Some((2, "b".into())), 4));
        for bad in [
            "foo-1.0.tar.gz",
            "foo-1.0-py3-none.whl",
            "foo-1.0-x1-py3-none-any.whl",
            "foo-1..0-py3-none-any.whl",
            "../foo-1.0-py3-none-any.whl",
            "foo-1.0--none-any.whl",
            "a-b-c-1.0-py3-none-any.whl",
        ] {
            let error = WheelName::parse(bad).unwrap_err();
            assert!(matches!(error, Error::Wheel { .. }), "{bad}: {error}");
        }
    }

    #[test]
    fn versions_are_compared_as_versions() {
        assert!(same_version("1.0", "1.0.0") && same_version("1.0RC1", "1.0rc1"));
        assert!(!same_version("1.0", "1.0+cpu") && !same_version("1.0", "1.0.post1"));
    }

    proptest! {
        #[test]
        fn a_normal_name_stays(name in "[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?") {
            let normal = normalize(&name);
            prop_assert_eq!(normalize(&normal), normal.clone());
            prop_assert!(!normal.contains("--") && !normal.contains('_') && !normal.contains('.'));
        }

        #[test]
        fn any_text_parses_or_not_but_never_panics(text in ".{0,60}") {
            let _ = WheelName::parse(&format!("{text}.whl"));
        }
    }
}
