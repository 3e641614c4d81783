//! The members of a tar, whatever its bytes come from: strict, and with a limit on everything.

use super::member::{self, Member, Refusal};
use super::{BLOCK, ENTRY_LIMIT, EXTENSION_LIMIT, EXTENSIONS_LIMIT, header};
use header::Block;

/// What is wrong with a tar that ends before it should.
const CUT: &str = "the tar ends too early, without its two blocks of zeros";

/// Where the bytes of a tar come from, and in whose words it is told what is wrong with them.
pub trait TarSource {
    /// What can go wrong.
    type Error;

    /// Reads some bytes of the decompressed tar; 0 at its end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Self::Error>;

    /// The tar is damaged.
    fn damaged(&self, reason: String) -> Self::Error;

    /// The tar ends where an entry could begin, but without its two blocks of zeros. Some programs leave them out; to
    /// most readers the tar is whole. It is an error, unless somebody only wants to know.
    fn unmarked_end(&mut self) -> Result<(), Self::Error> {
        Err(self.damaged(CUT.into()))
    }

    /// There is something behind the two blocks of zeros. Most readers do not look there; it is an error, unless who reads
    /// is to do as they do.
    fn behind_end(&mut self) -> Result<(), Self::Error> {
        Err(self.damaged("there is data behind the end of the tar".into()))
    }

    /// The tar has more than `limit` of `what`.
    fn limit(&self, what: &'static str, limit: u64) -> Self::Error;
}

/// Reads the members of a tar in their order.
pub struct Members<S> {
    source: S,
    entries: u64,
    body: u64,
    padding: u64,
    ended: bool,
    owners: bool,
}

impl<S: TarSource> Members<S> {
    /// From the beginning of a tar.
    pub fn new(source: S) -> Self {
        Members { source, entries: 0, body: 0, padding: 0, ended: false, owners: true }
    }

    /// Where owners and times do not matter, whatever stands there will do: all are 0.
    pub fn without_owners(self) -> Self {
        Members { owners: false, ..self }
    }

    /// The next member; what was not read of the last one's body is skipped. Behind the last one, the tar was read
    /// to its real end.
    pub fn next_member(&mut self) -> Result<Option<Member>, S::Error> {
        match self.next_entry()? {
            Some(Err(reason)) => Err(self.damaged(reason)),
            Some(Ok(member)) => Ok(Some(member)),
            None => Ok(None),
        }
    }

    /// Like [`Members::next_member`], but an entry that must not be unpacked, and behind which the next one can be
    /// found, does not end the reading: it is returned as what is wrong with it.
    pub fn next_entry(&mut self) -> Result<Option<Result<Member, String>>, S::Error> {
        self.skip_body()?;
        if self.ended {
            return Ok(None);
        }
        let mut extensions = header::Extensions::default();
        for _ in 0..=EXTENSIONS_LIMIT {
            let Some(block) = self.block()? else {
                if !extensions.is_empty() {
                    return Err(self.damaged("the tar ends after an extension header"));
                }
                return Ok(None);
            };
            if block.is_extension() {
                let body = self.extension(&block)?;
                extensions.add(&block, body).map_err(|reason| self.damaged(reason))?;
                continue;
            }
            self.entries += 1;
            if self.entries > ENTRY_LIMIT {
                return Err(self.source.limit("entries", ENTRY_LIMIT));
            }
            let ordinal = self.entries - 1;
            return match member::build(ordinal, &block, extensions, self.owners) {
                Ok(member) => {
                    self.set_body(member.size);
                    Ok(Some(Ok(member)))
                }
                Err(Refusal { reason, size: Some(size) }) => {
                    self.set_body(size);
                    Ok(Some(Err(reason)))
                }
                Err(refusal) => Err(self.damaged(refusal.reason)),
            };
        }
        Err(self.source.limit("extension headers before one entry", EXTENSIONS_LIMIT))
    }

    /// The body of the member that came last, if it has at most `limit` bytes.
    pub fn read_body(&mut self, limit: u64) -> Result<Vec<u8>, S::Error> {
        if self.body > limit {
            return Err(self.source.limit("bytes in one file", limit));
        }
        let mut bytes = vec![0; usize::try_from(self.body).unwrap_or(usize::MAX)];
        self.read_exact(&mut bytes)?;
        self.body = 0;
        Ok(bytes)
    }

