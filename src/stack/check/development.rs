//! Settings of somebody's machine that have no place in production.

use std::path::Path;

use super::Checker;
use crate::fs;
use crate::stack::node::Node;

/// Variables that switch development on by a value of these, in lower case; by any but a false one if there is none.
const VARIABLES: [(&str, &[&str]); 21] = [
    ("APP_DEBUG", &[]),
    ("APP_ENV", &["local", "dev", "development", "test"]),
    ("ASPNETCORE_ENVIRONMENT", &["development"]),
    ("DEBUG", &[]),
    ("DJANGO_DEBUG", &[]),
    ("DOTNET_ENVIRONMENT", &["development"]),
    ("ENV", &["local", "dev", "development"]),
    ("ENVIRONMENT", &["local", "dev", "development"]),
    ("FASTAPI_DEBUG", &[]),
    ("FLASK_DEBUG", &[]),
    ("FLASK_ENV", &["development"]),
    ("GIN_MODE", &["debug"]),
    ("GO_ENV", &["development"]),
    ("MIX_ENV", &["dev", "test"]),
    ("NODE_ENV", &["development", "dev", "test"]),
    ("PYTHONASYNCIODEBUG", &[]),
    ("PYTHONDEVMODE", &[]),
    ("RACK_ENV", &["development", "test"]),
    ("RAILS_ENV", &["development", "test"]),
    ("SYMFONY_ENV", &["dev", "test"]),
    ("WP_DEBUG", &[]),
];
/// Words of a command, in a row, that start a program for development.
const COMMANDS: [&[&str]; 26] = [
    &["--reload"],
    &["--inspect"],
    &["--inspect-brk"],
    &["flask", "run"],
    &["nodemon"],
    &["ts-node-dev"],
    &["tsx", "watch"],
    &["manage.py", "runserver"],
    &["debugpy"],
    &["npm", "run", "dev"],
    &["npm", "run", "start:dev"],
    &["npm", "run", "start-watch"],
    &["npm", "run", "watch"],
    &["yarn", "watch"],
    &["yarn", "dev"],
    &["yarn", "run", "dev"],
    &["yarn", "start:dev"],
    &["pnpm", "dev"],
    &["pnpm", "run", "dev"],
    &["next", "dev"],
    &["ng", "serve"],
    &["vite"],
    &["webpack-dev-server"],
    &["fastapi", "dev"],
    &["dotnet", "watch"],
    &["air"],
];
/// Ports of debuggers: Node, Python, Java, Go.
const DEBUGGERS: [&str; 5] = ["9229", "9230", "5678", "5005", "2345"];
/// Images of which one of them is the own port.
const NO_DEBUGGERS: [(&str, &str); 1] = [("n8n", "5678")];
/// Stages of a Dockerfile that are for development.
const STAGES: [&str; 5] = ["debug", "dev", "dev-envs", "develop", "development"];
/// Files that a folder of source has, and how others end.
const SOURCES: [&str; 12] = [
    ".git",
    "Cargo.toml",
    "Dockerfile",
    "Gemfile",
    "Makefile",
    "composer.json",
    "go.mod",
    "ingot.toml",
    "package.json",
    "pom.xml",
    "pyproject.toml",
    "requirements.txt",
];
const LANGUAGES: [&str; 10] = ["cs", "go", "java", "js", "jsx", "php", "py", "rb", "ts", "tsx"];
/// Where images have their program.
const PROGRAMS: [&str; 8] =
    ["/app", "/code", "/src", "/srv/app", "/usr/src", "/usr/src/app", "/var/www/html", "/workspace"];

pub fn look(checker: &mut Checker<'_>, name: &str, service: &Node) {
    if !checker.production {
        return;
    }
    let mut add = |node: &Node, what: String| checker.add("development", node.place, what);
    for (variable, (_, node)) in service.get("environment").and_then(Node::map).into_iter().flatten() {
        let value = node.scalar().unwrap_or_default();
        if switches(variable, value) {
            add(node, format!("`{name}` has {variable}={}", shown(value)));
        }
    }
    let build = service.get("build");
    for (argument, node, value) in build.map(arguments).unwrap_or_default() {
        if switches(argument, value) {
            add(node, format!("the image of `{name}` is built with {argument}={}", shown(value)));
        }
    }
    if let Some((node, stage)) =
        build.and_then(|build| build.get("target")).and_then(|node| Some((node, node.scalar()?)))
        && STAGES.contains(&stage)
    {
        add(node, format!("the image of `{name}` is the stage `{stage}`"));
    }
    if let Some(develop) = service.get("develop") {
        add(develop, format!("`{name}` watches its source (`develop`)"));
    }
    for key in ["command", "entrypoint"] {
        if let Some((node, words)) = service.get(key).and_then(|node| Some((node, command(node)?))) {
            add(node, format!("`{key}` of `{name}` is for development: `{}`", words.join(" ")));
        }
    }
    for port in service.get("ports").and_then(Node::list).unwrap_or_default() {
        let image = service.get("image").and_then(Node::scalar).unwrap_or_default();
        let is_own = |port: &str| NO_DEBUGGERS.iter().any(|(known, own)| image.contains(known) && *own == port);
        let target = port.get("target").and_then(Node::scalar);
        if let Some(target) = target.filter(|port| DEBUGGERS.contains(port) && !is_own(port)) {
            add(port, format!("`{name}` publishes {target}, where debuggers listen"));
        }
    }
    source_mounts(checker, name, service);
}

