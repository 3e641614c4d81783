//! Where packages are: keys of a lock such as `node_modules/a/node_modules/@scope/b`, names and versions.

use crate::layer::{self, TreePath};

/// The longest name of a package, in bytes (npm allows 214; older ones may have a scope besides).
const NAME_LIMIT: usize = 255;
/// The longest version, in bytes (node-semver's limit).
const VERSION_LIMIT: usize = 256;
/// How deep packages may lie in each other.
const DEPTH_LIMIT: usize = 64;
/// The folder of packages.
pub const NODE_MODULES: &str = "node_modules";

/// A key of `packages`, cut into its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The whole key.
    pub path: String,
    /// What stands before the first `node_modules`: the folder of a workspace; empty for the project itself.
    pub workspace: String,
    /// The names of folders, outermost first; empty for the project and its workspaces.
    pub names: Vec<String>,
}

impl Place {
    /// From a key of a lock; the error says what is wrong with it, as the rest of a sentence.
    pub fn parse(key: &str) -> Result<Place, String> {
        if key.is_empty() {
            return Ok(Place { path: String::new(), workspace: String::new(), names: Vec::new() });
        }
        match TreePath::new(key) {
            // What leads nowhere else, and cannot be in an image all the same.
            Err(layer::Error::Path { reason, .. }) if reason.contains("longer than") => {
                return Err(format!("is not a path that an image can have: {reason}"));
            }
            Ok(_) if !key.starts_with('/') && !key.contains('\\') => {}
            _ => return Err("is not a path below the project".into()),
        }
        let mut parts = key.split('/').peekable();
        let mut workspace: Vec<&str> = Vec::new();
        while let Some(part) = parts.next_if(|part| *part != NODE_MODULES) {
            if part.starts_with(".wh.") {
                return Err("has a part that begins with `.wh.`, which layers give a meaning".into());
            }
            workspace.push(part);
        }
        let mut names = Vec::new();
        while let Some(folder) = parts.next() {
            if folder != NODE_MODULES {
                return Err("is not a package in `node_modules`".into());
            }
            let Some(first) = parts.next() else { return Err("names no package".into()) };
            let name = match first.starts_with('@') {
                true => format!("{first}/{}", parts.next().unwrap_or_default()),
                false => first.to_string(),
            };
            if !is_name(&name) {
                return Err("does not have the name of a package".into());
            }
            names.push(name);
        }
        if names.len() > DEPTH_LIMIT {
            return Err(format!("is more than {DEPTH_LIMIT} packages deep"));
        }
        Ok(Place { path: key.to_string(), workspace: workspace.join("/"), names })
    }

    /// The name of its own folder; `None` for the project and its workspaces.
    pub fn name(&self) -> Option<&str> {
        self.names.last().map(String::as_str)
    }

    /// Whether it is a package's, and not the project's or a workspace's.
    pub fn is_installed(&self) -> bool {
        !self.names.is_empty()
    }

    /// The `node_modules` that it is in.
    pub fn folder(&self) -> Option<&str> {
        let name = self.name()?;
        self.path.get(..self.path.len() - name.len()).map(|folder| folder.trim_end_matches('/'))
    }

    /// What it is in: a package, a workspace, the project.
    pub fn parent(&self) -> Option<&str> {
        let folder = self.folder()?;
        folder.strip_suffix(NODE_MODULES).map(|parent| parent.trim_end_matches('/'))
    }

    /// Where Node looks for a package that is needed here, nearest first.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        // A package's dependencies are in it, beside it, or further up; a workspace's in it, or in a folder above it.
        let mut found = Vec::new();
        let mut at = self.path.as_str();
        loop {
            let is_folder_of_packages = at == NODE_MODULES || at.ends_with("/node_modules");
            let is_scope = at.rsplit('/').next().is_some_and(|last| last.starts_with('@'));
            if !is_folder_of_packages && !is_scope {
                found.push(below(at, name));
            }
            match at.rsplit_once('/') {
                Some((up, _)) => at = up,
                None if at.is_empty() => return found,
                None => at = "",
            }
        }
    }
}

/// The key of package `name` in `folder`.
pub fn below(folder: &str, name: &str) -> String {
    match folder {
        "" => format!("{NODE_MODULES}/{name}"),
        folder => format!("{folder}/{NODE_MODULES}/{name}"),
    }
}

