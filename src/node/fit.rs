//! Whether the packages of a lock are what they want of one another: what `npm ci` finds out before it installs anything,
//! as far as that can be told without a registry.
//!
//! Not looked at, because npm takes the lock's word for it or asks the registry: peers, bundles, what has a shrinkwrap of
//! its own, and optional packages that the lock does not have.

use std::collections::{BTreeMap, BTreeSet};

use super::document::shown;
use super::graph::Graph;
use super::lock::{Lock, Locked, Source};
use super::overrides::{Overrides, Wish};
use super::range::Version;
use super::{Error, Manifest};

/// The most pairs of a package and the rules that may hold for it; beyond, the project is taken at its word.
const PAIRS_LIMIT: usize = 200_000;

/// The rules that may hold for what a package wants; none if no override is of any interest.
type Contexts<'a> = BTreeMap<&'a str, BTreeSet<usize>>;

/// Compares what packages want with what the lock has; `manifest` is the project's, called `place`.
pub fn fits(lock: &Lock, manifest: &Manifest, place: &str) -> Result<(), Error> {
    let overrides = Overrides::parse(&manifest.overrides, &manifest.dependencies);
    own(&overrides, manifest, place)?;
    let graph = Graph::of(lock);
    let omitted = |key: &str| lock.entries.get(key).is_some_and(|entry| entry.dev || entry.extraneous);
    let contexts = contexts(lock, &graph, &overrides, &omitted);
    for (from, may_hold) in &contexts {
        let wanting = lock.entries.get(*from);
        if wanting.is_some_and(|entry| entry.in_bundle || entry.has_shrinkwrap) {
            continue;
        }
        let tables = wanting.map_or(&lock.project, |entry| &entry.dependencies);
        for edge in graph.out(from).iter().filter(|edge| !edge.peer) {
            let Some(entry) = lock.entries.get(edge.to).filter(|_| !omitted(edge.to)) else { continue };
            let Some(name) = entry.place.name() else { continue };
            let Some(wish) = tables.wish(name) else { continue };
            let bundled = wanting.is_some_and(|entry| entry.place.is_installed() && entry.bundles.contains(name));
            if bundled || is_in_shrinkwrap(lock, entry) {
                continue;
            }
            let Some(version) = Version::parse(&lock.target(entry).version) else { continue };
            let plain = || Wish::parse(wish).is_met_by(&version);
            let accepted = || tables.accepts(name).is_some_and(|wish| Wish::parse(wish).is_met_by(&version));
            let ruled = |within: &usize| overrides.allows(&overrides.rule(*within, name, wish), wish, &version);
            let is_met = if overrides.is_empty() { plain() } else { may_hold.iter().any(ruled) };
            if is_met || accepted() || (is_of_workspace(wanting) && plain()) {
                continue;
            }
            let rule = may_hold.first().map(|within| overrides.rule(*within, name, wish));
            let instead = rule.and_then(|rule| rule.instead).filter(|_| !overrides.is_empty());
            return Err(unfit(lock, from, entry, wish, instead));
        }
    }
    Ok(())
}

/// npm does not override what the project itself wants (`assertRootOverrides`).
fn own(overrides: &Overrides, manifest: &Manifest, place: &str) -> Result<(), Error> {
    for (name, wish) in manifest.dependencies.all() {
        let ruled = overrides.rule(0, name, wish);
        if let Some(instead) =
            ruled.instead.filter(|instead| !ruled.is_unclear && instead != wish && !instead.starts_with('$'))
        {
            let (name, wish, instead) = (shown(name), shown(wish), shown(&instead));
            return Err(Error::Overridden { place: place.to_string(), name, wish, instead });
        }
    }
    Ok(())
}

/// Everything that the project leads to in production, and which rules may hold there.
fn contexts<'a>(
    lock: &'a Lock,
    graph: &Graph<'a>,
    overrides: &Overrides,
    omitted: &dyn Fn(&str) -> bool,
) -> Contexts<'a> {
    let mut contexts: Contexts<'_> = BTreeMap::from([("", BTreeSet::from([0]))]);
    let mut next: Vec<(&str, usize)> = vec![("", 0)];
    let mut pairs = 1;
    while let Some((from, within)) = next.pop() {
        let tables = lock.entries.get(from).map_or(&lock.project, |entry| &entry.dependencies);
        for edge in graph.out(from).iter().filter(|edge| !omitted(edge.to)) {
            let name = lock.entries.get(edge.to).and_then(|entry| entry.place.name());
            let wish = name.and_then(|name| Some((name, tables.wish(name)?)));
            let below = match wish.filter(|_| !overrides.is_empty()) {
                Some((name, wish)) => overrides.rule(within, name, wish).within,
                None => within,
            };
            let known = contexts.entry(edge.to).or_default();
            // Where two meet, npm may take what both are within.
            let more: Vec<usize> = match known.is_empty() {
                true => vec![below],
                false if known.contains(&below) => continue,
                false => known.iter().copied().chain([below]).flat_map(|rule| overrides.ancestry(rule)).collect(),
            };
            for rule in more {
                if known.insert(rule) {
                    pairs += 1;
                    next.push((edge.to, rule));
                }
            }
            if !overrides.is_empty() && pairs > PAIRS_LIMIT {
                return Contexts::new();
            }
        }
    }
    contexts
}

/// Whether something that it is in brought a lock of its own.
fn is_in_shrinkwrap(lock: &Lock, entry: &Locked) -> bool {
    let outer = |entry: &&Locked| lock.entries.get(entry.place.parent()?);
    std::iter::successors(outer(&entry), outer).any(|entry| entry.has_shrinkwrap)
}

/// What of a workspace's wishes npm replaces is its own secret.
fn is_of_workspace(wanting: Option<&Locked>) -> bool {
    wanting.is_some_and(|entry| !entry.place.is_installed())
}

fn unfit(lock: &Lock, from: &str, entry: &Locked, wish: &str, instead: Option<String>) -> Error {
    let by = if from.is_empty() { "the project".to_string() } else { format!("`{}`", shown(from)) };
    let entry = match entry.source {
        Source::Link(_) => shown(&format!("{}@{}", entry.name, lock.target(entry).version)),
        _ => entry.called(),
    };
    let difference = match instead {
        Some(instead) => format!(
            "it has `{entry}`, {by} wants `{}`, and the project's `overrides` want `{}` instead",
            shown(wish),
            shown(&instead)
        ),
        None => format!("it has `{entry}`, and {by} wants `{}`", shown(wish)),
    };
    Error::Outdated { place: lock.place.clone(), difference }
}

#[cfg(test)]
#[path = "fit_tests.rs"]
mod tests;
