//! Rules: what the CIS Docker Benchmark (section 4) and dockle ask of an image, as far as the image itself can say.

mod accounts;
mod files;
pub(super) mod packaged;
mod packages;
mod rules;
mod secrets;
mod settings;
#[cfg(test)]
mod tests;
pub(super) mod user;

use super::findings::{Draft, Findings};
use super::subject::Subject;
use crate::layer::LayerBlob;
use crate::plan::budget::{Weight, excesses};

pub(super) use rules::RULES;

/// Looks for them.
pub(super) fn look(subject: &Subject, findings: &mut Findings<'_>) {
    let packaged = packaged::Packaged::of(subject);
    if subject.has_config {
        user::look(subject, findings);
        settings::look(subject, findings);
    }
    accounts::look(subject, findings);
    files::look(subject, &packaged, findings);
    secrets::look(subject, &packaged, findings);
    packages::look(subject, findings);
    budget(subject, findings);
}

fn budget(subject: &Subject, findings: &mut Findings<'_>) {
    let layers: Vec<LayerBlob> = subject.layers.iter().map(|layer| layer.blob.clone()).collect();
    for excess in excesses(&subject.declared.budget, &Weight { layers: &layers, files: &[], inputs: &[] }) {
        findings.add(Draft::new("budget", "image", excess));
    }
}

/// "layer 2/3", of a layer counted from 0.
fn layer_name(subject: &Subject, layer: usize) -> &str {
    subject.layers.get(layer).map_or("a layer", |layer| layer.blob.name.as_str())
}
