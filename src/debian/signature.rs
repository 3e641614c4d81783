//! OpenPGP signatures of indexes, checked as apt has gpgv check them: at least one good signature by an allowed key.
//!
//! rPGP does the arithmetic; what makes a signature good is decided here: the issuer is a key of the keyring or a
//! subkey that its primary key has bound and that has signed the bond itself, it may sign, it was neither revoked nor
//! expired, and the hash and the key are strong enough. Signatures by other keys say nothing and do no harm.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Packet, PacketParser, PublicSubkey, Signature, SignatureType, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, KeyVersion, PublicParams, Tag};

use super::keyring::{Certificate, Keyring, Keys};

/// The most signatures of one text that are looked at.
const SIGNATURE_LIMIT: usize = 64;
/// The shortest RSA key, in bits.
const RSA_BITS: u16 = 2048;
/// How far in the future something may have been made, in seconds: clocks differ.
pub(super) const SKEW: i64 = 24 * 60 * 60;

/// For which time keys and signatures must hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    /// Now, in seconds since 1970.
    pub now: i64,
    /// Whether a key that has expired since it signed still counts: for old snapshots, whose `Valid-Until` does not
    /// count either.
    pub then: bool,
}

/// Verifies `data` against signature packets; returns the fingerprint of the key that made the first good one, or why
/// there is none.
pub(super) fn verify(signatures: &[u8], data: &[u8], keys: &Keys, when: When) -> Result<String, Vec<String>> {
    let checked = guarded(|| {
        let signatures = packets(signatures)?;
        check_all(&signatures, data, keys, when)
    });
    checked.unwrap_or_else(|| Err(vec!["the OpenPGP library could not read it".into()]))
}

/// Foreign packets must not stop the program, whatever the library makes of them: all builds unwind, so that a panic
/// is caught here.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn packets(bytes: &[u8]) -> Result<Vec<Signature>, Vec<String>> {
    let mut found = Vec::new();
    for packet in PacketParser::new(bytes).take(SIGNATURE_LIMIT) {
        match packet {
            Ok(Packet::Signature(signature)) => found.push(signature),
            Ok(_) => return Err(vec!["there is something else beside signatures".into()]),
            Err(_) => return Err(vec!["the signature is malformed".into()]),
        }
    }
    Ok(found)
}

fn check_all(signatures: &[Signature], data: &[u8], keys: &Keys, when: When) -> Result<String, Vec<String>> {
    let mut reasons = Vec::new();
    let rings: Vec<(&Keyring, Vec<Certificate>)> = keys.rings.iter().map(|ring| (ring, ring.certificates())).collect();
    for signature in signatures {
        let mut known = false;
        for certificate in rings.iter().flat_map(|(_, certificates)| certificates) {
            let Some(signer) = Signer::find(certificate, signature) else { continue };
            known = true;
            match signer.check(signature, data, keys, when) {
                Ok(()) => return Ok(signer.fingerprint()),
                Err(reason) => reasons.push(format!("key {}: {reason}", signer.fingerprint())),
            }
        }
        if !known {
            reasons.push(format!("key {}: it is not in the keyring", issuer(signature)));
        }
    }
    if signatures.is_empty() {
        reasons.push("there is no signature".into());
    }
    let empty = rings.iter().filter(|(_, certificates)| certificates.is_empty());
    reasons.extend(empty.map(|(ring, _)| format!("the keyring `{}` has no key that can be read", ring.name)));
    if rings.is_empty() {
        reasons.push("there is no keyring".into());
    }
    reasons.dedup();
    Err(reasons)
}

/// Who a signature says it is by.
fn issuer(signature: &Signature) -> String {
    let prints = signature.issuer_fingerprint().into_iter().map(|print| format!("{print:X}"));
    let ids = signature.issuer_key_id().into_iter().map(|id| format!("{id}").to_ascii_uppercase());
    prints.chain(ids).next().unwrap_or_else(|| "without a name".into())
}

/// The key of a keyring that a signature says it is by.
struct Signer<'a> {
    certificate: &'a Certificate,
    /// Not the primary key, but this one, with what is said of it.
    subkey: Option<&'a (PublicSubkey, Vec<Signature>)>,
}

