//! What is left open on the command line, resolved: the store, the registries, the project and its arguments.

use std::path::{Path, PathBuf};

use crate::error::{Class, Explain, Result};
use crate::image::Access;
use crate::layer::Store;
use crate::oci::media_type::Compression;
use crate::plan::{Locking, Request};
use crate::progress::Progress;
use crate::project::{BuildArgs, Project, facts};
use crate::registry;

use super::args::{Global, LayerCompression, Selection};
use super::printer::Printer;
use super::progress;

/// A mistake on the command line that its grammar does not show.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nowhere to keep blobs.
    #[error("there is no place for the store: neither INGOT_CACHE nor XDG_CACHE_HOME nor HOME is set")]
    NoStore,
    /// Options that do not go together.
    #[error("{problem}")]
    Usage {
        /// What is wrong.
        problem: String,
        /// What to do.
        advice: String,
    },
}

impl Error {
    /// A mistake, with advice.
    pub fn usage(problem: impl Into<String>, advice: impl Into<String>) -> Self {
        Error::Usage { problem: problem.into(), advice: advice.into() }
    }
}

impl Explain for Error {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::NoStore => Some("set INGOT_CACHE to a folder that this user may write to".into()),
            Error::Usage { advice, .. } => Some(advice.clone()),
        }
    }
}

/// One run of the command: where to print, where to report, and what is opened when it is first needed.
pub struct Session {
    /// Options of every command.
    pub global: Global,
    /// Where data and errors go.
    pub printer: Printer,
    /// Where progress goes.
    pub progress: Progress,
    /// Whether files that look as they did before are taken for the same.
    believes_stamps: bool,
}

impl Session {
    /// For these options.
    pub fn new(global: Global, printer: Printer) -> Self {
        let progress = progress::progress(printer.quiet());
        Session { global, printer, progress, believes_stamps: true }
    }

    /// The same run, reporting elsewhere.
    pub fn with(&self, progress: Progress) -> Self {
        Session { global: self.global.clone(), printer: self.printer, progress, believes_stamps: self.believes_stamps }
    }

    /// The same run, which reads every file of the project anew.
    pub fn without_stamps(&self) -> Self {
        Session { believes_stamps: false, ..self.with(self.progress.clone()) }
    }

    /// The store of this user.
    pub fn store(&self) -> Result<Store> {
        let store = Store::open_at(&store_folder(variable)?)?;
        let store = if shares(variable)? { store } else { store.without_sharing() };
        Ok(if self.believes_stamps { store } else { store.without_stamps() })
    }

    /// The store, the registries and the engines.
    pub fn access(&self) -> Result<Access> {
        let options =
            registry::Options { plain_http: self.global.plain_http.clone(), auth_file: self.global.authfile.clone() };
        Ok(Access::new(&self.store()?, &self.progress).with_registries(options))
    }
}

#[allow(clippy::disallowed_methods, reason = "where the store is decides no bytes of an image")]
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn store_folder(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, Error> {
    if let Some(folder) = variable("INGOT_CACHE") {
        return Ok(folder);
    }
    // The base directory specification: a relative path is to be ignored.
    let absolute = |path: &PathBuf| path.is_absolute();
    variable("XDG_CACHE_HOME")
        .filter(absolute)
        .or_else(|| variable("HOME").filter(absolute).map(|home| home.join(".cache")))
        .map(|cache| cache.join("ingot"))
        .ok_or(Error::NoStore)
}

/// Whether layouts may share files with the store: `INGOT_LINK_MODE`, `share` or `copy`.
fn shares(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<bool, Error> {
    let mode = variable("INGOT_LINK_MODE").unwrap_or_else(|| "share".into());
    match mode.to_str() {
        Some("share") => Ok(true),
        Some("copy") => Ok(false),
        _ => {
            let problem = format!("INGOT_LINK_MODE is `{}`", mode.to_string_lossy().escape_debug());
            Err(Error::usage(problem, "it is `share` or `copy`, and `share` if it is not set"))
        }
    }
}

/// `--locked` or not.
pub fn locking(locked: bool) -> Locking {
    if locked { Locking::Only } else { Locking::Obey }
}

/// The project in `dir` and what is asked of it.
pub fn request(selection: &Selection, locking: Locking, session: &Session) -> Result<(Project, Request)> {
    let project = Project::load(Path::new(&selection.dir))?;
    let (defaults, warning) = facts(&project.root, &session.store()?)?;
    if let Some(warning) = warning {
        session.progress.message(&format!("warning: {warning}"));
    }
    let args = BuildArgs { given: selection.build_arg.iter().cloned().collect(), defaults };
    let request = Request {
        variants: selection.variant.clone(),
        platforms: selection.platform.clone(),
        args,
        compression: match selection.compression {
            LayerCompression::Gzip => Compression::Gzip,
            LayerCompression::Zstd => Compression::Zstd,
        },
        locking,
        mirror: selection.mirror.clone(),
        keyring: selection.keyring.clone(),
        ahead: false,
    };
    Ok((project, request))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_share_files_unless_the_environment_says_otherwise() {
        let with = |value: Option<&'static str>| shares(move |_| value.map(PathBuf::from));
        assert!(with(None).unwrap() && with(Some("share")).unwrap() && !with(Some("copy")).unwrap());
        let error = with(Some("hard\u{1b}link")).unwrap_err();
        assert_eq!(error.to_string(), "INGOT_LINK_MODE is `hard\\u{1b}link`");
        assert_eq!(error.class(), Class::Usage);
    }

    #[test]
    fn the_store_is_where_the_environment_says() {
        let with = |pairs: &'static [(&str, &str)]| {
            store_folder(move |name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.into()))
        };
        assert_eq!(with(&[("INGOT_CACHE", "x"), ("HOME", "/h")]).unwrap(), PathBuf::from("x"));
        assert_eq!(with(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]).unwrap(), PathBuf::from("/c/ingot"));
        assert_eq!(with(&[("XDG_CACHE_HOME", "c"), ("HOME", "/h")]).unwrap(), PathBuf::from("/h/.cache/ingot"));
        let error = with(&[("HOME", "relative")]).unwrap_err();
        assert!(error.to_string().starts_with("there is no place for the store"));
        assert!(Explain::hint(&error).is_some_and(|hint| hint.contains("INGOT_CACHE")));
    }
}
