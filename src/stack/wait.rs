//! Whether a service has come up: what the engine says of its containers, held against what others wait for.

use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::order::Condition;
use crate::engine::{Engine, Health, HealthCheck, Service, State};

/// How long a service without health check must have run before it counts as up.
const SETTLING: Duration = Duration::from_millis(700);
/// The same for one that the engine starts again when it ends, and for one that it has started again.
const SETTLING_AGAIN: [Duration; 2] = [Duration::from_millis(1500), Duration::from_secs(4)];
/// How often the engine may start a service again before that is a loop.
const RESTARTS: u64 = 3;
/// How long an ended service that the engine starts again may stand still.
const STANDSTILL: Duration = Duration::from_secs(20);
/// What a service has on top of its own time: engines are late.
const MERCY: Duration = Duration::from_secs(5);
/// Between two checks while a service starts, unless its own check says something shorter.
const EAGER: Duration = Duration::from_secs(1);
/// The least between two checks.
const LEAST: Duration = Duration::from_millis(100);
/// The most checks that are run to find out how a service is.
const ATTEMPTS: u32 = 3;
/// What a check's program may take on top of its own time.
const CHECKING: Duration = Duration::from_secs(3);

/// What is known of a service that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not up yet.
    Coming,
    /// It runs; others that only wait for that may start.
    Runs,
    /// It is as well as it can be.
    Up,
    /// It has ended, and that is well.
    Done,
    /// It will not come up.
    Failed(String),
}

/// One service, from its start on.
pub struct Watch {
    started: Instant,
    running_since: Option<Instant>,
    ended_since: Option<Instant>,
    /// How often it was started again: before it was watched, and now.
    restarts: Option<(u64, u64)>,
    /// Its last exit code that was none of success.
    code: Option<i64>,
    /// Whether somebody waits until it has ended.
    completes: bool,
    timeout: Option<Duration>,
    checks: Vec<Checks>,
}

impl Watch {
    /// Of a service that was started now; `wanted` is what others wait for, `timeout` how long it may take instead of its
    /// own time.
    pub fn new(wanted: Option<Condition>, timeout: Option<Duration>) -> Self {
        Watch {
            started: Instant::now(),
            running_since: None,
            ended_since: None,
            restarts: None,
            code: None,
            completes: wanted == Some(Condition::Completed),
            timeout,
            checks: Vec::new(),
        }
    }

    /// How long ago it was started.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Looks at its containers; checks are run where nobody else does.
    pub fn look(&mut self, containers: &[&Service], engine: &Engine) -> Progress {
        if containers.is_empty() {
            return self.late(MERCY, "is not there: nobody has made its container");
        }
        if let Some(failed) = self.restarting(containers) {
            return failed;
        }
        let ended: Vec<&&Service> =
            containers.iter().filter(|one| matches!(one.state, State::Exited | State::Dead)).collect();
        if !ended.is_empty() {
            return self.ended(&ended, containers.len());
        }
        self.ended_since = None;
        if containers.iter().any(|one| one.state != State::Running) {
            self.running_since = None;
            return self.late(self.timeout.unwrap_or(STANDSTILL), &format!("is {}", word(containers)));
        }
        let since = *self.running_since.get_or_insert_with(Instant::now);
        if self.completes {
            let patience = self.timeout.unwrap_or(Duration::MAX);
            if since.elapsed() >= patience {
                return Progress::Failed(late(patience, "has not ended"));
            }
            // Another service may wait for its health.
            let checked = containers.iter().any(|one| one.check.is_some());
            return if checked && self.health(containers, engine, since) == Progress::Up {
                Progress::Up
            } else {
                Progress::Runs
            };
        }
        if containers.iter().all(|one| one.check.is_none()) {
            return if since.elapsed() >= self.settling(containers) { Progress::Up } else { Progress::Runs };
        }
        self.health(containers, engine, since)
    }

    fn settling(&self, containers: &[&Service]) -> Duration {
        let [may, was] = SETTLING_AGAIN;
        match self.restarts {
            Some((before, now)) if now > before => was,
            _ if containers.iter().any(|one| one.is_restarted) => may,
            _ => SETTLING,
        }
    }

    fn late(&self, patience: Duration, why: &str) -> Progress {
        if self.age() < patience { Progress::Coming } else { Progress::Failed(why.into()) }
    }

