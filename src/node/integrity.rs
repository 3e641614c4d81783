//! Subresource integrity as npm writes it into locks: hashes of one tarball, by algorithm (W3C SRI; ssri).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// Algorithms that are worth something, the strongest first.
const STRONG: [Algorithm; 3] = [Algorithm::Sha512, Algorithm::Sha384, Algorithm::Sha256];

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Sha512,
    Sha384,
    Sha256,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Algorithm::Sha512 => "sha512",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha256 => "sha256",
        }
    }

    fn length(self) -> usize {
        match self {
            Algorithm::Sha512 => 64,
            Algorithm::Sha384 => 48,
            Algorithm::Sha256 => 32,
        }
    }
}

/// The hashes that a tarball may have: all of one algorithm, the strongest that the text names. One of them has to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integrity {
    algorithm: Algorithm,
    hashes: Vec<Vec<u8>>,
}

impl Integrity {
    /// From `sha512-BASE64`, several of which may stand behind each other. What is not understood is passed over, as the
    /// specification says; the error is what there was instead of a hash that counts.
    pub fn parse(text: &str) -> Result<Integrity, String> {
        let mut weak: Vec<&str> = Vec::new();
        let mut found: Vec<(Algorithm, Vec<u8>)> = Vec::new();
        for word in text.split_whitespace() {
            let Some((name, rest)) = word.split_once('-') else { continue };
            let encoded = rest.split('?').next().unwrap_or_default();
            match STRONG.into_iter().find(|algorithm| algorithm.name() == name) {
                Some(algorithm) => {
                    let bytes = STANDARD.decode(encoded).ok().filter(|bytes| bytes.len() == algorithm.length());
                    let damaged = || format!("a damaged {name} hash (`{}`)", super::document::shown(encoded));
                    found.push((algorithm, bytes.ok_or_else(damaged)?));
                }
                None if ["sha1", "md5"].contains(&name) => weak.push(name),
                None => {}
            }
        }
        let strongest = STRONG.into_iter().find(|strong| found.iter().any(|(algorithm, _)| algorithm == strong));
        match (strongest, weak.first()) {
            (Some(algorithm), _) => {
                found.retain(|(own, _)| *own == algorithm);
                let mut hashes: Vec<Vec<u8>> = found.into_iter().map(|(_, bytes)| bytes).collect();
                hashes.sort();
                hashes.dedup();
                Ok(Integrity { algorithm, hashes })
            }
            (None, Some(weak)) => Err(format!("only a {weak} hash")),
            (None, None) => Err("no hash".into()),
        }
    }

    /// Begins to hash what has to be the tarball.
    pub fn check(&self) -> Check<'_> {
        let state = match self.algorithm {
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
            Algorithm::Sha384 => State::Sha384(Sha384::new()),
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
        };
        Check { integrity: self, state }
    }

    fn shown(&self, hash: &[u8]) -> String {
        format!("{}-{}", self.algorithm.name(), STANDARD.encode(hash))
    }
}

impl fmt::Display for Integrity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.hashes.iter().map(|hash| self.shown(hash)).collect();
        f.write_str(&all.join(" "))
    }
}

enum State {
    Sha512(Sha512),
    Sha384(Sha384),
    Sha256(Sha256),
}

/// A hash on its way.
pub struct Check<'a> {
    integrity: &'a Integrity,
    state: State,
}

impl Check<'_> {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha512(state) => state.update(bytes),
            State::Sha384(state) => state.update(bytes),
            State::Sha256(state) => state.update(bytes),
        }
    }

    /// Whether the bytes are the right ones; the error is the hash that they have.
    pub fn finish(self) -> Result<(), String> {
        let found = match self.state {
            State::Sha512(state) => state.finalize().to_vec(),
            State::Sha384(state) => state.finalize().to_vec(),
            State::Sha256(state) => state.finalize().to_vec(),
        };
        match self.integrity.hashes.contains(&found) {
            true => Ok(()),
            false => Err(self.integrity.shown(&found)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // printf abc | openssl dgst -sha512 -binary | base64 -w0, and its like.
    const ABC: [&str; 4] = [
        "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==",
        "sha384-ywB1P0WjXou1oD1pmsZQBycsMqsO3tFjGotgWkP/W+2AhgcroefMI1i67KE0yCWn",
        "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
        "sha1-qZk+NkcGgWq6PiVxeFDCbJzQ2J0=",
    ];

    fn check(text: &str, bytes: &[u8]) -> Result<(), String> {
        let integrity = Integrity::parse(text)?;
        let mut check = integrity.check();
        bytes.chunks(2).for_each(|part| check.update(part));
        check.finish()
    }

    #[test]
    fn each_strong_hash_holds_alone() {
        for text in &ABC[..3] {
            assert_eq!(check(text, b"abc"), Ok(()), "{text}");
            assert_eq!(Integrity::parse(text).unwrap().to_string(), *text);
            let found = check(text, b"abd").unwrap_err();
            assert!(found.starts_with(text.split('-').next().unwrap()) && found != **text, "{found}");
        }
    }

    #[test]
    fn the_strongest_decides_and_any_of_its_hashes_will_do() {
        let other = ABC[0].replace("3a81", "4a81");
        assert_eq!(check(&format!("{} {}", other, ABC[0]), b"abc"), Ok(()));
        // A weaker hash that holds does not help a stronger one that does not.
        assert!(check(&format!("{} {other}", ABC[2]), b"abc").is_err());
        assert_eq!(check(&format!("{}?opt {} unknown-xyz", ABC[0], ABC[3]), b"abc"), Ok(()));
    }

    #[test]
    fn what_is_no_good_hash_is_said() {
        for (text, expected) in [
            ("", "no hash"),
            ("x y-z", "no hash"),
            (ABC[3], "only a sha1 hash"),
            ("md5-kAFQmDzST7DWlj99KOF/cg==", "only a md5 hash"),
            ("sha512-", "a damaged sha512 hash (``)"),
            ("sha512-AAAA", "a damaged sha512 hash (`AAAA`)"),
            ("sha256-*", "a damaged sha256 hash (`*`)"),
        ] {
            assert_eq!(Integrity::parse(text).unwrap_err(), expected, "{text}");
        }
    }
}
