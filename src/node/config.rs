//! Which registries this machine uses: what npm is configured for, and at last npm's own default.
//!
//! No registry is written into Ingot. As with npm, the environment beats the project's `.npmrc`, that the user's, and that
//! the global one. What npm has besides (`cafile`, proxies, client certificates) is not read: TLS trusts the system's
//! roots, proxies come from the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use super::npmrc::{self, Setting};
use super::registry::{self, Login, Replace};
use super::{Error, document};
use crate::error::Result;
use crate::net::Credentials;
use crate::python::Machine;
use crate::{fs, process};

/// The largest .npmrc, in bytes.
const CONFIGURATION_LIMIT: u64 = 1 << 20;
/// What old versions of npm took for a login at whatever registry was configured; new ones refuse it.
const OF_NO_REGISTRY: [&str; 3] = ["_auth", "_authToken", "_password"];
/// How long npm may think about its default.
const TOOL_TIMEOUT: Duration = Duration::from_secs(30);

/// The registries of this machine, and what logs in there.
#[derive(Clone, Debug, Default)]
pub struct Registries {
    /// The one that is configured for all packages.
    pub registry: Option<Url>,
    /// Those that are configured for scopes: `@scope`.
    pub scopes: BTreeMap<String, Url>,
    /// What becomes of places that a lock names.
    pub replace: Replace,
    /// By `//host/path`.
    pub logins: BTreeMap<String, Login>,
    /// What is to be known of settings that are not used.
    pub warnings: Vec<String>,
    pub(super) asked: Arc<Asked>,
}

/// What npm said of itself, asked at most once.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The name of npm; another one in tests.
    npm: Option<String>,
    folder: PathBuf,
    configured: OnceLock<Option<Url>>,
    default: OnceLock<Option<String>>,
}

impl Registries {
    /// Of this machine, for a lock in `folder`.
    pub fn of_this_machine(folder: &Path) -> Result<Registries> {
        Registries::of(&Machine::this(), folder, "npm")
    }

    /// Of a machine whose npm has this name.
    pub fn of(machine: &Machine, folder: &Path, npm: &str) -> Result<Registries> {
        let settings = settings(machine, folder)?;
        let mut found = Registries {
            asked: Arc::new(Asked { npm: Some(npm.into()), folder: folder.into(), ..Asked::default() }),
            ..Registries::default()
        };
        for (key, setting) in &settings {
            let url = || {
                if let Some(variable) = &setting.unset {
                    return Err(configuration(setting, format!("the variable `{variable}` is not set")));
                }
                registry::parse(&setting.value).map_err(|reason| configuration(setting, reason))
            };
            match key.as_str() {
                "registry" => found.registry = Some(url()?),
                "replace-registry-host" => found.replace = Replace::parse(&setting.value),
                scoped if scoped.starts_with('@') && scoped.ends_with(":registry") => {
                    found.scopes.insert(scoped.trim_end_matches(":registry").to_string(), url()?);
                }
                _ => {}
            }
        }
        found.log_in(&settings);
        let logins = &mut found.logins;
        found.registry = found.registry.map(|url| registry::log_in(url, logins));
        found.scopes = found.scopes.into_iter().map(|(scope, url)| (scope, registry::log_in(url, logins))).collect();
        Ok(found)
    }

