//! What is installed of the distribution's packages, and what was not done for them.

use serde::Serialize;

use crate::debian::{PrivilegedFile, ScriptNotRun};
use crate::plan::os::Os;
use crate::text::{Align, Table, size};

/// One package.
#[derive(Serialize)]
struct PackageLine {
    name: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<String>,
    architecture: String,
    suite: String,
    sha256: String,
    reason: String,
}

/// The layer of OS packages.
#[derive(Serialize)]
pub struct OsLines {
    packages: Vec<PackageLine>,
    omitted: Vec<(String, Vec<String>)>,
    held_back: Vec<String>,
    not_run: Vec<ScriptNotRun>,
    privileged: Vec<PrivilegedFile>,
    notes: Vec<String>,
    left_out: u64,
}

impl OsLines {
    /// Of a planned layer.
    pub fn new(os: &Os) -> Self {
        let line = |package: &crate::lock::LockedPackage| PackageLine {
            name: package.name.clone(),
            version: package.version.clone(),
            old: os.old.get(&package.name).cloned(),
            architecture: package.architecture.clone(),
            suite: package.suite.clone(),
            sha256: package.sha256.0.to_string(),
            reason: package.reason.clone(),
        };
        OsLines {
            packages: os.packages.iter().map(line).collect(),
            omitted: os.omitted.clone(),
            held_back: os.held_back.clone(),
            not_run: os.report.not_run.clone(),
            privileged: os.report.privileged.clone(),
            notes: os.report.notes.clone(),
            left_out: os.report.left_out,
        }
    }

    /// For people: a table of the packages, and what is to be known of them.
    pub fn text(&self) -> String {
        let columns =
            [("package", Align::Left), ("version", Align::Left), ("in the base", Align::Left), ("why", Align::Left)];
        let mut table = Table::new(columns);
        for package in &self.packages {
            let old = package.old.clone().unwrap_or_else(|| "-".into());
            table.row([package.name.clone(), package.version.clone(), old, package.reason.clone()]);
        }
        let mut out = table.render();
        self.remarks().iter().for_each(|remark| out.push_str(&format!("{}\n", crate::text::escape(remark))));
        out
    }

    /// What is to be known of the packages, a line each.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if !self.omitted.is_empty() {
            let names: Vec<&str> = self.omitted.iter().map(|(name, _)| name.as_str()).collect();
            remarks.push(format!("not installed, because only maintainer scripts need them: {}", names.join(", ")));
        }
        remarks.extend(self.held_back.iter().map(|text| format!("held back: {text}")));
        for script in &self.not_run {
            let reason = script.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            remarks.push(format!("not run: {} of {}{reason}", script.script, script.package));
        }
        for file in &self.privileged {
            remarks.push(format!("runs with its owner's rights: {} ({:o}) of {}", file.path, file.mode, file.package));
        }
        remarks.extend(self.notes.iter().cloned());
        if self.left_out > 0 {
            remarks.push(format!("left out of packages: {} of documentation and translations", size(self.left_out)));
        }
        remarks
    }
}
