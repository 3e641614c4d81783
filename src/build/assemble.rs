//! One image of its layers: history, labels, frozen documents, and the budget.

use super::layers::MadeLayer;
use super::{Built, Options};
use crate::error::Result;
use crate::image::Image;
use crate::layer::{LargeFile, LayerBlob};
use crate::oci::History;
use crate::plan::ImagePlan;
use crate::plan::budget::{self, Weight};

/// The label and annotation of an image whose size nobody checked.
pub const UNCHECKED_LABEL: &str = "ingot.size-check";

/// Puts the image together and weighs it.
pub fn assemble(plan: &ImagePlan, made: Vec<MadeLayer>, options: Options) -> Result<Built> {
    let mut config = plan.config.clone();
    let mut annotations = plan.annotations.clone();
    let mut layers: Vec<LayerBlob> = plan.base.layers.clone();
    let mut files: Vec<(String, LargeFile)> = Vec::new();
    let mut inputs = Vec::new();
    let mut own = Vec::new();
    for layer in made {
        let blob = &layer.built.blob;
        let history = History {
            created: Some(plan.epoch.rfc3339()),
            created_by: Some(blob.created_by.clone()),
            comment: Some("ingot".into()),
            author: None,
            empty_layer: false,
        };
        config.push_layer(blob.diff_id, history)?;
        files.extend(layer.largest.files.into_iter().map(|file| (blob.name.clone(), file)));
        inputs.extend(layer.largest.inputs);
        layers.push(blob.clone());
        own.push(layer.built);
    }
    let weight = Weight { layers: &layers, files: &files, inputs: &inputs };
    let title = format!("{} ({})", plan.name, plan.variant);
    let excesses = if options.no_size_check {
        let mut labels = config.labels();
        labels.insert(UNCHECKED_LABEL.into(), "skipped".into());
        config.set_labels(&labels);
        annotations.insert(UNCHECKED_LABEL.into(), "skipped".into());
        budget::excesses(&plan.budget, &weight)
    } else {
        budget::check(&title, &plan.budget, &weight)?;
        Vec::new()
    };
    let image = Image::new(config, layers, annotations)?;
    Ok(Built { variant: plan.variant.clone(), name: plan.name.clone(), image, layers: own, excesses })
}