    fn log_in(&mut self, settings: &BTreeMap<String, Setting>) {
        for (key, setting) in settings.iter().filter(|(key, _)| OF_NO_REGISTRY.contains(&key.as_str())) {
            let told = format!("{}: `{key}` names no registry: nothing logs in with it", setting.place);
            self.warnings.push(format!("{told} (`npm config fix` mends it)"));
        }
        let places = settings.keys().filter_map(|key| key.starts_with("//").then(|| key.rsplit_once(':')).flatten());
        for (place, what) in places {
            if !["_authToken", "_auth", "username"].contains(&what) {
                continue;
            }
            let get = |what: &str| settings.get(&format!("{place}:{what}"));
            let used = [get("_authToken"), get("_auth"), get("username"), get("_password")];
            if let Some((variable, setting)) =
                used.iter().flatten().find_map(|setting| Some((setting.unset.as_ref()?, setting)))
            {
                let told = format!("{}: `{variable}` is not set: nothing logs in at {place}", setting.place);
                if !self.warnings.contains(&told) {
                    self.warnings.push(told);
                }
                continue;
            }
            let value = |what: &str| get(what).map(|setting| setting.value.trim().to_string());
            let header = match (value("_authToken"), value("_auth"), value("username"), value("_password")) {
                (Some(token), ..) => format!("Bearer {token}"),
                (_, Some(pair), ..) => format!("Basic {pair}"),
                (_, _, Some(username), Some(password)) => {
                    let password = STANDARD.decode(password).unwrap_or_default();
                    let password = String::from_utf8_lossy(&password).into_owned();
                    Credentials { username, password }.basic()
                }
                _ => continue,
            };
            self.logins.insert(place.to_string(), Login { header });
        }
    }

    /// The registry that has a package. Asks npm for its default if none is configured.
    pub fn of_package(&self, name: &str) -> Result<Url, Error> {
        match registry::of_package(name, &self.scopes) {
            Some(own) => Ok(own.clone()),
            None => self.for_all(),
        }
    }

    /// The registry of all packages whose scopes have none of their own. Asks npm for its default if none is configured.
    pub fn for_all(&self) -> Result<Url, Error> {
        if let Some(registry) = &self.registry {
            return Ok(registry.clone());
        }
        let asked = self.asked.configured.get_or_init(|| self.ask(&[]));
        asked.clone().ok_or(Error::NoRegistry)
    }

    /// Where the tarball of a package is: where the lock says, or in the registry in its stead.
    pub fn tarball(&self, name: &str, version: &str, resolved: Option<&Url>) -> Result<Url, Error> {
        let Some(resolved) = resolved else { return Ok(registry::tarball(&self.of_package(name)?, name, version)) };
        match self.for_all() {
            Ok(registry) => Ok(self.replace.apply(resolved, &registry, || self.default_host())),
            // Nobody has said anything, so nothing is in the stead of anything.
            Err(_) => Ok(resolved.clone()),
        }
    }

    /// What logs in at `url` to get something of this package. Where nothing is written for the place, the login of the
    /// package's registry will do, if the place is on the same server (npm-registry-fetch, `auth.js`; there, another scheme
    /// is the same server, too).
    pub fn login_for(&self, url: &Url, package: &str) -> Option<&Login> {
        let of_registry = || {
            let registry = self.of_package(package).ok().filter(|registry| registry.origin() == url.origin())?;
            self.login(&registry)
        };
        self.login(url).or_else(|| if self.logins.is_empty() { None } else { of_registry() })
    }

    /// What logs in at `url`.
    pub fn login(&self, url: &Url) -> Option<&Login> {
        let all: Vec<&Url> = self.registry.iter().chain(self.scopes.values()).collect();
        registry::login(url, &self.logins, &all)
    }

    /// The host of the registry that npm uses if nobody configures one.
    fn default_host(&self) -> Option<String> {
        let ask = || {
            self.ask(&["--userconfig=/nonexistent/user", "--globalconfig=/nonexistent/global"])?
                .host_str()
                .map(str::to_string)
        };
        self.asked.default.get_or_init(ask).clone()
    }

    /// `npm config get registry`; for its own default in a folder and an environment where nothing is configured.
    fn ask(&self, options: &[&str]) -> Option<Url> {
        let mut command = Command::new(self.asked.npm.as_ref()?);
        command.args(["config", "get", "registry"]).args(options);
        if options.is_empty() {
            command.current_dir(&self.asked.folder);
        } else {
            command.current_dir("/");
            let variables = Machine::this().variables;
            let set = variables.keys().filter(|name| name.to_ascii_lowercase().starts_with("npm_config_"));
            set.for_each(|name| {
                command.env_remove(name);
            });
        }
        let output = process::run(command, b"", TOOL_TIMEOUT).ok()?;
        let said = output.status.success().then(|| output.stdout_text())?;
        registry::parse(said.trim()).ok()
    }
}