    /// Reads a part of the present body; 0 at its end.
    pub fn read_part(&mut self, buffer: &mut [u8]) -> Result<usize, S::Error> {
        let most = usize::try_from(self.body).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..most).filter(|buffer| !buffer.is_empty()) else { return Ok(0) };
        match self.source.read(buffer)? {
            0 => Err(self.damaged("the tar ends inside a file")),
            count => {
                self.body -= count as u64;
                Ok(count)
            }
        }
    }

    /// Where the bytes come from, wherever reading has stopped.
    pub fn into_source(self) -> S {
        self.source
    }

    /// Reads what is left; returns the source, and how many entries there were.
    pub fn finish(mut self) -> Result<(S, u64), S::Error> {
        while self.next_member()?.is_some() {}
        Ok((self.source, self.entries))
    }

    fn damaged(&self, reason: impl Into<String>) -> S::Error {
        self.source.damaged(reason.into())
    }

    fn set_body(&mut self, size: u64) {
        self.body = size;
        self.padding = size.next_multiple_of(BLOCK) - size;
    }

    fn read_exact(&mut self, mut buffer: &mut [u8]) -> Result<(), S::Error> {
        while !buffer.is_empty() {
            let count = self.source.read(buffer)?;
            if count == 0 {
                return Err(self.damaged(CUT));
            }
            buffer = buffer.get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads a block, unless the tar has ended before it.
    fn is_at_end(&mut self, raw: &mut [u8]) -> Result<bool, S::Error> {
        let count = self.source.read(raw)?;
        if count == 0 {
            self.source.unmarked_end()?;
            self.ended = true;
            return Ok(true);
        }
        self.read_exact(raw.get_mut(count..).unwrap_or_default())?;
        Ok(false)
    }

    fn skip_body(&mut self) -> Result<(), S::Error> {
        let (mut count, mut buffer) = (self.body, [0; 32 << 10]);
        while count > 0 {
            let most = usize::try_from(count).unwrap_or(usize::MAX).min(buffer.len());
            self.read_exact(buffer.get_mut(..most).unwrap_or_default())?;
            count -= most as u64;
        }
        // A tar without an end may also lack what fills its last block.
        let mut rest = [0; BLOCK as usize];
        let padding = usize::try_from(self.padding).unwrap_or_default();
        if let Some(rest) = rest.get_mut(..padding).filter(|rest| !rest.is_empty()) {
            match self.source.read(rest)? {
                0 => {
                    self.source.unmarked_end()?;
                    self.ended = true;
                }
                count => self.read_exact(rest.get_mut(count..).unwrap_or_default())?,
            }
        }
        (self.body, self.padding) = (0, 0);
        Ok(())
    }

    fn extension(&mut self, block: &Block) -> Result<Vec<u8>, S::Error> {
        let size = block.size().map_err(|reason| self.damaged(reason))?;
        if size > EXTENSION_LIMIT {
            return Err(self.source.limit("bytes in an extension header", EXTENSION_LIMIT));
        }
        self.set_body(size);
        let body = self.read_body(EXTENSION_LIMIT)?;
        self.skip_body()?;
        Ok(body)
    }

    /// The next header, or `None` behind the end marker and its zeros.
    fn block(&mut self) -> Result<Option<Block>, S::Error> {
        let mut raw = [0; BLOCK as usize];
        if self.is_at_end(&mut raw)? {
            return Ok(None);
        }
        if raw.iter().any(|byte| *byte != 0) {
            return Block::parse(raw).map(Some).map_err(|reason| self.damaged(reason));
        }
        if self.is_at_end(&mut raw)? {
            return Ok(None);
        }
        if raw.iter().any(|byte| *byte != 0) {
            return Err(self.damaged("there is an entry behind a block of zeros"));
        }
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = self.source.read(&mut buffer)?;
            if count == 0 {
                self.ended = true;
                return Ok(None);
            }
            if buffer.iter().take(count).any(|byte| *byte != 0) {
                self.source.behind_end()?;
            }
        }
    }
}
