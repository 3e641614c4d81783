//! Bringing a stack up: each service is started when those that it waits for are as far as it wants them to be. Ingot
//! looks for itself and does not leave that to providers, of which one does not wait for health and another waits for
//! ever (docs/stack.md).

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use super::load::Stack;
use super::order::{Condition, Order};
use super::ports;
use super::torn;
use super::trouble::Trouble;
use super::wait::{Progress, Watch};
use crate::engine::{Engine, Health, LastLine, Provider, ProviderProject, Service, State};
use crate::error::Result;

/// How often the engine is asked.
const TICK: Duration = Duration::from_millis(250);
/// How much of a failing service's log is shown.
const TAIL: u32 = 20;

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The service.
    pub service: String,
    /// "waiting for db", "running".
    pub state: String,
    /// "starting", "healthy"; nothing without a check.
    pub health: String,
    /// How long ago it was started.
    pub age: Option<Duration>,
    /// The last line that it said, if somebody wants to see it.
    pub line: String,
}

/// Sees how a stack comes up.
pub trait Viewer {
    /// All services, every time that something may have changed.
    fn show(&mut self, rows: &[Row]);

    /// Whether it shows what services say.
    fn wants_lines(&self) -> bool {
        false
    }
}

/// What is to be brought up.
pub struct Rise<'a> {
    /// The stack.
    pub stack: &'a Stack,
    /// Its services, in order.
    pub order: &'a Order,
    /// Who starts containers.
    pub provider: &'a Provider,
    /// From what.
    pub project: &'a ProviderProject,
    /// The health checks that it has ([`torn::checks`]); those of an engine that has others are not waited for.
    pub checks: &'a BTreeMap<String, Vec<String>>,
    /// How long each service may take, instead of its own time.
    pub timeout: Option<Duration>,
    /// Whether running containers are ended and started again.
    pub restart: bool,
    /// Whether the containers that run are those of the same file: then the provider is not asked.
    pub unchanged: bool,
}

enum Phase {
    Waiting,
    Started(Box<Watch>, Progress),
}

/// Starts all services, and waits for them.
pub fn rise(rise: &Rise<'_>, viewer: &mut dyn Viewer) -> Result<Vec<Service>> {
    let engine = rise.provider.engine();
    let mut containers = own(engine, &rise.project.name, &rise.project.file)?;
    let mut phases: BTreeMap<String, Phase> =
        rise.order.services().map(|name| (name.to_string(), Phase::Waiting)).collect();
    let mut lines = Lines::default();
    loop {
        let free = startable(rise.order, &phases);
        if !free.is_empty() {
            start(rise, &free, &containers, &mut phases)?;
            containers = own(engine, &rise.project.name, &rise.project.file)?;
        }
        let mut failed = None;
        for (name, phase) in &mut phases {
            let Phase::Started(watch, progress) = phase else { continue };
            let own: Vec<&Service> = containers.iter().filter(|one| one.service == *name).collect();
            *progress = watch.look(&own, engine);
            without_check(rise.order, name, &own)?;
            torn::whole(rise.checks, name, &own)?;
            if let Progress::Failed(why) = progress {
                failed = failed.or(Some((name.clone(), why.clone())));
            }
        }
        failed = failed.or_else(|| in_vain(rise.order, &phases));
        if viewer.wants_lines() {
            lines.read(engine, &containers, &phases);
        }
        viewer.show(&rows(rise.order, &phases, &containers, &lines));
        if let Some((service, why)) = failed {
            return Err(not_up(engine, &rise.project.name, &service, why, &containers).into());
        }
        let settled = |phase: &Phase| matches!(phase, Phase::Started(_, Progress::Up | Progress::Done));
        if phases.values().all(settled) {
            return Ok(containers);
        }
        // Something may be startable at once.
        if startable(rise.order, &phases).is_empty() {
            thread::sleep(TICK);
            containers = own(engine, &rise.project.name, &rise.project.file)?;
        }
    }
}