fn configuration(setting: &Setting, reason: String) -> Error {
    Error::Configuration { place: setting.place.clone(), reason }
}

/// All settings, the strongest of each name.
fn settings(machine: &Machine, folder: &Path) -> Result<BTreeMap<String, Setting>> {
    let mut settings = environment(machine);
    let add = |settings: &mut BTreeMap<String, Setting>, path: Option<PathBuf>| -> Result<()> {
        let Some(path) = path else { return Ok(()) };
        for (key, setting) in file(&path, machine)? {
            settings.entry(key).or_insert(setting);
        }
        Ok(())
    };
    let home = machine.get("HOME").map(PathBuf::from);
    let named = |settings: &BTreeMap<String, Setting>, key: &str| {
        let value = settings.get(key).map(|setting| setting.value.as_str()).filter(|value| !value.is_empty())?;
        Some(match (value.strip_prefix("~/"), &home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(value),
        })
    };
    add(&mut settings, Some(folder.join(".npmrc")))?;
    let user = named(&settings, "userconfig").or_else(|| home.as_ref().map(|home| home.join(".npmrc")));
    add(&mut settings, user)?;
    let prefix = named(&settings, "prefix").or_else(|| machine.get("PREFIX").map(PathBuf::from));
    let prefix = prefix.or_else(|| Some(program(machine, "node")?.parent()?.parent()?.to_path_buf()));
    let global = named(&settings, "globalconfig").or_else(|| prefix.map(|prefix| prefix.join("etc/npmrc")));
    add(&mut settings, global)?;
    // Debian's npm has its global file here, whatever the prefix.
    add(&mut settings, Some(machine.root.join("etc/npmrc")))?;
    // What whoever packaged npm put beside it: npm/bin/npm-cli.js, npm/npmrc.
    let beside = program(machine, "npm").and_then(|npm| Some(npm.parent()?.parent()?.join("npmrc")));
    add(&mut settings, beside)?;
    Ok(settings)
}

/// `npm_config_NAME`, in any case.
fn environment(machine: &Machine) -> BTreeMap<String, Setting> {
    let mut settings = BTreeMap::new();
    for (name, value) in &machine.variables {
        let lower = name.to_ascii_lowercase();
        let Some(key) = lower.strip_prefix("npm_config_").filter(|_| !value.is_empty()) else { continue };
        let key = match name.get("npm_config_".len()..) {
            // What begins like the place of a login is kept as it is.
            Some(place) if place.starts_with("//") => place.to_string(),
            _ => {
                let (first, rest) = key.split_at(key.chars().next().map_or(0, char::len_utf8));
                format!("{first}{}", rest.replace('_', "-"))
            }
        };
        let (value, unset) = npmrc::expand(value, &machine.variables);
        settings.insert(key, Setting { value, place: document::shown(name), unset });
    }
    settings
}

/// The settings of a file. One that is not there, or is another user's, has none.
fn file(path: &Path, machine: &Machine) -> Result<BTreeMap<String, Setting>> {
    let bytes = match fs::read_optional(path, CONFIGURATION_LIMIT) {
        Err(fs::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => None,
        // `/dev/null` and folders in its stead.
        Err(fs::Error::Io { .. }) if !path.is_file() => None,
        other => other?,
    };
    let place = format!("`{}`", path.display());
    Ok(npmrc::parse(&String::from_utf8_lossy(&bytes.unwrap_or_default()), &place, &machine.variables))
}

/// Where a program really is.
fn program(machine: &Machine, name: &str) -> Option<PathBuf> {
    let folders = machine.get("PATH").unwrap_or_default().split(':').filter(|folder| folder.starts_with('/'));
    let found = folders.map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())?;
    Some(fs::canonical(&found))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
