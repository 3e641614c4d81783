//! What a large library says of itself, of which only a few parts are in memory: 500 MB are no rare size.

use std::cell::RefCell;
use std::ops::Range;

use object::read::ReadRef;

use super::elf::{self, Facts};
use crate::error::Result;
use crate::layer::encode::RUN;

/// How often something else may be asked for: headers, then the dynamic part, then names and notes.
const ROUNDS: usize = 8;
/// The most that is read in one piece, in bytes.
const PIECE_LIMIT: u64 = 4 << 20;
/// Pieces begin and end at multiples of this: what is asked for next is often beside them.
const PAGE: u64 = 4 << 10;

/// A file of which pieces are known.
struct Pieces {
    size: u64,
    known: Vec<(u64, Vec<u8>)>,
    wanted: RefCell<Vec<Range<u64>>>,
}

/// The facts of a file of `size` bytes, whose part number N (of [`RUN`] bytes) `part` gives. `None` if it is no
/// library, or one that is too odd; that `part` fails says nothing of it.
pub(super) fn facts(size: u64, mut part: impl FnMut(usize) -> Result<Option<Vec<u8>>>) -> Result<Option<Facts>> {
    let mut pieces = Pieces { size, known: Vec::new(), wanted: RefCell::default() };
    for _ in 0..ROUNDS {
        let found = elf::facts(&pieces);
        let wanted = pieces.wanted.take();
        if wanted.is_empty() {
            return Ok(found);
        }
        for range in wanted {
            let Some(bytes) = gather(&range, &mut part)? else { return Ok(None) };
            pieces.known.push((range.start, bytes));
        }
    }
    Ok(None)
}

/// The bytes of a range, which may go over several parts.
fn gather(range: &Range<u64>, part: &mut impl FnMut(usize) -> Result<Option<Vec<u8>>>) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let number = usize::try_from(at / RUN as u64).unwrap_or(usize::MAX);
        let Some(plain) = part(number)? else { return Ok(None) };
        let Some(found) = within(&plain, at, range.end) else { return Ok(None) };
        bytes.extend_from_slice(found);
        at += found.len() as u64;
    }
    Ok(Some(bytes))
}

/// What a part has of the bytes of the file from `at` to `end`.
fn within(plain: &[u8], at: u64, end: u64) -> Option<&[u8]> {
    let begin = usize::try_from(at % RUN as u64).ok()?;
    let end = plain.len().min(begin.checked_add(usize::try_from(end - at).ok()?)?);
    plain.get(begin..end).filter(|found| !found.is_empty())
}

impl Pieces {
    /// What is known from `at` on.
    fn from(&self, at: u64) -> Option<&[u8]> {
        let known =
            self.known.iter().filter_map(|(start, bytes)| bytes.get(usize::try_from(at.checked_sub(*start)?).ok()?..));
        known.max_by_key(|bytes| bytes.len())
    }

    /// Asks for a range, unless it reaches beyond the end.
    fn want<T>(&self, range: Range<u64>) -> Result<T, ()> {
        if range.start < range.end && range.end <= self.size && range.end - range.start <= PIECE_LIMIT {
            let range = range.start / PAGE * PAGE..range.end.next_multiple_of(PAGE).min(self.size);
            self.wanted.borrow_mut().push(range);
        }
        Err(())
    }
}

impl<'data> ReadRef<'data> for &'data Pieces {
    fn len(self) -> Result<u64, ()> {
        Ok(self.size)
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'data [u8], ()> {
        let length = usize::try_from(size).map_err(|_| ())?;
        match self.from(offset).and_then(|known| known.get(..length)) {
            Some(bytes) => Ok(bytes),
            None => self.want(offset..offset.checked_add(size).ok_or(())?),
        }
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'data [u8], ()> {
        let size = usize::try_from(range.end.checked_sub(range.start).ok_or(())?).map_err(|_| ())?;
        let known = self.from(range.start).unwrap_or_default();
        let known = known.get(..size.min(known.len())).unwrap_or_default();
        match known.iter().position(|byte| *byte == delimiter).and_then(|end| known.get(..end)) {
            Some(bytes) => Ok(bytes),
            None if known.len() == size => Err(()),
            None => self.want(range),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debian::elf::testing::made_at;

    /// A library whose strings and notes are far from each other.
    #[test]
    fn parts_that_matter_are_enough() {
        let places = [(300, 400, 500), (300, 2 * RUN as u64 - 3, 5 << 20), (7 << 20, 300, RUN as u64 - 8)];
        for (dynamic, strings, notes) in places {
            let whole = made_at(62, "liba.so.1", [dynamic, strings, notes], 8 << 20);
            let mut read = std::collections::BTreeSet::new();
            let found = facts(whole.len() as u64, |part| {
                read.insert(part);
                Ok(whole.chunks(RUN).nth(part).map(<[u8]>::to_vec))
            })
            .unwrap();
            let expected = elf::facts(whole.as_slice());
            assert!(found.is_some() && found == expected, "{found:?} {expected:?}");
            assert!(read.len() <= 6, "{read:?}");
            assert_eq!(facts(whole.len() as u64, |_| Ok(None)).unwrap(), None);
            assert_eq!(facts(whole.len() as u64, |_| Ok(Some(Vec::new()))).unwrap(), None);
        }
        assert_eq!(facts(8 << 20, |_| Ok(Some(vec![0; RUN]))).unwrap(), None);
    }
}
