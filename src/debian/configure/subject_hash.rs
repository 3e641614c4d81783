//! The numbers by which OpenSSL finds a certificate in a folder: SHA-1 over its subject in a canonical form.

use sha1::{Digest, Sha1};
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{Decode, Encode, Header, Length, Reader, SliceReader, Tag, Tagged};

/// Of a certificate: the hash of its subject, and the fingerprint of all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hashes {
    pub subject: u32,
    pub fingerprint: [u8; 20],
}

/// The hashes of the one certificate in a PEM file; `None` if there is none, or more than one.
pub(super) fn of_pem(text: &str) -> Option<Hashes> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let (label, after) = after.split_once("-----")?;
        let (body, after) = after.split_once(&format!("-----END {label}-----"))?;
        if matches!(label, "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE") {
            found.push(body);
        }
        rest = after;
    }
    let [body] = found.as_slice() else { return None };
    let plain: String = body.split_whitespace().collect();
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, plain).ok()?;
    of_der(&der)
}

fn of_der(certificate: &[u8]) -> Option<Hashes> {
    let mut outer = SliceReader::new(certificate).ok()?;
    let whole = AnyRef::decode(&mut outer).ok()?;
    let fields = children(children(whole)?.first()?.to_owned())?;
    // An explicit version stands before serial, algorithm, issuer, validity.
    let versioned = usize::from(fields.first()?.tag().is_context_specific());
    let canonical = canonical(*fields.get(versioned + 4)?)?;
    let hash: [u8; 20] = Sha1::digest(canonical).into();
    let [a, b, c, d, ..] = hash;
    // What stands after the certificate (OpenSSL's trust settings) is no part of it.
    let end = certificate.len().checked_sub(usize::try_from(outer.remaining_len()).ok()?)?;
    let fingerprint = Sha1::digest(certificate.get(..end)?).into();
    Some(Hashes { subject: u32::from_le_bytes([a, b, c, d]), fingerprint })
}

fn children(parent: AnyRef<'_>) -> Option<Vec<AnyRef<'_>>> {
    let mut reader = SliceReader::new(parent.value()).ok()?;
    let mut children = Vec::new();
    while !reader.is_finished() {
        children.push(AnyRef::decode(&mut reader).ok()?);
    }
    Some(children)
}

/// OpenSSL's `x509_name_canon`: the sets of a name, without the sequence around them.
fn canonical(name: AnyRef<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for set in children(name)? {
        let mut attributes = Vec::new();
        for attribute in children(set)? {
            let [kind, value] = children(attribute)?.try_into().ok()?;
            let value = match text(value) {
                Some(text) => encoded(Tag::Utf8String, fold(&text).as_bytes())?,
                None => value.to_der().ok()?,
            };
            attributes.push(encoded(Tag::Sequence, &[kind.to_der().ok()?, value].concat())?);
        }
        attributes.sort();
        out.extend(encoded(Tag::Set, &attributes.concat())?);
    }
    Some(out)
}

fn encoded(tag: Tag, content: &[u8]) -> Option<Vec<u8>> {
    let header = Header::new(tag, Length::try_from(content.len()).ok()?).ok()?;
    Some([header.to_der().ok()?.as_slice(), content].concat())
}

/// The text of a string of a kind that is compared without regard to case; `None` for another.
fn text(value: AnyRef<'_>) -> Option<String> {
    let bytes = value.value();
    let latin = || bytes.iter().map(|byte| char::from(*byte)).collect();
    match value.tag() {
        Tag::Utf8String => std::str::from_utf8(bytes).ok().map(str::to_string),
        Tag::PrintableString | Tag::TeletexString | Tag::Ia5String | Tag::VisibleString => Some(latin()),
        Tag::BmpString => {
            let units = bytes.chunks(2).map(|pair| pair.iter().fold(0u32, |unit, byte| unit << 8 | u32::from(*byte)));
            units.map(char::from_u32).collect()
        }
        _ => None,
    }
}

/// Without spaces at the ends, one between words, small ASCII letters.
fn fold(text: &str) -> String {
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r');
    let words: Vec<&str> = text.split(is_space).filter(|word| !word.is_empty()).collect();
    words.join(" ").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
    }

    fn certificate(subject: &[u8]) -> String {
        let empty = tlv(0x30, b"");
        let serial = tlv(2, &[1]);
        let version = tlv(0xa0, &tlv(2, &[2]));
        let body = tlv(0x30, &[&version, &serial, &empty, &empty, &empty, subject].concat::<u8>());
        let der = tlv(0x30, &[body, empty.clone(), tlv(3, &[0])].concat());
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
        format!("a comment\n-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }

    /// CN=value.
    fn name(tag: u8, value: &[u8]) -> Vec<u8> {
        let attribute = tlv(0x30, &[tlv(6, &[0x55, 4, 3]), tlv(tag, value)].concat());
        tlv(0x30, &tlv(0x31, &attribute))
    }

    #[test]
    fn case_spaces_and_kinds_of_strings_do_not_matter() {
        let subject = |tag, value: &[u8]| of_pem(&certificate(&name(tag, value))).unwrap().subject;
        let plain = subject(0x0c, "a root ä".as_bytes());
        assert_eq!(subject(0x0c, "  A \t Root ä ".as_bytes()), plain);
        assert_eq!(subject(0x14, b"A Root \xe4"), plain);
        let wide: Vec<u8> = "A Root ä".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(subject(0x1e, &wide), plain);
        assert_ne!(subject(0x0c, b"a root"), plain);
        // openssl x509 -noout -subject_hash of a certificate with the subject CN=a root ä.
        assert_eq!(format!("{:08x}", subject(0x13, b"A Root")), format!("{:08x}", subject(0x0c, b"a root")));
    }

    #[test]
    fn one_certificate_and_no_more() {
        let one = certificate(&name(0x0c, b"a"));
        assert!(of_pem(&one).is_some());
        assert_eq!(of_pem(&format!("{one}{one}")), None);
        for broken in
            ["", "-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"]
        {
            assert_eq!(of_pem(broken), None, "{broken}");
        }
        assert!((0..one.len() - 30).all(|length| one.get(..length).is_some_and(|cut| of_pem(cut).is_none())));
    }
}
