//! Credentials as podman and docker keep them: containers-auth.json(5) and docker's config.json.
//!
//! Files are asked in podman's order; the first one with something to say about the repository wins. In a file the
//! longest key wins (`host/team/app`, `host/team`, `host`); for one key, its helper goes before what is written
//! inline, and both before the file's general `credsStore`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Error, Result, helper};
use crate::fs;
use crate::net::Credentials;
use crate::oci::Reference;

/// The largest credentials file that is read, in bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// What docker calls its hub in credentials files.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// What proves who we are.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// A user name and a password.
    Basic(Credentials),
    /// A refresh token for the token server.
    Identity(String),
    /// A token for the registry itself.
    Registry(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Secret::Basic(_) => "Basic(redacted)",
            Secret::Identity(_) => "Identity(redacted)",
            Secret::Registry(_) => "Registry(redacted)",
        })
    }
}

/// Where credentials are looked for, in order.
#[derive(Clone, Debug)]
pub struct AuthFiles {
    files: Vec<PathBuf>,
    /// A file that somebody named must be there.
    named: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct File {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl AuthFiles {
    /// One named file, and no other.
    pub fn only(path: &Path) -> Self {
        AuthFiles { files: vec![path.to_path_buf()], named: true }
    }

    /// `REGISTRY_AUTH_FILE`, or else the places where podman and docker put them.
    #[allow(clippy::disallowed_methods, reason = "configuration")]
    pub fn from_environment() -> Self {
        let uid = rustix::process::getuid().as_raw();
        AuthFiles::from_variables(
            &|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from),
            uid,
        )
    }

    fn from_variables(variable: &dyn Fn(&str) -> Option<PathBuf>, uid: u32) -> Self {
        if let Some(path) = variable("REGISTRY_AUTH_FILE") {
            return AuthFiles { files: vec![path], named: true };
        }
        let home = variable("HOME");
        let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let runtime = match variable("XDG_RUNTIME_DIR") {
            Some(folder) => folder.join("containers/auth.json"),
            None => PathBuf::from(format!("/run/containers/{uid}/auth.json")),
        };
        let config = variable("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
        let docker = variable("DOCKER_CONFIG").or_else(|| below_home(".docker"));
        let files = [
            Some(runtime),
            config.map(|folder| folder.join("containers/auth.json")),
            docker.map(|folder| folder.join("config.json")),
        ];
        AuthFiles { files: files.into_iter().flatten().collect(), named: false }
    }

    /// The credentials for a repository, if there are any.
    pub fn find(&self, at: &Reference) -> Result<Option<Secret>> {
        for path in &self.files {
            if !self.named && is_closed(path) {
                continue;
            }
            let bytes = match (fs::read_optional(path, FILE_LIMIT)?, self.named) {
                (Some(bytes), _) => bytes,
                (None, false) => continue,
                (None, true) => {
                    return Err(Error::AuthFile { path: path.clone(), reason: "there is no such file".into() });
                }
            };
            if let Some(secret) = find_in(path, &bytes, at)? {
                return Ok(Some(secret));
            }
        }
        Ok(None)
    }
}

/// Whether a folder on the way to the file is closed to this user: root's podman leaves `/run/containers` like that,
/// and what is behind it is nobody's. A file that is there and cannot be read is an error.
fn is_closed(path: &Path) -> bool {
    matches!(fs::symlink_metadata(path), Err(fs::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied)
}

fn find_in(path: &Path, bytes: &[u8], at: &Reference) -> Result<Option<Secret>> {
    // The position is enough: serde's messages may quote a password.
    let file: File = serde_json::from_slice(bytes).map_err(|error| Error::AuthFile {
        path: path.to_path_buf(),
        reason: format!("malformed JSON at line {} column {}", error.line(), error.column()),
    })?;
    let keys = candidates(at);
    for key in &keys {
        let same = |name: &String| normalized(name) == *key;
        if let Some((server, program)) = file.cred_helpers.iter().find(|(name, _)| same(name)) {
            return helper::ask(program, server);
        }
        // The exact key before its aliases.
        let entry = file.auths.get(key).or_else(|| file.auths.iter().find(|(name, _)| same(name)).map(|(_, e)| e));
        if let Some(secret) = entry.map(|entry| inline(path, key, entry)).transpose()?.flatten() {
            return Ok(Some(secret));
        }
    }
    match &file.creds_store {
        Some(program) if !program.is_empty() => {
            helper::ask(program, if at.registry() == "docker.io" { HUB_KEY } else { at.registry() })
        }
        _ => Ok(None),
    }
}

/// `host/a/b`, `host/a`, `host`.
fn candidates(at: &Reference) -> Vec<String> {
    let mut key = at.name();
    let mut keys = vec![key.clone()];
    while let Some((parent, _)) = key.rsplit_once('/') {
        key = parent.to_string();
        keys.push(key.clone());
    }
    keys
}

/// A key without scheme, API version and trailing slash, and Docker Hub under its one name.
fn normalized(key: &str) -> String {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let bare = bare.trim_end_matches('/');
    let bare = bare.strip_suffix("/v1").or_else(|| bare.strip_suffix("/v2")).unwrap_or(bare);
    let (host, path) = bare.split_once('/').map_or((bare, None), |(host, path)| (host, Some(path)));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => "docker.io",
        other => other,
    };
    path.map_or(host.to_string(), |path| format!("{host}/{path}"))
}

fn inline(path: &Path, key: &str, entry: &Entry) -> Result<Option<Secret>> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(token) = given(&entry.registrytoken) {
        return Ok(Some(Secret::Registry(token)));
    }
    if let Some(token) = given(&entry.identitytoken) {
        return Ok(Some(Secret::Identity(token)));
    }
    if let Some(encoded) = given(&entry.auth) {
        let pair = STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = pair.as_deref().and_then(|pair| pair.split_once(':'));
        let (username, password) = pair.ok_or_else(|| Error::AuthFile {
            path: path.to_path_buf(),
            reason: format!("`auth` of `{key}` is not base64 of `user:password`"),
        })?;
        let password = password.trim_end_matches('\0');
        return Ok(Some(Secret::Basic(Credentials { username: username.into(), password: password.into() })));
    }
    Ok(match (given(&entry.username), given(&entry.password)) {
        (Some(username), Some(password)) => Some(Secret::Basic(Credentials { username, password })),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Class, Explain};

    fn basic(username: &str, password: &str) -> Option<Secret> {
        Some(Secret::Basic(Credentials { username: username.into(), password: password.into() }))
    }

    fn find(json: &str, at: &str) -> Result<Option<Secret>> {
        find_in(Path::new("auth.json"), json.as_bytes(), &at.parse().unwrap())
    }

    #[test]
    fn the_longest_key_wins_and_the_hub_has_many_names() {
        let file = |key: &str| format!(r#"{{"auths":{{"{key}":{{"auth":"dTpw"}}}}}}"#);
        for (key, at, found) in [
            ("q.example", "q.example/a/b:1", true),
            ("q.example/a", "q.example/a/b:1", true),
            ("q.example/a/b", "q.example/a/b:1", true),
            ("q.example/a/b", "q.example/a/bc:1", false),
            ("q.example/a", "q.example/ab", false),
            ("q.example:5000", "q.example/a", false),
            ("https://q.example/v1/", "q.example/a", true),
            ("https://q.example", "q.example/a", true),
            ("https://index.docker.io/v1/", "ubuntu", true),
            ("index.docker.io", "ubuntu", true),
            ("docker.io", "ubuntu", true),
            ("docker.io/library", "ubuntu", true),
            ("https://index.docker.io/v1/", "q.example/a", false),
            ("evil-docker.io", "ubuntu", false),
        ] {
            assert_eq!(find(&file(key), at).unwrap().is_some(), found, "{key} {at}");
        }
        let both = r#"{"auths":{"q.example":{"auth":"dTpw"},"q.example/team":{"auth":"djp4"}}}"#;
        assert_eq!(find(both, "q.example/team/app").unwrap(), basic("v", "x"));
        assert_eq!(find(both, "q.example/other").unwrap(), basic("u", "p"));
    }

    #[test]
    fn entries_come_in_many_forms() {
        let entry = |entry: &str| find(&format!(r#"{{"auths":{{"q.example":{entry}}}}}"#), "q.example/a");
        assert_eq!(entry(r#"{"username":"u","password":"p:q"}"#).unwrap(), basic("u", "p:q"));
        assert_eq!(entry(r#"{"auth":"dTpwOnE="}"#).unwrap(), basic("u", "p:q"));
        assert_eq!(entry(r#"{"auth":"dTpw","identitytoken":"t"}"#).unwrap(), Some(Secret::Identity("t".into())));
        assert_eq!(entry(r#"{"registrytoken":"r"}"#).unwrap(), Some(Secret::Registry("r".into())));
        assert_eq!(entry("{}").unwrap(), None);
        assert_eq!(entry(r#"{"auth":""}"#).unwrap(), None);
        for (bad, reason) in [(r#"{"auth":"%%"}"#, "not base64"), (r#"{"auth":"dQ=="}"#, "not base64")] {
            let error = entry(bad).unwrap_err();
            assert!(error.to_string().contains(reason) && error.class() == Class::Usage, "{error}");
            assert!(error.hint().is_some());
        }
        let error = entry(r#"{"auth":["canary"]}"#).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }

    #[test]
    fn files_are_asked_in_podmans_order() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_path_buf();
        let variables = |names: &'static [&'static str]| {
            let root = root.clone();
            move |name: &str| names.contains(&name).then(|| root.join(name))
        };
        let expected: Vec<PathBuf> = [
            "XDG_RUNTIME_DIR/containers/auth.json",
            "XDG_CONFIG_HOME/containers/auth.json",
            "DOCKER_CONFIG/config.json",
        ]
        .iter()
        .map(|path| root.join(path))
        .collect();
        let files =
            AuthFiles::from_variables(&variables(&["XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "HOME"]), 7);
        assert_eq!(files.files, expected);
        let files = AuthFiles::from_variables(&variables(&["HOME"]), 7);
        let home = |path: &str| root.join("HOME").join(path);
        let expected = [
            PathBuf::from("/run/containers/7/auth.json"),
            home(".config/containers/auth.json"),
            home(".docker/config.json"),
        ];
        assert_eq!(files.files, expected);
        assert_eq!(AuthFiles::from_variables(&|_| None, 7).files.len(), 1);
        // The first file that knows the registry wins; one that does not is passed over.
        let files = AuthFiles::from_variables(&variables(&["XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"]), 7);
        for (path, text) in files.files.iter().zip([
            r#"{"auths":{"other.example":{"auth":"dTpw"}}}"#,
            r#"{"auths":{"q.example":{"auth":"djp4"}}}"#,
            r#"{"auths":{"q.example":{"auth":"dTpw"}}}"#,
        ]) {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        assert_eq!(files.find(&"q.example/a".parse().unwrap()).unwrap(), basic("v", "x"));
        assert_eq!(files.find(&"none.example/a".parse().unwrap()).unwrap(), None);
    }

    #[test]
    fn a_named_file_stands_alone_and_must_be_there() {
        let error = AuthFiles::only(Path::new("/nonexistent/auth.json")).find(&"ubuntu".parse().unwrap()).unwrap_err();
        assert!(matches!(error, Error::AuthFile { .. }), "{error}");
        let files = AuthFiles::from_variables(&|name| Some(PathBuf::from(name)), 7);
        assert_eq!((files.files, files.named), (vec![PathBuf::from("REGISTRY_AUTH_FILE")], true));
        let folder = AuthFiles::only(Path::new("/proc")).find(&"ubuntu".parse().unwrap()).unwrap_err();
        assert!(matches!(folder, Error::File(_)) && folder.class() == Class::Storage);
    }

    #[test]
    fn secrets_do_not_show() {
        for secret in
            [basic("u", "canary").unwrap(), Secret::Identity("canary".into()), Secret::Registry("canary".into())]
        {
            assert!(!format!("{secret:?}").contains("canary"));
        }
    }
}
