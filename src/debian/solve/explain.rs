//! Why there is no answer, in a few lines.
//!
//! The solver only says that there is none. Here the request is made smaller until one or two packages are left that
//! are at fault; then what cannot be had at all is looked for, and if everything could be had, what excludes what.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use resolvo::{NameId, SolvableId};

use super::pool::{Choice, Group, Pool};
use super::{SolveError, satisfy};
use crate::debian::{Alternatives, Candidate, Error, Relation, Request};

/// The most versions that are looked at for an explanation.
const LOOK_LIMIT: usize = 50_000;
/// The most packages of one chain that are named; the middle is left out.
const CHAIN_LIMIT: usize = 5;

/// The error for a request that has no answer.
pub(super) fn explain(pool: &Pool, base: &[Choice], wanted: &[Group], request: &Request) -> Result<SolveError, Error> {
    let Some((second, first)) = culprits(pool, base, wanted)? else {
        return Ok(SolveError::Base { reasons: Reasons::find(pool, base, wanted)? });
    };
    let at = |at: usize| request.packages.get(at).map(|one| (one.name.clone(), one.index)).unwrap_or_default();
    let (name, index) = at(second);
    let groups: Vec<Group> = first.iter().chain([&second]).filter_map(|at| wanted.get(*at).cloned()).collect();
    let reasons = Reasons::find(pool, base, &groups)?;
    Ok(match first.as_slice() {
        [one] => SolveError::Together { first: at(*one).0, second: name, reasons, index },
        _ => SolveError::Unsatisfiable { name, reasons, index },
    })
}

/// The first one that fails after those before it, and those of them that it cannot be with.
fn culprits(pool: &Pool, base: &[Choice], wanted: &[Group]) -> Result<Option<(usize, Vec<usize>)>, Error> {
    let fails = |groups: &[usize]| {
        let groups: Vec<Group> = groups.iter().filter_map(|at| wanted.get(*at).cloned()).collect();
        Ok::<bool, Error>(satisfy(pool, base, &groups, &[])?.is_none())
    };
    for at in 0..wanted.len() {
        if fails(&[at])? {
            return Ok(Some((at, Vec::new())));
        }
    }
    for at in 0..wanted.len() {
        for before in 0..at {
            if fails(&[before, at])? {
                return Ok(Some((at, vec![before])));
            }
        }
    }
    for at in 0..wanted.len() {
        let all: Vec<usize> = (0..=at).collect();
        if fails(&all)? {
            return Ok(Some((at, (0..at).collect())));
        }
    }
    Ok(None)
}

/// Who needs something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The request.
    Request,
    /// The base, which keeps what it has.
    Base,
    /// A package.
    Package(SolvableId),
}

/// Why a version cannot be there.
#[derive(Clone, Debug)]
enum Cause {
    /// Something that it needs cannot be had at all.
    Hopeless(Group),
    /// This version, which is there, cannot stand it.
    Conflict(SolvableId),
    /// Another version of it is there, for the sake of this relation.
    Other(SolvableId),
}

/// What has been found out.
struct Reasons<'a, 'p> {
    pool: &'a Pool<'p>,
    /// What cannot be there.
    out: BTreeMap<SolvableId, Cause>,
    /// What has to be there, and for whose sake.
    taken: BTreeMap<NameId, SolvableId>,
    why: BTreeMap<SolvableId, (Owner, Alternatives)>,
}

impl<'a, 'p> Reasons<'a, 'p> {
    fn find(pool: &'a Pool<'p>, base: &[Choice], wanted: &[Group]) -> Result<Vec<String>, Error> {
        let mut reasons = Reasons { pool, out: BTreeMap::new(), taken: BTreeMap::new(), why: BTreeMap::new() };
        reasons.sort_out(wanted)?;
        reasons.take(base, wanted)
    }

    /// Finds every version that can never be there, because what it needs is not.
    fn sort_out(&mut self, wanted: &[Group]) -> Result<(), Error> {
        let mut known: BTreeSet<SolvableId> = BTreeSet::new();
        let mut queue: VecDeque<SolvableId> = wanted.iter().flat_map(Group::ids).collect();
        let mut users: BTreeMap<SolvableId, Vec<SolvableId>> = BTreeMap::new();
        while let Some(id) = queue.pop_front() {
            if known.len() >= LOOK_LIMIT || !known.insert(id) {
                continue;
            }
            for group in self.pool.groups(id)?.iter().filter(|group| group.omitted.is_none()) {
                for other in group.ids() {
                    users.entry(other).or_default().push(id);
                    queue.push_back(other);
                }
            }
        }
        let mut again: VecDeque<SolvableId> = known.into_iter().collect();
        while let Some(id) = again.pop_front() {
            if self.out.contains_key(&id) {
                continue;
            }
            let groups = self.pool.groups(id)?;
            if let Some(group) = groups.iter().find(|group| self.is_out(group)) {
                self.out.insert(id, Cause::Hopeless(group.clone()));
                again.extend(users.get(&id).into_iter().flatten());
            }
        }
        Ok(())
    }

