//! The project file: found, parsed, checked, and resolved variant by variant.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::Check;
use super::document::{self, Member, Table, Value};
use super::error::Error as ProjectError;
use super::expand::{PYTHON_VERSION, Scope};
use super::facts;
use super::place::{Located, Place, Source};
use super::resolve::Reader;
use super::suggest;
use super::variant::Variant;
use crate::error::Error;
use crate::fs;
use crate::oci::Epoch;

/// The longest project file, in bytes.
pub const FILE_LIMIT: u64 = 1 << 20;

/// The project's own file.
pub const FILE_NAME: &str = "ingot.toml";
/// The file that can hold it as `[tool.ingot]`.
pub const PYPROJECT: &str = "pyproject.toml";

/// A project file that was read and found well-formed.
#[derive(Clone)]
pub struct Project {
    /// The folder of the project.
    pub root: PathBuf,
    /// Its file: `ingot.toml` or `pyproject.toml`.
    pub file: PathBuf,
    pub(super) source: Arc<Source>,
    prefix: &'static str,
    pub(super) table: Table,
}

/// What `${NAME}` stands for besides `[args]`.
#[derive(Clone, Debug, Default)]
pub struct BuildArgs {
    /// From `--build-arg`: these win over everything.
    pub given: BTreeMap<String, String>,
    /// From [`facts`](super::facts()): these hold if nobody says otherwise.
    pub defaults: BTreeMap<String, String>,
}

impl std::fmt::Debug for Project {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Project({}, variants {:?})", self.file.display(), self.variants())
    }
}

impl Project {
    /// Reads `DIR/ingot.toml`, else `[tool.ingot]` in `DIR/pyproject.toml`. Both at once are an error.
    pub fn load(dir: &Path) -> Result<Project, Error> {
        if !dir.is_dir() {
            return Err(ProjectError::NoFolder { dir: dir.to_path_buf() }.into());
        }
        let (own, shared) = (dir.join(FILE_NAME), dir.join(PYPROJECT));
        let text = |path: &Path| -> Result<Option<Arc<Source>>, Error> {
            match fs::exists(path) {
                true => Ok(Some(Source::new(path, fs::read_text(path, FILE_LIMIT)?))),
                false => Ok(None),
            }
        };
        match (text(&own)?, text(&shared)?) {
            (Some(source), pyproject) => {
                if let Some(twin) = pyproject.and_then(|source| {
                    let document = document::parse(&source).ok()?;
                    Some(Place::new(&source, tool_ingot(&document)?.key.clone()))
                }) {
                    let message = format!("the project is described twice: here and in `{FILE_NAME}`");
                    return Err(twin.error(message, Some("keep one of them".into())));
                }
                let table = document::parse(&source)?;
                Ok(Project::checked(dir, own, source, "", table, 0..0)?)
            }
            (None, Some(source)) => {
                let document = document::parse(&source)?;
                let Some(Member { key, node }) = tool_ingot(&document) else {
                    return Err(ProjectError::NoProject { dir: dir.to_path_buf() }.into());
                };
                let Some(table) = node.table() else {
                    let message = format!("`tool.ingot` must be a table, not {}", node.value.describe());
                    return Err(Place::new(&source, node.span.clone()).error(message, None));
                };
                Ok(Project::checked(dir, shared, source.clone(), "tool.ingot.", table.clone(), key.clone())?)
            }
            (None, None) => Err(ProjectError::NoProject { dir: dir.to_path_buf() }.into()),
        }
    }

    fn checked(
        dir: &Path,
        file: PathBuf,
        source: Arc<Source>,
        prefix: &'static str,
        table: Table,
        at: Range<usize>,
    ) -> Result<Project, ProjectError> {
        Check { source: &source, prefix, complete: false }.project(&table, at.clone())?;
        let project = Project { root: dir.to_path_buf(), file, source, prefix, table };
        let variants = project.variants();
        if variants.is_empty() {
            let message = "the project has no variant";
            let hint = format!("add `[{prefix}variants.default]` with `base = \"debian:12-slim\"`");
            let at = project.table.get("variants").map_or(at, |member| member.key.clone());
            return Err(project.place(at).mistake(message, Some(hint)));
        }
        if let Some(default) = project.written_default()
            && !variants.contains(&default.value)
        {
            let message = format!("the default variant `{}` is not in `[{prefix}variants]`", default.value);
            return Err(default
                .at
                .mistake(message, Some(suggest::hint(&default.value, &variants, "the variants are"))));
        }
        Ok(project)
    }

