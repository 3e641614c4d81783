//! Health checks: who is not healthy gets no requests. Compose restarts nobody for it, and so there is no livenessProbe: a
//! gateway that says 503 because its database is away must not be restarted for it.

use serde_json::{Map as Object, Value as Json, json};

use super::command::{escaped, words};
use super::read;
use super::translation::{Translation, place_of, put, shown};
use super::workload::{Kind, kind};
use crate::stack::node::{Node, Place, Value};

/// The Compose Specification's defaults, in seconds.
const INTERVAL: u64 = 30;
const TIMEOUT: u64 = 30;
const RETRIES: u64 = 3;
/// The most failures that a probe can count.
const FAILURES: u64 = i32::MAX as u64;
/// How often docker asks in the start period.
const START_INTERVAL: u64 = 5;

/// Adds the probes of a service to its container.
pub(super) fn translate(
    translation: &mut Translation<'_>,
    name: &str,
    service: &Node,
    container: &mut Object<String, Json>,
) {
    let check = read::some(service, "healthcheck");
    let nothing = Node::new(service.place, Value::Null);
    let Some(action) = action(translation, name, service, check) else { return };
    let check = check.unwrap_or(&nothing);
    let mut seconds = |key: &str, usual: u64| -> u64 {
        let Some(text) = read::text(check, key) else { return usual };
        read::seconds(text).unwrap_or_else(|| {
            let what = format!("`{}` in `healthcheck.{key}` of `{name}` is no time", shown(text));
            translation.refuse(place_of(check, key), &what, "write `30s`, `1m30s`");
            usual
        })
    };
    let interval = seconds("interval", INTERVAL).max(1);
    // Whoever says nothing does not want a check to last longer than the time between two.
    let timeout = seconds("timeout", TIMEOUT.min(interval)).max(1);
    let start = seconds("start_period", 0);
    let often = seconds("start_interval", START_INTERVAL.min(interval)).max(1);
    let retries = read::text(check, "retries");
    let retries = match retries.map(|text| read::number(text, 1000)) {
        None | Some(Some(0)) => RETRIES,
        Some(Some(retries)) => retries,
        Some(None) => {
            let what = format!("`healthcheck.retries` of `{name}` is no number up to 1000");
            translation.refuse(place_of(check, "retries"), &what, "write `3`");
            RETRIES
        }
    };
    let probe = |period: u64, failures: u64| {
        let mut probe = action.clone();
        probe.insert("failureThreshold".into(), json!(failures));
        probe.insert("periodSeconds".into(), json!(period));
        probe.insert("timeoutSeconds".into(), json!(timeout));
        Json::Object(probe)
    };
    put(container, "readinessProbe", Some(probe(interval, retries)));
    // Failures of the start period do not count. Who is not healthy in its own time, as `up` reckons it, is restarted.
    if start > 0 {
        let own = start + retries * (interval + timeout);
        put(container, "startupProbe", Some(probe(often, own.div_ceil(often).min(FAILURES))));
    }
}

/// What is done to know how a service is.
fn action(
    translation: &mut Translation<'_>,
    name: &str,
    service: &Node,
    check: Option<&Node>,
) -> Option<Object<String, Json>> {
    let off = check.is_some_and(|check| read::flag(check, "disable"));
    let exec = |command: Vec<String>| {
        let command: Vec<String> = command.iter().map(|word| escaped(word)).collect();
        Some(Object::from_iter([("exec".to_string(), json!({"command": command}))]))
    };
    let test = check.and_then(|check| read::some(check, "test")).filter(|_| !off);
    let Some(test) = test else {
        let endpoint = endpoint(translation, name, service).filter(|_| !off);
        if endpoint.is_none() && !off && kind(translation.stack, name, service) != Kind::Job {
            let what =
                format!("`{name}` has no probe: a cluster does not see the health check that its image may have");
            translation.note(service.place, what);
        }
        let (port, path, _) = endpoint?;
        return Some(Object::from_iter([("httpGet".to_string(), json!({"path": path, "port": port}))]));
    };
    if let Some(text) = test.scalar() {
        return exec(vec!["/bin/sh".into(), "-c".into(), text.into()]);
    }
    let all: Vec<String> =
        test.list().unwrap_or_default().iter().filter_map(|word| Some(word.scalar()?.to_string())).collect();
    match all.split_first() {
        Some((kind, _)) if kind == "NONE" => None,
        Some((kind, rest)) if kind == "CMD" && !rest.is_empty() => exec(rest.to_vec()),
        Some((kind, [text])) if kind == "CMD-SHELL" => exec(vec!["/bin/sh".into(), "-c".into(), text.clone()]),
        _ => {
            let what = format!(
                "`healthcheck.test` of `{name}` begins with none of NONE, CMD and CMD-SHELL, or has no command"
            );
            translation.refuse(test.place, &what, "write `[CMD, PROGRAM, ARGUMENT]` or `[CMD-SHELL, TEXT]`");
            None
        }
    }
}

/// `x-ingot: { health: "http://:3000/api/health" }`: port and path.
pub(super) fn endpoint(translation: &mut Translation<'_>, name: &str, service: &Node) -> Option<(u64, String, Place)> {
    let node = service.get("x-ingot").and_then(|ingot| ingot.get("health"))?;
    let text = node.scalar().unwrap_or_default();
    let rest = text.strip_prefix("http://").and_then(|rest| rest.split_once(':')).map(|(_, rest)| rest);
    let (port, path) = rest.map_or(("", ""), |rest| rest.split_at(rest.find('/').unwrap_or(rest.len())));
    let port = read::number(port, 65_535).filter(|port| *port > 0);
    let Some(port) = port else {
        let what = format!("`x-ingot.health` of `{name}` is `{}`, which is no endpoint", shown(text));
        translation.refuse(node.place, &what, "write `http://:PORT/PATH`");
        return None;
    };
    Some((port, if path.is_empty() { "/".into() } else { path.to_string() }, node.place))
}

/// `post_start` and `pre_stop`.
pub(super) fn hooks(translation: &mut Translation<'_>, name: &str, service: &Node) -> Option<Json> {
    let mut lifecycle = Object::new();
    for (key, called) in [("post_start", "postStart"), ("pre_stop", "preStop")] {
        let hooks = read::list(service, key);
        let simple = |hook: &Node| hook.map().is_some_and(|map| map.keys().all(|key| key == "command"));
        let command = |hook: &Node| -> Option<Vec<String>> {
            let command = hook.get("command")?;
            match command.list() {
                Some(list) => Some(list.iter().filter_map(|word| Some(word.scalar()?.to_string())).collect()),
                None => words(command.scalar()?),
            }
        };
        match hooks {
            [] => {}
            [hook] if simple(hook) && command(hook).is_some_and(|command| !command.is_empty()) => {
                put(&mut lifecycle, called, command(hook).map(|command| json!({"exec": {"command": command}})));
            }
            _ => translation.lose(key, place_of(service, key), &format!("`{key}` of `{name}`")),
        }
    }
    (!lifecycle.is_empty()).then_some(Json::Object(lifecycle))
}
