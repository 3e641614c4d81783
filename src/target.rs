//! What a wheel, a marker or a module is chosen or compiled for.

use std::fmt;
use std::str::FromStr;

use crate::oci::Platform;

/// A CPython version. Layers depend on major and minor only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PythonVersion {
    /// 3.
    pub major: u8,
    /// 8 to 14.
    pub minor: u8,
    /// Where it is known: from a base manifest or the interpreter itself.
    pub micro: Option<u8>,
}

impl PythonVersion {
    /// `X.Y`.
    pub const fn new(major: u8, minor: u8) -> Self {
        PythonVersion { major, minor, micro: None }
    }

    /// `X.Y`, without the micro version.
    pub fn short(&self) -> String {
        format!("{}.{}", self.major, self.minor)
    }

    /// `pythonX.Y`, the name of the interpreter and of the library folder.
    pub fn name(&self) -> String {
        format!("python{}", self.short())
    }

    /// Whether both have the same major and minor version.
    pub fn compatible(&self, other: &PythonVersion) -> bool {
        (self.major, self.minor) == (other.major, other.minor)
    }
}

impl FromStr for PythonVersion {
    type Err = String;

    /// `3.11` or `3.11.7`.
    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is not a Python version: expected `3.11` or `3.11.7`");
        let parts =
            text.split('.').map(|part| part.parse::<u8>()).collect::<Result<Vec<_>, _>>().map_err(|_| refuse())?;
        match parts[..] {
            [major, minor] => Ok(PythonVersion { major, minor, micro: None }),
            [major, minor, micro] => Ok(PythonVersion { major, minor, micro: Some(micro) }),
            _ => Err(refuse()),
        }
    }
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.short())?;
        self.micro.map_or(Ok(()), |micro| write!(f, ".{micro}"))
    }
}

/// The C library of the image, which decides on binary wheels (PEP 600, PEP 656).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Libc {
    /// glibc of this version: manylinux wheels up to it.
    Glibc(u32, u32),
    /// musl of this version: musllinux wheels up to it.
    Musl(u32, u32),
}

impl fmt::Display for Libc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Libc::Glibc(major, minor) => write!(f, "glibc {major}.{minor}"),
            Libc::Musl(major, minor) => write!(f, "musl {major}.{minor}"),
        }
    }
}

/// What an environment is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The interpreter in the image.
    pub python: PythonVersion,
    /// Operating system and architecture.
    pub platform: Platform,
    /// The C library in the image.
    pub libc: Libc,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Python {} on {} with {}", self.python, self.platform, self.libc)
    }
}
