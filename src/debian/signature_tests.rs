//! Signatures: good ones, and every kind of bad one.

#[path = "signature_samples.rs"]
mod samples;

use std::process::Command;

use base64::Engine as _;
use pgp::packet::SubpacketData;
use pgp::types::Duration;

use super::*;
use crate::debian::trust_testing::{DAY, Key, NOW, Subkey, armoured, clearsigned, packets as bytes_of};
use crate::process;

const DATA: &[u8] = b"a: 1\r\nb: 2";
const WHEN: When = When { now: NOW, then: false };

fn verdict(key: &Key) -> Result<String, String> {
    verify(&key.packets(DATA), DATA, &key.keys(), WHEN).map_err(|reasons| reasons.join("; "))
}

/// The reason, without the key's name.
fn reason(key: &Key) -> String {
    let told = verdict(key).unwrap_err();
    told.strip_prefix(&format!("key {}: ", key.fingerprint())).unwrap_or(&told).to_string()
}

#[test]
fn a_good_signature_by_a_key_or_its_subkey() {
    for subkey in [None, Some(Subkey::good())] {
        let key = Key { subkey, ..Key::new(1) };
        assert_eq!(verdict(&key), Ok(key.fingerprint()));
        let text = armoured("PGP PUBLIC KEY BLOCK", &key.ring());
        let rings = vec![Keyring::new("x.asc", format!("{text}\n# more\n{text}").into_bytes())];
        let keys = Keys { rings, fingerprints: Vec::new() };
        assert!(verify(&key.packets(DATA), DATA, &keys, WHEN).is_ok());
        let binary = bytes_of(&[key.sign(SignatureType::Binary, DATA, NOW, Vec::new())]);
        assert!(verify(&binary, DATA, &key.keys(), WHEN).is_ok());
    }
}

#[test]
fn keys_that_do_not_hold() {
    let year = 365 * DAY as u32;
    let good = || Key::new(1);
    for (key, expected) in [
        (Key { lasts: Some(year), ..good() }, "the key expired on 2025-04-20"),
        (Key { revoked: true, ..good() }, "the key was revoked"),
        (Key { user_revoked: true, ..good() }, "the key has not signed itself"),
        (Key { may_sign: false, ..good() }, "the key may not sign"),
        (Key { born: NOW - DAY / 2, ..good() }, "the key is younger than the signature"),
    ] {
        assert_eq!(reason(&key), expected);
    }
    for (subkey, expected) in [
        (Subkey { lasts: Some(year), ..Subkey::good() }, "the key expired on 2025-04-20"),
        (Subkey { revoked: true, ..Subkey::good() }, "the key was revoked"),
        (Subkey { may_sign: false, ..Subkey::good() }, "the key may not sign"),
        (Subkey { back: false, ..Subkey::good() }, "the key has not signed its bond to the primary key"),
        (Subkey { own: false, ..Subkey::good() }, "the key is not bound to a primary key"),
    ] {
        assert_eq!(reason(&Key { subkey: Some(subkey), ..good() }), expected);
    }
    // A subkey is no better than its primary key; a primary key that may not sign may have one that may.
    let subkey = Some(Subkey::good());
    assert_eq!(reason(&Key { revoked: true, subkey: subkey.clone(), ..good() }), "the key was revoked");
    assert!(reason(&Key { lasts: Some(year), subkey: subkey.clone(), ..good() }).contains("expired"));
    assert!(verdict(&Key { may_sign: false, subkey, ..good() }).is_ok());
}

#[test]
fn an_expired_key_counts_for_old_snapshots_only() {
    let key = Key { lasts: Some(1000 * DAY as u32 - 3600), ..Key::new(1) };
    let packets = key.packets(DATA);
    assert!(verify(&packets, DATA, &key.keys(), WHEN).is_err());
    assert!(verify(&packets, DATA, &key.keys(), When { then: true, ..WHEN }).is_ok());
}

#[test]
fn signatures_that_do_not_hold() {
    let key = Key::new(1);
    let of = |kind, made, more: Vec<SubpacketData>| bytes_of(&[key.sign(kind, DATA, made, more)]);
    let lasts = |seconds| vec![SubpacketData::SignatureExpirationTime(Duration::from_secs(seconds))];
    let text = SignatureType::Text;
    for (packets, expected) in [
        (of(text, NOW - DAY, lasts(3600)), "the signature expired on 2027-01-14"),
        (of(text, NOW + 2 * DAY, Vec::new()), "the signature was made in the future"),
        (bytes_of(&key.certificate().details.users[0].signatures), "the signature is not one of a text"),
    ] {
        let reasons = verify(&packets, DATA, &key.keys(), WHEN).unwrap_err();
        assert_eq!(reasons, [format!("key {}: {expected}", key.fingerprint())]);
    }
    assert!(verify(&of(text, NOW - DAY, lasts(2 * DAY as u32)), DATA, &key.keys(), WHEN).is_ok());
    let reasons = verify(&key.packets(DATA), b"a: 1\r\nb: 3", &key.keys(), WHEN).unwrap_err();
    assert_eq!(reasons, [format!("key {}: the signature does not belong to this text", key.fingerprint())]);
    assert_eq!(verify(b"", DATA, &key.keys(), WHEN).unwrap_err(), ["there is no signature"]);
    assert_eq!(
        verify(&key.ring(), DATA, &key.keys(), WHEN).unwrap_err(),
        ["there is something else beside signatures"]
    );
}