    fn is_out(&self, group: &Group) -> bool {
        group.omitted.is_none() && group.ids().all(|id| self.out.contains_key(&id))
    }

    /// Takes what has to be taken, and where there is a choice the first, until something does not go.
    fn take(&mut self, base: &[Choice], wanted: &[Group]) -> Result<Vec<String>, Error> {
        let mut open: Vec<(Owner, Group)> = wanted.iter().map(|group| (Owner::Request, group.clone())).collect();
        for choice in base {
            let name = Relation { name: self.pool.name(choice.name).to_string(), architecture: None, version: None };
            let group = Group { alternatives: vec![name], choices: vec![choice.clone()], omitted: None };
            open.push((Owner::Base, group));
        }
        loop {
            let mut guess = None;
            let mut at = 0;
            let mut progress = false;
            while let Some((owner, group)) = open.get(at).cloned() {
                at += 1;
                if group.omitted.is_some() || group.ids().any(|id| self.is_taken(id)) {
                    continue;
                }
                let left: Vec<SolvableId> = group.ids().filter(|id| !self.out.contains_key(id)).collect();
                match left.as_slice() {
                    [] => return Ok(self.tell(owner, &group)),
                    [one] => {
                        progress = true;
                        open.extend(self.choose(*one, owner, &group)?);
                    }
                    [first, ..] => guess = guess.or(Some((*first, owner, group))),
                }
            }
            match guess {
                _ if progress => {}
                Some((first, owner, group)) => open.extend(self.choose(first, owner, &group)?),
                // Everything goes after all: there is nothing to tell.
                None => return Ok(Vec::new()),
            }
        }
    }

    fn is_taken(&self, id: SolvableId) -> bool {
        self.taken.get(&self.pool.name_of(id)) == Some(&id)
    }

    fn choose(&mut self, id: SolvableId, owner: Owner, group: &Group) -> Result<Vec<(Owner, Group)>, Error> {
        let name = self.pool.name_of(id);
        self.taken.insert(name, id);
        self.why.insert(id, (owner, group.alternatives.clone()));
        for other in self.pool.candidates(name)?.iter().filter(|other| **other != id) {
            self.out.entry(*other).or_insert(Cause::Other(id));
        }
        for other in self.pool.conflicts(id)?.iter().flat_map(|choice| choice.set.0.iter()) {
            self.out.entry(*other).or_insert(Cause::Conflict(id));
        }
        // What is there already may be what this one cannot stand.
        let groups = self.pool.groups(id)?;
        let mut open: Vec<(Owner, Group)> = groups.iter().map(|group| (Owner::Package(id), group.clone())).collect();
        for choice in self.pool.conflicts(id)?.iter() {
            let Some(taken) = self.taken.get(&choice.name).copied().filter(|taken| choice.has(*taken)) else {
                continue;
            };
            if let Some((owner, alternatives)) = self.why.get(&taken).cloned() {
                self.taken.remove(&choice.name);
                self.out.insert(taken, Cause::Conflict(id));
                let all = self.pool.all(choice.name)?;
                open.insert(0, (owner, Group { alternatives, choices: vec![all], omitted: None }));
            }
        }
        Ok(open)
    }

    fn label(&self, id: SolvableId) -> String {
        let package = self.pool.item(id).package();
        format!("`{}`", package.qualified(self.pool.native()))
    }

    /// Why nothing satisfies what `owner` needs.
    fn tell(&self, owner: Owner, group: &Group) -> Vec<String> {
        let mut lines = Vec::new();
        match group.ids().next().and_then(|id| Some((id, self.out.get(&id)?))) {
            None => lines.push(self.lacking(owner, group)),
            Some((_, Cause::Hopeless(next))) => self.hopeless(owner, group, next, &mut lines),
            Some((id, Cause::Conflict(by))) => {
                self.chain(owner, group, &mut lines);
                let kept = if owner == Owner::Base { ", which the base has" } else { "" };
                let sake = self.sake(*by);
                lines.push(format!("{} conflicts with {}{kept}{sake}", self.label(*by), self.label(id)));
            }
            Some((_, Cause::Other(other))) => {
                self.chain(owner, group, &mut lines);
                let version = &self.pool.item(*other).package().version;
                lines.push(format!("{} is there in version `{version}`{}", self.label(*other), self.sake(*other)));
            }
        }
        lines
    }

