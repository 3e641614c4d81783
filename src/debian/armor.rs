//! OpenPGP in text: armour, and the framing of clear-signed messages (RFC 9580, sections 6 and 7).
//!
//! Only what is exactly one clear-signed message is taken apart: no text before, between or after, no second message,
//! no line that is not escaped as it must be. What a reader sees is then what was signed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The longest line of a signed text, in bytes.
pub(super) const LINE_LIMIT: usize = 16 << 10;

const MESSAGE: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "PGP SIGNATURE";
/// The kind of armour that keyrings have.
pub(super) const KEYS: &str = "PGP PUBLIC KEY BLOCK";

/// A clear-signed message, not verified yet.
pub(super) struct Clearsigned {
    /// The text, without what no signature covers: white space at the end of lines.
    pub text: String,
    /// The text as it was hashed: lines end in CR LF, the last one does not end.
    pub signed: String,
    /// The signature packets.
    pub signatures: Vec<u8>,
}

/// Takes a message apart.
pub(super) fn clearsigned(bytes: &[u8]) -> Result<Clearsigned, &'static str> {
    let text = plain(bytes)?;
    let mut lines = text.split('\n');
    if lines.next() != Some(MESSAGE) {
        return Err("it does not begin with a clear-signed message");
    }
    for line in lines.by_ref().take_while(|line| !line.trim_end_matches([' ', '\t']).is_empty()) {
        if !line.starts_with("Hash: ") {
            return Err("it has a header that no clear-signed message has");
        }
    }
    let mut body: Vec<&str> = Vec::new();
    let begin = format!("-----BEGIN {SIGNATURE}-----");
    let mut armour = None;
    for line in lines.by_ref() {
        if line == begin {
            armour = Some(line);
            break;
        }
        let line = match line.strip_prefix("- ") {
            Some(line) => line,
            None if line.starts_with('-') => return Err("a line of it begins with a dash that is not escaped"),
            None => line,
        };
        body.push(line.trim_end_matches([' ', '\t']));
    }
    armour.ok_or("it has no signature")?;
    let rest: Vec<&str> = lines.collect();
    let end = format!("-----END {SIGNATURE}-----");
    let last = rest.iter().position(|line| *line == end).ok_or("its signature has no end")?;
    if rest.iter().skip(last + 1).any(|line| !line.is_empty()) {
        return Err("there is something after its signature");
    }
    let signatures = block(rest.iter().take(last).copied())?;
    Ok(Clearsigned { text: body.join("\n") + "\n", signed: body.join("\r\n"), signatures })
}

/// A text without characters that different readers see differently.
fn plain(bytes: &[u8]) -> Result<&str, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
    if text.contains(['\0', '\r', '\u{b}', '\u{c}']) {
        return Err("it has a NUL, a carriage return or another control character");
    }
    if text.split('\n').any(|line| line.len() > LINE_LIMIT) {
        return Err("it has a line of more than 16 KiB");
    }
    Ok(text)
}

/// The packets of a detached signature: armoured or binary, one after the other.
pub(super) fn signatures(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
    if is_binary(bytes) {
        return Ok(bytes.to_vec());
    }
    let blocks = blocks(bytes, SIGNATURE)?;
    if blocks.is_empty() {
        return Err("it has no signature");
    }
    Ok(blocks.concat())
}

/// Whether it begins with a packet. Armour begins with text.
pub(super) fn is_binary(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|byte| byte & 0x80 != 0)
}

/// The armoured blocks of this kind; what is around them is left out.
pub(super) fn blocks(bytes: &[u8], kind: &str) -> Result<Vec<Vec<u8>>, &'static str> {
    let text = String::from_utf8_lossy(bytes);
    let (begin, end) = (format!("-----BEGIN {kind}-----"), format!("-----END {kind}-----"));
    let mut lines = text.lines().map(str::trim_end);
    let mut found = Vec::new();
    while lines.by_ref().any(|line| line == begin) {
        let mut inside = Vec::new();
        let mut ended = false;
        for line in lines.by_ref() {
            ended = line == end;
            if ended {
                break;
            }
            inside.push(line);
        }
        if !ended {
            return Err("its armour has no end");
        }
        found.push(block(inside.into_iter())?);
    }
    Ok(found)
}

