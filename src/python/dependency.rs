//! What an installed distribution says it needs: a `Requires-Dist` of its METADATA (PEP 508).
//!
//! Not by pep508_rs's own parser of requirements, which panics at `a.`; its markers are used.

use std::collections::BTreeSet;

use pep440_rs::{Version, VersionSpecifiers};
use pep508_rs::{ExtraName, MarkerEnvironment, MarkerTree};

use super::names::normalize;

/// The longest requirement that is read, in bytes.
const TEXT_LIMIT: usize = 8 << 10;
/// How often `and` may be in a marker that has as many `or`, or the other way round. Seen: 3.
const MIXED_LIMIT: u32 = 10;

/// Another distribution that is needed.
#[derive(Clone, Debug)]
pub struct Dependency {
    /// The normalised name.
    pub name: String,
    /// The extras of it that are asked for, normalised.
    pub extras: BTreeSet<String>,
    /// As it is written, without the marker.
    pub text: String,
    versions: Option<VersionSpecifiers>,
    marker: Option<MarkerTree>,
}

impl Dependency {
    /// Parses `name[extras] (versions) ; marker` or `name @ URL ; marker`; `None` if it is nothing of the kind.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > TEXT_LIMIT {
            return None;
        }
        // A URL may have a `;` in it: then the marker begins at ` ;`.
        let at = if text.contains('@') { text.find(" ;") } else { text.find(';') };
        let (head, marker) = match at {
            Some(at) => (text.get(..at)?, text.get(at..)?.trim_start().strip_prefix(';')),
            None => (text, None),
        };
        let head = head.trim();
        let end = head.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(head.len());
        let (name, rest) = head.split_at(end);
        let edge = |c: char| c.is_ascii_alphanumeric();
        if !name.starts_with(edge) || !name.ends_with(edge) {
            return None;
        }
        let mut rest = rest.trim();
        let mut extras = BTreeSet::new();
        if let Some(inner) = rest.strip_prefix('[') {
            let (names, after) = inner.split_once(']')?;
            extras.extend(names.split(',').map(|name| normalize(name.trim())).filter(|name| !name.is_empty()));
            rest = after.trim();
        }
        let versions = if rest.starts_with('@') {
            None
        } else {
            let inner = rest.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(rest);
            Some(inner.trim().trim_end_matches(',').parse().ok()?)
        };
        if marker.is_some_and(|marker| mixed(marker) > MIXED_LIMIT) {
            return None;
        }
        let marker = marker.map(|marker| marker.parse::<MarkerTree>()).transpose().ok()?;
        Some(Dependency { name: normalize(name), extras, text: head.to_string(), versions, marker })
    }

    /// How much memory a requirement may take to parse, as bytes, roughly: a diagram is made of its marker, which doubles
    /// with each alternative, and is kept.
    pub fn weight(text: &str) -> usize {
        text.len().saturating_mul(1 << mixed(text).min(MIXED_LIMIT))
    }

    /// Whether it is needed in an environment by a distribution of which these extras are asked for.
    pub fn applies(&self, environment: &MarkerEnvironment, extras: &BTreeSet<String>) -> bool {
        let Some(marker) = &self.marker else { return true };
        let names: Vec<ExtraName> = extras.iter().filter_map(|name| name.parse().ok()).collect();
        marker.evaluate(environment, &names)
    }

    /// Whether an installed version will do; one that is no version is not judged.
    pub fn accepts(&self, version: &str) -> bool {
        match (&self.versions, version.parse::<Version>()) {
            (Some(versions), Ok(version)) => versions.contains(&version),
            _ => true,
        }
    }
}

/// How often `and` and `or` are both in a marker.
fn mixed(marker: &str) -> u32 {
    let count = |word: &str| u32::try_from(marker.matches(word).count()).unwrap_or(u32::MAX);
    count("and").min(count("or"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::markers::environment;
    use crate::python::tags::tests::target;
    use crate::target::Libc;
    use proptest::prelude::*;

    #[test]
    fn what_metadata_of_real_wheels_has() {
        let environment = environment(&target(11, "amd64", Libc::Glibc(2, 36))).unwrap();
        let none = BTreeSet::new();
        for (text, name, applies, version, accepts) in [
            ("Werkzeug>=3.0.0", "werkzeug", true, "3.0.1", true),
            ("Werkzeug (>=3.0.0,<4)", "werkzeug", true, "4.0", false),
            ("importlib-metadata>=3.6; python_version < '3.10'", "importlib-metadata", false, "1", false),
            ("asgiref>=3.2 ; extra == 'async'", "asgiref", false, "3.2", true),
            ("numpy>=1.0,", "numpy", true, "2.0rc1", true),
            ("zope.interface", "zope-interface", true, "anything", true),
            ("a @ https://x.example/a;b.whl ; python_version > '3'", "a", true, "1", true),
            ("torch==2.1.0", "torch", true, "2.1.0+cu121", true),
        ] {
            let found = Dependency::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(found.name, name);
            assert_eq!((found.applies(&environment, &none), found.accepts(version)), (applies, accepts), "{text}");
        }
        let extra = Dependency::parse("asgiref>=3.2 ; extra == 'async'").unwrap();
        assert!(extra.applies(&environment, &["async".to_string()].into()));
        assert_eq!(Dependency::parse("uvicorn[Standard, b_c]>1").unwrap().extras.len(), 2);
        for bad in ["", "-a", "a.", "a[b", "a ===", "a; nonsense", "ö"] {
            assert!(Dependency::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn markers_with_many_alternatives_are_not_read() {
        let pair = |n: usize| format!("extra == 'a{n:02}' and extra == 'b{n:02}'");
        let marker = |pairs: usize| (0..pairs).map(pair).collect::<Vec<_>>().join(" or ");
        let few = format!("x; {}", marker(4));
        let need = Dependency::parse(&few).unwrap();
        let environment = environment(&target(11, "amd64", Libc::Glibc(2, 36))).unwrap();
        assert!(need.applies(&environment, &["a03".to_string(), "b03".to_string()].into()));
        assert!(!need.applies(&environment, &["a03".to_string(), "b02".to_string()].into()));
        assert_eq!(Dependency::weight(&few), few.len() * 8);
        // This one would not fit into any memory.
        assert!(Dependency::parse(&format!("x; {}", marker(100))).is_none());
        let long = (0..300).map(|n| format!("extra == 'e{n}'")).collect::<Vec<_>>().join(" or ");
        assert!(Dependency::parse(&format!("x; {long}")).is_some(), "one word alone doubles nothing");
    }

    proptest! {
        #[test]
        fn any_text_parses_or_not_but_never_panics(text in "[a-z_'\"<>=!~() .0-9;@\\[\\],]{0,40}|.{0,30}") {
            let _ = Dependency::parse(&text);
        }
    }
}
