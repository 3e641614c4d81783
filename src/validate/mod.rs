//! `ingot validate`: rules over a finished image, whoever built it. No engine is needed.
//!
//! A [`Subject`] is an image that was read once, from its documents to the content of every file; rules look at it
//! and at nothing else. Each group of rules has a file, which declares its rules ([`rule`]) and looks for them.
//! What cannot be read at all is a finding too: a damaged image never stops the other rules.

mod content;
mod elf;
mod findings;
mod gpu;
mod hardening;
mod integrity;
mod layer;
mod link;
mod python;
mod rule;
pub mod running;
mod start;
mod subject;
mod tape;
mod target;

#[cfg(test)]
mod fixture;

pub use findings::Findings;
pub use rule::{markdown, rules};
pub use subject::{Declared, Subject};
pub use target::{Profile, profiles};

use crate::check::{Policy, Report};

/// Looks at an image with every rule that the policy has on.
pub fn validate(subject: &Subject, policy: &Policy) -> Report {
    let mut findings = Findings::new(policy);
    integrity::look(subject, &mut findings);
    hardening::look(subject, &mut findings);
    // Without a configuration, what starts and on what is not known; without a layer, nor is what there is.
    let is_known = subject.has_config && subject.is_whole();
    if is_known {
        start::look(subject, &mut findings);
        link::look(subject, &mut findings);
        gpu::look(subject, &mut findings);
    }
    if subject.has_config {
        target::look(subject, &mut findings);
    }
    let mut report = findings.report(subject);
    if !is_known {
        report.notes.push("not all of the image could be read: what it starts and links was not looked at".into());
    }
    report
}
