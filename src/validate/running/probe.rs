//! Inside: imports, folders that can be written, GPUs. The image's own Python looks for them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::{Stand, host_gpus};
use crate::engine::{Container, unique_name};
use crate::error::Result;
use crate::text::find;
use crate::validate::findings::{Draft, Findings};

const PROBE: &str = include_str!("../../../layers/probe.py");
/// How long one import may take, and all of them.
const IMPORT_SECONDS: u64 = 60;
const PROBE_TIMEOUT: Duration = Duration::from_secs(600);
/// The most that is read of an answer, in bytes.
const ANSWER_LIMIT: usize = 1 << 20;
/// The most characters of a message that are shown.
const MESSAGE_LIMIT: usize = 300;

/// What the probe says. Whatever runs in the image could say it, too: it is the image that is judged by it.
#[derive(Deserialize)]
struct Answer {
    writable: Vec<String>,
    failed: BTreeMap<String, String>,
    gpus: Option<serde_json::Value>,
}

/// Looks from inside. Returns what could not be looked at.
pub(super) fn look(stand: &Stand<'_>, findings: &mut Findings<'_>) -> Result<Vec<String>> {
    let facts = &stand.facts;
    let Some(python) = &facts.python else {
        return Ok(vec!["imports and folders were not tried: the image has no Python".into()]);
    };
    let mut notes = Vec::new();
    let gpu = facts.gpu && host_gpus();
    if facts.gpu && !gpu {
        notes.push("GPUs were not looked for: this machine has none".into());
    }
    // Two containers: what can be written if the root is not read-only, and whether all can be imported if it is.
    let mut writing = stand.container();
    writing.read_only = false;
    writing.tmpfs.clear();
    let folders: Vec<&String> = facts.code.iter().chain(&facts.own).collect();
    let answer = ask(stand, python, writing, json!({ "folders": folders, "modules": [], "gpu": false }))?;
    match answer {
        Ok(answer) => {
            folders_are_right(stand, &answer, findings);
            let mut importing = stand.container();
            importing.gpus = gpu;
            let job = json!({ "folders": [], "modules": facts.modules, "gpu": gpu });
            match ask(stand, python, importing, job)? {
                Ok(answer) => imports_are_right(stand, python, &answer, findings),
                Err(said) => {
                    findings.add(Draft::new("run-import", python, "it did not answer while it imported").detail(said))
                }
            }
        }
        Err(said) => findings.add(Draft::new("run-starts", python, "the image's Python does not run").detail(said)),
    }
    Ok(notes)
}

/// Runs the probe in a container. The inner error is what the container said instead of an answer.
fn ask(
    stand: &Stand<'_>,
    python: &str,
    mut container: Container,
    mut job: serde_json::Value,
) -> Result<Result<Answer, String>> {
    let mark = unique_name("answer");
    if let Some(job) = job.as_object_mut() {
        job.insert("mark".into(), json!(mark));
        job.insert("seconds".into(), json!(IMPORT_SECONDS));
    }
    container.entrypoint = Some(vec![python.to_string()]);
    container.args = vec!["-c".into(), PROBE.into()];
    container.stdin = true;
    container.timeout = PROBE_TIMEOUT;
    let output = stand.engine.run_to_end(&container, job.to_string().as_bytes())?;
    stand.engine.refused(output.status.code(), &output.stderr_text())?;
    let answer = find(&output.stdout, mark.as_bytes()).and_then(|at| {
        let line = output.stdout.get(at + mark.len()..)?.split(|byte| *byte == b'\n').next()?;
        serde_json::from_slice::<Answer>(line.get(..line.len().min(ANSWER_LIMIT))?).ok()
    });
    Ok(answer.ok_or_else(|| super::service::last_lines(&output.stderr)))
}

fn folders_are_right(stand: &Stand<'_>, answer: &Answer, findings: &mut Findings<'_>) {
    let facts = &stand.facts;
    let can = |folder: &&String| answer.writable.contains(folder);
    let is_root = facts.user.is_some_and(|(uid, _)| uid == 0);
    for folder in facts.code.iter().filter(can).filter(|_| !is_root) {
        findings.add(Draft::new("run-code-writable", folder, "the user of the image can write here"));
    }
    for folder in facts.own.iter().filter(|folder| !can(folder)) {
        findings.add(Draft::new(
            "run-not-writable",
            folder,
            "it belongs to the user of the image, who cannot write here",
        ));
    }
}

fn imports_are_right(stand: &Stand<'_>, python: &str, answer: &Answer, findings: &mut Findings<'_>) {
    for (module, said) in answer.failed.iter().filter(|(module, _)| stand.facts.modules.contains(module)) {
        let said: String = said.lines().last().unwrap_or_default().chars().take(MESSAGE_LIMIT).collect();
        findings.add(Draft::new("run-import", module, said).detail(format!("{python} -c 'import {module}'")));
    }
    if let Some(gpus) = answer.gpus.as_ref().filter(|gpus| gpus.as_u64().is_none_or(|count| count == 0)) {
        findings.add(Draft::new("run-gpu", python, "the driver shows no GPU").detail(gpus.to_string()));
    }
}
