//! Starting containers, waiting for them, and removing them whatever happens.
//!
//! Containers that somebody holds are in one list: a signal handler removes them all ([`remove_all`]).

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::container::Container;
use super::error::{clean, last_line};
use super::transfer::argument;
use super::{Engine, Error, Kind};
use crate::fs::TemporaryDir;
use crate::process::{self, Output, Running};

/// How long an engine may take for a small thing.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long removing may take when the program is to end.
const LAST_TIMEOUT: Duration = Duration::from_secs(10);
/// What an engine needs to start and remove a container, on top of the container's own time.
const STARTING: Duration = Duration::from_secs(30);
/// The most containers that a list may have.
const LISTED_LIMIT: usize = 10_000;

/// What takes away what is held: program and arguments. Containers come before the images that they are of.
static HELD: Mutex<BTreeSet<(String, Vec<String>)>> = Mutex::new(BTreeSet::new());

fn held() -> MutexGuard<'static, BTreeSet<(String, Vec<String>)>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes every container and image that this process holds. For the signal handler.
pub fn remove_all() {
    for (program, arguments) in std::mem::take(&mut *held()) {
        let mut command = std::process::Command::new(program);
        command.args(arguments);
        let _ = process::run(command, b"", LAST_TIMEOUT);
    }
}

fn removal(engine: &Engine, words: &[&str]) -> (String, Vec<String>) {
    (engine.program.clone(), words.iter().map(ToString::to_string).collect())
}

/// An image's name in an engine that goes with this value.
#[derive(Debug)]
pub struct HeldImage {
    engine: Engine,
    name: String,
}

impl HeldImage {
    /// Says that the image, which is or will be there, shall go.
    pub fn new(engine: &Engine, name: &str) -> Self {
        held().insert(removal(engine, &["rmi", name]));
        HeldImage { engine: engine.clone(), name: name.into() }
    }
}

impl Drop for HeldImage {
    fn drop(&mut self) {
        let _ = self.engine.remove_image(&self.name);
        held().remove(&removal(&self.engine, &["rmi", &self.name]));
    }
}

/// A container's name, kept in the list until dropped; then the container is removed if it is still there.
#[derive(Debug)]
pub struct Held {
    engine: Engine,
    name: String,
    gone: bool,
    /// Where podman's monitor is: it leaves a file `oom` in its working folder when the memory was not enough.
    monitor: Option<TemporaryDir>,
}

impl Held {
    #[allow(clippy::disallowed_methods, reason = "nothing that lasts is written there")]
    fn new(engine: &Engine, name: &str) -> Self {
        held().insert(removal(engine, &["rm", "--force", "--volumes", name]));
        let monitor = if engine.kind == Kind::Podman { TemporaryDir::new_in(&std::env::temp_dir()).ok() } else { None };
        Held { engine: engine.clone(), name: name.into(), gone: false, monitor }
    }

    /// The command that starts the container, in a folder of its own.
    fn placed(&self, mut command: Command) -> Command {
        if let Some(folder) = &self.monitor {
            command.current_dir(folder.path());
        }
        command
    }

    /// The container's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which engine has it.
    pub fn kind(&self) -> super::Kind {
        self.engine.kind
    }

    /// Says that the engine itself has removed it: it ended, and was started with `--rm`.
    pub fn is_gone(&mut self) {
        self.gone = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.gone {
            let _ = self.engine.remove(&self.name);
        }
        held().remove(&removal(&self.engine, &["rm", "--force", "--volumes", &self.name]));
    }
}

/// A container with its pipes. Dropped, its client is killed and it is removed.
pub struct Attached {
    /// The engine's client: its stdin, stdout and stderr are the container's.
    pub client: Running,
    /// Removes the container.
    pub held: Held,
}

