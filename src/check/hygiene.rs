//! A project before it is built: every file that would be packed, the configuration, the lock.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use rayon::prelude::*;

use super::allow::{ALLOW_FILE, Allowed};
use super::config::{self, title};
use super::finding::{Finding, Report};
use super::lock;
use super::memory::{Search, Seen, secrets};
use super::policy::Policy;
use super::secret::Files;
use super::stray;
use crate::error::Result;
use crate::fs;
use crate::layer::{Store, TreePath};
use crate::oci::Digest;
use crate::plan::{EXCLUDED, excluded_names};
use crate::project::{Project, Variant};
use crate::python::bytecode::BytecodeMode;
use crate::python::{AppError, AppFile, AppLayer, AppSpec};
use crate::text;

/// The largest file whose content is searched, in bytes; of a larger one only name and size count.
const CONTENT_LIMIT: u64 = 8 << 20;
/// How much of a file is looked at to tell text from other things.
const HEAD: usize = 8 << 10;
/// The largest `.dockerignore`.
const IGNORE_LIMIT: u64 = 1 << 20;
/// How many files are named in a finding about several.
const NAMED: usize = 3;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Everything.
    All,
    /// What a build does not tell itself.
    Build,
}

/// What the content of a file is to the search.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Dotenv,
    Config,
    Notebook,
}

/// Looks at what these variants would put into their images.
pub fn hygiene(
    project: &Project,
    variants: &[Variant],
    policy: &Policy,
    extent: Extent,
    store: &Store,
) -> Result<Report> {
    let mut allowed = Allowed::read(&project.root)?;
    let search = Search::open(store, &fs::canonical(&project.root));
    let mut report = Report::default();
    let mut found = config::look(project, variants, policy, &search)?;
    found.extend(lock::look(project, variants, policy, &search, extent == Extent::All)?);
    let mut packed = BTreeSet::new();
    for app in apps(project, variants)? {
        let files = match app.files(store) {
            Ok(files) => files,
            // The build stops at that too, and says where.
            Err(_) if extent == Extent::Build => continue,
            Err(error) => return Err(error),
        };
        let new: Vec<AppFile<'_>> = files.into_iter().filter(|file| packed.insert(file.path.to_string())).collect();
        report.files += new.len();
        report.unsearched += new.iter().filter(|file| file.size > CONTENT_LIMIT).count();
        report.bytes += new.iter().map(|file| file.size).sum::<u64>();
        found.extend(names(&new, policy));
        let (inside, answered) = contents(&new, policy, &search)?;
        found.extend(inside);
        report.allowed += answered;
    }
    search.remember()?;
    let paths: Vec<&str> = packed.iter().map(String::as_str).collect();
    found.extend(ignored(project, &paths, policy)?);
    for finding in found {
        if allowed.answers(&finding) {
            report.allowed += 1;
        } else {
            report.findings.push(finding);
        }
    }
    // A line may answer for what another variant packs.
    if extent == Extent::All && variants.len() == project.variants().len() {
        for (line, rule, files) in allowed.unused() {
            let message = format!("no finding of `{rule}` in `{files}`");
            report.findings.extend(policy.finding("allow-unused", (ALLOW_FILE, Some(line)), message, None));
        }
    }
    report.sort();
    Ok(report)
}

/// The applications of these variants, each source folder once: with all that any of them packs.
fn apps(project: &Project, variants: &[Variant]) -> Result<Vec<AppLayer>> {
    let mut sources: BTreeMap<PathBuf, &'static [&'static str]> = BTreeMap::new();
    for variant in variants {
        let Some(app) = &variant.app else { continue };
        let names = sources.entry(app.source.value.clone()).or_insert(excluded_names(variant));
        if excluded_names(variant).is_empty() {
            *names = &[];
        }
    }
    let app = |(source, exclude_names): (PathBuf, &'static [&'static str])| {
        Ok(AppLayer::new(AppSpec {
            root: project.root.clone(),
            source: source.strip_prefix(&project.root).map(PathBuf::from).unwrap_or(source),
            target: TreePath::new("app")?,
            mode: BytecodeMode::None,
            compiler: None,
            exclude: EXCLUDED.iter().map(PathBuf::from).collect(),
            exclude_names,
            programs: Default::default(),
        }))
    };
    sources.into_iter().map(app).collect()
}

