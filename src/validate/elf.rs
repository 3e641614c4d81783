//! Programs and shared libraries: what the kernel and the dynamic loader will ask of them.

/// What a program or a shared library says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elf {}

/// Reads it; `None` for a file that is neither.
pub(super) fn read(bytes: &[u8]) -> Option<Elf> {
    bytes.starts_with(b"\x7fELF").then(Elf::default)
}

#[cfg(test)]
pub mod testing {
    /// A static program of this machine's kind that needs no library.
    pub fn program() -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
        bytes.resize(64, 0);
        bytes[52] = 64;
        bytes
    }
}
