//! The containers of one stack, as the engine itself knows them: found by the labels that every compose provider gives.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::error::{clean, last_line};
use super::transfer::argument;
use super::{Engine, Error, Kind};

/// How long an engine may take to say what it has.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);
/// The most containers of a stack.
const CONTAINERS_LIMIT: usize = 1000;
/// The label with the stack's name.
const PROJECT: &str = "com.docker.compose.project";
/// The label with the service's name.
const SERVICE: &str = "com.docker.compose.service";
/// The label with the file that it was started from.
const FILES: &str = "com.docker.compose.project.config_files";
/// Of a container that somebody started beside the services (`compose run`).
const ONE_OFF: &str = "com.docker.compose.oneoff";
/// docker's own values for what a check leaves open.
const INTERVAL: Duration = Duration::from_secs(30);
/// See [`INTERVAL`].
const TIMEOUT: Duration = Duration::from_secs(30);
/// See [`INTERVAL`].
const RETRIES: u32 = 3;

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is there and was never started.
    Created,
    /// It runs.
    Running,
    /// It stands still.
    Paused,
    /// The engine starts it again and again.
    Restarting,
    /// It has ended.
    Exited,
    /// The engine is not done with removing it, or cannot.
    Dead,
}

/// What the engine says of a container's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Nobody knows yet.
    Starting,
    /// The last check passed.
    Healthy,
    /// As many checks as it may fail have failed.
    Unhealthy,
}

/// When a container's health is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Failures do not count for so long after the start.
    pub start_period: Duration,
    /// Between two checks.
    pub interval: Duration,
    /// Between two checks while it starts, if that is said.
    pub start_interval: Option<Duration>,
    /// How long one may take.
    pub timeout: Duration,
    /// How many may fail in a row.
    pub retries: u32,
}

impl HealthCheck {
    /// How long a container has until it is healthy or never will be.
    pub fn patience(&self) -> Duration {
        self.start_period.saturating_add(self.interval.saturating_add(self.timeout).saturating_mul(self.retries))
    }
}

/// A port of a container on this machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Port {
    /// The address that is listened on.
    pub host: String,
    /// The port of this machine.
    pub published: u16,
    /// The port in the container.
    pub target: u16,
    /// "tcp", "udp".
    pub protocol: String,
}

/// One container of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The service.
    pub service: String,
    /// The container's ID.
    pub id: String,
    /// The container's name.
    pub name: String,
    /// The image as it was named.
    pub image: String,
    /// The image's ID.
    pub image_id: String,
    /// What it does.
    pub state: State,
    /// Its exit code, if it has ended.
    pub exit_code: i64,
    /// Whether the kernel killed it for want of memory.
    pub out_of_memory: bool,
    /// What the engine says of why it could not be started.
    pub error: String,
    /// Since when it is in this state, as the engine says.
    pub since: String,
    /// How often the engine has started it again.
    pub restarts: u64,
    /// Whether the engine starts it again when it ends.
    pub is_restarted: bool,
    /// Its health, if it has a check.
    pub health: Option<Health>,
    /// When its health is looked at, if it has a check.
    pub check: Option<HealthCheck>,
    /// The command of that check, with `CMD` or `CMD-SHELL` before it.
    pub test: Vec<String>,
    /// Its ports on this machine.
    pub ports: Vec<Port>,
    /// The file that it was started from.
    pub file: String,
    /// What it has of this machine: the paths of files and folders.
    pub binds: Vec<String>,
    /// Of what the engine lets it have so much and no more: "memory", "pids", "cpus".
    pub limits: Vec<&'static str>,
}

impl Service {
    /// One that runs and has nothing, for tests.
    #[cfg(test)]
    pub(crate) fn example(service: &str) -> Service {
        Service {
            service: service.into(),
            id: "aa".into(),
            name: format!("app_{service}_1"),
            image: "i".into(),
            image_id: "b".into(),
            state: State::Running,
            exit_code: 0,
            out_of_memory: false,
            error: String::new(),
            since: "2026-11-22T11:00:00Z".into(),
            restarts: 0,
            is_restarted: false,
            health: None,
            check: None,
            test: Vec::new(),
            ports: Vec::new(),
            file: String::new(),
            binds: Vec::new(),
            limits: Vec::new(),
        }
    }
}

