//! Keyrings: the OpenPGP keys that may sign a suite.

use std::fmt;
use std::sync::Arc;

use pgp::packet::{Packet, PacketParser, PublicKey, PublicSubkey, Signature, SignatureType, UserId};

use super::armor;

/// The most packets of a keyring that are looked at.
const PACKET_LIMIT: usize = 1 << 16;

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

/// A primary key with all that its keyring says of it. Nothing of it is verified.
pub(super) struct Certificate {
    pub primary: PublicKey,
    /// Over the primary key itself, and its revocations wherever they stand.
    pub signatures: Vec<Signature>,
    pub users: Vec<(UserId, Vec<Signature>)>,
    pub subkeys: Vec<(PublicSubkey, Vec<Signature>)>,
}

impl Keyring {
    /// The keys of the file; what cannot be read is none.
    ///
    /// Packets are put together here and not by rPGP: that stops at the trust packets of old GnuPG keyrings, and then
    /// loses signatures, among them revocations. A signature that gets to the wrong place does not verify there.
    pub(super) fn certificates(&self) -> Vec<Certificate> {
        let files = match armor::is_binary(&self.bytes) {
            true => vec![self.bytes.to_vec()],
            false => armor::blocks(&self.bytes, armor::KEYS).unwrap_or_default(),
        };
        let mut found = Vec::new();
        for bytes in &files {
            // Whom the next signature is about.
            let mut about = About::Primary;
            for packet in PacketParser::new(bytes.as_slice()).take(PACKET_LIMIT).flatten() {
                add(packet, &mut about, &mut found);
            }
        }
        found
    }
}

enum About {
    Primary,
    User,
    Subkey,
    Nothing,
}

fn add(packet: Packet, about: &mut About, found: &mut Vec<Certificate>) {
    if let Packet::PublicKey(primary) = packet {
        *about = About::Primary;
        found.push(Certificate { primary, signatures: Vec::new(), users: Vec::new(), subkeys: Vec::new() });
        return;
    }
    let Some(certificate) = found.last_mut() else { return };
    match packet {
        Packet::UserId(user) => {
            *about = About::User;
            certificate.users.push((user, Vec::new()));
        }
        Packet::UserAttribute(_) => *about = About::Nothing,
        Packet::PublicSubkey(subkey) => {
            *about = About::Subkey;
            certificate.subkeys.push((subkey, Vec::new()));
        }
        Packet::Signature(signature) => {
            let place = match about {
                _ if signature.typ() == Some(SignatureType::KeyRevocation) => Some(&mut certificate.signatures),
                About::Primary => Some(&mut certificate.signatures),
                About::User => certificate.users.last_mut().map(|(_, signatures)| signatures),
                About::Subkey => certificate.subkeys.last_mut().map(|(_, signatures)| signatures),
                About::Nothing => None,
            };
            place.into_iter().for_each(|place| place.push(signature.clone()));
        }
        _ => {}
    }
}
