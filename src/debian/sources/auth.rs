//! Who is who at an archive: apt's auth.conf (apt_auth.conf(5)), and names in URLs.

use url::Url;

use crate::net::Credentials;

/// The entries of auth.conf and auth.conf.d, in order. Its Debug shows no password.
#[derive(Clone, Debug, Default)]
pub(super) struct Auth {
    machines: Vec<(String, Credentials)>,
}

impl Auth {
    /// Adds a file: `machine [SCHEME://]HOST[:PORT][/PATH] login USER password PASSWORD`.
    pub(super) fn add(&mut self, text: &str) {
        let mut words = text.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(str::split_whitespace);
        while let Some(word) = words.next() {
            let value = words.next().unwrap_or_default().to_string();
            match (word, self.machines.last_mut()) {
                ("machine", _) => {
                    let nobody = Credentials { username: String::new(), password: String::new() };
                    self.machines.push((value, nobody));
                }
                ("login", Some((_, credentials))) => credentials.username = value,
                ("password", Some((_, credentials))) => credentials.password = value,
                _ => {}
            }
        }
    }

    /// Those of an archive: the ones in its URL, else those of the first entry that fits. An entry without a scheme
    /// is for https alone.
    pub(super) fn of(&self, archive: &Url) -> Option<Credentials> {
        in_url(archive).or_else(|| {
            let fits = |(machine, _): &&(String, Credentials)| matches(machine, archive);
            self.machines.iter().find(fits).map(|(_, credentials)| credentials.clone())
        })
    }
}

/// Those that stand in a URL itself.
pub(super) fn in_url(url: &Url) -> Option<Credentials> {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    (!url.username().is_empty())
        .then(|| Credentials { username: decode(url.username()), password: decode(url.password().unwrap_or_default()) })
}

fn matches(machine: &str, archive: &Url) -> bool {
    let (scheme, place) = machine.split_once("://").unwrap_or(("https", machine));
    let (authority, path) = match place.split_once('/') {
        Some((authority, path)) => (authority, format!("/{path}")),
        None => (place, String::new()),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().ok()),
        _ => (authority, None),
    };
    archive.scheme() == scheme
        && archive.host_str().is_some_and(|known| known.eq_ignore_ascii_case(host))
        && port.is_none_or(|port| archive.port_or_known_default() == Some(port))
        && archive.path().starts_with(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_belong_to_scheme_host_port_and_path() {
        let mut auth = Auth::default();
        auth.add("# machine x\nmachine a.example login u password canary\n");
        auth.add("machine http://b.example:8080/deb/ login v\n password canary2 machine");
        let user = |url: &str| auth.of(&Url::parse(url).unwrap()).map(|found| found.username);
        assert_eq!(user("https://A.example/x/").as_deref(), Some("u"));
        assert_eq!(user("http://a.example/x/"), None);
        assert_eq!(user("https://a.example.evil/x/"), None);
        assert_eq!(user("http://b.example:8080/deb/x/").as_deref(), Some("v"));
        assert_eq!(user("http://b.example:8080/"), None);
        assert_eq!(user("http://b.example/deb/"), None);
        assert_eq!(user("http://w%40x:y@a.example/").as_deref(), Some("w@x"));
        assert!(!format!("{auth:?}").contains("canary"));
    }
}
