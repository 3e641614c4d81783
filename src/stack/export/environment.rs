//! Variables of services: from `env_file` and `environment`, with the values that they have when the stack is exported.

use serde_json::{Value as Json, json};

use super::command::escaped;
use super::read;
use super::secrets::Source;
use super::translation::{Translation, shown};
use crate::stack::node::Place;

/// What a device plugin says a pod may see. A value of the pod's own would be stronger.
const DEVICES: &str = "NVIDIA_VISIBLE_DEVICES";

/// A variable of a service.
#[derive(Clone, Debug)]
pub(super) struct Variable {
    pub name: String,
    pub place: Place,
    pub value: String,
    /// It must not be written into a manifest.
    pub secret: bool,
}

/// Reads the variables of all services. Which of the others are secret is decided later, when all are known.
pub(super) fn collect(translation: &mut Translation<'_>) {
    let stack = translation.stack;
    for (service, node) in stack.services() {
        let mut all = Vec::new();
        for (name, value) in read::pairs(node, "environment") {
            let usable = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
            if name.is_empty() || !name.bytes().all(usable) || name.starts_with(|c: char| c.is_ascii_digit()) {
                translation.lose("environment", value.place, &format!("the variable `{}` of `{service}`", shown(name)));
                continue;
            }
            let (name, place, text) = (name.to_string(), value.place, value.scalar().unwrap_or_default().to_string());
            // What comes from whoever starts the stack: that is how secrets are passed on.
            let secret = value.scalar().is_none() || stack.variables.passed.contains(&(place, name.clone()));
            all.push(Variable { name, place, value: text, secret });
        }
        translation.variables.insert(service.to_string(), all);
    }
}

/// The variables of a container: values, and references to the Secret of the service.
pub(super) fn translate(translation: &mut Translation<'_>, name: &str) -> Json {
    let secret = format!("{}-env", translation.name(name));
    let mut variables = translation.variables.get(name).cloned().unwrap_or_default();
    if let Some(devices) = variables.iter().find(|variable| variable.name == DEVICES).map(|variable| variable.place) {
        let what =
            format!("`{DEVICES}` of `{name}` is the cluster's to set: it would give the pod every GPU of its node");
        translation.note(devices, what);
        variables.retain(|variable| variable.name != DEVICES);
    }
    let one = |variable: &Variable| match variable.secret {
        true => json!({"name": variable.name, "valueFrom": {"secretKeyRef": {"name": secret, "key": variable.name}}}),
        false => json!({"name": variable.name, "value": escaped(&variable.value)}),
    };
    let all = variables.iter().map(one).collect();
    for variable in variables.into_iter().filter(|variable| variable.secret) {
        translation.needed.entry(secret.clone()).or_default().insert(variable.name, Source::Variable);
    }
    all
}
