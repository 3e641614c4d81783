//! The numbers that begin a `.pyc` file, and the tag in its name, for each CPython that Ingot compiles for.

use super::PythonVersion;

/// Python minor version and its magic number, as the last release candidate froze it.
const MAGIC: [(u8, u16); 7] = [(8, 3413), (9, 3425), (10, 3439), (11, 3495), (12, 3531), (13, 3571), (14, 3627)];

/// The length of a `.pyc` header (PEP 552): magic number, flags, hash of the source.
pub const HEADER_LENGTH: usize = 16;

/// The magic number of a version; `None` for one that Ingot does not know (3.8 to 3.14 are known).
pub fn magic(version: PythonVersion) -> Option<[u8; 4]> {
    let (_, number) = MAGIC.iter().find(|(minor, _)| version.major == 3 && version.minor == *minor)?;
    let [low, high] = number.to_le_bytes();
    Some([low, high, b'\r', b'\n'])
}

/// `cpython-311`: the part of the name in `__pycache__/x.cpython-311.pyc`.
pub fn cache_tag(version: PythonVersion) -> String {
    format!("cpython-{}{}", version.major, version.minor)
}

/// A whole `.pyc` file: PEP 552, hash-based, never checked against the source.
pub fn pyc(magic: [u8; 4], source_hash: [u8; 8], code: &[u8]) -> Vec<u8> {
    const UNCHECKED_HASH: u32 = 0b01;
    let mut file = Vec::with_capacity(HEADER_LENGTH + code.len());
    file.extend_from_slice(&magic);
    file.extend_from_slice(&UNCHECKED_HASH.to_le_bytes());
    file.extend_from_slice(&source_hash);
    file.extend_from_slice(code);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_releases() {
        assert_eq!(magic(PythonVersion::new(3, 8)), Some(*b"U\r\r\n"));
        assert_eq!(magic(PythonVersion::new(3, 10)), Some(*b"o\r\r\n"));
        assert_eq!(magic(PythonVersion::new(3, 11)), Some([0xa7, b'\r', b'\r', b'\n']));
        assert_eq!(magic(PythonVersion::new(3, 14)), Some([0x2b, 0x0e, b'\r', b'\n']));
        assert_eq!(magic(PythonVersion::new(3, 7)), None);
        assert_eq!(magic(PythonVersion::new(2, 8)), None);
        assert_eq!(cache_tag(PythonVersion::new(3, 9)), "cpython-39");
    }

    #[test]
    fn the_header_says_unchecked_hash() {
        assert_eq!(pyc(*b"o\r\r\n", *b"12345678", b"code"), b"o\r\r\n\x01\0\0\x0012345678code");
    }
}
