//! The Pythons of an image: interpreters, virtual environments, what is installed for each.

use std::collections::BTreeMap;

use super::subject::{Fact, Subject};
use crate::layer::{BaseKind, TreePath};
use crate::python::{Headers, normalize};
use crate::target::PythonVersion;

/// The most search folders of PYTHONPATH that are looked at.
const FOLDERS_LIMIT: usize = 64;
/// The most interpreters, virtual environments, and installations of Python that are looked at, of each. Seen: 20.
const PYTHONS_LIMIT: usize = 100;

/// An interpreter: `usr/bin/python3.11`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interpreter {
    /// The file itself.
    pub path: TreePath,
    pub version: PythonVersion,
}

/// What one interpreter sees when it starts: a virtual environment, or an installation of Python.
#[derive(Clone, Debug)]
pub(super) struct Environment {
    /// `opt/venv`, `usr`, `usr/local`.
    pub prefix: String,
    pub version: Option<PythonVersion>,
    /// Its pyvenv.cfg, if it is a virtual environment.
    pub venv: Option<Venv>,
    /// Where it looks for distributions, in its order.
    pub folders: Vec<TreePath>,
}

/// What pyvenv.cfg says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Venv {
    /// The folder of the interpreter that it was made from: `/usr/bin`.
    pub home: Option<String>,
    pub version: Option<PythonVersion>,
    /// Whether it sees what is installed for that interpreter.
    pub system_site: bool,
}

/// An installed distribution.
pub(super) struct Distribution<'a> {
    /// The normalised name.
    pub name: String,
    pub version: String,
    /// Its folder of metadata, or the file.
    pub info: TreePath,
    /// Its metadata as it stands there: what it says is read when it is needed, for many of them may say much.
    pub metadata: &'a [u8],
    /// Its WHEEL file.
    pub wheel: Option<&'a Fact>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Pythons<'a> {
    pub interpreters: Vec<Interpreter>,
    pub environments: Vec<Environment>,
    /// What is installed in each folder, sorted by name.
    pub installed: BTreeMap<TreePath, Vec<Distribution<'a>>>,
    /// Whether there are more interpreters or environments than are looked at.
    pub too_many: bool,
}

impl<'a> Pythons<'a> {
    /// Looks for them.
    pub fn of(subject: &'a Subject) -> Self {
        let mut pythons = Pythons::default();
        for (path, fact) in subject.files() {
            pythons.interpreters.extend(interpreter(path, fact));
            if let Some((folder, distribution)) = distribution(subject, path, fact) {
                pythons.installed.entry(folder).or_default().push(distribution);
            }
        }
        pythons.installed.values_mut().for_each(|all| all.sort_by(|a, b| (&a.name, &a.info).cmp(&(&b.name, &b.info))));
        pythons.too_many = pythons.interpreters.len() > PYTHONS_LIMIT;
        pythons.interpreters.truncate(PYTHONS_LIMIT);
        pythons.environments = environments(subject, &pythons.interpreters, &mut pythons.too_many);
        pythons
    }

    /// The environment in which a file is installed.
    pub fn environment_of(&self, path: &TreePath) -> Option<&Environment> {
        self.environments.iter().find(|environment| environment.folder_of(path).is_some())
    }

    /// The folder of the package that a file belongs to; a module that stands by itself is one too.
    pub fn package_of(&self, path: &TreePath) -> Option<String> {
        let folder = self.environment_of(path)?.folder_of(path)?;
        let below = path.as_str().strip_prefix(folder.as_str())?.trim_start_matches('/');
        let mut parts = below.split('/');
        // `numpy.libs` belongs to numpy.
        let top = parts.next()?.trim_end_matches(".libs");
        match parts.next().filter(|_| top == "nvidia") {
            // A folder of many distributions.
            Some(inner) => Some(format!("{folder}/{top}/{inner}")),
            None => Some(format!("{folder}/{top}")),
        }
    }

    /// The interpreter that runs an environment.
    pub fn interpreter_of(&self, environment: &Environment) -> Option<&Interpreter> {
        let version = environment.version?;
        let home = match &environment.venv {
            Some(venv) => venv.home.as_deref().map(|home| home.trim_matches('/').to_string()),
            None => Some(format!("{}/bin", environment.prefix).trim_start_matches('/').to_string()),
        };
        let fitting = || self.interpreters.iter().filter(|one| one.version.compatible(&version));
        let at_home = fitting().find(|one| one.path.parent().map(|folder| folder.to_string()) == home);
        at_home.or_else(|| fitting().next())
    }

    /// What an environment sees: of each name the first on its way, all folders in their order.
    pub fn visible(&self, environment: &Environment) -> BTreeMap<&str, &Distribution<'a>> {
        let mut visible = BTreeMap::new();
        let folders = environment.folders.iter().filter_map(|folder| self.installed.get(folder));
        for distribution in folders.flatten() {
            visible.entry(distribution.name.as_str()).or_insert(distribution);
        }
        visible
    }
}

impl Environment {
    /// Which of its folders a path is in.
    pub fn folder_of(&self, path: &TreePath) -> Option<&TreePath> {
        self.folders.iter().find(|folder| path.is_under(folder))
    }

    /// `/opt/venv`.
    pub fn place(&self) -> String {
        format!("/{}", self.prefix)
    }
}

/// `bin/python3.11`, if it is a program.
fn interpreter(path: &TreePath, fact: &Fact) -> Option<Interpreter> {
    let version: PythonVersion = path.name().strip_prefix("python")?.parse().ok()?;
    let is_program = fact.content.elf.as_deref().is_some_and(|elf| elf.is_program());
    (version.micro.is_none() && path.parent()?.name() == "bin" && is_program)
        .then(|| Interpreter { path: path.clone(), version })
}

