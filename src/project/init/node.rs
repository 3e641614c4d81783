//! Which application of Node is in a folder, and how it is run: what its package.json says.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::facts::usable;
use super::scan::{self, File};
use super::{AppKind, Draft, PORT};
use crate::error::Result;
use crate::fs;
use crate::node::{Lock, Range, Version};
use crate::project::Error;

/// The largest package.json, in bytes.
const MANIFEST_LIMIT: u64 = 4 << 20;
/// Locks that npm reads, the one first that it prefers.
const LOCKS: [&str; 2] = ["npm-shrinkwrap.json", "package-lock.json"];
/// Locks of other programs.
const OTHER_LOCKS: [&str; 4] = ["pnpm-lock.yaml", "yarn.lock", "bun.lock", "bun.lockb"];
/// What an application is started by if nobody says so.
const LIKELY: &[&str] = &["server", "index", "app", "main", "src/server", "src/index", "src/app", "src/main"];
/// How files of JavaScript end.
const SUFFIXES: &[&str] = &["js", "mjs", "cjs"];
/// What a shell would make something of.
const SHELL: &str = "&|;<>$`*?()[]{}~#!\\\n";
/// The Node of [`DEBIAN`], and the base that has it.
const OF_DEBIAN: Version = Version::new(18, 20, 4);
const DEBIAN: &str = "debian:12/packages";
/// Releases of which there are images, the best first.
const MAJORS: [u64; 3] = [22, 24, 20];

/// What is known of a folder with a package.json.
pub struct Node {
    manifest: Value,
    /// The name of the lock that npm would take.
    lock: Option<&'static str>,
    files: Vec<File>,
}

/// How the application is started.
struct Start {
    env: Vec<(String, String)>,
    command: Vec<String>,
    notes: Vec<String>,
}

impl Node {
    /// Reads it; `None` if there is no package.json.
    pub fn read(dir: &Path) -> Result<Option<Node>> {
        let Some(bytes) = fs::read_optional(&dir.join("package.json"), MANIFEST_LIMIT)? else { return Ok(None) };
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let manifest = serde_json::from_slice(bytes).unwrap_or_default();
        let lock = LOCKS.into_iter().find(|name| fs::exists(&dir.join(name)));
        Ok(Some(Node { manifest, lock, files: scan::files_of(dir, SUFFIXES)? }))
    }

    /// What the project file of something else should say of this.
    pub fn remark(&self) -> String {
        match self.lock {
            Some(lock) => format!(
                "package.json is left out: should its packages be in the image, add a table `[node]` with `lock = \"{lock}\"`, \
                 and a base that has `node`"
            ),
            None => "package.json is left out: it has no lock, so its packages cannot be in an image".to_string(),
        }
    }

    /// Whether it says how it is started.
    pub fn is_started(&self) -> bool {
        self.lock.is_some() && self.text(&["scripts", "start"]).is_some()
    }

    fn text(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().try_fold(&self.manifest, |value, key| value.get(key))?.as_str()
    }

    /// The project file; an error that says what is missing.
    pub fn draft(&self, dir: &Path, folder: &str) -> Result<Draft> {
        let Some(file) = self.lock else {
            let other = OTHER_LOCKS.into_iter().find(|name| fs::exists(&dir.join(name)));
            return Err(Error::NoNodeLock { dir: dir.to_path_buf(), other }.into());
        };
        let lock = Lock::read(&dir.join(file))?;
        let start = self.start(dir, &lock).ok_or_else(|| Error::NoStart { dir: dir.to_path_buf() })?;
        let own = self.text(&["name"]).and_then(|name| usable(name.rsplit('/').next().unwrap_or(name)));
        let (base, unfit) = self.base(&lock);
        let (port, says_port) = self.port();
        let Start { mut env, command, mut notes } = start;
        if says_port && !env.iter().any(|(name, _)| name == "PORT") {
            env.push(("PORT".into(), PORT.to_string()));
        }
        if command.iter().any(|word| word == "dist" || word.starts_with("dist/") || word.starts_with("./dist/")) {
            notes.push("`dist` is where Ingot writes images, and is never packed: build into another folder".into());
        }
        notes.extend(unfit);
        Ok(Draft {
            kind: AppKind::Node,
            name: own.or_else(|| usable(folder)).unwrap_or_else(|| "app".into()),
            python: None,
            lock: Some(file.to_string()),
            base,
            source: ".".into(),
            command,
            port,
            env,
            notes,
            remarks: Vec::new(),
        })
    }

    /// `scripts.start`, else `main`, else the only program, else a file with a likely name.
    fn start(&self, dir: &Path, lock: &Lock) -> Option<Start> {
        let there = |path: &str| dir.join(path).is_file();
        let node = |path: String| Start { env: Vec::new(), command: vec!["node".into(), path], notes: Vec::new() };
        let found = |path: &str| {
            let path = path.trim_start_matches("./").trim_end_matches('/');
            let inner = |end: &str| format!("{path}{end}");
            ["", ".js", ".mjs", ".cjs", "/index.js"].map(inner).into_iter().find(|path| there(path))
        };
        let script = self.text(&["scripts", "start"]).map(|script| (script, words(script)));
        if let Some((_, Some((env, words)))) = &script
            && let Some(start) = program(env, words, lock)
        {
            return Some(start);
        }
        let only = || match self.manifest.get("bin")? {
            Value::String(path) => Some(path.as_str()),
            Value::Object(bins) if bins.len() == 1 => bins.values().next()?.as_str(),
            _ => None,
        };
        let likely = || {
            LIKELY.iter().find_map(|name| SUFFIXES.iter().map(|end| format!("{name}.{end}")).find(|path| there(path)))
        };
        let main = self.text(&["main"]).and_then(found).or_else(|| only().and_then(found)).or_else(likely);
        let mut start = main.map(node)?;
        if let Some((script, _)) = script {
            let script: String = script.chars().take(200).collect();
            start.notes.push(format!(
                "`scripts.start` is `{}`, which needs a shell, or a package for development: is this command the same?",
                script.escape_debug()
            ));
        }
        Some(start)
    }

