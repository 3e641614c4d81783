//! From the solver's answer to what has to be done: what nobody needs is left out, and every change has a reason.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use resolvo::SolvableId;

use super::pool::{Choice, Group, Pool};
use super::{Change, Left, Reason, Solution};
use crate::debian::{Candidate, Error, Request, Upgrade, Version};

/// Who wants a package that is kept, and in which way.
struct Kept<'a, 'p> {
    pool: &'a Pool<'p>,
    ids: &'a BTreeSet<SolvableId>,
    reasons: BTreeMap<SolvableId, Reason>,
    queue: VecDeque<SolvableId>,
}

impl Kept<'_, '_> {
    fn keep(&mut self, id: SolvableId, reason: Reason) {
        if let Entry::Vacant(place) = self.reasons.entry(id) {
            place.insert(reason);
            self.queue.push_back(id);
        }
    }

    /// Keeps the first that satisfies the group: that others would do as well is no reason to do without it.
    fn satisfy(&mut self, group: &Group, reason: impl Fn() -> Reason) {
        if let Some(first) = group.ids().find(|id| self.ids.contains(id)) {
            self.keep(first, reason());
        }
    }

    /// Follows what is needed, those that are nearest to a wish first.
    fn follow(&mut self) -> Result<(), Error> {
        while let Some(id) = self.queue.pop_front() {
            let name = self.pool.item(id).package().name.clone();
            for group in self.pool.groups(id)?.iter().filter(|group| group.omitted.is_none()) {
                self.satisfy(group, || Reason::Needed(name.clone()));
            }
        }
        Ok(())
    }
}

/// What has to be done so that `ids` are there.
pub(super) fn answer(
    pool: &Pool,
    base: &[Choice],
    wanted: &[Group],
    recommended: &[Group],
    ids: &BTreeSet<SolvableId>,
    request: &Request,
) -> Result<Solution, Error> {
    let mut kept = Kept { pool, ids, reasons: BTreeMap::new(), queue: VecDeque::new() };
    for group in wanted {
        kept.satisfy(group, || Reason::Requested);
    }
    // What the base has is kept in any case; why it changes is found out below.
    for id in base.iter().flat_map(|choice| choice.set.0.iter()).filter(|id| ids.contains(id)) {
        kept.keep(*id, Reason::Upgrade { security: pool.item(*id).candidate.security });
    }
    kept.follow()?;
    follow_recommended(&mut kept, recommended)?;

    let reasons = kept.reasons;
    let mut solution = Solution::default();
    for (id, reason) in &reasons {
        let item = pool.item(*id);
        if item.installed {
            continue;
        }
        let old = pool.installed().version(&item.package().name, pool.native()).cloned();
        let reason = match (reason, &old) {
            (Reason::Upgrade { .. }, Some(_)) if !is_target(pool, *id, request)? => demand(pool, &reasons, *id)?,
            _ => reason.clone(),
        };
        solution.changes.push(Change { candidate: item.candidate.clone(), old, reason });
    }
    solution.changes.sort_by(|a, b| a.candidate.package.name.cmp(&b.candidate.package.name));
    solution.omitted = omitted(pool, &reasons)?;
    solution.left = left(pool, &reasons, request)?;
    Ok(solution)
}

/// What is recommended may itself be needed by what is recommended: one after the other.
fn follow_recommended(kept: &mut Kept, recommended: &[Group]) -> Result<(), Error> {
    for group in recommended {
        let mut by = None;
        for id in kept.reasons.keys().filter(|id| !kept.pool.item(**id).installed) {
            let groups = kept.pool.recommended(*id)?;
            if groups.iter().any(|own| own.alternatives == group.alternatives) {
                by = Some(kept.pool.item(*id).package().name.clone());
                break;
            }
        }
        if let Some(by) = by {
            kept.satisfy(group, || Reason::Recommended(by.clone()));
            kept.follow()?;
        }
    }
    Ok(())
}

/// The version to which the mode of upgrading wants to bring an installed package.
fn target(pool: &Pool, name: &str, request: &Request) -> Result<Option<SolvableId>, Error> {
    if request.upgrade == Upgrade::None {
        return Ok(None);
    }
    let id = pool.interned.intern_package_name(name.to_string());
    Ok(pool.candidates(id)?.first().copied().filter(|id| !pool.item(*id).installed))
}

fn is_target(pool: &Pool, id: SolvableId, request: &Request) -> Result<bool, Error> {
    Ok(target(pool, &pool.item(id).package().name, request)? == Some(id))
}

/// Who needs a package of the base in a version other than that of the base.
fn demand(pool: &Pool, reasons: &BTreeMap<SolvableId, Reason>, new: SolvableId) -> Result<Reason, Error> {
    let candidates = pool.candidates(pool.name_of(new))?;
    let old = candidates.iter().copied().find(|id| pool.item(*id).installed);
    for id in reasons.keys().filter(|id| **id != new) {
        let needs = pool.groups(*id)?.iter().any(|group| group.has(new) && old.is_none_or(|old| !group.has(old)));
        let breaks = || {
            Ok::<_, Error>(old.is_some() && pool.conflicts(*id)?.iter().any(|one| old.is_some_and(|old| one.has(old))))
        };
        if needs || breaks()? {
            return Ok(Reason::Needed(pool.item(*id).package().name.clone()));
        }
    }
    Ok(Reason::Upgrade { security: pool.item(new).candidate.security })
}

/// What counts as installed, and who needs it.
fn omitted(pool: &Pool, reasons: &BTreeMap<SolvableId, Reason>) -> Result<Vec<(String, Vec<String>)>, Error> {
    // What one package's script alone would need may be there for another.
    let there: BTreeSet<&str> = reasons.keys().map(|id| pool.item(*id).package().name.as_str()).collect();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for id in reasons.keys() {
        for group in pool.groups(*id)?.iter() {
            if let Some(name) = &group.omitted
                && !there.contains(name.as_str())
                && !group.ids().any(|id| reasons.contains_key(&id))
            {
                found.entry(name.clone()).or_default().insert(pool.item(*id).package().name.clone());
            }
        }
    }
    Ok(found.into_iter().map(|(name, by)| (name, by.into_iter().collect())).collect())
}

/// What stays in its old version although a newer one was wanted for it.
fn left(pool: &Pool, reasons: &BTreeMap<SolvableId, Reason>, request: &Request) -> Result<Vec<Left>, Error> {
    let mut left = Vec::new();
    for one in pool.installed().packages() {
        let name = &one.package.name;
        let native = pool.installed().native(name, pool.native());
        if request.upgrade == Upgrade::None
            || native.is_none_or(|native| native.package.architecture != one.package.architecture)
        {
            continue;
        }
        let available: Option<Version> = if one.held {
            let newer = |candidate: &Candidate| {
                let security = request.upgrade == Upgrade::All || candidate.security;
                security && candidate.priority > 0 && candidate.package.version > one.package.version
            };
            pool.universe().versions(name)?.into_iter().find(newer).map(|candidate| candidate.package.version.clone())
        } else {
            let reached = |id: &SolvableId| {
                let candidates = reasons.keys().filter(|kept| pool.name_of(**kept) == pool.name_of(*id));
                candidates
                    .into_iter()
                    .any(|kept| pool.item(*kept).package().version >= pool.item(*id).package().version)
            };
            target(pool, name, request)?.filter(|id| !reached(id)).map(|id| pool.item(id).package().version.clone())
        };
        if let Some(available) = available {
            left.push(Left { name: name.clone(), installed: one.package.version.clone(), available, held: one.held });
        }
    }
    Ok(left)
}
