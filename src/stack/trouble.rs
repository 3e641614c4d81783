//! What can go wrong when a stack is built, started, looked at or taken down. What is wrong with its files is
//! [`super::Error`].

use crate::engine::{self, Kind};
use crate::error::{Class, Explain};
use crate::oci::Digest;

/// A stack that does not come up, or does not run well.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// A variant that is several images.
    #[error("the image of `{service}` is more than one")]
    SeveralImages {
        /// The service.
        service: String,
    },
    /// An engine that took an image and has another one.
    #[error("{engine} was given the image {digest}, and has another one as `{name}`")]
    NotLoaded {
        /// Which engine.
        engine: Kind,
        /// What it is called there.
        name: String,
        /// The manifest's digest.
        digest: Digest,
    },
    /// A service whose image would be made by somebody else's tool.
    #[error("`{service}` is built from a Dockerfile, which Ingot does not run")]
    Dockerfile {
        /// The service.
        service: String,
    },
    /// A service that the stack does not have.
    #[error("the stack `{stack}` has no service `{service}`")]
    NoService {
        /// The stack.
        stack: String,
        /// The service.
        service: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// An image that is nowhere.
    #[error("{engine} has no image `{image}` for `{service}`, and `pull_policy: never` forbids to pull it")]
    NoImage {
        /// Which engine.
        engine: Kind,
        /// The service.
        service: String,
        /// The image.
        image: String,
    },
    /// Somebody waits for the health of a service that has no check.
    #[error("`{waiting}` waits until `{service}` is healthy, but that has no health check")]
    NoCheck {
        /// Who waits.
        waiting: String,
        /// For whom.
        service: String,
    },
    /// A health check that a provider or the engine has changed on its way.
    #[error("the health check of `{service}` has reached the engine in pieces: `{argument}` was one argument")]
    TornCheck {
        /// The service.
        service: String,
        /// The first argument that has spaces.
        argument: String,
    },
    /// A port of this machine that somebody else has.
    #[error("port {port} of {host}, which `{service}` publishes, is taken")]
    PortTaken {
        /// The service.
        service: String,
        /// The address.
        host: String,
        /// The port.
        port: u16,
    },
    /// A service that does not come up.
    #[error("`{service}` {why}")]
    NotUp {
        /// The stack.
        stack: String,
        /// The service.
        service: String,
        /// "has ended with exit code 1".
        why: String,
        /// The last lines of its log.
        log: Vec<String>,
        /// The services that run meanwhile, each with its state.
        running: Vec<String>,
    },
    /// A provider that could not start services.
    #[error("could not start {}", services.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))]
    NotStarted {
        /// The services.
        services: Vec<String>,
        /// Why not.
        #[source]
        source: engine::Error,
        /// What is there of the stack, each with its state.
        there: Vec<String>,
    },
    /// A stack of another folder has the name.
    #[error("a stack called `{stack}` runs already, from `{file}`")]
    OtherStack {
        /// The name.
        stack: String,
        /// The file that it was started from.
        file: String,
    },
    /// A volume that is to go is that of a stack of another folder.
    #[error("the volume `{volume}` is not of this `{stack}`, but of that in `{folder}`")]
    OtherVolume {
        /// Which engine.
        engine: Kind,
        /// The name of both.
        stack: String,
        /// The volume.
        volume: String,
        /// The folder of the other.
        folder: String,
    },
    /// The stack runs in the other engine.
    #[error("the stack `{stack}` runs with {engine} already, not with {asked}")]
    OtherEngine {
        /// The stack.
        stack: String,
        /// Where it runs.
        engine: String,
        /// Where it was to be started.
        asked: String,
    },
    /// A provider that says that all is well, when it is not.
    #[error("`{provider}` has left containers of `{stack}` behind: {}", left.join(", "))]
    Left {
        /// The provider.
        provider: String,
        /// The stack.
        stack: String,
        /// Names of containers.
        left: Vec<String>,
    },
    /// Something is not well.
    #[error("the stack `{stack}` is not well: {}", ill.join(", "))]
    NotWell {
        /// The stack.
        stack: String,
        /// Service and state.
        ill: Vec<String>,
    },
    /// Logs that could not be read to their end.
    #[error("{engine} could not show the logs of {count} containers to their end")]
    NoLogs {
        /// Which engine.
        engine: Kind,
        /// Of how many containers.
        count: usize,
    },
    /// The sandbox service does not come up.
    #[error("the stack's sandbox does not come up: {why}")]
    Sandbox {
        /// Why not.
        why: String,
        /// The last lines of its log.
        log: Vec<String>,
    },
    /// A folder that others could use against this user.
    #[error("`{path}` cannot be used for sockets: {why}")]
    Runtime {
        /// The folder.
        path: String,
        /// Why not.
        why: String,
    },
    /// A state that another version has written.
    #[error("`{path}` is not what Ingot writes there")]
    State {
        /// The file.
        path: String,
    },
    /// A value that has to be true or false.
    #[error("`{file}`, line {line}: `{key}` is `{value}`, expected true or false")]
    NoFlag {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// The key.
        key: String,
        /// What it is.
        value: String,
    },
    /// Something that no provider does as the specification says.
    #[error("`{file}`, line {line}: {what}")]
    Unsupported {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What.
        what: String,
        /// What to do instead.
        hint: &'static str,
    },
}

