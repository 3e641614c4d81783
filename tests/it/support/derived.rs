//! An image made of another one: its configuration changed, a layer on top.

use std::path::Path;

use ingot::oci::Digest;
use serde_json::{Value, json};

use super::Layout;

/// Copies the one image of `from` to `to`, with `edit` applied to its configuration's `config` and, if `tar` has entries,
/// a layer on top.
pub fn derive(from: &Path, to: &Path, edit: impl Fn(&mut Value), tar: Option<Vec<u8>>) {
    let base = Layout::open(from);
    let (mut manifest, mut config) = (base.manifest(), base.config());
    let blobs = to.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    for entry in std::fs::read_dir(from.join("blobs/sha256")).unwrap() {
        let entry = entry.unwrap();
        std::fs::hard_link(entry.path(), blobs.join(entry.file_name())).unwrap();
    }
    let put = |media: &str, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        // Not through a link: others may read the same blob now.
        let path = blobs.join(digest.hex());
        let _ = std::fs::remove_file(&path);
        std::fs::write(path, bytes).unwrap();
        json!({ "mediaType": media, "digest": digest, "size": bytes.len() })
    };
    edit(&mut config["config"]);
    if let Some(tar) = tar {
        let layer = put("application/vnd.oci.image.layer.v1.tar", &tar);
        manifest["layers"].as_array_mut().unwrap().push(layer);
        config["rootfs"]["diff_ids"].as_array_mut().unwrap().push(json!(Digest::of(&tar)));
        let entry = json!({ "created": "1980-01-01T00:00:00Z", "created_by": "a test" });
        config["history"].as_array_mut().unwrap().push(entry);
    }
    manifest["config"] = put("application/vnd.oci.image.config.v1+json", &serde_json::to_vec(&config).unwrap());
    let manifest = put("application/vnd.oci.image.manifest.v1+json", &serde_json::to_vec(&manifest).unwrap());
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    std::fs::write(to.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
    std::fs::copy(from.join("oci-layout"), to.join("oci-layout")).unwrap();
}

/// A tar of folders (`None`) and files, each with mode and owner.
pub fn tar_of(entries: &[(&str, Option<&[u8]>, u32, u64)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, body, mode, owner) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(if body.is_some() { tar::EntryType::Regular } else { tar::EntryType::Directory });
        header.set_mode(*mode);
        header.set_uid(*owner);
        header.set_gid(*owner);
        header.set_size(body.map_or(0, |body| body.len() as u64));
        tar.append_data(&mut header, path, body.unwrap_or_default()).unwrap();
    }
    tar.into_inner().unwrap()
}
