//! Rules at run time: the image is started with podman or docker, locked down, and looked at from outside and inside.
//!
//! Every container is hardened ([`Container::hardened`]): no network, a read-only root, no capabilities. It is removed
//! when its check is over, also after Ctrl-C. An image that the engine did not have is removed again.

mod facts;
mod host;
mod launcher;
mod probe;
mod service;

use super::findings::Findings;
use super::rule::Declared;
use super::subject::Subject;
use crate::check::{Policy, Report, Severity};
use crate::engine::{Container, Engine, KnownImage, unique_name};
use crate::error::Result;
use crate::image::{Access, BaseImage};
use crate::oci::Platform;
use facts::Facts;

/// The memory of a container, in bytes, its processes, and the size of each writable folder.
const MEMORY: u64 = 2 << 30;
const PIDS: u32 = 512;
const FOLDER: u64 = 64 << 20;

/// The rules of this group.
pub(in crate::validate) const RULES: &[Declared] = &[
    Declared {
        id: "run-starts",
        severity: Severity::Error,
        title: "the image's own command ends at once with an error, or cannot be started at all",
        why: "So it would in production, after it was shipped.",
        fix: "read what it says; what it needs besides a network and writable folders belongs into the image",
        breaks: "a command that exits with 3",
        passes: "a server that stays",
    },
    Declared {
        id: "run-user",
        severity: Severity::Error,
        title: "the process has another user than the configuration says, or is root",
        why: "Whoever breaks out of a process of root is root.",
        fix: "set a numeric user that is not 0, `[user]` in ingot.toml",
        breaks: "no `User`",
        passes: "`User` 1001:1001",
    },
    Declared {
        id: "run-launcher",
        severity: Severity::Error,
        title: "Ingot's launcher starts the command though a required variable is wrong, or refuses the right ones",
        why: "`require-env` is the promise that a wrong environment is noticed at the start.",
        fix: "build the image again; do not replace the launcher",
        breaks: "a launcher that checks nothing",
        passes: "the launcher of the build",
    },
    Declared {
        id: "run-code-writable",
        severity: Severity::Warning,
        title: "the user of the image can write into a folder of its code",
        why: "A hole in the application becomes a changed application.",
        fix: "let root own the code (Ingot does); run the container with a read-only root",
        breaks: "`/app` of user 1001",
        passes: "`/app` of root",
    },
    Declared {
        id: "run-not-writable",
        severity: Severity::Error,
        title: "the user of the image cannot write into a folder that is its own",
        why: "The application writes there.",
        fix: "look at the mode of the folder and of those above it",
        breaks: "a folder of user 1001 below one with mode 700 of root",
        passes: "a folder of user 1001",
    },
    Declared {
        id: "run-import",
        severity: Severity::Error,
        title: "a package of the environment cannot be imported",
        why: "It would fail the first time that the application uses it.",
        fix: "read the message: most often a shared library or another distribution is missing",
        breaks: "a package that imports a module that is not there",
        passes: "the same with the module",
    },
    Declared {
        id: "run-healthcheck",
        severity: Severity::Error,
        title: "the health check does not pass within its own timing",
        why: "Engines and stacks wait for it, then give up.",
        fix: "read what it says; if it needs other services, skip this rule: there is no network here",
        breaks: "a check that exits with 1",
        passes: "a check that asks the server",
    },
    Declared {
        id: "run-gpu",
        severity: Severity::Error,
        title: "an image for GPUs sees none, though the engine has one",
        why: "It would compute on the CPU, or not at all.",
        fix: "set `NVIDIA_VISIBLE_DEVICES` and `NVIDIA_DRIVER_CAPABILITIES` (compute,utility) in `[env]`",
        breaks: "no image of the tests: their machines have no GPU",
        passes: "any image for CPUs",
    },
];

/// One image in one engine.
struct Stand<'a> {
    subject: &'a Subject,
    engine: &'a Engine,
    image: KnownImage,
    facts: Facts,
}

/// Runs the image and looks at it with the rules that the policy has on.
pub fn run(subject: &Subject, image: &BaseImage, engine: &Engine, access: &Access, policy: &Policy) -> Result<Report> {
    let host = Platform::host();
    let skipped = |why: String| Report { notes: vec![format!("not run: {why}")], ..Report::default() };
    if !host.satisfies(&subject.platform) {
        return Ok(skipped(format!("the image is for {}, this machine is {host}", subject.platform)));
    }
    if !subject.is_sound() {
        return Ok(skipped("it is damaged".into()));
    }
    let findings = &mut Findings::new(policy);
    let guest = host::Guest::new(image, engine, access)?;
    let stand = Stand { subject, engine, image: guest.image()?, facts: Facts::of(subject) };
    let mut notes = vec![format!("ran with {} {}", engine.kind(), engine.version())];
    notes.extend(service::look(&stand, findings)?);
    launcher::look(&stand, findings)?;
    notes.extend(probe::look(&stand, findings)?);
    let mut report = std::mem::replace(findings, Findings::new(policy)).report(subject);
    (report.files, report.bytes, report.notes) = (0, 0, notes);
    Ok(report)
}

/// Whether this machine has an NVIDIA GPU that a driver serves.
fn host_gpus() -> bool {
    crate::fs::exists("/dev/nvidiactl".as_ref())
}

impl Stand<'_> {
    /// A hardened container of the image with its own user, environment and command; folders that the image's user has
    /// for data are writable.
    fn container(&self) -> Container {
        let name = unique_name("ingot-validate");
        let mut container = Container::hardened(&self.image.id, &name).with_label("ingot.validate", "1");
        container.limits.memory = Some(MEMORY);
        container.limits.pids = Some(PIDS);
        container.env = self.facts.required.clone();
        container.overridden.volumes = self.image.inherited.volumes.clone();
        for folder in self.facts.data.iter().chain(&self.image.inherited.volumes) {
            if container.tmpfs.iter().any(|tmpfs| tmpfs.path == *folder) {
                continue;
            }
            container = match self.facts.user {
                Some((uid, group)) if uid != 0 && self.facts.own.contains(folder) => {
                    container.with_own_tmpfs(folder, FOLDER, (uid, group.unwrap_or(0)))
                }
                _ => container.with_tmpfs(folder, FOLDER),
            };
        }
        container
    }
}
