//! Taking a stack down: what the provider has left is found out, and told.

use super::load::Stack;
use super::pinned::{VOLUME_LABEL, volumes as declared};
use super::state::Place;
use super::trouble::Trouble;
use super::up::own;
use crate::engine::{Engine, Provider, ProviderProject};
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
pub fn down(
    stack: &Stack,
    provider: &Provider,
    project: &ProviderProject,
    volumes: bool,
    place: &Place,
) -> Result<Taken> {
    let engine = provider.engine();
    let before = own(engine, &project.name, &project.file)?;
    let kept = engine.project_volumes(&project.name)?;
    if volumes {
        are_own(stack, engine, &kept)?;
    }
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

/// Whether the volumes that would go are of this project's folder: another stack that is down may have the same name.
fn are_own(stack: &Stack, engine: &Engine, found: &[String]) -> Result<()> {
    let mut names = declared(stack);
    names.extend(found.iter().cloned());
    names.sort();
    names.dedup();
    let folder = stack.folder.display().to_string();
    let labels = engine.volume_labels(&names, VOLUME_LABEL)?;
    match labels.into_iter().find(|(_, of)| *of != folder) {
        Some((volume, folder)) => {
            let (engine, stack) = (engine.kind(), stack.name.clone());
            Err(Trouble::OtherVolume { engine, stack, volume, folder }.into())
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::engine::Kind;
    use crate::stack::Request;

    #[test]
    fn volumes_of_another_folder_are_not_this_stacks() {
        let folder = tempfile::tempdir().unwrap();
        let text = "name: app\nservices: {a: {image: i}}\nvolumes: {data: }\n";
        std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
        let stack = Stack::load(&Request { folder: Some(folder.path().into()), ..Request::default() }).unwrap();
        let program = folder.path().join("podman");
        let check = |label: &str| {
            let answer = format!(r#"[{{"Name":"app_data","Labels":{label}}}]"#);
            let script = format!(
                "#!/bin/sh\n[ $2 = ls ] && {{ echo app_data; echo app_more; exit; }}\necho \"$*\" > '{}.said'\necho '{answer}'\n",
                program.display()
            );
            std::fs::write(&program, script).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            are_own(&stack, &Engine::fake(Kind::Podman, program.to_str().unwrap()), &["app_old".to_string()])
        };
        check("null").unwrap();
        check("{}").unwrap();
        check(&format!(r#"{{"{VOLUME_LABEL}":"{}"}}"#, stack.folder.display())).unwrap();
        let error = check(&format!(r#"{{"{VOLUME_LABEL}":"/other"}}"#)).unwrap_err();
        assert_eq!(error.to_string(), "the volume `app_data` is not of this `app`, but of that in `/other`");
        let said = std::fs::read_to_string(folder.path().join("podman.said")).unwrap();
        assert_eq!(said, "volume inspect app_data\n", "what is there, and no more");
    }
}
