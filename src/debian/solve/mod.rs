//! Which packages have to be installed and upgraded, and why: as `apt-get install --no-install-recommends` decides.
//!
//! A walk makes the choice that apt would make where nothing stands in its way; a solver (resolvo) tries that choice
//! first and finds another one if it does not hold; what then turns out to be needed by nobody is left out. Nothing
//! of the base is ever removed.
//!
//! ```text
//! Universe, Installed, Request -> pool -> walk -> provider (resolvo) -> answer -> Solution
//!                                   \-----------> explain -> SolveError
//! ```

mod answer;
mod error;
mod explain;
mod pool;
mod provider;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use resolvo::{ConditionalRequirement, Problem, SolvableId, Solver, UnsolvableOrCancelled};

pub use error::SolveError;
use pool::{Choice, Group, Pool};
use provider::Provider;
use walk::Walk;

use super::{Candidate, Error, Installed, Relation, Request, Universe, Version, Wanted};

/// Why a package is installed or upgraded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was asked for.
    Requested,
    /// This package needs it, or needs it in a newer version, or cannot stand the older one.
    Needed(String),
    /// This package recommends it.
    Recommended(String),
    /// There is a newer version.
    Upgrade {
        /// Whether it is a security update.
        security: bool,
    },
}

/// A package that is installed or upgraded.
#[derive(Clone, Debug)]
pub struct Change {
    /// In which version, and from where.
    pub candidate: Candidate,
    /// The version that the base has.
    pub old: Option<Version>,
    /// Why.
    pub reason: Reason,
}

/// A package of the base for which there is a newer version that it does not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its name.
    pub name: String,
    /// The version that the base has.
    pub installed: Version,
    /// The version that there is.
    pub available: Version,
    /// Whether it is on hold; otherwise another package stands in the way.
    pub held: bool,
}

/// What has to be done.
#[derive(Clone, Debug, Default)]
pub struct Solution {
    /// What is installed or upgraded, sorted by package name.
    pub changes: Vec<Change>,
    /// Packages that count as installed without being so, and who needs them; sorted.
    pub omitted: Vec<(String, Vec<String>)>,
    /// Packages that would have been upgraded, but are not; sorted by name.
    pub left: Vec<Left>,
}

/// Finds what has to be installed and upgraded. The same input has the same answer.
pub fn solve(universe: &dyn Universe, installed: &Installed, request: &Request) -> Result<Solution, SolveError> {
    let pool = Pool::new(universe, installed, request);
    let wanted = wanted_groups(&pool, request)?;
    let base = pool.base()?;
    let Some(mut ids) = satisfy(&pool, &base, &wanted, &[])? else {
        return Err(explain::explain(&pool, &base, &wanted, request)?);
    };
    let mut followed = Vec::new();
    if request.recommends {
        (ids, followed) = follow(&pool, &base, &wanted, ids)?;
    }
    Ok(answer::answer(&pool, &base, &wanted, &followed, &ids, request)?)
}

/// A version of every package that is there in the end, or `None` if there is no answer.
fn satisfy(
    pool: &Pool,
    base: &[Choice],
    wanted: &[Group],
    recommended: &[Group],
) -> Result<Option<BTreeSet<SolvableId>>, Error> {
    let all: Vec<Group> = wanted.iter().chain(recommended).cloned().collect();
    let walk = Walk::new(pool, base, &all)?;
    match attempt(pool, base, &all, &walk, true)? {
        Some(ids) => Ok(Some(ids)),
        None => attempt(pool, base, &all, &walk, false),
    }
}

/// The solver's answer; if `exactly`, only the walk's choice will do.
fn attempt(
    pool: &Pool,
    base: &[Choice],
    wanted: &[Group],
    walk: &Walk,
    exactly: bool,
) -> Result<Option<BTreeSet<SolvableId>>, Error> {
    let provider = Provider::new(pool, walk);
    let kept = base.iter().cloned().chain(walk.choices().filter(|_| exactly));
    let kept: Vec<_> = kept.map(|choice| provider.requirement_of(&choice)).collect();
    let requirements = wanted.iter().map(|group| provider.requirement(group)).chain(kept);
    let problem = Problem::new().requirements(requirements.map(ConditionalRequirement::from).collect());
    let mut solver = Solver::new(provider);
    let found = solver.solve(problem);
    if let Some(error) = solver.provider().failure() {
        return Err(error);
    }
    match found {
        Ok(ids) => Ok(Some(ids.into_iter().collect())),
        Err(UnsolvableOrCancelled::Unsolvable(_) | UnsolvableOrCancelled::Cancelled(_)) => Ok(None),
    }
}

