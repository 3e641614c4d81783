//! GPUs that are asked for in words that the engine does not hear.

use std::path::Path;

use super::Checker;
use crate::engine::Kind;
use crate::fs;
use crate::stack::node::{Node, Value};

/// Where the specifications of devices are that podman knows GPUs by.
const CDI: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

pub fn look(checker: &mut Checker<'_>, name: &str, service: &Node) {
    let resources = service.get("deploy").and_then(|deploy| deploy.get("resources"));
    let reserved = resources.and_then(|resources| resources.get("reservations"));
    let devices = reserved.and_then(|reserved| reserved.get("devices"));
    let list = |node: Option<&Node>| node.and_then(Node::list).unwrap_or_default().to_vec();
    let gpus = service.get("gpus");
    for device in list(devices).iter().chain(&list(gpus)) {
        let is_short = gpus.is_some_and(|gpus| gpus.list().is_some_and(|all| all.contains(device)));
        if let Some(what) = misunderstood(device, is_short) {
            checker.add("gpu-ignored", device.place, format!("`{name}` {what}"));
        }
    }
    if let Some(node) = resources.and_then(|resources| resources.get("limits")?.get("devices")) {
        checker.add("gpu-ignored", node.place, format!("`{name}` asks for devices in `limits`, where nobody looks"));
    }
    if let Some(node) = reserved.and_then(|reserved| reserved.get("generic_resources")) {
        checker.add("gpu-ignored", node.place, format!("`{name}` has `generic_resources`, which only a swarm hears"));
    }
    if let Some(node) = gpus.filter(|gpus| gpus.value == Value::List(Vec::new())) {
        checker.add("gpu-ignored", node.place, format!("`{name}` asks for no GPU in `gpus`"));
    }
    let runtime = service.get("runtime").filter(|node| node.scalar() == Some("nvidia"));
    let asks = devices.is_some() || gpus.is_some();
    let wish = service.get("environment").and_then(|environment| environment.get("NVIDIA_VISIBLE_DEVICES"));
    let wants = wish.and_then(Node::scalar).is_some_and(|devices| !matches!(devices, "" | "none" | "void"));
    let podman = checker.stack.engine == Some(Kind::Podman);
    match (runtime, wish.filter(|_| wants && !asks)) {
        // NVIDIA's older form, which docker hears, or refuses.
        (Some(_), wish) if checker.stack.engine == Some(Kind::Docker) && (wish.is_some() || asks) => {}
        (Some(node), wish) if !podman && (wish.is_some() || asks) => {
            let what = "has `runtime: nvidia`, which docker knows and podman does not";
            checker.add_warning("gpu-ignored", node.place, format!("`{name}` {what}"));
        }
        (Some(node), _) => {
            let what = "has `runtime: nvidia`, which is no request: podman does not know it, and docker gives what an image wants";
            checker.add("gpu-ignored", node.place, format!("`{name}` {what}"));
        }
        (None, Some(wish)) => {
            let what = "sets NVIDIA_VISIBLE_DEVICES, but asks for no GPU";
            checker.add("gpu-ignored", wish.place, format!("`{name}` {what}"));
        }
        (None, None) => {}
    }
    if let Some(node) = devices.or(gpus).filter(|_| podman && !has_cdi()) {
        let what = "asks for GPUs, which podman knows by CDI only, and no device is described in /etc/cdi";
        checker.add("gpu-ignored", node.place, format!("`{name}` {what}"));
    }
}

/// Why a request is none.
fn misunderstood(device: &Node, is_short: bool) -> Option<&'static str> {
    let capabilities = device.get("capabilities").and_then(Node::list).unwrap_or_default();
    let named =
        |words: &[&str]| capabilities.iter().any(|node| node.scalar().is_some_and(|word| words.contains(&word)));
    let driver = device.get("driver").and_then(Node::scalar).unwrap_or_default();
    if device.get("count").is_some() && device.get("device_ids").is_some() {
        return Some("has `count` and `device_ids`");
    }
    if capabilities.is_empty() && !is_short {
        return Some("asks for a device without `capabilities`");
    }
    if driver == "nvidia"
        && !capabilities.is_empty()
        && !named(&["gpu", "compute", "utility", "graphics", "video", "display", "nvidia"])
    {
        return Some("asks for a device without `capabilities: [gpu]`");
    }
    let count = device.get("count").and_then(Node::scalar)?;
    let is_number = count == "all" || count.parse::<i64>().is_ok_and(|count| count == -1 || count > 0);
    (!is_number).then_some("asks for a `count` of devices that is none")
}

fn has_cdi() -> bool {
    CDI.iter().any(|folder| {
        let files = fs::read_dir(Path::new(folder)).unwrap_or_default();
        files.iter().any(|file| file.extension().is_some_and(|end| end == "yaml" || end == "json"))
    })
}
