//! The one time of a build. No other clock is read on the way to bytes.

use std::str::FromStr;

use jiff::Timestamp;

use super::Error;

/// Whole seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(i64);

impl Epoch {
    /// 1980-01-01T00:00:00Z, the mtime of every entry that Ingot writes: the earliest that a zip can hold, so
    /// that applications which zip their own files work.
    pub const ENTRIES: Epoch = Epoch(315_532_800);

    /// From seconds; years 0 to 9999.
    pub fn from_seconds(seconds: i64) -> Result<Self, Error> {
        Timestamp::from_second(seconds).map(|_| Epoch(seconds)).map_err(|_| Error::Time { text: seconds.to_string() })
    }

    /// Seconds since 1970.
    pub fn seconds(self) -> i64 {
        self.0
    }

    /// RFC 3339 in UTC, whole seconds: `1980-01-01T00:00:00Z`.
    pub fn rfc3339(self) -> String {
        Timestamp::from_second(self.0).map(|time| time.to_string()).unwrap_or_default()
    }
}

impl FromStr for Epoch {
    type Err = Error;

    /// Seconds, or RFC 3339.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || Error::Time { text: text.chars().take(60).collect() };
        if let Ok(seconds) = text.parse() {
            return Epoch::from_seconds(seconds).map_err(|_| refuse());
        }
        text.parse::<Timestamp>().map(|time| Epoch(time.as_second())).map_err(|_| refuse())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_one_is_written() {
        assert_eq!(Epoch::ENTRIES.rfc3339(), "1980-01-01T00:00:00Z");
        assert_eq!("1980-01-01T01:00:00+01:00".parse::<Epoch>().unwrap(), Epoch::ENTRIES);
        assert_eq!("315532800".parse::<Epoch>().unwrap(), Epoch::ENTRIES);
        assert!("yesterday".parse::<Epoch>().is_err());
        assert!("99999999999999999".parse::<Epoch>().is_err());
    }
}
