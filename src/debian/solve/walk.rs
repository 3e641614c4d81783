//! The choice that apt's own walk would make: depth first, the first alternative that can be had.
//!
//! The walk neither goes back nor proves anything. Its choice is what the solver tries first, so that the two agree
//! wherever nothing stands in the way.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use resolvo::{NameId, SolvableId};

use super::pool::{Choice, Group, Pool, Set};
use crate::debian::Error;

/// What the walk has chosen: one version of each package.
#[derive(Default)]
pub(super) struct Walk {
    pub chosen: BTreeMap<NameId, SolvableId>,
    /// Versions that those cannot stand.
    forbidden: BTreeSet<SolvableId>,
}

/// A package whose relations are being looked at, and which is next.
struct Step {
    groups: Rc<[Group]>,
    at: usize,
}

impl Walk {
    /// Takes the base as it is, or as it is to be upgraded, then what is wanted, then what that needs.
    pub fn new(pool: &Pool, base: &[Choice], wanted: &[Group]) -> Result<Walk, Error> {
        let mut walk = Walk::default();
        let mut starts = Vec::new();
        for choice in base {
            let Some(first) = choice.set.0.first() else { continue };
            walk.chosen.insert(choice.name, *first);
            if !pool.item(*first).installed {
                starts.push(*first);
            }
        }
        for id in walk.chosen.values().copied().collect::<Vec<_>>() {
            walk.forbid(pool, id)?;
        }
        // Names of packages go before names that others provide.
        let (real, others): (Vec<&Group>, Vec<&Group>) = wanted.iter().partition(|group| group.choices.len() == 1);
        for group in real.into_iter().chain(others) {
            if !walk.satisfies(group)
                && let Some(id) = walk.best(pool, group)?
            {
                walk.choose(pool, id)?;
                starts.push(id);
            }
        }
        for start in starts {
            walk.descend(pool, start)?;
        }
        Ok(walk)
    }

    fn forbid(&mut self, pool: &Pool, id: SolvableId) -> Result<(), Error> {
        self.forbidden.extend(pool.conflicts(id)?.iter().flat_map(|choice| choice.set.0.iter()));
        Ok(())
    }

    fn choose(&mut self, pool: &Pool, id: SolvableId) -> Result<(), Error> {
        self.chosen.insert(pool.name_of(id), id);
        self.forbid(pool, id)
    }

    /// All that it has chosen.
    pub fn choices(&self) -> impl Iterator<Item = Choice> + '_ {
        self.chosen.iter().map(|(name, id)| Choice { name: *name, set: Set([*id].into()) })
    }

    pub fn has(&self, pool: &Pool, id: SolvableId) -> bool {
        self.chosen.get(&pool.name_of(id)) == Some(&id)
    }

    fn satisfies(&self, group: &Group) -> bool {
        let chosen = |choice: &Choice| self.chosen.get(&choice.name).is_some_and(|id| choice.has(*id));
        group.omitted.is_some() || group.choices.iter().any(chosen)
    }

    /// Follows all that `start` needs. The stack is our own: chains of packages may be long.
    fn descend(&mut self, pool: &Pool, start: SolvableId) -> Result<(), Error> {
        let mut stack = vec![Step { groups: pool.groups(start)?, at: 0 }];
        while let Some(step) = stack.last_mut() {
            let groups = step.groups.clone();
            let Some(group) = groups.get(step.at) else {
                stack.pop();
                continue;
            };
            step.at += 1;
            if !self.satisfies(group)
                && let Some(id) = self.best(pool, group)?
            {
                self.choose(pool, id)?;
                stack.push(Step { groups: pool.groups(id)?, at: 0 });
            }
        }
        Ok(())
    }

    /// The first that can be had; what is installed in an older version goes before what is new.
    fn best(&self, pool: &Pool, group: &Group) -> Result<Option<SolvableId>, Error> {
        let old = |choice: &&Choice| self.chosen.contains_key(&choice.name);
        let (old, new): (Vec<&Choice>, Vec<&Choice>) = group.choices.iter().partition(old);
        for id in old.into_iter().chain(new).flat_map(|choice| choice.set.0.iter()) {
            if self.can_have(pool, *id)? {
                return Ok(Some(*id));
            }
        }
        Ok(None)
    }

    fn can_have(&self, pool: &Pool, id: SolvableId) -> Result<bool, Error> {
        let replaceable = |name: &NameId| self.chosen.get(name).is_none_or(|id| pool.item(*id).installed);
        if self.forbidden.contains(&id) || !replaceable(&pool.name_of(id)) {
            return Ok(false);
        }
        for choice in pool.conflicts(id)?.iter() {
            let Some(chosen) = self.chosen.get(&choice.name) else { continue };
            let way_out = || Ok(pool.candidates(choice.name)?.iter().any(|other| !choice.has(*other)));
            if choice.has(*chosen) && !(pool.item(*chosen).installed && way_out()?) {
                return Ok(false);
            }
        }
        Ok(!pool.groups(id)?.iter().any(Group::is_hopeless))
    }
}
