//! One block of a tar that is a header, and the extension headers before an entry.

use tar::{EntryType, Header};

use super::pax::Records;
use super::{BLOCK, UNCOMPRESSED_LIMIT};

/// The largest size that the octal field of a header can hold.
const OCTAL_SIZE: u64 = 0o777_7777_7777;

/// A header with a correct checksum.
pub(super) struct Block {
    header: Header,
}

impl Block {
    pub(super) fn parse(raw: [u8; BLOCK as usize]) -> Result<Self, String> {
        let mut header = Header::new_old();
        *header.as_mut_bytes() = raw;
        // The checksum counts its own eight bytes as spaces; some old programs summed signed bytes.
        let sum = |value: fn(u8) -> i64| {
            raw.iter().enumerate().map(|(n, byte)| if (148..156).contains(&n) { 32 } else { value(*byte) }).sum::<i64>()
        };
        let stated = number(&header.as_old().cksum, "checksum")?;
        if sum(i64::from) != stated && sum(|byte| i64::from(byte as i8)) != stated {
            return Err("the checksum of a header does not hold".into());
        }
        Ok(Block { header })
    }

    /// The byte that says what it is.
    pub(super) fn flag(&self) -> u8 {
        self.header.as_old().linkflag[0]
    }

    pub(super) fn kind(&self) -> EntryType {
        self.header.entry_type()
    }

    pub(super) fn is_extension(&self) -> bool {
        matches!(
            self.kind(),
            EntryType::XHeader | EntryType::XGlobalHeader | EntryType::GNULongName | EntryType::GNULongLink
        )
    }

    pub(super) fn path(&self) -> Vec<u8> {
        self.header.path_bytes().into_owned()
    }

    pub(super) fn link(&self) -> Vec<u8> {
        self.header.link_name_bytes().map(|name| name.into_owned()).unwrap_or_default()
    }

    pub(super) fn size(&self) -> Result<u64, String> {
        let size = number(&self.header.as_old().size, "size")?;
        u64::try_from(size).ok().filter(|size| *size <= UNCOMPRESSED_LIMIT).ok_or_else(|| format!("a size of {size}"))
    }

    pub(super) fn mode(&self) -> Result<u32, String> {
        Ok((number(&self.header.as_old().mode, "mode")? & 0o7777) as u32)
    }

    pub(super) fn owner(&self) -> Result<(i64, i64), String> {
        let old = self.header.as_old();
        Ok((number(&old.uid, "uid")?, number(&old.gid, "gid")?))
    }

    pub(super) fn mtime(&self) -> Result<i64, String> {
        number(&self.header.as_old().mtime, "mtime")
    }
}

/// An octal number between spaces and NULs (nothing is 0), or GNU's base 256.
fn number(field: &[u8], what: &str) -> Result<i64, String> {
    let refuse = || format!("the {what} in a header is not a number");
    if let Some(first) = field.first().filter(|first| **first & 0x80 != 0) {
        let negative = first & 0x40 != 0;
        let start = if negative { -1 } else { 0 };
        let bytes = field.iter().enumerate().map(|(n, byte)| match (n, negative) {
            (0, true) => *byte | 0x80,
            (0, false) => *byte & 0x7f,
            _ => *byte,
        });
        let mut bytes = bytes;
        return bytes.try_fold(start, |value: i64, byte| {
            let shifted = value.checked_mul(256).ok_or_else(refuse)?;
            shifted.checked_add(i64::from(byte)).ok_or_else(refuse)
        });
    }
    let digits = field.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
    digits.iter().try_fold(0i64, |value, byte| match byte {
        b'0'..=b'7' => {
            value.checked_mul(8).and_then(|value| value.checked_add(i64::from(byte - b'0'))).ok_or_else(refuse)
        }
        _ => Err(refuse()),
    })
}

/// What the headers before an entry say of it.
#[derive(Default)]
pub(super) struct Extensions {
    pax: Option<Records>,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    global: bool,
}

impl Extensions {
    pub(super) fn is_empty(&self) -> bool {
        // A global header may come last: it describes nothing in particular.
        self.pax.is_none() && self.long_path.is_none() && self.long_link.is_none()
    }

    pub(super) fn add(&mut self, block: &Block, body: Vec<u8>) -> Result<(), String> {
        let twice = || Err("an entry has two extension headers of one kind".to_string());
        match block.kind() {
            EntryType::XHeader if self.pax.is_some() => return twice(),
            EntryType::XHeader => self.pax = Some(Records::parse(&body)?),
            EntryType::XGlobalHeader => {
                self.global = true;
                if !Records::parse(&body)?.is_harmless() {
                    return Err("a global PAX header changes paths, sizes or owners".into());
                }
            }
            EntryType::GNULongName if self.long_path.is_some() => return twice(),
            EntryType::GNULongName => self.long_path = Some(until_nul(body)),
            _ if self.long_link.is_some() => return twice(),
            _ => self.long_link = Some(until_nul(body)),
        }
        Ok(())
    }

    /// Path, link target and size of the entry: each may be said in one place only.
    pub(super) fn names_and_size(&mut self, block: &Block) -> Result<(Vec<u8>, Vec<u8>, u64), String> {
        let pax = self.pax.get_or_insert_default();
        let one = |pax: Option<Vec<u8>>, gnu: Option<Vec<u8>>, own: Vec<u8>| match (pax, gnu) {
            (Some(_), Some(_)) => Err("PAX and GNU headers both give a name".to_string()),
            (Some(name), None) | (None, Some(name)) => Ok(name),
            (None, None) => Ok(own),
        };
        let path = one(pax.path.take(), self.long_path.take(), block.path())?;
        let link = one(pax.link.take(), self.long_link.take(), block.link())?;
        let stated = block.size()?;
        let size = match pax.size {
            None => stated,
            Some(size) if size == stated || (stated == 0 && size > OCTAL_SIZE) => size,
            Some(size) => return Err(format!("its size is {size} in the PAX header but {stated} in its own")),
        };
        if size > UNCOMPRESSED_LIMIT {
            return Err(format!("a size of {size}"));
        }
        Ok((path, link, size))
    }

    pub(super) fn records(&self) -> Option<&Records> {
        self.pax.as_ref()
    }
}

fn until_nul(mut name: Vec<u8>) -> Vec<u8> {
    if let Some(end) = name.iter().position(|byte| *byte == 0) {
        name.truncate(end);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_blank_or_base_256() {
        assert_eq!(number(b"0000644\0", "mode"), Ok(0o644));
        assert_eq!(number(b"  644 \0 ", "mode"), Ok(0o644));
        assert_eq!(number(b"\0\0\0\0", "mode"), Ok(0));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 1, 0], "uid"), Ok(256));
        assert_eq!(number(&[0xff; 8], "mtime"), Ok(-1));
        for bad in [&b"0000689\0"[..], b"-1\0", b"0x10\0", &[0xbf; 12]] {
            assert!(number(bad, "size").is_err(), "{bad:?}");
        }
    }
}
