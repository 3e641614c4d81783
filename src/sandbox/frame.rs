//! The stream between guard and host: a magic line, then frames of one letter, a length and so many bytes.
//!
//! The reader trusts nothing: a letter that it does not know, a length beyond the limit, and an end in the middle are
//! errors, and it never holds more than one frame.

use std::io::{self, Read};

/// What the guard's stream begins with.
pub const MAGIC: &[u8] = b"INGOT-SANDBOX 1\n";
/// The most bytes of a frame.
pub const FRAME_LIMIT: usize = 1 << 20;
/// The most bytes of data that the guard puts into one frame.
pub const DATA_BYTES: usize = 32 << 10;
const HEADER: usize = 5;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Host to guard: the order.
    Order,
    /// What was read back.
    Checks,
    /// The program runs.
    Started,
    /// Bytes of its stdout.
    Stdout,
    /// Bytes of its stderr.
    Stderr,
    /// How it ended.
    Ended,
    /// A file follows.
    File,
    /// Bytes of the file.
    Data,
    /// Something was not taken.
    Refused,
    /// All was said.
    Done,
    /// The guard gives up, and why.
    Failed,
}

const LETTERS: [(u8, Kind); 11] = [
    (b'O', Kind::Order),
    (b'C', Kind::Checks),
    (b'S', Kind::Started),
    (b'1', Kind::Stdout),
    (b'2', Kind::Stderr),
    (b'E', Kind::Ended),
    (b'F', Kind::File),
    (b'D', Kind::Data),
    (b'R', Kind::Refused),
    (b'Z', Kind::Done),
    (b'X', Kind::Failed),
];

impl Kind {
    fn letter(self) -> u8 {
        LETTERS.iter().find(|(_, kind)| *kind == self).map_or(b'X', |(letter, _)| *letter)
    }
}

/// Header and payload of one frame, or of several if the payload is long data.
pub fn encode(kind: Kind, payload: &[u8], out: &mut Vec<u8>) {
    let one = |part: &[u8], out: &mut Vec<u8>| {
        out.push(kind.letter());
        out.extend_from_slice(&(part.len() as u32).to_le_bytes());
        out.extend_from_slice(part);
    };
    match kind {
        Kind::Stdout | Kind::Stderr | Kind::Data => payload.chunks(DATA_BYTES).for_each(|part| one(part, out)),
        _ => one(payload, out),
    }
}

/// The magic line; what stands there instead is an error.
pub fn read_magic(from: &mut impl Read) -> io::Result<()> {
    let mut found = [0u8; MAGIC.len()];
    from.read_exact(&mut found)?;
    if found == MAGIC { Ok(()) } else { Err(broken("it does not begin as a guard's stream")) }
}

/// The next frame; `None` where the stream ends between frames.
pub fn read(from: &mut impl Read) -> io::Result<Option<(Kind, Vec<u8>)>> {
    let mut header = [0u8; HEADER];
    let mut have = 0;
    while have < HEADER {
        match from.read(header.get_mut(have..).unwrap_or_default()) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => have += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let [letter, a, b, c, d] = header;
    let Some((_, kind)) = LETTERS.iter().find(|(known, _)| *known == letter) else {
        return Err(broken("a frame of no known kind"));
    };
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length > FRAME_LIMIT {
        return Err(broken("a frame that is too long"));
    }
    let mut payload = Vec::new();
    from.take(length as u64).read_to_end(&mut payload)?;
    if payload.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some((*kind, payload)))
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_come_back() {
        let mut stream = MAGIC.to_vec();
        encode(Kind::Checks, b"[]", &mut stream);
        encode(Kind::Stdout, &vec![7; DATA_BYTES + 1], &mut stream);
        encode(Kind::Done, b"", &mut stream);
        let mut from = &stream[..];
        read_magic(&mut from).unwrap();
        let mut kinds = Vec::new();
        while let Some((kind, payload)) = read(&mut from).unwrap() {
            kinds.push((kind, payload.len()));
        }
        let expected = [(Kind::Checks, 2), (Kind::Stdout, DATA_BYTES), (Kind::Stdout, 1), (Kind::Done, 0)];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn what_is_broken_is_an_error() {
        assert!(read_magic(&mut &b"Error: no such image\n"[..]).is_err());
        assert!(read_magic(&mut &b"INGOT"[..]).is_err());
        for stream in [&b"?\0\0\0\0"[..], b"1\xff\xff\xff\xff", b"1\x05\0\0\0ab", b"1\0"] {
            assert!(read(&mut &stream[..]).is_err(), "{stream:?}");
        }
        assert!(read(&mut &b""[..]).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn nothing_that_is_read_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut from = &bytes[..];
            while let Ok(Some((_, payload))) = read(&mut from) {
                prop_assert!(payload.len() <= bytes.len());
            }
        }
    }
}
