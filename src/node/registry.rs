//! Registries: which one has a package, where its tarball is, and who logs in there.

use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::percent_decode_str;
use url::Url;

use super::place::scope;
use crate::net::Credentials;

/// What logs in at a registry. Its Debug shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The value of the `Authorization` header.
    pub header: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(redacted)")
    }
}

/// What becomes of a `resolved` in a lock (npm's `replace-registry-host`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Replace {
    /// One of npm's own default registry is looked for in the configured one: the default.
    #[default]
    Default,
    /// It is used as it is.
    Never,
    /// It is looked for in the configured registry.
    Always,
    /// One of this host is looked for in the configured registry.
    Host(String),
    /// One below this URL is looked for in the configured registry.
    Below(Url),
}

/// The URL of a registry, ending in a slash.
pub fn parse(text: &str) -> Result<Url, String> {
    let text = text.trim();
    // Url would drop them, and with them the border between two settings.
    if text.contains(|letter: char| letter.is_control() || letter == ' ') {
        return Err("a registry has blanks or control characters in its URL".into());
    }
    let mut url = Url::parse(text).map_err(|error| format!("a registry is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(format!("a registry has the scheme `{}`, expected https", url.scheme()));
    }
    url.set_query(None);
    url.set_fragment(None);
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// A user and a password in the URL become a login for what is below it.
pub fn log_in(mut url: Url, logins: &mut BTreeMap<String, Login>) -> Url {
    if url.username().is_empty() && url.password().is_none() {
        return url;
    }
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (username, password) = (decode(url.username()), decode(url.password().unwrap_or_default()));
    // Both fail only for URLs that cannot have them, which then have none.
    let _ = (url.set_username(""), url.set_password(None));
    if let Some(authority) = authority(&url) {
        let header = Credentials { username, password }.basic();
        logins.entry(format!("//{authority}{}", url.path())).or_insert(Login { header });
    }
    url
}

/// The registry of a package: its scope's, if that has one of its own.
pub fn of_package<'a>(name: &str, scopes: &'a BTreeMap<String, Url>) -> Option<&'a Url> {
    scopes.get(scope(name)?)
}

/// Where every registry has a tarball, if its lock does not say so.
pub fn tarball(registry: &Url, name: &str, version: &str) -> Url {
    let own = name.rsplit('/').next().unwrap_or(name);
    let mut url = registry.clone();
    url.set_path(&format!("{}{name}/-/{own}-{version}.tgz", registry.path()));
    url
}

/// The document of a package.
pub fn document(registry: &Url, name: &str) -> Url {
    let mut url = registry.clone();
    url.set_path(&format!("{}{}", registry.path(), name.replace('/', "%2f")));
    url
}

impl Replace {
    /// From the setting.
    pub fn parse(text: &str) -> Replace {
        match text.trim() {
            "" | "npmjs" => Replace::Default,
            "never" => Replace::Never,
            "always" => Replace::Always,
            other => match Url::parse(other).ok().filter(|url| url.host().is_some()) {
                Some(url) => Replace::Below(url),
                None => Replace::Host(other.to_ascii_lowercase()),
            },
        }
    }

    /// `resolved`, or its place in the configured registry. `default` is the host of npm's own registry, which is only
    /// asked for if that matters.
    pub fn apply(&self, resolved: &Url, registry: &Url, default: impl FnOnce() -> Option<String>) -> Url {
        let host = resolved.host_str().unwrap_or_default();
        let matches = match self {
            Replace::Never => false,
            Replace::Always => true,
            Replace::Host(own) => own == host,
            Replace::Below(url) => url.host() == resolved.host() && below(resolved.path(), url.path()),
            Replace::Default => resolved.host() != registry.host() && default().as_deref() == Some(host),
        };
        if !matches {
            return resolved.clone();
        }
        let prefix = registry.path().trim_end_matches('/');
        let mut url = registry.clone();
        let path = match self {
            Replace::Below(old) => {
                let old = old.path().trim_end_matches('/');
                format!("{prefix}{}", resolved.path().get(old.len()..).unwrap_or_default())
            }
            _ if below(resolved.path(), prefix) => resolved.path().to_string(),
            _ => format!("{prefix}{}", resolved.path()),
        };
        url.set_path(&path);
        url
    }
}

