//! Which wheels of an environment are together in a layer: a pure function of their names, digests and sizes and of
//! the grouping that was there before, which ingot.lock keeps.
//!
//! A layer is moved as a whole, so a wheel should be together with what changes when it does:
//!
//! - a heavy wheel has a layer of its own ([`Place::Own`]);
//! - of the rest, the larger ones share a layer ([`Place::Shared`]);
//! - the small ones, which are many, share another ([`Place::Small`]), with the few files that make the environment what
//!   it is, and with whatever came since.
//!
//! Without a grouping before, the rest is cut where one changed wheel, whichever it is, moves the fewest bytes on
//! average. With one, every wheel stays where it is while that makes sense, and new ones are small, until that layer has
//! become so large that all is cut anew: who comes, goes or grows does not move the others.
//!
//! Seen with 200 made-up updates of 36 wheels: moving a wheel that changed to the small layer, so that it may change again
//! there, moves more bytes than it saves, even if most updates are of the same few wheels.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Deserialize;

use crate::oci::Digest;

/// A wheel of at least this many packed bytes gets a layer of its own.
pub const HEAVY_SIZE: u64 = 2 << 20;
/// One that had a layer of its own keeps it down to this size.
const STILL_HEAVY: u64 = HEAVY_SIZE / 2;
/// One that shared a layer leaves it at this size.
const CLEARLY_HEAVY: u64 = HEAVY_SIZE / 2 * 3;
/// The most layers for heavy wheels; the largest get them.
pub const HEAVY_LAYERS: usize = 20;
/// Up to this many bytes the rest is one layer.
const SPLIT_SIZE: u64 = 1 << 20;
/// A new cut gives the small layer at most this part of the rest's bytes: it is going to grow.
const CUT_PART: u64 = 4;
/// When the small layer has more than this part of the rest, all is cut anew.
const SMALL_PART: u64 = 2;

/// A wheel, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    /// The distribution's normalised name.
    pub name: String,
    /// Which wheel.
    pub digest: Digest,
    /// Its packed bytes.
    pub size: u64,
}

/// In which layer a wheel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// In one of its own.
    Own,
    /// In the large one of what is neither heavy nor small.
    Shared,
    /// In the one of what is small or came later.
    Small,
}

impl Place {
    /// As ingot.lock has it.
    pub fn name(self) -> &'static str {
        match self {
            Place::Own => "own",
            Place::Shared => "shared",
            Place::Small => "small",
        }
    }
}

/// How many layers there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For heavy wheels.
    pub own: usize,
}

impl Limits {
    /// If the environment may have this many layers in all.
    pub fn of_room(layers: usize) -> Self {
        Limits { own: layers.saturating_sub(2).min(HEAVY_LAYERS) }
    }
}

/// The layer of each wheel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grouping {
    wheels: BTreeMap<String, (Digest, Place)>,
    /// Whether there is a layer for small wheels, if only for the environment's own files.
    split: bool,
}

impl Grouping {
    /// As it was locked: names, digests and places.
    pub fn locked(wheels: impl IntoIterator<Item = (String, Digest, Place)>) -> Self {
        let wheels = wheels.into_iter().map(|(name, digest, place)| (name, (digest, place))).collect();
        Grouping { wheels, split: false }
    }

    /// Where a wheel is; one that is not known shares.
    pub fn place(&self, name: &str) -> Place {
        self.wheels.get(name).map_or(Place::Shared, |(_, place)| *place)
    }

    /// Whether small wheels have a layer apart from what is shared.
    pub fn is_split(&self) -> bool {
        self.split || self.wheels.values().any(|(_, place)| *place == Place::Small)
    }

    fn count(&self, wanted: Place) -> usize {
        self.wheels.values().filter(|(_, place)| *place == wanted).count()
    }

    fn is_of(&self, wheels: &[Weight]) -> bool {
        let same = |wheel: &Weight| self.wheels.get(&wheel.name).is_some_and(|(digest, _)| *digest == wheel.digest);
        wheels.len() == self.wheels.len() && wheels.iter().all(same)
    }
}

/// Whether a wheel is going to have a layer of its own, said before the others are known. What can make it wrong: there
/// are more heavy wheels than may have one, or nothing else stays as it was.
pub fn expects_own(wheel: &Weight, previous: Option<&Grouping>) -> bool {
    let least = match previous.and_then(|previous| previous.wheels.get(&wheel.name)) {
        Some((_, Place::Own)) => STILL_HEAVY,
        Some((digest, _)) if *digest == wheel.digest => return false,
        Some(_) => CLEARLY_HEAVY,
        None => HEAVY_SIZE,
    };
    wheel.size >= least
}