impl Explain for Trouble {
    fn class(&self) -> Class {
        match self {
            Trouble::SeveralImages { .. }
            | Trouble::Dockerfile { .. }
            | Trouble::NoService { .. }
            | Trouble::NoCheck { .. }
            | Trouble::NoFlag { .. }
            | Trouble::Unsupported { .. } => Class::Usage,
            Trouble::Runtime { .. } | Trouble::State { .. } => Class::Storage,
            _ => Class::Engine,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Trouble::SeveralImages { .. } => "name one variant: `x-ingot: { project: ./DIR, variant: NAME }`".into(),
            Trouble::NotLoaded { engine, .. } => format!("is {engine} in order? Is somebody else loading images?"),
            Trouble::Dockerfile { service } => format!(
                "let Ingot cast it (`x-ingot: {{ project: ./DIR }}`), or build it yourself and write `image: REF` for `{service}`"
            ),
            Trouble::NoService { known, .. } => format!("its services are {}", known.join(", ")),
            Trouble::NoImage { image, .. } => format!("load `{image}`, or leave `pull_policy` out"),
            Trouble::NoCheck { service, .. } => {
                format!("give `{service}` a `healthcheck`, or wait with `condition: service_started`")
            }
            Trouble::TornCheck { .. } => {
                "older podmans tear arguments at their spaces when Docker Compose calls them: take `--provider \
                                          podman-compose`, or write the check as one command of a shell (`CMD-SHELL`)"
                    .into()
            }
            Trouble::PortTaken { port, .. } => {
                format!("end what listens on it (`ss -ltnp 'sport = :{port}'` shows it), or publish another port")
            }
            Trouble::NotUp { service, .. } => format!(
                "`ingot stack logs {service}` shows all of its log; `ingot stack up` goes on from here, `ingot stack down` takes \
                 everything down"
            ),
            Trouble::NotStarted { .. } => {
                "`ingot stack ps` shows what is there; `ingot stack down` takes everything down".into()
            }
            Trouble::OtherStack { .. } => {
                "take that one down, or give this one another name (`name:` in the file, or COMPOSE_PROJECT_NAME)"
                    .into()
            }
            Trouble::OtherVolume { engine, volume, .. } => format!(
                "nothing was removed: `ingot stack down` leaves volumes, `{engine} volume rm {volume}` removes this one"
            ),
            Trouble::OtherEngine { engine, .. } => {
                format!("use it with `--engine {engine}`, or take it down first: `ingot stack down`")
            }
            Trouble::Left { .. } => "`ingot stack down` once more; `ingot stack ps` shows what is there".into(),
            Trouble::NotWell { .. } => {
                "`ingot stack ps` shows all of it, `ingot stack logs SERVICE` what a service says".into()
            }
            Trouble::NoLogs { engine, .. } => format!("what {engine} said itself stands among the lines"),
            Trouble::Sandbox { .. } => "`ingot sandbox check --image IMAGE` says whether sandboxes work here".into(),
            Trouble::Runtime { .. } => "set XDG_RUNTIME_DIR to a short folder that belongs to this user alone".into(),
            Trouble::State { path } => format!("remove `{path}`"),
            Trouble::NoFlag { .. } => "a variable that is empty, perhaps: write ${NAME:-false}".into(),
            Trouble::Unsupported { hint, .. } => hint.to_string(),
        })
    }

    fn details(&self) -> Option<String> {
        let (log, running): (&[String], &[String]) = match self {
            Trouble::NotUp { log, running, .. } => (log, running),
            Trouble::Sandbox { log, .. } => (log, &[]),
            Trouble::NotStarted { there, .. } if !there.is_empty() => {
                return Some(format!("there is {}", there.join(", ")));
            }
            _ => return None,
        };
        let mut out = String::new();
        if log.is_empty() {
            out += "its log is empty\n";
        } else {
            out += "the end of its log:\n";
            log.iter().for_each(|line| out += &format!("  {line}\n"));
        }
        if !running.is_empty() {
            out += &format!("still there: {}\n", running.join(", "));
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_what_and_what_to_do() {
        let text = String::from;
        let all = [
            Trouble::SeveralImages { service: text("web") },
            Trouble::NotLoaded { engine: Kind::Docker, name: text("localhost/a-web:1"), digest: Digest::of(b"x") },
            Trouble::Dockerfile { service: text("web") },
            Trouble::NoService { stack: text("app"), service: text("w"), known: vec![text("db"), text("web")] },
            Trouble::NoImage { engine: Kind::Podman, service: text("db"), image: text("db:1") },
            Trouble::NoCheck { waiting: text("web"), service: text("db") },
            Trouble::TornCheck { service: text("web"), argument: text("a b") },
            Trouble::PortTaken { service: text("web"), host: text("127.0.0.1"), port: 8080 },
            Trouble::NotUp {
                stack: text("app"),
                service: text("web"),
                why: text("has ended with exit code 1"),
                log: vec![text("one"), text("two")],
                running: vec![text("db (running, healthy)")],
            },
            Trouble::NotStarted {
                services: vec![text("db"), text("web")],
                source: engine::Error::Failed { command: text("podman-compose up"), said: text("no") },
                there: vec![text("db (created)")],
            },
            Trouble::OtherStack { stack: text("app"), file: text("/other/pinned.yaml") },
            Trouble::OtherVolume {
                engine: Kind::Docker,
                stack: text("app"),
                volume: text("app_data"),
                folder: text("/other"),
            },
            Trouble::OtherEngine { stack: text("app"), engine: text("podman"), asked: text("docker") },
            Trouble::Left { provider: text("podman-compose"), stack: text("app"), left: vec![text("app_web_1")] },
            Trouble::NotWell { stack: text("app"), ill: vec![text("web is unhealthy")] },
            Trouble::NoLogs { engine: Kind::Docker, count: 2 },
            Trouble::Sandbox { why: text("it has ended"), log: Vec::new() },
            Trouble::Runtime { path: text("/tmp/ingot-7"), why: text("it belongs to somebody else") },
            Trouble::State { path: text("/c/state.json") },
            Trouble::NoFlag { file: text("c.yaml"), line: 3, key: text("privileged"), value: text("maybe") },
            Trouble::Unsupported { file: text("c.yaml"), line: 4, what: text("no"), hint: "do without" },
        ];
        let told: Vec<String> = all
            .iter()
            .map(|one| {
                let details = one.details().map(|details| format!("\n{details}")).unwrap_or_default();
                format!("{} {one}\n  hint: {}{details}", one.class().code(), one.hint().unwrap())
            })
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        2 the image of `web` is more than one
          hint: name one variant: `x-ingot: { project: ./DIR, variant: NAME }`
        7 docker was given the image sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881, and has another one as `localhost/a-web:1`
          hint: is docker in order? Is somebody else loading images?
        2 `web` is built from a Dockerfile, which Ingot does not run
          hint: let Ingot cast it (`x-ingot: { project: ./DIR }`), or build it yourself and write `image: REF` for `web`
        2 the stack `app` has no service `w`
          hint: its services are db, web
        7 podman has no image `db:1` for `db`, and `pull_policy: never` forbids to pull it
          hint: load `db:1`, or leave `pull_policy` out
        2 `web` waits until `db` is healthy, but that has no health check
          hint: give `db` a `healthcheck`, or wait with `condition: service_started`
        7 the health check of `web` has reached the engine in pieces: `a b` was one argument
          hint: older podmans tear arguments at their spaces when Docker Compose calls them: take `--provider podman-compose`, or write the check as one command of a shell (`CMD-SHELL`)
        7 port 8080 of 127.0.0.1, which `web` publishes, is taken
          hint: end what listens on it (`ss -ltnp 'sport = :8080'` shows it), or publish another port
        7 `web` has ended with exit code 1
          hint: `ingot stack logs web` shows all of its log; `ingot stack up` goes on from here, `ingot stack down` takes everything down
        the end of its log:
          one
          two
        still there: db (running, healthy)

        7 could not start `db`, `web`
          hint: `ingot stack ps` shows what is there; `ingot stack down` takes everything down
        there is db (created)
        7 a stack called `app` runs already, from `/other/pinned.yaml`
          hint: take that one down, or give this one another name (`name:` in the file, or COMPOSE_PROJECT_NAME)
        7 the volume `app_data` is not of this `app`, but of that in `/other`
          hint: nothing was removed: `ingot stack down` leaves volumes, `docker volume rm app_data` removes this one
        7 the stack `app` runs with podman already, not with docker
          hint: use it with `--engine podman`, or take it down first: `ingot stack down`
        7 `podman-compose` has left containers of `app` behind: app_web_1
          hint: `ingot stack down` once more; `ingot stack ps` shows what is there
        7 the stack `app` is not well: web is unhealthy
          hint: `ingot stack ps` shows all of it, `ingot stack logs SERVICE` what a service says
        7 docker could not show the logs of 2 containers to their end
          hint: what docker said itself stands among the lines
        7 the stack's sandbox does not come up: it has ended
          hint: `ingot sandbox check --image IMAGE` says whether sandboxes work here
        its log is empty

        6 `/tmp/ingot-7` cannot be used for sockets: it belongs to somebody else
          hint: set XDG_RUNTIME_DIR to a short folder that belongs to this user alone
        6 `/c/state.json` is not what Ingot writes there
          hint: remove `/c/state.json`
        2 `c.yaml`, line 3: `privileged` is `maybe`, expected true or false
          hint: a variable that is empty, perhaps: write ${NAME:-false}
        2 `c.yaml`, line 4: no
          hint: do without
        ");
    }
}
