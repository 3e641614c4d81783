//! Credential helpers: `docker-credential-NAME get`, the server's name on stdin, JSON on stdout.
//!
//! A helper that is missing, fails, hangs or prints anything else stops the operation. Docker once went on without
//! it and sent private credentials to the wrong registry (CVE-2021-41092).

use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use super::{Error, Result, Secret};
use crate::net::Credentials;
use crate::process;

/// How long a helper may take: some ask a person or a cloud.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What every helper says for "I have none" (docker-credential-helpers, credentials/error.go).
const NOT_FOUND: &str = "credentials not found in native keychain";

/// The user name that stands for "the secret is an identity token".
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Asks helper `name` for the credentials of `server`; `None` if it says that it has none.
pub(super) fn ask(name: &str, server: &str) -> Result<Option<Secret>> {
    run(&format!("docker-credential-{name}"), server, TIMEOUT)
}

fn run(program: &str, server: &str, timeout: Duration) -> Result<Option<Secret>> {
    let refuse = |reason: &str| Error::Helper {
        helper: program.rsplit('/').next().unwrap_or(program).chars().filter(|c| !c.is_control()).collect(),
        registry: server.to_string(),
        reason: reason.to_string(),
    };
    let name = program.rsplit_once("docker-credential-").map_or("", |(_, name)| name);
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Err(refuse("this is no name for a helper"));
    }
    let mut command = Command::new(program);
    command.arg("get");
    let output = process::run(command, server.as_bytes(), timeout)
        .map_err(|source| Error::HelperProcess { registry: server.to_string(), source })?;
    if !output.status.success() {
        if output.stdout_text() == NOT_FOUND || output.stderr_text() == NOT_FOUND {
            return Ok(None);
        }
        // stderr may explain, but it may also quote: the exit status has to do.
        return Err(refuse(&format!("it ended with {}", output.status)));
    }
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .map_err(|_| refuse("it printed something that is not the expected JSON"))?;
    match (answer.username.as_str(), answer.secret) {
        (_, secret) if secret.is_empty() => Err(refuse("its answer holds no secret")),
        (TOKEN_USER, secret) => Ok(Some(Secret::Identity(secret))),
        (username, password) => Ok(Some(Secret::Basic(Credentials { username: username.into(), password }))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::error::{Class, Explain};

    fn helper(script: &str, timeout: Duration) -> Result<Option<Secret>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker-credential-test");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        // Another test that forks while the script is open for writing makes it "busy" for a moment.
        for _ in 0..50 {
            match run(path.to_str().unwrap(), "q.example", timeout) {
                Err(Error::HelperProcess { source: process::Error::Start { source, .. }, .. })
                    if source.kind() == std::io::ErrorKind::ExecutableFileBusy =>
                {
                    std::thread::sleep(Duration::from_millis(20));
                }
                done => return done,
            }
        }
        panic!("the helper stays busy");
    }

    #[test]
    fn a_helper_answers_with_a_password_a_token_or_nothing() {
        let script = r#"read server; [ "$1 $server" = "get q.example" ] && echo '{"ServerURL":"x","Username":"u","Secret":"p"}'"#;
        let secret = helper(script, TIMEOUT).unwrap();
        assert_eq!(secret, Some(Secret::Basic(Credentials { username: "u".into(), password: "p".into() })));
        let token = helper(r#"echo '{"Username":"<token>","Secret":"t"}'"#, TIMEOUT).unwrap();
        assert_eq!(token, Some(Secret::Identity("t".into())));
        let none = helper("echo credentials not found in native keychain; exit 1", TIMEOUT).unwrap();
        assert_eq!(none, None);
    }

    #[test]
    fn a_helper_that_misbehaves_stops_the_operation() {
        for (script, reason) in [
            ("echo canary; exit 1", "exit status: 1"),
            ("echo canary", "not the expected JSON"),
            ("true", "not the expected JSON"),
            (r#"echo '{"Username":"u","Secret":""}'"#, "no secret"),
        ] {
            let error = helper(script, TIMEOUT).unwrap_err();
            assert!(matches!(error, Error::Helper { .. }) && error.to_string().contains(reason), "{error}");
            assert!(!format!("{error} {error:?} {:?}", error.hint()).contains("canary"), "{error:?}");
            assert_eq!(error.class(), Class::Network);
        }
        let hanging = helper("sleep 60", Duration::from_millis(200)).unwrap_err();
        assert!(matches!(hanging, Error::HelperProcess { source: process::Error::Timeout { .. }, .. }), "{hanging}");
        let missing = ask("surely-missing", "q.example").unwrap_err();
        assert!(missing.hint().unwrap().contains("docker-credential-surely-missing"), "{missing:?}");
        for name in ["", "../x", "a b", "x;y"] {
            assert!(matches!(ask(name, "q.example"), Err(Error::Helper { .. })), "{name}");
        }
    }
}
