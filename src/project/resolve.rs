//! From tables that were checked to a typed [`Variant`](super::Variant).

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::document::{Node, Table, Value};
use super::error::Error;
use super::place::{Located, Place, Source};
use super::rule;
use super::variant::{
    AppSpec, Budget, GpuSpec, Healthcheck, ImageSpec, NodeSpec, OsSpec, PythonSpec, Upgrade, UserSpec,
};
use crate::layer::TreePath;
use crate::python::PythonVersion;
use crate::python::bytecode::BytecodeMode;

const SECOND: u64 = 1_000_000_000;

/// A checked table and its place. What the check has refused is not there.
pub struct Reader<'a> {
    source: &'a Arc<Source>,
    table: &'a Table,
    at: Range<usize>,
}

impl<'a> Reader<'a> {
    /// Reads `table`, whose name is at `at`.
    pub fn new(source: &'a Arc<Source>, table: &'a Table, at: Range<usize>) -> Self {
        Reader { source, table, at }
    }

    /// The table of this name.
    fn inner(&self, name: &str) -> Option<Reader<'a>> {
        let member = self.table.get(name)?;
        Some(Reader { source: self.source, table: member.node.table()?, at: member.key.clone() })
    }

    fn node(&self, name: &str) -> Option<&'a Node> {
        self.table.get(name).map(|member| &member.node)
    }

    fn place(&self, node: &Node) -> Place {
        Place::new(self.source, node.span.clone())
    }

    /// A string and its place.
    pub fn text(&self, name: &str) -> Option<Located<String>> {
        self.node(name).and_then(|node| self.located(node))
    }

    fn located(&self, node: &Node) -> Option<Located<String>> {
        match &node.value {
            Value::String(text) => Some(Located { value: text.clone(), at: self.place(node) }),
            _ => None,
        }
    }

    /// A string, or what holds without it.
    fn text_or(&self, name: &str, default: &str) -> Located<String> {
        let at = Place::new(self.source, self.at.clone());
        self.text(name).unwrap_or(Located { value: default.to_string(), at })
    }

    fn texts(&self, name: &str) -> Vec<Located<String>> {
        match self.node(name).map(|node| &node.value) {
            Some(Value::Array(items)) => items.iter().filter_map(|item| self.located(item)).collect(),
            _ => Vec::new(),
        }
    }

    fn words(&self, name: &str) -> Vec<String> {
        self.texts(name).into_iter().map(|word| word.value).collect()
    }

    /// A table of strings.
    pub fn map(&self, name: &str) -> BTreeMap<String, String> {
        let Some(table) = self.node(name).and_then(Node::table) else { return BTreeMap::new() };
        let value = |node: &Node| match &node.value {
            Value::String(text) => Some(text.clone()),
            _ => None,
        };
        table.iter().filter_map(|(name, member)| Some((name.clone(), value(&member.node)?))).collect()
    }

    fn number(&self, name: &str) -> Option<i64> {
        match self.node(name)?.value {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }

    fn small(&self, name: &str, default: u32) -> u32 {
        self.number(name).and_then(|number| u32::try_from(number).ok()).unwrap_or(default)
    }

    fn size(&self, name: &str) -> Option<u64> {
        match &self.node(name)?.value {
            Value::Integer(bytes) => u64::try_from(*bytes).ok(),
            Value::String(text) => rule::size(text).ok(),
            _ => None,
        }
    }

    fn duration(&self, name: &str, default: u64) -> u64 {
        self.text(name).and_then(|text| rule::duration(&text.value).ok()).unwrap_or(default)
    }

    fn mode(&self, name: &str) -> Option<BytecodeMode> {
        let modes = [BytecodeMode::None, BytecodeMode::Alongside, BytecodeMode::Only];
        let text = self.text(name)?;
        modes.into_iter().find(|mode| mode.name() == text.value)
    }

    /// `[image]`.
    pub fn image(&self) -> ImageSpec {
        let Some(image) = self.inner("image") else {
            return ImageSpec { name: String::new(), labels: BTreeMap::new() };
        };
        ImageSpec { name: image.text_or("name", "").value, labels: image.map("labels") }
    }

    /// `[python]`; its lock file must be there.
    pub fn python(&self, root: &Path) -> Result<Option<PythonSpec>, Error> {
        let Some(python) = self.inner("python") else { return Ok(None) };
        let written = python.text_or("version", "");
        let version: PythonVersion =
            written.value.parse().map_err(|message: String| written.at.mistake(message, None))?;
        let lock = python.text("lock").map(|lock| file(root, lock)).transpose()?;
        Ok(Some(PythonSpec {
            version: written.map(|_| version),
            lock,
            venv: python.text_or("venv", "/opt/venv"),
            bytecode: python.mode("bytecode").unwrap_or_default(),
        }))
    }

    /// `[node]`; its lock and its package.json must be there.
    pub fn modules(&self, root: &Path) -> Result<Option<NodeSpec>, Error> {
        let Some(node) = self.inner("node") else { return Ok(None) };
        let lock = node.text_or("lock", "package-lock.json");
        let beside = Path::new(&lock.value).with_file_name("package.json");
        let package = node
            .text("package")
            .unwrap_or(Located { value: beside.to_string_lossy().into_owned(), at: lock.at.clone() });
        let target = self.inner("app").map_or_else(|| "/app".into(), |app| app.text_or("target", "/app").value);
        let modules = node.text_or("modules", &format!("{}/node_modules", target.trim_end_matches('/')));
        Ok(Some(NodeSpec {
            at: Place::new(self.source, node.at.clone()),
            lock: file(root, lock)?,
            package: file(root, package)?,
            modules,
        }))
    }

    /// `[os]`; its keyring must be there.
    pub fn os(&self, root: &Path) -> Result<OsSpec, Error> {
        let Some(os) = self.inner("os") else { return Ok(OsSpec::default()) };
        let upgrade = match os.text("upgrade").as_ref().map(|text| text.value.as_str()) {
            Some("security") => Upgrade::Security,
            Some("all") => Upgrade::All,
            _ => Upgrade::None,
        };
        Ok(OsSpec {
            packages: os.texts("packages"),
            upgrade,
            recommends: matches!(os.node("recommends").map(|node| &node.value), Some(Value::Boolean(true))),
            keep: os.words("keep"),
            mirror: os.text("mirror"),
            keyring: os.text("keyring").map(|keyring| file(root, keyring)).transpose()?,
        })
    }

    /// `[app]`; its source folder must be there.
    pub fn app(&self, root: &Path, python: Option<&PythonSpec>) -> Result<Option<AppSpec>, Error> {
        let Some(app) = self.inner("app") else { return Ok(None) };
        let bytecode = match (app.mode("bytecode"), python) {
            (Some(BytecodeMode::None), _) | (None, None) => BytecodeMode::None,
            (Some(mode), Some(_)) => mode,
            (None, Some(_)) => BytecodeMode::Only,
            (Some(_), None) => {
                let message = "bytecode needs `[python]` with a `version`";
                return Err(app
                    .text_or("bytecode", "")
                    .at
                    .mistake(message, Some("add the table, or write `bytecode = \"none\"`".into())));
            }
        };
        let target = app.text_or("target", "/app");
        if let Some(python) = python {
            apart(&python.venv, &target)?;
        }
        Ok(Some(AppSpec {
            source: folder(root, app.text_or("source", "."))?,
            target,
            bytecode,
            command: app.words("command"),
            expose: app.ports("expose"),
            require_env: app.map("require-env"),
            writable: app.texts("writable"),
        }))
    }

    fn ports(&self, name: &str) -> Vec<rule::Port> {
        let Some(Value::Array(items)) = self.node(name).map(|node| &node.value) else { return Vec::new() };
        let text = |item: &Node| match &item.value {
            Value::String(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            _ => String::new(),
        };
        let mut ports: Vec<_> = items.iter().filter_map(|item| rule::port(&text(item)).ok()).collect();
        ports.sort();
        ports
    }

    /// `[user]`.
    pub fn user(&self) -> UserSpec {
        let (name, uid, gid) = match self.inner("user") {
            Some(user) => (user.text_or("name", "app").value, user.small("uid", 1001), user.small("gid", 1001)),
            None => ("app".to_string(), 1001, 1001),
        };
        UserSpec { group: name.clone(), name, uid, gid }
    }

    /// `[healthcheck]`.
    pub fn healthcheck(&self) -> Option<Healthcheck> {
        let check = self.inner("healthcheck")?;
        Some(Healthcheck {
            command: check.words("command"),
            interval: check.duration("interval", 30 * SECOND),
            timeout: check.duration("timeout", 30 * SECOND),
            start_period: check.duration("start-period", 0),
            retries: check.small("retries", 3),
        })
    }

    /// `[gpu]`.
    pub fn gpu(&self) -> Option<GpuSpec> {
        let gpu = self.inner("gpu")?;
        let mut arch: Vec<u32> = gpu.words("arch").iter().filter_map(|name| rule::gpu_number(name)).collect();
        arch.sort_unstable();
        Some(GpuSpec { arch, driver: gpu.text("driver").and_then(|text| rule::driver_number(&text.value)) })
    }

    /// `[budget]`.
    pub fn budget(&self) -> Budget {
        let Some(budget) = self.inner("budget") else { return Budget::default() };
        Budget {
            compressed: budget.size("compressed"),
            uncompressed: budget.size("uncompressed"),
            layer: budget.size("layer"),
            layers: budget.number("layers").and_then(|number| u32::try_from(number).ok()),
        }
    }
}

/// The application's files and the environment's must not mix: an environment may lie in the target, as `.venv` does.
fn apart(venv: &Located<String>, target: &Located<String>) -> Result<(), Error> {
    let (Ok(environment), Ok(application)) = (TreePath::new(&venv.value), TreePath::new(&target.value)) else {
        return Ok(());
    };
    match application.is_under(&environment) {
        true => Err(target.at.mistake(
            format!("the application's target `{}` is in the virtual environment `{}`", target.value, venv.value),
            Some("give `app.target` or `python.venv` a folder of its own".into()),
        )),
        false => Ok(()),
    }
}

fn file(root: &Path, written: Located<String>) -> Result<Located<PathBuf>, Error> {
    let path = root.join(&written.value);
    match (path.is_file(), crate::fs::exists(&path)) {
        (true, _) => Ok(written.map(|_| path)),
        (false, true) => Err(written.at.mistake(format!("`{}` is not a file", written.value), None)),
        (false, false) => Err(written.at.mistake(
            format!("the file `{}` does not exist", written.value),
            Some("paths are relative to the project file".into()),
        )),
    }
}

fn folder(root: &Path, written: Located<String>) -> Result<Located<PathBuf>, Error> {
    let path = root.join(&written.value);
    match (path.is_dir(), crate::fs::exists(&path)) {
        (true, _) => Ok(written.map(|_| path)),
        (false, true) => Err(written
            .at
            .mistake(format!("`{}` is not a folder", written.value), Some("name the folder that holds it".into()))),
        (false, false) => Err(written.at.mistake(
            format!("the folder `{}` does not exist", written.value),
            Some("paths are relative to the project file".into()),
        )),
    }
}