impl<'a> Signer<'a> {
    fn find(certificate: &'a Certificate, signature: &Signature) -> Option<Signer<'a>> {
        let (prints, ids) = (signature.issuer_fingerprint(), signature.issuer_key_id());
        let is = |key: &dyn KeyDetails| match prints.is_empty() {
            false => prints.contains(&&key.fingerprint()),
            true => ids.contains(&&key.legacy_key_id()),
        };
        if is(&certificate.primary) {
            return Some(Signer { certificate, subkey: None });
        }
        let subkey = certificate.subkeys.iter().find(|(subkey, _)| is(subkey))?;
        Some(Signer { certificate, subkey: Some(subkey) })
    }

    fn fingerprint(&self) -> String {
        match self.subkey {
            Some((subkey, _)) => format!("{:X}", subkey.fingerprint()),
            None => format!("{:X}", self.certificate.primary.fingerprint()),
        }
    }

    fn check(&self, signature: &Signature, data: &[u8], keys: &Keys, when: When) -> Result<(), String> {
        self.check_allowed(keys)?;
        let made = check_form(signature, when)?;
        let primary = &self.certificate.primary;
        check_strength(primary)?;
        match self.subkey {
            Some((subkey, _)) => {
                check_strength(subkey)?;
                holds(signature.verify(subkey, data))?;
            }
            None => holds(signature.verify(primary, data))?,
        }
        // A key that signed before it expired has still expired.
        let at = if when.then { made } else { when.now.max(made) };
        let lived = Lived { made, at };
        check_primary(self.certificate, self.subkey.is_none(), lived, when)?;
        self.subkey.map_or(Ok(()), |(key, said)| check_subkey(self.certificate, key, said, lived, when))
    }

    /// Whether the fingerprints that are allowed, if any are named, have this key or its primary key.
    fn check_allowed(&self, keys: &Keys) -> Result<(), String> {
        let own = self.fingerprint();
        let primary = format!("{:X}", self.certificate.primary.fingerprint());
        let fits = |allowed: &String| match allowed.strip_suffix('!') {
            Some(exact) => *exact == own,
            None => *allowed == own || *allowed == primary,
        };
        match keys.fingerprints.is_empty() || keys.fingerprints.iter().any(fits) {
            true => Ok(()),
            false => Err("the source allows other keys only".into()),
        }
    }
}

fn holds(result: pgp::errors::Result<()>) -> Result<(), String> {
    result.map_err(|_| "the signature does not belong to this text".into())
}

/// What the signature says of itself; returns when it was made.
fn check_form(signature: &Signature, when: When) -> Result<i64, String> {
    if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
        return Err("the signature is not one of a text".into());
    }
    match signature.hash_alg() {
        Some(HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512) => {}
        Some(weak) => return Err(format!("the signature uses {weak}")),
        None => return Err("the signature is of a version that is not known".into()),
    }
    let hashed = signature.config().is_some_and(|config| {
        config.hashed_subpackets().any(|subpacket| matches!(subpacket.data, SubpacketData::SignatureCreationTime(_)))
    });
    let made = signature.created().filter(|_| hashed).ok_or("the signature does not say when it was made")?;
    let made = i64::from(made.as_secs());
    if made > when.now.saturating_add(SKEW) {
        return Err("the signature was made in the future".into());
    }
    match ends(made, signature.signature_expiration_time()) {
        Some(end) if end <= when.now => Err(format!("the signature expired on {}", day(end))),
        _ => Ok(made),
    }
}

/// When something ends that was made at a time and lasts so long; 0 is for ever.
fn ends(made: i64, lasts: Option<pgp::types::Duration>) -> Option<i64> {
    lasts.map(|lasts| i64::from(lasts.as_secs())).filter(|seconds| *seconds > 0).map(|seconds| made + seconds)
}

fn day(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|time| time.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
}

fn check_strength(key: &impl KeyDetails) -> Result<(), String> {
    if !matches!(key.version(), KeyVersion::V4 | KeyVersion::V6) {
        return Err("the key is of a version that is no longer safe".into());
    }
    match key.public_params() {
        PublicParams::RSA(params) => {
            // As it is written: a number begins with its length in bits.
            let bytes = params.to_bytes().unwrap_or_default();
            let bits = bytes.first_chunk().map_or(0, |length| u16::from_be_bytes(*length));
            match bits < RSA_BITS {
                true => Err(format!("the key has {bits} bits, and RSA needs {RSA_BITS}")),
                false => Ok(()),
            }
        }
        PublicParams::ECDSA(_) | PublicParams::EdDSALegacy(_) | PublicParams::Ed25519(_) | PublicParams::Ed448(_) => {
            Ok(())
        }
        _ => Err(format!("the key is of a kind ({:?}) that is not used here", key.algorithm())),
    }
}

