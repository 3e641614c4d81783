//! What a command is told to run: `python -m NAME`, `python FILE`, `gunicorn NAME:APP`, `node FILE`.

use super::program::Shell;
use crate::layer::TreePath;
use crate::validate::findings::{Draft, Findings, brief};
use crate::validate::python::{Environment, Pythons};
use crate::validate::subject::Subject;

/// Servers that take a module and the application in it.
const SERVERS: [&str; 6] = ["gunicorn", "uvicorn", "hypercorn", "daphne", "granian", "waitress-serve"];
/// Options that move where modules are looked for.
const ELSEWHERE: [&str; 7] = ["--chdir", "--pythonpath", "--app-dir", "--config", "-c", "--paste", "--factory"];
/// Endings of what can be imported, besides a folder.
const ENDINGS: [&str; 3] = [".py", ".pyc", ".so"];

/// Options of Node that take no word of their own.
const NODE_OPTIONS: [&str; 6] = [
    "--enable-source-maps",
    "--no-warnings",
    "--trace-warnings",
    "--trace-uncaught",
    "--use-openssl-ca",
    "--use-system-ca",
];
/// What Node adds to the name of what it is told to run.
const NODE_ENDINGS: [&str; 4] = ["", ".js", ".json", ".node"];

/// Looks at a command whose program is there.
pub(super) fn look(
    subject: &Subject,
    shell: &Shell<'_>,
    pythons: &Pythons<'_>,
    words: &[String],
    findings: &mut Findings<'_>,
) {
    let Some((program, arguments)) = words.split_first() else { return };
    let name = program.rsplit('/').next().unwrap_or_default();
    if name == "python" || name.strip_prefix("python3").is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
        let environment = environment(subject, shell, pythons, program);
        return python(subject, shell, pythons, (environment, arguments), findings);
    }
    if name == "node" || name == "nodejs" {
        return node(subject, shell, arguments, findings);
    }
    let moved = arguments.iter().any(|word| ELSEWHERE.iter().any(|option| word.starts_with(option)));
    if SERVERS.contains(&name) && !moved {
        let environment = environment(subject, shell, pythons, program);
        let application = arguments.iter().find_map(|word| module_of(word));
        if let Some(module) = application {
            imported(subject, shell, pythons, (environment, module), findings);
        }
    }
}

/// The first argument that says what runs.
fn python(
    subject: &Subject,
    shell: &Shell<'_>,
    pythons: &Pythons<'_>,
    (environment, arguments): (Option<&Environment>, &[String]),
    findings: &mut Findings<'_>,
) {
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-m" => {
                let Some(module) = words.next() else { return };
                return imported(subject, shell, pythons, (environment, module), findings);
            }
            "-c" | "-" => return,
            "-W" | "-X" => drop(words.next()),
            option if option.starts_with('-') => {
                // `-Im NAME`, and other ways to write it.
                if option.contains(['m', 'c']) {
                    return;
                }
            }
            file => {
                if subject.root.follow(&shell.absolute(file)).is_none() {
                    let message = format!("python is told to run `{}`, which is not in the image", brief(file));
                    findings.add(Draft::new("start-module", "config.Cmd", message));
                }
                return;
            }
        }
    }
}

/// `node FILE`, behind options that are known to take nothing.
fn node(subject: &Subject, shell: &Shell<'_>, arguments: &[String], findings: &mut Findings<'_>) {
    let plain =
        |word: &&String| NODE_OPTIONS.contains(&word.as_str()) || (word.starts_with("--") && word.contains('='));
    let Some(file) = arguments.iter().find(|word| !plain(word)).filter(|word| !word.starts_with('-')) else { return };
    // `node inspect FILE` is another command.
    if file == "inspect" {
        return;
    }
    let at = |ending: &str| subject.root.follow(&shell.absolute(&format!("{file}{ending}"))).is_some();
    if !NODE_ENDINGS.iter().any(|ending| at(ending)) {
        let message = format!("node is told to run `{}`, which is not in the image", brief(file));
        findings.add(Draft::new("start-module", "config.Cmd", message));
    }
}

