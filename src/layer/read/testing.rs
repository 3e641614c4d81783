//! Hand-made tars for tests: headers with any bytes, in any order.

use std::io::Write;

use crate::layer::{LayerBlob, Origin, Store};
use crate::oci::media_type::Compression;
use crate::oci::{Descriptor, Digest};

/// A tar under construction.
#[derive(Clone, Default)]
pub(crate) struct RawTar {
    pub bytes: Vec<u8>,
    owner: Option<(u32, u32)>,
}

impl RawTar {
    pub fn new() -> Self {
        RawTar::default()
    }

    /// A header with a stated size, and a body.
    pub fn raw(mut self, flag: u8, path: &[u8], link: &[u8], size: u64, mode: u32, body: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..path.len()].copy_from_slice(path);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.as_old_mut().linkflag[0] = flag;
        header.set_size(size);
        header.set_mode(mode);
        let (uid, gid) = self.owner.unwrap_or((1, 2));
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header.set_mtime(315_532_800);
        header.set_cksum();
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    /// Who owns what follows.
    pub fn owned(self, owner: (u32, u32)) -> Self {
        RawTar { owner: Some(owner), ..self }
    }
    pub fn file(self, path: &str, body: &[u8]) -> Self {
        self.raw(b'0', path.as_bytes(), b"", body.len() as u64, 0o644, body)
    }
    pub fn folder(self, path: &str) -> Self {
        self.raw(b'5', path.as_bytes(), b"", 0, 0o755, b"")
    }
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.raw(b'2', path.as_bytes(), target.as_bytes(), 0, 0o777, b"")
    }
    pub fn hardlink(self, path: &str, target: &str) -> Self {
        self.raw(b'1', path.as_bytes(), target.as_bytes(), 0, 0o644, b"")
    }
    pub fn special(self, flag: u8, path: &str) -> Self {
        self.raw(flag, path.as_bytes(), b"", 0, 0o644, b"")
    }
    /// An extension header: x, g, L or K.
    pub fn extension(self, flag: u8, body: &[u8]) -> Self {
        self.raw(flag, b"ext", b"", body.len() as u64, 0o644, body)
    }
    pub fn pax(self, records: &[(&str, &str)]) -> Self {
        let body: String = records.iter().map(|(key, value)| pax_record(key, value)).collect();
        self.extension(b'x', body.as_bytes())
    }
    pub fn end(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }
}

pub(crate) fn pax_record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length += 1;
    }
    format!("{length} {key}={value}\n")
}

pub(crate) fn compress(tar: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::None => tar.to_vec(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(tar).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => zstd::encode_all(tar, 1).unwrap(),
    }
}

/// Puts a tar into the store as a gzip layer.
pub(crate) fn layer(store: &Store, name: &str, tar: Vec<u8>) -> LayerBlob {
    let bytes = compress(&tar, Compression::Gzip);
    store.put(&bytes).unwrap();
    LayerBlob {
        descriptor: Descriptor::of(Compression::Gzip.media_type(), &bytes),
        diff_id: Digest::of(&tar),
        uncompressed_size: Some(tar.len() as u64),
        name: name.into(),
        created_by: String::new(),
        origin: Origin::Store,
    }
}
