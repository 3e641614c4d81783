//! What people and programs read of plans, images and builds: plain values, as text or as JSON.

pub mod check;
pub mod doctor;
pub mod files;
pub mod fix;
pub mod image;
pub mod junit;
pub mod lock;
pub mod metadata;
pub mod node;
pub mod os;
pub mod plan;
pub mod sandbox;
pub mod sarif;
pub mod stack;

/// Indented JSON with sorted keys.
pub fn json<T: serde::Serialize>(value: &T) -> String {
    let sorted: serde_json::Value =
        serde_json::from_slice(&crate::oci::json::canonical(value)).unwrap_or(serde_json::Value::Null);
    serde_json::to_string_pretty(&sorted).unwrap_or_default()
}

/// `REF@sha256:...`: where an artifact is, and which. In a file it is where the file is, whatever it is called in it.
pub fn receipt(receipt: &crate::image::Receipt) -> String {
    let in_file = ["oci:", "oci-archive:", "docker-archive:"].iter().any(|kind| receipt.destination.starts_with(kind));
    let reference = receipt.reference.as_ref().filter(|_| !in_file);
    let place = reference.map_or_else(|| receipt.destination.clone(), ToString::to_string);
    format!("{}@{}\n", crate::text::escape(&place), receipt.digest)
}
