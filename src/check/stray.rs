//! Files that are seldom meant to be in an image, by their names.

use std::collections::BTreeMap;

use super::allow::pattern;

/// Folders of version control systems.
const VERSION_CONTROL: [&str; 4] = [".git", ".hg", ".svn", ".bzr"];
/// Folders that tools, editors and desktops make.
const CACHE_FOLDERS: [&str; 13] = [
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".hypothesis",
    ".tox",
    ".nox",
    ".ipynb_checkpoints",
    ".eggs",
    ".idea",
    ".vscode",
    ".terraform",
    "htmlcov",
    "__MACOSX",
];
/// Files that they make.
const CACHE_FILES: [&str; 6] =
    [".coverage", ".DS_Store", "Thumbs.db", "desktop.ini", ".python_history", ".bash_history"];
const CACHE_ENDS: [&str; 5] = [".swp", ".swo", "~", ".orig", ".rej"];
/// Files that are credentials by their names.
const CREDENTIALS: [&str; 15] = [
    ".vault-token",
    ".s3cfg",
    ".dockercfg",
    ".netrc",
    "_netrc",
    ".pgpass",
    ".my.cnf",
    ".git-credentials",
    ".pypirc",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "terraform.tfstate",
    "kubeconfig",
];
const CREDENTIAL_ENDS: [&str; 8] = [
    "/.aws/credentials",
    "/.streamlit/secrets.toml",
    "/.docker/config.json",
    "/.kube/config",
    ".tfstate",
    ".tfstate.backup",
    ".keytab",
    ".ovpn",
];
const KEY_STORE_ENDS: [&str; 5] = [".p12", ".pfx", ".jks", ".keystore", ".kdbx"];
const DUMP_ENDS: [&str; 12] = [
    ".dump", ".sqlite", ".sqlite3", ".bak", ".log", ".pcap", ".pcapng", ".har", ".hprof", ".rdb", ".sql.gz", "dump.sql",
];
/// Ends of files that only show what others look like.
const SAMPLES: [&str; 8] = ["example", "examples", "sample", "template", "tmpl", "dist", "defaults", "schema"];

/// Ends of files of settings, one a line.
const CONFIG_ENDS: [&str; 7] = [".ini", ".cfg", ".conf", ".cnf", ".properties", ".yaml", ".yml"];

/// Whether the file is one of settings, one a line.
pub(super) fn is_config(name: &str) -> bool {
    CONFIG_ENDS.iter().any(|end| name.ends_with(end))
}

/// Whether the file is one of variables and their values.
pub(super) fn is_dotenv(name: &str) -> bool {
    (is_env_file(name) || name.ends_with(".env")) && !is_sample(name)
}

fn is_env_file(name: &str) -> bool {
    name == ".env" || name == ".envrc" || name.starts_with(".env.")
}

fn is_sample(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|end| SAMPLES.contains(&end))
        || name.split('.').any(|part| SAMPLES.contains(&part))
}

/// Rule, the file or folder that it is about, and what it is.
pub(super) fn look(path: &str) -> Option<(&'static str, &str, String)> {
    let mut end = 0;
    for part in path.split('/') {
        end += part.len();
        let folder = (end < path.len()).then(|| path.get(..end)).flatten();
        if let Some(folder) = folder {
            if VERSION_CONTROL.contains(&part) {
                return Some(("version-control", folder, format!("`{part}` of a version control system")));
            }
            if CACHE_FOLDERS.contains(&part) {
                return Some(("cache", folder, format!("a folder `{part}`")));
            }
        }
        end += 1;
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let rooted = format!("/{path}");
    let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end) && name.len() > end.len());
    if is_sample(name) {
        return None;
    }
    if name == "pyvenv.cfg" {
        return Some(("environment", folder, "a virtual environment".into()));
    }
    if is_env_file(name) {
        return Some(("env-file", path, "a file of environment variables".into()));
    }
    if CREDENTIALS.contains(&name) || CREDENTIAL_ENDS.iter().any(|end| rooted.ends_with(end)) {
        return Some(("credential-file", path, "a file that programs keep credentials in".into()));
    }
    if ends(&KEY_STORE_ENDS) {
        return Some(("key-store", path, "a key store".into()));
    }
    if CACHE_FILES.contains(&name) || ends(&CACHE_ENDS) {
        return Some(("cache", path, "a file of a tool, an editor or a desktop".into()));
    }
    let core =
        name.strip_prefix("core.").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
    (core || ends(&DUMP_ENDS)).then(|| ("dump", path, "a database, a dump, a log or a backup".into()))
}

