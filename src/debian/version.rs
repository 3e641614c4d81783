//! Versions of packages, ordered as dpkg orders them (deb-version(7)).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::Error;

/// `[epoch:]upstream[-revision]`. Two that dpkg holds for the same (`1.0` and `1.00`) are equal.
#[derive(Clone)]
pub struct Version {
    text: String,
    epoch: u32,
    /// Where the upstream version begins.
    start: usize,
    /// Where it ends: at the last hyphen, or at the end.
    end: usize,
}

impl Version {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Without the epoch, as it stands in file names of packages.
    pub fn without_epoch(&self) -> &str {
        self.text.get(self.start..).unwrap_or_default()
    }

    /// The upstream part.
    pub fn upstream(&self) -> &str {
        self.text.get(self.start..self.end).unwrap_or_default()
    }

    /// The revision; empty if there is none.
    pub fn revision(&self) -> &str {
        self.text.get(self.end + 1..).unwrap_or_default()
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |reason| Error::Version { text: text.escape_debug().take(100).collect(), reason };
        let (epoch, start) = match text.split_once(':') {
            Some((epoch, _)) => (epoch.parse().map_err(|_| refuse("its epoch is not a number"))?, epoch.len() + 1),
            None => (0, 0),
        };
        let rest = text.get(start..).unwrap_or_default();
        let end = start + rest.rfind('-').unwrap_or(rest.len());
        let version = Version { text: text.to_string(), epoch, start, end };
        if version.upstream().is_empty() {
            return Err(refuse("it is empty"));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || ".-+~:".contains(c);
        if !rest.chars().all(fits) {
            return Err(refuse("it has a character that no version has"));
        }
        Ok(version)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare(self.upstream(), other.upstream()))
            .then_with(|| compare(self.revision(), other.revision()))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Parts that are no digits, by letter (`~` before the end, letters before all else), and numbers, in turn.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let (word, number, rest) = split(a);
        let (other_word, other_number, other_rest) = split(b);
        let order = words(word, other_word).then_with(|| numbers(number, other_number));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest, other_rest);
    }
    Ordering::Equal
}

fn split(text: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let word = text.iter().position(u8::is_ascii_digit).unwrap_or(text.len());
    let (word, rest) = text.split_at(word);
    let number = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    let (number, rest) = rest.split_at(number);
    (word, number, rest)
}

fn words(a: &[u8], b: &[u8]) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    };
    let length = a.len().max(b.len());
    (0..length)
        .map(|at| weight(a.get(at)).cmp(&weight(b.get(at))))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn numbers(a: &[u8], b: &[u8]) -> Ordering {
    let trim = |digits: &[u8]| digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len());
    let (a, b) = (a.split_at(trim(a)).1, b.split_at(trim(b)).1);
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        let ordered = [
            "0~~",
            "0~~a",
            "0~",
            "0",
            "0a",
            "0+",
            "0.0",
            "1.0~beta1~svn1245",
            "1.0~beta1",
            "1.0",
            "1.0-1~bpo",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1+deb12u1",
            "1.0-10",
            "1.0a-1",
            "1.0+dfsg-1",
            "1.0.1-1",
            "1.2",
            "1.10",
            "1:0.1",
            "2:0",
        ];
        for (n, a) in ordered.iter().enumerate() {
            for (m, b) in ordered.iter().enumerate() {
                assert_eq!(version(a).cmp(&version(b)), n.cmp(&m), "{a} {b}");
            }
        }
        for (a, b) in [("1.0", "1.00"), ("0:1", "1"), ("1-0", "1"), ("1.0-", "1.0-0")] {
            assert_eq!(version(a), version(b), "{a} {b}");
        }
        let parts = version("2:1.0-rc1-3ubuntu1");
        assert_eq!(
            (parts.upstream(), parts.revision(), parts.without_epoch()),
            ("1.0-rc1", "3ubuntu1", "1.0-rc1-3ubuntu1")
        );
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for (bad, reason) in [
            ("", "it is empty"),
            ("-1", "it is empty"),
            ("x:1", "its epoch is not a number"),
            ("1 2", "it has a character that no version has"),
            ("1\n", "it has a character that no version has"),
            ("1_2", "it has a character that no version has"),
        ] {
            let error = bad.parse::<Version>().unwrap_err();
            assert!(error.to_string().ends_with(reason), "{bad:?}: {error}");
        }
    }
}
