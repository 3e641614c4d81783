//! What would be built.

use serde::Serialize;

use crate::build::LayerState;
use crate::layer::Lookup;
use crate::plan::{ImagePlan, Plan};
use crate::report::node::NodeLines;
use crate::report::os::OsLines;
use crate::text::{Align, Table, escape, escape_lines, size};

/// How many reasons of a miss are shown.
const REASONS_SHOWN: usize = 3;

/// One layer.
#[derive(Serialize)]
pub struct LayerLine {
    name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    reasons: Vec<String>,
}

/// One image.
#[derive(Serialize)]
pub struct ImageLine {
    variant: String,
    platform: String,
    base: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_digest: Option<String>,
    target: Option<String>,
    layers: Vec<LayerLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    os: Option<OsLines>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<NodeLines>,
}

/// `ingot plan`.
#[derive(Serialize)]
pub struct PlanReport {
    images: Vec<ImageLine>,
}

impl PlanReport {
    /// Of a plan and what the layer cache says of it.
    pub fn new(plan: &Plan, states: &[Vec<LayerState>]) -> Self {
        PlanReport { images: plan.images.iter().zip(states).map(|(image, states)| line(image, states)).collect() }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for image in &self.images {
            out.push_str(&escape(&format!("{} for {}", image.variant, image.platform)));
            out.push_str(&escape(&image.target.as_ref().map(|t| format!(": {t}")).unwrap_or_default()));
            out.push('\n');
            let columns =
                [("layer", Align::Left), ("state", Align::Left), ("size", Align::Right), ("why", Align::Left)];
            let mut table = Table::new(columns);
            for layer in &image.layers {
                let mut why: Vec<String> = layer.reasons.iter().take(REASONS_SHOWN).cloned().collect();
                if layer.reasons.len() > REASONS_SHOWN {
                    why.push(format!("{} more", layer.reasons.len() - REASONS_SHOWN));
                }
                let size = layer.size.map_or("-".into(), size);
                table.row([layer.name.clone(), layer.state.into(), size, why.join(", ")]);
            }
            out.push_str(&table.render());
            if let Some(os) = &image.os {
                out.push('\n');
                out.push_str(&os.text());
            }
            if let Some(node) = &image.node {
                out.push('\n');
                out.push_str(&escape_lines(&node.text()));
            }
            out.push('\n');
        }
        // A blank line between images, none behind the last.
        out.pop();
        out
    }
}

fn line(image: &ImagePlan, states: &[LayerState]) -> ImageLine {
    let mut layers: Vec<LayerLine> = image
        .base
        .layers
        .iter()
        .map(|layer| LayerLine {
            name: layer.name.clone(),
            state: "base",
            digest: Some(layer.descriptor.digest.to_string()),
            size: Some(layer.descriptor.size),
            reasons: Vec::new(),
        })
        .collect();
    layers.extend(image.layers.iter().zip(states).map(|(source, state)| {
        let name = source.source.name().to_string();
        match &state.lookup {
            Lookup::Hit(record) => LayerLine {
                name,
                state: "hit",
                digest: Some(record.descriptor.digest.to_string()),
                size: Some(record.descriptor.size),
                reasons: Vec::new(),
            },
            Lookup::Miss(reasons) => {
                LayerLine { name, state: "miss", digest: None, size: None, reasons: reasons.clone() }
            }
        }
    }));
    ImageLine {
        variant: image.variant.clone(),
        platform: image.platform.to_string(),
        base: image.base.name.clone(),
        base_digest: image.base.root_digest.map(|digest| digest.to_string()),
        target: image.target.as_ref().map(ToString::to_string),
        layers,
        os: image.base.os.as_ref().map(OsLines::new),
        node: image.node.as_ref().map(NodeLines::new),
    }
}
