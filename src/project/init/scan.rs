//! The files of a folder in which an application may be, and which module each Python file is.

use std::collections::BTreeSet;
use std::path::Path;

use crate::error::Result;
use crate::fs;

/// How deep folders are looked into.
const DEPTH_LIMIT: usize = 6;
/// How many files are looked at.
const FILES_LIMIT: usize = 2000;
/// How much of a file is read, in bytes; a longer one is not where an application is made.
const TEXT_LIMIT: u64 = 512 << 10;

/// Folders that hold no application.
const SKIPPED: &[&str] = &[
    "__pycache__",
    "node_modules",
    "site-packages",
    "dist",
    "build",
    "docs",
    "doc",
    "test",
    "tests",
    "testing",
    "migrations",
    "examples",
    "benchmarks",
    "scripts",
    "venv",
    "env",
];

/// A file of source code.
pub struct File {
    /// Relative to the project, `/`-separated.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// All Python files, those nearest to the top first.
pub fn files(root: &Path) -> Result<Vec<File>> {
    files_of(root, &["py"])
}

/// All files whose names end in a dot and one of these, those nearest to the top first.
pub fn files_of(root: &Path, suffixes: &[&str]) -> Result<Vec<File>> {
    let is_wanted = |name: &str| name.rsplit_once('.').is_some_and(|(_, suffix)| suffixes.contains(&suffix));
    let mut found = Vec::new();
    let mut folders = vec![(root.to_path_buf(), String::new(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        for path in fs::read_dir(&folder)? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let inner = format!("{prefix}{name}");
            if metadata.is_dir() {
                let environment = fs::exists(&path.join("pyvenv.cfg"));
                if depth < DEPTH_LIMIT && !name.starts_with('.') && !SKIPPED.contains(&name) && !environment {
                    folders.push((path, format!("{inner}/"), depth + 1));
                }
            } else if metadata.is_file() && is_wanted(name) && found.len() < FILES_LIMIT {
                // What cannot be read as text is not where an application is made.
                if let Ok(text) = fs::read_text(&path, TEXT_LIMIT) {
                    found.push(File { path: inner, text });
                }
            }
        }
    }
    found.sort_by(|a, b| (a.path.matches('/').count(), &a.path).cmp(&(b.path.matches('/').count(), &b.path)));
    Ok(found)
}

/// The folder that must be on the import path for `path`, "" for the project's own, and the module's name from there.
pub fn module(path: &str, files: &[File]) -> (String, String) {
    let packages: BTreeSet<&str> = files.iter().filter_map(|file| file.path.strip_suffix("/__init__.py")).collect();
    let (mut folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let mut name = vec![file.strip_suffix(".py").unwrap_or(file)];
    while !folder.is_empty() {
        let (parent, last) = folder.rsplit_once('/').unwrap_or(("", folder));
        // A folder without `__init__.py` is a package too if somebody imports from it.
        let imported = || {
            let (from, import) = (format!("from {last}."), format!("import {last}."));
            files.iter().any(|file| {
                file.text.lines().map(str::trim_start).any(|line| line.starts_with(&from) || line.starts_with(&import))
            })
        };
        if !packages.contains(folder) && (last == "src" || !imported()) {
            break;
        }
        name.push(last);
        folder = parent;
    }
    if name.len() > 1 && matches!(name.first(), Some(&"__init__" | &"__main__")) {
        name.remove(0);
    }
    name.reverse();
    (folder.to_string(), name.join("."))
}
