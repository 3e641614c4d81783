//! How a running stack is: every service is asked, at the same time, and the answers are one document.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value as Json;

use super::background::{self, SandboxState};
use super::ingot::{Endpoint, extras};
use super::load::Stack;
use super::state::Place;
use super::trouble::Trouble;
use super::up::own;
use super::wait::refresh;
use crate::engine::{Engine, Health, Service, State};
use crate::error::Result;
use crate::net::{Listening, in_parallel, probe};

/// How long a service may take to answer.
const ANSWERING: Duration = Duration::from_secs(5);
/// Services that are asked at the same time.
const AT_ONCE: usize = 32;
/// The longest answer that is shown as text, in characters.
const TEXT_LIMIT: usize = 2000;

/// `ingot stack health`.
#[derive(Clone, Debug, Serialize)]
pub struct StackHealth {
    /// The stack.
    pub stack: String,
    /// "healthy", "starting", "unhealthy" or "down".
    pub status: &'static str,
    /// Its services.
    pub services: BTreeMap<String, ServiceHealth>,
    /// Its sandbox, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxHealth>,
}

/// How a service is.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceHealth {
    /// "healthy", "running" (it has no check), "starting", "completed", "unhealthy" or "down".
    pub status: &'static str,
    /// What its container does; nothing if there is none.
    pub state: Option<State>,
    /// What its health check says.
    pub health: Option<Health>,
    /// Since when it is in this state.
    pub since: String,
    /// Its exit code, if it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// What its endpoint answers, if it has one that this machine reaches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointHealth>,
}

/// What an endpoint answers.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointHealth {
    /// Where it was asked.
    pub url: String,
    /// 200, 503.
    pub status: Option<u16>,
    /// The answer: JSON as it is, anything else as text.
    pub body: Json,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How the stack's sandbox is.
#[derive(Clone, Debug, Serialize)]
pub struct SandboxHealth {
    /// "healthy", "unhealthy" or "down".
    pub status: &'static str,
    /// Its process.
    pub pid: Option<u32>,
    /// What it says itself.
    pub answer: Option<Json>,
}

impl SandboxHealth {
    fn new(state: Option<SandboxState>) -> Self {
        let Some(state) = state else { return SandboxHealth { status: "down", pid: None, answer: None } };
        let status = match (state.pid, state.healthy) {
            (None, _) => "down",
            (_, true) => "healthy",
            (_, false) => "unhealthy",
        };
        SandboxHealth { status, pid: state.pid, answer: state.health }
    }
}

impl StackHealth {
    /// What is not well, if something is.
    pub fn trouble(&self) -> Option<Trouble> {
        let bad = |status: &str| !matches!(status, "healthy" | "running" | "completed");
        let services = self.services.iter().filter(|(_, one)| bad(one.status));
        let mut ill: Vec<String> = services.map(|(name, one)| format!("`{name}` is {}", one.status)).collect();
        ill.extend(
            self.sandbox.iter().filter(|one| bad(one.status)).map(|one| format!("the sandbox is {}", one.status)),
        );
        (!ill.is_empty()).then(|| Trouble::NotWell { stack: self.stack.clone(), ill })
    }
}

/// Asks everybody.
pub fn health(stack: &Stack, engine: &Engine, place: &Place) -> Result<StackHealth> {
    let mut containers = own(engine, &stack.name, &place.pinned())?;
    refresh(&mut containers, engine);
    let mut asked = Vec::new();
    for (name, service) in stack.services() {
        let own: Vec<&Service> = containers.iter().filter(|one| one.service == name).collect();
        asked.push((name, own, extras(stack, name, service)?.health));
    }
    let answers = in_parallel(&asked, AT_ONCE, |(_, own, endpoint)| Ok(of(own, endpoint.as_ref())))?;
    let services: BTreeMap<String, ServiceHealth> =
        asked.iter().map(|(name, ..)| name.to_string()).zip(answers).collect();
    let sandbox = match super::ingot::sandbox(stack)? {
        Some(_) => Some(SandboxHealth::new(background::look(place)?)),
        None => None,
    };
    let statuses: Vec<&str> =
        services.values().map(|one| one.status).chain(sandbox.iter().map(|one| one.status)).collect();
    Ok(StackHealth { stack: stack.name.clone(), status: overall(&statuses), services, sandbox })
}

fn overall(statuses: &[&str]) -> &'static str {
    let has = |status: &str| statuses.contains(&status);
    match () {
        () if statuses.iter().all(|status| *status == "down") => "down",
        () if has("unhealthy") || has("down") => "unhealthy",
        () if has("starting") => "starting",
        () => "healthy",
    }
}