/// The words of a command that are for development.
fn command(node: &Node) -> Option<&'static [&'static str]> {
    let items: Vec<&str> =
        node.scalar().into_iter().chain(node.list().unwrap_or_default().iter().filter_map(Node::scalar)).collect();
    let text = items.join(" ");
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '"' | '\'' | '(' | ')'))
        .filter(|word| !word.is_empty())
        // `python -m flask run`, `./node_modules/.bin/nodemon`, `--inspect=0.0.0.0`.
        .map(|word| word.rsplit('/').next().unwrap_or(word).split('=').next().unwrap_or(word))
        .collect();
    COMMANDS.into_iter().find(|known| {
        words.windows(known.len()).enumerate().any(|(at, window)| {
            // A short word is a program only where a program stands.
            let is_program = known.len() > 1 || known.iter().any(|word| word.len() > 4) || at == 0;
            window == *known && is_program
        })
    })
}

/// Whether a variable switches development on.
fn switches(variable: &str, value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    let values = VARIABLES.iter().find(|(known, _)| known.eq_ignore_ascii_case(variable)).map(|(_, values)| *values);
    match values {
        Some([]) => !matches!(value.as_str(), "" | "0" | "false" | "no" | "off" | "none"),
        Some(values) => values.contains(&value.as_str()),
        None => false,
    }
}

fn shown(value: &str) -> String {
    value.to_ascii_lowercase().escape_debug().take(40).collect()
}

/// The arguments that an image is built with.
fn arguments(build: &Node) -> Vec<(&str, &Node, &str)> {
    let Some(args) = build.get("args") else { return Vec::new() };
    let pair = |node| -> Option<(&str, &Node, &str)> {
        let (name, value) = Node::scalar(node)?.split_once('=')?;
        Some((name, node, value))
    };
    let listed = args.list().unwrap_or_default().iter().filter_map(pair);
    let named =
        args.map().into_iter().flatten().filter_map(|(name, (_, node))| Some((name.as_str(), node, node.scalar()?)));
    listed.chain(named).collect()
}

/// Folders of the source that lie over what the image has.
fn source_mounts(checker: &mut Checker<'_>, name: &str, service: &Node) {
    let stack = checker.stack;
    let project = stack.folder.display().to_string();
    let built: Vec<String> = [("build", "context"), ("x-ingot", "project")]
        .iter()
        .filter_map(|(key, path)| Some(stack.real(service.get(key)?.get(path)?.scalar()?)))
        .collect();
    for mount in service.get("volumes").and_then(Node::list).unwrap_or_default() {
        let field = |key: &str| mount.get(key).and_then(Node::scalar).unwrap_or_default();
        if field("type") != "bind" {
            continue;
        }
        let real = stack.real(field("source"));
        let target = field("target").trim_end_matches('/');
        let is_above = |below: &String| *below == real || below.starts_with(&format!("{real}/"));
        // A folder in what one image is built of; the project's own has data, too.
        let is_part = |built: &String| *built != project && real.starts_with(&format!("{built}/"));
        let is_program = PROGRAMS.contains(&target) && real.starts_with(&project) || is_above(&project);
        let has_source = || fs::read_dir(Path::new(&real)).unwrap_or_default().iter().any(|file| is_source(file));
        let is_folder = Path::new(&real).is_dir();
        if built.iter().any(is_above) || built.iter().any(is_part) && is_folder || is_program && has_source() {
            checker.add(
                "development",
                mount.place,
                format!("`{name}` has the source mounted over its image: `{}`", field("source")),
            );
        }
    }
}

/// A file that a program is written or built with.
fn is_source(file: &Path) -> bool {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let end = file.extension().map(|end| end.to_string_lossy().into_owned()).unwrap_or_default();
    SOURCES.contains(&name.as_str()) || LANGUAGES.contains(&end.as_str())
}