/// Whether this can be the name of a package: a folder, and a part of a URL, that leads nowhere else.
pub fn is_name(name: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!'()*".contains(&byte))
    };
    let own = match name.strip_prefix('@') {
        Some(scoped) => scoped.split_once('/').is_some_and(|(scope, own)| plain(scope) && plain(own)),
        None => plain(name) && !["node_modules", "favicon.ico"].contains(&name),
    };
    own && name.len() <= NAME_LIMIT
}

/// The scope of a package, with its `@`.
pub fn scope(name: &str) -> Option<&str> {
    name.starts_with('@').then(|| name.split('/').next()).flatten()
}

/// Whether this can be a version: it becomes a part of a URL.
pub fn is_version(version: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.+".contains(&byte);
    version.len() <= VERSION_LIMIT
        && version.starts_with(|c: char| c.is_ascii_digit())
        && version.bytes().all(plain)
        && !version.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_cut_into_packages() {
        let deep = Place::parse("node_modules/a/node_modules/@s/b").unwrap();
        assert_eq!((deep.name(), deep.names.len(), deep.workspace.as_str()), (Some("@s/b"), 2, ""));
        assert_eq!((deep.folder(), deep.parent()), (Some("node_modules/a/node_modules"), Some("node_modules/a")));
        let nested = Place::parse("packages/web/node_modules/c").unwrap();
        assert_eq!((nested.workspace.as_str(), nested.parent()), ("packages/web", Some("packages/web")));
        let workspace = Place::parse("packages/web").unwrap();
        assert!(!workspace.is_installed() && workspace.folder().is_none());
        assert_eq!(Place::parse("node_modules/a").unwrap().parent(), Some(""));
    }

    #[test]
    fn node_looks_upwards() {
        let of = |key: &str, name: &str| Place::parse(key).unwrap().candidates(name).join(" ");
        assert_eq!(of("", "x"), "node_modules/x");
        assert_eq!(of("node_modules/a", "x"), "node_modules/a/node_modules/x node_modules/x");
        assert_eq!(
            of("node_modules/a/node_modules/@s/b", "x"),
            "node_modules/a/node_modules/@s/b/node_modules/x node_modules/a/node_modules/x node_modules/x"
        );
        assert_eq!(
            of("packages/web", "@s/x"),
            "packages/web/node_modules/@s/x packages/node_modules/@s/x node_modules/@s/x"
        );
    }

    #[test]
    fn keys_that_lead_elsewhere_are_refused() {
        for (key, expected) in [
            ("../x", "is not a path below the project"),
            ("node_modules/../../x", "is not a path below the project"),
            ("/node_modules/x", "is not a path below the project"),
            ("node_modules//x", "is not a path below the project"),
            ("node_modules/a\\..\\b", "is not a path below the project"),
            ("node_modules/a\u{0}", "is not a path below the project"),
            ("node_modules/", "is not a path below the project"),
            (".wh.x/node_modules/a", "has a part that begins with `.wh.`, which layers give a meaning"),
            ("node_modules", "names no package"),
            ("node_modules/a/node_modules", "names no package"),
            ("node_modules/a/b", "is not a package in `node_modules`"),
            ("node_modules/.bin", "does not have the name of a package"),
            ("node_modules/@s", "does not have the name of a package"),
            ("node_modules/@s/.wh.x", "does not have the name of a package"),
            ("node_modules/a b", "does not have the name of a package"),
            ("node_modules/node_modules/x", "does not have the name of a package"),
        ] {
            assert_eq!(Place::parse(key).unwrap_err(), expected, "{key}");
        }
        for (key, reason) in [
            (format!("node_modules/{}", "a".repeat(256)), "a component is longer than 255 bytes"),
            (vec!["node_modules/a"; 300].join("/"), "it is longer than 4095 bytes"),
        ] {
            assert_eq!(Place::parse(&key).unwrap_err(), format!("is not a path that an image can have: {reason}"));
        }
        let deep = vec!["node_modules/a"; DEPTH_LIMIT + 1].join("/");
        assert_eq!(Place::parse(&deep).unwrap_err(), "is more than 64 packages deep");
    }

    #[test]
    fn names_and_versions_lead_nowhere_else() {
        for good in ["a", "@s/b", "JSONStream", "lodash.get", "a~b", "_x"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "@/b", "@s/", "@s/../b", "@s/b/c", "a?b", "a#b", "a%2fb", "ä", "node_modules"]
        {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(is_version("1.0.0-rc.1+build.5") && is_version("0.0.1"));
        for bad in ["", "1/../..", "v1", "latest", "1..2", "1 2", "1?x"] {
            assert!(!is_version(bad), "{bad}");
        }
        assert_eq!((scope("@s/b"), scope("b")), (Some("@s"), None));
    }
}
