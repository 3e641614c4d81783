//! Which layers an image gets, in which order: by how seldom they change.

use std::path::PathBuf;
use std::sync::Arc;

use super::python::Environment;
use super::{Base, PlannedLayer};
use crate::error::Result;
use crate::layer::{LayerSource, TreePath};
use crate::node::{self, ModulesLayer};
use crate::project::{AppSpec, Project, Variant};
use crate::python::bytecode::BytecodeMode;
use crate::python::{self, AppLayer};
use crate::runtime::{Launcher, RuntimeLayer, RuntimeSpec, User};

/// Where the launcher is in the image, without the leading slash.
pub const LAUNCHER: &str = crate::runtime::LAUNCHER_PATH;
/// Folders of the project that are never part of the application: where images are written if nobody says where, what
/// version control keeps (its content differs from clone to clone), and an environment of the developer's machine.
pub const EXCLUDED: [&str; 5] = ["dist", ".git", ".hg", ".svn", ".venv"];

/// What is never part of a Node application, wherever it is: packages of the developer's machine, and what logs in at
/// registries.
const NODE_EXCLUDED: [&str; 2] = ["node_modules", ".npmrc"];

/// Names of files and folders that are never part of the variant's application, wherever they are.
pub fn excluded_names(variant: &Variant) -> &'static [&'static str] {
    if variant.node.is_some() { &NODE_EXCLUDED } else { &[] }
}

/// Whether the variant's image has a launcher. Where nothing is to be checked and no shell could run one, Node is
/// started directly.
pub fn has_launcher(variant: &Variant, base: &Base) -> bool {
    let bare = variant.node.is_some() && variant.python.is_none() && !base.facts.shell;
    variant.app.as_ref().is_some_and(|app| !bare || !app.require_env.is_empty())
}

/// OS packages, heavy wheels, the rest of the environment, packages of Node, the application, and the small files.
pub fn sources(
    project: &Project,
    variant: &Variant,
    base: &Base,
    python: Option<Environment>,
    modules: Option<Arc<ModulesLayer>>,
) -> Result<Vec<PlannedLayer>> {
    let mut layers: Vec<Arc<dyn LayerSource>> = Vec::new();
    let (venv, compiler, made) = match python {
        Some(environment) => {
            layers.extend(environment.layers.into_iter().map(Arc::from));
            (Some(environment.path), Some(environment.compiler), environment.made)
        }
        None => Default::default(),
    };
    let programs = modules.as_ref().map(|modules| modules.spec().workspace_programs()).unwrap_or_default();
    layers.extend(modules.map(|modules| modules as Arc<dyn LayerSource>));
    if let Some(app) = &variant.app {
        if app.bytecode != BytecodeMode::None && compiler.is_none() {
            let message = "the application is to be compiled, but the variant has no Python";
            let hint = "add `[python] version`, or set `app.bytecode = \"none\"`";
            return Err(variant.at.error(message, Some(hint.into())));
        }
        layers.push(Arc::new(AppLayer::new(python::AppSpec {
            root: project.root.clone(),
            // The project room joins paths to its root; the application layer wants them below it.
            source: app.source.value.strip_prefix(&project.root).unwrap_or(&app.source.value).to_path_buf(),
            target: TreePath::new(&app.target.value)?,
            mode: app.bytecode,
            compiler,
            exclude: EXCLUDED.iter().map(PathBuf::from).collect(),
            exclude_names: excluded_names(variant),
            programs: python::Programs { paths: programs, mend: Some(node::mended_program) },
        })));
    }
    layers.push(Arc::new(RuntimeLayer::new(runtime(variant, base, venv)?, &base.rootfs)?));
    let planned = |source: Arc<dyn LayerSource>| {
        let made = made.get(source.name()).copied();
        PlannedLayer { source, below: base.rootfs.clone(), made }
    };
    let os = base.os.iter().map(|os| os.layer.clone());
    Ok(os.chain(layers.into_iter().map(planned)).collect())
}

fn runtime(variant: &Variant, base: &Base, venv: Option<TreePath>) -> Result<RuntimeSpec> {
    let app = variant.app.as_ref();
    let target = app.map(|app| TreePath::new(&app.target.value)).transpose()?;
    let launcher = |app: &AppSpec| Launcher {
        interpreter: venv.as_ref().map(|venv| format!("/{venv}/bin/python")),
        require_env: app.require_env.clone(),
    };
    let writable = app.map_or(&[][..], |app| &app.writable);
    Ok(RuntimeSpec {
        user: User {
            name: variant.user.name.clone(),
            uid: variant.user.uid,
            group: variant.user.group.clone(),
            gid: variant.user.gid,
            home: target.clone(),
        },
        writable: writable.iter().map(|path| TreePath::new(&path.value)).collect::<Result<_, _>>()?,
        folders: target.into_iter().collect(),
        launcher: app.filter(|_| has_launcher(variant, base)).map(launcher),
    })
}
