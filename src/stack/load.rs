//! From files to one resolved stack: read, expanded, held against the schema, in one form, `extends` and `include`
//! followed inside the project, merged, profiles applied.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::dotenv::dotenv;
use super::error::Error;
use super::interpolate::Variables;
use super::node::{Map, Node, Place, Value};
use super::{environment, fit, flags, merge, normal, paths, schema, yaml};
use crate::engine::Kind;
use crate::error::Result;
use crate::fs;

/// The names that are looked for, in this order.
const USUAL: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];
/// What lies over each of them if it is there.
const OVERRIDES: [&str; 4] =
    ["compose.override.yaml", "compose.override.yml", "docker-compose.override.yaml", "docker-compose.override.yml"];
/// What lies over all of them in production if it is there, beside the first.
const PRODUCTION: [&str; 2] = ["compose.production.yaml", "compose.production.yml"];
/// How many services may extend one another in a row, and how deep files may include others.
const CHAIN_LIMIT: usize = 16;
/// The most files of a stack, with those that are included.
const FILES_LIMIT: usize = 500;

/// Which files make a stack.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The project's folder, if it is not that of the first file.
    pub folder: Option<PathBuf>,
    /// `-f`, in their order; the usual ones if there are none.
    pub files: Vec<PathBuf>,
    /// `--env-file`; `.env` of the folder if there is none.
    pub env_files: Vec<PathBuf>,
    /// `--profile`.
    pub profiles: Vec<String>,
    /// `--env production`: `compose.production.yaml` beside the first file lies over the others, if it is there.
    pub production: bool,
    /// The engine that is to run it, if that is known: some rules are about one of them.
    pub engine: Option<Kind>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
}

/// A resolved stack.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// The project's folder, absolute.
    pub folder: PathBuf,
    /// The files' names, in the order of [`Place::file`].
    pub files: Vec<String>,
    /// What was read under each of these names.
    pub(super) sources: Vec<Read>,
    /// The variables that its files were expanded with.
    pub variables: Variables,
    /// Everything, in one form, with the services of the profiles only.
    pub root: Node,
    /// Variables without value and default, and where they are used.
    pub unset: BTreeMap<String, Place>,
    /// The services that are only in profiles that nobody asked for.
    pub asleep: Vec<String>,
    /// The engine that is to run it, if that is known.
    pub engine: Option<Kind>,
}

/// A file that was read.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub path: PathBuf,
    pub text: String,
    pub role: Role,
}

/// Why a file was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It is one of the stack's files, or included by one.
    Part,
    /// A service of it is extended elsewhere.
    Extended,
    /// `env_file`.
    Variables,
}

/// Texts that stand for those of files.
pub(super) type Overlay = BTreeMap<PathBuf, String>;

pub(super) struct Loader<'a> {
    pub folder: PathBuf,
    pub files: Vec<String>,
    pub sources: Vec<Read>,
    pub variables: Variables,
    overlay: &'a Overlay,
}

impl Stack {
    /// Reads a stack. Nothing outside the project's folder is read, but the files that are named on the command line.
    pub fn load(request: &Request) -> Result<Stack> {
        Stack::load_over(request, &Overlay::new())
    }

    /// The same, as if these files had other texts.
    pub(super) fn load_over(request: &Request, overlay: &Overlay) -> Result<Stack> {
        let files = files(request)?;
        let first = files.first().cloned().unwrap_or_default();
        let parent = || first.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = fs::canonical(request.folder.as_deref().unwrap_or_else(parent));
        let variables = variables(request, &folder)?;
        let (names, sources) = (Vec::new(), Vec::new());
        let mut loader = Loader { folder: folder.clone(), files: names, sources, variables, overlay };
        let name = loader.name(&files)?;
        loader.variables.add([("COMPOSE_PROJECT_NAME".to_string(), name.clone())].into());
        let mut root = Node::new(Place::default(), Value::Map(Map::new()));
        for file in &files {
            let over = loader.file(file, &folder, 0)?;
            root = merge::merge(root, over);
        }
        let usual =
            loader.variables.get("COMPOSE_PROFILES").filter(|_| request.profiles.is_empty()).unwrap_or_default();
        let usual = usual.split(',').map(|profile| profile.trim().to_string());
        let profiles: Vec<String> = request.profiles.iter().cloned().chain(usual).collect();
        let asleep = fit::profiles(&mut root, &profiles);
        environment::resolve(&mut root, &mut loader)?;
        let Loader { files, sources, variables, .. } = loader;
        flags::settle(&mut root, &files)?;
        let stack = Stack {
            name,
            folder,
            files,
            sources,
            root,
            unset: variables.unset.clone(),
            asleep,
            engine: request.engine,
            variables,
        };
        fit::check(&stack)?;
        Ok(stack)
    }

