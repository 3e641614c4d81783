//! Memory, processors and GPUs.

use serde_json::{Map as Object, Value as Json, json};

use super::read;
use super::translation::{Translation, place_of, put, shown};
use crate::stack::node::{Node, Value};

/// Limits and requests of a service's container.
pub(super) fn translate(translation: &mut Translation<'_>, name: &str, service: &Node) -> Json {
    let resources = service.get("deploy").and_then(|deploy| deploy.get("resources"));
    let nothing = Node::new(service.place, Value::Null);
    let limits = resources.and_then(|resources| read::some(resources, "limits")).unwrap_or(&nothing);
    let reserved = resources.and_then(|resources| read::some(resources, "reservations")).unwrap_or(&nothing);
    let mut read_one = |tables: [(&Node, &str); 2], read: fn(&str) -> Option<u64>, like: &str| -> Option<u64> {
        let (table, key) = tables.into_iter().find(|(table, key)| read::some(table, key).is_some())?;
        let text = read::text(table, key)?;
        let amount = read(text);
        if amount.is_none() && !text.starts_with('-') {
            let what = format!("`{}` in `{key}` of `{name}` is no amount", shown(text));
            translation.refuse(place_of(table, key), &what, &format!("write `{like}`"));
        }
        amount.filter(|amount| *amount > 0)
    };
    let memory = read_one([(limits, "memory"), (service, "mem_limit")], read::bytes, "512m");
    let memory_reserved = read_one([(reserved, "memory"), (service, "mem_reservation")], read::bytes, "256m");
    let mut cores = read_one([(limits, "cpus"), (service, "cpus")], read::millicores, "0.5");
    let mut cores_reserved = read_one([(reserved, "cpus"), (&nothing, "")], read::millicores, "0.5");
    let quota = |key: &str| read::text(service, key).and_then(|text| read::number(text, u64::from(u32::MAX)));
    if let (None, Some(quota)) = (cores, quota("cpu_quota")) {
        // The kernel's own period is a tenth of a second.
        let period = quota_period(quota_or(read::text(service, "cpu_period")));
        cores = Some((quota * 1000).div_ceil(period)).filter(|cores| *cores > 0);
    }
    if let (None, Some(shares)) = (cores_reserved, quota("cpu_shares")) {
        // 1024 shares are one processor, for the kubelet, too.
        let wanted = (shares * 1000).div_ceil(1024);
        match cores {
            Some(limit) if wanted > limit => {
                translation.lose("cpu_shares", place_of(service, "cpu_shares"), &format!("`cpu_shares` of `{name}`"));
            }
            _ => cores_reserved = Some(wanted).filter(|wanted| *wanted > 0),
        }
    }
    for (what, limit, request) in [("memory", memory, memory_reserved), ("cpus", cores, cores_reserved)] {
        if let (Some(limit), Some(request)) = (limit, request)
            && request > limit
        {
            let what = format!("`{name}` reserves more {what} than its limit");
            translation.refuse(reserved.place, &what, "reserve at most the limit");
        }
    }
    processes(translation, name, service, limits);
    let (mut at_most, mut at_least) = (Object::new(), Object::new());
    for (device, count) in gpus(translation, name, service, reserved) {
        at_most.insert(device, json!(count.to_string()));
    }
    put(&mut at_most, "cpu", cores.map(|cores| json!(read::cores(cores))));
    put(&mut at_most, "memory", memory.map(|bytes| json!(read::quantity(bytes))));
    put(&mut at_least, "cpu", cores_reserved.map(|cores| json!(read::cores(cores))));
    put(&mut at_least, "memory", memory_reserved.map(|bytes| json!(read::quantity(bytes))));
    let mut all = Object::new();
    put(&mut all, "limits", Some(Json::Object(at_most)));
    put(&mut all, "requests", Some(Json::Object(at_least)));
    Json::Object(all)
}

fn quota_or(period: Option<&str>) -> u64 {
    period.and_then(|text| read::number(text, u64::from(u32::MAX))).unwrap_or(0)
}

fn quota_period(period: u64) -> u64 {
    if period == 0 { 100_000 } else { period }
}

/// A limit of processes is the kubelet's.
fn processes(translation: &mut Translation<'_>, name: &str, service: &Node, limits: &Node) {
    for (table, key) in [(service, "pids_limit"), (limits, "pids")] {
        let limit = read::text(table, key).unwrap_or("0");
        if limit != "0" && !limit.starts_with('-') {
            translation.lose(
                "pids_limit",
                place_of(table, key),
                &format!("the limit of {} processes of `{name}`", shown(limit)),
            );
            return;
        }
    }
}

/// Devices by the names that plugins offer them under, and how many.
fn gpus(translation: &mut Translation<'_>, name: &str, service: &Node, reserved: &Node) -> Vec<(String, u64)> {
    let mut found: Vec<(String, u64)> = Vec::new();
    let gpus = service.get("gpus");
    if let Some(node) = gpus.filter(|node| node.scalar().is_some()) {
        translation.lose(
            "gpus",
            node.place,
            &format!("`gpus: {}` of `{name}`", shown(node.scalar().unwrap_or_default())),
        );
    }
    let devices = read::list(reserved, "devices").iter().map(|device| (device, false));
    let listed = gpus.and_then(Node::list).unwrap_or_default().iter().map(|device| (device, true));
    for (device, gpu) in devices.chain(listed) {
        let asks = gpu || read::list(device, "capabilities").iter().any(|word| word.scalar() == Some("gpu"));
        let vendor = match read::text(device, "driver") {
            None | Some("nvidia") => Some("nvidia.com/gpu"),
            Some("amd") => Some("amd.com/gpu"),
            Some(_) => None,
        };
        let count = read::text(device, "count").and_then(|count| read::number(count, 1024)).filter(|count| *count > 0);
        match (vendor.filter(|_| asks), count, device.get("device_ids")) {
            (Some(vendor), Some(count), None) => match found.iter_mut().find(|(name, _)| name == vendor) {
                Some((_, sum)) => *sum += count,
                None => found.push((vendor.to_string(), count)),
            },
            (Some(_), _, _) => translation.lose("gpus", device.place, &format!("which GPUs `{name}` asks for")),
            (None, _, _) => translation.lose("devices", device.place, &format!("a device that `{name}` asks for")),
        }
    }
    if let (true, None, Some("nvidia")) = (found.is_empty(), gpus, read::text(service, "runtime")) {
        let what = format!("`runtime: nvidia` of `{name}`, without a number of GPUs");
        translation.lose("gpus", place_of(service, "runtime"), &what);
    }
    if let Some(generic) = read::some(reserved, "generic_resources") {
        translation.lose("devices", generic.place, &format!("`generic_resources` of `{name}`"));
    }
    found
}
