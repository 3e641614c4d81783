//! Who waits for whom, and until when.

use std::collections::BTreeMap;

use super::load::Stack;
use super::node::Node;

/// Until when a service waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// It runs.
    Started,
    /// Its health check passes; without one, it runs.
    Healthy,
    /// It has ended with exit code 0.
    Completed,
}

/// What each service waits for: of the services that are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    waits: BTreeMap<String, BTreeMap<String, Condition>>,
}

impl Order {
    /// Of a stack that fits together: nobody waits for himself.
    pub fn of(stack: &Stack) -> Order {
        let names: Vec<&str> = stack.services().map(|(name, _)| name).collect();
        let wait = |(name, service): (&str, &Node)| {
            let on = service.get("depends_on").and_then(Node::map).into_iter().flatten();
            let there = on.filter(|(on, _)| names.contains(&on.as_str()));
            (name.to_string(), there.map(|(on, (_, node))| (on.clone(), condition(node))).collect())
        };
        Order { waits: stack.services().map(wait).collect() }
    }

    /// The services, sorted.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.waits.keys().map(String::as_str)
    }

    /// What a service waits for.
    pub fn waits(&self, service: &str) -> impl Iterator<Item = (&str, Condition)> {
        self.waits.get(service).into_iter().flatten().map(|(on, condition)| (on.as_str(), *condition))
    }

    /// The most that somebody waits for of a service.
    pub fn wanted(&self, service: &str) -> Option<Condition> {
        self.waits.values().filter_map(|waits| waits.get(service)).max().copied()
    }

    /// These services and all that they wait for, directly or not; all services if none is named.
    pub fn with_needed(&self, services: &[String]) -> Order {
        if services.is_empty() {
            return self.clone();
        }
        let (mut waits, mut open) = (BTreeMap::new(), services.to_vec());
        while let Some(name) = open.pop() {
            if let Some(on) = self.waits.get(&name)
                && waits.insert(name, on.clone()).is_none()
            {
                open.extend(on.keys().cloned());
            }
        }
        Order { waits }
    }

    /// These services only, each with what it waits for among them; all services if none is named.
    pub fn only(&self, services: &[String]) -> Order {
        if services.is_empty() {
            return self.clone();
        }
        let among = |waits: &BTreeMap<String, Condition>| {
            waits.iter().filter(|(on, _)| services.contains(on)).map(|(on, how)| (on.clone(), *how)).collect()
        };
        let chosen = self.waits.iter().filter(|(name, _)| services.contains(name));
        Order { waits: chosen.map(|(name, waits)| (name.clone(), among(waits))).collect() }
    }

    /// All services, those first that others wait for, sorted by name where nobody waits.
    pub fn sequence(&self) -> Vec<String> {
        let mut done: Vec<String> = Vec::new();
        loop {
            let free = |name: &&String| {
                !done.contains(name) && self.waits(name).all(|(on, _)| done.iter().any(|done| done == on))
            };
            let next: Vec<String> = self.waits.keys().filter(free).cloned().collect();
            if next.is_empty() {
                return done;
            }
            done.extend(next);
        }
    }
}

fn condition(node: &Node) -> Condition {
    match node.get("condition").and_then(Node::scalar) {
        Some("service_healthy") => Condition::Healthy,
        Some("service_completed_successfully") => Condition::Completed,
        _ => Condition::Started,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::Request;

    fn order(text: &str) -> Order {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
        let request = Request { folder: Some(folder.path().into()), ..Request::default() };
        Order::of(&Stack::load(&request).unwrap())
    }

    #[test]
    fn needed_services_come_first() {
        let order = order(
            "services:\n  a: {image: i, depends_on: {c: {condition: service_healthy}, gone: {condition: service_started, required: false}}}\n  b: {image: i, depends_on: [a]}\n  c: {image: i, depends_on: {init: {condition: service_completed_successfully}}}\n  init: {image: i}\n  d: {image: i, depends_on: [c]}\n",
        );
        assert_eq!(order.sequence(), ["init", "c", "a", "d", "b"]);
        assert_eq!(order.waits("a").collect::<Vec<_>>(), [("c", Condition::Healthy)]);
        assert_eq!(order.wanted("c"), Some(Condition::Healthy), "the most of `a` and `d`");
        assert_eq!((order.wanted("init"), order.wanted("b")), (Some(Condition::Completed), None));
        let part = order.with_needed(&["d".into()]);
        assert_eq!(part.sequence(), ["init", "c", "d"]);
        let only = order.only(&["a".into(), "b".into()]);
        assert_eq!(only.sequence(), ["a", "b"]);
        assert_eq!(only.waits("a").count(), 0);
        assert_eq!(order.with_needed(&[]), order);
    }
}