impl Engine {
    /// Every container of a stack, running or not, sorted by service and name.
    pub fn project(&self, name: &str) -> Result<Vec<Service>, Error> {
        if !argument(name) {
            return Err(Error::Argument { kind: self.kind, text: clean(name) });
        }
        let filter = format!("label={PROJECT}={name}");
        let listed = self.asked("ps", &["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter])?;
        let ids: Vec<&str> = listed.lines().map(str::trim).filter(|id| argument(id)).take(CONTAINERS_LIMIT).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let words = [&["container", "inspect"], &ids[..]].concat();
        let found: Vec<Inspected> = self.inspected("container inspect", &words)?;
        let mut services: Vec<Service> = found.into_iter().filter_map(Inspected::service).collect();
        services.sort_by(|one, other| (&one.service, &one.name).cmp(&(&other.service, &other.name)));
        Ok(services)
    }

    /// The names of the volumes that belong to a stack, sorted.
    pub fn project_volumes(&self, name: &str) -> Result<Vec<String>, Error> {
        if !argument(name) {
            return Err(Error::Argument { kind: self.kind, text: clean(name) });
        }
        let filter = format!("label={PROJECT}={name}");
        let listed = self.asked("volume ls", &["volume", "ls", "--quiet", "--filter", &filter])?;
        let mut names: Vec<String> = listed.lines().map(clean).filter(|name| argument(name)).collect();
        names.sort();
        Ok(names)
    }

    /// What a label of volumes says, of those of them that are there and have it.
    pub fn volume_labels(&self, names: &[String], label: &str) -> Result<BTreeMap<String, String>, Error> {
        // One that is not there would be an error.
        let listed = self.asked("volume ls", &["volume", "ls", "--quiet"])?;
        let is_there = |name: &&str| argument(name) && names.iter().any(|wanted| wanted == name);
        let names: Vec<&str> = listed.lines().map(str::trim).filter(is_there).collect();
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let found: Vec<InspectedVolume> =
            self.inspected("volume inspect", &[&["volume", "inspect"], &names[..]].concat())?;
        let labelled = |volume: InspectedVolume| Some((clean(&volume.name), clean(volume.labels.get(label)?)));
        Ok(found.into_iter().filter_map(labelled).collect())
    }

    /// Whether somebody has to run health checks: docker does it by itself, podman's timers need systemd.
    pub fn needs_checking(&self) -> bool {
        self.kind == Kind::Podman
    }

    fn asked(&self, verb: &str, words: &[&str]) -> Result<String, Error> {
        self.succeeds(verb, self.command(words.iter().copied()), ASK_TIMEOUT)
    }

    /// What an engine tells of several things. One that is not there, or not any more, is an error for it, and it still
    /// tells of the others.
    fn inspected<T: DeserializeOwned>(&self, verb: &str, words: &[&str]) -> Result<Vec<T>, Error> {
        let output = self.output(self.command(words.iter().copied()), ASK_TIMEOUT)?;
        let command = format!("{} {verb}", self.kind);
        match serde_json::from_slice(&output.stdout) {
            Ok(found) => Ok(found),
            Err(_) if !output.status.success() => {
                Err(Error::Failed { command, said: last_line(&output.stderr_text()) })
            }
            Err(_) => Err(Error::Nonsense { command, said: last_line(&output.stdout_text()) }),
        }
    }
}

/// `null` where a list, a mapping or a text is meant.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    image: String,
    // podman's; docker has it in the configuration.
    #[serde(default, deserialize_with = "or_default")]
    image_name: String,
    #[serde(default, deserialize_with = "or_default")]
    restart_count: u64,
    state: InspectedState,
    #[serde(default, deserialize_with = "or_default")]
    config: InspectedConfig,
    #[serde(default, deserialize_with = "or_default")]
    host_config: InspectedHost,
    #[serde(default, deserialize_with = "or_default")]
    network_settings: InspectedNetwork,
    #[serde(default, deserialize_with = "or_default")]
    mounts: Vec<InspectedMount>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedMount {
    #[serde(default, deserialize_with = "or_default", rename = "Type")]
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    source: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedVolume {
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedState {
    status: String,
    #[serde(default, deserialize_with = "or_default")]
    exit_code: i64,
    #[serde(default, deserialize_with = "or_default", rename = "OOMKilled")]
    oom_killed: bool,
    #[serde(default, deserialize_with = "or_default")]
    error: String,
    #[serde(default, deserialize_with = "or_default")]
    started_at: String,
    #[serde(default, deserialize_with = "or_default")]
    finished_at: String,
    // podman before 4.0 calls it so.
    #[serde(default, alias = "Healthcheck")]
    health: Option<InspectedHealth>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedHealth {
    #[serde(default, deserialize_with = "or_default")]
    status: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct InspectedConfig {
    #[serde(deserialize_with = "or_default")]
    image: String,
    #[serde(deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
    healthcheck: Option<InspectedCheck>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct InspectedCheck {
    #[serde(deserialize_with = "or_default")]
    test: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    start_period: i64,
    #[serde(deserialize_with = "or_default")]
    start_interval: i64,
    #[serde(deserialize_with = "or_default")]
    interval: i64,
    #[serde(deserialize_with = "or_default")]
    timeout: i64,
    #[serde(deserialize_with = "or_default")]
    retries: i64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct InspectedHost {
    #[serde(deserialize_with = "or_default")]
    restart_policy: InspectedRestart,
    #[serde(deserialize_with = "or_default")]
    memory: i64,
    #[serde(deserialize_with = "or_default")]
    pids_limit: i64,
    #[serde(deserialize_with = "or_default")]
    nano_cpus: i64,
    #[serde(deserialize_with = "or_default")]
    cpu_quota: i64,
}

impl InspectedHost {
    /// What is limited. An engine that cannot limit something does not say that it does (podman 4.3 without root was seen).
    fn limits(&self) -> Vec<&'static str> {
        let all = [("memory", self.memory), ("pids", self.pids_limit), ("cpus", self.nano_cpus.max(self.cpu_quota))];
        all.into_iter().filter(|(_, limit)| *limit > 0).map(|(what, _)| what).collect()
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct InspectedRestart {
    #[serde(deserialize_with = "or_default")]
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct InspectedNetwork {
    #[serde(deserialize_with = "or_default")]
    ports: BTreeMap<String, Option<Vec<InspectedPort>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct InspectedPort {
    #[serde(deserialize_with = "or_default")]
    host_ip: String,
    #[serde(deserialize_with = "or_default")]
    host_port: String,
}

impl Inspected {
    fn service(self) -> Option<Service> {
        let label = |name: &str| self.config.labels.get(name).map(|text| clean(text)).unwrap_or_default();
        let service = label(SERVICE);
        if !argument(&self.id) || !argument(&service) || label(ONE_OFF).eq_ignore_ascii_case("true") {
            return None;
        }
        let state = self.state.known();
        let check = self.config.healthcheck.as_ref().and_then(InspectedCheck::known);
        let status = self.state.health.as_ref().map(|health| health.status.as_str());
        let health = check.map(|_| match status {
            Some("healthy") => Health::Healthy,
            Some("unhealthy") => Health::Unhealthy,
            _ => Health::Starting,
        });
        let ran = matches!(state, State::Exited | State::Dead);
        let since = if ran { &self.state.finished_at } else { &self.state.started_at };
        let policy = self.host_config.restart_policy.name.as_str();
        Some(Service {
            state,
            health,
            check,
            test: self.config.healthcheck.map(|check| check.test).unwrap_or_default(),
            since: moment(since),
            exit_code: self.state.exit_code,
            out_of_memory: self.state.oom_killed,
            error: clean(&self.state.error),
            restarts: self.restart_count,
            is_restarted: !matches!(policy, "" | "no" | "never"),
            limits: self.host_config.limits(),
            image: clean(if self.image_name.is_empty() { &self.config.image } else { &self.image_name }),
            image_id: clean(&self.image),
            ports: self.network_settings.known(),
            file: label(FILES),
            binds: self.mounts.into_iter().filter(|mount| mount.kind == "bind").map(|mount| mount.source).collect(),
            name: clean(self.name.trim_start_matches('/')),
            id: self.id,
            service,
        })
    }
}

impl InspectedState {
    fn known(&self) -> State {
        match self.status.as_str() {
            "running" | "stopping" => State::Running,
            "paused" => State::Paused,
            "restarting" => State::Restarting,
            "exited" | "stopped" => State::Exited,
            "dead" | "removing" => State::Dead,
            // podman's "configured" and "initialized" are on their way to the first start.
            _ => State::Created,
        }
    }
}

impl InspectedCheck {
    fn known(&self) -> Option<HealthCheck> {
        if self.test.is_empty() || self.test.first().is_some_and(|first| first == "NONE") {
            return None;
        }
        // An image's author has written them: any number.
        let time = |nanoseconds: i64| Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or_default());
        let or = |nanoseconds: i64, usual| if nanoseconds > 0 { time(nanoseconds) } else { usual };
        Some(HealthCheck {
            start_period: time(self.start_period),
            start_interval: (self.start_interval > 0).then(|| time(self.start_interval)),
            interval: or(self.interval, INTERVAL),
            timeout: or(self.timeout, TIMEOUT),
            retries: match u32::try_from(self.retries) {
                Ok(0) => RETRIES,
                Ok(retries) => retries,
                Err(_) if self.retries < 0 => RETRIES,
                Err(_) => u32::MAX,
            },
        })
    }
}

impl InspectedNetwork {
    /// Sorted, each once: docker lists IPv4 and IPv6 beside one another.
    fn known(self) -> Vec<Port> {
        let mut ports = Vec::new();
        for (target, hosts) in self.ports {
            let (target, protocol) = target.split_once('/').unwrap_or((&target, "tcp"));
            let Ok(target) = target.parse() else { continue };
            for host in hosts.into_iter().flatten() {
                let Ok(published) = host.host_port.parse() else { continue };
                let address = if host.host_ip.is_empty() { "0.0.0.0".to_string() } else { clean(&host.host_ip) };
                ports.push(Port { host: address, published, target, protocol: clean(protocol) });
            }
        }
        ports.sort();
        ports.dedup();
        ports
    }
}

/// A time as RFC 3339 in UTC and whole seconds; nothing of a time that never was.
fn moment(text: &str) -> String {
    let Ok(time) = text.parse::<jiff::Timestamp>() else { return String::new() };
    if time.as_second() <= 0 {
        return String::new();
    }
    jiff::Timestamp::from_second(time.as_second()).map(|time| time.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::fake;
    use crate::error::Explain;

    /// As docker 28 says it.
    const DOCKER: &str = r#"[{"Id":"aa11","Name":"/app-web-1","Image":"sha256:77","RestartCount":2,
        "State":{"Status":"running","ExitCode":0,"OOMKilled":false,"Error":"","StartedAt":"2026-11-22T11:00:00.5Z",
        "FinishedAt":"0001-01-01T00:00:00Z","Health":{"Status":"healthy","FailingStreak":0,"Log":[]}},
        "Config":{"Image":"localhost/app-web:1","Labels":{"com.docker.compose.service":"web",
        "com.docker.compose.project.config_files":"/s/pinned.yaml"},
        "Healthcheck":{"Test":["CMD","x"],"Interval":1000000000,"StartPeriod":2000000000,"Retries":5}},
        "HostConfig":{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":5},"Memory":64,"PidsLimit":null,"NanoCpus":5},
        "NetworkSettings":{"Ports":{"8080/tcp":[{"HostIp":"127.0.0.1","HostPort":"18080"}],"9/udp":null}},
        "Mounts":[{"Type":"bind","Source":"/run/i/files/secret","Destination":"/run/secrets/s"},{"Type":"volume","Source":"/v"}]},
        {"Id":"bb","Name":"/run","State":{"Status":"exited"},"Config":{"Labels":{"com.docker.compose.service":"web",
        "com.docker.compose.oneoff":"True"}}},{"Id":"cc","State":{"Status":"exited"},"Config":{"Labels":null}}]"#;

    /// As podman 4.3 says it.
    const PODMAN: &str = r#"[{"Id":"aa11","Name":"app_db_1","Image":"77","ImageName":"localhost/app-db:1","RestartCount":0,
        "State":{"Status":"exited","ExitCode":137,"OOMKilled":true,"Error":"","StartedAt":"2026-11-22T12:00:00.5+01:00",
        "FinishedAt":"2026-11-22T12:00:05.25+01:00","Health":{"Status":"","FailingStreak":0,"Log":null}},
        "Config":{"Image":"x","Labels":{"com.docker.compose.service":"db"},"Healthcheck":{"Test":["NONE"]}},
        "HostConfig":{"RestartPolicy":{"Name":"","MaximumRetryCount":0},"Memory":0,"PidsLimit":-1},"NetworkSettings":{"Ports":{}}}]"#;

    fn project(kind: Kind, said: &str) -> Result<Vec<Service>, Error> {
        let (folder, engine) = fake(kind, "[ $1 = ps ] && { echo aa11; exit; }\ncat \"$(dirname \"$0\")/said\"");
        std::fs::write(folder.path().join("said"), said).unwrap();
        engine.project("app")
    }

    #[test]
    fn containers_are_read_as_both_engines_tell_them() {
        let found = project(Kind::Docker, DOCKER).unwrap();
        let [web] = &found[..] else { panic!("{found:?}") };
        assert_eq!((web.service.as_str(), web.name.as_str(), web.state), ("web", "app-web-1", State::Running));
        assert_eq!((web.health, web.restarts, web.is_restarted), (Some(Health::Healthy), 2, true));
        assert_eq!((web.since.as_str(), web.image.as_str()), ("2026-11-22T11:00:00Z", "localhost/app-web:1"));
        let check = web.check.unwrap();
        assert_eq!((check.interval, check.timeout, check.retries), (Duration::from_secs(1), TIMEOUT, 5));
        assert_eq!(check.patience(), Duration::from_secs(2 + 5 * 31));
        let port = Port { host: "127.0.0.1".into(), published: 18080, target: 8080, protocol: "tcp".into() };
        assert_eq!((web.ports.clone(), web.file.as_str()), (vec![port], "/s/pinned.yaml"));
        assert_eq!(web.binds, ["/run/i/files/secret"]);
        assert_eq!(web.limits, ["memory", "cpus"]);

        let found = project(Kind::Podman, PODMAN).unwrap();
        let [db] = &found[..] else { panic!("{found:?}") };
        assert_eq!((db.state, db.exit_code, db.out_of_memory, db.is_restarted), (State::Exited, 137, true, false));
        assert_eq!((db.since.as_str(), db.health, db.check), ("2026-11-22T11:00:05Z", None, None));
        assert_eq!((db.image.as_str(), db.limits.len()), ("localhost/app-db:1", 0));
    }

    #[test]
    fn a_check_of_any_numbers_is_a_check() {
        let with = |check: &str| {
            let said = format!(
                r#"[{{"Id":"a","State":{{"Status":"running"}},"Config":{{"Labels":{{"com.docker.compose.service":"web"}},"Healthcheck":{{"Test":["CMD","x"],{check}}}}}}}]"#
            );
            project(Kind::Docker, &said).unwrap()[0].check.unwrap()
        };
        let huge = with(r#""Interval":9223372036854775807,"Timeout":9223372036854775807,"Retries":9999999999"#);
        assert_eq!((huge.retries, huge.patience() > huge.interval), (u32::MAX, true));
        let none = with(r#""Interval":-1,"StartPeriod":-1,"Retries":-1"#);
        assert_eq!((none.interval, none.start_period, none.retries), (INTERVAL, Duration::ZERO, RETRIES));
    }

    #[test]
    fn no_containers_garbage_and_silence_are_told_apart() {
        let (_folder, engine) = fake(Kind::Docker, "true");
        assert_eq!(engine.project("app").unwrap(), []);
        for garbage in ["{", "[{\"Id\":7}]", ""] {
            let error = project(Kind::Docker, garbage).unwrap_err();
            assert!(matches!(error, Error::Nonsense { .. }), "{garbage}: {error}");
        }
        let (_folder, engine) = fake(Kind::Docker, "echo 'Cannot connect to the Docker daemon' >&2; exit 1");
        let error = engine.project("app").unwrap_err();
        assert_eq!(error.to_string(), "`docker ps` failed: Cannot connect to the Docker daemon");
        assert_eq!(error.class().code(), 7);
        assert!(matches!(engine.project("--all"), Err(Error::Argument { .. })));
        let (_folder, engine) = fake(Kind::Podman, "printf 'app_data\\n--all\\napp_a\\n'");
        assert_eq!(engine.project_volumes("app").unwrap(), ["app_a", "app_data"]);
    }
}