/// A service that has ended, although another waits until it is healthy.
fn in_vain(order: &Order, phases: &BTreeMap<String, Phase>) -> Option<(String, String)> {
    let waiting = phases.iter().filter(|(_, phase)| matches!(phase, Phase::Waiting));
    let mut pairs = waiting.flat_map(|(name, _)| order.waits(name).map(move |(on, condition)| (name, on, condition)));
    let (name, on, _) = pairs.find(|(_, on, condition)| {
        *condition == Condition::Healthy && matches!(phases.get(*on), Some(Phase::Started(_, Progress::Done)))
    })?;
    Some((on.to_string(), format!("has ended, and `{name}` waits until it is healthy")))
}

/// The containers of this stack; one of the same name from another folder is not it.
pub fn own(engine: &Engine, name: &str, file: &std::path::Path) -> Result<Vec<Service>> {
    let containers = engine.project(name)?;
    let file = file.display().to_string();
    match containers.iter().find(|one| !one.file.is_empty() && one.file != file) {
        Some(other) => Err(Trouble::OtherStack { stack: name.into(), file: other.file.clone() }.into()),
        None => Ok(containers),
    }
}

/// The services that wait for nothing any more.
fn startable(order: &Order, phases: &BTreeMap<String, Phase>) -> Vec<String> {
    let is_met = |(on, condition): (&str, Condition)| match phases.get(on) {
        Some(Phase::Started(_, progress)) => match condition {
            Condition::Started => matches!(progress, Progress::Runs | Progress::Up | Progress::Done),
            Condition::Healthy => *progress == Progress::Up,
            Condition::Completed => *progress == Progress::Done,
        },
        _ => false,
    };
    let waiting = phases.iter().filter(|(_, phase)| matches!(phase, Phase::Waiting));
    waiting.filter(|(name, _)| order.waits(name).all(is_met)).map(|(name, _)| name.clone()).collect()
}

fn start(rise: &Rise<'_>, free: &[String], containers: &[Service], phases: &mut BTreeMap<String, Phase>) -> Result<()> {
    let runs = |name: &str| {
        let mut own = containers.iter().filter(|one| one.service == name).peekable();
        // What others wait for the end of is done; a server that was stopped, as by the machine's end, is not.
        let is_job = rise.order.wanted(name) == Some(Condition::Completed);
        let is_done = |one: &Service| is_job && one.state == State::Exited && one.exit_code == 0;
        own.peek().is_some() && own.all(|one| one.state == State::Running || is_done(one))
    };
    let names: Vec<&str> = free.iter().map(String::as_str).collect();
    let (there, missing): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| runs(name));
    if rise.restart && !there.is_empty() {
        rise.provider.restart(rise.project, &there).map_err(|error| refused(rise, &there, error))?;
    }
    let wanted = if rise.unchanged || rise.restart { missing } else { names.clone() };
    if !wanted.is_empty() {
        ports::free(rise.stack, &wanted, containers)?;
        rise.provider.up(rise.project, &wanted).map_err(|error| refused(rise, &wanted, error))?;
    }
    for name in names {
        let watch = Watch::new(rise.order.wanted(name), rise.timeout);
        phases.insert(name.into(), Phase::Started(Box::new(watch), Progress::Coming));
    }
    Ok(())
}

/// A provider's failure, in better words where it is about a port that was taken in the last moment.
fn refused(rise: &Rise<'_>, wanted: &[&str], source: crate::engine::Error) -> Trouble {
    let said = source.to_string().to_lowercase();
    let containers = rise.provider.engine().project(&rise.project.name).unwrap_or_default();
    if (said.contains("already in use") || said.contains("already allocated"))
        && let Err(taken) = ports::free(rise.stack, wanted, &containers)
    {
        return taken;
    }
    let services = wanted.iter().map(ToString::to_string).collect();
    Trouble::NotStarted { services, source, there: containers.iter().map(told).collect() }
}

/// Health that nobody can tell would be waited for for ever.
fn without_check(order: &Order, service: &str, containers: &[&Service]) -> Result<(), Trouble> {
    if order.wanted(service) != Some(Condition::Healthy) || !containers.iter().any(|one| one.check.is_none()) {
        return Ok(());
    }
    let waits = |name: &&str| order.waits(name).any(|(on, how)| on == service && how == Condition::Healthy);
    let waiting = order.services().find(waits).unwrap_or_default().to_string();
    Err(Trouble::NoCheck { waiting, service: service.into() })
}

