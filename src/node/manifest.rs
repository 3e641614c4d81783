//! package.json beside the lock: does the lock belong to it?

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::document::{self, Dependencies, shown};
use super::overrides::Wish;
use super::place::below;
use super::range::Version;
use super::{Error, Lock};
use crate::error::Result;

/// The largest package.json, in bytes.
const MANIFEST_LIMIT: u64 = 4 << 20;

/// What a package.json says that its lock repeats.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, expecting = "a package.json")]
pub struct Manifest {
    /// What the project wants in the stead of what packages want.
    pub overrides: Value,
    /// What the project wants.
    #[serde(flatten)]
    pub dependencies: Dependencies,
}

impl Manifest {
    /// Reads a package.json.
    pub fn read(path: &Path) -> Result<Manifest> {
        Ok(Manifest::parse(&document::read(path, MANIFEST_LIMIT)?, &document::called(path))?)
    }

    /// From its text; `place` is how it is called.
    pub fn parse(bytes: &[u8], place: &str) -> Result<Manifest, Error> {
        document::parse(bytes, place)
    }

    /// Whether the lock is the one of this package.json (`place`): the first difference, table by table, by name. A range that
    /// was written anew is none, if the version that the lock has is in it: `npm ci` takes such a lock, too.
    pub fn agrees(&self, place: &str, lock: &Lock) -> Result<(), Error> {
        self.agrees_with(place, &lock.project, lock, "")
    }

    /// The same of a workspace in this folder, of which the lock has these wishes.
    pub fn agrees_with(&self, place: &str, locked: &Dependencies, lock: &Lock, folder: &str) -> Result<(), Error> {
        let own = &self.dependencies;
        let needed = |from: &Dependencies| from.needed().map(|(n, v)| (n.clone(), v.clone())).collect();
        let tables: [(&str, BTreeMap<String, String>, BTreeMap<String, String>); 4] = [
            ("dependencies", needed(own), needed(locked)),
            ("optionalDependencies", own.optional_dependencies.clone(), locked.optional_dependencies.clone()),
            ("peerDependencies", own.peer_dependencies.clone(), locked.peer_dependencies.clone()),
            ("devDependencies", own.dev_dependencies.clone(), locked.dev_dependencies.clone()),
        ];
        for (table, own, locked) in tables {
            let names: std::collections::BTreeSet<&String> = own.keys().chain(locked.keys()).collect();
            for name in names {
                let (wanted, found) = (own.get(name), locked.get(name));
                let met = || wanted.zip(found).is_some_and(|(wish, old)| is_met(lock, folder, name, [wish, old]));
                if wanted != found && !met() {
                    let told = |value: Option<&String>| value.map_or("not there".into(), |v| format!("`{}`", shown(v)));
                    let difference = format!(
                        "`{}` of `{table}` is {} in {place}, and {} in the lock",
                        shown(name),
                        told(wanted),
                        told(found)
                    );
                    return Err(Error::Outdated { place: lock.place.clone(), difference });
                }
            }
        }
        Ok(())
    }
}

