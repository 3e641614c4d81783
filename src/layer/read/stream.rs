//! The decompressed bytes of a layer: counted, limited, hashed, and compared with the real end of the blob.

use std::io::{self, BufReader, Read};

use flate2::read::MultiGzDecoder;

use super::{Error, TarSource};
use crate::oci::media_type::Compression;
use crate::oci::{Digest, Hasher};

/// How a blob is compressed, by its first bytes (four are enough).
pub fn sniff(start: &[u8]) -> Compression {
    match start {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        // A skippable frame.
        [low, 0x2a, 0x4d, 0x18, ..] if low & 0xf0 == 0x50 => Compression::Zstd,
        _ => Compression::None,
    }
}

fn name(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "not compressed",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    }
}

/// An error of the blob itself, as opposed to one of the decoder that reads it.
#[derive(Debug, thiserror::Error)]
#[error("could not read the blob")]
struct BlobFailed(#[source] io::Error);

struct Blob(Box<dyn Read + Send>);

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                Err(io::Error::new(error.kind(), BlobFailed(error)))
            }
            other => other,
        }
    }
}

type Source = io::Chain<io::Cursor<Vec<u8>>, Blob>;

enum Decoder {
    Plain(Source),
    Gzip(MultiGzDecoder<Source>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Source>>>),
}

impl Decoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::Plain(source) => source.read(buffer),
            Decoder::Gzip(decoder) => decoder.read(buffer),
            Decoder::Zstd(decoder) => decoder.read(buffer),
        }
    }

    /// Whether the blob has nothing behind what was decoded. Reads it to its end, which verifies it.
    fn at_end(self) -> io::Result<bool> {
        let mut one = [0; 1];
        let count = match self {
            Decoder::Plain(mut source) => source.read(&mut one)?,
            Decoder::Gzip(decoder) => decoder.into_inner().read(&mut one)?,
            Decoder::Zstd(decoder) => decoder.finish().read(&mut one)?,
        };
        Ok(count == 0)
    }
}

pub(super) struct Stream {
    decoder: Decoder,
    hasher: Hasher,
    digest: Digest,
    limit: u64,
}

impl Stream {
    pub(super) fn open(
        blob: Box<dyn Read + Send>,
        compression: Compression,
        digest: Digest,
        limit: u64,
    ) -> Result<Self, Error> {
        let mut blob = Blob(blob);
        let mut start = Vec::new();
        (&mut blob).take(4).read_to_end(&mut start).map_err(|error| explain(digest, error))?;
        let found = sniff(&start);
        if found != compression {
            let reason = format!("its media type says {}, but its bytes are {}", name(compression), name(found));
            return Err(Error::Damaged { digest, reason });
        }
        let source = io::Cursor::new(start).chain(blob);
        let decoder = match compression {
            Compression::None => Decoder::Plain(source),
            Compression::Gzip => Decoder::Gzip(MultiGzDecoder::new(source)),
            Compression::Zstd => Decoder::Zstd(Box::new(
                zstd::stream::read::Decoder::new(source).map_err(|error| explain(digest, error))?,
            )),
        };
        Ok(Stream { decoder, hasher: Hasher::new(), digest, limit })
    }

    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// Digest and length of the tar, once both it and its blob have ended.
    pub(super) fn finish(mut self) -> Result<(Digest, u64), Error> {
        let digest = self.digest;
        let damaged = |reason: &str| Error::Damaged { digest, reason: reason.into() };
        let mut one = [0; 1];
        if self.read(&mut one)? != 0 {
            return Err(damaged("there is data behind the end of the tar"));
        }
        if !self.decoder.at_end().map_err(|error| explain(digest, error))? {
            return Err(damaged("there is data behind the end of the compressed stream"));
        }
        let length = self.hasher.length();
        Ok((self.hasher.finish(), length))
    }
}

impl TarSource for Stream {
    type Error = Error;

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let count = loop {
            match self.decoder.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(|error| explain(self.digest, error))?,
            }
        };
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        if self.hasher.length() > self.limit {
            return Err(Error::Limit { digest: self.digest, what: "uncompressed bytes", limit: self.limit });
        }
        Ok(count)
    }

    fn damaged(&self, reason: String) -> Error {
        Error::Damaged { digest: self.digest, reason }
    }

    fn limit(&self, what: &'static str, limit: u64) -> Error {
        Error::Limit { digest: self.digest, what, limit }
    }
}

/// Tells errors of the blob from errors of its content.
fn explain(digest: Digest, error: io::Error) -> Error {
    let kind = error.kind();
    let Some(inner) = error.into_inner() else {
        return Error::Damaged { digest, reason: io::Error::from(kind).to_string() };
    };
    let source = match inner.downcast::<BlobFailed>() {
        Ok(failed) => failed.0,
        Err(other) => return Error::Damaged { digest, reason: other.to_string() },
    };
    if !source.get_ref().is_some_and(|inner| inner.is::<Error>()) {
        return Error::Stream { action: "read", object: format!("layer {digest}"), source };
    }
    let kind = source.kind();
    match source.into_inner().map(|inner| inner.downcast::<Error>()) {
        Some(Ok(error)) => *error,
        _ => Error::Stream { action: "read", object: format!("layer {digest}"), source: kind.into() },
    }
}