/// The error for a service that does not come up: with its log, and what runs meanwhile.
pub fn not_up(engine: &Engine, stack: &str, service: &str, why: String, containers: &[Service]) -> Trouble {
    let culprit = containers.iter().find(|one| one.service == service);
    let log = culprit.and_then(|one| engine.tail(&one.id, TAIL).ok()).unwrap_or_default();
    let running = containers.iter().filter(|one| one.state != State::Exited).map(told).collect();
    Trouble::NotUp { stack: stack.into(), service: service.into(), why, log, running }
}

/// "db (running, healthy)".
pub fn told(service: &Service) -> String {
    let state = state(service.state);
    match service.health.filter(|_| service.state == State::Running) {
        Some(health) => format!("{} ({state}, {})", service.service, self::health(health)),
        None => format!("{} ({state})", service.service),
    }
}

/// The word for a state.
pub fn state(state: State) -> &'static str {
    match state {
        State::Created => "created",
        State::Running => "running",
        State::Paused => "paused",
        State::Restarting => "restarting",
        State::Exited => "exited",
        State::Dead => "dead",
    }
}

/// The word for a health.
pub fn health(health: Health) -> &'static str {
    match health {
        Health::Starting => "starting",
        Health::Healthy => "healthy",
        Health::Unhealthy => "unhealthy",
    }
}

/// What services said last. Their logs are followed while they come up: nobody waits for a log here.
#[derive(Default)]
struct Lines {
    followed: BTreeMap<String, LastLine>,
    last: BTreeMap<String, String>,
}

impl Lines {
    fn read(&mut self, engine: &Engine, containers: &[Service], phases: &BTreeMap<String, Phase>) {
        let coming = |one: &Service| {
            let settled = matches!(phases.get(&one.service), Some(Phase::Started(_, Progress::Up | Progress::Done)));
            !settled && one.state != State::Created
        };
        for one in containers {
            if let Some(line) = self.followed.get(&one.id).and_then(LastLine::line) {
                self.last.insert(one.service.clone(), line);
            }
        }
        self.followed.retain(|id, last| !last.is_over() && containers.iter().any(|one| one.id == *id && coming(one)));
        for one in containers.iter().filter(|one| coming(one)) {
            if !self.followed.contains_key(&one.id)
                && let Ok(last) = engine.last_line(&one.id)
            {
                self.followed.insert(one.id.clone(), last);
            }
        }
    }
}

fn rows(order: &Order, phases: &BTreeMap<String, Phase>, containers: &[Service], lines: &Lines) -> Vec<Row> {
    let row = |service: String| {
        let found = containers.iter().find(|one| one.service == service);
        let line = lines.last.get(&service).cloned().unwrap_or_default();
        let (state, health, age) = match phases.get(&service) {
            Some(Phase::Started(watch, progress)) => {
                let shown = found.map_or("starting", |one| state(one.state)).to_string();
                let check = found.is_some_and(|one| one.check.is_some());
                let health = match progress {
                    _ if !check => "",
                    Progress::Up => "healthy",
                    Progress::Failed(_) => "unhealthy",
                    Progress::Done => "",
                    _ => "starting",
                };
                (shown, health.to_string(), Some(watch.age()))
            }
            _ => {
                let for_whom: Vec<&str> = order.waits(&service).map(|(on, _)| on).collect();
                (format!("waits for {}", for_whom.join(", ")), String::new(), None)
            }
        };
        Row { service, state, health, age, line }
    };
    order.sequence().into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::Request;

    #[test]
    fn nobody_waits_for_the_health_of_what_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let text = "services:\n  a: {image: i, depends_on: {b: {condition: service_healthy}}}\n  b: {image: i}\n";
        std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
        let stack = Stack::load(&Request { folder: Some(folder.path().into()), ..Request::default() }).unwrap();
        let order = Order::of(&stack);
        let mut phases = BTreeMap::from([("a".to_string(), Phase::Waiting)]);
        for (progress, expected) in [
            (Progress::Runs, None),
            (Progress::Up, None),
            (Progress::Done, Some(("b".to_string(), "has ended, and `a` waits until it is healthy".to_string()))),
        ] {
            phases.insert("b".into(), Phase::Started(Box::new(Watch::new(None, None)), progress));
            assert_eq!(in_vain(&order, &phases), expected);
        }
    }
}
