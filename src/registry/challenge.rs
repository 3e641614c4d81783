//! `WWW-Authenticate` (RFC 9110 section 11.6.1): one or more challenges in one or more headers.

use std::collections::BTreeMap;

/// The longest header that is looked at, in bytes.
const HEADER_LIMIT: usize = 16 << 10;

/// What a registry wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user name and a password with each request.
    Basic,
    /// A token from `realm`.
    Bearer {
        /// Where tokens are given.
        realm: String,
        /// For whom.
        service: Option<String>,
    },
}

/// The best challenge of all headers: Bearer before Basic.
pub(super) fn choose(headers: &[&str]) -> Result<Challenge, &'static str> {
    let mut basic = false;
    for header in headers {
        if header.len() > HEADER_LIMIT {
            return Err("its WWW-Authenticate header is too long");
        }
        for (scheme, parameters) in parse(header)? {
            match scheme.as_str() {
                "bearer" => {
                    let realm = parameters.get("realm").filter(|realm| !realm.is_empty());
                    let realm = realm.ok_or("its Bearer challenge names no realm")?.clone();
                    return Ok(Challenge::Bearer { realm, service: parameters.get("service").cloned() });
                }
                "basic" => basic = true,
                _ => {}
            }
        }
    }
    match (basic, headers.is_empty()) {
        (true, _) => Ok(Challenge::Basic),
        (false, true) => Err("status 401 without a WWW-Authenticate header"),
        (false, false) => Err("it offers neither Bearer nor Basic"),
    }
}

type Parsed = Vec<(String, BTreeMap<String, String>)>;

/// All challenges of one header.
fn parse(header: &str) -> Result<Parsed, &'static str> {
    const MALFORMED: &str = "its WWW-Authenticate header is malformed";
    let mut challenges: Parsed = Vec::new();
    let mut rest = header.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (word, after) = token(rest).ok_or(MALFORMED)?;
        let spaced = after.trim_start_matches([' ', '\t']);
        if let Some(value) = spaced.strip_prefix('=').filter(|_| !challenges.is_empty()) {
            let (value, after) = parameter(value.trim_start_matches([' ', '\t'])).ok_or(MALFORMED)?;
            let (_, parameters) = challenges.last_mut().ok_or(MALFORMED)?;
            // Two realms could be read in two ways.
            if parameters.insert(word.to_ascii_lowercase(), value).is_some() {
                return Err("its WWW-Authenticate header names a parameter twice");
            }
            rest = after.trim_start_matches([' ', '\t']);
            rest = match rest.strip_prefix(',') {
                Some(next) => next.trim_start_matches([' ', '\t', ',']),
                None if rest.is_empty() => rest,
                None => return Err(MALFORMED),
            };
        } else {
            challenges.push((word.to_ascii_lowercase(), BTreeMap::new()));
            // `Negotiate dG9rZW4=` has a bare token instead of parameters.
            rest = match bare(spaced) {
                Some(after) => after,
                None => spaced.trim_start_matches([' ', '\t', ',']),
            };
        }
    }
    Ok(challenges)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn token(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !is_token(byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Skips a token68 that is followed by the end or a comma.
fn bare(text: &str) -> Option<&str> {
    let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
    let (word, after) = text.split_at(end);
    let core = word.trim_end_matches('=');
    let sound = !core.is_empty() && core.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b));
    let after = after.trim_start_matches([' ', '\t']);
    (sound && (after.is_empty() || after.starts_with(','))).then(|| after.trim_start_matches([' ', '\t', ',']))
}

/// A token or a quoted string.
fn parameter(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, after) = text.split_at(end);
        return (!value.is_empty() && !value.contains('"')).then(|| (value.to_string(), after));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, quoted.get(at + 1..).unwrap_or_default())),
            '\\' => value.push(characters.next()?.1),
            control if control.is_control() => return None,
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Result<Challenge, &'static str> {
        Ok(Challenge::Bearer { realm: realm.into(), service: service.map(str::to_string) })
    }

    #[test]
    fn challenges_as_registries_send_them() {
        let hub =
            r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push""#;
        let table: Vec<(Vec<&str>, Result<Challenge, &'static str>)> = vec![
            (vec![hub], bearer("https://auth.example/token", Some("registry.example"))),
            (vec!["bearer  Realm = \"https://a/t\" , error=invalid_token"], bearer("https://a/t", None)),
            (vec!["Bearer realm=https://a/t?x=y,service=s"], bearer("https://a/t?x=y", Some("s"))),
            (vec![r#"Bearer realm="https://a/\"q\\",service="a,b=c""#], bearer("https://a/\"q\\", Some("a,b=c"))),
            (vec![r#"Basic realm="x", Bearer realm="https://a/t""#], bearer("https://a/t", None)),
            (vec!["Basic realm=\"x\"", "Bearer realm=\"https://a/t\""], bearer("https://a/t", None)),
            (vec!["Negotiate dG9rZW4=, Basic realm=x"], Ok(Challenge::Basic)),
            (vec!["Negotiate", "BASIC"], Ok(Challenge::Basic)),
            (vec![", ,Basic realm=\"R\","], Ok(Challenge::Basic)),
            (vec![], Err("status 401 without a WWW-Authenticate header")),
            (vec!["Negotiate"], Err("it offers neither Bearer nor Basic")),
            (vec![""], Err("it offers neither Bearer nor Basic")),
            (vec!["Bearer service=\"x\""], Err("its Bearer challenge names no realm")),
            (vec!["Bearer realm=\"\""], Err("its Bearer challenge names no realm")),
            (vec!["Bearer realm=\"a\",realm=\"b\""], Err("its WWW-Authenticate header names a parameter twice")),
            (vec!["Bearer realm=\"a"], Err("its WWW-Authenticate header is malformed")),
            (vec!["Bearer realm=\"a\"x"], Err("its WWW-Authenticate header is malformed")),
            (vec!["=x"], Err("its WWW-Authenticate header is malformed")),
            (vec!["Bearer realm="], Err("its Bearer challenge names no realm")),
            (vec!["Bearer realm=,x=y"], Err("its Bearer challenge names no realm")),
            (vec!["Bearer realm=\"a\u{1}\""], Err("its WWW-Authenticate header is malformed")),
        ];
        for (headers, expected) in table {
            assert_eq!(choose(&headers), expected, "{headers:?}");
        }
        let huge = format!("Bearer realm=\"{}\"", "x".repeat(1 << 20));
        assert_eq!(choose(&[&huge]), Err("its WWW-Authenticate header is too long"));
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(text in "[a-zA-Z=\", \\\\\t;:/.éß]{0,60}") {
            let _ = choose(&[&text]);
        }
    }
}
