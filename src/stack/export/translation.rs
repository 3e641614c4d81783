//! A stack on its way into a cluster: what is known of it, what was made, what is lost, and what has to be told.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map as Object, Value as Json, json};

use super::environment::Variable;
use super::error::Error;
use super::files::Config;
use super::losses::{self, LOSSES};
use super::manifests::{Manifests, rank};
use super::secrets::Sensitive;
use super::volumes::Claim;
use super::{Options, names, read, secrets};
use crate::oci::Reference;
use crate::stack::load::Stack;
use crate::stack::node::{Node, Place};

/// The longest piece of foreign text in a message.
const SHOWN: usize = 100;

/// Everything about one export.
pub(super) struct Translation<'a> {
    pub stack: &'a Stack,
    pub options: &'a Options,
    /// The names of services in the cluster.
    pub names: BTreeMap<String, String>,
    /// The variables of services.
    pub variables: BTreeMap<String, Vec<Variable>>,
    /// Values that must not be written.
    pub sensitive: Sensitive,
    /// Secrets in the commands of services, and the variables that have them, the longest first.
    pub spoken: BTreeMap<String, Vec<(String, String)>>,
    /// The objects of configs.
    pub configs: BTreeMap<String, Config>,
    /// What becomes of named volumes.
    pub claims: BTreeMap<String, Claim>,
    /// The Secrets that must be there: their keys, and where the values come from.
    pub needed: BTreeMap<String, BTreeMap<String, secrets::Source>>,
    problems: Vec<(Place, String, Option<&'static str>)>,
    lost: BTreeSet<(Place, String)>,
    notes: BTreeSet<(Place, String)>,
    objects: Vec<Json>,
}

impl<'a> Translation<'a> {
    /// Nothing is done yet but what the options say was looked at.
    pub fn new(stack: &'a Stack, options: &'a Options) -> Result<Self, Error> {
        let known: Vec<String> = stack.services().map(|(name, _)| name.to_string()).collect();
        for (service, reference) in &options.images {
            if !known.contains(service) {
                return Err(Error::UnknownService { service: shown(service), known });
            }
            if reference.parse::<Reference>().is_err() {
                let reference = Sensitive::default().hidden(&shown(reference));
                return Err(Error::Reference { service: shown(service), reference });
            }
        }
        if let Some(key) = options.allow.iter().find(|key| losses::of(key).is_none()) {
            let known = LOSSES.iter().map(|loss| loss.key.to_string()).collect();
            return Err(Error::UnknownKey { key: shown(key), known });
        }
        if let Some(namespace) = options.namespace.as_ref().filter(|name| names::label(name, 63) != **name) {
            return Err(Error::Namespace { namespace: shown(namespace) });
        }
        if let Some(size) = options.volume_size.as_ref().filter(|size| !read::is_quantity(size)) {
            return Err(Error::Size { size: shown(size) });
        }
        let mut translation = Translation {
            stack,
            options,
            names: BTreeMap::new(),
            variables: BTreeMap::new(),
            sensitive: Sensitive::default(),
            spoken: BTreeMap::new(),
            configs: BTreeMap::new(),
            claims: BTreeMap::new(),
            needed: BTreeMap::new(),
            problems: Vec::new(),
            lost: BTreeSet::new(),
            notes: BTreeSet::new(),
            objects: Vec::new(),
        };
        names::choose(&mut translation);
        Ok(translation)
    }

    /// The name of a service in the cluster.
    pub fn name(&self, service: &str) -> String {
        self.names.get(service).cloned().unwrap_or_else(|| names::label(service, names::LIMIT))
    }

    /// A value that has no counterpart: an error, unless it may be let go.
    pub fn lose(&mut self, key: &'static str, place: Place, what: &str) {
        let (why, hint) = losses::of(key).map_or(("", ""), |loss| (loss.why, loss.hint));
        if self.options.lossy || self.options.allow.contains(key) {
            self.lost.insert((place, format!("{what}: {why} [{key}]")));
            return;
        }
        let text = format!("{}: {what} has no counterpart: {why} [{key}]\n    {hint}", self.place(place));
        self.problems.push((place, text, Some(key)));
    }

    /// A value that is wrong, or that has to be known: always an error.
    pub fn refuse(&mut self, place: Place, what: &str, hint: &str) {
        let text = format!("{}: {what}\n    {hint}", self.place(place));
        self.problems.push((place, text, None));
    }

    /// Something that is not as it was, and that whoever applies the manifests should know.
    pub fn note(&mut self, place: Place, what: String) {
        self.notes.insert((place, what));
    }

    /// `FILE:LINE`.
    fn place(&self, place: Place) -> String {
        let file = self.stack.file(place);
        if place.line == 0 { file.into() } else { format!("{file}:{}", place.line) }
    }

    /// Labels that every object has.
    pub fn labels(&self, name: &str) -> Object<String, Json> {
        let mut labels = self.selector(name);
        labels.insert("app.kubernetes.io/managed-by".into(), json!("ingot"));
        labels
    }

    /// Labels by which the pods of a service are found.
    pub fn selector(&self, name: &str) -> Object<String, Json> {
        let mut labels = Object::new();
        labels.insert("app.kubernetes.io/name".into(), json!(name));
        labels.insert("app.kubernetes.io/part-of".into(), json!(names::label(&self.stack.name, 63)));
        labels
    }

