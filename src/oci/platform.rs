//! Platforms (image-spec image-index.md "platform").

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Error;

/// An operating system and an architecture, in Go's names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// GOARCH: "amd64", "arm64".
    pub architecture: String,
    /// GOOS: "linux".
    pub os: String,
    /// "v7", "v8"; absent where it goes without saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// linux on `architecture`.
    pub fn linux(architecture: &str) -> Self {
        Platform { architecture: architecture.into(), os: "linux".into(), variant: None }
    }

    /// linux on the architecture of this machine.
    pub fn host() -> Self {
        Platform::linux(match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64le",
            other => other,
        })
    }

    /// Whether an image for `self` is one for `wanted`: a variant that goes without saying (arm64/v8) matches its absence.
    pub fn satisfies(&self, wanted: &Platform) -> bool {
        let variant = |platform: &Platform| match (platform.architecture.as_str(), platform.variant.as_deref()) {
            ("arm64", None) => Some("v8".to_string()),
            ("amd64", Some("v1")) => None,
            (_, variant) => variant.map(str::to_string),
        };
        self.os == wanted.os && self.architecture == wanted.architecture && variant(self) == variant(wanted)
    }

    /// The machine name that Python wheels and GNU triplets use: "x86_64", "aarch64".
    pub fn machine(&self) -> &str {
        match self.architecture.as_str() {
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            "386" => "i686",
            "arm" => "armv7l",
            other => other,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || Error::Platform { text: text.chars().take(80).collect() };
        let parts: Vec<&str> = text.split('/').collect();
        let sound =
            |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !(2..=3).contains(&parts.len()) || !parts.iter().all(sound) {
            return Err(refuse());
        }
        let architecture = match parts[1] {
            "x86_64" => return Err(refuse()),
            known => known.to_string(),
        };
        Ok(Platform { os: parts[0].into(), architecture, variant: parts.get(2).map(|v| v.to_string()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_that_go_without_saying_match() {
        let p = |text: &str| text.parse::<Platform>().unwrap();
        assert!(p("linux/arm64/v8").satisfies(&p("linux/arm64")));
        assert!(!p("linux/arm/v7").satisfies(&p("linux/arm64")));
        assert!(!p("linux/arm/v6").satisfies(&p("linux/arm/v7")));
        assert_eq!(p("linux/arm/v7").to_string(), "linux/arm/v7");
        for bad in ["amd64", "", "linux/", "linux/x86_64", "Linux/amd64", "linux/a/b/c"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }
}