    fn place(&self, span: Range<usize>) -> Place {
        Place::new(&self.source, span)
    }

    fn written_default(&self) -> Option<Located<String>> {
        let member = self.table.get("image")?;
        Reader::new(&self.source, member.node.table()?, member.key.clone()).text("default-variant")
    }

    fn variant_members(&self) -> Option<&Table> {
        self.table.get("variants")?.node.table()
    }

    /// The names of all variants, sorted; at least one.
    pub fn variants(&self) -> Vec<String> {
        self.variant_members().map(|table| table.keys().cloned().collect()).unwrap_or_default()
    }

    /// `image.default-variant`, or the only variant that there is.
    pub fn default_variant(&self) -> Option<String> {
        self.written_default().map(|default| default.value).or_else(|| match &self.variants()[..] {
            [only] => Some(only.clone()),
            _ => None,
        })
    }

    /// The variant `name`: its tables laid over the project's, every `${NAME}` expanded, everything typed, and the
    /// files that it names found.
    pub fn variant(&self, name: &str, args: &BuildArgs) -> Result<Variant, Error> {
        let Some(member) = self.variant_members().and_then(|table| table.get(name)) else {
            return Err(ProjectError::UnknownVariant { name: name.to_string(), known: self.variants() }.into());
        };
        let mut table = self.table.clone();
        table.remove("variants");
        table.remove("hygiene");
        table.remove("validate");
        document::merge(&mut table, member.node.table().unwrap_or(&Table::new()));
        Ok(self.resolve(name, member.key.clone(), table, args)?)
    }

    fn resolve(
        &self,
        name: &str,
        at: Range<usize>,
        mut table: Table,
        args: &BuildArgs,
    ) -> Result<Variant, ProjectError> {
        let own_args = match table.remove("args").map(|member| member.node.value) {
            Some(Value::Table(table)) => table,
            _ => Table::new(),
        };
        let mut defaults = facts::fallbacks();
        defaults.extend(args.defaults.clone());
        defaults.insert("VARIANT".into(), name.to_string());
        let python = table.get("python").and_then(|member| member.node.table()?.get("version")).map(|m| m.node.clone());
        let scope = Scope {
            source: &self.source,
            given: &args.given,
            args: &own_args,
            defaults: &defaults,
            python_version: python.as_ref(),
            done: RefCell::default(),
        };
        let names = scope.names();
        if let Some(unknown) = args.given.keys().find(|name| !names.contains(name) && *name != PYTHON_VERSION) {
            return Err(ProjectError::UnknownArgument { name: unknown.clone(), known: names });
        }
        let mut resolved = own_args.clone();
        scope.table(&mut resolved)?;
        scope.table(&mut table)?;
        Check { source: &self.source, prefix: self.prefix, complete: true }.variant(&table, name, at.clone())?;

        let epoch = args.defaults.get("BUILD_DATE").and_then(|date| date.parse().ok()).unwrap_or(Epoch::ENTRIES);
        let reader = Reader::new(&self.source, &table, at.clone());
        let python = reader.python(&self.root)?;
        defaults.extend(python.iter().map(|python| (PYTHON_VERSION.to_string(), python.version.value.to_string())));
        defaults.extend(resolved.iter().filter_map(|(name, member)| match &member.node.value {
            Value::String(text) => Some((name.clone(), text.clone())),
            _ => None,
        }));
        defaults.extend(args.given.clone());
        Ok(Variant {
            name: name.to_string(),
            at: self.place(at.clone()),
            image: reader.image(),
            base: reader.text("base").unwrap_or(Located { value: String::new(), at: self.place(at) }),
            app: reader.app(&self.root, python.as_ref())?,
            python,
            node: reader.modules(&self.root)?,
            os: reader.os(&self.root)?,
            user: reader.user(),
            env: reader.map("env"),
            healthcheck: reader.healthcheck(),
            budget: reader.budget(),
            gpu: reader.gpu(),
            epoch,
            args: defaults,
        })
    }
}

fn tool_ingot(document: &Table) -> Option<&Member> {
    document.get("tool")?.node.table()?.get("ingot")
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
