//! The bytes of a layer, for somebody who wants to know all that is wrong with them: the blob is unpacked by what
//! its bytes are, not by what its media type says, and read to its end whatever its digest is.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::bufread::GzDecoder;

use crate::error::Result;
use crate::layer::read::{RATIO_FLOOR, RATIO_LIMIT, TarSource, UNCOMPRESSED_LIMIT, sniff};
use crate::layer::{BlobSource, Error};
use crate::oci::media_type::Compression;
use crate::oci::{Descriptor, Digest, Hasher};

/// How much of a blob is read at once, in bytes.
const BUFFER: usize = 256 << 10;

/// Why the members of a tar end before the tar does.
pub(super) enum Stop {
    /// The tar, or what it is packed in, is damaged.
    Damaged(String),
    /// More than Ingot reads.
    Limit(String),
    /// The bytes could not be got.
    Failed(crate::error::Error),
}

/// What was learned of a blob at its end.
pub(super) struct End {
    /// The digest of the tar.
    pub diff_id: Digest,
    /// Its length.
    pub uncompressed_size: u64,
    /// How many gzip members or zstd frames it is packed in.
    pub pieces: u64,
    /// Whether the tar ends without its two blocks of zeros.
    pub unmarked: bool,
    /// How many bytes follow the packed tar.
    pub trailing: u64,
    /// If the blob is not what its descriptor says: what it is.
    pub other: Option<String>,
}

/// What went wrong below a decoder. A decoder would tell it as its own error.
#[derive(Default)]
struct Trouble {
    /// The blob has another digest or size.
    other: Option<String>,
    failed: Option<io::Error>,
}

type Shared = Arc<Mutex<Trouble>>;

/// A blob that ends where it does not verify.
struct Blob {
    inner: Box<dyn Read + Send>,
    trouble: Shared,
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let error = match self.inner.read(buffer) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => error,
            other => return other,
        };
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let known = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        if let Some(Error::Digest { found, .. } | Error::Rotten { found, .. }) = known {
            trouble.other = Some(found.clone());
            return Ok(0);
        }
        trouble.failed = Some(error);
        Err(io::ErrorKind::Other.into())
    }
}

type Source = BufReader<Blob>;

enum Decoder {
    Plain(Source),
    Gzip(GzDecoder<Source>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Source>>),
    /// Nothing more: what follows is no part of the tar.
    Done(Source),
    /// While one piece is followed by the next.
    Between,
}

/// A layer's tar.
pub(super) struct Tape {
    decoder: Decoder,
    compression: Compression,
    pieces: u64,
    unmarked: bool,
    hasher: Hasher,
    limit: u64,
    trouble: Shared,
    digest: Digest,
}

impl Tape {
    /// Opens a blob.
    pub(super) fn open(descriptor: &Descriptor, blobs: &dyn BlobSource) -> Result<Tape> {
        let trouble = Shared::default();
        let blob = Blob { inner: blobs.open(descriptor)?, trouble: trouble.clone() };
        let mut source = BufReader::with_capacity(BUFFER, blob);
        let limit = descriptor.size.saturating_mul(RATIO_LIMIT).clamp(RATIO_FLOOR, UNCOMPRESSED_LIMIT);
        let start = source.fill_buf().map(sniff).unwrap_or(Compression::None);
        let (hasher, digest) = (Hasher::new(), descriptor.digest);
        let (decoder, compression, pieces, unmarked) = (Decoder::Between, start, 0, false);
        let mut tape = Tape { decoder, compression, pieces, unmarked, hasher, limit, trouble, digest };
        match tape.piece(source) {
            Ok(decoder) => tape.decoder = decoder,
            Err(error) => return Err(tape.failure().unwrap_or_else(|| fail(digest, error))),
        }
        Ok(tape)
    }

    /// How the blob is packed, by its bytes.
    pub(super) fn compression(&self) -> Compression {
        self.compression
    }