fn names(files: &[AppFile<'_>], policy: &Policy) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut told = BTreeSet::new();
    for file in files {
        if let Some((rule, object, message)) = stray::look(file.path)
            && told.insert((rule, object))
        {
            found.extend(policy.finding(rule, (object, None), message, None));
        }
        if file.size > policy.large_file {
            let message = format!("{} large, over {}", text::size(file.size), text::size(policy.large_file));
            found.extend(policy.finding("large-file", (file.path, None), message, None));
        }
    }
    found
}

/// What the contents say, and how many findings comments answer for.
fn contents(files: &[AppFile<'_>], policy: &Policy, search: &Search<'_>) -> Result<(Vec<Finding>, usize)> {
    let look = |file: &AppFile<'_>| {
        let kind = kind(file.path);
        search.content(file.digest, kind.letter(), || look(file, kind))
    };
    let all: Vec<Vec<Seen>> = files.par_iter().map(look).collect::<Result<_>>()?;
    let mut found = Vec::new();
    let mut answered = 0;
    for (file, one) in files.iter().zip(all).flat_map(|(file, seen)| seen.into_iter().map(move |one| (file, one))) {
        if one.allowed {
            answered += 1;
        } else {
            found.extend(policy.finding(&one.rule, (file.path, one.line), title(&one.rule), one.evidence));
        }
    }
    Ok((found, answered))
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Kind::Text => 't',
            Kind::Dotenv => 'd',
            Kind::Config => 'c',
            Kind::Notebook => 'n',
        }
    }
}

fn kind(path: &str) -> Kind {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name {
        name if stray::is_dotenv(name) => Kind::Dotenv,
        name if name.ends_with(".ipynb") => Kind::Notebook,
        name if stray::is_config(name) => Kind::Config,
        _ => Kind::Text,
    }
}

fn look(file: &AppFile<'_>, kind: Kind) -> Result<Vec<Seen>> {
    if file.size > CONTENT_LIMIT {
        return Ok(Vec::new());
    }
    let read;
    let bytes: &[u8] = match file.bytes {
        Some(bytes) => bytes,
        None => {
            let changed = || AppError::Changed { path: file.path.to_string() };
            read = match fs::read(file.place, file.size) {
                Err(fs::Error::TooLarge { .. }) => return Err(changed().into()),
                other => other?,
            };
            // What is remembered is remembered of this digest.
            if Digest::of(&read) != *file.digest {
                return Err(changed().into());
            }
            &read
        }
    };
    if bytes.iter().take(HEAD).any(|byte| *byte == 0) {
        return Ok(Vec::new());
    }
    let files = match kind {
        Kind::Dotenv => Files::Dotenv,
        Kind::Config => Files::Config,
        Kind::Text | Kind::Notebook => Files::Source,
    };
    let mut seen = secrets(bytes, files);
    if kind == Kind::Notebook && has_output(bytes) {
        seen.push(Seen { rule: "notebook-output".into(), line: None, evidence: None, allowed: false });
    }
    Ok(seen)
}

/// Whether a cell of a notebook has output.
fn has_output(bytes: &[u8]) -> bool {
    let notebook: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let cells = notebook.get("cells").and_then(|cells| cells.as_array());
    let filled = |cell: &serde_json::Value| {
        cell.get("outputs").and_then(|outputs| outputs.as_array()).is_some_and(|outputs| !outputs.is_empty())
    };
    cells.is_some_and(|cells| cells.iter().any(filled))
}

fn ignored(project: &Project, paths: &[&str], policy: &Policy) -> Result<Vec<Finding>> {
    let Some(bytes) = fs::read_optional(&project.root.join(".dockerignore"), IGNORE_LIMIT)? else {
        return Ok(Vec::new());
    };
    let file = String::from_utf8_lossy(&bytes);
    let mut found = Vec::new();
    for (line, pattern, paths) in stray::ignored_elsewhere(&file, paths) {
        let named: Vec<String> = paths.iter().take(NAMED).map(|path| format!("`{path}`")).collect();
        let more = paths.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let message = format!("`{pattern}` does not match {}{more}", named.join(", "));
        found.extend(policy.finding("ignored-elsewhere", (".dockerignore", Some(line)), message, None));
    }
    Ok(found)
}