/// The distribution whose metadata this file is, with the folder in which it is installed.
fn distribution<'a>(subject: &'a Subject, path: &TreePath, fact: &'a Fact) -> Option<(TreePath, Distribution<'a>)> {
    let parent = path.parent()?;
    let info = match path.name() {
        "METADATA" if parent.name().ends_with(".dist-info") => parent,
        "PKG-INFO" if parent.name().ends_with(".egg-info") => parent,
        name if name.ends_with(".egg-info") => path.clone(),
        _ => return None,
    };
    let metadata = fact.content.text.as_deref()?;
    let headers = Headers::parse(metadata);
    let name = normalize(headers.all("Name").first()?);
    let version = (*headers.all("Version").first()?).to_string();
    let wheel = info.join("WHEEL").ok().and_then(|path| subject.file(&path));
    Some((info.parent()?, Distribution { name, version, info, metadata, wheel }))
}

fn environments(subject: &Subject, interpreters: &[Interpreter], too_many: &mut bool) -> Vec<Environment> {
    let mut found: Vec<Environment> = Vec::new();
    let venvs = subject.files().filter(|(path, _)| path.name() == "pyvenv.cfg");
    for (path, fact) in venvs {
        if found.len() == PYTHONS_LIMIT {
            *too_many = true;
            break;
        }
        let prefix = path.parent().map(|folder| folder.to_string()).unwrap_or_default();
        let text = String::from_utf8_lossy(fact.content.text.as_deref().unwrap_or_default());
        found.push(Environment { prefix, version: None, venv: Some(venv(&text)), folders: Vec::new() });
    }
    let folders = subject.root.iter().filter(|(path, entry)| {
        entry.kind == BaseKind::Directory && matches!(path.name(), "site-packages" | "dist-packages")
    });
    let mut installations = 0;
    for (folder, _) in folders {
        let Some((prefix, version)) = installation(folder) else { continue };
        // Debian's folder for all versions of Python 3 belongs to each interpreter of /usr.
        let versions: Vec<PythonVersion> = match version {
            Some(version) => vec![version],
            None => interpreters
                .iter()
                .filter(|one| one.path.as_str().starts_with(&format!("{prefix}/bin/")))
                .map(|one| one.version)
                .collect(),
        };
        for version in versions {
            // Debian's Python of /usr looks into /usr/local too.
            let prefix = match (prefix.as_str(), folder.name()) {
                ("usr/local", "dist-packages") => "usr",
                (prefix, _) => prefix,
            };
            let known = found
                .iter_mut()
                .find(|one| one.prefix == prefix && one.version.is_none_or(|known| known.compatible(&version)));
            match known {
                Some(known) if known.folders.len() < FOLDERS_LIMIT => {
                    known.version = Some(version);
                    known.folders.push(folder.clone());
                }
                None if installations < PYTHONS_LIMIT => {
                    installations += 1;
                    let (prefix, folders) = (prefix.to_string(), vec![folder.clone()]);
                    found.push(Environment { prefix, version: Some(version), venv: None, folders });
                }
                _ => *too_many = true,
            }
        }
    }
    finish(subject, found)
}

/// Adds what environments see of others: PYTHONPATH first, the installation's folders last.
fn finish(subject: &Subject, mut found: Vec<Environment>) -> Vec<Environment> {
    for environment in &mut found {
        // /usr/local before /usr.
        environment.folders.sort_by_key(|folder| !folder.as_str().starts_with("usr/local/"));
    }
    let bases: Vec<Environment> = found.iter().filter(|one| one.venv.is_none()).cloned().collect();
    for environment in &mut found {
        let Some(venv) = &environment.venv else { continue };
        environment.version = environment.version.or(venv.version);
        let home = venv.home.as_deref().unwrap_or_default().trim_matches('/');
        let base = bases.iter().find(|base| {
            home.strip_suffix("/bin") == Some(&base.prefix)
                && base.version.zip(environment.version).is_some_and(|(a, b)| a.compatible(&b))
        });
        if let Some(base) = base.filter(|_| venv.system_site) {
            environment.folders.extend(base.folders.iter().cloned());
        }
    }
    let path = subject.config.env_var("PYTHONPATH").unwrap_or_default();
    let folders = path.split(':').take(FOLDERS_LIMIT).filter(|folder| folder.starts_with('/'));
    let first: Vec<TreePath> =
        folders.filter_map(|folder| subject.root.resolve(&TreePath::new(folder.trim_matches('/')).ok()?)).collect();
    for environment in &mut found {
        environment.folders.splice(0..0, first.iter().cloned());
    }
    found
}

/// `usr/local/lib/python3.11/site-packages`: the prefix, and the version that stands in it.
fn installation(folder: &TreePath) -> Option<(String, Option<PythonVersion>)> {
    let version = folder.parent()?;
    let library = version.parent()?;
    if !matches!(library.name(), "lib" | "lib64") {
        return None;
    }
    let prefix = library.parent()?.to_string();
    match version.name().strip_prefix("python")? {
        "3" => Some((prefix, None)),
        number => Some((prefix, Some(number.parse().ok()?))),
    }
}

/// `NAME = VALUE` lines; of the version, major and minor count.
fn venv(text: &str) -> Venv {
    let mut venv = Venv::default();
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "home" => venv.home = Some(value.to_string()),
            "include-system-site-packages" => venv.system_site = value.eq_ignore_ascii_case("true"),
            "version" | "version_info" => {
                let short: Vec<&str> = value.split('.').take(2).collect();
                venv.version = short.join(".").parse().ok();
            }
            _ => {}
        }
    }
    venv
}