    fn restarting(&mut self, containers: &[&Service]) -> Option<Progress> {
        let restarts = containers.iter().map(|one| one.restarts).max().unwrap_or_default();
        self.code = containers.iter().map(|one| one.exit_code).find(|code| *code != 0).or(self.code);
        let (before, last) = *self.restarts.get_or_insert((restarts, restarts));
        // Fewer: it was made anew.
        self.restarts = Some((before.min(restarts), restarts));
        if restarts != last {
            (self.running_since, self.ended_since) = (None, None);
        }
        let times = restarts.saturating_sub(before);
        (times >= RESTARTS).then(|| {
            let code = self.code.map(|code| format!(", the last time with exit code {code}")).unwrap_or_default();
            Progress::Failed(format!("ends again and again: it was started {} times{code}", times + 1))
        })
    }

    fn ended(&mut self, ended: &[&&Service], of: usize) -> Progress {
        if let Some(one) = ended.iter().find(|one| one.exit_code != 0 || one.out_of_memory || !one.error.is_empty()) {
            if one.is_restarted && !one.out_of_memory && one.error.is_empty() {
                let since = *self.ended_since.get_or_insert_with(Instant::now);
                if since.elapsed() < STANDSTILL {
                    return Progress::Coming;
                }
            }
            return Progress::Failed(end(one));
        }
        if ended.len() < of {
            return Progress::Runs;
        }
        // It says itself that all went well. Whom the engine starts again all the same has not ended before it stands still.
        if !self.completes && ended.iter().any(|one| one.is_restarted) {
            let [_, still] = SETTLING_AGAIN;
            if self.ended_since.get_or_insert_with(Instant::now).elapsed() < still {
                return Progress::Coming;
            }
        }
        Progress::Done
    }

    fn health(&mut self, containers: &[&Service], engine: &Engine, since: Instant) -> Progress {
        let Some(check) = containers.iter().find_map(|one| one.check) else { return Progress::Up };
        let patience = self.timeout.unwrap_or_else(|| check.patience().saturating_add(MERCY));
        let states: Vec<Health> = if engine.needs_checking() {
            self.checks.resize_with(containers.len(), Checks::default);
            let checks = containers.iter().zip(&mut self.checks);
            checks.map(|(one, checks)| checks.look(one, &check, engine, since)).collect()
        } else {
            containers.iter().map(|one| one.health.unwrap_or(Health::Healthy)).collect()
        };
        if states.iter().all(|state| *state == Health::Healthy) {
            return Progress::Up;
        }
        if states.contains(&Health::Unhealthy) {
            let said = self.checks.iter().find_map(|checks| checks.said.clone());
            let said = said.map(|said| format!(": {said}")).unwrap_or_default();
            return Progress::Failed(format!("is unhealthy: {} checks in a row have failed{said}", check.retries));
        }
        if since.elapsed() < patience { Progress::Runs } else { Progress::Failed(late(patience, "is not healthy")) }
    }
}

fn late(patience: Duration, what: &str) -> String {
    format!("{what} after {} s", patience.as_secs())
}

fn word(containers: &[&Service]) -> &'static str {
    match containers.iter().map(|one| one.state).find(|state| *state != State::Running) {
        Some(State::Paused) => "paused",
        Some(State::Restarting) => "restarting",
        _ => "created, but does not run",
    }
}

/// How a container ended.
pub fn end(service: &Service) -> String {
    if service.out_of_memory {
        return "was killed: out of memory".into();
    }
    if !service.error.is_empty() {
        return format!("could not be started: {}", service.error);
    }
    match service.exit_code {
        code @ 129..=159 => format!("has ended with exit code {code} (signal {})", code - 128),
        code => format!("has ended with exit code {code}"),
    }
}

/// The health checks of one container that Ingot runs, because nobody else does.
#[derive(Default)]
struct Checks {
    next: Option<Instant>,
    running: Option<Receiver<Result<(), String>>>,
    failures: u32,
    passed: bool,
    said: Option<String>,
}

