//! Settings of somebody's machine that have no place in production.

use super::Checker;
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
const COMMANDS: [&[&str]; 23] = [
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
const DEBUGGERS: [&str; 4] = ["9229", "5678", "5005", "2345"];
/// Where images have their program.
const PROGRAMS: [&str; 8] =
    ["/app", "/code", "/src", "/srv/app", "/usr/src", "/usr/src/app", "/var/www/html", "/workspace"];

pub fn look(checker: &mut Checker<'_>, name: &str, service: &Node) {
    if !checker.production {
        return;
    }
    let mut add = |node: &Node, what: String| checker.add("development", node.place, what);
    for (variable, (_, node)) in service.get("environment").and_then(Node::map).into_iter().flatten() {
        let value = node.scalar().unwrap_or_default().to_ascii_lowercase();
        let Some((_, values)) = VARIABLES.iter().find(|(known, _)| known.eq_ignore_ascii_case(variable)) else {
            continue;
        };
        let is_on = match values.is_empty() {
            true => !matches!(value.as_str(), "" | "0" | "false" | "no" | "off" | "none"),
            false => values.contains(&value.as_str()),
        };
        if is_on {
            add(
                node,
                format!(
                    "`{name}` has {variable}={}",
                    value.escape_debug().to_string().chars().take(40).collect::<String>()
                ),
            );
        }
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
        if let Some(target) = port.get("target").and_then(Node::scalar).filter(|port| DEBUGGERS.contains(port)) {
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

/// Folders of the source that lie over what the image has.
fn source_mounts(checker: &mut Checker<'_>, name: &str, service: &Node) {
    let stack = checker.stack;
    let built: Vec<String> = [("build", "context"), ("x-ingot", "project")]
        .iter()
        .filter_map(|(key, path)| Some(stack.real(service.get(key)?.get(path)?.scalar()?)))
        .chain([stack.folder.display().to_string()])
        .collect();
    for mount in service.get("volumes").and_then(Node::list).unwrap_or_default() {
        let field = |key: &str| mount.get(key).and_then(Node::scalar).unwrap_or_default();
        if field("type") != "bind" {
            continue;
        }
        let real = stack.real(field("source"));
        let target = field("target").trim_end_matches('/');
        let is_above = built.iter().any(|built| *built == real || built.starts_with(&format!("{real}/")));
        let is_program = PROGRAMS.contains(&target) && real.starts_with(&stack.folder.display().to_string());
        if is_above || is_program {
            checker.add(
                "development",
                mount.place,
                format!("`{name}` has the source mounted over its image: `{}`", field("source")),
            );
        }
    }
}
