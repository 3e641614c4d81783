//! Limits that a file sets and an engine does not: without root on cgroups v1, podman drops them, and says so where nobody
//! looks. A provider may drop one as well.

use std::collections::BTreeMap;

use super::Node;
use crate::engine::Service;

/// Where a service limits what: the keys of `deploy.resources.limits`, and those of the service itself.
const KEYS: [(&str, &str); 3] = [("memory", "mem_limit"), ("pids", "pids_limit"), ("cpus", "cpus")];

/// What the services of a pinned file may have only so much of, by service.
pub fn wanted(pinned: &Node) -> BTreeMap<String, Vec<&'static str>> {
    let services = pinned.get("services").and_then(Node::map).into_iter().flatten();
    let of = |service: &Node| {
        let limits = service.get("deploy").and_then(|deploy| deploy.get("resources")?.get("limits"));
        let said = |(what, key): &(&'static str, &'static str)| {
            let value = limits.and_then(|limits| limits.get(what)).or_else(|| service.get(key));
            value.and_then(Node::scalar).is_some_and(is_limit)
        };
        KEYS.iter().filter(|pair| said(pair)).map(|(what, _)| *what).collect()
    };
    services.map(|(name, (_, service))| (name.clone(), of(service))).collect()
}

/// Zero and -1 are no limit.
fn is_limit(value: &str) -> bool {
    let number = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    !number.starts_with('-') && number.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
}

/// Which of them are not in force, in words; nothing if all are.
pub fn missing(wanted: &BTreeMap<String, Vec<&'static str>>, containers: &[Service]) -> Option<String> {
    let mut services: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for container in containers {
        let limits = wanted.get(&container.service).into_iter().flatten();
        let lost: Vec<&str> = limits.filter(|what| !container.limits.contains(what)).copied().collect();
        if !lost.is_empty() {
            services.entry(lost.join(", ")).or_default().push(&container.service);
        }
    }
    let of = |(what, names): (&String, &mut Vec<&str>)| {
        names.dedup();
        format!("{what} of `{}`", names.join("`, `"))
    };
    let said: Vec<String> = services.iter_mut().map(of).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::yaml;

    #[test]
    fn what_an_engine_does_not_limit_is_told() {
        let text = "services:
  api: {mem_limit: 512m, pids_limit: 200, cpus: 0.5}
  db: {deploy: {resources: {limits: {memory: 1g, pids: 9}}}}
  cache: {mem_limit: 0, pids_limit: -1, cpus: '0.0'}
  free: {image: x}
";
        let wanted = wanted(&yaml::parse(text, 0, "compose.yaml").unwrap()[0]);
        assert_eq!(wanted["api"], ["memory", "pids", "cpus"]);
        assert_eq!(wanted["db"], ["memory", "pids"]);
        assert!(wanted["cache"].is_empty() && wanted["free"].is_empty());
        let with =
            |service: &str, limits: &[&'static str]| Service { limits: limits.into(), ..Service::example(service) };
        let all = [with("api", &["pids", "memory", "cpus"]), with("db", &["memory", "pids"]), with("free", &[])];
        assert_eq!(missing(&wanted, &all), None);
        let some = [with("api", &["memory"]), with("db", &[]), with("db", &[]), with("cache", &[])];
        assert_eq!(missing(&wanted, &some).unwrap(), "memory, pids of `db`; pids, cpus of `api`");
    }
}
