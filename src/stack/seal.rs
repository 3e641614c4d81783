//! Names for what must not be seen: a changed secret changes the name of its file, and nobody who reads the name learns
//! anything of the secret.

use std::fmt;
use std::io;

use crate::oci::Digest;

/// The block of SHA-256, in bytes.
const BLOCK: usize = 64;
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
        let hex = self.hmac(&[name.as_bytes(), &[0], value.as_bytes()].concat()).hex();
        hex.get(..LENGTH).unwrap_or(&hex).to_string()
    }

    /// HMAC-SHA-256 (RFC 2104).
    fn hmac(&self, message: &[u8]) -> Digest {
        let pad = |byte: u8| {
            let mut block = vec![byte; BLOCK];
            block.iter_mut().zip(self.0).for_each(|(pad, key)| *pad ^= key);
            block
        };
        let inner = Digest::of(&[&pad(0x36)[..], message].concat());
        Digest::of(&[&pad(0x5c)[..], inner.as_bytes()].concat())
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
    fn it_is_the_hmac_of_rfc_4231() {
        // Test case 2: a short key is one with zeros behind it.
        let mut key = [0u8; 32];
        key[..4].copy_from_slice(b"Jefe");
        let digest = Seal(key).hmac(b"what do ya want for nothing?");
        assert_eq!(digest.hex(), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
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