#[test]
fn only_keys_of_the_keyring_count_and_others_do_no_harm() {
    let (key, other) = (Key::new(1), Key::new(9));
    let reasons = verify(&key.packets(DATA), DATA, &other.keys(), WHEN).unwrap_err();
    assert_eq!(reasons, [format!("key {}: it is not in the keyring", key.fingerprint())]);
    let both = [other.packets(DATA), key.packets(DATA)].concat();
    assert_eq!(verify(&both, DATA, &key.keys(), WHEN).unwrap(), key.fingerprint());
    // A bad signature beside a good one does no harm either: whoever adds it cannot take the good one away.
    let bad = [key.packets(b"other"), key.packets(DATA)].concat();
    assert!(verify(&bad, DATA, &key.keys(), WHEN).is_ok());
    let reasons = verify(&key.packets(DATA), DATA, &Keys::default(), WHEN).unwrap_err();
    assert_eq!(reasons[1], "there is no keyring");
    let broken = Keys { rings: vec![Keyring::new("x.gpg", b"\x99nonsense".to_vec())], fingerprints: Vec::new() };
    let reasons = verify(&key.packets(DATA), DATA, &broken, WHEN).unwrap_err();
    assert_eq!(reasons[1], "the keyring `x.gpg` has no key that can be read");
}

#[test]
fn fingerprints_restrict_the_keyring() {
    let key = Key { subkey: Some(Subkey::good()), ..Key::new(1) };
    let with = |print: String| {
        let keys = Keys { fingerprints: vec![print], ..key.keys() };
        verify(&key.packets(DATA), DATA, &keys, WHEN)
    };
    assert!(with(key.fingerprint()).is_ok() && with(key.primary_fingerprint()).is_ok());
    assert!(with(format!("{}!", key.fingerprint())).is_ok());
    for other in [format!("{}!", key.primary_fingerprint()), Key::new(9).fingerprint()] {
        let reasons = with(other).unwrap_err();
        assert_eq!(reasons, [format!("key {}: the source allows other keys only", key.fingerprint())]);
    }
}

#[test]
fn somebody_elses_subkey_cannot_be_claimed() {
    // The attacker's certificate has the victim's signing key as a subkey: bound by the attacker, not by the victim.
    let victim = Key::new(77);
    let claim = Key { subkey: Some(Subkey { back: false, ..Subkey::good() }), ..Key::new(2) };
    assert_eq!(victim.fingerprint(), claim.fingerprint());
    assert!(verify(&victim.packets(DATA), DATA, &claim.keys(), WHEN).is_err());
}

#[test]
fn damaged_packets_are_refused_at_every_byte() {
    let key = Key { subkey: Some(Subkey::good()), ..Key::new(1) };
    let good = key.packets(DATA);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        // What is not covered by the signature may change without harm: the hint who made it, and framing.
        if verify(&bad, DATA, &key.keys(), WHEN).is_ok() {
            assert!(at > 30 && at < good.len() - 66, "{at} of {}", good.len());
        }
        let _ = verify(&good[..at], DATA, &key.keys(), WHEN).unwrap_err();
    }
    let ring = key.ring();
    for at in (0..ring.len()).step_by(7) {
        let mut bad = ring.clone();
        bad[at] ^= 0x55;
        let keys = |ring: &[u8]| Keys { rings: vec![Keyring::new("x", ring.to_vec())], fingerprints: Vec::new() };
        let _ = verify(&good, DATA, &keys(&bad), WHEN);
        let _ = verify(&good, DATA, &keys(&ring[..at]), WHEN).unwrap_err();
    }
}

fn sample(text: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(text.replace('\n', "")).unwrap()
}

fn sampled(ring: &str) -> Keys {
    Keys { rings: vec![Keyring::new("sample.gpg", sample(ring))], fingerprints: Vec::new() }
}