fn below(path: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What logs in at `url`: the longest `//host/path` that leads to it. Over plain HTTP only where a registry is configured
/// to be reached like that.
pub fn login<'a>(url: &Url, logins: &'a BTreeMap<String, Login>, registries: &[&Url]) -> Option<&'a Login> {
    let authority = authority(url)?;
    let plain =
        |registry: &&&Url| registry.scheme() == "http" && self::authority(registry).as_ref() == Some(&authority);
    if url.scheme() != "https" && !registries.iter().any(|registry| plain(&registry)) {
        return None;
    }
    let mut key = format!("//{authority}{}", url.path());
    // npm takes away what is behind a slash, then the slash.
    while key.len() > "//".len() {
        if let Some(login) = logins.get(&key) {
            return Some(login);
        }
        match key.strip_suffix('/') {
            Some(shorter) => key = shorter.to_string(),
            None => key.truncate(key.rfind('/').map_or(0, |at| at + 1)),
        }
    }
    None
}

/// `host` or `host:port`.
fn authority(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn tarballs_are_where_registries_have_them() {
        let registry = parse("https://registry.example/npm").unwrap();
        assert_eq!(registry.as_str(), "https://registry.example/npm/");
        assert_eq!(tarball(&registry, "a", "1.0.0").as_str(), "https://registry.example/npm/a/-/a-1.0.0.tgz");
        assert_eq!(tarball(&registry, "@s/b", "1.0.0+x").as_str(), "https://registry.example/npm/@s/b/-/b-1.0.0+x.tgz");
        assert_eq!(document(&registry, "@s/b").as_str(), "https://registry.example/npm/@s%2fb");
        for bad in ["ftp://x.example/", "registry.example", "file:///x", ""] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_resolved_of_the_default_registry_is_looked_for_in_the_configured_one() {
        let old = url("https://default.example/a/-/a-1.tgz");
        let to = |rule: &str, old: &Url, registry: &str| {
            let rule = Replace::parse(rule);
            rule.apply(old, &parse(registry).unwrap(), || Some("default.example".into())).to_string()
        };
        let mirror = "http://mirror.example:8081/npm/";
        let there = "http://mirror.example:8081/npm/a/-/a-1.tgz";
        assert_eq!(to("npmjs", &old, mirror), there);
        assert_eq!(to("always", &old, mirror), there);
        assert_eq!(to("default.example", &old, mirror), there);
        assert_eq!(to("https://default.example/", &old, mirror), there);
        assert_eq!(to("never", &old, mirror), old.as_str());
        assert_eq!(to("other.example", &old, mirror), old.as_str());
        let other = url("https://other.example/x/a/-/a-1.tgz");
        assert_eq!(to("npmjs", &other, mirror), other.as_str());
        assert_eq!(to("https://other.example/x", &other, mirror), there);
        assert_eq!(to("https://other.example/xy", &other, mirror), other.as_str());
        let known = url("https://default.example/npm/a/-/a-1.tgz");
        assert_eq!(to("npmjs", &known, mirror), there, "the registry's own path is not put before it twice");
    }

    #[test]
    fn logins_belong_to_an_origin_and_a_path() {
        let login_of = |text: &str| Login { header: text.into() };
        let logins: BTreeMap<String, Login> = [
            ("//a.example/", "root"),
            ("//a.example/npm/private/", "deep"),
            ("//b.example:8443/npm", "port"),
            ("//plain.example/", "plain"),
        ]
        .map(|(key, value)| (key.to_string(), login_of(value)))
        .into();
        let (plain, secure) = (url("http://plain.example/"), url("https://a.example/"));
        let of = |text: &str| {
            login(&url(text), &logins, &[&plain, &secure]).map(|login| login.header.clone()).unwrap_or_default()
        };
        assert_eq!(of("https://a.example/x/-/x-1.tgz"), "root");
        assert_eq!(of("https://a.example/npm/private/x/-/x-1.tgz"), "deep");
        assert_eq!(of("https://a.example/npm/privateer/x"), "root");
        assert_eq!(of("https://b.example:8443/npm/x"), "port");
        assert_eq!(of("http://plain.example/x"), "plain");
        for none in [
            "https://b.example/npm/x",
            "https://b.example:8443/other",
            "https://b.example:8443/npmx",
            "http://a.example/x",
            "https://a.example.evil.example/x",
            "https://sub.a.example/x",
        ] {
            assert_eq!(of(none), "", "{none}");
        }
        assert!(!format!("{logins:?}").contains("root"));
    }
}
