//! Values that are true or false, however they are written: `yes`, `on`, `"True"`, or what a variable gave. They are settled
//! once, when a stack is loaded: rules, manifests and the pinned file then read the same.

use super::ingot::KEY;
use super::node::{Node, Value};
use super::trouble::Trouble;

/// Keys whose values are true or false, wherever they stand. podman-compose takes every text for true.
const FLAGS: [&str; 22] = [
    "attach",
    "attachable",
    "create_host_path",
    "disable",
    "enable_ipv4",
    "enable_ipv6",
    "external",
    "init",
    "internal",
    "nocopy",
    "oom_kill_disable",
    "privileged",
    "read_only",
    "required",
    "stdin_open",
    "tty",
    "use_api_socket",
    "no_cache",
    "pull",
    "ignore",
    "prepend",
    "append",
];
/// Mappings whose keys are the user's own.
const FREE: [&str; 9] =
    ["annotations", "driver_opts", "environment", "extra_hosts", "labels", "logging", "options", "sysctls", "x-ingot"];

/// Makes true or false of every such value. `files` are the names of the stack's files.
pub fn settle(node: &mut Node, files: &[String]) -> Result<(), Trouble> {
    match &mut node.value {
        Value::List(list) => list.iter_mut().try_for_each(|node| settle(node, files)),
        Value::Map(map) => {
            for (key, (_, node)) in map.iter_mut().filter(|(key, _)| !FREE.contains(&key.as_str()) && *key != KEY) {
                match &node.value {
                    Value::Text(text) | Value::Number(text) if FLAGS.contains(&key.as_str()) => {
                        node.value = Value::Bool(flag(text).ok_or_else(|| Trouble::NoFlag {
                            file: files.get(node.place.file).cloned().unwrap_or_default(),
                            line: node.place.line,
                            key: key.clone(),
                            value: text.escape_debug().take(80).collect(),
                        })?);
                    }
                    _ => settle(node, files)?,
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn flag(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "1" => Some(true),
        "false" | "no" | "off" | "n" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::stack::{Request, Stack, check, policy};

    fn load(service: &str) -> crate::error::Result<Stack> {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("name: app\nservices:\n  web: {{image: i, {service}}}\n");
        std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
        let environment = [("ON".to_string(), "on".to_string())].into();
        Stack::load(&Request { folder: Some(folder.path().into()), environment, ..Request::default() })
    }

    #[test]
    fn rules_read_every_spelling() {
        for yes in ["true", "yes", "on", "'True'", "TRUE", "y", "'1'", "1", "'${ON}'", "'${API:-on}'"] {
            for (key, rule) in [("privileged", "privileged"), ("use_api_socket", "engine-socket")] {
                let stack = load(&format!("{key}: {yes}")).unwrap();
                let report = check(&stack, &policy(&[]).unwrap(), false);
                assert!(report.findings.iter().any(|finding| finding.rule == rule), "{key}: {yes}");
            }
            let stack = load(&format!("read_only: {yes}")).unwrap();
            let report = check(&stack, &policy(&[]).unwrap(), false);
            assert!(report.findings.iter().all(|finding| finding.rule != "writable-root"), "{yes}");
        }
        let error = load("privileged: maybe").map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "`compose.yaml`, line 3: `privileged` is `maybe`, expected true or false");
        assert_eq!(error.class().code(), 2);
    }
}
