//! The application's layer: the source folder under `.dockerignore`, compiled.
//!
//! What is in the layer depends on names, contents, links and the owner's execute bit of the files, and on
//! nothing else of this machine: neither umask nor owners, times, the place of the project, or the order in which
//! the file system lists. The rules:
//!
//! - files are root's, 0755 if their owner may run them, else 0644; folders are made as they are needed;
//! - `__pycache__`, `*.pyc` and `*.pyo` of this machine are always left out;
//! - what a workspace of Node calls a program is 0755 whatever it was, as npm makes it;
//! - links stay links if they lead to something in the source folder, and are refused otherwise; none is followed;
//! - every `*.py` is compiled, scripts too; with bytecode `only`, `x.py` becomes `x.pyc` (mode 0644, nothing runs
//!   it as a program), a link to it becomes a link to `x.pyc`, and type stubs (`*.pyi`) are left out;
//! - a module that does not compile stops the build; all of them are listed.

mod error;
mod link;
mod scan;
mod snippet;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

pub use error::{AppError, BadModule};

use self::scan::{Found, Item};
use super::bytecode::{BytecodeMode, Compile, ModuleSet, Source};
use super::{cache_tag, marshal};
use crate::error::{During, Result};
use crate::fs;
use crate::layer::{
    BaseKind, Content, Context, Entry, Error as LayerError, Fingerprint, LayerSource, LayerTree, Stamps, Store,
    TreePath,
};
use crate::oci::Digest;

/// The version of the rules above.
const VERSION: u32 = 1;
/// How many links behind each other lead to a program.
const LINKS: usize = 40;
/// The largest program that is looked into, in bytes.
const SCRIPT_LIMIT: u64 = 64 << 20;

/// Which files, and what becomes of them.
#[derive(Clone)]
pub struct AppSpec {
    /// The project's folder, with its `.dockerignore`.
    pub root: PathBuf,
    /// The source folder, relative to the project.
    pub source: PathBuf,
    /// Its place in the image.
    pub target: TreePath,
    /// What becomes of the modules.
    pub mode: BytecodeMode,
    /// Needed unless the mode is `None`.
    pub compiler: Option<Arc<dyn Compile>>,
    /// Paths relative to the project that are never part of the app: where images are written.
    pub exclude: Vec<PathBuf>,
    /// Names of files and folders that are never part of the app, wherever they are.
    pub exclude_names: &'static [&'static str],
    /// Files that are run as programs whatever their mode.
    pub programs: Programs,
}

/// Programs of packages whose folders are part of the app.
#[derive(Clone, Default)]
pub struct Programs {
    /// Relative to the source folder.
    pub paths: BTreeSet<String>,
    /// What becomes of the bytes of one; `None` if it is good as it is.
    pub mend: Option<fn(&[u8]) -> Option<Vec<u8>>>,
}

impl AppSpec {
    fn leaves_out(&self, path: &Path) -> bool {
        self.exclude.iter().any(|excluded| path.starts_with(excluded))
            || path.file_name().is_some_and(|name| self.exclude_names.iter().any(|excluded| name == *excluded))
    }
}

/// A file that would be packed.
#[derive(Clone, Copy, Debug)]
pub struct AppFile<'a> {
    /// Relative to the project, escaped.
    pub path: &'a str,
    /// On this machine.
    pub place: &'a Path,
    /// Of its content.
    pub digest: &'a Digest,
    /// In bytes.
    pub size: u64,
    /// The content of a small file, if it had to be read.
    pub bytes: Option<&'a Arc<[u8]>>,
}

/// The source of layer "app". The folder is read once, by what is called first.
pub struct AppLayer {
    spec: AppSpec,
    items: OnceLock<Vec<Item>>,
}

impl AppLayer {
    /// Reads nothing yet.
    pub fn new(spec: AppSpec) -> Self {
        AppLayer { spec, items: OnceLock::new() }
    }

    fn items(&self, store: &Store) -> Result<&[Item]> {
        if let Some(items) = self.items.get() {
            return Ok(items);
        }
        let items = scan::scan(&self.spec, store).during(|| format!("reading `{}`", self.spec.source.display()))?;
        Ok(self.items.get_or_init(|| items))
    }

