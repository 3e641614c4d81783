//! Rules: is every byte of the image what its documents say, and can every engine read it in the same way.

mod documents;
mod entries;
mod rules;
#[cfg(test)]
mod tests;

use super::findings::{Draft, Findings};
use super::subject::Subject;

pub(super) use rules::RULES;

/// Looks for them.
pub(super) fn look(subject: &Subject, findings: &mut Findings<'_>) {
    documents::look(subject, findings);
    layers(subject, findings);
    entries::look(subject, findings);
}

/// What was found wrong while a layer was read.
fn layers(subject: &Subject, findings: &mut Findings<'_>) {
    for layer in &subject.layers {
        let name = &layer.blob.name;
        for flaw in &layer.flaws {
            let digest = format!("blob {}", layer.blob.descriptor.digest);
            findings.add(Draft::new(flaw.rule, name, &flaw.message).detail(digest));
        }
        if layer.pieces > 1 {
            let message = format!("its blob is {} compressed streams, one after the other", layer.pieces);
            findings.add(Draft::new("layer-pieces", name, message));
        }
        if layer.unmarked {
            findings.add(Draft::new("layer-end", name, "its tar just ends, without two blocks of zeros"));
        }
        let refused: Vec<String> = layer.refused.clone();
        if let Some(first) = refused.first() {
            let more = refused.len() - 1;
            let more = if more == 0 { String::new() } else { format!(", and {more} more like it") };
            let mut draft = Draft::new("entry-refused", name, format!("{first}{more}"));
            for reason in refused {
                draft = draft.detail(reason);
            }
            findings.add(draft);
        }
    }
}