    /// Adds an object: `body` with kind, name, namespace and labels.
    pub fn object(&mut self, kind: &str, name: &str, labels: Object<String, Json>, body: Json) {
        let version = match kind {
            "Deployment" | "StatefulSet" => "apps/v1",
            "Job" => "batch/v1",
            "NetworkPolicy" => "networking.k8s.io/v1",
            _ => "v1",
        };
        let mut metadata = Object::new();
        metadata.insert("name".into(), json!(name));
        metadata.insert("labels".into(), Json::Object(labels));
        if let Some(namespace) = self.options.namespace.as_ref().filter(|_| kind != "Namespace") {
            metadata.insert("namespace".into(), json!(namespace));
        }
        let mut object = match body {
            Json::Object(object) => object,
            _ => Object::new(),
        };
        if let Some(annotations) = object.remove("annotations") {
            metadata.insert("annotations".into(), annotations);
        }
        object.insert("apiVersion".into(), json!(version));
        object.insert("kind".into(), json!(kind));
        object.insert("metadata".into(), Json::Object(metadata));
        self.objects.push(Json::Object(object));
    }

    /// The manifests, or all that is wrong.
    pub fn finish(mut self) -> Result<Manifests, Error> {
        if let Some(namespace) = self.options.namespace.clone() {
            let labels = self.labels(&namespace);
            self.object("Namespace", &namespace, labels, json!({}));
        }
        self.objects.sort_by_key(key);
        let twice: Vec<String> = self
            .objects
            .windows(2)
            .filter(|pair| pair.first().map(key) == pair.last().map(key))
            .filter_map(|pair| pair.first().map(title))
            .collect();
        for object in twice {
            let hint = "give one of the services, volumes, networks or configs another name";
            self.refuse(Place::default(), &format!("two objects would be `{object}`"), hint);
        }
        // Who is told where one stands need not be told of the object, too.
        let told = self.problems.iter().any(|(_, text, _)| text.contains(secrets::NOWHERE));
        let objects = if told { &[] } else { self.objects.as_slice() };
        let left: Vec<(String, String)> = objects
            .iter()
            .filter_map(|object| Some((title(object), left(object, &self.sensitive)?.to_string())))
            .collect();
        for (object, name) in left {
            let what = format!("`{object}` has the value of `{}`, {}", shown(&name), secrets::NOWHERE);
            self.refuse(Place::default(), &what, "give it to the service as a variable or a secret");
        }
        if !self.problems.is_empty() {
            let hide = |text: &str| match text.split_once("\n    ") {
                Some((what, hint)) => format!("{}\n    {hint}", self.sensitive.hidden(what)),
                None => self.sensitive.hidden(text),
            };
            self.problems.iter_mut().for_each(|(_, text, _)| *text = hide(text));
            self.problems.sort();
            self.problems.dedup();
            let keys: BTreeSet<&'static str> = self.problems.iter().filter_map(|(_, _, key)| *key).collect();
            let problems = self.problems.into_iter().map(|(_, text, _)| text).collect();
            return Err(Error::Untranslatable { problems, keys: keys.into_iter().collect() });
        }
        let told = |told: &BTreeSet<(Place, String)>| -> Vec<String> {
            told.iter()
                .map(|(place, what)| format!("{}: {}", self.place(*place), self.sensitive.hidden(what)))
                .collect()
        };
        Ok(Manifests {
            lost: told(&self.lost),
            notes: told(&self.notes),
            secrets: secrets::commands(&self.needed, self.options.namespace.as_deref()),
            objects: self.objects,
        })
    }
}

fn key(object: &Json) -> (usize, String) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Json::as_str).unwrap_or_default();
    (rank(text("/kind")), text("/metadata/name").to_string())
}

/// The secret that stands anywhere in an object.
fn left<'s>(object: &Json, sensitive: &'s Sensitive) -> Option<&'s str> {
    match object {
        Json::String(text) => sensitive.left(text),
        Json::Array(list) => list.iter().find_map(|one| left(one, sensitive)),
        Json::Object(map) => map.iter().find_map(|(key, one)| sensitive.left(key).or_else(|| left(one, sensitive))),
        _ => None,
    }
}

fn title(object: &Json) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Json::as_str).unwrap_or_default();
    format!("{}/{}", text("/kind"), text("/metadata/name"))
}

/// Foreign text in a message.
pub(super) fn shown(text: &str) -> String {
    text.escape_debug().take(SHOWN).collect()
}

/// Puts a value under a key if there is one.
pub(super) fn put(object: &mut Object<String, Json>, key: &str, value: Option<Json>) {
    if let Some(value) = value.filter(|value| !is_empty(value)) {
        object.insert(key.into(), value);
    }
}

fn is_empty(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Array(list) => list.is_empty(),
        Json::Object(object) => object.is_empty(),
        _ => false,
    }
}

/// The place of a key, or of what should have it.
pub(super) fn place_of(node: &Node, key: &str) -> Place {
    node.map().and_then(|map| map.get(key)).map_or(node.place, |(place, _)| *place)
}
