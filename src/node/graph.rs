//! Who leads to whom among the entries of a lock, and what goes with a package that cannot be installed.

use std::collections::{BTreeMap, BTreeSet};

use super::lock::{Lock, Source};
use super::place::Place;

/// One entry leading to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge<'a> {
    /// Who leads; the project is the empty key.
    pub from: &'a str,
    /// The entry, not what it links to.
    pub to: &'a str,
    /// Whether it can do without.
    pub optional: bool,
    /// Whether somebody else has to bring it.
    pub peer: bool,
}

/// All edges of production.
pub struct Graph<'a> {
    out: BTreeMap<&'a str, Vec<Edge<'a>>>,
    into: BTreeMap<&'a str, Vec<Edge<'a>>>,
    /// Needed and not in the lock: who needs it, and its name.
    pub missing: Vec<(&'a str, &'a str)>,
}

impl<'a> Graph<'a> {
    /// Of a lock.
    pub fn of(lock: &'a Lock) -> Self {
        let mut graph = Graph { out: BTreeMap::new(), into: BTreeMap::new(), missing: Vec::new() };
        let project = Place { path: String::new(), workspace: String::new(), names: Vec::new() };
        graph.add(lock, "", &project, lock.project.edges());
        for (key, entry) in &lock.entries {
            match &entry.source {
                // What a link leads to is needed where the link is.
                Source::Link(target) => {
                    if let Some((target, _)) = lock.entries.get_key_value(target) {
                        graph.push(Edge { from: key, to: target, optional: false, peer: false });
                    }
                }
                _ => graph.add(lock, key, &entry.place, entry.dependencies.edges()),
            }
        }
        graph
    }

    fn add(&mut self, lock: &'a Lock, key: &'a str, place: &Place, edges: Vec<(&'a str, bool)>) {
        let own = match key {
            "" => &lock.project,
            key => match lock.entries.get(key) {
                Some(entry) => &entry.dependencies,
                None => return,
            },
        };
        let (needs, peers) = (&own.dependencies, &own.peer_dependencies);
        for (name, optional) in edges {
            let candidates = place.candidates(name);
            match candidates.iter().find_map(|candidate| lock.entries.get_key_value(candidate.as_str())) {
                Some((to, _)) => {
                    let peer = peers.contains_key(name) && !needs.contains_key(name);
                    self.push(Edge { from: key, to, optional, peer });
                }
                // Locks may be written without peers (legacy-peer-deps).
                None if !optional && !peers.contains_key(name) => self.missing.push((key, name)),
                None => {}
            }
        }
    }

    fn push(&mut self, edge: Edge<'a>) {
        self.out.entry(edge.from).or_default().push(edge);
        self.into.entry(edge.to).or_default().push(edge);
    }

    /// Where an entry leads to.
    pub fn out(&self, key: &str) -> &[Edge<'a>] {
        self.out.get(key).map_or(&[], Vec::as_slice)
    }

    fn into(&self, key: &str) -> &[Edge<'a>] {
        self.into.get(key).map_or(&[], Vec::as_slice)
    }

    /// What cannot be done without: everything that the project leads to over what is needed, peers aside (a lock may have
    /// been written without them). With each, who needs it.
    pub fn needed(&self) -> BTreeMap<&'a str, &'a str> {
        let mut found: BTreeMap<&str, &str> = BTreeMap::new();
        let mut next = vec![""];
        while let Some(at) = next.pop() {
            for edge in self.out(at).iter().filter(|edge| !edge.optional && !edge.peer) {
                if found.insert(edge.to, at).is_none() {
                    next.push(edge.to);
                }
            }
        }
        found
    }

    /// What is left out with these optional entries (arborist's `optionalSet`): who cannot do without one, up to where
    /// somebody can, and what nobody else leads to. Each entry is looked at a few times, however many there are.
    pub fn falls_with(&self, entries: &[&'a str]) -> BTreeSet<&'a str> {
        let mut set: BTreeSet<&str> = entries.iter().copied().collect();
        let mut next = entries.to_vec();
        while let Some(at) = next.pop() {
            for edge in self.into(at).iter().filter(|edge| !edge.optional && !edge.from.is_empty()) {
                if set.insert(edge.from) {
                    next.push(edge.from);
                }
            }
        }
        let mut all = set.clone();
        let mut next: Vec<&str> = set.iter().copied().collect();
        while let Some(at) = next.pop() {
            for edge in self.out(at) {
                if all.insert(edge.to) {
                    next.push(edge.to);
                }
            }
        }
        // Whoever is led to from outside stays, and what it leads to with it.
        let is_held = |key: &str| self.into(key).iter().any(|edge| !all.contains(edge.from));
        let mut next: Vec<&str> = all.iter().copied().filter(|key| !set.contains(key) && is_held(key)).collect();
        let mut stays: BTreeSet<&str> = next.iter().copied().collect();
        while let Some(at) = next.pop() {
            for edge in self.out(at).iter().filter(|edge| all.contains(edge.to) && !set.contains(edge.to)) {
                if stays.insert(edge.to) {
                    next.push(edge.to);
                }
            }
        }
        all.retain(|key| !stays.contains(key));
        all
    }
}