    /// The services, sorted by name.
    pub fn services(&self) -> impl Iterator<Item = (&str, &Node)> {
        let services = self.root.get("services").and_then(Node::map);
        services.into_iter().flatten().map(|(name, (_, node))| (name.as_str(), node))
    }

    /// The value of a variable: of the environment, or of an `.env` file.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name)
    }

    /// Where a path of the file leads on this machine, links followed: relative ones begin at the project's folder.
    pub fn real(&self, path: &str) -> String {
        fs::resolved(&self.folder.join(self.at_home(path))).display().to_string()
    }

    /// A path with the user's home for `~`, if that is known.
    pub fn at_home(&self, path: &str) -> String {
        let rest = path.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
        match (rest, self.variable("HOME")) {
            (Some(rest), Some(home)) => format!("{home}{rest}"),
            _ => path.to_string(),
        }
    }

    /// Whether a value stands in the file as it is, and did not come out of a variable.
    pub fn is_literal(&self, place: Place, value: &str) -> bool {
        let lines = self.sources.get(place.file).map_or("", |source| source.text.as_str()).lines();
        let first = value.lines().next().unwrap_or_default();
        // A dollar is written twice.
        let written = first.replace('$', "$$");
        lines.skip(place.line.saturating_sub(1)).take(2).any(|line| line.contains(first) || line.contains(&written))
    }

    /// Whether a text stands anywhere in the file of a place.
    pub(super) fn is_written(&self, place: Place, value: &str) -> bool {
        let text = self.sources.get(place.file).map_or("", |source| source.text.as_str());
        text.contains(value) || text.contains(&value.replace('$', "$$"))
    }

    /// The line of a place, as its author wrote it.
    pub(super) fn line(&self, place: Place) -> &str {
        let text = self.sources.get(place.file).map_or("", |source| source.text.as_str());
        text.lines().nth(place.line.saturating_sub(1)).unwrap_or_default()
    }

    /// Whether a place is in a file of variables.
    pub(super) fn is_in_variables(&self, place: Place) -> bool {
        self.sources.get(place.file).is_some_and(|source| source.role == Role::Variables)
    }

    /// The name of the file of a place.
    pub fn file(&self, place: Place) -> &str {
        self.files.get(place.file).map_or("", String::as_str)
    }
}

/// The files that somebody named, with `-f` or COMPOSE_FILE.
pub(super) fn named(request: &Request) -> Vec<PathBuf> {
    let variable = |name: &str| request.environment.get(name);
    match variable("COMPOSE_FILE").filter(|named| request.files.is_empty() && !named.is_empty()) {
        Some(named) => {
            let between = variable("COMPOSE_PATH_SEPARATOR").map_or(":", String::as_str);
            named.split(between).map(PathBuf::from).collect()
        }
        None => request.files.clone(),
    }
}

fn files(request: &Request) -> Result<Vec<PathBuf>> {
    let there =
        |folder: &Path, names: &[&str]| names.iter().map(|name| folder.join(name)).find(|path| fs::exists(path));
    let mut files = named(request);
    if files.is_empty() {
        let folder = request.folder.clone().unwrap_or_else(|| ".".into());
        let first = there(&folder, &USUAL).ok_or_else(|| Error::NoFile { folder: folder.display().to_string() })?;
        files = std::iter::once(first).chain(there(&folder, &OVERRIDES)).collect();
    }
    let beside = files.first().and_then(|first| first.parent()).unwrap_or(Path::new("")).to_path_buf();
    let over = there(&beside, &PRODUCTION).filter(|over| request.production && !files.contains(over));
    files.extend(over);
    Ok(files)
}

fn variables(request: &Request, folder: &Path) -> Result<Variables> {
    let mut found = BTreeMap::new();
    let usual = folder.join(".env");
    let mut files = request.env_files.clone();
    if files.is_empty() && fs::exists(&usual) {
        if !fs::canonical(&usual).starts_with(folder) {
            return Err(Error::Outside { file: ".env".into() }.into());
        }
        files.push(usual);
    }
    for file in files {
        let text = fs::read_text(&file, yaml::FILE_LIMIT)?;
        let known: BTreeMap<String, String> = found.clone().into_iter().chain(request.environment.clone()).collect();
        let more = dotenv(&text, &file.display().to_string(), &known)?;
        found.extend(more.into_iter().map(|(name, (_, value))| (name, value)));
    }
    Ok(Variables::new(found, request.environment.clone()))
}