    /// "`a` needs `b (>= 2)`, but the archive has only `1`".
    fn lacking(&self, owner: Owner, group: &Group) -> String {
        let needs = self.needs(owner, &group.alternatives);
        let Some(relation) = group.alternatives.first() else { return needs };
        let offered = self.pool.universe().versions(&relation.name).unwrap_or_default();
        let held = self.pool.installed().native(&relation.name, self.pool.native()).filter(|one| one.held);
        if let Some(one) = held {
            return format!("{needs}, but the base holds `{}` at `{}`", relation.name, one.package.version);
        }
        let mut all: Vec<String> = offered.iter().map(|one| format!("`{}`", one.package.version)).collect();
        all.dedup();
        let fits = |one: &&Candidate| relation.fits(Some(&one.package.version));
        match offered.iter().find(fits) {
            Some(_) if relation.architecture.is_some() => {
                format!("{needs}, but the archive's `{}` is not for that architecture", relation.name)
            }
            Some(one) => {
                let why = "apt's pins or what the base has forbid it";
                format!("{needs}, and the archive has `{}`, but {why}", one.package.version)
            }
            None if all.is_empty() && group.alternatives.len() > 1 => {
                format!("{needs}, but the archive has none of them")
            }
            None if all.is_empty() => format!("{needs}, but the archive has no such package"),
            None => format!("{needs}, but the archive has only {}", all.join(", ")),
        }
    }

    /// Follows what cannot be had down to where it is missing.
    fn hopeless(&self, owner: Owner, group: &Group, next: &Group, lines: &mut Vec<String>) {
        let mut steps = vec![(owner, group.clone())];
        let (mut id, mut next) = (group.ids().next(), next.clone());
        let mut seen: BTreeSet<SolvableId> = BTreeSet::new();
        while let Some(own) = id.filter(|own| seen.insert(*own)) {
            steps.push((Owner::Package(own), next.clone()));
            id = next.ids().next();
            match id.and_then(|id| self.out.get(&id)) {
                Some(Cause::Hopeless(deeper)) => next = deeper.clone(),
                _ => break,
            }
        }
        let last = steps.pop();
        let told: Vec<String> = steps
            .iter()
            .filter(|(owner, _)| matches!(owner, Owner::Package(_)))
            .map(|(owner, group)| self.needs(*owner, &group.alternatives))
            .collect();
        lines.extend(shortened(told));
        if let Some((owner, group)) = last {
            lines.push(self.lacking(owner, &group));
        }
    }

    /// The way from the request, or the base, to a relation.
    fn chain(&self, owner: Owner, group: &Group, lines: &mut Vec<String>) {
        let mut told = Vec::new();
        let (mut owner, mut alternatives) = (owner, &group.alternatives);
        let mut seen = BTreeSet::new();
        while let Owner::Package(by) = owner {
            told.push(self.needs(owner, alternatives));
            let Some((next, relation)) = self.why.get(&by).filter(|_| seen.insert(by)) else { break };
            (owner, alternatives) = (*next, relation);
        }
        told.reverse();
        lines.extend(shortened(told));
    }

    /// ", which `c` needs".
    fn sake(&self, id: SolvableId) -> String {
        match self.why.get(&id) {
            Some((Owner::Package(by), _)) => format!(", which {} needs", self.label(*by)),
            Some((Owner::Base, _)) => ", which the base has".into(),
            Some((Owner::Request, wanted))
                if wanted.iter().all(|one| one.name != self.pool.item(id).package().name) =>
            {
                let wanted = wanted.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ");
                format!("; it is what provides {wanted}")
            }
            _ => String::new(),
        }
    }

    fn needs(&self, owner: Owner, alternatives: &Alternatives) -> String {
        let names: Vec<String> = alternatives.iter().map(|one| format!("`{one}`")).collect();
        let names = match names.as_slice() {
            [one] => one.clone(),
            all => format!("one of {}", all.join(", ")),
        };
        match owner {
            Owner::Request => format!("{names} is wanted"),
            Owner::Base => format!("the base has {names}"),
            Owner::Package(id) => format!("{} needs {names}", self.label(id)),
        }
    }
}

/// The beginning and the end of a long chain.
fn shortened(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > CHAIN_LIMIT - 2 {
        let tail = lines.split_off(lines.len() - 1);
        lines.truncate(CHAIN_LIMIT - 3);
        let left = "...".to_string();
        lines.push(left);
        lines.extend(tail);
    }
    lines
}
