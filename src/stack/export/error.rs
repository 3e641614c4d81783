//! What keeps a stack from being translated.

use crate::error::{Class, Explain};
use crate::project::suggestion;

/// A stack that does not become manifests.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Values without a counterpart, and mistakes; all of them at once.
    #[error("the stack cannot be translated as it is: {}", counted(problems.len()))]
    Untranslatable {
        /// One for each, sorted.
        problems: Vec<String>,
        /// The keys of those that may be let go.
        keys: Vec<&'static str>,
    },
    /// `--allow` with a key that nothing is lost under.
    #[error("nothing is lost under the key `{key}`")]
    UnknownKey {
        /// As it was given.
        key: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// `--image` for a service that is not there.
    #[error("`--image {service}=...`: the stack has no service `{service}`")]
    UnknownService {
        /// As it was given.
        service: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// `--image` with something else than a reference.
    #[error("`--image {service}=...`: `{reference}` is not the reference of an image")]
    Reference {
        /// The service.
        service: String,
        /// As it was given.
        reference: String,
    },
    /// `--namespace` with a name that Kubernetes does not take.
    #[error("`{namespace}` cannot be the name of a namespace")]
    Namespace {
        /// As it was given.
        namespace: String,
    },
    /// `--volume-size` with something else than an amount.
    #[error("`{size}` is not the size of a volume")]
    Size {
        /// As it was given.
        size: String,
    },
    /// A folder that holds something that Ingot did not write, or such a file.
    #[error("could not write into `{folder}`: `{file}` there is not of `ingot stack export`")]
    Foreign {
        /// The folder.
        folder: String,
        /// The file.
        file: String,
    },
}

fn counted(problems: usize) -> String {
    if problems == 1 { "1 problem".into() } else { format!("{problems} problems") }
}

impl Explain for Error {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn details(&self) -> Option<String> {
        match self {
            Error::Untranslatable { problems, .. } => Some(problems.join("\n")),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Untranslatable { keys, .. } if keys.is_empty() => "correct them: none can be let go".into(),
            Error::Untranslatable { keys, .. } => {
                let allow: Vec<String> = keys.iter().map(|key| format!("--allow {key}")).collect();
                format!("correct them, or let go of what may be lost: `{}`, or all with `--lossy`", allow.join(" "))
            }
            Error::UnknownKey { key, known } => suggestion(key, known, "the keys are"),
            Error::UnknownService { service, known } => suggestion(service, known, "the services are"),
            Error::Reference { .. } => "write `--image SERVICE=REGISTRY/NAME:TAG` or `...@sha256:DIGEST`".into(),
            Error::Namespace { .. } => "take at most 63 lower-case letters, digits and `-`, a letter first".into(),
            Error::Size { .. } => "write it as Kubernetes does: `500Mi`, `10Gi`".into(),
            Error::Foreign { .. } => "name a new file or folder, or one that a former export made".into(),
        })
    }
}
