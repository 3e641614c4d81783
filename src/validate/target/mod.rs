//! Rules: what the place where the image will run takes (`--target`). Nothing is checked of places that nobody named.

mod profile;

#[cfg(test)]
mod tests;

use super::findings::{Draft, Findings, brief};
use super::rule::Declared;
use super::subject::Subject;
use crate::check::Severity;
use crate::layer::BaseKind;
use crate::oci::media_type::Compression;
use profile::{Index, profile};
pub use profile::{Profile, profiles};

/// The rules of this group.
pub(super) const RULES: &[Declared] = &[
    Declared {
        id: "target-layers",
        severity: Severity::Error,
        title: "more layers than the place takes",
        why: "The pull fails at its end: \"max depth exceeded\".",
        fix: "Put layers together: fewer wheels with a layer of their own, or a base with fewer layers.",
        breaks: "126 layers and `--target docker20`",
        passes: "two layers and the same",
    },
    Declared {
        id: "target-size",
        severity: Severity::Error,
        title: "more bytes than the place takes",
        why: "The image is refused when it is deployed.",
        fix: "Leave out what is not needed, or fetch it when the service starts.",
        breaks: "an image that is larger than its target's limit",
        passes: "the same and `--target lambda`, which takes 10 GB",
    },
    Declared {
        id: "target-index",
        severity: Severity::Error,
        title: "an index of images where one image is wanted",
        why: "The image is refused when it is deployed.",
        fix: "Push the image for one platform by itself.",
        breaks: "an index and `--target lambda`",
        passes: "the image in it and the same",
    },
    Declared {
        id: "target-compression",
        severity: Severity::Error,
        title: "layers that the place cannot unpack",
        why: "Older engines know gzip alone.",
        fix: "Build with `--compression gzip`.",
        breaks: "zstd layers and `--target docker20`",
        passes: "zstd layers and `--target docker23`",
    },
    Declared {
        id: "target-architecture",
        severity: Severity::Error,
        title: "a platform that the place does not run",
        why: "The image is refused, or ends with \"exec format error\".",
        fix: "Build for a platform that the place has.",
        breaks: "an arm64 image and `--target cloud-run`",
        passes: "an amd64 image and the same",
    },
    Declared {
        id: "target-user",
        severity: Severity::Error,
        title: "a user that the place does not accept",
        why: "Kubernetes with `runAsNonRoot` refuses root, and names, of which it cannot tell who they are.",
        fix: "Set a numeric user other than 0: `[user] uid`.",
        breaks: "`User: app` and `--target kubernetes-restricted`",
        passes: "`User: 1001` and the same",
    },
    Declared {
        id: "target-folder",
        severity: Severity::Error,
        title: "a working folder that the place does not make",
        why: "The container does not start: \"workdir does not exist on container\".",
        fix: "Add the folder to the image.",
        breaks: "`WorkingDir: /srv/app` without such a folder and `--target podman`",
        passes: "`WorkingDir: /app`, which is there, and the same",
    },
];

/// Looks for them.
pub(super) fn look(subject: &Subject, findings: &mut Findings<'_>) {
    for profile in subject.declared.targets.iter().filter_map(|name| profile(name)) {
        documents(subject, profile, findings);
        user(subject, profile, findings);
        folder(subject, profile, findings);
    }
}

fn documents(subject: &Subject, profile: &Profile, findings: &mut Findings<'_>) {
    let name = profile.name;
    let count = subject.manifest.layers.len();
    if let Some(most) = profile.layers.filter(|most| count > *most) {
        let message = format!("{count} layers; {name} takes {most}");
        findings.add(Draft::new("target-layers", "manifest.layers", message));
    }
    let size: u64 = subject.layers.iter().filter_map(|layer| layer.blob.uncompressed_size).sum();
    if let Some(most) = profile.size.filter(|most| size > *most) {
        let (size, most) = (crate::text::size(size), crate::text::size(most));
        let message = format!("{size} unpacked; {name} takes {most}");
        findings.add(Draft::new("target-size", "manifest.layers", message));
    }
    if subject.in_index && profile.index == Index::Never {
        let message = format!("it is in an index; {name} takes an image for one platform");
        findings.add(Draft::new("target-index", "manifest", message));
    }
    let of_zstd = subject
        .manifest
        .layers
        .iter()
        .filter(|layer| Compression::of_layer(&layer.media_type).is_ok_and(|kind| kind == Compression::Zstd))
        .count();
    if of_zstd > 0 && !profile.zstd {
        let message = format!("{of_zstd} of {count} layers are packed with zstd, which {name} cannot unpack");
        findings.add(Draft::new("target-compression", "manifest.layers", message));
    }
    // Of an index, the place takes what it can run.
    let chosen = subject.in_index && profile.index == Index::Chooses;
    let platform = &subject.platform;
    let runs = platform.os == "linux" && profile.architectures.contains(&platform.architecture.as_str());
    if !profile.architectures.is_empty() && !runs && !chosen {
        let message = format!("it is for {platform}; {name} runs linux on {}", profile.architectures.join(" or "));
        findings.add(Draft::new("target-architecture", "config.architecture", message));
    }
}

fn user(subject: &Subject, profile: &Profile, findings: &mut Findings<'_>) {
    let field = subject.config.get("User").and_then(|user| user.as_str()).unwrap_or_default();
    let user = field.split(':').next().unwrap_or_default();
    let problem = match user.parse::<u32>() {
        Ok(0) => "it is root",
        Ok(_) => return,
        Err(_) if user.is_empty() => "none is set: it is root",
        Err(_) => "it is a name",
    };
    if profile.numeric_user {
        let message = format!("`{}`: {problem}; {} wants a number other than 0", brief(field), profile.name);
        findings.add(Draft::new("target-user", "config.User", message));
    }
}

fn folder(subject: &Subject, profile: &Profile, findings: &mut Findings<'_>) {
    let folder = subject.config.get("WorkingDir").and_then(|folder| folder.as_str()).unwrap_or_default();
    if !profile.makes_folder && !folder.trim_matches('/').is_empty() {
        let found = subject.root.follow(folder).and_then(|real| subject.root.entry(&real));
        if found.is_none_or(|entry| entry.kind != BaseKind::Directory) {
            let message = format!("`{}` is no folder of the image; {} does not make it", brief(folder), profile.name);
            findings.add(Draft::new("target-folder", "config.WorkingDir", message));
        }
    }
}
