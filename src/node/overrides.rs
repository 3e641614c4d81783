//! `overrides` of a package.json: which wishes of packages the project replaces by its own (arborist's `override-set.js`).
//!
//! A lock does not repeat them. What npm makes of rules within rules depends on the order in which it meets packages;
//! here a wish counts as met if it is met in any of the ways in which npm could look at it.

use serde_json::Value;

use super::document::Dependencies;
use super::range::{Range, Version};

/// The most rules that are looked at; a project with more of them is taken at its word.
const RULES_LIMIT: usize = 256;

/// What somebody wants of a package.
pub enum Wish {
    /// Any version.
    Any,
    /// One of these.
    In(Range),
    /// A tag, a URL, a folder: nothing that can be compared with a version.
    Other,
}

impl Wish {
    /// From a table of dependencies (npm-package-arg).
    pub fn parse(text: &str) -> Wish {
        match text.trim() {
            "" | "*" => Wish::Any,
            text => match text.strip_prefix("npm:") {
                // Behind the name, which may begin with an @ itself.
                Some(alias) => match alias.get(1..).and_then(|rest| rest.split_once('@')) {
                    Some((_, "" | "*")) | None => Wish::Any,
                    Some((_, range)) => Range::parse(range).map_or(Wish::Other, Wish::In),
                },
                None => Range::parse(text).map_or(Wish::Other, Wish::In),
            },
        }
    }

    /// Whether this version is one of them; what cannot be compared is met.
    pub fn is_met_by(&self, version: &Version) -> bool {
        match self {
            Wish::In(range) => range.contains(version),
            Wish::Any | Wish::Other => true,
        }
    }
}

/// One rule, or all of them: the first has no name.
struct Rule {
    name: String,
    /// Which wishes it is for.
    wishes: Wish,
    /// What is wanted in their stead; `None` if only what is within it counts.
    value: Option<String>,
    parent: Option<usize>,
    within: Vec<usize>,
}

/// The rules of a project.
#[derive(Default)]
pub struct Overrides {
    rules: Vec<Rule>,
}

/// What becomes of one wish.
pub struct Ruled {
    /// The rules that hold for what the wish leads to.
    pub within: usize,
    /// What is wanted instead, if it is replaced.
    pub instead: Option<String>,
    /// Whether nobody but npm can say.
    pub is_unclear: bool,
}

impl Overrides {
    /// Of a package.json; `own` are the wishes that `$name` refers to. None that are not understood.
    pub fn parse(value: &Value, own: &Dependencies) -> Overrides {
        let mut overrides = Overrides::default();
        if let Value::Object(table) = value
            && !table.is_empty()
        {
            overrides.add("", None, value, None, own);
        }
        if overrides.rules.len() > RULES_LIMIT { Overrides::default() } else { overrides }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    fn add(&mut self, name: &str, range: Option<&str>, value: &Value, parent: Option<usize>, own: &Dependencies) {
        let place = self.rules.len();
        if place > RULES_LIMIT {
            return;
        }
        let table = value.as_object();
        // Where nothing is said, what the key names is what is wanted.
        let text = value.as_str().or_else(|| table?.get(".")?.as_str()).or(range);
        let value = text.filter(|text| !matches!(*text, "" | "*"));
        let value =
            value.map(|text| text.strip_prefix('$').and_then(|name| own.referred(name)).unwrap_or(text).to_string());
        let wishes = Wish::parse(range.unwrap_or_default());
        self.rules.push(Rule { name: name.to_string(), wishes, value, parent, within: Vec::new() });
        for (key, value) in table.into_iter().flatten().filter(|(key, _)| *key != ".") {
            // The @ at the beginning is a scope's.
            let split = key.rsplit_once('@').filter(|(name, _)| !name.is_empty());
            let (name, range) = split.map_or((key.as_str(), None), |(name, range)| (name, Some(range)));
            let child = self.rules.len();
            self.add(name, range, value, Some(place), own);
            if let Some(rule) = self.rules.get_mut(place) {
                rule.within.push(child);
            }
        }
    }

    /// A rule and those that it is within, innermost first.
    pub fn ancestry(&self, rule: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(rule), |rule| self.rules.get(*rule)?.parent)
    }

