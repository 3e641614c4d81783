//! For tests: engines that are a few lines of shell.

use std::os::unix::fs::PermissionsExt;

use super::{Engine, Kind};

/// A program that does what `script` says, and the folder that it is in, until that is dropped.
pub(super) fn program(script: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = path.to_str().unwrap().to_string();
    (folder, program)
}

/// The same as an engine.
pub(super) fn fake(kind: Kind, script: &str) -> (tempfile::TempDir, Engine) {
    let (folder, program) = program(script);
    (folder, Engine { kind, program, version: "4.3.1".into() })
}
