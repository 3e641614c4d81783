//! What a build made: the lines on stdout, and the metadata file with the field names that CI users know from
//! BuildKit (`containerimage.digest`, `containerimage.descriptor`, `image.name`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use crate::build::{Built, Outcome};
use crate::image::{Artifact, Receipt};
use crate::oci::Descriptor;
use crate::plan::{ImagePlan, Plan};
use crate::report::node::NodeLines;
use crate::report::os::OsLines;

/// One layer.
#[derive(Serialize)]
pub struct LayerReport {
    name: String,
    #[serde(flatten)]
    descriptor: Descriptor,
    diff_id: String,
    uncompressed_size: Option<u64>,
    cached: bool,
    milliseconds: u64,
}

/// One image of an artifact.
#[derive(Serialize)]
pub struct ImageReport {
    platform: String,
    digest: String,
    size: u64,
    layers: Vec<LayerReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os: Option<OsLines>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<NodeLines>,
}

/// One artifact: an image, or an index.
#[derive(Serialize)]
pub struct ArtifactReport {
    variant: String,
    #[serde(rename = "image.name")]
    name: String,
    #[serde(rename = "containerimage.digest")]
    digest: String,
    #[serde(rename = "containerimage.descriptor")]
    descriptor: Descriptor,
    images: Vec<ImageReport>,
    outputs: Vec<Receipt>,
}

/// `ingot build`.
#[derive(Serialize)]
#[serde(transparent)]
pub struct BuildReport {
    artifacts: Vec<ArtifactReport>,
}

impl BuildReport {
    /// Of what was built, and what was written of each artifact. Two variants may be the same image: what was written
    /// of one is not what was written of the other.
    pub fn new(
        plan: &Plan,
        outcome: &Outcome,
        artifacts: &[(String, String, Artifact)],
        receipts: Vec<Vec<Receipt>>,
    ) -> Self {
        let report =
            |((variant, name, artifact), outputs): (&(String, String, Artifact), Vec<Receipt>)| ArtifactReport {
                variant: variant.clone(),
                name: references(&outputs).unwrap_or_else(|| name.clone()),
                digest: artifact.digest().to_string(),
                descriptor: artifact.root().descriptor.clone(),
                images: outcome
                    .images
                    .iter()
                    .filter(|built| built.variant == *variant)
                    .map(|built| image(plan, built))
                    .collect(),
                outputs,
            };
        BuildReport { artifacts: artifacts.iter().zip(receipts).map(report).collect() }
    }
}

/// What the artifact can be pulled or run as, as BuildKit joins it; nothing if it has no such name.
fn references(receipts: &[Receipt]) -> Option<String> {
    let names: BTreeSet<String> =
        receipts.iter().filter_map(|receipt| Some(receipt.reference.as_ref()?.to_string())).collect();
    (!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join(","))
}

fn image(plan: &Plan, built: &Built) -> ImageReport {
    let same = |image: &&ImagePlan| image.variant == built.variant && image.platform == built.image.platform;
    let planned = plan.images.iter().find(same);
    let os = planned.and_then(|image| image.base.os.as_ref());
    let node = planned.and_then(|image| image.node.as_ref());
    let own: BTreeMap<_, _> = built.layers.iter().map(|layer| (layer.blob.descriptor.digest, layer)).collect();
    let layer = |blob: &crate::layer::LayerBlob| {
        let made = own.get(&blob.descriptor.digest);
        LayerReport {
            name: blob.name.clone(),
            descriptor: blob.descriptor.clone(),
            diff_id: blob.diff_id.to_string(),
            uncompressed_size: blob.uncompressed_size,
            cached: made.is_none_or(|made| made.cached),
            milliseconds: made.map_or(0, |made| u64::try_from(made.elapsed.as_millis()).unwrap_or(u64::MAX)),
        }
    };
    ImageReport {
        platform: built.image.platform.to_string(),
        digest: built.image.digest().to_string(),
        size: built.image.compressed_size(),
        layers: built.image.layers.iter().map(layer).collect(),
        os: os.map(OsLines::new),
        node: node.map(NodeLines::new),
    }
}

/// `REF@sha256:...`, a line for each place that was written to.
pub fn lines(report: &BuildReport) -> String {
    let mut out = String::new();
    for artifact in &report.artifacts {
        for receipt in &artifact.outputs {
            out.push_str(&super::receipt(receipt));
        }
    }
    out
}

/// The metadata file: the one artifact, or, of several, an object by variant.
pub fn file(report: &BuildReport) -> String {
    let value: Value = match &report.artifacts[..] {
        [only] => json!(only),
        several => several.iter().map(|artifact| (artifact.variant.clone(), json!(artifact))).collect(),
    };
    format!("{}\n", super::json(&value))
}
