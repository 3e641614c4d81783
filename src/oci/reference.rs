//! Image references (distribution-spec "Pulling manifests", and Docker's rules for short names).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::{Digest, Error};

/// Where an image is in a registry: `registry/repository[:tag][@digest]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Host and port: "docker.io", "localhost:5000".
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path in the registry: "library/ubuntu".
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag. A reference with neither tag nor digest has the tag "latest".
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The pinned digest.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same repository, pinned to `digest`, without a tag.
    pub fn pinned(&self, digest: Digest) -> Reference {
        Reference { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The same repository with another tag and no digest.
    pub fn tagged(&self, tag: &str) -> Result<Reference, Error> {
        format!("{}/{}:{tag}", self.registry, self.repository).parse()
    }

    /// `registry/repository`, the scope of credentials.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The registry's host without its port.
    pub fn host(&self) -> &str {
        self.registry.rsplit_once(':').map_or(&self.registry, |(host, _)| host)
    }

    /// Whether the registry is this machine itself, so that plain http is no risk.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// As people write it: Docker Hub's registry and `library/` left out.
    pub fn familiar(&self) -> String {
        let whole = self.to_string();
        whole
            .strip_prefix("docker.io/library/")
            .or_else(|| whole.strip_prefix("docker.io/"))
            .map_or(whole.clone(), str::to_string)
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |reason| Error::Reference { text: without_password(text).chars().take(300).collect(), reason };
        if without_password(text) != text {
            return Err(refuse(
                "a user and a password do not belong there: log in with `podman login` or `docker login`",
            ));
        }
        if text.contains("://") {
            return Err(refuse("it has a URL scheme"));
        }
        if text.starts_with('[') {
            return Err(refuse("IPv6 addresses are not supported by the reference grammar"));
        }
        let digest = match text.split_once('@') {
            Some((_, digest)) => Some(
                digest
                    .parse::<Digest>()
                    .map_err(|_| refuse("its digest is not `sha256:` and 64 lower-case hexadecimal digits"))?,
            ),
            None => None,
        };
        if let Some((registry, repository, tag)) = usual(text) {
            let tag = tag.map(str::to_string).or_else(|| digest.is_none().then(|| "latest".to_string()));
            return Ok(Reference { registry: registry.into(), repository: repository.into(), tag, digest });
        }
        if !text.is_ascii() {
            return Err(refuse("it has a character that is not ASCII"));
        }
        let parsed: oci_spec::distribution::Reference = text.parse().map_err(|error| {
            use oci_spec::distribution::ParseError;
            refuse(match error {
                ParseError::NameContainsUppercase => "the repository name must be lower-case",
                ParseError::NameEmpty => "the name is empty",
                ParseError::NameTooLong => "the repository name is longer than 255 characters",
                ParseError::TagInvalidFormat => "the tag has a character that tags cannot have",
                _ => "it does not follow `[registry/]repository[:tag][@digest]`",
            })
        })?;
        if parsed.repository().bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(refuse("the repository name must be lower-case"));
        }
        // `UPPER/app` parses as a Docker Hub repository in some tools and as a host in others.
        let first = text.split('/').next().unwrap_or_default();
        if text.contains('/') && first.bytes().any(|b| b.is_ascii_uppercase()) && !first.contains(['.', ':']) {
            return Err(refuse("the repository name must be lower-case"));
        }
        let registry = match parsed.registry() {
            "index.docker.io" | "registry-1.docker.io" => "docker.io",
            other => other,
        };
        if registry.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_err()) {
            return Err(refuse("its port is not a number up to 65535"));
        }
        let tag = parsed.tag().map(str::to_string);
        let tag = if tag.is_none() && digest.is_none() { Some("latest".to_string()) } else { tag };
        Ok(Reference { registry: registry.into(), repository: parsed.repository().into(), tag, digest })
    }
}

/// Registry, repository and tag of a reference in one of the usual forms, whose digest was looked at. `None` is no refusal:
/// then the grammar itself decides. Its expression takes 40 ms to be compiled, longer than a build of what did not change.
fn usual(text: &str) -> Option<(&str, Cow<'_, str>, Option<&str>)> {
    /// A part of a repository's path: letters and digits with single separators in between.
    fn is_part(part: &str) -> bool {
        let mut ends = true;
        part.bytes().all(|byte| match byte {
            b'a'..=b'z' | b'0'..=b'9' => {
                ends = false;
                true
            }
            b'.' | b'_' | b'-' => !std::mem::replace(&mut ends, true),
            _ => false,
        }) && !ends
    }
    let name = text.split_once('@').map_or(text, |(name, _)| name);
    let path = name.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match name.get(path..)?.split_once(':') {
        Some((last, tag)) => (name.get(..path + last.len())?, Some(tag)),
        None => (name, None),
    };
    let in_tag = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if tag
        .is_some_and(|tag| tag.is_empty() || tag.len() > 128 || !tag.bytes().all(in_tag) || tag.starts_with(['.', '-']))
    {
        return None;
    }
    let (registry, repository) = match name.split_once('/') {
        None => ("docker.io", Cow::Owned(format!("library/{name}"))),
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => {
            let (domain, port) = host.split_once(':').map_or((host, None), |(domain, port)| (domain, Some(port)));
            let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
            if domain.ends_with("docker.io")
                || domain.contains('_')
                || !domain.split('.').all(is_part)
                || !port.is_none_or(is_port)
            {
                return None;
            }
            (host, Cow::Borrowed(rest))
        }
        Some(_) => ("docker.io", Cow::Borrowed(name)),
    };
    (repository.len() <= 200 && repository.split('/').all(is_part)).then_some((registry, repository, tag))
}

