//! Which package indexes this machine uses: what pip and uv are configured for, and at last their own default.
//!
//! No index is written into Ingot. The first source that names an index decides on it; extra indexes and folders of
//! all sources are used together, which is safe because a wheel is only ever accepted by its hash.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use super::Error;
use super::location::{IndexOptions, Links, Location};
use super::netrc::Netrc;
use crate::error::Result;
use crate::net::Credentials;
use crate::{fs, process};

/// The largest configuration file, in bytes.
const CONFIGURATION_LIMIT: u64 = 4 << 20;
/// How long a tool may think about its default index.
const TOOL_TIMEOUT: Duration = Duration::from_secs(30);

/// The package indexes of this machine, with what logs in there.
#[derive(Clone, Debug, Default)]
pub struct Indexes {
    /// Indexes, folders and pages.
    pub options: IndexOptions,
    netrc: Netrc,
}

/// What a machine is configured with: its environment and the root of its files.
pub struct Machine {
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// `/`, but for tests.
    pub root: PathBuf,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let text = |value: std::ffi::OsString| value.into_string().ok();
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect();
        Machine { variables, root: "/".into() }
    }

    /// A variable that is set, and not to nothing.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
    }

    fn home(&self) -> Option<PathBuf> {
        self.get("HOME").map(PathBuf::from)
    }

    /// A file of the user's configuration folder.
    fn user(&self, file: &str) -> Option<PathBuf> {
        let folder = match self.get("XDG_CONFIG_HOME") {
            Some(folder) => Some(PathBuf::from(folder)),
            None => self.home().map(|home| home.join(".config")),
        };
        folder.map(|folder| folder.join(file))
    }
}

impl Indexes {
    /// Of this machine, for a project in `project_dir`.
    pub fn of_this_machine(project_dir: &Path) -> Result<Self> {
        Indexes::of(&Machine::this(), project_dir)
    }

    /// Of a machine.
    pub fn of(machine: &Machine, project_dir: &Path) -> Result<Self> {
        let mut options = uv_environment(machine, project_dir)?.then(pip_environment(machine, project_dir)?);
        for file in pip_files(machine) {
            options = options.then(pip_file(&file)?);
        }
        for (file, inside) in uv_files(machine, project_dir) {
            options = options.then(uv_file(&file, inside, machine)?);
        }
        let file = machine.get("NETRC").map(PathBuf::from).or_else(|| machine.home().map(|home| home.join(".netrc")));
        let text = file.map(|file| read(&file)).transpose()?.flatten().unwrap_or_default();
        let netrc = Netrc::parse(&String::from_utf8_lossy(&text));
        Ok(Indexes { options, netrc })
    }

    /// With the options that stand in a lock, which come first, as with pip.
    pub fn with(&self, lock: &IndexOptions) -> Self {
        Indexes { options: lock.clone().then(self.options.clone()), netrc: self.netrc.clone() }
    }

    /// Only these options: no configuration, no credentials but their own.
    pub fn only(options: IndexOptions) -> Self {
        Indexes { options, netrc: Netrc::default() }
    }

    /// The indexes to ask, in order. Asks pip or uv for its default if none is configured.
    pub fn locations(&self) -> Result<Vec<Location>> {
        if self.options.no_index {
            return Ok(Vec::new());
        }
        let first = match &self.options.index {
            Some(index) => index.clone(),
            // Folders of wheels are enough if no tool is there to be asked.
            None => match default_index(&["python3", "python"], "uv") {
                Ok(index) => index,
                Err(_) if !(self.options.links.is_empty() && self.options.extra.is_empty()) => {
                    return Ok(self.options.extra.clone());
                }
                Err(error) => return Err(error.into()),
            },
        };
        let mut all = vec![first];
        all.extend(self.options.extra.iter().cloned());
        Ok(all)
    }

    /// What logs in at a host, from netrc.
    pub fn credentials(&self, url: &url::Url) -> Option<Credentials> {
        self.netrc.get(url.host_str()?).cloned()
    }
}

