//! What can keep the last layer from being made.

use crate::error::{Class, Explain};

/// Users, folders or a launcher that do not fit the base.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that passwd, group or the environment cannot hold.
    #[error("`{text}` cannot be {what}: {reason}")]
    Name {
        /// "a user name", "a home folder", "a variable".
        what: &'static str,
        /// What was given, without control characters.
        text: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// The base has something else under the same name or number.
    #[error("{what} does not fit the base image: `{file}` has `{found}`, expected `{expected}`")]
    Conflict {
        /// "user `app`", "uid 1001".
        what: String,
        /// The file of the base.
        file: String,
        /// What it says.
        found: String,
        /// What the project asks for.
        expected: String,
    },
    /// A folder that cannot be made.
    #[error("folder `/{path}` cannot be made: `/{at}` is {found} in the base image, expected a folder")]
    Folder {
        /// What the project asks for.
        path: String,
        /// The component at fault.
        at: String,
        /// "a file", "a link that leads nowhere".
        found: &'static str,
    },
    /// The shell launcher needs a shell.
    #[error("the launcher needs `/bin/sh`, which the base image does not have")]
    Shell,
    /// The launcher cannot name its interpreter in its first line.
    #[error("interpreter `{interpreter}` cannot stand in the first line of a script: {reason}")]
    Interpreter {
        /// Its path.
        interpreter: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
}

impl Explain for Error {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Conflict { .. } => {
                Some("set name, uid and gid in [user] to those of the base, or to ones that it does not have".into())
            }
            Error::Shell => Some("add `dash` to the packages of [os], use a base with a shell, or add [python], whose launcher needs none".into()),
            Error::Folder { .. } => Some("choose another path in [app] writable".into()),
            Error::Interpreter { .. } => Some("choose a shorter [python] venv, without spaces".into()),
            Error::Name { .. } => None,
        }
    }
}

pub(super) fn printable(text: &str) -> String {
    text.escape_debug().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_has_its_text() {
        let texts = [
            Error::Name { what: "a user name", text: "x y".into(), reason: "it has a space" },
            Error::Conflict {
                what: "uid 1001".into(),
                file: "/etc/passwd".into(),
                found: "ubuntu".into(),
                expected: "app".into(),
            },
            Error::Folder { path: "a/b".into(), at: "a".into(), found: "a file" },
            Error::Shell,
            Error::Interpreter { interpreter: "/a b".into(), reason: "it has a space" },
        ]
        .map(|error| error.to_string());
        assert_eq!(
            texts,
            [
                "`x y` cannot be a user name: it has a space",
                "uid 1001 does not fit the base image: `/etc/passwd` has `ubuntu`, expected `app`",
                "folder `/a/b` cannot be made: `/a` is a file in the base image, expected a folder",
                "the launcher needs `/bin/sh`, which the base image does not have",
                "interpreter `/a b` cannot stand in the first line of a script: it has a space",
            ]
        );
    }
}
