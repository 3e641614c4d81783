//! Which engine can be used here, and if none can, why.

use std::process::Command;
use std::time::Duration;

use super::error::{clean, last_line};
use super::{Engine, Error, Kind};
use crate::process;

/// How long an engine may take to say its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(20);

impl Engine {
    /// The preferred engine, or else podman, or else docker. An engine on another machine is refused.
    pub fn detect(preferred: Option<Kind>) -> Result<Engine, Error> {
        Engine::detect_where(preferred, false)
    }

    /// Like [`Engine::detect`]; `remote` allows an engine on another machine.
    pub fn detect_where(preferred: Option<Kind>, remote: bool) -> Result<Engine, Error> {
        let tried = preferred.map_or(Kind::ALL.to_vec(), |kind| vec![kind]);
        let mut refused = Vec::new();
        for kind in tried {
            match probe(kind, kind.program(), remote) {
                Ok(engine) => return Ok(engine),
                Err(error) => refused.push(error),
            }
        }
        if preferred.is_some() && matches!(refused.first(), Some(Error::Remote { .. })) {
            return Err(refused.remove(0));
        }
        Err(Error::None { reasons: refused.iter().map(reason).collect() })
    }
}

fn reason(error: &Error) -> String {
    match error {
        Error::Run { kind, source } if source.is_missing() => format!("{kind} is not installed"),
        Error::Run { kind, source: process::Error::Timeout { .. } } => format!("{kind} does not answer"),
        other => other.to_string(),
    }
}

pub(super) fn probe(kind: Kind, program: &str, remote: bool) -> Result<Engine, Error> {
    if !remote && let Some(host) = remote_host(kind, program) {
        return Err(Error::Remote { kind, host });
    }
    let field = match kind {
        Kind::Podman => "{{.Client.Version}}",
        // The client alone is of no use: ask the daemon.
        Kind::Docker => "{{.Server.Version}}",
    };
    let mut command = Command::new(program);
    command.args(["version", "--format", field]);
    let output = process::run(command, b"", VERSION_TIMEOUT).map_err(|source| Error::Run { kind, source })?;
    if !output.status.success() {
        let said = last_line(&output.stderr_text());
        return Err(Error::Failed { command: format!("{program} version"), said });
    }
    Ok(Engine { kind, program: program.into(), version: clean(&output.stdout_text()) })
}

/// Where the engine's client would go, if that is not this machine.
fn remote_host(kind: Kind, program: &str) -> Option<String> {
    // The engines' own configuration: their clients read it the same way.
    #[allow(clippy::disallowed_methods, reason = "the engines' own configuration")]
    let from_environment = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let host = match kind {
        Kind::Podman => from_environment("CONTAINER_HOST"),
        Kind::Docker => from_environment("DOCKER_HOST").or_else(|| docker_context(program)),
    }?;
    (!is_local(&host)).then(|| without_credentials(&host))
}

/// The endpoint of docker's current context.
fn docker_context(program: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.args(["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]);
    let output = process::run(command, b"", VERSION_TIMEOUT).ok()?;
    output.status.success().then(|| clean(&output.stdout_text())).filter(|host| host.contains("://"))
}

fn is_local(host: &str) -> bool {
    if host.starts_with("unix://") || host.starts_with("npipe://") || host.starts_with("fd://") {
        return true;
    }
    let Ok(url) = url::Url::parse(host) else { return false };
    match url.host() {
        Some(url::Host::Domain(name)) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn without_credentials(host: &str) -> String {
    match host.split_once("://") {
        Some((scheme, rest)) => {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            clean(&format!("{scheme}://{}", authority.rsplit('@').next().unwrap_or_default()))
        }
        None => "an address without a scheme".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing;
    use crate::error::Explain;

    #[test]
    fn an_engine_that_answers_is_taken() {
        let (_folder, program) = testing::program("[ \"$1\" = version ] && echo 4.3.1");
        let engine = probe(Kind::Podman, &program, true).unwrap();
        assert_eq!((engine.kind(), engine.version()), (Kind::Podman, "4.3.1"));
    }

    #[test]
    fn reasons_are_short_and_clean() {
        let (_folder, program) =
            testing::program("printf 'first\\nCannot connect\\033[31m to the daemon\\n' >&2; exit 1");
        let error = probe(Kind::Docker, &program, true).unwrap_err();
        assert!(reason(&error).ends_with("failed: Cannot connect[31m to the daemon"), "{}", reason(&error));
        let missing = probe(Kind::Docker, "/no/such/docker", true).unwrap_err();
        assert_eq!(reason(&missing), "docker is not installed");
        let none = Error::None { reasons: vec![reason(&missing)] };
        assert!(none.hint().unwrap().contains("oci-archive"));
        assert_eq!(none.class().code(), 7);
    }

    #[test]
    fn a_context_on_another_machine_is_refused_without_its_password() {
        let (_folder, program) = testing::program("echo ssh://me:secret@build.example/x");
        if std::env::var_os("DOCKER_HOST").is_none() {
            let error = probe(Kind::Docker, &program, false).unwrap_err();
            assert_eq!(error.to_string(), "docker would talk to `ssh://build.example`, which is not this machine");
            assert!(probe(Kind::Docker, &program, true).is_ok());
        }
        for local in ["unix:///run/docker.sock", "tcp://127.0.0.1:2375", "tcp://[::1]:2375", "tcp://localhost:1"] {
            assert!(is_local(local), "{local}");
        }
        for remote in ["tcp://10.0.0.1:2375", "ssh://host.example", "localhost.example:1", ""] {
            assert!(!is_local(remote), "{remote}");
        }
    }

    #[test]
    fn engines_have_names() {
        assert_eq!("podman".parse::<Kind>().unwrap(), Kind::Podman);
        assert_eq!("lxc".parse::<Kind>().unwrap_err().class().code(), 2);
    }
}