    /// What becomes of a wish for `name` where `within` holds (`getEdgeRule`).
    pub fn rule(&self, within: usize, name: &str, wish: &str) -> Ruled {
        for at in self.ancestry(within) {
            let Some(rule) = self.rules.get(at) else { break };
            let own = Some(at).filter(|_| rule.parent.is_some());
            for place in rule.within.iter().copied().chain(own) {
                let Some(rule) = self.rules.get(place).filter(|rule| rule.name == name) else { continue };
                let is_unclear = match (&rule.wishes, Wish::parse(wish)) {
                    (Wish::Any, _) | (_, Wish::Any) => false,
                    (Wish::In(own), Wish::In(wished)) if own.meets(&wished) => false,
                    (Wish::In(_), Wish::In(_)) => continue,
                    _ => true,
                };
                return Ruled { within: place, instead: rule.value.clone(), is_unclear };
            }
        }
        Ruled { within, instead: None, is_unclear: false }
    }

    /// Whether `version` is what npm takes where `within` holds (`satisfiedBy`).
    pub fn allows(&self, ruled: &Ruled, wish: &str, version: &Version) -> bool {
        let raw = || Wish::parse(wish).is_met_by(version);
        let Some(instead) = &ruled.instead else { return raw() };
        if ruled.is_unclear || instead.starts_with('$') || Wish::parse(instead).is_met_by(version) {
            return true;
        }
        // One that no rule is for may stay.
        raw() && !self.rules.get(ruled.within).is_some_and(|rule| rule.wishes.is_met_by(version))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn allowed(overrides: Value, path: &[(&str, &str)], version: &str) -> bool {
        let own = Dependencies { dependencies: [("own".into(), "3.0.0".into())].into(), ..Dependencies::default() };
        let overrides = Overrides::parse(&overrides, &own);
        let (mut within, mut allowed) = (0, false);
        for (name, wish) in path {
            let ruled = overrides.rule(within, name, wish);
            allowed = overrides.allows(&ruled, wish, &Version::parse(version).unwrap());
            within = ruled.within;
        }
        allowed
    }

    #[test]
    fn a_rule_replaces_wishes_wherever_they_are() {
        let rules = || json!({"b": "2.0.0", "c@^1": "1.5.0", "own": "$own", "d": {".": "4.0.0", "e": "5.0.0"}});
        for (path, version, expected) in [
            (&[("b", "^1.0.0")][..], "1.0.0", false),
            (&[("b", "^1.0.0")], "2.0.0", true),
            (&[("x", "1"), ("b", "^1.0.0")], "1.0.0", false),
            // Only wishes that the key is for.
            (&[("c", "^1.2.0")], "1.2.0", false),
            (&[("c", "^1.2.0")], "1.5.0", true),
            (&[("c", "^2.0.0")], "2.0.0", true),
            (&[("own", "^1.0.0")], "3.0.0", true),
            (&[("own", "^1.0.0")], "1.0.0", false),
            // Within others.
            (&[("e", "^1.0.0")], "1.0.0", true),
            (&[("d", "^1.0.0")], "1.0.0", false),
            (&[("d", "^1.0.0"), ("e", "^1.0.0")], "1.0.0", false),
            (&[("d", "^1.0.0"), ("f", "1"), ("e", "^1.0.0")], "5.0.0", true),
            (&[("d", "^1.0.0"), ("b", "^1.0.0")], "1.0.0", false),
            (&[("nobody", "^1.0.0")], "2.0.0", false),
        ] {
            assert_eq!(allowed(rules(), path, version), expected, "{path:?} {version}");
        }
        assert!(allowed(json!({"b": "git+ssh://host.example/b.git"}), &[("b", "1")], "9.0.0"));
        assert!(allowed(json!({"b@latest": "2.0.0"}), &[("b", "1")], "1.0.0"), "nobody but npm can say");
        assert!(Overrides::parse(&json!("x"), &Dependencies::default()).is_empty());
        let many: serde_json::Map<String, Value> = (0..1000).map(|n| (format!("p{n}"), json!("1"))).collect();
        assert!(Overrides::parse(&many.into(), &Dependencies::default()).is_empty());
    }

    #[test]
    fn wishes_are_read_as_npm_reads_them() {
        let met = |wish: &str, version: &str| Wish::parse(wish).is_met_by(&Version::parse(version).unwrap());
        assert!(met("", "1.0.0-rc.1") && met("*", "1.0.0-rc.1") && met("latest", "1.0.0") && met("npm:x", "1.0.0"));
        assert!(met("npm:@s/x@^1", "1.0.0") && !met("npm:@s/x@^1", "2.0.0") && !met("npm:x@^1", "2.0.0"));
        assert!(met("https://host.example/x.tgz", "1.0.0") && met("file:../x", "1.0.0") && !met("^2", "1.0.0"));
    }
}