impl Loader<'_> {
    /// COMPOSE_PROJECT_NAME, `name:` of the last file that has one, or the folder's name, in the letters that engines
    /// allow.
    fn name(&self, files: &[PathBuf]) -> Result<String> {
        let mut written = None;
        for file in files {
            let text = self.text(file)?;
            let named = yaml::parse(&text, 0, &file.display().to_string())?
                .iter()
                .filter_map(|document| document.get("name")?.scalar().map(str::to_string))
                .next_back();
            if let Some(name) = named {
                let expanded = self.variables.clone().text(&name, Place::default(), 0);
                written = expanded.ok().or(written);
            }
        }
        let usual = self.folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = self.variables.get("COMPOSE_PROJECT_NAME").or(written.as_deref()).filter(|name| !name.is_empty());
        let name = name.unwrap_or(&usual).to_lowercase();
        let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).collect();
        let name = name.trim_start_matches(['_', '-']);
        Ok(if name.is_empty() { "stack".into() } else { name.to_string() })
    }

    fn text(&self, path: &Path) -> Result<String> {
        match self.overlay.get(&fs::canonical(path)) {
            Some(text) => Ok(text.clone()),
            None => Ok(fs::read_text(path, yaml::FILE_LIMIT)?),
        }
    }

    /// One file, ready to be laid over others. Its relative paths begin at `base`.
    pub fn file(&mut self, path: &Path, base: &Path, depth: usize) -> Result<Node> {
        let mut root = self.read(path, Role::Part)?;
        let name = self.files.last().cloned().unwrap_or_default();
        let services: Vec<String> =
            root.get("services").and_then(Node::map).into_iter().flatten().map(|(name, _)| name.clone()).collect();
        let own = root.clone();
        for service in services {
            let extended = self.extended(&own, &service, base, &name, 0)?;
            if let Value::Map(map) = &mut root.value
                && let Some((_, Node { value: Value::Map(all), .. })) = map.get_mut("services")
                && let Some((_, node)) = all.get_mut(&service)
            {
                *node = extended;
            }
        }
        self.included(root, base, &name, depth)
    }

    /// Remembers a text that was read, under the number that it returns.
    pub fn remember(&mut self, path: &Path, text: String, role: Role, place: Place) -> Result<usize> {
        let shown = path.strip_prefix(&self.folder).or_else(|_| path.strip_prefix(".")).unwrap_or(path);
        let name = shown.display().to_string();
        let number = self.files.len();
        if number >= FILES_LIMIT {
            let file = self.files.get(place.file).unwrap_or(&name);
            return Err(wrong(file, place, format!("a stack of more than {FILES_LIMIT} files")).into());
        }
        self.files.push(name);
        self.sources.push(Read { path: fs::canonical(path), text, role });
        Ok(number)
    }

    fn read(&mut self, path: &Path, role: Role) -> Result<Node> {
        let text = self.text(path)?;
        let number = self.remember(path, text.clone(), role, Place { file: self.files.len(), line: 1 })?;
        let name = self.files.last().cloned().unwrap_or_default();
        let mut all: Option<Node> = None;
        for mut root in yaml::parse(&text, number, &name)? {
            self.variables.expand(&mut root, &name)?;
            if root.value == Value::Null {
                root.value = Value::Map(Map::new());
            }
            schema::check(&root, &name)?;
            normal::normalise(&mut root, &name).map_err(|error| self.without_value(error))?;
            all = Some(match all {
                Some(under) => merge::merge(under, root),
                None => root,
            });
        }
        Ok(all.unwrap_or_else(|| Node::new(Place { file: number, line: 1 }, Value::Map(Map::new()))))
    }

    /// A mistake in a line where variables have no value is theirs.
    fn without_value(&self, error: Error) -> Error {
        let Error::Yaml { file, line, what } = error else { return error };
        let place = Place { file: self.files.len().saturating_sub(1), line };
        let unset: Vec<String> =
            self.variables.unset.iter().filter(|(_, at)| **at == place).map(|(name, _)| format!("`{name}`")).collect();
        let what = match unset[..] {
            [] => what,
            _ => format!("{} has no value, and so {what}", unset.join(" and ")),
        };
        Error::Yaml { file, line, what }
    }

    /// A service laid over the one that it extends.
    fn extended(&mut self, root: &Node, service: &str, base: &Path, file: &str, chain: usize) -> Result<Node> {
        let found = root.get("services").and_then(|services| services.get(service));
        let Some(node) = found else {
            let what = format!("`{service}` is extended, but there is no such service");
            return Err(wrong(file, root.place, what).into());
        };
        let Some(extends) = node.get("extends").cloned() else { return Ok(node.clone()) };
        if chain > CHAIN_LIMIT {
            let what = format!("`{service}` extends itself, or more than {CHAIN_LIMIT} services in a row");
            return Err(wrong(file, extends.place, what).into());
        }
        let below = extends.get("service").and_then(Node::scalar).unwrap_or(service).to_string();
        let under = match extends.get("file").and_then(Node::scalar) {
            None => self.extended(root, &below, base, file, chain + 1)?,
            Some(other) => {
                let path = self.local(other, base, extends.place, file)?;
                let other = self.read(&path, Role::Extended)?;
                let name = self.files.last().cloned().unwrap_or_default();
                let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
                let mut under = self.extended(&other, &below, &folder, &name, chain + 1)?;
                paths::service(&mut under, &paths::between(base, &folder));
                under
            }
        };
        let (mut under, mut over) = (under, node.clone());
        // What a service depends on is not inherited (Compose Specification, "extends").
        for (node, keys) in [(&mut under, &["depends_on", "volumes_from", "links"][..]), (&mut over, &["extends"])] {
            if let Value::Map(map) = &mut node.value {
                keys.iter().for_each(|key| drop(map.remove(*key)));
            }
        }
        Ok(merge::merge(under, over))
    }

    /// The file under what it includes.
    fn included(&mut self, mut root: Node, base: &Path, file: &str, depth: usize) -> Result<Node> {
        let Value::Map(map) = &mut root.value else { return Ok(root) };
        let Some((place, include)) = map.remove("include") else { return Ok(root) };
        if depth > CHAIN_LIMIT {
            return Err(wrong(file, place, format!("files include one another more than {CHAIN_LIMIT} deep")).into());
        }
        let mut all = Node::new(place, Value::Map(Map::new()));
        for one in include.list().unwrap_or(std::slice::from_ref(&include)) {
            let included = self.include(one, base, file, depth)?;
            all = merge::merge(all, included);
        }
        Ok(merge::merge(all, root))
    }

    /// One entry of `include`: files over one another, with a folder and variables of their own.
    fn include(&mut self, one: &Node, base: &Path, file: &str, depth: usize) -> Result<Node> {
        let mut paths = Vec::new();
        for path in list(one.get("path").unwrap_or(one)) {
            let Some(text) = path.scalar() else {
                return Err(wrong(file, path.place, format!("`include` has {}, expected a path", path.kind())).into());
            };
            paths.push(self.local(text, base, path.place, file)?);
        }
        let folder = match one.get("project_directory").and_then(|node| Some((node.scalar()?, node.place))) {
            Some((text, place)) => self.local(text, base, place, file)?,
            None => paths.first().and_then(|path| path.parent()).unwrap_or(base).to_path_buf(),
        };
        let outer = self.variables.clone();
        let usual = folder.join(".env");
        let named = one.get("env_file").map(list).unwrap_or_default();
        let mut files = Vec::new();
        if named.is_empty() && fs::exists(&usual) {
            // It may be a link, which leads wherever its author wants.
            let shown = usual.strip_prefix(&self.folder).unwrap_or(&usual).display().to_string();
            files.push(self.local(&shown, &self.folder, one.place, file)?);
        }
        for node in named {
            files.push(self.local(node.scalar().unwrap_or_default(), base, node.place, file)?);
        }
        for path in files {
            let text = fs::read_text(&path, yaml::FILE_LIMIT)?;
            let found = dotenv(&text, &path.display().to_string(), self.variables.values())?;
            self.variables.add(found.into_iter().map(|(name, (_, value))| (name, value)).collect());
        }
        let mut all = Node::new(one.place, Value::Map(Map::new()));
        for path in paths {
            let over = self.file(&path, &folder, depth + 1)?;
            all = merge::merge(all, over);
        }
        paths::file(&mut all, &paths::between(base, &folder));
        // What was found out in vain is told all the same.
        let inner = std::mem::replace(&mut self.variables, outer);
        self.variables.unset.extend(inner.unset);
        Ok(all)
    }

    /// A file of the project, relative to the one that names it.
    pub fn local(&self, text: &str, folder: &Path, place: Place, file: &str) -> Result<PathBuf> {
        let refuse = |what: String| {
            let (file, line) = (file.to_string(), place.line);
            let hint = "only files of the project's folder are read: copy it there";
            Err(Error::Unfit { file, line, what, hint }.into())
        };
        let shown: String = text.escape_debug().take(100).collect();
        if text.contains("://") || text.starts_with("git@") || text.starts_with("oci:") {
            return refuse(format!("`{shown}` is not on this machine"));
        }
        // A file that is not there stays as it is written.
        let path = fs::canonical(&folder.join(text));
        let climbs = path.components().any(|part| part == std::path::Component::ParentDir);
        if climbs || !path.starts_with(&self.folder) {
            return refuse(format!("`{shown}` is outside of the project's folder"));
        }
        Ok(path)
    }
}

/// The items of a list, or the one value that stands for a list of it.
fn list(node: &Node) -> &[Node] {
    node.list().unwrap_or(std::slice::from_ref(node))
}

pub(super) fn wrong(file: &str, place: Place, what: String) -> Error {
    Error::Yaml { file: file.into(), line: place.line, what }
}

#[cfg(test)]
mod tests;