#[test]
fn weak_keys_and_weak_hashes_are_refused() {
    const TEXT: &[u8] = b"a: 1\nb: 2\n";
    let told = |signature: &str, ring: &str| verify(&sample(signature), TEXT, &sampled(ring), WHEN);
    assert!(told(samples::BY_2048, samples::RSA_2048).is_ok());
    let of = |reasons: Result<String, Vec<String>>| reasons.unwrap_err().concat();
    let short = of(told(samples::BY_1024, samples::RSA_1024));
    assert!(short.ends_with(": the key has 1024 bits, and RSA needs 2048"), "{short}");
    let sha1 = of(told(samples::BY_2048_SHA1, samples::RSA_2048));
    assert!(sha1.ends_with(": the signature uses SHA1"), "{sha1}");
}

#[test]
fn what_gpg_signs_is_read_as_gpg_means_it() {
    let message = crate::debian::armor::clearsigned(samples::CLEARSIGNED.as_bytes()).unwrap();
    assert_eq!(message.text, "a: 1\n- x\nb: 2\n\n");
    assert!(verify(&message.signatures, message.signed.as_bytes(), &sampled(samples::RSA_2048), WHEN).is_ok());
}

/// gpgv's word on the same keys and texts, as of now.
#[test]
fn gpgv_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let now = super::super::release::now().as_second();
    let when = When { now, then: false };
    let old = Key { born: now - 1000 * DAY, ..Key::new(1) };
    let sub = |subkey| Key { subkey: Some(subkey), ..old.clone() };
    let cases = [
        (old.clone(), true),
        (sub(Subkey::good()), true),
        (Key { lasts: Some(365 * DAY as u32), ..old.clone() }, false),
        (sub(Subkey { back: false, ..Subkey::good() }), false),
        (sub(Subkey { may_sign: false, ..Subkey::good() }), false),
        (sub(Subkey { own: false, ..Subkey::good() }), false),
        (sub(Subkey { lasts: Some(365 * DAY as u32), ..Subkey::good() }), false),
    ];
    for (number, (key, good)) in cases.into_iter().enumerate() {
        let packets = bytes_of(&[key.sign(SignatureType::Text, DATA, now - DAY, Vec::new())]);
        let (ring, message) = (folder.path().join("ring.gpg"), folder.path().join("message"));
        std::fs::write(&ring, key.ring()).unwrap();
        std::fs::write(&message, clearsigned("a: 1\nb: 2\n", &packets)).unwrap();
        let mut command = Command::new("gpgv");
        command.args(["--status-fd", "1", "--homedir"]).arg(folder.path()).arg("--keyring").arg(&ring).arg(&message);
        let output = process::run(command, b"", process::DEFAULT_TIMEOUT).expect("apt-get install gpgv");
        let (said, told) = (output.stdout_text(), output.stderr_text());
        assert_eq!(said.contains("GOODSIG"), good, "{number}: {said} {told}");
        assert_eq!(verify(&packets, DATA, &key.keys(), when).is_ok(), good, "{number}");
    }
}

/// Old keyrings of GnuPG, and Ubuntu's, have trust packets between all others.
#[test]
fn trust_packets_hide_nothing() {
    let spread = |ring: Vec<u8>| {
        let mut spread = Vec::new();
        for packet in PacketParser::new(ring.as_slice()) {
            pgp::ser::Serialize::to_writer(&packet.unwrap(), &mut spread).unwrap();
            spread.extend_from_slice(b"\xb0\x02\x00\x03");
        }
        assert!(spread.len() > ring.len());
        Keys { rings: vec![Keyring::new("x.gpg", spread)], fingerprints: Vec::new() }
    };
    for subkey in [None, Some(Subkey::good())] {
        let key = Key { subkey, ..Key::new(1) };
        assert_eq!(verify(&key.packets(DATA), DATA, &spread(key.ring()), WHEN), Ok(key.fingerprint()));
        let key = Key { revoked: true, ..key };
        let reasons = verify(&key.packets(DATA), DATA, &spread(key.ring()), WHEN).unwrap_err();
        assert!(reasons[0].ends_with("the key was revoked"), "{reasons:?}");
    }
    let key = Key { subkey: Some(Subkey { revoked: true, ..Subkey::good() }), ..Key::new(1) };
    assert!(verify(&key.packets(DATA), DATA, &spread(key.ring()), WHEN).is_err());
}

/// A revocation counts wherever it stands: here at the end, after the user and the subkey.
#[test]
fn late_revocations_count() {
    let key = Key { revoked: true, subkey: Some(Subkey::good()), ..Key::new(1) };
    let mut certificate = key.certificate();
    let revocation = bytes_of(&certificate.details.revocation_signatures);
    certificate.details.revocation_signatures.clear();
    let bytes = pgp::ser::Serialize::to_bytes(&certificate).unwrap();
    let with = |ring: Vec<u8>| {
        let keys = Keys { rings: vec![Keyring::new("x.gpg", ring)], fingerprints: Vec::new() };
        verify(&key.packets(DATA), DATA, &keys, WHEN)
    };
    assert!(with(bytes.clone()).is_ok());
    assert!(with([bytes, revocation].concat()).is_err());
}
