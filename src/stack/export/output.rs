//! Manifests in a file or a folder. What was there before is replaced if Ingot wrote it, and nothing else: who names the
//! Compose file by mistake keeps it.

use std::path::Path;

use super::error::Error;
use super::manifests::{HEADER, Manifests};
use crate::error::Result;
use crate::fs;

/// The largest file that may be one of ours: an object is at most 1 MiB for the API server.
const FILE_LIMIT: u64 = 8 << 20;
/// How a List begins as JSON.
const LIST: &str = "{\n  \"apiVersion\": \"v1\",\n  \"items\": [";

/// Writes one file if the name ends as one of YAML or JSON does, a folder with a file of each object otherwise.
pub fn write(manifests: &Manifests, path: &Path) -> Result<()> {
    match path.extension().and_then(|end| end.to_str()) {
        Some("yaml" | "yml") => file(path, &manifests.yaml(), HEADER),
        Some("json") => file(path, &format!("{:#}\n", manifests.list()), LIST),
        _ => folder(manifests, path),
    }
}

/// A file, in the place of none or of one that begins as ours do.
fn file(path: &Path, text: &str, begins: &str) -> Result<()> {
    let old = fs::read_optional(path, FILE_LIMIT)?;
    if old.is_some_and(|old| !old.starts_with(begins.as_bytes())) {
        let folder = path.parent().unwrap_or(Path::new("")).display().to_string();
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        return Err(Error::Foreign { folder: if folder.is_empty() { ".".into() } else { folder }, file }.into());
    }
    Ok(fs::write_atomic(path, text.as_bytes())?)
}

fn folder(manifests: &Manifests, path: &Path) -> Result<()> {
    fs::create_dir_all(path)?;
    let files = manifests.files();
    let mut old = Vec::new();
    // All is looked at before anything is written.
    for entry in fs::read_dir(path)? {
        let name = entry.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let ours = fs::open_regular(&entry)?.is_some() && fs::read(&entry, FILE_LIMIT)?.starts_with(HEADER.as_bytes());
        if !ours {
            return Err(Error::Foreign { folder: path.display().to_string(), file: name }.into());
        }
        if !files.contains_key(&name) {
            old.push(entry);
        }
    }
    for (name, text) in &files {
        fs::write_atomic(&path.join(name), text.as_bytes())?;
    }
    // An object that is no longer there must not be applied.
    old.iter().try_for_each(|entry| fs::remove_file(entry)).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Explain;
    use serde_json::json;

    fn manifests(names: &[&str]) -> Manifests {
        let object = |name: &&str| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}});
        let (lost, notes, secrets) = (vec!["l".into()], vec!["n".into()], vec!["kubectl x".into()]);
        Manifests { objects: names.iter().map(object).collect(), lost, notes, secrets }
    }

    fn listed(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap();
        names.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_folder_has_what_the_last_export_made() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        write(&manifests(&["a", "b"]), &folder).unwrap();
        assert_eq!(listed(&folder), ["3-service-a.yaml", "3-service-b.yaml", "README.md"]);
        let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
        assert!(readme.contains("kubectl x") && readme.contains("- l\n") && readme.contains("- n\n"), "{readme}");
        write(&manifests(&["b"]), &folder).unwrap();
        assert_eq!(listed(&folder), ["3-service-b.yaml", "README.md"]);
        std::fs::write(folder.join("mine.yaml"), "a: b\n").unwrap();
        let error = write(&manifests(&["c"]), &folder).unwrap_err();
        assert!(error.to_string().ends_with("b`: `mine.yaml` there is not of `ingot stack export`"), "{error}");
        assert!(error.cause().downcast_ref::<Error>().unwrap().hint().is_some());
        assert_eq!(listed(&folder), ["3-service-b.yaml", "README.md", "mine.yaml"]);
    }

    #[test]
    fn a_file_has_all() {
        let parent = tempfile::tempdir().unwrap();
        let all = manifests(&["a", "b"]);
        write(&all, &parent.path().join("x.yaml")).unwrap();
        assert_eq!(std::fs::read_to_string(parent.path().join("x.yaml")).unwrap(), all.yaml());
        assert!(all.yaml().contains("#   kubectl x\n---\n"), "{}", all.yaml());
        write(&all, &parent.path().join("x.json")).unwrap();
        let json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(parent.path().join("x.json")).unwrap()).unwrap();
        assert_eq!(json, all.list());
        for (name, text) in [("x.yaml", "services: {}\n"), ("x.json", "{}")] {
            let path = parent.path().join(name);
            write(&all, &path).unwrap();
            std::fs::write(&path, text).unwrap();
            let error = write(&all, &path).unwrap_err().to_string();
            assert!(error.ends_with(&format!("`{name}` there is not of `ingot stack export`")), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
