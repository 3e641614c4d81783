//! The configuration: health check, labels, environment, entrypoint, ports, name.

use serde_json::Value;

use super::user;
use crate::image::ImageName;
use crate::layer::{BaseKind, TreePath};
use crate::oci::Reference;
use crate::validate::findings::{Draft, Findings, brief};
use crate::validate::subject::Subject;

/// What the labels or annotations should tell, after `org.opencontainers.image.`.
const LABELS: [&str; 5] = ["title", "version", "revision", "source", "base.digest"];
/// Variables that put code into every process.
const PRELOADS: [&str; 2] = ["LD_PRELOAD", "LD_AUDIT"];
/// Variables that list folders in which code is looked for.
const SEARCHED: [&str; 3] = ["PATH", "LD_LIBRARY_PATH", "PYTHONPATH"];
/// The first port that everybody may listen on.
const PRIVILEGED: u64 = 1024;
/// The most folders and ports that are told.
const TOLD: usize = 20;

pub(super) fn look(subject: &Subject, findings: &mut Findings<'_>) {
    healthcheck(subject, findings);
    labels(subject, findings);
    environment(subject, findings);
    entrypoint(subject, findings);
    ports(subject, findings);
    latest(subject, findings);
}

fn healthcheck(subject: &Subject, findings: &mut Findings<'_>) {
    let test = subject.config.get("Healthcheck").and_then(|check| check.get("Test"));
    let words = test.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let message = match words.first().and_then(Value::as_str) {
        None | Some("") => "there is none",
        Some("NONE") => "it is switched off",
        Some(_) => return,
    };
    findings.add(Draft::new("healthcheck-missing", "config.Healthcheck", message));
}

fn labels(subject: &Subject, findings: &mut Findings<'_>) {
    let labels = subject.config.labels();
    let has = |name: &&&str| {
        let key = format!("org.opencontainers.image.{name}");
        labels.get(&key).or_else(|| subject.manifest.annotations.get(&key)).is_some_and(|value| !value.is_empty())
    };
    let missing: Vec<String> = LABELS.iter().filter(|name| !has(name)).map(|name| format!("`{name}`")).collect();
    if !missing.is_empty() {
        let message = format!("of `org.opencontainers.image.*`, there is no {}", missing.join(", "));
        findings.add(Draft::new("labels-missing", "config.Labels", message));
    }
}

fn environment(subject: &Subject, findings: &mut Findings<'_>) {
    let value = |name: &str| subject.config.env_var(name).filter(|value| !value.is_empty());
    for name in PRELOADS {
        if let Some(value) = value(name) {
            let message = format!("`{name}` puts `{}` into every process", brief(&value));
            findings.add(Draft::new("env-preload", "config.Env", message));
        }
    }
    for name in SEARCHED {
        let Some(value) = value(name) else { continue };
        let odd = value.split(':').find(|folder| !folder.starts_with('/'));
        if let Some(odd) = odd {
            let what = if odd.is_empty() { "an empty entry".into() } else { format!("`{}`", brief(odd)) };
            let message = format!("`{name}` has {what}, which is wherever the process is at the moment");
            findings.add(Draft::new("path-relative", "config.Env", message));
        }
    }
    path_writable(subject, &value("PATH").unwrap_or_default(), findings);
}

/// Folders of `PATH` that the image's own user, or everybody, may change.
fn path_writable(subject: &Subject, path: &str, findings: &mut Findings<'_>) {
    let user = user::ids(subject).map(|(user, _)| user).filter(|user| *user != 0);
    let is_writable = |folder: &&str| {
        let entry = TreePath::new(folder.trim_end_matches('/')).ok().and_then(|path| subject.root.entry(&path));
        entry.filter(|entry| entry.kind == BaseKind::Directory).is_some_and(|entry| {
            entry.mode & 0o002 != 0 || user.is_some_and(|user| entry.uid == user && entry.mode & 0o200 != 0)
        })
    };
    let folders = path.split(':').filter(|folder| folder.starts_with('/') && folder.len() > 1).take(TOLD);
    let folders = folders.filter(is_writable).map(brief).collect();
    findings.extend(Draft::about("path-writable", "config.Env", folders, |count| match count {
        1 => "`PATH` leads to this folder, and the image's user may put programs into it".into(),
        count => format!("`PATH` leads to {count} folders into which the image's user may put programs"),
    }));
}

fn entrypoint(subject: &Subject, findings: &mut Findings<'_>) {
    let first = |field: &'static str| {
        let program = subject.config.get(field)?.get(0)?.as_str()?;
        Some((field, program))
    };
    let Some((field, program)) = first("Entrypoint").or_else(|| first("Cmd")) else { return };
    if program.contains('/') && !program.starts_with('/') {
        let message = format!("`{}` depends on the folder that the container is started in", brief(program));
        findings.add(Draft::new("entrypoint-relative", format!("config.{field}"), message));
    }
}

fn ports(subject: &Subject, findings: &mut Findings<'_>) {
    let Some(Value::Object(ports)) = subject.config.get("ExposedPorts") else { return };
    let number = |port: &String| port.split('/').next()?.parse::<u64>().ok();
    let low = ports.keys().filter(|port| number(port).is_some_and(|number| number < PRIVILEGED));
    let low: Vec<String> = low.take(TOLD).map(|port| format!("`{}`", brief(port))).collect();
    if !low.is_empty() {
        let message = format!("{} needs a right that a hardened container does not have", low.join(", "));
        findings.add(Draft::new("port-privileged", "config.ExposedPorts", message));
    }
}

/// Names that lead to another image tomorrow: the image's own, its base's.
fn latest(subject: &Subject, findings: &mut Findings<'_>) {
    let moves =
        |reference: &Reference| reference.digest().is_none() && reference.tag().is_none_or(|tag| tag == "latest");
    let own = subject.image.as_ref().and_then(|image| match &image.name {
        ImageName::Registry(reference) => Some(reference.clone()),
        ImageName::ContainersStorage(name) | ImageName::DockerDaemon(name) => name.parse().ok(),
        _ => None,
    });
    if let Some(reference) = own.filter(|reference| moves(reference)) {
        let message = format!("`{}` is another image when the next one is pushed", reference.name());
        findings.add(Draft::new("tag-latest", "image", message));
    }
    let labels = subject.config.labels();
    let label = |name: &str| labels.get(&format!("org.opencontainers.image.base.{name}"));
    let base = label("name").and_then(|name| name.parse::<Reference>().ok());
    if let Some(base) = base.filter(|base| moves(base) && label("digest").is_none()) {
        let message = format!("the base is `{}`, whatever that was on that day", brief(&base.to_string()));
        findings.add(Draft::new("tag-latest", "config.Labels", message));
    }
}
