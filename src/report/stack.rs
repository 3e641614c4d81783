//! What people and programs read of a running stack.

use serde::Serialize;

use crate::engine::{Health, Port, Service, State};
use crate::stack::background::SandboxState;
use crate::stack::ingot::SANDBOX;
use crate::stack::up;
use crate::text::{Align, Table};

/// One container of a service, or the stack's sandbox.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceReport {
    /// The service.
    pub service: String,
    /// The container's name.
    pub container: String,
    /// Its image.
    pub image: String,
    /// What it does.
    pub state: State,
    /// Its health, if it has a check.
    pub health: Option<Health>,
    /// Since when, as RFC 3339.
    pub since: String,
    /// Its exit code, if it has ended.
    pub exit_code: Option<i64>,
    /// How often the engine has started it again.
    pub restarts: u64,
    /// Its ports on this machine.
    pub ports: Vec<Port>,
}

/// `ingot stack ps`.
#[derive(Clone, Debug, Serialize)]
pub struct StackReport {
    /// The stack.
    pub stack: String,
    /// Where it runs; nothing if it is not up.
    pub engine: Option<String>,
    /// Its containers.
    pub services: Vec<ServiceReport>,
}

impl ServiceReport {
    /// Of a container.
    pub fn new(service: &Service) -> Self {
        let ended = matches!(service.state, State::Exited | State::Dead);
        ServiceReport {
            service: service.service.clone(),
            container: service.name.clone(),
            image: service.image.clone(),
            state: service.state,
            health: service.health.filter(|_| service.state == State::Running),
            since: service.since.clone(),
            exit_code: ended.then_some(service.exit_code),
            restarts: service.restarts,
            ports: service.ports.clone(),
        }
    }

    /// Of the stack's sandbox, which is no container.
    pub fn sandbox(sandbox: &SandboxState) -> Self {
        let health = if sandbox.healthy { Health::Healthy } else { Health::Unhealthy };
        ServiceReport {
            service: SANDBOX.into(),
            container: sandbox.pid.map(|pid| format!("process {pid}")).unwrap_or_default(),
            image: sandbox.image.clone(),
            state: if sandbox.pid.is_some() { State::Running } else { State::Dead },
            health: sandbox.pid.map(|_| health),
            since: String::new(),
            exit_code: None,
            restarts: 0,
            ports: Vec::new(),
        }
    }
}

impl StackReport {
    /// A table.
    pub fn text(&self) -> String {
        let left = |name| (name, Align::Left);
        let mut table =
            Table::new([left("SERVICE"), left("STATE"), left("HEALTH"), left("SINCE"), left("PORTS"), left("IMAGE")]);
        for one in &self.services {
            let state = match one.exit_code {
                Some(code) => format!("{} ({code})", up::state(one.state)),
                None => up::state(one.state).to_string(),
            };
            table.row([
                one.service.clone(),
                state,
                one.health.map(up::health).unwrap_or_default().to_string(),
                one.since.replace('T', " ").trim_end_matches('Z').to_string(),
                one.ports.iter().map(port).collect::<Vec<_>>().join(", "),
                one.image.clone(),
            ]);
        }
        table.render()
    }
}

/// "127.0.0.1:8080->80"
fn port(port: &Port) -> String {
    let protocol = if port.protocol == "tcp" { String::new() } else { format!("/{}", port.protocol) };
    let host = if port.host.contains(':') { format!("[{}]", port.host) } else { port.host.clone() };
    format!("{host}:{}->{}{protocol}", port.published, port.target)
}

/// An image that Ingot cast for a service.
#[derive(Clone, Debug, Serialize)]
pub struct ImageLine {
    /// The service.
    pub service: String,
    /// What it is called in an engine.
    pub name: String,
    /// The manifest's digest.
    pub digest: String,
    /// Its compressed layers in bytes.
    pub size: u64,
    /// How many of its layers had to be made.
    pub made: usize,
}

/// `ingot stack build`.
#[derive(Clone, Debug, Serialize)]
pub struct BuiltReport {
    /// The stack.
    pub stack: String,
    /// The layout that has them, each under its service's name.
    pub layout: String,
    /// The images.
    pub images: Vec<ImageLine>,
}

impl BuiltReport {
    /// `oci:DIR:SERVICE@sha256:...`, a line for each.
    pub fn text(&self) -> String {
        let line = |one: &ImageLine| format!("oci:{}:{}@{}\n", self.layout, one.service, one.digest);
        self.images.iter().map(line).collect()
    }
}
