//! Keys, signatures and whole archives for tests, made in code. Everything is deterministic: Ed25519 needs no chance.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use pgp::composed::{SignedKeyDetails, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::ed25519::{Mode, SecretKey as Ed25519};
use pgp::crypto::eddsa_legacy::SecretKey as Legacy;
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{
    KeyFlags, PacketTrait, PubKeyInner, PublicKey, PublicSubkey, SecretKey, SecretSubkey, Signature, SignatureConfig,
    SignatureType, Subpacket, SubpacketData, UserId,
};
use pgp::ser::Serialize;
use pgp::types::{
    Duration, KeyDetails, KeyVersion, PacketHeaderVersion, Password, PlainSecretParams, PublicParams, SecretParams,
    SignedUser, SigningKey, Tag, Timestamp,
};
use url::Url;

use super::keyring::{Keyring, Keys};
use super::sources::{Source, Sources};
use crate::net::testing::{Act, Seen, Server};
use crate::oci::Digest;

/// The moment at which tests happen, in seconds: 15 January 2027.
pub(crate) const NOW: i64 = 1_800_000_000;
/// A day in seconds.
pub(crate) const DAY: i64 = 24 * 60 * 60;

fn stamp(seconds: i64) -> Timestamp {
    Timestamp::from_secs(u32::try_from(seconds).unwrap())
}

fn inner(seed: u8, born: i64) -> (PubKeyInner, SecretParams) {
    // The older of the two framings: gpgv of today knows no other.
    let secret = Ed25519::try_from_bytes([seed; 32], Mode::EdDSALegacy).unwrap();
    let public = PublicParams::EdDSALegacy((&secret).into());
    let inner = PubKeyInner::new(KeyVersion::V4, PublicKeyAlgorithm::EdDSALegacy, stamp(born), None, public).unwrap();
    (inner, SecretParams::Plain(PlainSecretParams::EdDSALegacy(Legacy::Ed25519(secret))))
}

fn primary(seed: u8, born: i64) -> SecretKey {
    let (inner, secret) = inner(seed, born);
    SecretKey::new(PublicKey::from_inner(inner).unwrap(), secret).unwrap()
}

fn subkey(seed: u8, born: i64) -> SecretSubkey {
    let (inner, secret) = inner(seed, born);
    SecretSubkey::new(PublicSubkey::from_inner(inner).unwrap(), secret).unwrap()
}

/// What a signature says of itself.
fn config(kind: SignatureType, issuer: &impl KeyDetails, made: i64, more: Vec<SubpacketData>) -> SignatureConfig {
    let mut config = SignatureConfig::v4(kind, issuer.algorithm(), HashAlgorithm::Sha512);
    let own =
        [SubpacketData::SignatureCreationTime(stamp(made)), SubpacketData::IssuerFingerprint(issuer.fingerprint())];
    config.hashed_subpackets = own.into_iter().chain(more).map(|data| Subpacket::regular(data).unwrap()).collect();
    config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(issuer.legacy_key_id())).unwrap()];
    config
}

fn may(sign: bool) -> SubpacketData {
    let mut flags = KeyFlags::default();
    flags.set_certify(true);
    flags.set_sign(sign);
    SubpacketData::KeyFlags(flags)
}

/// A key and how its certificate looks; the defaults are those of a good one.
#[derive(Clone)]
pub(crate) struct Key {
    pub seed: u8,
    pub born: i64,
    /// When the primary key expires, in seconds after it was made.
    pub lasts: Option<u32>,
    pub may_sign: bool,
    pub revoked: bool,
    /// Whether its user was revoked, and with it the only self-signature.
    pub user_revoked: bool,
    /// Signs with a subkey instead.
    pub subkey: Option<Subkey>,
}

/// How a subkey is bound.
#[derive(Clone)]
pub(crate) struct Subkey {
    pub seed: u8,
    pub lasts: Option<u32>,
    pub may_sign: bool,
    pub revoked: bool,
    /// Whether it has signed the bond itself.
    pub back: bool,
    /// Whether the bond is by the primary key of the certificate.
    pub own: bool,
}

impl Subkey {
    pub(crate) fn good() -> Subkey {
        Subkey { seed: 77, lasts: None, may_sign: true, revoked: false, back: true, own: true }
    }
}

impl Key {
    /// A good key; another seed is another key.
    pub(crate) fn new(seed: u8) -> Key {
        let born = NOW - 1000 * DAY;
        Key { seed, born, lasts: None, may_sign: true, revoked: false, user_revoked: false, subkey: None }
    }

    fn secret(&self) -> SecretKey {
        primary(self.seed, self.born)
    }

