//! The launchers are really run: by this machine's Python and its shell.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::process::{self, Output};

fn host_python() -> String {
    let found = ["/usr/bin/python3", "/usr/local/bin/python3"].into_iter().find(|path| PathBuf::from(path).exists());
    found.expect("no python3: apt-get install python3").to_string()
}

fn launcher(python: bool, required: &[(&str, &str)]) -> Launcher {
    let require_env = required.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Launcher { interpreter: python.then(host_python), require_env }
}

struct Script {
    folder: tempfile::TempDir,
}

impl Script {
    fn new(launcher: &Launcher) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("launcher");
        std::fs::write(&path, launcher.script().unwrap()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Script { folder }
    }

    fn run(&self, env: &[(&str, &str)], command: &[&str]) -> Output {
        // Another thread that forks while the file was open for writing makes exec fail once ("text file busy").
        for _ in 0..50 {
            let mut program = Command::new(self.folder.path().join("launcher"));
            program.env_clear().env("PATH", "/usr/bin:/bin").envs(env.iter().copied()).args(command);
            match process::run(program, b"", process::DEFAULT_TIMEOUT) {
                Ok(output) => return output,
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(20)),
            }
        }
        panic!("the launcher could not be started");
    }
}

fn both(required: &[(&str, &str)], env: &[(&str, &str)], command: &[&str]) -> [Output; 2] {
    [true, false].map(|python| Script::new(&launcher(python, required)).run(env, command))
}

#[test]
fn a_wrong_environment_is_one_line_and_78() {
    for (env, said) in [
        (vec![("MODE", "s3cret")], "ingot: MODE differs from the expected \"production\""),
        (vec![], "ingot: MODE is not set, expected \"production\""),
        (vec![("MODE", "")], "ingot: MODE differs from the expected \"production\""),
    ] {
        for output in both(&[("MODE", "production")], &env, &["true"]) {
            assert_eq!((output.status.code(), output.stderr_text().as_str()), (Some(78), said));
            assert!(output.stdout.is_empty());
        }
    }
    for output in both(&[("A", "1"), ("B", "é\n")], &[("A", "2")], &["true"]) {
        let said = "ingot: A differs from the expected \"1\"; B is not set, expected \"\\u{e9}\\n\"";
        assert_eq!((output.status.code(), output.stderr_text().as_str()), (Some(78), said));
    }
    for output in both(&[("A", "")], &[("A", "")], &["echo", "ok"]) {
        assert_eq!(output.stdout_text(), "ok");
    }
}

#[test]
fn the_command_takes_the_launchers_place() {
    for output in both(&[("A", "1")], &[("A", "1")], &["sh", "-c", "echo \"$1\"; exit 3", "-", "a 'b' $c\n"]) {
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(3), &b"a 'b' $c\n\n"[..]));
    }
    // The same process: what started it sees the command's pid.
    for python in [true, false] {
        let script = Script::new(&launcher(python, &[]));
        let output = script.run(&[], &["sh", "-c", "cat /proc/$$/cmdline | tr '\\0' ' '; kill -TERM $$"]);
        assert!(output.stdout_text().starts_with("sh -c"), "{}", output.stdout_text());
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(15));
    }
}

#[test]
fn the_environment_and_the_signals_are_the_commands_own() {
    // In the C locale Python sets LC_CTYPE for itself, and it ignores SIGPIPE and SIGXFSZ.
    let look = ["sh", "-c", "env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= | sort; grep SigIgn /proc/self/status"];
    for output in both(&[], &[("LC_ALL", ""), ("X", "1")], &look) {
        let text = output.stdout_text();
        let (env, ignored) = text.split_once("\nSigIgn:").unwrap();
        assert_eq!(env, "LC_ALL=\nPATH=/usr/bin:/bin\nX=1");
        // SIGPIPE and SIGXFSZ; whoever runs the tests may ignore others.
        assert_eq!(u64::from_str_radix(ignored.trim(), 16).unwrap() & (1 << 12 | 1 << 24), 0);
    }
}

#[test]
fn a_missing_command_is_127_and_one_that_cannot_run_126() {
    for (command, code, said) in [
        (&["no-such-command"][..], 127, "not found"),
        (&["/no/such/command"], 127, "not found"),
        (&[], 127, "there is no command to start"),
        (&["/etc/passwd"], 126, "could not be started"),
        (&["/etc"], 126, "/etc"),
    ] {
        for output in both(&[], &[], command) {
            assert_eq!(output.status.code(), Some(code), "{command:?} {}", output.stderr_text());
            assert!(output.stderr_text().contains(said), "{command:?} {}", output.stderr_text());
            assert!(output.stderr_text().starts_with("ingot: ") && output.stderr_text().lines().count() == 1);
        }
    }
}

#[test]
fn odd_interpreters_and_variables_are_refused() {
    for bad in ["python3", "/a b", "/a\nb", &format!("/{}", "a".repeat(150))] {
        let launcher = Launcher { interpreter: Some(bad.to_string()), require_env: BTreeMap::new() };
        assert!(matches!(launcher.script(), Err(Error::Interpreter { .. })), "{bad}");
    }
    for bad in ["", "1A", "A-B", "A B", "A=B", "é", "A\n", "$(id)", "IFS", "problems"] {
        assert!(matches!(launcher(true, &[(bad, "1")]).script(), Err(Error::Name { .. })), "{bad}");
    }
    assert!(launcher(true, &[("A", "a\0b")]).script().is_err());
}

const HOSTILE: [&str; 12] = [
    "'",
    "\"",
    "\\",
    "'; touch pwned; '",
    "$(touch pwned)",
    "`touch pwned`",
    "\n\r\t",
    "\u{1f600}é\u{2028}",
    "@INTERPRETER@ @REQUIRED@",
    "%s%n{}",
    "\"\"\"",
    "!\u{7f}\u{1b}[31m",
];

#[test]
fn hostile_values_are_only_values() {
    for value in HOSTILE {
        for output in both(&[("A", value)], &[("A", value)], &["printenv", "A"]) {
            assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), format!("{value}\n").as_bytes()));
        }
        for output in both(&[("A", value)], &[("A", "other")], &["true"]) {
            assert_eq!((output.status.code(), output.stderr_text().lines().count()), (Some(78), 1), "{value}");
        }
    }
    assert!(!PathBuf::from("pwned").exists());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_value_is_compared_as_it_is(value in "[^\0]{0,40}", other in "[^\0]{0,5}") {
        for output in both(&[("A", &value)], &[("A", &value)], &["printenv", "A"]) {
            prop_assert_eq!(&output.stdout, &format!("{value}\n").into_bytes());
        }
        let differs = format!("{value}{other}x");
        for output in both(&[("A", &value)], &[("A", &differs)], &["true"]) {
            prop_assert_eq!(output.status.code(), Some(78));
        }
    }
}
