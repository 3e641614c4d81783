//! What the files and the configuration say of how an image is to be run.

use std::collections::{BTreeMap, BTreeSet};

use super::launcher;

use crate::layer::{BaseKind, TreePath};
use crate::target::PythonVersion;
use crate::validate::Subject;
use crate::validate::hardening::user;
use crate::validate::python::{Environment, Pythons};

/// The most writable folders that a container gets, and the most folders that are tried.
const FOLDERS_LIMIT: usize = 40;
/// The most modules that are imported.
const MODULES_LIMIT: usize = 2000;
/// Folders for data that every image has or may have.
const USUAL: [&str; 3] = ["/tmp", "/run", "/var/tmp"];
/// What distributions install beside their packages, and nobody imports.
const ASIDE: [&str; 8] = ["test", "tests", "testing", "doc", "docs", "example", "examples", "benchmarks"];

/// What is needed to run the image's own things.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// The user and the group, if the configuration has numbers or names of the image.
    pub user: Option<(u32, Option<u32>)>,
    /// The Python that the application would have.
    pub python: Option<String>,
    /// Top-level modules of the environment.
    pub modules: Vec<String>,
    /// Empty folders for data: they are writable in every container.
    pub data: Vec<String>,
    /// Folders that belong to the user.
    pub own: Vec<String>,
    /// Folders with code.
    pub code: Vec<String>,
    /// Whether it is for GPUs.
    pub gpu: bool,
    /// What Ingot's launcher wants of the environment.
    pub required: BTreeMap<String, String>,
}

impl Facts {
    pub fn of(subject: &Subject) -> Facts {
        let user = user::ids(subject);
        let own = own(subject, user);
        let mut data: Vec<String> = USUAL.iter().map(|folder| folder.to_string()).collect();
        data.extend(
            own.iter()
                .filter(|folder| is_empty(subject, folder) && !data.contains(folder))
                .cloned()
                .collect::<Vec<_>>(),
        );
        let gpu = subject
            .config
            .env_var("NVIDIA_VISIBLE_DEVICES")
            .is_some_and(|devices| !matches!(&*devices, "" | "void" | "none"));
        let python = python(subject);
        let folders = site_packages(subject, python.as_deref());
        let (code, modules) = (code(subject, &folders), modules(subject, &folders));
        let required = subject.text(crate::runtime::LAUNCHER_PATH).map(launcher::required).unwrap_or_default();
        Facts { required, user, python, modules, data, own, code, gpu }
    }
}

/// The topmost folders that belong to the user, who is not root.
fn own(subject: &Subject, user: Option<(u32, Option<u32>)>) -> Vec<String> {
    let Some((uid, _)) = user.filter(|(uid, _)| *uid != 0) else { return Vec::new() };
    let mut found: Vec<String> = Vec::new();
    for (path, entry) in subject.root.iter() {
        let mine = entry.kind == BaseKind::Directory && entry.uid == uid && entry.mode & 0o200 != 0;
        let path = format!("/{path}");
        let below = found.last().is_some_and(|last| path.starts_with(&format!("{last}/")));
        if mine && !below && found.len() < FOLDERS_LIMIT {
            found.push(path);
        }
    }
    found
}

fn is_empty(subject: &Subject, folder: &str) -> bool {
    TreePath::new(folder.trim_start_matches('/')).is_ok_and(|folder| subject.root.list(&folder).is_empty())
}

/// The interpreter of the virtual environment, else the first on PATH.
fn python(subject: &Subject) -> Option<String> {
    let config = &subject.config;
    let venv = config.env_var("VIRTUAL_ENV").map(|venv| format!("{venv}/bin"));
    let path = config.env_var("PATH").unwrap_or_default();
    let folders = venv.into_iter().chain(path.split(':').map(str::to_string));
    let candidates = folders.flat_map(|folder| [format!("{folder}/python3"), format!("{folder}/python")]);
    let is_file = |path: &String| {
        path.starts_with('/')
            && TreePath::new(path.trim_start_matches('/')).is_ok_and(|path| subject.file(&path).is_some())
    };
    candidates.into_iter().find(is_file)
}

/// Folders that only root should write to: the system's, the environment's, the application's.
fn code(subject: &Subject, site_packages: &[String]) -> Vec<String> {
    let config = &subject.config;
    let mut folders: Vec<String> = ["/", "/etc", "/usr", "/usr/bin", "/usr/local/bin"].map(String::from).to_vec();
    folders.extend(config.env_var("VIRTUAL_ENV"));
    folders.extend(site_packages.iter().cloned());
    folders.extend(config.env_var("PYTHONPATH").unwrap_or_default().split(':').map(str::to_string));
    let command =
        ["Entrypoint", "Cmd"].iter().find_map(|field| config.get(field)?.get(0)?.as_str().map(str::to_string));
    folders.extend(command.and_then(|program| Some(program.rsplit_once('/')?.0.to_string())));
    let is_folder = |folder: &String| {
        folder == "/"
            || folder.starts_with('/')
                && TreePath::new(folder.trim_matches('/'))
                    .is_ok_and(|path| subject.root.entry(&path).is_some_and(|entry| entry.kind == BaseKind::Directory))
    };
    folders.retain(is_folder);
    folders.sort();
    folders.dedup();
    folders.truncate(FOLDERS_LIMIT);
    folders
}

