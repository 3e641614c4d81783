//! Rules: CUDA where there is a GPU and nowhere else, once, and for the GPU and the driver that will be there.

mod cuda;
mod driver;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::elf::Cuda;
use super::findings::{Draft, Findings};
use super::python::Pythons;
use super::rule::Declared;
use super::subject::Subject;
use crate::check::Severity;
use cuda::Installed;

/// How many things a finding names.
const NAMED: usize = 20;

/// The rules of this group.
pub(super) const RULES: &[Declared] = &[
    Declared {
        id: "gpu-twice",
        severity: Severity::Warning,
        title: "CUDA libraries in the base and in the environment",
        why: "Hundreds of megabytes are pulled twice, and which of both is loaded depends on search paths.",
        fix: "Take a base without CUDA's libraries (`base` instead of `runtime`, or the plain system) for wheels that bring them, or wheels that use the base's.",
        breaks: "`libcublas.so.12` in `/usr/local/cuda/lib64` and in `nvidia/cublas/lib`",
        passes: "the same in `nvidia/cublas/lib` alone",
    },
    Declared {
        id: "gpu-unneeded",
        severity: Severity::Warning,
        title: "CUDA in an image that is for no GPU",
        why: "CUDA's libraries are the greatest part of such an image, and nothing uses them without a GPU.",
        fix: "Lock the builds for CPUs (local version `+cpu`) for this variant; or say that it is for a GPU: `[gpu]` in ingot.toml, or NVIDIA_VISIBLE_DEVICES in its environment.",
        breaks: "`nvidia-cublas-cu12` in an image that says nothing of GPUs",
        passes: "the same with `NVIDIA_VISIBLE_DEVICES=all`",
    },
    Declared {
        id: "gpu-driver",
        severity: Severity::Error,
        title: "a CUDA that the declared driver does not support",
        why: "CUDA says \"driver version is insufficient for CUDA runtime version\" at its first call.",
        fix: "Take wheels or a base for an older CUDA, or newer drivers on the hosts (`[gpu] driver`).",
        breaks: "`nvidia-cuda-runtime` 13.0 with `[gpu] driver = \"535\"`",
        passes: "12.4 with the same driver",
    },
    Declared {
        id: "gpu-architecture",
        severity: Severity::Error,
        title: "libraries without code for a declared GPU",
        why: "\"no kernel image is available for execution on the device\": machine code runs on GPUs of its own major number only, PTX on its own architecture and later ones.",
        fix: "Take a build for that GPU.",
        breaks: "a library with code for `sm_80` alone, and `[gpu] arch = [\"sm_90\"]`",
        passes: "the same with PTX of 80 in it",
    },
];

/// Looks for them.
pub(super) fn look(subject: &Subject, findings: &mut Findings<'_>) {
    let pythons = Pythons::of(subject);
    let installed = Installed::of(subject, &pythons);
    twice(&installed, findings);
    unneeded(subject, &installed, findings);
    driver(subject, &installed, findings);
    architectures(subject, &pythons, findings);
}

/// Families of libraries that both have.
fn twice(installed: &Installed, findings: &mut Findings<'_>) {
    let mut both = Vec::new();
    let mut size = 0;
    for (family, base) in &installed.base {
        let Some(own) = installed.environment.get(family) else { continue };
        size += own.iter().map(|library| library.size).sum::<u64>();
        let first = |all: &[cuda::Library]| all.first().map(|one| one.path.clone()).unwrap_or_default();
        both.push((family, first(base), first(own)));
    }
    let Some((_, _, place)) = both.first() else { return };
    let names: Vec<&str> = both.iter().map(|(family, ..)| family.as_str()).collect();
    let message = format!("{} in the base and in the environment: {} twice", named(&names), crate::text::size(size));
    let draft = Draft::new("gpu-twice", place.clone(), message);
    let details = both.iter().take(NAMED).map(|(family, base, own)| format!("{family}: {base} and {own}"));
    findings.add(details.fold(draft, Draft::detail));
}

fn unneeded(subject: &Subject, installed: &Installed, findings: &mut Findings<'_>) {
    if is_for_gpu(subject) || !installed.base.is_empty() {
        return;
    }
    let Some((info, _)) = installed.distributions.first() else { return };
    let size: u64 = installed.environment.values().flatten().map(|library| library.size).sum();
    let names: Vec<&str> = installed.distributions.iter().map(|(_, name)| name.as_str()).collect();
    let weight = if size == 0 { String::new() } else { format!(" ({} of CUDA's libraries)", crate::text::size(size)) };
    let message = format!("{} for GPUs{weight}, and the image says nothing of one", named(&names));
    let draft = Draft::new("gpu-unneeded", info.clone(), message);
    findings.add(installed.distributions.iter().take(NAMED).fold(draft, |draft, (_, name)| draft.detail(name.clone())));
}

/// Whether the project, or the image itself, says that it will have a GPU.
fn is_for_gpu(subject: &Subject) -> bool {
    let devices = subject.config.env_var("NVIDIA_VISIBLE_DEVICES").unwrap_or_default();
    subject.declared.gpu.is_some()
        || !matches!(devices.as_str(), "" | "void" | "none")
        || subject.config.env().iter().any(|pair| pair.starts_with("NVIDIA_REQUIRE_CUDA="))
}

fn driver(subject: &Subject, installed: &Installed, findings: &mut Findings<'_>) {
    let Some(own) = subject.declared.gpu.as_ref().and_then(|gpu| gpu.driver) else { return };
    for (version, from) in &installed.versions {
        let Some(needed) = driver::oldest(*version).filter(|needed| *needed > own) else { continue };
        let ((major, minor), Some((place, what))) = (*version, from.first()) else { continue };
        let message = format!(
            "{what} is for CUDA {major}.{minor}, which needs driver {}.{} or later; the hosts have {}",
            needed.0, needed.1, own.0
        );
        let draft = Draft::new("gpu-driver", place.clone(), message);
        findings.add(from.iter().take(NAMED).fold(draft, |draft, (_, what)| draft.detail(what.clone())));
    }
}

/// Of each package, what all its libraries have together: some have one library for each GPU.
fn architectures(subject: &Subject, pythons: &Pythons<'_>, findings: &mut Findings<'_>) {
    let Some(gpu) = subject.declared.gpu.as_ref().filter(|gpu| !gpu.arch.is_empty()) else { return };
    let mut packages: BTreeMap<String, (Cuda, Vec<String>)> = BTreeMap::new();
    for (path, fact) in subject.files() {
        let Some(cuda) = fact.content.elf.as_deref().and_then(|elf| elf.cuda.as_deref()) else { continue };
        let place = pythons.package_of(path).or_else(|| path.parent().map(|folder| folder.to_string()));
        let (all, files) = packages.entry(place.unwrap_or_default()).or_default();
        all.extend(cuda);
        files.push(format!("/{path}: {}", cuda.told()));
    }
    for (package, (cuda, files)) in packages {
        let missing: Vec<String> =
            gpu.arch.iter().filter(|number| !cuda.runs_on(**number)).map(|number| format!("sm_{number}")).collect();
        if missing.is_empty() {
            continue;
        }
        let message = format!("nothing in it runs on {}: it has {}", missing.join(", "), cuda.told());
        let draft = Draft::new("gpu-architecture", format!("/{package}"), message);
        findings.add(files.into_iter().take(NAMED).fold(draft, Draft::detail));
    }
}

/// "a, b, c and 4 more".
fn named(names: &[&str]) -> String {
    let shown: Vec<&str> = names.iter().take(3).copied().collect();
    match names.len().saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
