//! Taking a stack down: what the provider has left is found out, and told.

use super::state::Place;
use super::trouble::Trouble;
use super::up::own;
use crate::engine::{Provider, ProviderProject};
use crate::error::Result;

/// What was taken down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The names of the containers.
    pub containers: Vec<String>,
    /// The names of the volumes that are left, with their data; or, if they were to go, of those that went.
    pub volumes: Vec<String>,
}

/// Removes the containers and networks of a stack; its volumes, and the data in them, only if that is asked for.
pub fn down(provider: &Provider, project: &ProviderProject, volumes: bool, place: &Place) -> Result<Taken> {
    let engine = provider.engine();
    let before = own(engine, &project.name, &project.file)?;
    let kept = engine.project_volumes(&project.name)?;
    provider.down(project, volumes)?;
    let left = own(engine, &project.name, &project.file)?;
    if !left.is_empty() {
        let left = left.into_iter().map(|one| one.name).collect();
        let (provider, stack) = (provider.kind().to_string(), project.name.clone());
        return Err(Trouble::Left { provider, stack, left }.into());
    }
    place.forget()?;
    Ok(Taken { containers: before.into_iter().map(|one| one.name).collect(), volumes: kept })
}