    /// The files that are packed, sorted by path: each is a file of the layer, or compiled into one.
    pub fn files(&self, store: &Store) -> Result<Vec<AppFile<'_>>> {
        let file = |item| match item {
            &Item { ref shown, ref place, found: Found::File { ref digest, size, ref bytes, .. }, .. } => {
                Some(AppFile { path: shown, place, digest, size, bytes: bytes.as_ref() })
            }
            _ => None,
        };
        Ok(self.items(store)?.iter().filter_map(file).collect())
    }

    /// The files that are programs, behind links to them.
    fn programs<'a>(&'a self, items: &'a [Item]) -> BTreeSet<String> {
        let target = |path: &str| {
            let place = items.binary_search_by(|item| item.path.as_str().cmp(path)).ok()?;
            match &items.get(place)?.found {
                Found::Link(target) => link::resolve(path, target).ok(),
                _ => None,
            }
        };
        let led = |path: &String| std::iter::successors(Some(path.clone()), |path| target(path)).take(LINKS).last();
        self.spec.programs.paths.iter().filter_map(led).collect()
    }

    fn place(&self, path: &str) -> Result<TreePath> {
        Ok(self.spec.target.join(path)?)
    }

    /// Whether this file is compiled.
    fn is_module(&self, item: &Item) -> bool {
        self.spec.mode != BytecodeMode::None
            && matches!(item.found, Found::File { .. })
            && item.path.strip_suffix(".py").is_some_and(|stem| !stem.is_empty() && !stem.ends_with('/'))
    }

    /// The file is not what it was when the folder was read. If that was told by its stamp, it would be so for ever.
    fn changed(&self, item: &Item, store: &Store) -> crate::error::Error {
        Stamps::forget(store, &self.spec.root.join(&self.spec.source));
        AppError::Changed { path: item.shown.clone() }.into()
    }

    /// The bytes of a file, which are still those of the fingerprint.
    fn bytes(&self, item: &Item, store: &Store) -> Result<Arc<[u8]>> {
        let Found::File { digest, size, bytes, .. } = &item.found else { return Ok(Arc::from([])) };
        if let Some(bytes) = bytes {
            return Ok(bytes.clone());
        }
        let bytes = fs::read(&item.place, *size).map_err(|error| match error {
            fs::Error::TooLarge { .. } => self.changed(item, store),
            other => other.into(),
        })?;
        if Digest::of(&bytes) != *digest {
            return Err(self.changed(item, store));
        }
        Ok(bytes.into())
    }

    /// The content of a file. A large one goes through the store, so that it cannot change any more.
    fn content(&self, item: &Item, context: &Context<'_>) -> Result<Content> {
        let large = |size: &u64| *size > scan::KEEP_LIMIT;
        let (digest, size) = match &item.found {
            Found::File { digest, size, bytes: None, .. } if large(size) => (digest, size),
            _ => return Ok(Content::Bytes(self.bytes(item, context.store)?)),
        };
        let stored = context.store.open(digest, Some(*size)).map(|mut blob| io::copy(&mut blob, &mut io::sink()));
        if !matches!(stored, Ok(Ok(_))) {
            context.store.discard(digest)?;
            let mut writer = context.store.writer()?;
            io::copy(&mut fs::open(&item.place)?, &mut writer)
                .map_err(|source| AppError::Walk { path: item.shown.clone(), source })?;
            if writer.finish()? != (*digest, *size) {
                return Err(self.changed(item, context.store));
            }
        }
        Ok(Content::File { path: context.store.blob_path(digest), size: *size })
    }

    fn compile(&self, modules: &[&Item], store: &Store) -> Result<Vec<Vec<u8>>> {
        if modules.is_empty() {
            return Ok(Vec::new());
        }
        let compiler = self.spec.compiler.as_ref().ok_or(AppError::NoCompiler)?;
        let source = |item: &&Item| -> Result<Option<Source>> {
            let Found::File { digest, size, .. } = &item.found else { return Ok(None) };
            let path = format!("/{}", self.place(&item.path)?);
            Ok(Some(Source { path, digest: *digest, size: *size }))
        };
        let sources = modules.iter().filter_map(|item| source(item).transpose()).collect::<Result<Vec<_>>>()?;
        let read = |place: usize| modules.get(place).map_or_else(|| Ok(Arc::from([])), |item| self.bytes(item, store));
        // Whose it is decides nothing: what one project compiled is there for all.
        let slot = format!("application {} in /{}", self.spec.root.display(), self.spec.target);
        let set = ModuleSet { slot, sources, read: &read };
        let mut compiled = Vec::with_capacity(modules.len());
        let mut bad = Vec::new();
        for (item, outcome) in modules.iter().zip(compiler.compile_set(&set)?) {
            match outcome {
                Ok(pyc) => compiled.push(pyc),
                Err(error) => bad.push(BadModule { path: item.shown.clone(), error }),
            }
        }
        if bad.is_empty() { Ok(compiled) } else { Err(AppError::Syntax { modules: bad }.into()) }
    }

    /// `x.pyc` or `__pycache__/x.cpython-3XY.pyc`.
    fn bytecode_path(&self, path: &str) -> Result<TreePath> {
        let stem = path.strip_suffix(".py").unwrap_or(path);
        match &self.spec.compiler {
            Some(compiler) if self.spec.mode == BytecodeMode::Alongside => {
                let (folder, name) = stem.rsplit_once('/').map_or((String::new(), stem), |(f, n)| (format!("{f}/"), n));
                self.place(&format!("{folder}__pycache__/{name}.{}.pyc", cache_tag(compiler.version())))
            }
            _ => self.place(&format!("{stem}.pyc")),
        }
    }

    /// A link. Where sources give way to bytecode, a link to a source leads to its bytecode.
    fn link(&self, item: &Item, target: &str, compiled: &BTreeSet<&str>) -> Result<(String, String)> {
        let leads_to = link::resolve(&item.path, target).unwrap_or_default();
        if self.spec.mode != BytecodeMode::Only || !compiled.contains(leads_to.as_str()) {
            return Ok((item.path.clone(), target.to_string()));
        }
        let stem = item.path.strip_suffix(".py").ok_or_else(|| AppError::Link {
            path: item.shown.clone(),
            target: target.to_string(),
            reason: "leads to a source that is not in the image with `bytecode = \"only\"`",
        })?;
        Ok((format!("{stem}.pyc"), format!("{target}c")))
    }

    fn empty_folder(&self, item: &Item, context: &Context<'_>, input: &Arc<str>) -> Result<Option<Entry>> {
        let path = self.place(&item.path)?;
        let found = match context.base.lookup(&path).map(|entry| entry.kind) {
            None => return Ok(Some(Entry::directory(input))),
            Some(BaseKind::Directory) => return Ok(None),
            Some(BaseKind::Symlink(target)) => format!("a link to `{target}`"),
            Some(_) => "a file".to_string(),
        };
        let (path, input) = (path.to_string(), input.to_string());
        Err(LayerError::Parent { parent: path.clone(), path, input, found }.into())
    }
}