/// A name as it may be shown: whatever stands before an `@` that no digest follows is left out.
pub fn without_password(text: &str) -> Cow<'_, str> {
    let start = text.find("://").map_or(0, |at| at + 3);
    match text.get(start..).and_then(|rest| rest.rsplit_once('@')) {
        Some((user, rest)) if user.contains(':') && !rest.starts_with("sha") => {
            Cow::Owned(format!("{}...@{rest}", text.get(..start).unwrap_or_default()))
        }
        _ => Cow::Borrowed(text),
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_names_are_docker_hub_and_hosts_are_hosts() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let table = [
            ("ubuntu", "docker.io/library/ubuntu:latest"),
            ("ubuntu:22.04", "docker.io/library/ubuntu:22.04"),
            ("nvidia/cuda:12.1.0-base-ubuntu22.04", "docker.io/nvidia/cuda:12.1.0-base-ubuntu22.04"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
            ("localhost/x:1", "localhost/x:1"),
            (&format!("127.0.0.1:5000/a/b@sha256:{hex}"), &format!("127.0.0.1:5000/a/b@sha256:{hex}")),
        ];
        for (text, whole) in table {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), *whole);
        }
        let familiar = |text: &str| text.parse::<Reference>().unwrap().familiar();
        assert_eq!((familiar("ubuntu"), familiar("a/b:1")), ("ubuntu:latest".into(), "a/b:1".into()));
    }

    #[test]
    fn only_ascii_is_a_tag() {
        assert!("x:t\u{e4}g".parse::<Reference>().unwrap_err().to_string().contains("not ASCII"));
    }

    proptest! {
        /// What is taken for usual is what the standard's own grammar makes of it.
        #[test]
        fn the_usual_forms_are_those_of_the_grammar(
            text in "((localhost|[a-c.:_0-9-]{1,6}|h\\.example|docker\\.io|127\\.0\\.0\\.1):?[05]{0,5}/)?[a-b0._/-]{0,8}[a-z](:[A-Za-z0._-]{0,4})?(@sha256:[0]{64})?"
        ) {
            let parsed = text.parse::<oci_spec::distribution::Reference>();
            if let Some((registry, repository, tag)) = usual(&text) {
                let parsed = parsed.unwrap();
                prop_assert_eq!((parsed.registry(), parsed.repository()), (registry, &*repository));
                if tag.is_some() || !text.contains('@') {
                    prop_assert_eq!(parsed.tag(), Some(tag.unwrap_or("latest")));
                }
            }
        }
    }

    #[test]
    fn the_usual_forms_need_no_grammar() {
        for text in ["ubuntu:22.04", "a/b", "127.0.0.1:5000/team/app:1", "registry.example/a/b-c_d:v1.2", "localhost/x"]
        {
            assert!(usual(text).is_some(), "{text}");
        }
        for text in ["docker.io/x", "index.docker.io/x", "a__b", "A/b", "a//b", "h.example:99999/x", "x:", "-a", ""] {
            assert!(usual(text).is_none(), "{text}");
        }
    }

    #[test]
    fn only_loopback_is_loopback() {
        let is = |text: &str| text.parse::<Reference>().unwrap().is_loopback();
        assert!(is("localhost:5000/x") && is("127.0.0.1/x") && is("127.3.2.1:80/x"));
        assert!(!is("localhost.evil.example/x") && !is("10.0.0.1:5000/x") && !is("ubuntu"));
    }

    #[test]
    fn passwords_are_not_shown() {
        for text in ["user:canary@host.example:5/x", "https://user:canary@host.example/x", "u:canary@a@host/x"] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(!error.contains("canary") && error.contains("host"), "{error}");
        }
        assert_eq!(without_password("host:5/x@sha256:00"), "host:5/x@sha256:00");
    }

    #[test]
    fn what_is_no_reference_says_why() {
        for bad in
            ["", "UPPER/a", "a:b:c", "https://x/y", "[::1]:5000/x", "x@sha256:00", "host:99999/x", "a b", "a//b", "-a"]
        {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }
}