/// Whether what the lock has for somebody in this folder is a version that both want. Of anything but ranges of the package
/// itself (tags, URLs, other names) nobody knows.
fn is_met(lock: &Lock, folder: &str, name: &str, wishes: [&String; 2]) -> bool {
    let places = [below(folder, name), below("", name)];
    let Some(entry) = places.iter().find_map(|place| lock.entries.get(place)) else { return false };
    let Some(version) = Version::parse(&lock.target(entry).version) else { return false };
    let is_range = |wish: &&String| !wish.starts_with("npm:") && matches!(Wish::parse(wish), Wish::In(_) | Wish::Any);
    entry.name == name && wishes.iter().all(|wish| is_range(wish) && Wish::parse(wish).is_met_by(&version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn against(manifest: &str, project: &str) -> Result<(), String> {
        let lock = format!("{{\"lockfileVersion\": 3, \"packages\": {{\"\": {project}}}}}");
        let lock = Lock::parse(lock.as_bytes(), "package-lock.json").unwrap();
        let manifest = Manifest::parse(manifest.as_bytes(), "package.json").unwrap();
        manifest.agrees("package.json", &lock).map_err(|error| error.to_string())
    }

    #[test]
    fn the_same_wishes_agree_wherever_they_stand() {
        let manifest = r#"{"name": "x", "scripts": {"a": "b"}, "dependencies": {"a": "1", "o": "2"},
            "optionalDependencies": {"o": "2"}, "devDependencies": {"d": "*"}}"#;
        // npm writes what is optional into one table only.
        let project = r#"{"name": "x", "dependencies": {"a": "1"}, "optionalDependencies": {"o": "2"},
            "devDependencies": {"d": "*"}}"#;
        assert_eq!(against(manifest, project), Ok(()));
        assert_eq!(against("\u{feff}{}", "{}"), Ok(()));
    }

    #[test]
    fn a_range_that_still_has_the_locked_version_agrees() {
        let among = |folder: &str, wish: &str, old: &str| {
            let lock = r#"{"lockfileVersion": 3, "packages": {"": {"devDependencies": {"a": "OLD"}},
                "node_modules/a": {"version": "4.1.2", "resolved": "https://r.example/a.tgz", "dev": true},
                "node_modules/w": {"resolved": "w", "link": true},
                "w": {"version": "1.0.0", "devDependencies": {"a": "OLD"}},
                "w/node_modules/a": {"version": "5.0.0", "resolved": "https://r.example/a5.tgz", "dev": true}}}"#;
            let lock = Lock::parse(lock.replace("OLD", old).as_bytes(), "package-lock.json").unwrap();
            let manifest = format!(r#"{{"devDependencies": {{"a": "{wish}"}}}}"#);
            let manifest = Manifest::parse(manifest.as_bytes(), "package.json").unwrap();
            let locked = lock.entries.get(folder).map_or(&lock.project, |entry| &entry.dependencies);
            manifest.agrees_with("package.json", locked, &lock, folder).is_ok()
        };
        assert!(among("", "^4.1.0", "4.1.2"));
        assert!(among("", "*", "^4"));
        assert!(among("w", "^5", "5.0.0"), "the nearest is asked");
        assert!(!among("w", "^4.1.0", "5.0.0"));
        assert!(!among("", "^5", "4.1.2"));
        assert!(!among("", "^4.1.0", "^5"), "a lock that is not what itself says");
        for other in ["latest", "npm:b@^4", "github:x/a", "file:a"] {
            assert!(!among("", other, "4.1.2") && !among("", "4.1.2", other), "{other}");
        }
    }

    #[test]
    fn the_first_difference_is_told() {
        for (manifest, project, expected) in [
            (
                r#"{"dependencies": {"a": "2"}}"#,
                r#"{"dependencies": {"a": "1"}}"#,
                "`a` of `dependencies` is `2` in package.json, and `1` in the lock",
            ),
            (
                r#"{"dependencies": {"a": "2"}}"#,
                "{}",
                "`a` of `dependencies` is `2` in package.json, and not there in the lock",
            ),
            (
                "{}",
                r#"{"devDependencies": {"d": "1"}}"#,
                "`d` of `devDependencies` is not there in package.json, and `1` in the lock",
            ),
            (r#"{"peerDependencies": {"p": "1"}}"#, "{}", "`p` of `peerDependencies`"),
            (r#"{"optionalDependencies": {"o": "1"}}"#, r#"{"dependencies": {"o": "1"}}"#, "`o` of `dependencies`"),
        ] {
            let said = against(manifest, project).unwrap_err();
            assert!(said.starts_with("package-lock.json is out of date: ") && said.contains(expected), "{said}");
        }
        let error = Manifest::parse(b"[1]", "package.json").unwrap_err();
        assert!(matches!(error, Error::Document { .. }), "{error}");
    }
}