    fn piece(&mut self, source: Source) -> io::Result<Decoder> {
        self.pieces += 1;
        Ok(match self.compression {
            Compression::None => Decoder::Plain(source),
            Compression::Gzip => Decoder::Gzip(GzDecoder::new(source)),
            Compression::Zstd => {
                Decoder::Zstd(Box::new(zstd::stream::read::Decoder::with_buffer(source)?.single_frame()))
            }
        })
    }

    /// Some bytes of the tar; behind the last byte of one piece come those of the next.
    fn unpack(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = match &mut self.decoder {
                Decoder::Plain(source) => return source.read(buffer),
                Decoder::Gzip(decoder) => decoder.read(buffer)?,
                Decoder::Zstd(decoder) => decoder.read(buffer)?,
                Decoder::Done(_) | Decoder::Between => return Ok(0),
            };
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let mut source = match std::mem::replace(&mut self.decoder, Decoder::Between) {
                Decoder::Gzip(decoder) => decoder.into_inner(),
                Decoder::Zstd(decoder) => decoder.finish(),
                Decoder::Plain(source) | Decoder::Done(source) => source,
                Decoder::Between => return Ok(0),
            };
            let rest = source.fill_buf()?;
            let more = !rest.is_empty() && sniff(rest) == self.compression;
            self.decoder = if more { self.piece(source)? } else { Decoder::Done(source) };
        }
    }

    /// What the source of the bytes said, if that is why a decoder failed.
    fn failure(&self) -> Option<crate::error::Error> {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.failed.take().map(|error| fail(self.digest, error))
    }

    /// Reads what is left, and says what it all was.
    pub(super) fn finish(mut self) -> Result<End, Stop> {
        let mut buffer = vec![0; BUFFER];
        let mut broken = None;
        loop {
            match self.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                // The digest of the blob is worth knowing even so.
                Err(Stop::Damaged(reason)) => {
                    broken = Some(reason);
                    break;
                }
                Err(stop) => return Err(stop),
            }
        }
        let mut source = match std::mem::replace(&mut self.decoder, Decoder::Between) {
            Decoder::Gzip(decoder) => Some(decoder.into_inner()),
            Decoder::Zstd(decoder) => Some(decoder.finish()),
            Decoder::Plain(source) | Decoder::Done(source) => Some(source),
            Decoder::Between => None,
        };
        let trailing = match &mut source {
            Some(source) => io::copy(source, &mut io::sink()).map_err(|error| self.stop(error))?,
            None => 0,
        };
        let other = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).other.take();
        if let Some(reason) = broken.filter(|_| other.is_none()) {
            return Err(Stop::Damaged(reason));
        }
        let uncompressed_size = self.hasher.length();
        let (pieces, unmarked) = (self.pieces, self.unmarked);
        Ok(End { diff_id: self.hasher.finish(), uncompressed_size, pieces, unmarked, trailing, other })
    }

    fn stop(&self, error: io::Error) -> Stop {
        match self.failure() {
            Some(failed) => Stop::Failed(failed),
            None => Stop::Damaged(match error.into_inner() {
                Some(inner) => format!("it cannot be unpacked: {inner}"),
                None => "it cannot be unpacked: it is cut off or damaged".into(),
            }),
        }
    }
}

impl TarSource for Tape {
    type Error = Stop;

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Stop> {
        let count = loop {
            match self.unpack(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(|error| self.stop(error))?,
            }
        };
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        if self.hasher.length() > self.limit {
            return Err(self.limit("uncompressed bytes", self.limit));
        }
        Ok(count)
    }

    fn damaged(&self, reason: String) -> Stop {
        Stop::Damaged(reason)
    }

    fn unmarked_end(&mut self) -> Result<(), Stop> {
        self.unmarked = true;
        Ok(())
    }

    fn limit(&self, what: &'static str, limit: u64) -> Stop {
        Stop::Limit(format!("more than {limit} {what}"))
    }
}

fn fail(digest: Digest, source: io::Error) -> crate::error::Error {
    match source.downcast::<Error>() {
        Ok(known) => known.into(),
        Err(source) => Error::Stream { action: "read", object: format!("layer {digest}"), source }.into(),
    }
}