/// Headers, an empty line, base64, and a checksum that says nothing (RFC 9580, 6.1).
fn block<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<u8>, &'static str> {
    let mut encoded = String::new();
    let mut in_headers = true;
    for line in lines {
        let line = line.trim_end_matches([' ', '\t']);
        if in_headers {
            in_headers = !line.is_empty();
            if in_headers && !line.contains(": ") && !line.ends_with(':') {
                return Err("its armour has a header that is none");
            }
        } else if !line.starts_with('=') {
            encoded.push_str(line);
        }
    }
    BASE64.decode(encoded).map_err(|_| "its armour is not base64")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: &str = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\na: 1 \t\n- -b\n\n-----BEGIN PGP SIGNATURE-----\n\n\
                          AAEC\nAw==\n=abcd\n-----END PGP SIGNATURE-----\n";

    #[test]
    fn a_message_is_taken_apart() {
        let message = clearsigned(SIGNED.as_bytes()).unwrap();
        assert_eq!((message.text.as_str(), message.signed.as_str()), ("a: 1\n-b\n\n", "a: 1\r\n-b\r\n"));
        assert_eq!(message.signatures, [0, 1, 2, 3]);
    }

    #[test]
    fn what_is_not_exactly_one_message_is_refused() {
        let long = "x".repeat(LINE_LIMIT + 1);
        for (from, to, reason) in [
            ("-----BEGIN PGP SIGNED", "x\n-----BEGIN PGP SIGNED", "it does not begin with a clear-signed message"),
            ("-----BEGIN PGP SIGNED", "\n-----BEGIN PGP SIGNED", "it does not begin with a clear-signed message"),
            ("MESSAGE-----\n", "MESSAGE----- \n", "it does not begin with a clear-signed message"),
            ("Hash: SHA512", "Hash: SHA512\nX: y", "it has a header that no clear-signed message has"),
            ("Hash: SHA512\n\n", "Hash: SHA512\na: 2\n\n", "it has a header that no clear-signed message has"),
            ("- -b", "-b", "a line of it begins with a dash that is not escaped"),
            ("- -b", "-----BEGIN PGP SIGNED MESSAGE-----", "a line of it begins with a dash that is not escaped"),
            ("END PGP SIGNATURE-----\n", "END PGP SIGNATURE-----\nx", "there is something after its signature"),
            ("END PGP SIGNATURE-----\n", "END PGP SIGNATURE-----\n \n", "there is something after its signature"),
            ("-----END PGP SIGNATURE-----", "", "its signature has no end"),
            ("-----BEGIN PGP SIGNATURE-----\n", "", "a line of it begins with a dash that is not escaped"),
            ("a: 1", "a:\r 1", "it has a NUL, a carriage return or another control character"),
            ("a: 1", "a:\0 1", "it has a NUL, a carriage return or another control character"),
            ("\n", "\r\n", "it has a NUL, a carriage return or another control character"),
            ("a: 1", &long, "it has a line of more than 16 KiB"),
            ("AAEC", "AA!C", "its armour is not base64"),
            ("SIGNATURE-----\n\n", "SIGNATURE-----\n", "its armour has a header that is none"),
        ] {
            let text = if from == "\n" { SIGNED.replace(from, to) } else { SIGNED.replacen(from, to, 1) };
            let found = clearsigned(text.as_bytes()).err();
            assert!(found == Some(reason) || found.is_some() && from.starts_with("-----END"), "{from:?}: {found:?}");
        }
        let twice = format!("{SIGNED}{SIGNED}");
        assert_eq!(clearsigned(twice.as_bytes()).err(), Some("there is something after its signature"));
        assert_eq!(clearsigned(b"\xff").err(), Some("it is not UTF-8"));
        assert!(clearsigned(b"").is_err());
        for cut in 0..SIGNED.len() - 1 {
            assert!(clearsigned(&SIGNED.as_bytes()[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn keyrings_may_have_several_blocks() {
        let one =
            "x\n-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: a\n\nAAEC\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(blocks(format!("{one}y\n{one}").as_bytes(), KEYS).unwrap(), [vec![0, 1, 2], vec![0, 1, 2]]);
        assert!(blocks(one.trim_end_matches(['-', '\n']).as_bytes(), KEYS).is_err());
        assert_eq!(blocks(b"nothing", KEYS).unwrap().len(), 0);
        assert_eq!(signatures(b"\x88\x01").unwrap(), [0x88, 1]);
        assert!(signatures(b"nothing").is_err());
    }
}
