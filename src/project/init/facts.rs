//! What the files beside an application say: its name, its Python, its lock file, its dependencies.

use std::path::Path;

use crate::error::Result;
use crate::fs;
use crate::project::document::{self, Table, Value};
use crate::project::place::Source;
use crate::project::rule;
use crate::python::PythonVersion;

/// The longest file that is looked at, in bytes.
const TEXT_LIMIT: u64 = 16 << 20;

/// The versions to choose from where a project does not say, the best first.
const VERSIONS: &[(u8, u8)] = &[(3, 12), (3, 11), (3, 13), (3, 10), (3, 14), (3, 9), (3, 8)];

/// A name as an image can have it.
pub fn usable(name: &str) -> Option<String> {
    let mapped = name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let parts: Vec<&str> = mapped.split('-').filter(|part| !part.is_empty()).collect();
    Some(parts.join("-")).filter(|name| rule::image_name(name).is_ok())
}

/// The files beside an application.
pub struct Facts {
    pyproject: Table,
    /// Name and text of the files that list dependencies.
    lists: Vec<(String, String)>,
    pinned: Option<String>,
    folder: String,
}

impl Facts {
    /// Reads them; one that is not there or not readable says nothing.
    pub fn read(root: &Path) -> Result<Facts> {
        let text = |name: &str| fs::read_text(&root.join(name), TEXT_LIMIT).ok();
        let pyproject = text("pyproject.toml").unwrap_or_default();
        let table = document::parse(&Source::new(Path::new("pyproject.toml"), pyproject.clone())).unwrap_or_default();
        let mut lists = vec![("pyproject.toml".to_string(), pyproject)];
        for path in fs::read_dir(root)? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let requirements = name.starts_with("requirements") && (name.ends_with(".txt") || name.ends_with(".lock"));
            if requirements || matches!(name, "pylock.toml" | "uv.lock" | "Pipfile" | "setup.cfg" | "setup.py") {
                lists.extend(text(name).map(|text| (name.to_string(), text)));
            }
        }
        let whole = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
        let folder = whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Facts { pyproject: table, lists, pinned: text(".python-version"), folder })
    }

    /// The name of the folder.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    fn project(&self, key: &str) -> Option<&str> {
        match &self.pyproject.get("project")?.node.table()?.get(key)?.node.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The project's own name, else the folder's, as an image can have it.
    pub fn name(&self) -> String {
        self.project("name").and_then(usable).or_else(|| usable(&self.folder)).unwrap_or_else(|| "app".into())
    }

    /// `.python-version`, else what a lock file was made for, else the best that `requires-python` allows.
    pub fn python(&self) -> PythonVersion {
        let written = |text: &str| {
            let version: PythonVersion = text.trim().trim_start_matches("cpython-").parse().ok()?;
            rule::python_version(&version.short()).ok().map(|()| PythonVersion::new(version.major, version.minor))
        };
        let pinned = self.pinned.as_deref().and_then(|text| text.lines().find_map(written));
        let compiled = || {
            let headers = self.lists.iter().flat_map(|(_, text)| text.lines().take(10));
            headers
                .filter_map(|line| line.strip_prefix('#')?.split_once("with Python "))
                .find_map(|(_, rest)| written(rest))
        };
        let allowed = || {
            let wanted: pep440_rs::VersionSpecifiers = self.project("requires-python")?.parse().ok()?;
            let fits = |(major, minor): &&(u8, u8)| {
                wanted.contains(&pep440_rs::Version::new([u64::from(*major), u64::from(*minor), 99]))
            };
            VERSIONS.iter().find(fits).map(|(major, minor)| PythonVersion::new(*major, *minor))
        };
        pinned.or_else(compiled).or_else(allowed).unwrap_or(PythonVersion::new(3, 12))
    }

    /// The file that locks the dependencies, and what to do if there is none.
    pub fn lock(&self) -> (Option<String>, Option<String>) {
        let has = |wanted: &str| self.lists.iter().any(|(name, _)| name == wanted).then(|| wanted.to_string());
        let hashed = || {
            let requirements = self.lists.iter().filter(|(name, _)| name.starts_with("requirements"));
            let mut found: Vec<&String> =
                requirements.filter(|(_, text)| text.contains("--hash=sha256:")).map(|(name, _)| name).collect();
            // `requirements.lock`, then `requirements.txt`, then `requirements-dev.txt` and the like.
            found.sort_by_key(|name| (!name.ends_with(".lock"), name.len(), name.to_string()));
            found.first().map(|name| name.to_string())
        };
        if let Some(lock) = has("pylock.toml").or_else(hashed) {
            return (Some(lock), None);
        }
        if has("uv.lock").is_some() {
            let export = "uv export --format pylock.toml -o pylock.toml";
            return (None, Some(format!("export the lock, then name the file as `lock`: {export}")));
        }
        let input = match self.lists.iter().find(|(name, _)| name.starts_with("requirements")) {
            Some((name, _)) => name.as_str(),
            None if self.pyproject.contains_key("project") => "pyproject.toml",
            None => return (None, None),
        };
        let compile = format!("uv pip compile --generate-hashes {input} -o requirements.lock");
        (None, Some(format!("lock the dependencies with their hashes, then name the file as `lock`: {compile}")))
    }

    /// Whether some list of dependencies names `package`.
    pub fn depends_on(&self, package: &str) -> bool {
        self.lists.iter().any(|(_, text)| {
            let text = text.to_lowercase();
            text.match_indices(package).any(|(at, _)| {
                let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                let before = text.get(..at).unwrap_or_default().ends_with(word);
                let after = text.get(at + package.len()..).unwrap_or_default().starts_with(word);
                !before && !after
            })
        })
    }
}