    /// A base whose Node is good for the project and what it needs, and what to say if there is none.
    fn base(&self, lock: &Lock) -> (String, Option<String>) {
        let entries = lock.entries.values().filter(|entry| !entry.dev && !entry.optional && !entry.extraneous);
        let own = self.text(&["engines", "node"]);
        let wanted: Vec<Range> = own
            .into_iter()
            .chain(entries.filter_map(|entry| entry.wants.node.as_deref()))
            .filter_map(Range::parse)
            .collect();
        let fits = |version: &Version| wanted.iter().all(|range| range.contains(version));
        let image = |major: u64| format!("node:{major}-bookworm-slim");
        if fits(&OF_DEBIAN) {
            return (DEBIAN.into(), None);
        }
        // The last of each that there may be.
        match MAJORS.into_iter().find(|major| fits(&Version::new(*major, 999, 0))) {
            Some(major) => (image(major), None),
            None => {
                (image(22), Some("`engines` of the packages want no Node that is known here: choose a base".into()))
            }
        }
    }

    /// The port that it listens on, and whether it has to be told which.
    fn port(&self) -> (Option<u16>, bool) {
        let lines = || self.files.iter().flat_map(|file| file.text.lines());
        let asks =
            |line: &&str| line.contains("env.PORT") || line.contains("env[\"PORT\"]") || line.contains("env['PORT']");
        if let Some(line) = lines().find(asks) {
            let behind = line.split_once("PORT").map_or("", |(_, rest)| rest);
            let default = number(behind);
            return (Some(default.unwrap_or(PORT)), default.is_none());
        }
        let written = lines().find_map(|line| number(line.split_once(".listen(")?.1.split([',', ')']).next()?));
        (written, false)
    }
}

/// The first number that a port can be.
fn number(text: &str) -> Option<u16> {
    let digits = |part: &&str| (2..=5).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split(|letter: char| !letter.is_ascii_alphanumeric()).find(digits)?.parse().ok().filter(|port| *port > 0)
}

/// A script as variables and words, if no shell is needed for it.
fn words(script: &str) -> Option<(Vec<(String, String)>, Vec<String>)> {
    if script.contains(|letter: char| SHELL.contains(letter)) {
        return None;
    }
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut quote, mut begun) = (String::new(), None, false);
    for letter in script.chars() {
        match (quote, letter) {
            (Some(open), letter) if open == letter => quote = None,
            (None, '"' | '\'') => (quote, begun) = (Some(letter), true),
            (None, letter) if letter.is_whitespace() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            (_, letter) => {
                word.push(letter);
                begun = true;
            }
        }
    }
    if quote.is_some() {
        return None;
    }
    words.extend(begun.then_some(word));
    let variable = |word: &String| {
        let (name, value) = word.split_once('=')?;
        let fit = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        fit.then(|| (name.to_string(), value.to_string()))
    };
    let env: Vec<(String, String)> = words.iter().map_while(variable).collect();
    let rest = words.split_off(env.len());
    (!rest.is_empty()).then_some((env, rest))
}

/// The command of these words: `node`, or a program of a package, which is started by its path: an image may have no
/// `env` that would look for `node`.
fn program(env: &[(String, String)], words: &[String], lock: &Lock) -> Option<Start> {
    let (first, rest) = words.split_first()?;
    let env: BTreeMap<String, String> = env.iter().cloned().collect();
    let start = |command: Vec<String>| Start { env: env.into_iter().collect(), command, notes: Vec::new() };
    if first == "node" {
        return Some(start(words.to_vec())).filter(|_| rest.iter().any(|word| !word.starts_with('-')));
    }
    let outermost = lock.entries.values().filter(|entry| entry.place.folder() == Some("node_modules"));
    let has = |(path, bins): (&str, &BTreeMap<String, String>)| Some(format!("{path}/{}", bins.get(first)?));
    let path = outermost
        .filter(|entry| !lock.target(entry).dev)
        .find_map(|entry| has((&entry.place.path, &lock.target(entry).bins)))?;
    let command = ["node".to_string(), path].into_iter().chain(rest.iter().cloned());
    Some(start(command.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_words_unless_they_need_a_shell() {
        let said = |script: &str| {
            let (env, words) = words(script)?;
            let env: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
            Some(format!("{} | {}", env.join(" "), words.join(",")))
        };
        for (script, expected) in [
            ("node server.js", Some(" | node,server.js")),
            ("A=1 B='x y' node  --import \"./a b.js\" s.js", Some("A=1 B=x y | node,--import,./a b.js,s.js")),
            ("node \"\" x", Some(" | node,,x")),
            ("node a=b.js", Some(" | node,a=b.js")),
            ("npm run build && node x", None),
            ("node $FILE", None),
            ("node 'x", None),
            ("A=1", None),
            ("", None),
        ] {
            assert_eq!(said(script).as_deref(), expected, "{script}");
        }
    }

    #[test]
    fn ports_are_found_in_lines() {
        for (text, expected) in [
            (" ?? 3000),", Some(3000)),
            (" || \"8081\"", Some(8081)),
            (")", None),
            ("x99999", None),
            ("99999", None),
            ("0", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
    }
}
