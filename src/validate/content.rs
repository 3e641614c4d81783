//! What is remembered of a file once its bytes went by.

use super::elf::{self, Elf};
use crate::check::{Secret, secrets_in_file};
use crate::layer::TreePath;
use crate::layer::read::Member;
use crate::oci::Digest;

/// How many bytes of every file are kept.
pub const HEAD: usize = 256;
/// The largest file that is kept whole, in bytes.
const TEXT_LIMIT: u64 = 4 << 20;

/// What a file's bytes say.
#[derive(Clone, Debug, Default)]
pub struct Content {
    /// Its first [`HEAD`] bytes.
    pub head: Vec<u8>,
    /// The whole file, if a rule reads it (see [`keep`]).
    pub text: Option<Vec<u8>>,
    /// If it is a program or a shared library.
    pub elf: Option<Box<Elf>>,
    /// The secrets in it.
    pub secrets: Vec<Secret>,
    /// Its digest, if there are secrets in it.
    pub digest: Option<Digest>,
}

/// Looks at the bytes of a file.
pub(super) fn look(path: &TreePath, member: &Member, body: &[u8]) -> Content {
    let secrets = secrets_in_file(path.as_str(), body);
    Content {
        head: body.get(..HEAD.min(body.len())).unwrap_or_default().to_vec(),
        text: (member.size <= TEXT_LIMIT && keep(path)).then(|| body.to_vec()),
        elf: elf::read(body).map(Box::new),
        digest: (!secrets.is_empty()).then(|| Digest::of(body)),
        secrets,
    }
}

/// Whether rules read the whole file.
fn keep(path: &TreePath) -> bool {
    let (path, name) = (path.as_str(), path.name());
    let named = matches!(path, "etc/passwd" | "etc/group" | "etc/shadow" | "etc/os-release" | "usr/lib/os-release");
    let loader = path.starts_with("etc/ld.so.") || path.starts_with("etc/ld-musl-");
    let packages = matches!(path, "var/lib/dpkg/status" | "lib/apk/db/installed")
        || path.starts_with("var/lib/dpkg/status.d/")
        || path.starts_with("var/lib/dpkg/info/") && name.ends_with(".list");
    let python = name == "pyvenv.cfg"
        || path.contains(".dist-info/")
            && matches!(name, "METADATA" | "WHEEL" | "RECORD" | "top_level.txt" | "entry_points.txt");
    let eggs =
        path.contains("-packages/") && (name.ends_with(".egg-info") || name.ends_with(".pth") || name == "PKG-INFO");
    let launcher = path == crate::runtime::LAUNCHER_PATH;
    named || loader || packages || python || eggs || launcher
}