/// A line of `.dockerignore` that means more than it matches.
struct Meant<'a> {
    line: usize,
    text: &'a str,
    name: regex::bytes::Regex,
}

/// Line, pattern, and the paths that its pattern would match if it held in every folder.
pub(super) fn ignored_elsewhere<'a>(file: &'a str, paths: &[&'a str]) -> Vec<(usize, &'a str, Vec<&'a str>)> {
    let lines = || file.trim_start_matches('\u{feff}').lines().enumerate().map(|(n, line)| (n + 1, line.trim()));
    let back: Vec<_> = lines()
        .filter_map(|(_, line)| line.strip_prefix('!'))
        .filter_map(|line| pattern(line.rsplit('/').next().unwrap_or(line)))
        .collect();
    let meant: Vec<Meant<'a>> = lines()
        .filter(|(_, line)| says_what(line))
        .filter_map(|(line, text)| Some(Meant { line, text, name: pattern(text.trim_end_matches('/'))? }))
        .collect();
    let mut found: BTreeMap<usize, (&str, Vec<&str>)> = BTreeMap::new();
    for path in paths {
        let is_back = || path.split('/').any(|part| back.iter().any(|name| name.is_match(part.as_bytes())));
        for meant in &meant {
            if path.split('/').any(|part| meant.name.is_match(part.as_bytes())) && !is_back() {
                found.entry(meant.line).or_insert((meant.text, Vec::new())).1.push(path);
            }
        }
    }
    found.into_iter().map(|(line, (text, paths))| (line, text, paths)).collect()
}

/// A name that says what it is wherever it stands: `*.log`, `.env`; not `data`, which is another thing elsewhere.
fn says_what(line: &str) -> bool {
    let name = line.trim_end_matches('/');
    let special = name.starts_with(['#', '!', '/']) || name.contains(['/', '[', '\\']) || name.contains("**");
    !special
        && name.len() > 2
        && (name.starts_with('.') || name.contains(['*', '?']))
        && name.chars().any(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_files_are() {
        for (path, expected) in [
            ("src/.git/objects/aa/bb", Some(("version-control", "src/.git"))),
            ("src/.git", None),
            ("src/a/.mypy_cache/x/y", Some(("cache", "src/a/.mypy_cache"))),
            ("src/.DS_Store", Some(("cache", "src/.DS_Store"))),
            ("src/a.py~", Some(("cache", "src/a.py~"))),
            ("src/env/pyvenv.cfg", Some(("environment", "src/env"))),
            ("src/.env", Some(("env-file", "src/.env"))),
            ("src/.env.production", Some(("env-file", "src/.env.production"))),
            ("src/.env.example", None),
            ("src/.flaskenv", None),
            ("src/env.py", None),
            ("src/id_rsa", Some(("credential-file", "src/id_rsa"))),
            ("src/id_rsa.pub", None),
            (".netrc", Some(("credential-file", ".netrc"))),
            ("src/.aws/credentials", Some(("credential-file", "src/.aws/credentials"))),
            ("src/credentials", None),
            ("src/.streamlit/secrets.toml", Some(("credential-file", "src/.streamlit/secrets.toml"))),
            ("src/infra.tfstate", Some(("credential-file", "src/infra.tfstate"))),
            ("src/tls/server.p12", Some(("key-store", "src/tls/server.p12"))),
            ("src/cacert.pem", None),
            ("src/db.sqlite3", Some(("dump", "src/db.sqlite3"))),
            ("src/app.log", Some(("dump", "src/app.log"))),
            ("src/core.1234", Some(("dump", "src/core.1234"))),
            ("src/core.py", None),
            ("src/core/log.py", None),
            ("src/schema.sql", None),
            ("src/.log", None),
        ] {
            assert_eq!(look(path).map(|(rule, object, _)| (rule, object)), expected, "{path}");
        }
        assert!(is_dotenv(".env") && is_dotenv("prod.env") && is_dotenv(".env.local"));
        assert!(!is_dotenv(".env.sample") && !is_dotenv("env") && !is_dotenv("example.env"));
    }

    #[test]
    fn a_pattern_of_the_root_that_is_meant_everywhere_is_found() {
        let paths = ["src/a.log", "src/x/b.log", "src/.env", "src/data/x.csv", "src/keep.log", "src/README.md"];
        let file = "# comment\n*.log\n.env\ndata\n*\n/*.md\n**/*.csv\n!keep.log\nsrc/*.md\n";
        let found = ignored_elsewhere(file, &paths);
        assert_eq!(found, [(2, "*.log", vec!["src/a.log", "src/x/b.log"]), (3, ".env", vec!["src/.env"])]);
        assert!(ignored_elsewhere("", &paths).is_empty());
    }
}
