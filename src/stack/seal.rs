//! Names for what must not be seen: a changed secret changes the name of its file, and nobody who reads the name learns
//! anything of the secret.

use std::fmt;
use std::io;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How much of a digest a name has, in hexadecimal digits.
const LENGTH: usize = 16;

/// A random key: without it, a secret that could be guessed cannot be found by its name.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Seal(pub [u8; 32]);

impl Seal {
    /// A new one.
    pub fn random() -> io::Result<Seal> {
        let mut bytes = [0u8; 32];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
        }
        Ok(Seal(bytes))
    }

    /// What stands for this value of this name.
    pub fn name(&self, name: &str, value: &str) -> String {
        let mut code = self.code();
        for part in [name.as_bytes(), &[0], value.as_bytes()] {
            code.update(part);
        }
        code.finalize().into_bytes().iter().take(LENGTH / 2).map(|byte| format!("{byte:02x}")).collect()
    }

    fn code(&self) -> Hmac<Sha256> {
        // A key as long as SHA-256's block: zeros behind a shorter one are what RFC 2104 says.
        let mut key = [0u8; 64];
        key.iter_mut().zip(self.0).for_each(|(whole, byte)| *whole = byte);
        Hmac::new(&key.into())
    }
}

/// Nobody sees it.
impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_an_hmac_with_sha_256() {
        // By `hmac.new(bytes(32), b"secret-a\0x", "sha256")` of Python.
        assert_eq!(Seal([0; 32]).name("secret-a", "x"), "93ed923812c442fe");
    }

    #[test]
    fn a_name_tells_values_names_and_keys_apart() {
        let (one, other) = (Seal::random().unwrap(), Seal::random().unwrap());
        assert_eq!(one.name("secret-a", "x"), one.name("secret-a", "x"));
        assert_eq!(one.name("secret-a", "x").len(), LENGTH);
        for different in [one.name("secret-a", "y"), one.name("secret-b", "x"), other.name("secret-a", "x")] {
            assert_ne!(one.name("secret-a", "x"), different);
        }
        assert_eq!(format!("{one:?}"), "Seal");
    }
}
