//! Compose providers: the programs that start and remove a stack's containers, each with the few commands that it is
//! given. What became of a command is never believed: whoever needs to know asks the engine ([`Engine::project`]).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use super::error::{clean, complaint};
use super::transfer::argument;
use super::{Engine, Error, Kind};
use crate::process;

/// How long a provider may take to say its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(20);
/// How long it may take to start, to restart or to remove containers: nothing is pulled or built.
const WORK_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// What Docker Compose says before an error of the engine.
const DAEMON_ERROR: &str = "Error response from daemon";
/// What it says if no engine answers.
const NO_DAEMON: &str = "Cannot connect to the Docker daemon";
/// Variables that would change what a provider does with the file that it is given.
const ITS_OWN: [&str; 2] = ["COMPOSE_", "PODMAN_COMPOSE_"];

/// Which provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProviderKind {
    /// `podman-compose`, which calls podman.
    PodmanCompose,
    /// `podman compose`, which calls another provider with podman's socket.
    PodmanPlugin,
    /// `docker compose`, the plugin of docker's client.
    DockerPlugin,
    /// `docker-compose`, the same as a program of its own.
    DockerCompose,
}

impl ProviderKind {
    /// All, in the order in which they are tried, those of podman first.
    pub const ALL: [ProviderKind; 4] = [
        ProviderKind::PodmanCompose,
        ProviderKind::PodmanPlugin,
        ProviderKind::DockerPlugin,
        ProviderKind::DockerCompose,
    ];

    /// What is typed to call it.
    pub fn name(self) -> &'static str {
        match self {
            ProviderKind::PodmanCompose => "podman-compose",
            ProviderKind::PodmanPlugin => "podman compose",
            ProviderKind::DockerPlugin => "docker compose",
            ProviderKind::DockerCompose => "docker-compose",
        }
    }

    /// Whose containers it starts.
    pub fn engine(self) -> Kind {
        match self {
            ProviderKind::PodmanCompose | ProviderKind::PodmanPlugin => Kind::Podman,
            ProviderKind::DockerPlugin | ProviderKind::DockerCompose => Kind::Docker,
        }
    }

    fn command(self) -> Command {
        let mut words = self.name().split(' ');
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command
    }
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ProviderKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = ProviderKind::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| Error::UnknownProvider { text: clean(text) })
    }
}

/// Whose options a provider takes: `podman compose` passes what it is given to whichever of the two it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    /// Those of podman-compose.
    PodmanCompose,
    /// Those of Docker Compose.
    DockerCompose,
}

impl Dialect {
    /// The oldest version that does what is asked of it here. podman-compose before 1.6 takes everything down when one
    /// service has changed.
    fn least(self) -> (u32, u32) {
        match self {
            Dialect::PodmanCompose => (1, 6),
            Dialect::DockerCompose => (2, 0),
        }
    }
}

/// A provider that answered, and the engine that it uses, which answered, too.
#[derive(Clone, Debug)]
pub struct Provider {
    kind: ProviderKind,
    dialect: Dialect,
    version: String,
    engine: Engine,
}

/// What a provider is to work on.
#[derive(Clone, Debug)]
pub struct ProviderProject {
    /// Its name, which the containers are labelled with.
    pub name: String,
    /// The one file, with everything resolved.
    pub file: PathBuf,
    /// Variables of the provider's process, on top of this process's own.
    pub environment: BTreeMap<String, String>,
}

