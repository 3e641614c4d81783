//! netrc files: which user and password belong to which host.

use crate::net::Credentials;

/// The entries of a netrc file, in order. Its Debug shows no password.
#[derive(Clone, Debug, Default)]
pub struct Netrc {
    machines: Vec<(Option<String>, Credentials)>,
}

impl Netrc {
    /// Parses `machine HOST login USER password PASSWORD` and `default ...`; what else there is, is skipped.
    pub fn parse(text: &str) -> Self {
        let words = words(text);
        let mut words = words.iter();
        let mut machines: Vec<(Option<String>, Credentials)> = Vec::new();
        let empty = || Credentials { username: String::new(), password: String::new() };
        while let Some(word) = words.next() {
            match word.as_str() {
                "machine" => machines.push((Some(words.next().cloned().unwrap_or_default()), empty())),
                "default" => machines.push((None, empty())),
                "login" | "user" | "password" | "account" => {
                    let value = words.next().cloned().unwrap_or_default();
                    match (word.as_str(), machines.last_mut()) {
                        ("login" | "user", Some((_, credentials))) => credentials.username = value,
                        ("password", Some((_, credentials))) => credentials.password = value,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        Netrc { machines }
    }

    /// Those of a host: its own entry, or the default.
    pub fn get(&self, host: &str) -> Option<&Credentials> {
        let own = self.machines.iter().find(|(machine, _)| machine.as_deref() == Some(host));
        let found = own.or_else(|| self.machines.iter().find(|(machine, _)| machine.is_none()));
        found.map(|(_, credentials)| credentials)
    }
}

/// Words, with quotes; comments and macros are left out.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        if line.starts_with("macdef") {
            // A macro ends with an empty line.
            lines.by_ref().take_while(|line| !line.trim().is_empty()).for_each(drop);
            continue;
        }
        let mut rest = line;
        while !rest.is_empty() {
            let (word, after) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
                None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
            };
            words.push(word.to_string());
            rest = after.trim_start();
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_the_default() {
        let text = "# x\nmachine a.example login u\n  password \"p w\"\nmacdef init\nmachine evil\n\n\
                    machine b.example user v account x password q default login d password e";
        let netrc = Netrc::parse(text);
        let of = |host: &str| netrc.get(host).map(|c| (c.username.as_str(), c.password.as_str()));
        assert_eq!(of("a.example"), Some(("u", "p w")));
        assert_eq!(of("b.example"), Some(("v", "q")));
        assert_eq!(of("sub.a.example"), Some(("d", "e")));
        assert_eq!(Netrc::parse("machine a.example login u").get("b.example"), None);
        assert!(!format!("{netrc:?}").contains("p w"));
        Netrc::parse("login password machine");
    }
}
