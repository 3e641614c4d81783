//! What an engine knows of an image in its own store.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::container::Overridden;
use super::error::{clean, last_line};
use super::transfer::argument;
use super::{Engine, Error};

/// How long an engine may take to say what it knows of an image.
const INSPECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);
/// The most variables, labels, annotations or volumes of an image that is run.
const METADATA_LIMIT: usize = 200;

/// An image in an engine's store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownImage {
    /// `sha256:...`: podman's and classic docker's is the digest of the configuration.
    pub id: String,
    /// Its variables, as `NAME=VALUE`.
    pub env: Vec<String>,
    /// Its user, as written.
    pub user: String,
    /// What a container would inherit.
    pub inherited: Overridden,
}

/// The part of `image inspect` that both engines have.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    #[serde(default)]
    config: Option<InspectedConfig>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct InspectedConfig {
    env: Option<Vec<String>>,
    user: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    volumes: Option<BTreeMap<String, serde_json::Value>>,
}

impl Engine {
    /// Looks an image up by name or ID; `None` if the engine has none of that name. Nothing is pulled.
    pub fn known_image(&self, image: &str) -> Result<Option<KnownImage>, Error> {
        if !argument(image) {
            return Err(Error::Argument { kind: self.kind, text: clean(image) });
        }
        let command = self.command(["image", "inspect", image]);
        let output = self.output(command, INSPECT_TIMEOUT)?;
        let asked = format!("{} image inspect", self.kind);
        if !output.status.success() {
            let said = output.stderr_text();
            let missing = ["no such image", "image not known", "failed to find image", "no such object"];
            let lower = said.to_lowercase();
            return match missing.iter().any(|words| lower.contains(words)) {
                true => Ok(None),
                false => Err(Error::Failed { command: asked, said: last_line(&said) }),
            };
        }
        let found: Vec<Inspected> = serde_json::from_slice(&output.stdout)
            .map_err(|_| Error::Nonsense { command: asked.clone(), said: last_line(&output.stdout_text()) })?;
        let Some(found) = found.into_iter().next() else { return Ok(None) };
        let image = found.known();
        if !argument(&image.id) || image.id.len() < 12 {
            return Err(Error::Nonsense { command: asked, said: clean(&image.id) });
        }
        let inherited = &image.inherited;
        for (what, list) in [
            ("variables", &inherited.env),
            ("labels", &inherited.labels),
            ("annotations", &inherited.annotations),
            ("volumes", &inherited.volumes),
        ] {
            if list.len() > METADATA_LIMIT {
                return Err(Error::Metadata { what, count: list.len(), limit: METADATA_LIMIT });
            }
        }
        Ok(Some(image))
    }
}

impl Inspected {
    fn known(self) -> KnownImage {
        let config = self.config.unwrap_or_default();
        let env = config.env.unwrap_or_default();
        // The runtime looks its own programs up with these; a program in the container gets neither.
        let name = |variable: &String| variable.split('=').next().unwrap_or_default().to_string();
        let mut names: Vec<String> = env.iter().map(name).filter(|name| !name.is_empty()).collect();
        names.sort();
        names.dedup();
        let keys = |map: Option<BTreeMap<String, String>>| map.unwrap_or_default().into_keys().collect();
        KnownImage {
            id: self.id,
            user: config.user.unwrap_or_default(),
            env,
            inherited: Overridden {
                env: names,
                labels: keys(config.labels),
                annotations: keys(self.annotations),
                volumes: config.volumes.unwrap_or_default().into_keys().collect(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Kind, testing};
    use crate::error::Explain;

    fn fake(script: &str) -> (tempfile::TempDir, Engine) {
        testing::fake(Kind::Podman, script)
    }

    #[test]
    fn what_a_container_would_inherit_is_known() {
        let (_folder, engine) = fake(
            r#"echo '[{"Id":"0123456789abcdef","Annotations":{"run.oci.x":"y"},"Config":{"Env":["LD_PRELOAD=/x","A=b=c"],
               "User":"app","Labels":{"l":"v"},"Volumes":{"/data":{}},"Entrypoint":["x"]}}]'"#,
        );
        let image = engine.known_image("app").unwrap().unwrap();
        assert_eq!((image.id.as_str(), image.user.as_str()), ("0123456789abcdef", "app"));
        assert_eq!(image.inherited.env, ["A", "LD_PRELOAD"]);
        assert_eq!((image.inherited.labels, image.inherited.annotations), (vec!["l".into()], vec!["run.oci.x".into()]));
        assert_eq!(image.inherited.volumes, ["/data"]);
    }

    #[test]
    fn no_image_garbage_and_a_flood_are_told_apart() {
        let (_folder, engine) = fake("echo 'Error: inspecting object: x: image not known' >&2; exit 125");
        assert_eq!(engine.known_image("app").unwrap(), None);
        let (_folder, engine) = fake("echo 'database is locked' >&2; exit 125");
        assert!(matches!(engine.known_image("app"), Err(Error::Failed { .. })));
        for garbage in ["echo '{'", "echo '[{\"Id\":\"--rm\"}]'", "yes '[' | head -c 9000000", "printf '\\000\\377'"] {
            let (_folder, engine) = fake(garbage);
            let error = engine.known_image("app").unwrap_err();
            assert!(matches!(error, Error::Nonsense { .. }), "{garbage}: {error}");
            assert_eq!(error.class().code(), 7);
        }
        let labels = "python3 -c 'import json; print(json.dumps([{\"Id\": \"0\" * 64, \"Config\": {\"Labels\": {str(n): \"\" for n in range(900)}}}]))'";
        let (_folder, engine) = fake(labels);
        let error = engine.known_image("app").unwrap_err();
        assert_eq!(error.to_string(), "the image has 900 labels, at most 200 are accepted of an image that is run");
        let (_folder, engine) = fake("exit 0");
        assert!(matches!(engine.known_image("--all"), Err(Error::Argument { .. })));
    }
}
