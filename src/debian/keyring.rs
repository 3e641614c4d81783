//! Keyrings: the OpenPGP keys that may sign a suite.

use std::fmt;
use std::sync::Arc;

/// A keyring file, binary or armoured, as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Keyring {
    /// Where it is from, for messages.
    pub name: String,
    /// The file.
    pub bytes: Arc<[u8]>,
}

impl Keyring {
    /// A keyring with a name for messages.
    pub fn new(name: &str, bytes: Vec<u8>) -> Keyring {
        Keyring { name: name.to_string(), bytes: bytes.into() }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({}, {} bytes)", self.name, self.bytes.len())
    }
}

/// The keys that may sign a suite.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Where they are.
    pub rings: Vec<Keyring>,
    /// If there are any, only keys with these fingerprints, in capitals; with a `!` at the end exactly that key and
    /// none of its subkeys.
    pub fingerprints: Vec<String>,
}
