//! From files to one resolved stack: read, expanded, held against the schema, in one form, `extends` and `include`
//! followed inside the project, merged, profiles applied.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::interpolate::{Variables, dotenv};
use super::node::{Map, Node, Place, Value};
use super::{fit, merge, normal, schema, yaml};
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
const FILES_LIMIT: usize = 100;

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
    texts: Vec<String>,
    variables: Variables,
    /// Everything, in one form, with the services of the profiles only.
    pub root: Node,
    /// Variables without value and default, and where they are used.
    pub unset: BTreeMap<String, Place>,
}

struct Loader {
    folder: PathBuf,
    files: Vec<String>,
    texts: Vec<String>,
    variables: Variables,
}

impl Stack {
    /// Reads a stack. Nothing outside the project's folder is read, but the files that are named on the command line.
    pub fn load(request: &Request) -> Result<Stack> {
        let files = files(request)?;
        let first = files.first().cloned().unwrap_or_default();
        let parent = || first.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = fs::canonical(request.folder.as_deref().unwrap_or_else(parent));
        let variables = variables(request, &folder)?;
        let mut loader = Loader { folder: folder.clone(), files: Vec::new(), texts: Vec::new(), variables };
        let mut root = Node::new(Place::default(), Value::Map(Map::new()));
        for file in &files {
            let over = loader.file(file, 0)?;
            root = merge::merge(root, over);
        }
        let name = name(&root, &loader.variables, &folder);
        let Loader { files, texts, variables, .. } = loader;
        let mut stack = Stack { name, folder, files, texts, root, unset: variables.unset.clone(), variables };
        fit::profiles(&mut stack.root, &request.profiles);
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
        fs::canonical(&self.folder.join(path)).display().to_string()
    }

    /// Whether a value stands in the file as it is, and did not come out of a variable.
    pub fn is_literal(&self, place: Place, value: &str) -> bool {
        let lines = self.texts.get(place.file).map_or("", String::as_str).lines();
        let first = value.lines().next().unwrap_or_default();
        lines.skip(place.line.saturating_sub(1)).take(2).any(|line| line.contains(first))
    }

    /// The name of the file of a place.
    pub fn file(&self, place: Place) -> &str {
        self.files.get(place.file).map_or("", String::as_str)
    }
}

fn files(request: &Request) -> Result<Vec<PathBuf>> {
    let there =
        |folder: &Path, names: &[&str]| names.iter().map(|name| folder.join(name)).find(|path| fs::exists(path));
    let mut files = request.files.clone();
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
    let files =
        if request.env_files.is_empty() && fs::exists(&usual) { vec![usual] } else { request.env_files.clone() };
    for file in files {
        let text = fs::read_text(&file, yaml::FILE_LIMIT)?;
        let known: BTreeMap<String, String> = found.clone().into_iter().chain(request.environment.clone()).collect();
        found.extend(dotenv(&text, &file.display().to_string(), &known)?);
    }
    Ok(Variables::new(found, request.environment.clone()))
}

/// COMPOSE_PROJECT_NAME, `name:`, or the folder's name, in the letters that engines allow.
fn name(root: &Node, variables: &Variables, folder: &Path) -> String {
    let written = root.get("name").and_then(Node::scalar);
    let usual = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = variables.get("COMPOSE_PROJECT_NAME").or(written).unwrap_or(&usual).to_lowercase();
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).collect();
    let name = name.trim_start_matches(['_', '-']);
    if name.is_empty() { "stack".into() } else { name.to_string() }
}

impl Loader {
    /// One file, ready to be laid over others.
    fn file(&mut self, path: &Path, depth: usize) -> Result<Node> {
        let mut root = self.read(path)?;
        let name = self.files.last().cloned().unwrap_or_default();
        let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        let services: Vec<String> =
            root.get("services").and_then(Node::map).into_iter().flatten().map(|(name, _)| name.clone()).collect();
        let own = root.clone();
        for service in services {
            let extended = self.extended(&own, &service, &folder, &name, 0)?;
            if let Value::Map(map) = &mut root.value
                && let Some((_, Node { value: Value::Map(all), .. })) = map.get_mut("services")
                && let Some((_, node)) = all.get_mut(&service)
            {
                *node = extended;
            }
        }
        self.included(root, &folder, &name, depth)
    }