/// The default of pip or uv, asked of the tool itself.
fn default_index(pythons: &[&str], uv: &str) -> Result<Location, Error> {
    let pip = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)";
    for python in pythons {
        if let Some(text) = say(python, &["-I", "-c", pip])
            && let Ok(index) = Location::parse(&text, python)
        {
            return Ok(index);
        }
    }
    // uv has no option for it, but its help names it: "(by default: <https://...>)".
    let help = say(uv, &["pip", "install", "--help"]).unwrap_or_default();
    let named = help.split_once("by default: <").and_then(|(_, rest)| rest.split_once('>')).map(|(url, _)| url);
    named.and_then(|url| Location::parse(url, uv).ok()).ok_or(Error::NoIndex)
}

fn say(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    let output = process::run(command, b"", TOOL_TIMEOUT).ok()?;
    output.status.success().then(|| output.stdout_text())
}

fn listed<T>(text: &str, parse: impl Fn(&str) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty()).map(parse).collect()
}

fn flag(text: &str) -> bool {
    matches!(text.trim().to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on" | "y" | "t")
}

fn uv_environment(machine: &Machine, folder: &Path) -> Result<IndexOptions, Error> {
    let mut options = IndexOptions::default();
    for name in ["UV_DEFAULT_INDEX", "UV_INDEX_URL"] {
        if let Some(text) = machine.get(name).filter(|_| options.index.is_none()) {
            options.index = Some(named(text, name, machine)?);
        }
    }
    for name in ["UV_INDEX", "UV_EXTRA_INDEX_URL"] {
        options.extra.extend(listed(machine.get(name).unwrap_or_default(), |text| named(text, name, machine))?);
    }
    let name = "UV_FIND_LINKS";
    options.links = listed(machine.get(name).unwrap_or_default(), |text| Links::parse(text, folder, name))?;
    options.no_index = machine.get("UV_NO_INDEX").is_some_and(flag);
    Ok(options)
}

/// `NAME=URL` or `URL`, with the credentials that uv keeps in variables for a named index.
fn named(text: &str, place: &str, machine: &Machine) -> Result<Location, Error> {
    let (name, url) = match text.split_once('=') {
        Some((name, url)) if !name.contains("://") => (name, url),
        _ => ("", text),
    };
    let mut location = Location::parse(url, place)?;
    log_in(&mut location, name, machine);
    Ok(location)
}

fn log_in(location: &mut Location, name: &str, machine: &Machine) {
    let upper: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    let of = |what: &str| machine.get(&format!("UV_INDEX_{upper}_{what}")).map(str::to_string);
    if !name.is_empty()
        && let (username, password) = (of("USERNAME"), of("PASSWORD"))
        && (username.is_some() || password.is_some())
    {
        let (username, password) = (username.unwrap_or_default(), password.unwrap_or_default());
        location.login = Some(Credentials { username, password });
    }
}

fn pip_environment(machine: &Machine, folder: &Path) -> Result<IndexOptions, Error> {
    let value = |name: &str| machine.get(name).unwrap_or_default().to_string();
    let index = machine.get("PIP_INDEX_URL").map(|text| Location::parse(text, "PIP_INDEX_URL")).transpose()?;
    Ok(IndexOptions {
        index,
        extra: listed(&value("PIP_EXTRA_INDEX_URL"), |text| Location::parse(text, "PIP_EXTRA_INDEX_URL"))?,
        links: listed(&value("PIP_FIND_LINKS"), |text| Links::parse(text, folder, "PIP_FIND_LINKS"))?,
        no_index: flag(&value("PIP_NO_INDEX")),
    })
}

/// pip's configuration files, the strongest first.
fn pip_files(machine: &Machine) -> Vec<PathBuf> {
    let named = machine.get("PIP_CONFIG_FILE");
    if named == Some("/dev/null") {
        return Vec::new();
    }
    let mut files: Vec<PathBuf> = named.map(PathBuf::from).into_iter().collect();
    files.extend(machine.get("VIRTUAL_ENV").map(|folder| Path::new(folder).join("pip.conf")));
    files.extend(machine.user("pip/pip.conf"));
    files.extend(machine.home().map(|home| home.join(".pip/pip.conf")));
    files.push(machine.root.join("etc/pip.conf"));
    files.push(machine.root.join("etc/xdg/pip/pip.conf"));
    files
}

/// A file that this user may read; one that is another user's (HOME of root in a container) is as good as none.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read_optional(path, CONFIGURATION_LIMIT) {
        Err(fs::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => Ok(None),
        other => Ok(other?),
    }
}

