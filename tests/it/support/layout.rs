//! An OCI layout as another program sees it: documents checked against their digests.

use std::path::{Path, PathBuf};

use ingot::oci::Digest;
use serde_json::Value;

use super::archive::{Member, members};

/// A folder in the form of the image layout specification.
pub struct Layout {
    folder: PathBuf,
}

impl Layout {
    /// The layout in a folder.
    #[track_caller]
    pub fn open(folder: &Path) -> Layout {
        let marker: Value = read_json(&folder.join("oci-layout"));
        assert_eq!(marker["imageLayoutVersion"], "1.0.0");
        Layout { folder: folder.to_owned() }
    }

    /// index.json.
    pub fn index(&self) -> Value {
        read_json(&self.folder.join("index.json"))
    }

    /// A blob, checked against its digest.
    #[track_caller]
    pub fn blob(&self, digest: &str) -> Vec<u8> {
        let path = self.folder.join("blobs").join(digest.replace(':', "/"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(Digest::of(&bytes).to_string(), digest, "the blob has another digest");
        bytes
    }

    /// The document that a descriptor points at, checked against digest and size.
    #[track_caller]
    pub fn document(&self, descriptor: &Value) -> Value {
        let bytes = self.blob(descriptor["digest"].as_str().unwrap());
        assert_eq!(Some(bytes.len() as u64), descriptor["size"].as_u64(), "the descriptor has another size");
        serde_json::from_slice(&bytes).unwrap()
    }

    /// The only manifest's descriptor.
    #[track_caller]
    pub fn descriptor(&self) -> Value {
        let index = self.index();
        let manifests = index["manifests"].as_array().unwrap();
        assert_eq!(manifests.len(), 1, "one image: {index}");
        manifests[0].clone()
    }

    /// The only manifest.
    #[track_caller]
    pub fn manifest(&self) -> Value {
        self.document(&self.descriptor())
    }

    /// The config of the only manifest.
    #[track_caller]
    pub fn config(&self) -> Value {
        self.document(&self.manifest()["config"])
    }

    /// The members of one layer, checked against its diff id.
    #[track_caller]
    pub fn layer(&self, number: usize) -> Vec<Member> {
        let digest = self.manifest()["layers"][number]["digest"].as_str().unwrap().to_owned();
        let (found, diff_id) = members(&self.blob(&digest));
        assert_eq!(self.config()["rootfs"]["diff_ids"][number], diff_id.as_str(), "the layer has another diff id");
        found
    }

    /// How many layers the image has.
    #[track_caller]
    pub fn layers(&self) -> usize {
        self.manifest()["layers"].as_array().unwrap().len()
    }
}

#[track_caller]
fn read_json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
