//! What every error of Ingot can say, and the one type in which errors of different rooms travel.
//!
//! Each room has a `thiserror` enum of its own. Its message says what could not be done and with which
//! object; *expected* and *found* are named fields; the cause is the `#[source]`; advice is a separate hint.
//! A room's enum implements [`Explain`], which adds the exit class, and converts into [`Error`] with `?`.

use std::error::Error as StdError;
use std::fmt;

/// The exit code that an error leads to (design: "Exit codes").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A defect of Ingot itself.
    Bug = 1,
    /// The command line or the project file is wrong.
    Usage = 2,
    /// A budget, a check or another policy refuses the result.
    Policy = 3,
    /// A digest, a size, a hash or a signature does not hold; or a document is malformed.
    Verification = 4,
    /// A registry, an index or the network does not answer as it should.
    Network = 5,
    /// The disk, the store or a file cannot be read or written.
    Storage = 6,
    /// podman, docker or another program that Ingot calls failed.
    Engine = 7,
}

impl Class {
    /// The process exit code, 1 to 7.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// An error that knows its exit class, and, where there is advice, a hint.
pub trait Explain: StdError + Send + Sync + 'static {
    /// Decides the exit code.
    fn class(&self) -> Class;

    /// What to do about it, one sentence without a final period.
    fn hint(&self) -> Option<String> {
        None
    }

    /// A table or a list that belongs to the error, to be shown as it is.
    fn details(&self) -> Option<String> {
        None
    }

    /// A rendered piece of the file at fault, with a caret under the mistake.
    fn snippet(&self) -> Option<String> {
        None
    }
}

/// Any room's error, with the actions during which it happened.
///
/// Deliberately not a `std::error::Error`, so that every `Explain` type converts into it with `?`.
pub struct Error {
    inner: Box<dyn Explain>,
    during: Vec<String>,
}

/// The result of whatever may fail in more than one room.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl<E: Explain> From<E> for Error {
    fn from(error: E) -> Self {
        Error { inner: Box::new(error), during: Vec::new() }
    }
}

impl Error {
    /// Adds the action that failed, as a gerund with its object: "building layer `app`".
    pub fn during(mut self, action: impl Into<String>) -> Self {
        self.during.push(action.into());
        self
    }

    /// The exit class of the cause.
    pub fn class(&self) -> Class {
        self.inner.class()
    }

    /// The advice of the cause.
    pub fn hint(&self) -> Option<String> {
        self.inner.hint()
    }

    /// The table of the cause.
    pub fn details(&self) -> Option<String> {
        self.inner.details()
    }

    /// The rendered piece of a file, if the cause has one.
    pub fn snippet(&self) -> Option<String> {
        self.inner.snippet()
    }

    /// The room's error itself.
    pub fn cause(&self) -> &(dyn StdError + 'static) {
        &*self.inner
    }

    /// The messages, outermost action first, the deepest source last.
    pub fn chain(&self) -> Vec<String> {
        let mut messages: Vec<String> = self.during.iter().rev().cloned().collect();
        let mut next: Option<&dyn StdError> = Some(&*self.inner);
        while let Some(error) = next {
            messages.push(error.to_string());
            next = error.source();
        }
        messages
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain().join(": "))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} [{:?}]", self.class())
    }
}

/// `result.during(|| format!(...))`: names the action when it fails.
pub trait During<T> {
    /// Adds `action` to the error.
    fn during(self, action: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Error>> During<T> for std::result::Result<T, E> {
    fn during(self, action: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.into().during(action()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("could not read `x`")]
    struct Outer(#[source] std::io::Error);

    impl Explain for Outer {
        fn class(&self) -> Class {
            Class::Storage
        }
        fn hint(&self) -> Option<String> {
            Some("look at x".into())
        }
    }

    #[test]
    fn the_chain_names_actions_then_causes() {
        let failed: std::result::Result<(), Outer> = Err(Outer(std::io::Error::other("bad sector")));
        let error = failed.during(|| "building layer `app`".into()).unwrap_err();
        assert_eq!(error.to_string(), "building layer `app`: could not read `x`: bad sector");
        assert_eq!(error.class().code(), 6);
        assert_eq!(error.hint().as_deref(), Some("look at x"));
    }
}
