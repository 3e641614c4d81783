//! What a sandbox did, in words.

use serde::Serialize;

use crate::sandbox::{Check, Prepared, RunResult};
use crate::text::{self, Align, Table};

/// The most that is listed of what was not taken out.
const TOLD: usize = 10;

/// `ingot sandbox check`.
#[derive(Clone, Debug, Serialize)]
pub struct SandboxCheck {
    /// Whether every limit is in force.
    pub sound: bool,
    /// "podman 4.3.1".
    pub engine: String,
    /// As it was named.
    pub image: String,
    /// The engine's ID of it.
    pub image_id: String,
    /// Every limit.
    pub limits: Vec<Check>,
}

impl SandboxCheck {
    /// Of what the guard found.
    pub fn new(prepared: &Prepared, limits: Vec<Check>) -> Self {
        SandboxCheck {
            sound: limits.iter().all(|check| check.holds),
            engine: format!("{} {}", prepared.engine.kind(), prepared.engine.version()),
            image: prepared.name.clone(),
            image_id: prepared.image.id.clone(),
            limits,
        }
    }

    /// As a table.
    pub fn text(&self) -> String {
        let columns =
            [("limit", Align::Left), ("in force", Align::Left), ("asked", Align::Left), ("found", Align::Left)];
        let mut table = Table::new(columns);
        for check in &self.limits {
            let holds = if check.holds { "yes" } else { "NO" };
            table.row([check.name.clone(), holds.into(), check.asked.clone(), check.found.clone()]);
        }
        let state = if self.sound { "every limit is in force" } else { "not every limit is in force" };
        let (engine, image) = (text::escape(&self.engine), text::escape(&self.image));
        format!("{}\n{engine}, image {image}: {state}\n", table.render())
    }
}

/// How a run ended, in lines for stderr.
pub fn summary(result: &RunResult, output: Option<&str>) -> Vec<String> {
    let seconds = |ms: u64| format!("{}.{:02} s", ms / 1000, ms % 1000 / 10);
    let how = match (&result.signal, result.exit_code) {
        _ if result.timed_out => "its time was over".into(),
        (Some(_), _) if result.out_of_memory => "it was out of memory".into(),
        (Some(signal), _) => format!("ended by {signal}"),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => "it ended".into(),
    };
    let cpu = seconds(result.cpu_user_ms + result.cpu_system_ms);
    let memory = text::size(result.peak_memory_bytes);
    let mut lines = vec![format!("sandbox: {how} after {}, {cpu} of CPU, {memory} of memory", seconds(result.wall_ms))];
    for (name, stream) in [("stdout", &result.stdout), ("stderr", &result.stderr)] {
        if stream.truncated {
            lines.push(format!("sandbox: {name} was cut: it had {}", text::size(stream.bytes)));
        }
    }
    if let Some(folder) = output {
        let count = result.files.len();
        let bytes = result.files.iter().map(|file| file.size).sum();
        lines.push(format!(
            "sandbox: {count} file{} with {} in {folder}",
            if count == 1 { "" } else { "s" },
            text::size(bytes)
        ));
    }
    lines.extend(
        result.refused.iter().take(TOLD).map(|left| format!("sandbox: not taken: {}: {}", left.path, left.reason)),
    );
    if result.refused.len() > TOLD {
        lines.push(format!("sandbox: and {} more were not taken", result.refused.len() - TOLD));
    }
    if !result.weak.is_empty() {
        lines.push(format!("warning: not in force: {}", result.weak.join(", ")));
    }
    lines
}