/// Signatures over keys are made once and live in keyrings that somebody chose: SHA-1 still counts there, as it does
/// for gpgv (Ubuntu's keys of 2012 have no others).
fn is_sound(signature: &Signature, when: When) -> bool {
    let strong = !matches!(
        signature.hash_alg(),
        None | Some(HashAlgorithm::None | HashAlgorithm::Md5 | HashAlgorithm::Ripemd160 | HashAlgorithm::Private10)
    );
    let made = signature.created().map(|made| i64::from(made.as_secs()));
    let end = made.and_then(|made| ends(made, signature.signature_expiration_time()));
    strong && made.is_some_and(|made| made <= when.now.saturating_add(SKEW)) && end.is_none_or(|end| end > when.now)
}

/// The newest of some signatures.
fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    signatures.max_by_key(|signature| signature.created().map(|made| made.as_secs()))
}

/// When a key must have lived.
#[derive(Clone, Copy)]
struct Lived {
    /// Born before this.
    made: i64,
    /// Not expired at this.
    at: i64,
}

fn check_primary(certificate: &Certificate, signs: bool, lived: Lived, when: When) -> Result<(), String> {
    let key = &certificate.primary;
    let revoked = |signature: &Signature| {
        signature.typ() == Some(SignatureType::KeyRevocation) && signature.verify_key(key).is_ok()
    };
    if certificate.signatures.iter().any(revoked) {
        return Err("the key was revoked".into());
    }
    let direct = certificate.signatures.iter().filter(|signature| {
        signature.typ() == Some(SignatureType::Key) && is_sound(signature, when) && signature.verify_key(key).is_ok()
    });
    let of_users = certificate.users.iter().flat_map(|(user, signatures)| {
        let own = move |signature: &&Signature| {
            signature.is_certification() && signature.verify_certification(key, Tag::UserId, user).is_ok()
        };
        let is_revocation = |signature: &&Signature| signature.typ() == Some(SignatureType::CertRevocation);
        let gone = signatures.iter().filter(is_revocation).any(|signature| own(&signature));
        let certifications = signatures.iter().filter(move |signature| !gone && !is_revocation(signature));
        certifications.filter(move |signature| is_sound(signature, when)).filter(own)
    });
    let newest = newest(direct.chain(of_users)).ok_or("the key has not signed itself")?;
    check_lifetime(key, newest, lived)?;
    match flags(newest) {
        Some(may_sign) if signs && !may_sign => Err("the key may not sign".into()),
        _ => Ok(()),
    }
}

fn check_subkey(
    certificate: &Certificate,
    subkey: &PublicSubkey,
    signatures: &[Signature],
    lived: Lived,
    when: When,
) -> Result<(), String> {
    let primary = &certificate.primary;
    let bound = |signature: &&Signature| signature.verify_subkey_binding(primary, subkey).is_ok();
    let of = |kind: SignatureType| signatures.iter().filter(move |signature| signature.typ() == Some(kind));
    if of(SignatureType::SubkeyRevocation).any(|signature| bound(&signature)) {
        return Err("the key was revoked".into());
    }
    let bonds = of(SignatureType::SubkeyBinding).filter(|signature| is_sound(signature, when)).filter(bound);
    let bond = newest(bonds).ok_or("the key is not bound to a primary key")?;
    check_lifetime(subkey, bond, lived)?;
    if flags(bond) != Some(true) {
        return Err("the key may not sign".into());
    }
    // Else whoever adds somebody's key to his own could claim that key's signatures.
    let back = |back: &Signature| is_sound(back, when) && back.verify_primary_key_binding(subkey, primary).is_ok();
    match bond.embedded_signature().is_some_and(back) {
        true => Ok(()),
        false => Err("the key has not signed its bond to the primary key".into()),
    }
}

/// Whether the key was there when it signed, and has not expired.
fn check_lifetime(key: &impl KeyDetails, bond: &Signature, lived: Lived) -> Result<(), String> {
    let born = i64::from(key.created_at().as_secs());
    if born > lived.made {
        return Err("the key is younger than the signature".into());
    }
    match ends(born, bond.key_expiration_time()) {
        Some(end) if end <= lived.at => Err(format!("the key expired on {}", day(end))),
        _ => Ok(()),
    }
}

/// Whether the key may sign, if that is said.
fn flags(bond: &Signature) -> Option<bool> {
    let said = bond.config()?.hashed_subpackets().any(|packet| matches!(packet.data, SubpacketData::KeyFlags(_)));
    said.then(|| bond.key_flags().sign())
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