    pub(crate) fn fingerprint(&self) -> String {
        match &self.subkey {
            Some(sub) => format!("{:X}", subkey(sub.seed, self.born).fingerprint()),
            None => self.primary_fingerprint(),
        }
    }

    pub(crate) fn primary_fingerprint(&self) -> String {
        format!("{:X}", self.secret().fingerprint())
    }

    pub(crate) fn certificate(&self) -> SignedPublicKey {
        let (secret, nobody) = (self.secret(), Password::empty());
        let public = secret.public_key().clone();
        let user = UserId::from_str(PacketHeaderVersion::New, "Archive <archive@a.example>").unwrap();
        let lasts = self.lasts.map(|lasts| SubpacketData::KeyExpirationTime(Duration::from_secs(lasts)));
        let said = lasts.into_iter().chain([may(self.may_sign)]).collect();
        let mut own = vec![
            config(SignatureType::CertPositive, &secret, self.born, said)
                .sign_certification(&secret, &public, &nobody, Tag::UserId, &user)
                .unwrap(),
        ];
        if self.user_revoked {
            let gone = config(SignatureType::CertRevocation, &secret, self.born, Vec::new());
            own.push(gone.sign_certification(&secret, &public, &nobody, Tag::UserId, &user).unwrap());
        }
        let revocation = self.revoked.then(|| {
            config(SignatureType::KeyRevocation, &secret, NOW - DAY, Vec::new())
                .sign_key(&secret, &nobody, &public)
                .unwrap()
        });
        let details = SignedKeyDetails::new(
            revocation.into_iter().collect(),
            Vec::new(),
            vec![SignedUser::new(user, own)],
            Vec::new(),
        );
        let subkeys = self.subkey.iter().map(|sub| self.bound(sub)).collect();
        SignedPublicKey { primary_key: public, details, public_subkeys: subkeys }
    }

    fn bound(&self, sub: &Subkey) -> SignedPublicSubKey {
        let (owner, nobody) = (self.secret(), Password::empty());
        let binder = if sub.own { owner.clone() } else { primary(self.seed.wrapping_add(1), self.born) };
        let key = subkey(sub.seed, self.born);
        let mut said = vec![may(sub.may_sign)];
        said.extend(sub.lasts.map(|lasts| SubpacketData::KeyExpirationTime(Duration::from_secs(lasts))));
        if sub.back {
            let back = config(SignatureType::KeyBinding, &key, self.born, Vec::new())
                .sign_primary_key_binding(&key, key.public_key(), &nobody, owner.public_key())
                .unwrap();
            said.push(SubpacketData::EmbeddedSignature(Box::new(back)));
        }
        let bind = |kind: SignatureType, made: i64, said: Vec<SubpacketData>| {
            config(kind, &binder, made, said)
                .sign_subkey_binding(&binder, binder.public_key(), &nobody, key.public_key())
                .unwrap()
        };
        let mut signatures = vec![bind(SignatureType::SubkeyBinding, self.born, said)];
        if sub.revoked {
            signatures.push(bind(SignatureType::SubkeyRevocation, NOW - DAY, Vec::new()));
        }
        SignedPublicSubKey { key: key.public_key().clone(), signatures }
    }

    /// A binary keyring with this key.
    pub(crate) fn ring(&self) -> Vec<u8> {
        self.certificate().to_bytes().unwrap()
    }

    pub(crate) fn keys(&self) -> Keys {
        Keys { rings: vec![Keyring::new("test.gpg", self.ring())], fingerprints: Vec::new() }
    }

    /// A signature of a text as it is hashed, with subpackets of its own.
    pub(crate) fn sign(&self, kind: SignatureType, data: &[u8], made: i64, more: Vec<SubpacketData>) -> Signature {
        match &self.subkey {
            Some(sub) => sign_with(&subkey(sub.seed, self.born), kind, data, made, more),
            None => sign_with(&self.secret(), kind, data, made, more),
        }
    }

    /// The packets of a good signature.
    pub(crate) fn packets(&self, data: &[u8]) -> Vec<u8> {
        packets(&[self.sign(SignatureType::Text, data, NOW - DAY, Vec::new())])
    }

    /// A clear-signed text.
    pub(crate) fn clearsign(&self, text: &str) -> String {
        let hashed = text.trim_end_matches('\n').replace('\n', "\r\n");
        clearsigned(text, &self.packets(hashed.as_bytes()))
    }
}

fn sign_with(
    key: &impl SigningKey,
    kind: SignatureType,
    data: &[u8],
    made: i64,
    more: Vec<SubpacketData>,
) -> Signature {
    config(kind, key, made, more).sign(key, &Password::empty(), data).unwrap()
}

/// Signatures as packets, one after the other.
pub(crate) fn packets(signatures: &[Signature]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for signature in signatures {
        signature.to_writer_with_header(&mut bytes).unwrap();
    }
    bytes
}