    fn read(&mut self, path: &Path) -> Result<Node> {
        let shown = path.strip_prefix(&self.folder).or_else(|_| path.strip_prefix(".")).unwrap_or(path);
        let name = shown.display().to_string();
        let number = self.files.len();
        if number >= FILES_LIMIT {
            return Err(wrong(
                &name,
                Place { file: number, line: 1 },
                format!("a stack of more than {FILES_LIMIT} files"),
            )
            .into());
        }
        let text = fs::read_text(path, yaml::FILE_LIMIT)?;
        self.files.push(name.clone());
        let mut root = yaml::parse(&text, number, &name)?;
        self.texts.push(text);
        self.variables.expand(&mut root, &name)?;
        if root.value == Value::Null {
            root.value = Value::Map(Map::new());
        }
        schema::check(&root, &name)?;
        normal::normalise(&mut root, &name)?;
        Ok(root)
    }

    /// A service laid over the one that it extends.
    fn extended(&mut self, root: &Node, service: &str, folder: &Path, file: &str, chain: usize) -> Result<Node> {
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
            None => self.extended(root, &below, folder, file, chain + 1)?,
            Some(other) => {
                let path = self.local(other, folder, extends.place, file)?;
                let other = self.read(&path)?;
                let name = self.files.last().cloned().unwrap_or_default();
                let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
                self.extended(&other, &below, &folder, &name, chain + 1)?
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
    fn included(&mut self, mut root: Node, folder: &Path, file: &str, depth: usize) -> Result<Node> {
        let Value::Map(map) = &mut root.value else { return Ok(root) };
        let Some((place, include)) = map.remove("include") else { return Ok(merge::settle(root)) };
        if depth > CHAIN_LIMIT {
            return Err(wrong(file, place, format!("files include one another more than {CHAIN_LIMIT} deep")).into());
        }
        let mut all = Node::new(place, Value::Map(Map::new()));
        for one in include.list().unwrap_or(std::slice::from_ref(&include)) {
            let path = one.get("path").unwrap_or(one);
            for path in path.list().unwrap_or(std::slice::from_ref(path)) {
                let Some(text) = path.scalar() else {
                    return Err(
                        wrong(file, path.place, format!("`include` has {}, expected a path", path.kind())).into()
                    );
                };
                let path = self.local(text, folder, path.place, file)?;
                let included = self.file(&path, depth + 1)?;
                all = merge::merge(all, included);
            }
        }
        Ok(merge::merge(all, root))
    }

    /// A file of the project, relative to the one that names it.
    fn local(&self, text: &str, folder: &Path, place: Place, file: &str) -> Result<PathBuf> {
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

fn wrong(file: &str, place: Place, what: String) -> Error {
    Error::Yaml { file: file.into(), line: place.line, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::render::json;

    fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join("app").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn load(files: &[(&str, &str)], change: impl FnOnce(&mut Request)) -> Result<Stack> {
        let folder = project(files);
        let mut request = Request { folder: Some(folder.path().join("app")), ..Request::default() };
        change(&mut request);
        request.files.iter_mut().for_each(|file| *file = folder.path().join("app").join(&*file));
        Stack::load(&request)
    }

    fn refused(text: &str) -> String {
        load(&[("compose.yaml", text)], |_| {}).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn files_variables_and_profiles_make_one_stack() {
        let base = "services:\n  web:\n    image: web:${TAG:-1}\n    environment: [MODE=$MODE, \"B=${B}\"]\n  debug: {image: d, profiles: [dev]}\n";
        let over = "services:\n  web: {environment: [C=3]}\n";
        let files = [("compose.yaml", base), ("compose.override.yaml", over), (".env", "MODE=prod\nTAG=2\n")];
        let stack = load(&files, |request| {
            request.environment.insert("TAG".into(), "3".into());
        })
        .unwrap();
        assert_eq!(
            json(&stack.root).to_string(),
            r#"{"services":{"web":{"environment":{"B":"","C":"3","MODE":"prod"},"image":"web:3"}}}"#
        );
        assert_eq!(
            (stack.name.as_str(), stack.files.join(" ").as_str()),
            ("app", "compose.yaml compose.override.yaml")
        );
        assert_eq!((stack.unset.len(), stack.unset["B"].line), (1, 4));
        let stack = load(&files, |request| request.profiles.push("dev".into())).unwrap();
        assert_eq!(stack.services().map(|(name, _)| name).collect::<Vec<_>>(), ["debug", "web"]);
        let stack = load(&files, |request| request.files = vec!["compose.yaml".into()]).unwrap();
        assert_eq!(stack.files.len(), 1);
    }

    #[test]
    fn in_production_its_file_lies_over_the_others_once() {
        let files = [
            ("compose.yaml", "services: {a: {image: i, tty: true}}\n"),
            ("other.yaml", "services: {a: {image: j}}\n"),
            ("compose.production.yaml", "services: {a: {tty: false}}\n"),
        ];
        let printed = |change: fn(&mut Request)| load(&files, change).unwrap().files.join(" ");
        assert_eq!(printed(|request| request.production = true), "compose.yaml compose.production.yaml");
        assert_eq!(printed(|_| {}), "compose.yaml");
        let named = |request: &mut Request| {
            request.production = true;
            request.files = vec!["compose.yaml".into(), "other.yaml".into()];
        };
        let stack = load(&files, named).unwrap();
        assert_eq!(stack.files.join(" "), "compose.yaml other.yaml compose.production.yaml");
        assert_eq!(json(&stack.root).to_string(), r#"{"services":{"a":{"image":"j","tty":false}}}"#);
        let twice = |request: &mut Request| {
            request.production = true;
            request.files = vec!["compose.yaml".into(), "compose.production.yaml".into()];
        };
        assert_eq!(load(&files, twice).unwrap().files.len(), 2);
    }

    #[test]
    fn services_extend_and_files_include_one_another_inside_the_project() {
        let files = [
            (
                "compose.yaml",
                "include: [parts/db.yaml]\nservices:\n  a: {extends: {file: parts/base.yaml, service: base}, environment: {B: 2}}\n  c: {extends: a, tty: true}\n",
            ),
            (
                "parts/base.yaml",
                "services:\n  base: {image: i, environment: {A: 1, B: 1}, depends_on: [nobody], extends: root}\n  root: {init: true}\n",
            ),
            ("parts/db.yaml", "services:\n  db: {image: db}\n"),
        ];
        let stack = load(&files, |_| {}).unwrap();
        let expected = r#"{"a":{"environment":{"A":1,"B":2},"image":"i","init":true},"c":{"environment":{"A":1,"B":2},"image":"i","init":true,"tty":true},"db":{"image":"db"}}"#;
        assert_eq!(json(stack.root.get("services").unwrap()).to_string(), expected);
        for (text, expected) in [
            ("include: ['https://x.example/c.yaml']", "is not on this machine"),
            ("include: ['oci://x.example/c']", "is not on this machine"),
            ("services: {a: {extends: {file: ../x.yaml, service: s}}}", "is outside of the project's folder"),
            ("services: {a: {extends: a}}", "extends itself"),
            ("services: {a: {extends: b}}", "`b` is extended, but there is no such service"),
            ("include: [compose.yaml]", "include one another more than 16 deep"),
        ] {
            assert!(refused(text).contains(expected), "{text}: {}", refused(text));
        }
        assert!(
            load(&[("x", "")], |_| {}).map(|_| ()).unwrap_err().to_string().starts_with("there is no Compose file in ")
        );
    }
}
