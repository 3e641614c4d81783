//! What people and programs read of plans, images and builds: plain values, as text or as JSON.

pub mod doctor;
pub mod files;
pub mod image;
pub mod metadata;
pub mod plan;

/// Indented JSON with sorted keys.
pub fn json<T: serde::Serialize>(value: &T) -> String {
    let sorted: serde_json::Value =
        serde_json::from_slice(&crate::oci::json::canonical(value)).unwrap_or(serde_json::Value::Null);
    serde_json::to_string_pretty(&sorted).unwrap_or_default()
}

/// `REF@sha256:...`: where an artifact is, and which.
pub fn receipt(receipt: &crate::image::Receipt) -> String {
    let place = receipt.reference.as_ref().map_or_else(|| receipt.destination.clone(), ToString::to_string);
    format!("{}@{}\n", crate::text::escape(&place), receipt.digest)
}