impl Provider {
    /// The provider that was asked for, or the first one there is of the engine that was asked for, or of any.
    pub fn detect(asked: Option<ProviderKind>, engine: Option<Kind>) -> Result<Provider, Error> {
        if let (Some(asked), Some(engine)) = (asked, engine)
            && asked.engine() != engine
        {
            return Err(Error::OtherEngine { provider: asked, engine });
        }
        let kinds = match (asked, engine) {
            (Some(asked), _) => vec![asked.engine()],
            (None, Some(engine)) => vec![engine],
            (None, None) => Kind::ALL.to_vec(),
        };
        let (mut reasons, mut answered) = (Vec::new(), false);
        for kind in kinds {
            match Engine::detect(Some(kind)) {
                Ok(engine) => {
                    answered = true;
                    if let Some(provider) = of_engine(asked, &engine, &mut reasons) {
                        return Ok(provider);
                    }
                }
                Err(Error::None { reasons: why }) => reasons.extend(why),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        Err(if answered { Error::NoProvider { reasons } } else { Error::None { reasons } })
    }

    /// Every provider in the order in which they are tried: its version, or why it cannot be used. Whether its engine
    /// answers is another question.
    pub fn all() -> Vec<(ProviderKind, Result<String, String>)> {
        ProviderKind::ALL.into_iter().map(|kind| (kind, version(kind).map(|(_, version)| version))).collect()
    }

    /// Which one.
    pub fn kind(&self) -> ProviderKind {
        self.kind
    }

    /// What it says its version is.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The engine whose containers it starts.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Makes and starts the containers of these services and of no others. Those that run as the file says stay.
    pub fn up(&self, project: &ProviderProject, services: &[&str]) -> Result<(), Error> {
        self.work("up", project, &[&["up", "--detach", "--no-deps", "--no-build"], services].concat())
    }

    /// Ends the containers of these services and starts them again.
    pub fn restart(&self, project: &ProviderProject, services: &[&str]) -> Result<(), Error> {
        self.work("restart", project, &[&["restart"], services].concat())
    }

    /// Removes all containers and networks; named volumes only if that is asked for.
    pub fn down(&self, project: &ProviderProject, volumes: bool) -> Result<(), Error> {
        let volumes: &[&str] = if volumes { &["--volumes"] } else { &[] };
        self.work("down", project, &[&["down", "--remove-orphans"], volumes].concat())
    }

    fn work(&self, verb: &str, project: &ProviderProject, words: &[&str]) -> Result<(), Error> {
        let output = process::run(self.command(project, words)?, b"", WORK_TIMEOUT)
            .map_err(|source| Error::RunProvider { provider: self.kind, source })?;
        let text = format!("{}\n{}", output.stdout_text(), output.stderr_text());
        self.judged(verb, output.status.success(), &text)
    }

    /// What its end means: Docker Compose as Python's package index has it says 0 whatever has become of it.
    fn judged(&self, verb: &str, success: bool, text: &str) -> Result<(), Error> {
        let believed = verb != "up" || ![DAEMON_ERROR, NO_DAEMON].iter().any(|error| text.contains(error));
        if success && believed {
            return Ok(());
        }
        let said = complaint(text);
        if self.kind == ProviderKind::PodmanPlugin && text.contains(NO_DAEMON) {
            return Err(Error::NoService { provider: self.kind, said });
        }
        Err(Error::Failed { command: format!("{} {verb}", self.kind), said })
    }

    fn command(&self, project: &ProviderProject, words: &[&str]) -> Result<Command, Error> {
        let refuse = |text: &str| Error::Argument { kind: self.engine.kind(), text: clean(text) };
        if let Some(bad) = words.iter().find(|word| !word.starts_with("--") && !argument(word)) {
            return Err(refuse(bad));
        }
        if !argument(&project.name) {
            return Err(refuse(&project.name));
        }
        let mut command = self.kind.command();
        clean_environment(&mut command);
        command.envs(&project.environment);
        match self.dialect {
            // One network for each container, as with docker, and not one for all of them.
            Dialect::PodmanCompose => command.arg("--in-pod=false").arg("--no-ansi"),
            Dialect::DockerCompose => command.args(["--ansi", "never", "--progress", "plain"]),
        };
        command.arg("--project-name").arg(&project.name).arg("--file").arg(&project.file).args(words);
        Ok(command)
    }
}

/// The first provider of an engine that can be used; why the others cannot.
fn of_engine(asked: Option<ProviderKind>, engine: &Engine, reasons: &mut Vec<String>) -> Option<Provider> {
    let of_it = ProviderKind::ALL.into_iter().filter(|kind| kind.engine() == engine.kind());
    for kind in of_it.filter(|kind| asked.is_none_or(|asked| asked == *kind)) {
        match version(kind) {
            Ok((dialect, version)) => return Some(Provider { kind, dialect, version, engine: engine.clone() }),
            Err(reason) => reasons.push(reason),
        }
    }
    None
}

/// What it says that it and its version are, or why it cannot be used.
fn version(kind: ProviderKind) -> Result<(Dialect, String), String> {
    let mut command = kind.command();
    clean_environment(&mut command);
    command.arg("version");
    let output = match process::run(command, b"", VERSION_TIMEOUT) {
        Ok(output) => output,
        Err(error) if error.is_missing() => return Err(format!("{kind} is not installed")),
        Err(error) => return Err(error.to_string()),
    };
    if !output.status.success() {
        let said = output.stderr_text().to_lowercase();
        let none = ["is not a docker command", "unknown docker command", "unknown command", "unrecognized command"];
        if none.iter().any(|no| said.contains(no)) {
            return Err(format!("{kind} is not installed"));
        }
        if said.contains("looking up compose provider failed") {
            return Err(format!("{kind} finds neither docker-compose nor podman-compose"));
        }
        return Err(format!("{kind} cannot be used: {}", complaint(&output.stderr_text())));
    }
    introduced(kind, &output.stdout_text())
}

/// "Docker Compose version v2.40.3", or "podman-compose version 1.6.0" and a line on podman itself.
fn introduced(kind: ProviderKind, said: &str) -> Result<(Dialect, String), String> {
    let names = [
        ("podman-compose version", Dialect::PodmanCompose),
        ("Docker Compose version", Dialect::DockerCompose),
        // Before version 2.
        ("docker-compose version", Dialect::DockerCompose),
    ];
    // "podman-composer  version  1.0.3" and "podman-compose version: 1.0.6" are what old ones say.
    let known = said.lines().find_map(|line| {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ").replace("podman-composer", "podman-compose");
        names.iter().find_map(|(name, dialect)| {
            Some((line.strip_prefix(name)?.trim_start_matches(':').trim().to_string(), *dialect))
        })
    });
    let Some((version, dialect)) = known else {
        return Err(format!("{kind} does not say its version: `{}`", clean(said.trim())));
    };
    let version = clean(&version);
    let (major, minor) = dialect.least();
    match numbers(&version) {
        Some(found) if found >= (major, minor) => Ok((dialect, version)),
        Some(_) => Err(format!("{kind} {version} is too old: at least {major}.{minor} is needed")),
        None => Err(format!("{kind} does not say its version: `{version}`")),
    }
}

/// "v2.40.3-desktop.1": 2 and 40.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split(['.', '-', '+']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn clean_environment(command: &mut Command) {
    #[allow(
        clippy::disallowed_methods,
        reason = "a provider obeys the file that it is given and no variable of its own"
    )]
    for (name, _) in std::env::vars_os() {
        if ITS_OWN.iter().any(|own| name.to_string_lossy().starts_with(own)) {
            command.env_remove(name);
        }
    }
    // Or `podman compose` says first whom it calls, in colours.
    command.env("PODMAN_COMPOSE_WARNING_LOGS", "false");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Explain;

    fn provider(kind: ProviderKind) -> Provider {
        let engine = Engine { kind: kind.engine(), program: "engine".into(), version: "1".into() };
        let dialect = match kind {
            ProviderKind::PodmanCompose => Dialect::PodmanCompose,
            _ => Dialect::DockerCompose,
        };
        Provider { kind, dialect, version: "2.0".into(), engine }
    }

    fn project(name: &str) -> ProviderProject {
        let environment = BTreeMap::from([("SECRET".to_string(), "x".to_string())]);
        ProviderProject { name: name.into(), file: "/s/pinned.yaml".into(), environment }
    }

    fn words(kind: ProviderKind, words: &[&str]) -> String {
        let command = provider(kind).command(&project("app"), words).unwrap();
        let arguments = command.get_args().map(|word| word.to_string_lossy().into_owned());
        std::iter::once(command.get_program().to_string_lossy().into_owned())
            .chain(arguments)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn each_provider_has_its_words() {
        assert_eq!(
            words(ProviderKind::PodmanCompose, &["up", "--no-deps", "web"]),
            "podman-compose --in-pod=false --no-ansi --project-name app --file /s/pinned.yaml up --no-deps web"
        );
        assert_eq!(
            words(ProviderKind::DockerPlugin, &["down"]),
            "docker compose --ansi never --progress plain --project-name app --file /s/pinned.yaml down"
        );
        for kind in ProviderKind::ALL {
            assert_eq!(kind.name().parse::<ProviderKind>().unwrap(), kind);
        }
        let unknown = "kompose".parse::<ProviderKind>().unwrap_err();
        assert_eq!(unknown.class().code(), 2);
        assert!(unknown.to_string().contains("expected `podman-compose`"), "{unknown}");
    }

    #[test]
    fn what_looks_like_an_option_is_no_service() {
        for bad in ["-v", "a b", ""] {
            let error = provider(ProviderKind::PodmanCompose).command(&project("app"), &["up", bad]).unwrap_err();
            assert_eq!(error.class().code(), 2, "{bad}");
        }
        assert!(provider(ProviderKind::DockerPlugin).command(&project("-x"), &["up"]).is_err());
    }

    #[test]
    fn a_provider_is_who_it_says_that_it_is() {
        let plugin = ProviderKind::PodmanPlugin;
        let compose = introduced(plugin, "Docker Compose version v2.40.3-desktop.1\n").unwrap();
        assert_eq!(compose, (Dialect::DockerCompose, "v2.40.3-desktop.1".to_string()));
        let other = introduced(plugin, "\npodman-compose version 1.6.0\npodman version 5.4.2\n").unwrap();
        assert_eq!(other, (Dialect::PodmanCompose, "1.6.0".to_string()));
        for (said, reason) in [
            ("podman-compose version 1.3.0", "podman compose 1.3.0 is too old: at least 1.6 is needed"),
            (
                "docker-compose version 1.29.2, build 5becea4c",
                "podman compose 1.29.2, build 5becea4c is too old: at least 2.0 is needed",
            ),
            ("Docker Compose version dev", "podman compose does not say its version: `dev`"),
            ("hello", "podman compose does not say its version: `hello`"),
        ] {
            assert_eq!(introduced(plugin, said).unwrap_err(), reason);
        }
        for said in ["podman-composer  version  1.0.3\npodman --version", "podman-compose version: 1.0.6\n"] {
            let reason = introduced(ProviderKind::PodmanCompose, said).unwrap_err();
            assert!(
                reason.starts_with("podman-compose 1.0.") && reason.ends_with("at least 1.6 is needed"),
                "{reason}"
            );
        }
    }

    #[test]
    fn podman_compose_passes_on_what_its_provider_knows() {
        let mut asked = provider(ProviderKind::PodmanPlugin);
        let words = |asked: &Provider| {
            let command = asked.command(&project("app"), &["down"]).unwrap();
            command.get_args().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert!(words(&asked).starts_with("compose --ansi never --progress plain --project-name app"));
        asked.dialect = Dialect::PodmanCompose;
        assert!(words(&asked).starts_with("compose --in-pod=false --no-ansi --project-name app"));
    }

    #[test]
    fn a_zero_after_an_error_is_not_believed() {
        let plugin = provider(ProviderKind::PodmanPlugin);
        let silent = "unable to get image 'a': Cannot connect to the Docker daemon at unix:///run/podman/podman.sock.";
        let error = plugin.judged("up", true, silent).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("`podman compose` calls Docker Compose, which does not reach podman's service")
        );
        assert!(error.hint().unwrap().contains("podman.socket") && error.class().code() == 7);
        let docker = provider(ProviderKind::DockerPlugin);
        for said in [silent, "Error response from daemon: no such image: a"] {
            let error = docker.judged("up", true, said).unwrap_err();
            assert_eq!(error.to_string(), format!("`docker compose up` failed: {said}"));
        }
        docker.judged("up", true, "Container a  Started").unwrap();
        docker.judged("up", false, "Container a  Started").unwrap_err();
        docker.judged("down", true, "Error response from daemon: no such network").unwrap();
    }

    #[test]
    fn versions_are_compared() {
        for (text, expected) in
            [("v2.40.3-desktop.1", Some((2, 40))), ("1.29.2", Some((1, 29))), ("2.0", Some((2, 0))), ("x", None)]
        {
            assert_eq!(numbers(text), expected, "{text}");
        }
        let error = Provider::detect(Some(ProviderKind::DockerPlugin), Some(Kind::Podman)).unwrap_err();
        assert_eq!(error.to_string(), "`docker compose` starts containers of docker, not of podman");
    }
}
