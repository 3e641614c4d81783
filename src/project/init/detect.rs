//! Which application is in a folder, and how it is run.

use std::path::Path;

use super::facts::Facts;
use super::node::Node;
use super::scan::{self, File};
use super::{AppKind, Draft, PORT};
use crate::error::Result;
use crate::project::Error;

/// File names in which an application is looked for first.
const LIKELY: &[&str] = &["wsgi.py", "asgi.py", "app.py", "main.py", "server.py", "__init__.py"];

/// Names of functions that make an application.
const FACTORIES: &[&str] = &["create_app", "make_app", "get_app", "build_app"];

/// An application that a server can import.
struct Found {
    /// The folder on the import path, "" for the project's own.
    source: String,
    module: String,
    /// The object, or the function that makes it.
    object: String,
    factory: bool,
}

/// Looks for an application in `dir`: Django, FastAPI, Flask, a package.json that says how it is started, then anything
/// that can be run.
pub fn detect(dir: &Path) -> Result<Draft> {
    if !dir.is_dir() {
        return Err(Error::NoFolder { dir: dir.to_path_buf() }.into());
    }
    let (files, facts) = (scan::files(dir)?, Facts::read(dir)?);
    let served = django(&files, &facts)
        .or_else(|| constructed(&files, "FastAPI(").map(|found| fastapi(&found, &facts)))
        .or_else(|| constructed(&files, "Flask(").map(|found| flask(&found, &facts)));
    let node = Node::read(dir)?;
    // A package.json beside a web application of Python mostly is for what browsers get.
    let mut draft = match (served, &node) {
        (Some(served), _) => served,
        (None, Some(node)) if node.is_started() => {
            let mut draft = node.draft(dir, facts.folder())?;
            if let Some(python) = plain(&files, &facts) {
                let command = python.command.join(" ");
                draft.remarks.push(format!(
                    "`{command}` is left out: package.json says what is started; Python beside it needs a table `[python]`"
                ));
            }
            return Ok(whole(draft, dir));
        }
        (None, node) => match (plain(&files, &facts), node) {
            (Some(plain), _) => plain,
            (None, Some(node)) => return Ok(whole(node.draft(dir, facts.folder())?, dir)),
            (None, None) => return Err(Error::NothingFound { dir: dir.to_path_buf() }.into()),
        },
    };
    draft.remarks.extend(node.map(|node| node.remark()));
    Ok(whole(draft, dir))
}

fn whole(mut draft: Draft, dir: &Path) -> Draft {
    if draft.source == "." && !crate::fs::exists(&dir.join(".dockerignore")) {
        draft.notes.push("the whole folder goes into the image: leave things out with a .dockerignore".into());
    }
    draft
}