/// The worst of a service's containers, and what its endpoint answers.
fn of(containers: &[&Service], endpoint: Option<&Endpoint>) -> ServiceHealth {
    let order = ["down", "unhealthy", "starting", "running", "healthy", "completed"];
    let rank = |one: &&&Service| order.iter().position(|status| *status == status_of(one));
    let Some(worst) = containers.iter().min_by_key(rank) else {
        let (state, health, exit_code, endpoint) = (None, None, None, None);
        return ServiceHealth { status: "down", state, health, since: String::new(), exit_code, endpoint };
    };
    let ended = matches!(worst.state, State::Exited | State::Dead);
    let answer = endpoint.filter(|_| worst.state == State::Running).and_then(|endpoint| ask(worst, endpoint));
    let mut status = status_of(worst);
    if let Some(answer) = &answer {
        let well = answer.status.is_some_and(|status| (200..300).contains(&status));
        status = match (well, status) {
            (true, "running") => "healthy",
            (true, status) => status,
            (false, "starting") => "starting",
            (false, _) => "unhealthy",
        };
    }
    ServiceHealth {
        status,
        state: Some(worst.state),
        health: worst.health.filter(|_| !ended),
        since: worst.since.clone(),
        exit_code: ended.then_some(worst.exit_code),
        endpoint: answer,
    }
}

fn status_of(service: &Service) -> &'static str {
    match (service.state, service.health) {
        (State::Running, None) => "running",
        (State::Running, Some(Health::Healthy)) => "healthy",
        (State::Running, Some(Health::Starting)) => "starting",
        (State::Running, Some(Health::Unhealthy)) => "unhealthy",
        (State::Exited, _) if service.exit_code == 0 && !service.is_restarted => "completed",
        (State::Paused | State::Restarting, _) => "unhealthy",
        _ => "down",
    }
}

/// Asks through the published port. Without one, the health check is what is known.
fn ask(service: &Service, endpoint: &Endpoint) -> Option<EndpointHealth> {
    let port = service.ports.iter().find(|port| port.target == endpoint.port && port.protocol == "tcp")?;
    let host = match port.host.parse().ok()? {
        IpAddr::V4(any) if any.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(any) if any.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        host => host,
    };
    let address = SocketAddr::new(host, port.published);
    let url = format!("http://{address}{}", endpoint.path);
    Some(match probe(Listening::Tcp(address), &endpoint.path, ANSWERING) {
        Ok(told) => EndpointHealth { url, status: Some(told.status), body: body(&told.body), error: None },
        Err(error) => EndpointHealth { url, status: None, body: Json::Null, error: Some(error.to_string()) },
    })
}

fn body(bytes: &[u8]) -> Json {
    let text = || Json::String(String::from_utf8_lossy(bytes).chars().take(TEXT_LIMIT).collect());
    serde_json::from_slice(bytes).unwrap_or_else(|_| text())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::engine::Port;
    use crate::error::Explain;

    fn container(state: State, health: Option<Health>) -> Service {
        Service { state, health, ..Service::example("web") }
    }

    fn served(answer: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0u8; 1024]);
            let _ = stream.write_all(answer.as_bytes());
        });
        port
    }

    #[test]
    fn the_worst_container_and_the_endpoint_say_how_a_service_is() {
        let running = container(State::Running, Some(Health::Healthy));
        let ill = container(State::Running, Some(Health::Unhealthy));
        assert_eq!(of(&[&running, &ill], None).status, "unhealthy");
        assert_eq!(of(&[], None).status, "down");
        assert_eq!(of(&[&container(State::Exited, None)], None).status, "completed");
        let failed = Service { exit_code: 1, ..container(State::Exited, Some(Health::Healthy)) };
        let told = of(&[&failed], None);
        assert_eq!((told.status, told.exit_code, told.health), ("down", Some(1), None));

        let endpoint = Endpoint { port: 80, path: "/h".into() };
        let with = |answer| {
            let port = Port { host: "0.0.0.0".into(), published: served(answer), target: 80, protocol: "tcp".into() };
            of(&[&Service { ports: vec![port], ..container(State::Running, None) }], Some(&endpoint))
        };
        let told = with("HTTP/1.0 200 OK\r\n\r\n{\"a\": 1}");
        assert_eq!((told.status, told.endpoint.unwrap().body["a"].clone()), ("healthy", 1.into()));
        let told = with("HTTP/1.0 503 No\r\n\r\nno database");
        assert_eq!((told.status, told.endpoint.unwrap().body), ("unhealthy", "no database".into()));
        let told = of(&[&container(State::Running, None)], Some(&endpoint));
        assert!(told.status == "running" && told.endpoint.is_none(), "nothing is published");
    }

    #[test]
    fn what_is_not_well_is_told() {
        assert_eq!(overall(&["healthy", "completed", "running"]), "healthy");
        assert_eq!(overall(&["healthy", "starting"]), "starting");
        assert_eq!(overall(&["healthy", "down"]), "unhealthy");
        assert_eq!(overall(&["down", "down"]), "down");
        let services = BTreeMap::from([
            ("a".to_string(), of(&[&container(State::Running, Some(Health::Healthy))], None)),
            ("b".to_string(), of(&[], None)),
        ]);
        let sandbox = Some(SandboxHealth::new(None));
        let health = StackHealth { stack: "app".into(), status: "unhealthy", services, sandbox };
        let trouble = health.trouble().unwrap();
        assert_eq!(trouble.to_string(), "the stack `app` is not well: `b` is down, the sandbox is down");
        assert_eq!(trouble.class().code(), 7);
    }
}
