//! The packages as the solver asks for them.

use std::any::Any;
use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;

use resolvo::{
    Candidates, Condition, ConditionId, ConditionalRequirement, Dependencies, DependencyProvider,
    HintDependenciesAvailable, Interner, KnownDependencies, NameId, Requirement, SolvableId, SolverCache, StringId,
    VersionSetId, VersionSetUnionId,
};

use super::pool::{Choice, Group, Pool, Set};
use super::walk::Walk;
use crate::debian::Error;

/// Answers the solver's questions, the walk's choice first.
pub(super) struct Provider<'a, 'p> {
    pool: &'a Pool<'p>,
    walk: &'a Walk,
    /// The first error of the universe, which ends the solving.
    failed: RefCell<Option<Error>>,
}

impl<'a, 'p> Provider<'a, 'p> {
    pub fn new(pool: &'a Pool<'p>, walk: &'a Walk) -> Provider<'a, 'p> {
        Provider { pool, walk, failed: RefCell::default() }
    }

    pub fn failure(&self) -> Option<Error> {
        self.failed.borrow_mut().take()
    }

    /// A relation as the solver has it; the alternative that the walk took is the first.
    pub fn requirement(&self, group: &Group) -> Requirement {
        let chosen = |choice: &&Choice| choice.set.0.iter().any(|id| self.walk.has(self.pool, *id));
        let (first, rest): (Vec<&Choice>, Vec<&Choice>) = group.choices.iter().partition(chosen);
        let mut sets = first.into_iter().chain(rest).map(|choice| self.set(choice));
        match (sets.next(), sets.next()) {
            (Some(first), None) => first.into(),
            (Some(first), Some(second)) => {
                self.pool.interned.intern_version_set_union(first, std::iter::once(second).chain(sets)).into()
            }
            (None, _) => {
                let name = group.alternatives.first().map(ToString::to_string).unwrap_or_default();
                let name = self.pool.interned.intern_package_name(name);
                self.pool.interned.intern_version_set(name, Set(Rc::default())).into()
            }
        }
    }

    /// Versions of one package, of which one has to be there.
    pub fn requirement_of(&self, choice: &Choice) -> Requirement {
        self.set(choice).into()
    }

    fn set(&self, choice: &Choice) -> VersionSetId {
        self.pool.interned.intern_version_set(choice.name, choice.set.clone())
    }

    fn known(&self, id: SolvableId) -> Result<KnownDependencies, Error> {
        let mut known = KnownDependencies::default();
        for group in self.pool.groups(id)?.iter().filter(|group| group.omitted.is_none()) {
            known.requirements.push(ConditionalRequirement::from(self.requirement(group)));
        }
        for choice in self.pool.conflicts(id)?.iter() {
            let all = self.pool.candidates(choice.name)?;
            let allowed = all.iter().copied().filter(|id| !choice.has(*id)).collect();
            known.constrains.push(self.pool.interned.intern_version_set(choice.name, Set(allowed)));
        }
        Ok(known)
    }

    /// Remembers an error; the solver goes on with nothing until it asks whether to stop.
    fn or_stop<T: Default>(&self, result: Result<T, Error>) -> T {
        result.unwrap_or_else(|error| {
            self.failed.borrow_mut().get_or_insert(error);
            T::default()
        })
    }
}

impl Interner for Provider<'_, '_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl Display + '_ {
        let item = self.pool.item(solvable);
        format!("{}={item}", item.package().name)
    }

    fn display_name(&self, name: NameId) -> impl Display + '_ {
        self.pool.name(name)
    }

    fn display_version_set(&self, version_set: VersionSetId) -> impl Display + '_ {
        let set = self.pool.interned.resolve_version_set(version_set);
        set.0.iter().map(|id| self.pool.item(*id).to_string()).collect::<Vec<_>>().join(", ")
    }

    fn display_string(&self, string_id: StringId) -> impl Display + '_ {
        self.pool.interned.resolve_string(string_id)
    }

    fn version_set_name(&self, version_set: VersionSetId) -> NameId {
        self.pool.interned.resolve_version_set_package_name(version_set)
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        self.pool.name_of(solvable)
    }

    fn version_sets_in_union(&self, union: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        self.pool.interned.resolve_version_set_union(union)
    }

    fn resolve_condition(&self, condition: ConditionId) -> Condition {
        self.pool.interned.resolve_condition(condition).clone()
    }
}

impl DependencyProvider for Provider<'_, '_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        version_set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        let set = self.pool.interned.resolve_version_set(version_set);
        candidates.iter().copied().filter(|id| set.0.contains(id) != inverse).collect()
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates<SolvableId>> {
        let candidates = self.or_stop(self.pool.candidates(name).map(|all| all.to_vec()));
        // What the walk chose is described at once: in most cases nothing else is ever asked for.
        let chosen = candidates.iter().copied().filter(|id| self.walk.has(self.pool, *id)).collect();
        Some(Candidates {
            candidates,
            hint_dependencies_available: HintDependenciesAvailable::Some(chosen),
            ..Candidates::default()
        })
    }

    async fn sort_candidates(&self, _solver: &SolverCache<Self>, solvables: &mut [SolvableId]) {
        // Solvables are numbered in the order of preference.
        solvables.sort_by_key(|id| (!self.walk.has(self.pool, *id), *id));
    }

    async fn get_dependencies(&self, solvable: SolvableId) -> Dependencies {
        Dependencies::Known(self.or_stop(self.known(solvable)))
    }

    fn should_cancel_with_value(&self) -> Option<Box<dyn Any>> {
        self.failed.borrow().is_some().then(|| Box::new(()) as Box<dyn Any>)
    }
}
