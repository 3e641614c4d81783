//! The images of a stack that Ingot does not cast: the engine has them, or fetches them, before anything is started.

use std::collections::BTreeMap;

use super::ingot::is_cast;
use super::load::Stack;
use super::node::Node;
use super::trouble::Trouble;
use crate::engine::Engine;
use crate::error::Result;
use crate::net::in_parallel;
use crate::progress::Progress;

/// Images that are fetched at the same time.
const AT_ONCE: usize = 3;

/// How often an image is fetched (Compose Specification, "pull_policy").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Policy {
    Never,
    Missing,
    Always,
}

/// Fetches what the engine lacks, for these services; how many images those were.
pub fn fetch(stack: &Stack, services: &[&str], engine: &Engine, progress: &Progress) -> Result<usize> {
    let wanted: Vec<(String, (String, Policy))> = wanted(stack, services)?.into_iter().collect();
    let fetched = in_parallel(&wanted, AT_ONCE, |(image, (service, policy))| {
        let there = engine.known_image(image)?.is_some();
        match policy {
            Policy::Never | Policy::Missing if there => Ok(0),
            Policy::Never => {
                let (engine, service, image) = (engine.kind(), service.clone(), image.clone());
                Err(Trouble::NoImage { engine, service, image }.into())
            }
            _ => {
                let task = progress.task(&format!("pull {image}"), None);
                engine.pull(image)?;
                task.finish("pulled");
                Ok(1)
            }
        }
    })?;
    Ok(fetched.into_iter().sum())
}

/// Each image once, with a service that needs it and the most that one of them asks for.
fn wanted(stack: &Stack, services: &[&str]) -> Result<BTreeMap<String, (String, Policy)>, Trouble> {
    let mut found: BTreeMap<String, (String, Policy)> = BTreeMap::new();
    for (name, service) in stack.services().filter(|(name, service)| services.contains(name) && !is_cast(service)) {
        let Some(image) = service.get("image").and_then(Node::scalar).filter(|image| !image.is_empty()) else {
            return Err(Trouble::Dockerfile { service: name.into() });
        };
        let builds = service.get("build").is_some();
        let policy = match service.get("pull_policy").and_then(Node::scalar) {
            Some("never") => Policy::Never,
            Some("always") => Policy::Always,
            // What somebody has built here is in no registry, or not the same there.
            Some("build") => Policy::Never,
            None if builds => Policy::Never,
            _ => Policy::Missing,
        };
        let entry = found.entry(image.to_string()).or_insert((name.to_string(), policy));
        entry.1 = entry.1.max(policy);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::Request;

    #[test]
    fn every_image_is_wanted_once() {
        let folder = tempfile::tempdir().unwrap();
        let text = "services:\n  a: {image: x, pull_policy: never}\n  b: {image: x}\n  c: {image: y, build: .}\n  d: {build: .}\n  e: {x-ingot: {project: .}}\n  f: {image: z, pull_policy: always}\n";
        std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
        let stack = Stack::load(&Request { folder: Some(folder.path().into()), ..Request::default() }).unwrap();
        let found = wanted(&stack, &["a", "b", "c", "e", "f"]).unwrap();
        let told: Vec<_> = found.iter().map(|(image, (_, policy))| (image.as_str(), *policy)).collect();
        assert_eq!(told, [("x", Policy::Missing), ("y", Policy::Never), ("z", Policy::Always)]);
        let error = wanted(&stack, &["d"]).unwrap_err();
        assert_eq!(error.to_string(), "`d` is built from a Dockerfile, which Ingot does not run");
    }
}