/// Decides for all wheels of an environment.
pub fn group(wheels: &[Weight], previous: Option<&Grouping>, limits: Limits) -> Grouping {
    let places = match previous {
        Some(previous) if previous.is_of(wheels) && previous.count(Place::Own) <= limits.own => {
            wheels.iter().map(|wheel| previous.place(&wheel.name)).collect()
        }
        Some(previous) => changed(wheels, previous, limits).unwrap_or_else(|| cut(wheels, Some(previous), limits)),
        None => cut(wheels, None, limits),
    };
    let rest = bytes(wheels, &places, |place| place != Place::Own);
    let placed = wheels.iter().zip(places).map(|(wheel, place)| (wheel.name.clone(), (wheel.digest, place)));
    Grouping { wheels: placed.collect(), split: rest > SPLIT_SIZE }
}

fn bytes(wheels: &[Weight], places: &[Place], wanted: impl Fn(Place) -> bool) -> u64 {
    wheels.iter().zip(places).filter(|(_, place)| wanted(**place)).map(|(wheel, _)| wheel.size).sum()
}

/// All stay where they are, new ones are small; `None` if that is not worth it any more.
fn changed(wheels: &[Weight], previous: &Grouping, limits: Limits) -> Option<Vec<Place>> {
    let own = own(wheels, limits, |wheel| match previous.wheels.get(&wheel.name) {
        Some((_, Place::Own)) => Some(STILL_HEAVY),
        Some((digest, _)) => (*digest != wheel.digest).then_some(CLEARLY_HEAVY),
        None => Some(HEAVY_SIZE),
    });
    let place = |(wheel, own): (&Weight, bool)| match previous.wheels.get(&wheel.name) {
        _ if own => Place::Own,
        Some((_, Place::Shared)) => Place::Shared,
        _ => Place::Small,
    };
    let places: Vec<Place> = wheels.iter().zip(own).map(place).collect();
    let rest = bytes(wheels, &places, |place| place != Place::Own);
    let small = bytes(wheels, &places, |place| place == Place::Small);
    (rest > SPLIT_SIZE && small <= SPLIT_SIZE.max(rest / SMALL_PART)).then_some(places)
}

/// All anew. Of what was before only that counts whether a wheel that is neither light nor heavy had its own layer.
fn cut(wheels: &[Weight], previous: Option<&Grouping>, limits: Limits) -> Vec<Place> {
    let own = own(wheels, limits, |wheel| match previous.map(|previous| previous.place(&wheel.name)) {
        Some(Place::Own) => Some(STILL_HEAVY),
        _ => Some(HEAVY_SIZE),
    });
    let mut rest: Vec<usize> = (0..wheels.len()).filter(|at| own.get(*at) == Some(&false)).collect();
    let size = |at: &usize| wheels.get(*at).map_or(0, |wheel| wheel.size);
    rest.sort_by_key(|at| (size(at), wheels.get(*at).map(|wheel| &wheel.name)));
    let (total, count) = (rest.iter().map(size).sum::<u64>(), rest.len());
    // What one changed wheel moves: a layer's bytes, as often as it has wheels.
    let cost = |light: u64, lights: usize| {
        u128::from(light) * lights as u128 + u128::from(total - light) * (count - lights) as u128
    };
    let (mut light, mut best, mut lights) = (0, cost(0, 0), 0);
    for (index, at) in rest.iter().enumerate() {
        light += size(at);
        if total <= SPLIT_SIZE || light > total / CUT_PART {
            break;
        }
        if cost(light, index + 1) < best {
            (best, lights) = (cost(light, index + 1), index + 1);
        }
    }
    let small: Vec<usize> = rest.into_iter().take(lights).collect();
    let place = |(at, own)| match own {
        true => Place::Own,
        false if small.contains(&at) => Place::Small,
        false => Place::Shared,
    };
    own.into_iter().enumerate().map(place).collect()
}

/// Which wheels get a layer of their own: those of at least the size that is asked of them, at most as many as there
/// may be. Of whom less is asked, because they had one, comes first; then the largest.
fn own(wheels: &[Weight], limits: Limits, threshold: impl Fn(&Weight) -> Option<u64>) -> Vec<bool> {
    let mut ranked: Vec<(bool, Reverse<u64>, &str)> = wheels
        .iter()
        .filter_map(|wheel| threshold(wheel).filter(|least| wheel.size >= *least).map(|least| (wheel, least)))
        .map(|(wheel, least)| (least > STILL_HEAVY, Reverse(wheel.size), wheel.name.as_str()))
        .collect();
    ranked.sort();
    ranked.truncate(limits.own);
    wheels.iter().map(|wheel| ranked.iter().any(|(_, _, name)| *name == wheel.name)).collect()
}

#[cfg(test)]
#[path = "grouping_tests.rs"]
mod tests;