/// `gameforge.wsgi` of `gameforge.wsgi:app`.
fn module_of(word: &str) -> Option<&str> {
    let (module, application) = word.split_once(':')?;
    let first = application.chars().next()?;
    (is_name(module) && (first.is_ascii_alphabetic() || first == '_')).then_some(module)
}

fn is_name(module: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    module.split('.').all(part)
}

/// The environment whose `bin` a program is found in, before links are followed.
fn environment<'p>(
    subject: &Subject,
    shell: &Shell<'_>,
    pythons: &'p Pythons<'_>,
    program: &str,
) -> Option<&'p Environment> {
    let path = subject.config.env_var("PATH").unwrap_or_default();
    let folders: Vec<String> = match program.rsplit_once('/') {
        Some((folder, _)) => vec![shell.absolute(folder)],
        None => path.split(':').map(|folder| shell.absolute(folder)).collect(),
    };
    let name = program.rsplit('/').next()?;
    let folder = folders.iter().find(|folder| subject.root.follow(&format!("{folder}/{name}")).is_some())?;
    let prefix = folder.trim_matches('/').strip_suffix("/bin")?;
    let real = shell.find(program).ok();
    let version =
        real.and_then(|real| real.name().strip_prefix("python")?.parse::<crate::target::PythonVersion>().ok());
    pythons.environments.iter().find(|one| {
        one.prefix == prefix
            && (one.venv.is_some() || version.zip(one.version).is_none_or(|(version, own)| own.compatible(&version)))
    })
}

/// Tells if the first part of a module's name is nowhere. Only that: what a package has inside may come about when it
/// is imported.
fn imported(
    subject: &Subject,
    shell: &Shell<'_>,
    pythons: &Pythons<'_>,
    (environment, module): (Option<&Environment>, &str),
    findings: &mut Findings<'_>,
) {
    let (Some(environment), true) = (environment, is_name(module)) else { return };
    let first = module.split('.').next().unwrap_or_default();
    let mut folders = vec![shell.working().to_string()];
    let path = subject.config.env_var("PYTHONPATH").unwrap_or_default();
    folders.extend(path.split(':').filter(|one| !one.is_empty()).map(|one| shell.absolute(one)));
    folders.extend(environment.folders.iter().map(|folder| format!("/{folder}")));
    if let Some(interpreter) = pythons.interpreter_of(environment)
        && let Some(prefix) = interpreter.path.parent().and_then(|bin| bin.parent())
    {
        let library = format!("/{prefix}/lib/{}", interpreter.version.name());
        folders.extend([library.clone(), format!("{library}/lib-dynload")]);
    }
    // What .pth files add is not known, nor what is in an archive.
    let adds = |folder: &TreePath| subject.root.list(folder).iter().any(|(path, _)| path.name().ends_with(".pth"));
    let unknown = environment.folders.iter().any(adds) || folders.iter().any(|folder| folder.ends_with(".zip"));
    let found = folders.iter().any(|folder| {
        let at = |name: &str| subject.root.follow(&format!("{folder}/{name}")).is_some();
        at(first) || ENDINGS.iter().any(|ending| at(&format!("{first}{ending}"))) || extension(subject, folder, first)
    });
    if !found && !unknown {
        let message = format!("the module `{}` is in none of the {} folders of its path", brief(first), folders.len());
        let draft = Draft::new("start-module", "config.Cmd", message);
        findings.add(folders.iter().take(20).fold(draft, |draft, folder| draft.detail(folder.clone())));
    }
}

/// `NAME.cpython-311-x86_64-linux-gnu.so`.
fn extension(subject: &Subject, folder: &str, name: &str) -> bool {
    let Some(folder) = subject.root.follow(folder) else { return false };
    let begins = format!("{name}.");
    subject.root.list(&folder).iter().any(|(path, _)| {
        path.parent().as_ref() == Some(&folder) && path.name().starts_with(&begins) && path.name().ends_with(".so")
    })
}