impl Checks {
    fn look(&mut self, service: &Service, check: &HealthCheck, engine: &Engine, since: Instant) -> Health {
        let starting = since.elapsed() < check.start_period;
        if let Some(running) = &self.running {
            match running.try_recv() {
                Ok(Ok(())) => (self.passed, self.failures, self.running) = (true, 0, None),
                Ok(Err(said)) => {
                    (self.passed, self.running) = (false, None);
                    self.said = Some(said).filter(|said| !said.is_empty());
                    self.failures += u32::from(!starting);
                }
                Err(TryRecvError::Disconnected) => self.running = None,
                Err(TryRecvError::Empty) => {}
            }
        }
        if self.passed {
            return Health::Healthy;
        }
        if self.failures >= check.retries {
            return Health::Unhealthy;
        }
        if self.running.is_none() && self.next.is_none_or(|next| Instant::now() >= next) {
            // Failures count in the check's own time, whoever wants to know sooner.
            let pace =
                if starting { check.start_interval.unwrap_or(EAGER).min(check.interval) } else { check.interval };
            self.next = Some(Instant::now() + pace.max(LEAST));
            self.running = Some(run(service, check, engine));
        }
        Health::Starting
    }
}

fn run(service: &Service, check: &HealthCheck, engine: &Engine) -> Receiver<Result<(), String>> {
    let (sender, receiver) = channel();
    let (engine, id, timeout) = (engine.clone(), service.id.clone(), check.timeout + CHECKING);
    thread::spawn(move || {
        let ran = match engine.healthcheck(&id, timeout) {
            Ok(output) if output.status.success() => Ok(()),
            // "unhealthy" is all that podman says itself.
            Ok(output) => Err(output.stderr_text().lines().next_back().unwrap_or_default().to_string()),
            Err(error) => Err(error.to_string()),
        };
        // Whoever waited has gone.
        let _ = sender.send(ran);
    });
    receiver
}

/// Asks for the health of running containers where nobody else does: podman's own answer may be from yesterday.
pub fn refresh(containers: &mut [Service], engine: &Engine) {
    if !engine.needs_checking() {
        return;
    }
    thread::scope(|scope| {
        let asked: Vec<_> = containers
            .iter_mut()
            .filter(|one| one.state == State::Running && one.check.is_some())
            .map(|one| scope.spawn(move || one.health = Some(fresh(one, engine))))
            .collect();
        // A check that panics is a container whose health is what it was.
        asked.into_iter().for_each(|thread| drop(thread.join()));
    });
}