impl LayerSource for AppLayer {
    fn name(&self) -> &str {
        "app"
    }

    fn created_by(&self) -> String {
        format!("ingot: app in /{} (bytecode {})", self.spec.target, self.spec.mode.name())
    }

    fn fingerprint(&self, context: &Context<'_>) -> Result<Fingerprint> {
        let mut fingerprint = Fingerprint::new("app", "app", VERSION)
            .field("target", &self.spec.target)
            .field("bytecode", self.spec.mode.name());
        if let Some(compiler) = self.spec.compiler.as_ref().filter(|_| self.spec.mode != BytecodeMode::None) {
            fingerprint = fingerprint
                .field("python", compiler.version())
                .field("magic", hex::encode(compiler.magic()))
                .field("normaliser", marshal::NORMALISER);
        }
        let items = self.items(context.store)?;
        let programs = self.programs(items);
        for item in items {
            let value = match &item.found {
                Found::File { digest, .. } if programs.contains(&item.path) => format!("{digest} program"),
                Found::EmptyFolder => "folder".to_string(),
                Found::Link(target) => format!("link to {target}"),
                Found::File { executable: true, digest, .. } => format!("{digest} executable"),
                Found::File { digest, .. } => digest.to_string(),
            };
            fingerprint = fingerprint.field(format!("file {}", item.path), value);
        }
        Ok(fingerprint)
    }

    /// It starts a program and waits for it.
    fn cost(&self) -> u64 {
        u64::MAX
    }

    fn tree(&self, context: &Context<'_>) -> Result<LayerTree> {
        let items = self.items(context.store)?;
        let modules: Vec<&Item> = items.iter().filter(|item| self.is_module(item)).collect();
        let compiled: BTreeSet<&str> = modules.iter().map(|item| item.path.as_str()).collect();
        let only = self.spec.mode == BytecodeMode::Only;
        let programs = self.programs(items);
        let mut tree = LayerTree::new();
        let compiling = context.progress.stage("compile app");
        let bytecode = self.compile(&modules, context.store)?;
        drop(compiling);
        for (item, pyc) in modules.iter().zip(bytecode) {
            let input: Arc<str> = format!("bytecode of `{}`", item.shown).into();
            tree.insert(self.bytecode_path(&item.path)?, Entry::file(pyc, 0o644, &input))?;
        }
        for item in items {
            let input: Arc<str> = format!("`{}`", item.shown).into();
            match &item.found {
                Found::EmptyFolder => {
                    if let Some(entry) = self.empty_folder(item, context, &input)? {
                        tree.insert(self.place(&item.path)?, entry)?;
                    }
                }
                Found::Link(target) => {
                    let (path, target) = self.link(item, target, &compiled)?;
                    tree.insert(self.place(&path)?, Entry::symlink(target, &input))?;
                }
                Found::File { .. } if only && (self.is_module(item) || item.path.ends_with(".pyi")) => {}
                Found::File { size, .. } if programs.contains(&item.path) => {
                    let mend = self.spec.programs.mend.filter(|_| *size <= SCRIPT_LIMIT);
                    let mended = mend.map(|mend| Ok::<_, crate::error::Error>(mend(&self.bytes(item, context.store)?)));
                    let content = match mended.transpose()?.flatten() {
                        Some(mended) => Content::from(mended),
                        None => self.content(item, context)?,
                    };
                    tree.insert(self.place(&item.path)?, Entry::file(content, 0o755, &input))?;
                }
                Found::File { executable, .. } => {
                    let mode = if *executable { 0o755 } else { 0o644 };
                    tree.insert(self.place(&item.path)?, Entry::file(self.content(item, context)?, mode, &input))?;
                }
            }
        }
        Ok(tree)
    }
}

#[cfg(test)]
mod tests;