fn draft(kind: AppKind, source: &str, command: Vec<String>, facts: &Facts) -> Draft {
    let (lock, note) = facts.lock();
    let python = facts.python();
    let release = if python.minor <= 13 { "-bookworm" } else { "" };
    Draft {
        kind,
        name: facts.name(),
        base: format!("python:{}-slim{release}", python.short()),
        python: Some(python),
        lock,
        source: if source.is_empty() { ".".into() } else { source.to_string() },
        command,
        port: (kind != AppKind::Plain).then_some(PORT),
        env: Vec::new(),
        notes: note.into_iter().collect(),
        remarks: Vec::new(),
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}

fn address() -> String {
    format!("0.0.0.0:{PORT}")
}

fn flask(found: &Found, facts: &Facts) -> Draft {
    let Found { source, module, object, factory } = found;
    let (target, call) = (format!("{module}:{object}"), format!("{module}:{object}()"));
    let listen = format!("--listen={}", address());
    let port = PORT.to_string();
    let serves = ["gunicorn", "waitress"].into_iter().find(|server| facts.depends_on(server));
    let command = match (serves, factory) {
        (Some("gunicorn"), false) => words(&["gunicorn", "--bind", &address(), &target]),
        (Some("gunicorn"), true) => words(&["gunicorn", "--bind", &address(), &call]),
        (Some(_), false) => words(&["waitress-serve", &listen, &target]),
        (Some(_), true) => words(&["waitress-serve", &listen, "--call", &target]),
        (None, _) => words(&["python", "-m", "flask", "--app", &target, "run", "--host", "0.0.0.0", "--port", &port]),
    };
    let mut draft = draft(AppKind::Flask, source, command, facts);
    if serves.is_none() {
        draft.notes.push("Flask's own server is made for development: add gunicorn to the dependencies".into());
    }
    draft
}

fn fastapi(found: &Found, facts: &Facts) -> Draft {
    let target = format!("{}:{}", found.module, found.object);
    let mut command = words(&["uvicorn", &target, "--host", "0.0.0.0", "--port", &PORT.to_string()]);
    if found.factory {
        command.push("--factory".into());
    }
    let mut draft = draft(AppKind::FastApi, &found.source, command, facts);
    if !facts.depends_on("uvicorn") && !facts.depends_on("fastapi[standard]") {
        draft.notes.push("the command needs uvicorn among the dependencies".into());
    }
    draft
}

fn django(files: &[File], facts: &Facts) -> Option<Draft> {
    let manage =
        files.iter().find(|file| file_name(file) == "manage.py" && file.text.contains("DJANGO_SETTINGS_MODULE"))?;
    // The folder of manage.py is the one that its modules are imported from.
    let source = manage.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let below = |file: &File| match source {
        "" => Some(file.path.clone()),
        folder => file.path.strip_prefix(folder)?.strip_prefix('/').map(str::to_string),
    };
    let wsgi = files
        .iter()
        .filter(|file| file_name(file) == "wsgi.py" && file.text.contains("get_wsgi_application"))
        .find_map(below)
        .map(|path| path.trim_end_matches(".py").replace('/', "."));
    let command = match wsgi.filter(|_| facts.depends_on("gunicorn")) {
        Some(module) => words(&["gunicorn", "--bind", &address(), &format!("{module}:application")]),
        None => words(&["python", "-m", "django", "runserver", &address(), "--noreload"]),
    };
    let development = command.contains(&"runserver".to_string());
    let mut draft = draft(AppKind::Django, source, command, facts);
    if development {
        draft.notes.push("Django's own server is made for development: add gunicorn to the dependencies".into());
    }
    if let Some(settings) = settings(&manage.text) {
        draft.env.push(("DJANGO_SETTINGS_MODULE".into(), settings));
    }
    Some(draft)
}

/// `os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")`
fn settings(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("DJANGO_SETTINGS_MODULE")?;
    let value = rest.get(1..)?.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let module = value.get(1..)?.split(quote).next()?;
    let good = !module.is_empty() && module.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
    good.then(|| module.to_string())
}

fn file_name(file: &File) -> &str {
    file.path.rsplit('/').next().unwrap_or(&file.path)
}

/// The object that `constructor` makes at the top of a module, or the function that returns one.
fn constructed(files: &[File], constructor: &str) -> Option<Found> {
    let makes = |file: &&File| file.text.lines().any(|line| calls(line, constructor));
    files.iter().find(makes)?;
    let mut ordered: Vec<&File> = files.iter().collect();
    ordered.sort_by_key(|file| LIKELY.iter().position(|name| *name == file_name(file)).unwrap_or(LIKELY.len()));
    let found = |file: &File, object: &str, factory| {
        let (source, module) = scan::module(&file.path, files);
        Found { source, module, object: object.to_string(), factory }
    };
    let object = ordered.iter().find_map(|file| {
        let line = file.text.lines().find_map(|line| assigned(line, constructor))?;
        Some(found(file, line, false))
    });
    object.or_else(|| {
        ordered.iter().filter(|file| makes(file)).find_map(|file| {
            let name = FACTORIES
                .iter()
                .find(|name| file.text.lines().any(|line| line.starts_with(&format!("def {name}("))))?;
            Some(found(file, name, true))
        })
    })
}

fn calls(line: &str, constructor: &str) -> bool {
    let code = line.split('#').next().unwrap_or_default();
    code.match_indices(constructor).any(|(at, _)| {
        !code
            .get(..at)
            .unwrap_or_default()
            .ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '"' || c == '\'')
    })
}

/// `app = Flask(__name__)`, `app: Flask = create_app()`: the name, if the line is not indented.
fn assigned<'a>(line: &'a str, constructor: &str) -> Option<&'a str> {
    let (left, right) = line.split_once('=')?;
    let name = left.split(':').next()?.trim_end();
    let identifier = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let right = right.trim_start();
    let made = FACTORIES.iter().any(|factory| {
        let call = right.rsplit_once('.').filter(|(before, _)| !before.contains('(')).map_or(right, |(_, call)| call);
        call.strip_prefix(factory).is_some_and(|rest| rest.starts_with('('))
    });
    (identifier && (made || (calls(right, constructor) && right.split('(').next()?.len() < 40))).then_some(name)
}

/// A package with `__main__.py`, else a module that runs something when it is the main one.
///
/// Always through `-m`: compiled to bytecode only, `main.py` is no longer there, but the module is.
fn plain(files: &[File], facts: &Facts) -> Option<Draft> {
    let package = files.iter().find(|file| file_name(file) == "__main__.py" && file.path.contains('/'));
    let runs = |file: &&File| file.text.lines().any(|line| line.starts_with("if __name__"));
    let named = || {
        ["main.py", "app.py", "run.py", "server.py", "cli.py"]
            .iter()
            .find_map(|name| files.iter().find(|file| file_name(file) == *name))
    };
    let only = || match &files.iter().filter(runs).collect::<Vec<_>>()[..] {
        [file] => Some(*file),
        _ => None,
    };
    let file = package.or_else(named).or_else(only)?;
    let (source, module) = scan::module(&file.path, files);
    // `python -m __main__` would run nothing of the application.
    let (source, module) = match (module.as_str(), source.rsplit_once('/')) {
        ("__main__", Some((parent, last))) => (parent.to_string(), last.to_string()),
        ("__main__", None) if !source.is_empty() => (String::new(), source),
        _ => (source, module),
    };
    Some(draft(AppKind::Plain, &source, words(&["python", "-m", &module]), facts))
}
