//! The tree as the rules see it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Rust file.
pub struct Source {
    /// Relative to the package, with `/`.
    pub path: String,
    /// All of it.
    pub text: String,
    /// Whether its module exists only in tests.
    pub tests: bool,
}

impl Source {
    /// The lines before its tests.
    pub fn before_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let is_tests = |at: &usize| {
            let module = lines[*at..].iter().find(|line| !line.trim_start().starts_with("#["));
            lines[*at].trim() == "#[cfg(test)]"
                && module.is_some_and(|line| line.contains("mod ") && line.ends_with('{'))
        };
        let end = (0..lines.len()).find(is_tests).unwrap_or(lines.len());
        lines.into_iter().take(end).enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The lines before its tests that are not comments; nothing of a file that has only tests.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.before_tests().filter(move |(_, line)| !self.tests && !line.trim_start().starts_with("//"))
    }
}

/// The package's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files under a folder, sorted.
pub fn sources(folder: &str) -> Vec<Source> {
    let mut files = Vec::new();
    walk(&root().join(folder), &mut files);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files.sort();
    let relative = |path: &PathBuf| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    let read = |path: &PathBuf| Source { path: relative(path), text: fs::read_to_string(path).unwrap(), tests: false };
    let mut sources: Vec<_> = files.iter().map(read).collect();
    let only_tests: BTreeSet<String> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        let module = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
        source.tests = only_tests.iter().any(|path| module == path || module.starts_with(&format!("{path}/")));
    }
    sources
}

/// The paths, without `.rs`, of the modules that a file declares for tests only.
fn test_modules(source: &Source) -> Vec<String> {
    let stem = source.path.trim_end_matches(".rs");
    let folder = match stem.strip_suffix("/mod").or(stem.strip_suffix("/lib")) {
        Some(folder) => folder,
        None => stem,
    };
    let mut found = Vec::new();
    let mut in_tests = false;
    let mut renamed = None;
    for line in source.text.lines().map(str::trim) {
        if line == "#[cfg(test)]" {
            in_tests = true;
        } else if let Some(name) = line.strip_prefix("#[path = \"") {
            renamed = name.strip_suffix(".rs\"]");
        } else if !line.starts_with("#[") {
            let module = line.strip_suffix(';').and_then(|line| line.split_once("mod ")).map(|(_, name)| name);
            if let (true, Some(name)) = (in_tests, module) {
                // `#[path]` counts from the folder that the file is in.
                let sibling = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
                found.push(renamed.map_or(format!("{folder}/{name}"), |file| format!("{sibling}/{file}")));
            }
            in_tests = false;
            renamed = None;
        }
    }
    found
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() { walk(&path, files) } else { files.push(path) }
    }
}

/// What git knows or would add; every file but build output where there is no git.
pub fn tracked() -> Vec<String> {
    let listed = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    if let Ok(listed) = listed
        && listed.status.success()
    {
        let names = String::from_utf8(listed.stdout).unwrap();
        return names.split_terminator('\0').map(str::to_owned).filter(|path| root().join(path).is_file()).collect();
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(root()).unwrap().map(|entry| entry.unwrap()) {
        match entry.file_name().to_str() {
            Some("target" | "dist" | ".git") => {}
            _ if entry.path().is_dir() => walk(&entry.path(), &mut files),
            _ => files.push(entry.path()),
        }
    }
    files.iter().map(|path| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned()).collect()
}

/// The targets of a page's `[text](target)` links, outside code.
pub fn links(page: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in page.lines() {
        fenced ^= line.trim_start().starts_with("```");
        // Every second piece between back-ticks is code.
        for piece in line.split('`').step_by(2).filter(|_| !fenced) {
            found.extend(piece.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target));
        }
    }
    found
}