/// Adds what is recommended, as far as it can be had: all at once if that goes, else one by one.
fn follow(
    pool: &Pool,
    base: &[Choice],
    wanted: &[Group],
    mut ids: BTreeSet<SolvableId>,
) -> Result<(BTreeSet<SolvableId>, Vec<Group>), Error> {
    let mut followed: Vec<Group> = Vec::new();
    let mut tried: BTreeSet<String> = BTreeSet::new();
    loop {
        let mut open = Vec::new();
        for id in ids.iter().filter(|id| !pool.item(**id).installed) {
            for group in pool.recommended(*id)?.iter() {
                let text = group.alternatives.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
                if !group.ids().any(|id| ids.contains(&id)) && tried.insert(text) {
                    open.push(group.clone());
                }
            }
        }
        if open.is_empty() {
            return Ok((ids, followed));
        }
        let together: Vec<Group> = followed.iter().chain(&open).cloned().collect();
        if let Some(found) = satisfy(pool, base, wanted, &together)? {
            (ids, followed) = (found, together);
            continue;
        }
        for group in open {
            followed.push(group);
            match satisfy(pool, base, wanted, &followed)? {
                Some(found) => ids = found,
                None => drop(followed.pop()),
            }
        }
    }
}

/// What was asked for, as relations.
fn wanted_groups(pool: &Pool, request: &Request) -> Result<Vec<Group>, SolveError> {
    let mut versions: BTreeMap<&str, &Version> = BTreeMap::new();
    for wanted in &request.packages {
        let Some(version) = &wanted.version else { continue };
        let first = *versions.entry(&wanted.name).or_insert(version);
        if first != version {
            let (name, index) = (wanted.name.clone(), wanted.index);
            return Err(SolveError::Twice { name, first: first.clone(), second: version.clone(), index });
        }
    }
    let names: BTreeSet<&str> = request.packages.iter().map(|wanted| wanted.name.as_str()).collect();
    request.packages.iter().map(|wanted| wanted_group(pool, wanted, &names)).collect()
}

fn wanted_group(pool: &Pool, wanted: &Wanted, names: &BTreeSet<&str>) -> Result<Group, SolveError> {
    let (name, index) = (wanted.name.clone(), wanted.index);
    if let Some(architecture) = &wanted.architecture
        && architecture != pool.native()
        && !["all", "any", "native"].contains(&architecture.as_str())
    {
        let (architecture, native) = (architecture.clone(), pool.native().to_string());
        return Err(SolveError::Architecture { name, architecture, native, index });
    }
    let relation = Relation { name: name.clone(), architecture: None, version: None };
    let id = pool.interned.intern_package_name(name.clone());
    let mut choice = pool.all(id)?;
    if let Some(version) = &wanted.version {
        choice.set.0 = choice.set.0.iter().copied().filter(|id| pool.item(*id).package().version == *version).collect();
        check_version(pool, wanted, version, &choice)?;
    }
    let mut group = Group { alternatives: vec![relation.clone()], choices: vec![choice], omitted: None };
    if group.ids().next().is_some() {
        return Ok(group);
    }
    let offered = pool.universe().versions(&name)?;
    if !offered.is_empty() {
        return Err(SolveError::Forbidden { name, index });
    }
    group.choices = pool.choices(&relation)?.to_vec();
    let decided = |choice: &Choice| {
        names.contains(pool.name(choice.name)) || choice.set.0.iter().any(|id| pool.item(*id).installed)
    };
    match group.choices.len() {
        0 => Err(SolveError::Unknown { similar: pool.universe().similar(&name), name, index }),
        1 => Ok(group),
        _ if group.choices.iter().any(decided) => Ok(group),
        _ => {
            let providers = group.choices.iter().map(|choice| pool.name(choice.name).to_string()).collect();
            Err(SolveError::Virtual { name, providers, index })
        }
    }
}

/// Whether the one version that was asked for is there and no step back.
fn check_version(pool: &Pool, wanted: &Wanted, version: &Version, found: &Choice) -> Result<(), SolveError> {
    let (name, index) = (wanted.name.clone(), wanted.index);
    let installed = pool.installed().version(&name, pool.native());
    let Some(id) = found.set.0.first() else {
        let offered = pool.universe().versions(&name)?.into_iter().map(|one| one.package.version.clone());
        let mut versions: Vec<Version> = offered.chain(installed.cloned()).collect();
        versions.sort_by(|a, b| b.cmp(a).then_with(|| a.as_str().cmp(b.as_str())));
        versions.dedup();
        return Err(match versions.is_empty() {
            true => SolveError::Unknown { similar: pool.universe().similar(&name), name, index },
            false => SolveError::NoVersion { name, version: version.clone(), versions, index },
        });
    };
    match installed {
        Some(installed) if version < installed && !pool.may_downgrade(*id) => {
            Err(SolveError::Older { name, version: version.clone(), installed: installed.clone(), index })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;