fn pip_file(path: &Path) -> Result<IndexOptions> {
    let Some(bytes) = read(path)? else { return Ok(IndexOptions::default()) };
    let place = format!("`{}`", path.display());
    let values = ini(&String::from_utf8_lossy(&bytes));
    // An option of a command beats the same option in [global].
    let get = |key: &str| {
        let sections = ["install", "download", "global"];
        sections.iter().find_map(|section| values.get(&(section.to_string(), key.to_string()))).cloned()
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    let index = get("index-url").filter(|text| !text.is_empty());
    Ok(IndexOptions {
        index: index.map(|text| Location::parse(&text, &place)).transpose()?,
        extra: listed(&get("extra-index-url").unwrap_or_default(), |text| Location::parse(text, &place))?,
        links: listed(&get("find-links").unwrap_or_default(), |text| Links::parse(text, folder, &place))?,
        no_index: get("no-index").is_some_and(|text| flag(&text)),
    })
}

/// An INI file as Python's configparser reads it: by section and key; indented lines continue a value.
fn ini(text: &str) -> BTreeMap<(String, String), String> {
    let mut values: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut section = String::new();
    let mut last: Option<(String, String)> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with([' ', '\t'])
            && let Some(value) = last.as_ref().and_then(|key| values.get_mut(key))
        {
            value.push('\n');
            value.push_str(trimmed);
        } else if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.trim().to_string();
            last = None;
        } else if let Some(at) = trimmed.find(['=', ':']) {
            let key = trimmed[..at].trim().trim_start_matches("--").to_ascii_lowercase().replace('_', "-");
            let key = (section.clone(), key);
            values.insert(key.clone(), trimmed[at + 1..].trim().to_string());
            last = Some(key);
        }
    }
    values
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct UvOptions {
    index_url: Option<String>,
    extra_index_url: Vec<String>,
    find_links: Vec<String>,
    no_index: bool,
    index: Vec<UvIndex>,
    pip: Option<Box<UvOptions>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UvIndex {
    name: Option<String>,
    url: String,
    default: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Pyproject {
    tool: Tool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tool {
    uv: UvOptions,
}

/// uv's configuration files, the strongest first, and whether the options are inside `[tool.uv]`.
fn uv_files(machine: &Machine, project_dir: &Path) -> Vec<(PathBuf, bool)> {
    if machine.get("UV_NO_CONFIG").is_some_and(flag) {
        return Vec::new();
    }
    if let Some(file) = machine.get("UV_CONFIG_FILE") {
        return vec![(file.into(), false)];
    }
    let mut files = vec![(project_dir.join("uv.toml"), false), (project_dir.join("pyproject.toml"), true)];
    files.extend(machine.user("uv/uv.toml").map(|file| (file, false)));
    files.push((machine.root.join("etc/uv/uv.toml"), false));
    files
}

fn uv_file(path: &Path, inside: bool, machine: &Machine) -> Result<IndexOptions> {
    let Some(bytes) = read(path)? else { return Ok(IndexOptions::default()) };
    let place = format!("`{}`", path.display());
    let text = String::from_utf8_lossy(&bytes);
    let parsed = if inside {
        toml::from_str::<Pyproject>(&text).map(|document| document.tool.uv)
    } else {
        toml::from_str::<UvOptions>(&text)
    };
    let options = parsed.map_err(|error| Error::Configuration {
        place: place.clone(),
        reason: format!("it is not what uv would read: {}", error.message()),
    })?;
    let folder = path.parent().unwrap_or(Path::new("."));
    Ok(uv_options(options, folder, &place, machine)?)
}

fn uv_options(uv: UvOptions, folder: &Path, place: &str, machine: &Machine) -> Result<IndexOptions, Error> {
    let mut options = IndexOptions { no_index: uv.no_index, ..IndexOptions::default() };
    for index in uv.index {
        let mut location = Location::parse(&index.url, place)?;
        log_in(&mut location, index.name.as_deref().unwrap_or_default(), machine);
        match index.default {
            true if options.index.is_none() => options.index = Some(location),
            _ => options.extra.push(location),
        }
    }
    if let Some(text) = uv.index_url.filter(|_| options.index.is_none()) {
        options.index = Some(Location::parse(&text, place)?);
    }
    for text in &uv.extra_index_url {
        options.extra.push(Location::parse(text, place)?);
    }
    for text in &uv.find_links {
        options.links.push(Links::parse(text, folder, place)?);
    }
    match uv.pip {
        Some(pip) => Ok(options.then(uv_options(*pip, folder, place, machine)?)),
        None => Ok(options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexes(variables: &[(&str, &str)], files: &[(&str, &str)]) -> Result<Indexes> {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (name, text) in files {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let at = |value: &str| value.replace("ROOT", root.to_str().unwrap());
        let mut variables: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| (name.to_string(), at(value))).collect();
        variables.entry("HOME".into()).or_insert_with(|| at("ROOT/home"));
        Indexes::of(&Machine { variables, root: root.into() }, &root.join("project"))
    }

    fn urls(indexes: &Indexes) -> (Option<&str>, Vec<&str>) {
        let options = &indexes.options;
        (options.index.as_ref().map(|i| i.url.as_str()), options.extra.iter().map(|i| i.url.as_str()).collect())
    }

    #[test]
    fn the_first_source_that_names_an_index_decides() {
        let sources: [(&[(&str, &str)], &[(&str, &str)]); 12] = [
            (&[("UV_DEFAULT_INDEX", "x=https://0.example/")], &[]),
            (&[("UV_INDEX_URL", "https://1.example/")], &[]),
            (&[("PIP_INDEX_URL", "https://2.example/")], &[]),
            (&[("PIP_CONFIG_FILE", "ROOT/mine.conf")], &[("mine.conf", "[global]\nindex-url=https://3.example/")]),
            (&[("VIRTUAL_ENV", "ROOT/venv")], &[("venv/pip.conf", "[install]\nindex_url: https://4.example/")]),
            (&[], &[("home/.config/pip/pip.conf", "[global]\nindex-url = https://5.example/")]),
            (&[], &[("home/.pip/pip.conf", "[global]\nindex-url = https://6.example/")]),
            (&[], &[("etc/pip.conf", "[global]\nindex-url = https://7.example/")]),
            (&[], &[("project/uv.toml", "index-url = 'https://8.example/'")]),
            (&[], &[("project/pyproject.toml", "[[tool.uv.index]]\nurl = 'https://9.example/'\ndefault = true")]),
            (&[], &[("home/.config/uv/uv.toml", "[pip]\nindex-url = 'https://10.example/'")]),
            (&[], &[("etc/uv/uv.toml", "[[index]]\nname='a'\nurl = 'https://11.example/'\ndefault = true")]),
        ];
        for first in 0..sources.len() {
            let variables: Vec<_> =
                sources[first..].iter().flat_map(|(variables, _)| variables.iter().copied()).collect();
            let files: Vec<_> = sources[first..].iter().flat_map(|(_, files)| files.iter().copied()).collect();
            let found = indexes(&variables, &files).unwrap();
            assert_eq!(urls(&found).0, Some(format!("https://{first}.example/").as_str()));
        }
    }

    #[test]
    fn extras_and_folders_of_all_sources_are_used() {
        let found = indexes(
            &[
                ("UV_INDEX", "a=https://a.example/ https://b.example/"),
                ("PIP_EXTRA_INDEX_URL", "https://b.example/ https://c.example/"),
                ("PIP_FIND_LINKS", "wheels /opt/wheels"),
                ("UV_FIND_LINKS", "file:///opt/more,https://links.example/x.html"),
                ("UV_INDEX_A_USERNAME", "me"),
                ("UV_INDEX_A_PASSWORD", "canary"),
            ],
            &[
                ("etc/pip.conf", "[global]\n# x\nextra-index-url =\n    https://d.example/\n    https://u:canary@e.example/\nno-index = false\n[list]\nformat = x"),
                ("project/uv.toml", "find-links = ['local']\n[[index]]\nname = 'torch'\nurl = 'https://f.example/'\nexplicit = true"),
            ],
        )
        .unwrap();
        let (index, extra) = urls(&found);
        assert_eq!(index, None);
        let hosts: Vec<_> = extra.iter().map(|url| &url[8..9]).collect();
        assert_eq!(hosts, ["a", "b", "c", "d", "e", "f"]);
        assert_eq!(found.options.extra[0].login.as_ref().unwrap().username, "me");
        assert_eq!(found.options.links.len(), 5);
        assert!(!found.options.no_index);
        assert!(!format!("{found:?}").contains("canary"));
    }

    #[test]
    fn no_index_no_config_and_netrc() {
        let found =
            indexes(&[("PIP_NO_INDEX", "1"), ("NETRC", "ROOT/rc")], &[("rc", "machine i.example login u password p")]);
        let found = found.unwrap();
        assert!(found.locations().unwrap().is_empty());
        let url = url::Url::parse("https://i.example/simple/").unwrap();
        assert_eq!(found.credentials(&url).unwrap().password, "p");
        assert_eq!(found.credentials(&url::Url::parse("https://j.example/").unwrap()), None);
        let files =
            [("etc/pip.conf", "[global]\nindex-url = https://a.example"), ("project/uv.toml", "no-index = true")];
        let off = indexes(&[("PIP_CONFIG_FILE", "/dev/null"), ("UV_NO_CONFIG", "1")], &files).unwrap();
        assert_eq!((urls(&off), off.options.no_index), ((None, vec![]), false));
    }

    #[test]
    fn a_bad_configuration_is_named_and_not_repeated() {
        for (variables, files, expected) in [
            (&[("PIP_INDEX_URL", "canary")][..], &[][..], "PIP_INDEX_URL: an index is not a URL"),
            (
                &[],
                &[("etc/pip.conf", "[global]\nindex-url = ssh://canary@x/")],
                "etc/pip.conf`: an index has the scheme `ssh`",
            ),
            (&[], &[("project/uv.toml", "index-url = 3")], "uv.toml`: it is not what uv would read: invalid type"),
        ] {
            let error = indexes(variables, files).unwrap_err();
            assert!(error.to_string().contains(expected) && !error.to_string().contains("canary"), "{error}");
            assert_eq!(error.class().code(), 2);
        }
    }

    /// The machine that runs the tests has pip, which knows its default; which one is none of our business.
    #[test]
    fn the_default_is_asked_of_the_tool() {
        let index = default_index(&["python3"], "no-such-uv").expect("apt-get install python3-pip");
        assert!(index.url.as_str().starts_with("https://"), "{}", index.url);
        let error = default_index(&["no-such-python"], "no-such-uv").unwrap_err();
        assert!(matches!(error, Error::NoIndex), "{error}");
        assert!(crate::error::Error::from(error).hint().is_some_and(|hint| hint.contains("PIP_INDEX_URL")));
    }
}