/// Where the interpreter looks for distributions.
fn site_packages(subject: &Subject, python: Option<&str>) -> Vec<String> {
    let found = || {
        let path = TreePath::new(python?.trim_start_matches('/')).ok()?;
        // `/bin/python3` is `usr/bin/python3.11`; a virtual environment's own stays where it is.
        let folder = subject.root.resolve(&path.parent()?)?;
        let prefix = folder.parent()?;
        let version: Option<PythonVersion> =
            subject.file(&path)?.member.path.as_ref()?.name().strip_prefix("python")?.parse().ok();
        let pythons = Pythons::of(subject);
        let same = |one: &&Environment| {
            one.prefix == prefix.as_str() && one.version.zip(version).is_none_or(|(one, other)| one.compatible(&other))
        };
        Some(pythons.environments.iter().find(same)?.folders.iter().map(|folder| format!("/{folder}")).collect())
    };
    found().unwrap_or_default()
}

/// The top-level modules that the environment's distributions have, by their RECORDs.
fn modules(subject: &Subject, folders: &[String]) -> Vec<String> {
    let mut modules = BTreeSet::new();
    for (path, fact) in subject.files() {
        let path = format!("/{path}");
        let Some((dist, _)) = path.rsplit_once(".dist-info/").filter(|(_, name)| *name == "RECORD") else { continue };
        if !dist.rsplit_once('/').is_some_and(|(folder, _)| folders.iter().any(|one| one == folder)) {
            continue;
        }
        let record = String::from_utf8_lossy(fact.content.text.as_deref().unwrap_or_default());
        modules.extend(record.lines().filter_map(|row| module(row.split(',').next().unwrap_or_default())));
    }
    // `google` of `google.protobuf` is no package of its own; what stands below another is imported with it.
    let below_another = |name: &&String| name.rsplit_once('.').is_some_and(|(above, _)| modules.contains(above));
    modules.iter().filter(|name| !below_another(name)).take(MODULES_LIMIT).cloned().collect()
}

/// The module that a file of a distribution makes, if it is one at the top or the top of a package.
fn module(file: &str) -> Option<String> {
    let parts: Vec<&str> = file.split('/').collect();
    let (name, folders) = parts.split_last()?;
    let module = match (folders, *name) {
        ([], name) if name.ends_with(".py") => name.strip_suffix(".py")?.to_string(),
        ([], name) if name.ends_with(".so") => name.split('.').next()?.to_string(),
        ([_], "__init__.py") | ([_, _], "__init__.py") => folders.join("."),
        _ => return None,
    };
    let usable = |part: &str| {
        let letters = part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        letters && !part.starts_with(|c: char| c.is_ascii_digit()) && !part.starts_with("__") && !part.is_empty()
    };
    (module.split('.').all(usable) && !module.split('.').any(|part| ASIDE.contains(&part))).then_some(module)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fixture::Recipe;

    #[test]
    fn modules_are_those_at_the_top() {
        for (file, expected) in [
            ("six.py", Some("six")),
            ("numpy/__init__.py", Some("numpy")),
            ("google/protobuf/__init__.py", Some("google.protobuf")),
            ("_cffi_backend.cpython-311-x86_64-linux-gnu.so", Some("_cffi_backend")),
            ("numpy/core/_x.so", None),
            ("tests/__init__.py", None),
            ("a-b/__init__.py", None),
            ("../../bin/x.py", None),
            ("__editable__x.py", None),
            ("", None),
        ] {
            assert_eq!(module(file).as_deref(), expected, "{file}");
        }
    }

    #[test]
    fn what_is_run_is_read_from_files_and_configuration() {
        let mut recipe = Recipe::good();
        let site = "opt/venv/lib/python3.11/site-packages";
        let record = "a/__init__.py,,\na/b/__init__.py,,\nn/c/__init__.py,,\na-1.dist-info/RECORD,,\n";
        recipe.file(1, &format!("{site}/a-1.dist-info/RECORD"), 0o644, record);
        recipe.file(1, "opt/venv/bin/python3", 0o755, "x").folder(1, "data", 0o755).folder(1, "data/inner", 0o755);
        for entry in recipe.layers[1].iter_mut().filter(|entry| entry.path.starts_with("data")) {
            entry.owner = (1001, 1001);
        }
        recipe.folder(1, "srv", 0o700);
        recipe.layers[1].last_mut().unwrap().owner = (1001, 1001);
        recipe.config["User"] = "app".into();
        recipe.config["Env"] =
            serde_json::json!(["VIRTUAL_ENV=/opt/venv", "PATH=/usr/bin", "NVIDIA_VISIBLE_DEVICES=all"]);
        let (_folder, subject) = recipe.read();
        let facts = Facts::of(&subject.unwrap());
        assert_eq!(facts.user, Some((1001, Some(1001))));
        assert_eq!(facts.python.as_deref(), Some("/opt/venv/bin/python3"));
        assert_eq!(facts.modules, ["a", "n.c"]);
        assert_eq!(facts.own, ["/data", "/srv"]);
        assert_eq!(facts.data, ["/tmp", "/run", "/var/tmp", "/srv"]);
        assert!(facts.gpu && facts.code.contains(&format!("/{site}")) && facts.code.contains(&"/app".to_string()));
    }
}
