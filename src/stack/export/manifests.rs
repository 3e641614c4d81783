//! The finished objects: as one list, as one text, as files.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::stack::render;

/// Every kind of object, in the order in which they are applied.
const KINDS: [&str; 8] =
    ["Namespace", "ConfigMap", "PersistentVolumeClaim", "Service", "Deployment", "StatefulSet", "Job", "NetworkPolicy"];
/// How every file that Ingot writes here begins.
pub(super) const HEADER: &str = "# Made by `ingot stack export --kubernetes`.";

/// The place of a kind.
pub(super) fn rank(kind: &str) -> usize {
    KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len())
}

/// What a stack became.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifests {
    /// The objects, in the order in which they are applied.
    pub objects: Vec<Json>,
    /// What was let go.
    pub lost: Vec<String>,
    /// What is not as it was.
    pub notes: Vec<String>,
    /// The commands that make the Secrets that are referred to.
    pub secrets: Vec<String>,
}

impl Manifests {
    /// One object that has all.
    pub fn list(&self) -> Json {
        json!({"apiVersion": "v1", "kind": "List", "items": self.objects})
    }

    /// All documents of YAML in one text, with what has to be done before in comments.
    pub fn yaml(&self) -> String {
        let mut out = format!("{HEADER}\n");
        if !self.secrets.is_empty() {
            out += "# These Secrets must be there:\n";
            self.secrets.iter().for_each(|line| out += &format!("#   {line}\n"));
        }
        for object in &self.objects {
            out += &format!("---\n{}", render::manifest(object));
        }
        out
    }

    /// A file of each object, and README.md, by name. Their order is that of the objects.
    pub fn files(&self) -> BTreeMap<String, String> {
        let text = |object: &Json, pointer: &str| -> String {
            object.pointer(pointer).and_then(Json::as_str).unwrap_or_default().to_string()
        };
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for object in &self.objects {
            let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
            let file = format!("{}-{}-{name}.yaml", rank(&kind), kind.to_ascii_lowercase());
            files.insert(file, format!("{HEADER}\n{}", render::manifest(object)));
        }
        files.insert("README.md".into(), self.readme());
        files
    }

    fn readme(&self) -> String {
        let mut out = format!("{HEADER}\n");
        let fenced = |lines: &[String]| format!("\n```sh\n{}\n```\n", lines.join("\n"));
        if !self.secrets.is_empty() {
            out += "\nThese Secrets must be there:\n";
            out += &fenced(&self.secrets);
        }
        for (title, lines) in [("Let go:", &self.lost), ("To know:", &self.notes)] {
            if !lines.is_empty() {
                out += &format!("\n{title}\n\n");
                lines.iter().for_each(|line| out += &format!("- {line}\n"));
            }
        }
        out + &fenced(&["kubectl apply -f .".to_string()])
    }
}