impl Engine {
    /// Starts a container with pipes; the caller reads them.
    pub fn attach(&self, container: &Container) -> Result<Attached, Error> {
        let mut command = container.command(self, false)?;
        command.stdin(if container.stdin { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let held = Held::new(self, &container.name);
        let client = Running::start(held.placed(command)).map_err(|source| Error::Run { kind: self.kind, source })?;
        Ok(Attached { client, held })
    }

    /// Runs a container to its end and removes it. What it says is cut at [`process::OUTPUT_LIMIT`]; the status is the
    /// container's own, or 125 to 127 if the engine could not start it (then stderr is the engine's).
    pub fn run_to_end(&self, container: &Container, stdin: &[u8]) -> Result<Output, Error> {
        let command = container.command(self, false)?;
        let mut held = Held::new(self, &container.name);
        let output = process::run(held.placed(command), stdin, container.timeout + STARTING)
            .map_err(|source| Error::Run { kind: self.kind, source })?;
        held.gone = true;
        Ok(output)
    }

    /// Starts a container in the background: [`Engine::execute`] and [`Engine::healthcheck`] look into it. It is removed
    /// when the value is dropped.
    pub fn start(&self, container: &Container) -> Result<Held, Error> {
        let command = container.command(self, true)?;
        let held = Held::new(self, &container.name);
        self.answer("run", held.placed(command)).map(|_| held)
    }

    /// Runs a program in a running container.
    pub fn execute(&self, name: &str, words: &[&str], timeout: Duration) -> Result<Output, Error> {
        self.named(name)?;
        let command = self.command(["exec", name].into_iter().chain(words.iter().copied()));
        self.output(command, timeout)
    }

    /// Runs the image's health check in a running container once; whether it passed, and what it said.
    /// podman only: docker runs it by itself, see [`Engine::health`].
    pub fn healthcheck(&self, name: &str, timeout: Duration) -> Result<Output, Error> {
        self.named(name)?;
        let command = self.command(["healthcheck", "run", name]);
        self.output(command, timeout)
    }

    /// The process on this machine that is the container's first; `None` while there is none.
    pub fn pid(&self, name: &str) -> Result<Option<u32>, Error> {
        self.named(name)?;
        let said =
            self.answer("inspect", self.command(["container", "inspect", "--format", "{{.State.Pid}}", name]))?;
        Ok(said.trim().parse().ok().filter(|pid| *pid > 0))
    }

    /// Removes an image's name, and the image if it has no other.
    pub fn remove_image(&self, image: &str) -> Result<(), Error> {
        self.named(image)?;
        self.answer("rmi", self.command(["rmi", image])).map(|_| ())
    }

    /// What docker says of a running container's health: "starting", "healthy", "unhealthy".
    pub fn health(&self, name: &str) -> Result<String, Error> {
        self.named(name)?;
        let command = self.command(["container", "inspect", "--format", "{{.State.Health.Status}}", name]);
        self.answer("inspect", command).map(|said| clean(&said))
    }

    /// Removes a container by force; one that is not there is fine.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.named(name)?;
        let command = self.command(["rm", "--force", "--volumes", name]);
        let output = self.output(command, ANSWER_TIMEOUT)?;
        let said = output.stderr_text();
        if output.status.success() || said.to_lowercase().contains("no such container") {
            return Ok(());
        }
        Err(Error::Failed { command: format!("{} rm", self.kind), said: last_line(&said) })
    }

    /// The names of the containers, running or not, that have this label; sorted.
    pub fn labelled(&self, label: &str, value: &str) -> Result<Vec<String>, Error> {
        let filter = format!("label={label}={value}");
        let command = self.command(["ps", "--all", "--no-trunc", "--filter", &filter, "--format", "{{.Names}}"]);
        let said = self.answer("ps", command)?;
        let mut names: Vec<String> =
            said.lines().map(str::trim).filter(|name| argument(name)).take(LISTED_LIMIT).map(str::to_string).collect();
        names.sort();
        Ok(names)
    }

    fn named(&self, name: &str) -> Result<(), Error> {
        if argument(name) { Ok(()) } else { Err(Error::Argument { kind: self.kind, text: clean(name) }) }
    }

    pub(super) fn answer(&self, verb: &str, command: std::process::Command) -> Result<String, Error> {
        self.succeeds(verb, command, ANSWER_TIMEOUT)
    }
}

impl Engine {
    /// What the engine says when it could not start a container, told from what a container says: its exit code is one
    /// of the engine's own, and its last line begins as the engine's errors do. An error, unless it is about the image's
    /// program: that is not there, or not for this machine.
    pub fn refused(&self, code: Option<i32>, stderr: &str) -> Result<Option<String>, Error> {
        let line = last_line(stderr);
        let own = line.starts_with("Error: ") || line.starts_with("docker: ");
        if !own || !code.is_some_and(|code| (125..=127).contains(&code)) {
            return Ok(None);
        }
        let program = ["executable file", "no such file or directory", "exec format error", "exec: ", "stat /"];
        let workdir = ["workdir", "chdir", "working directory"];
        match program.iter().chain(&workdir).any(|words| line.contains(words)) {
            true => Ok(Some(line)),
            false => Err(Error::Failed { command: format!("{} run", self.kind), said: line }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Kind, testing};
    use crate::error::Explain;

    /// One that writes down what it was called with.
    fn fake(script: &str) -> (tempfile::TempDir, Engine) {
        testing::fake(Kind::Podman, &format!("echo \"$*\" >> \"$(dirname \"$0\")/called\"\n{script}"))
    }

    fn called(folder: &tempfile::TempDir) -> String {
        std::fs::read_to_string(folder.path().join("called")).unwrap_or_default()
    }

    #[test]
    fn a_container_that_is_dropped_is_removed() {
        let (folder, engine) = fake("true");
        drop(engine.start(&Container::hardened("app", "ingot-1")).unwrap());
        assert!(called(&folder).ends_with("rm --force --volumes ingot-1\n"), "{}", called(&folder));
        let (folder, engine) = fake("[ $1 = rm ] || exit 125");
        assert!(matches!(engine.start(&Container::hardened("app", "ingot-2")), Err(Error::Failed { .. })));
        assert!(called(&folder).contains("rm --force --volumes ingot-2"), "also when it could not be started");
    }

    #[test]
    fn one_that_hangs_is_ended_and_removed() {
        let (folder, engine) = fake("[ $1 = run ] && sleep 600; true");
        let mut container = Container::hardened("app", "ingot-3");
        container.stdin = true;
        let mut attached = engine.attach(&container).unwrap();
        assert!(attached.client.wait(Duration::from_millis(300)).is_err());
        drop(attached);
        assert!(called(&folder).ends_with("rm --force --volumes ingot-3\n"), "{}", called(&folder));
    }

    #[test]
    fn an_engine_that_cannot_is_told_from_an_image_that_cannot() {
        let (_folder, engine) = fake("true");
        let missing = "Error: runc: exec: \"/x\": stat /x: no such file or directory: OCI runtime attempted to invoke";
        assert_eq!(engine.refused(Some(127), missing).unwrap().as_deref(), Some(missing));
        let limits = "Error: runc: runc create failed: error setting rlimit type 6: operation not permitted";
        assert_eq!(engine.refused(Some(126), limits).unwrap_err().class().code(), 7);
        for (code, said) in [(Some(126), "ingot: command x"), (Some(1), limits), (None, limits)] {
            assert_eq!(engine.refused(code, said).unwrap(), None, "{said}");
        }
    }

    #[test]
    fn lists_have_only_names() {
        let (_folder, engine) = fake("printf 'ingot-b\\n--all\\ningot-a\\n$(x)\\n'");
        assert_eq!(engine.labelled("ingot.sandbox", "1").unwrap(), ["ingot-a", "ingot-b"]);
        let (_folder, engine) = fake("echo 'Error: no such container x' >&2; exit 1");
        engine.remove("x").unwrap();
        assert!(matches!(engine.remove("--all"), Err(Error::Argument { .. })));
        let (_folder, engine) = fake("echo 'Error: storage is busy' >&2; exit 1");
        assert_eq!(engine.remove("x").unwrap_err().to_string(), "`podman rm` failed: Error: storage is busy");
    }
}