/// A frame around a text and its signatures.
pub(crate) fn clearsigned(text: &str, packets: &[u8]) -> String {
    let text = text.trim_end_matches('\n').replace("\n-", "\n- -");
    format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{text}\n{}", armoured("PGP SIGNATURE", packets))
}

pub(crate) fn armoured(kind: &str, packets: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(packets);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {kind}-----\n\n{}\n-----END {kind}-----\n", lines.join("\n"))
}

/// A date as Release files have it.
pub(crate) fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap().strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()
}

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    use std::io::Read;
    let mut packed = Vec::new();
    liblzma::read::XzEncoder::new(bytes, 1).read_to_end(&mut packed).unwrap();
    packed
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An archive with one suite, for one component and amd64; its files by path, ready to be served.
#[derive(Clone)]
pub(crate) struct Repository {
    pub suite: String,
    pub key: Key,
    /// The fields of Release but for the table of files.
    pub fields: Vec<(String, String)>,
    /// The files below `dists/SUITE/` that Release lists.
    pub listed: BTreeMap<String, Vec<u8>>,
    /// All files that are served, by their path.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Repository {
    /// Of a stable suite, with these paragraphs as its packages.
    pub(crate) fn new(suite: &str, packages: &str) -> Repository {
        let fields = [
            ("Origin", "Test".to_string()),
            ("Label", "Test".to_string()),
            ("Suite", "stable".to_string()),
            ("Codename", suite.to_string()),
            ("Date", date(NOW - DAY)),
            ("Valid-Until", date(NOW + 7 * DAY)),
            ("Acquire-By-Hash", "yes".to_string()),
            ("Architectures", "amd64".to_string()),
            ("Components", "main".to_string()),
        ];
        let mut repository = Repository {
            suite: suite.to_string(),
            key: Key::new(1),
            fields: fields.map(|(name, value)| (name.to_string(), value)).to_vec(),
            listed: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        repository.list("main/binary-amd64/Packages", packages.as_bytes());
        repository.list("main/binary-amd64/Packages.xz", &xz(packages.as_bytes()));
        // The plain file is listed, but as in real archives not there.
        repository.files.remove(&format!("dists/{suite}/main/binary-amd64/Packages"));
        repository
    }

    /// Sets a field of Release; an empty one is left out.
    pub(crate) fn field(&mut self, name: &str, value: &str) {
        self.fields.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.fields.push((name.to_string(), value.to_string()));
        }
    }

    /// Adds a file that Release lists, at its path and by its hash.
    pub(crate) fn list(&mut self, path: &str, bytes: &[u8]) {
        let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        self.listed.insert(path.to_string(), bytes.to_vec());
        self.files.insert(format!("dists/{}/{path}", self.suite), bytes.to_vec());
        let name = format!("dists/{}/{folder}by-hash/SHA256/{}", self.suite, Digest::of(bytes).hex());
        self.files.insert(name, bytes.to_vec());
    }

    /// The text of Release.
    pub(crate) fn release(&self) -> String {
        let mut text: String = self.fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        text.push_str("SHA256:\n");
        for (path, bytes) in &self.listed {
            text.push_str(&format!(" {} {:>8} {path}\n", Digest::of(bytes).hex(), bytes.len()));
        }
        text
    }

    /// Signs, and makes all files.
    pub(crate) fn sign(mut self) -> Repository {
        let signed = self.key.clearsign(&self.release());
        self.files.insert(format!("dists/{}/InRelease", self.suite), signed.into_bytes());
        self
    }

    /// Serves its files.
    pub(crate) fn serve(self) -> Server {
        self.serve_with(|_| None)
    }

    /// Serves its files, but what `act` decides.
    pub(crate) fn serve_with(self, act: impl Fn(&Seen) -> Option<Act> + Send + Sync + 'static) -> Server {
        let files = Arc::new(self.files);
        Server::start(move |seen| {
            act(seen).unwrap_or_else(|| match files.get(seen.path().trim_start_matches('/')) {
                Some(bytes) => Act::body(200, bytes),
                None => Act::status(404),
            })
        })
    }
}

/// A source of a served repository.
pub(crate) fn source(server: &Server, suite: &str, keys: Keys) -> Source {
    Source {
        archive: Url::parse(server.url("/").as_str()).unwrap(),
        suite: suite.to_string(),
        components: vec!["main".to_string()],
        architectures: None,
        keys,
        check_valid_until: true,
        trusted: false,
        credentials: None,
        origin: "test.sources:1".to_string(),
    }
}

/// All of these sources, without preferences.
pub(crate) fn sources(sources: Vec<Source>) -> Sources {
    Sources { sources, ..Sources::default() }
}