fn fresh(service: &Service, engine: &Engine) -> Health {
    let Some(check) = service.check else { return Health::Healthy };
    // As many may fail in a row; nobody knows how many have, so they are run now.
    for _ in 0..check.retries.clamp(1, ATTEMPTS) {
        match engine.healthcheck(&service.id, check.timeout + CHECKING) {
            Ok(output) if output.status.success() => return Health::Healthy,
            // Within its start period a failure does not count, and podman knows that.
            Ok(_) if service.health == Some(Health::Starting) => return Health::Starting,
            _ => {}
        }
    }
    Health::Unhealthy
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::engine::Kind;

    fn container(state: State) -> Service {
        Service { state, ..Service::example("web") }
    }

    fn check(start_period: u64, retries: u32) -> Option<HealthCheck> {
        let (interval, timeout) = (Duration::from_millis(10), Duration::from_secs(5));
        let start_period = Duration::from_millis(start_period);
        Some(HealthCheck { start_period, interval, start_interval: None, timeout, retries })
    }

    /// What comes of a service within a while.
    fn result(watch: &mut Watch, service: &Service, engine: &Engine) -> Progress {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match watch.look(&[service], engine) {
                Progress::Coming | Progress::Runs if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(5))
                }
                other => return other,
            }
        }
    }

    #[test]
    fn what_a_container_does_says_what_becomes_of_a_service() {
        let engine = Engine::fake(Kind::Docker, "false");
        let look = |service: Service| Watch::new(None, None).look(&[&service], &engine);
        let failed = |why: &str| Progress::Failed(why.into());
        assert_eq!(look(container(State::Running)), Progress::Runs, "not for long yet");
        assert_eq!(result(&mut Watch::new(None, None), &container(State::Running), &engine), Progress::Up);
        assert_eq!(look(container(State::Exited)), Progress::Done);
        let ended = Service { exit_code: 139, ..container(State::Exited) };
        assert_eq!(look(ended.clone()), failed("has ended with exit code 139 (signal 11)"));
        assert_eq!(look(Service { is_restarted: true, ..ended }), Progress::Coming, "the engine starts it again");
        let killed = Service { exit_code: 137, out_of_memory: true, is_restarted: true, ..container(State::Exited) };
        assert_eq!(look(killed), failed("was killed: out of memory"));
        let refused = Service { error: "no such device".into(), ..container(State::Exited) };
        assert_eq!(look(refused), failed("could not be started: no such device"));
        assert_eq!(look(container(State::Created)), Progress::Coming);
        let mut waited = Watch::new(Some(Condition::Completed), Some(Duration::ZERO));
        assert_eq!(waited.look(&[&container(State::Running)], &engine), failed("has not ended after 0 s"));
        let mut nobody = Watch::new(None, None);
        assert_eq!(nobody.look(&[], &engine), Progress::Coming);
        // docker says itself how it is.
        let with = |health| Service { health: Some(health), check: check(0, 3), ..container(State::Running) };
        assert_eq!(look(with(Health::Healthy)), Progress::Up);
        assert_eq!(look(with(Health::Starting)), Progress::Runs);
        assert_eq!(look(with(Health::Unhealthy)), failed("is unhealthy: 3 checks in a row have failed"));
        let mut late = Watch::new(None, Some(Duration::ZERO));
        assert_eq!(late.look(&[&with(Health::Starting)], &engine), failed("is not healthy after 0 s"));
    }

    #[test]
    fn who_ends_well_and_is_started_again_has_not_come_up() {
        let engine = Engine::fake(Kind::Docker, "false");
        let ended = |restarts| Service { restarts, is_restarted: true, ..container(State::Exited) };
        let mut watch = Watch::new(None, None);
        for restarts in 0..3 {
            assert_eq!(watch.look(&[&ended(restarts)], &engine), Progress::Coming, "{restarts}");
        }
        let why = "ends again and again: it was started 4 times";
        assert_eq!(watch.look(&[&ended(3)], &engine), Progress::Failed(why.into()));
        // `on-failure`: the engine lets it be.
        let mut watch = Watch::new(None, None);
        assert_eq!(watch.look(&[&ended(0)], &engine), Progress::Coming);
        watch.ended_since = Instant::now().checked_sub(Duration::from_secs(5));
        assert_eq!(watch.look(&[&ended(0)], &engine), Progress::Done);
        // Somebody waits for its end, and here it is.
        let mut watch = Watch::new(Some(Condition::Completed), None);
        assert_eq!(watch.look(&[&ended(0)], &engine), Progress::Done);
    }

    #[test]
    fn a_loop_is_seen_although_it_runs_whenever_it_is_looked_at() {
        let engine = Engine::fake(Kind::Docker, "false");
        let mut watch = Watch::new(None, None);
        // What was before does not count.
        for restarts in [7, 8, 9] {
            let service = Service { restarts, is_restarted: true, exit_code: 4, ..container(State::Running) };
            assert_eq!(watch.look(&[&service], &engine), Progress::Runs);
        }
        let service = Service { restarts: 10, is_restarted: true, ..container(State::Running) };
        let why = "ends again and again: it was started 4 times, the last time with exit code 4";
        assert_eq!(watch.look(&[&service], &engine), Progress::Failed(why.into()));
    }

    #[test]
    fn checks_are_run_where_nobody_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("podman");
        let write = |script: &str| {
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        let engine = Engine::fake(Kind::Podman, program.to_str().unwrap());
        let service =
            |start_period, retries| Service { check: check(start_period, retries), ..container(State::Running) };
        write("[ \"$*\" = 'healthcheck run aa' ]");
        assert_eq!(result(&mut Watch::new(None, None), &service(0, 2), &engine), Progress::Up);
        write("echo no >&2; exit 1");
        let failed = result(&mut Watch::new(None, None), &service(0, 2), &engine);
        assert_eq!(failed, Progress::Failed("is unhealthy: 2 checks in a row have failed: no".into()));
        // Failures of its start do not count, and the third time is well.
        write("cd \"$(dirname \"$0\")\"; echo x >> times; [ $(wc -l < times) -ge 3 ]");
        assert_eq!(result(&mut Watch::new(None, None), &service(20_000, 1), &engine), Progress::Up);
        assert_eq!(std::fs::read_to_string(folder.path().join("times")).unwrap().lines().count(), 3);

        let mut there = [service(0, 3)];
        refresh(&mut there, &engine);
        assert_eq!(there[0].health, Some(Health::Healthy));
        write("exit 1");
        refresh(&mut there, &engine);
        assert_eq!(there[0].health, Some(Health::Unhealthy));
    }
}
