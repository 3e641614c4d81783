//! Every service of a stack, held against the rules.

use super::error::Error;
use super::fit::amount;
use super::ingot::is_cast;
use super::load::Stack;
use super::node::{Node, Place};
use super::ports::is_every;
use super::rule::rules;
use super::secrets;
use crate::check::{Evidence, Finding, Policy, Report, Severity};
use crate::error::Result;
use crate::project::RulesSpec;

/// The rule that cannot be switched off.
pub const ENGINE_SOCKET: &str = "engine-socket";

/// Capabilities that are no way out of a container.
const HARMLESS: [&str; 17] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
    "SYS_NICE",
    "WAKE_ALARM",
];
/// Runtimes of containers that engines are set up with, and how families of them begin; every other name, and a path, is a
/// program of the host.
const RUNTIMES: [&str; 4] = ["krun", "runc", "sysbox-runc", "youki"];
const FAMILIES: [&str; 5] = ["crun", "io.containerd.", "kata", "nvidia", "runsc"];

/// Collects the findings of one stack.
pub(super) struct Checker<'a> {
    pub stack: &'a Stack,
    policy: &'a Policy,
    pub production: bool,
    /// The service that is looked at, before each finding.
    service: String,
    found: Vec<(String, Finding)>,
}

/// Holds a stack against every rule that is on. `production`: what is let pass in development is an error.
pub fn check(stack: &Stack, policy: &Policy, production: bool) -> Report {
    let findings = together(inspect(stack, policy, production));
    let mut report = Report { findings, files: stack.files.len(), ..Report::default() };
    report.sort();
    report
}

/// The rules with those of `--skip` off. Nobody can switch off that a service gets the engine.
pub fn policy(skip: &[String]) -> Result<Policy> {
    if let Some(rule) = skip.iter().find(|rule| *rule == ENGINE_SOCKET) {
        return Err(Error::Always { rule: rule.clone() }.into());
    }
    Policy::new(rules(), &RulesSpec::default(), skip, "docs/stack.md")
}

/// The findings, each with the service that it is about.
pub(super) fn inspect(stack: &Stack, policy: &Policy, production: bool) -> Vec<(String, Finding)> {
    let mut checker = Checker { stack, policy, production, service: String::new(), found: Vec::new() };
    for (name, place) in &stack.unset {
        checker.add("variable-unset", *place, format!("`{name}` has no value"));
    }
    for (name, service) in stack.services() {
        checker.service = name.to_string();
        privileges(&mut checker, name, service);
        namespaces(&mut checker, name, service);
        aside(&mut checker, name, service);
        mounts::look(&mut checker, name, service);
        ports(&mut checker, name, service);
        limits(&mut checker, name, service);
        upkeep(&mut checker, name, service);
        gpu::look(&mut checker, name, service);
        secrets::look(&mut checker, name, service);
        secrets::spoken(&mut checker, name, service);
        development::look(&mut checker, name, service);
    }
    secrets::files(&mut checker);
    let mut found = checker.found;
    // A secret that is empty because its variable has no value is told once.
    let place = |finding: &Finding| (finding.path.clone(), finding.line);
    let is_empty = |finding: &&Finding| finding.rule == "secret-value" && finding.message.ends_with(secrets::EMPTY);
    let empty: Vec<_> = found.iter().map(|(_, finding)| finding).filter(is_empty).map(place).collect();
    found.retain(|(_, finding)| finding.rule != "variable-unset" || !empty.contains(&place(finding)));
    found
}

/// Findings of one place that several services have, as one that names the first and counts the others.
fn together(found: Vec<(String, Finding)>) -> Vec<Finding> {
    let mut all: Vec<(String, String, usize, Finding)> = Vec::new();
    for (service, finding) in found {
        let quoted = format!("`{service}`");
        let text = finding.message.replacen(&quoted, "``", 1);
        let same = |(_, known, _, other): &&mut (String, String, usize, Finding)| {
            *known == text
                && (&other.rule, &other.path, other.line, other.severity)
                    == (&finding.rule, &finding.path, finding.line, finding.severity)
                && !service.is_empty()
        };
        match all.iter_mut().find(same) {
            Some((_, _, more, _)) => *more += 1,
            None => all.push((quoted, text, 0, finding)),
        }
    }
    let told = |(quoted, _, more, mut finding): (String, String, usize, Finding)| {
        if more > 0 {
            finding.message = finding.message.replacen(&quoted, &format!("{quoted} (and {more} more)"), 1);
        }
        finding
    };
    all.into_iter().map(told).collect()
}

impl Checker<'_> {
    pub fn add(&mut self, rule: &'static str, place: Place, message: String) {
        self.add_secret(rule, place, message, None, false);
    }

    /// What is no error here, although it is one elsewhere.
    pub fn add_warning(&mut self, rule: &'static str, place: Place, message: String) {
        let known = self.found.len();
        self.add(rule, place, message);
        for (_, finding) in self.found.iter_mut().skip(known).filter(|(_, finding)| finding.severity == Severity::Error)
        {
            finding.severity = Severity::Warning;
        }
    }

    /// With what was seen of a secret; `worse` makes an error of it.
    pub fn add_secret(
        &mut self,
        rule: &'static str,
        place: Place,
        message: String,
        evidence: Option<Evidence>,
        worse: bool,
    ) {
        let at = (self.stack.file(place), Some(place.line));
        if let Some(mut finding) = self.policy.finding(rule, at, message, evidence) {
            if worse {
                finding.severity = Severity::Error;
            }
            self.found.push((self.service.clone(), finding));
        }
    }
}

fn is_true(node: Option<&Node>) -> bool {
    node.and_then(Node::scalar) == Some("true")
}

/// The texts of a list.
fn texts<'a>(service: &'a Node, key: &str) -> impl Iterator<Item = (&'a str, Place)> {
    let list = service.get(key).and_then(Node::list).unwrap_or_default();
    list.iter().filter_map(|node| Some((node.scalar()?, node.place)))
}

fn privileges(checker: &mut Checker<'_>, name: &str, service: &Node) {
    if let Some(node) = service.get("privileged").filter(|node| is_true(Some(node))) {
        checker.add("privileged", node.place, format!("`{name}` is privileged"));
    }
    for (capability, place) in texts(service, "cap_add") {
        let short = capability.to_ascii_uppercase();
        if !HARMLESS.contains(&short.trim_start_matches("CAP_")) {
            checker.add("capability-added", place, format!("`{name}` gets {capability}"));
        }
    }
    if !texts(service, "cap_drop").any(|(capability, _)| capability.eq_ignore_ascii_case("all")) {
        checker.add("capabilities-kept", service.place, format!("`{name}` keeps the engine's capabilities"));
    }
    let mut closed = false;
    for (option, place) in texts(service, "security_opt") {
        let option = option.trim().to_ascii_lowercase().replace('=', ":");
        closed |= matches!(option.as_str(), "no-new-privileges" | "no-new-privileges:true");
        let off = option.ends_with(":unconfined")
            || matches!(option.as_str(), "label:disable" | "no-new-privileges:false")
            || option.starts_with("unmask")
            || option.starts_with("label:type:") && (option.contains("spc_t") || option.contains("unconfined"));
        if off {
            checker.add("security-off", place, format!("`{name}` has {option}"));
        }
    }
    if !closed {
        checker.add("new-privileges", service.place, format!("`{name}` may gain privileges"));
    }
    let user = service.get("user");
    // An empty one is none, and nothing before the colon is root.
    let who = user.and_then(Node::scalar).filter(|user| !user.is_empty()).and_then(|user| user.split(':').next());
    let place = user.map_or(service.place, |user| user.place);
    match who {
        Some(who) if who.is_empty() || is_root(who) => {
            checker.add("root-user", place, format!("`{name}` runs as root"))
        }
        None if !is_cast(service) => checker.add("root-user", place, format!("`{name}` runs as whom its image says")),
        _ => {}
    }
    if !is_true(service.get("read_only")) {
        checker.add("writable-root", service.place, format!("`{name}` can write to its root"));
    }
}

/// A namespace of the host, or of somebody who is not in the stack.
fn is_foreign(node: &&Node) -> bool {
    let mode = node.scalar().unwrap_or_default();
    mode == "host" || mode.starts_with("container:") || mode.starts_with("ns:")
}

fn namespaces(checker: &mut Checker<'_>, name: &str, service: &Node) {
    for key in ["pid", "ipc", "uts", "userns_mode", "cgroup"] {
        if let Some(node) = service.get(key).filter(is_foreign) {
            let mode = node.scalar().unwrap_or_default();
            checker.add("host-namespace", node.place, format!("`{name}` has {key}: {mode}"));
        }
    }
    if let Some(node) = service.get("network_mode").filter(is_foreign) {
        checker.add(
            "host-network",
            node.place,
            format!("`{name}` has network_mode: {}", node.scalar().unwrap_or_default()),
        );
    }
    if let Some(node) = service.get("cgroup_parent") {
        checker.add("cgroup-parent", node.place, format!("`{name}` is put into another group"));
    }
    for key in ["devices", "device_cgroup_rules"] {
        for device in service.get(key).and_then(Node::list).unwrap_or_default() {
            let shown = device.scalar().or_else(|| device.get("source")?.scalar()).unwrap_or_default();
            checker.add("device", device.place, format!("`{name}` gets `{shown}`"));
        }
    }
}

/// What is run beside the container's own command, and what its image is built with.
fn aside(checker: &mut Checker<'_>, name: &str, service: &Node) {
    for key in ["post_start", "pre_stop"] {
        for hook in service.get(key).and_then(Node::list).unwrap_or_default() {
            if is_true(hook.get("privileged")) {
                checker.add("privileged", hook.place, format!("`{name}` has a privileged `{key}`"));
            }
            if hook.get("user").and_then(Node::scalar).is_some_and(is_root) {
                checker.add("root-user", hook.place, format!("`{key}` of `{name}` runs as root"));
            }
        }
    }
    if let Some(build) = service.get("build") {
        let insecure = texts(build, "entitlements").any(|(right, _)| right == "security.insecure");
        if is_true(build.get("privileged")) || insecure {
            checker.add("privileged", build.place, format!("the image of `{name}` is built privileged"));
        }
        if build.get("network").and_then(Node::scalar) == Some("host") {
            checker.add("host-network", build.place, format!("the image of `{name}` is built in the host's network"));
        }
        let more = build.get("additional_contexts");
        let named = more.and_then(Node::map).into_iter().flat_map(|all| all.values().map(|(_, node)| node));
        for context in
            build.get("context").into_iter().chain(named).chain(more.and_then(Node::list).unwrap_or_default())
        {
            // `NAME=PATH` in a list.
            let path = context.scalar().map(|text| text.split_once('=').map_or(text, |(_, path)| path));
            host::copied(checker, name, path.unwrap_or_default(), context.place);
        }
    }
    for (group, place) in texts(service, "group_add").filter(|(group, _)| is_root(group) || *group == "docker") {
        checker.add("root-user", place, format!("`{name}` gets the group `{group}`"));
    }
    for (from, place) in texts(service, "volumes_from").filter(|(from, _)| from.starts_with("container:")) {
        checker.add("host-mount", place, format!("`{name}` gets the volumes of {from}, which is not of this stack"));
    }
    if let Some(path) = service.get("logging").and_then(|logging| logging.get("options")?.get("path")) {
        host::mounted(checker, name, path.scalar().unwrap_or_default(), path.place);
    }
    if let Some((node, runtime)) = service.get("runtime").and_then(|node| Some((node, node.scalar()?))) {
        let is_name = runtime.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        let is_known = RUNTIMES.contains(&runtime) || FAMILIES.iter().any(|family| runtime.starts_with(family));
        if !(runtime.is_empty() || is_name && is_known) {
            checker.add("provider", node.place, format!("`{name}` has the runtime `{runtime}`, a program of the host"));
        }
    }
    if let Some(provider) = service.get("provider") {
        checker.add("provider", provider.place, format!("`{name}` is a program of the host"));
    }
}

fn is_root(who: &str) -> bool {
    who == "root" || who.parse::<u64>() == Ok(0)
}

fn ports(checker: &mut Checker<'_>, name: &str, service: &Node) {
    for port in service.get("ports").and_then(Node::list).unwrap_or_default() {
        let field = |key: &str| port.get(key).and_then(Node::scalar).unwrap_or_default();
        let (published, host) = (field("published"), field("host_ip"));
        let shown = match published.is_empty() {
            true => format!("{} at a port of the engine's choice,", field("target")),
            false => published.to_string(),
        };
        // An address that somebody chose is a choice.
        if is_every(host) {
            checker.add("port-public", port.place, format!("`{name}` publishes {shown} on every address"));
        }
        let first = published.split('-').next().and_then(|port| port.parse::<u16>().ok());
        if first.is_some_and(|port| (1..1024).contains(&port)) {
            checker.add("port-low", port.place, format!("`{name}` takes port {published} of the host"));
        }
    }
}

fn limits(checker: &mut Checker<'_>, name: &str, service: &Node) {
    let limits = service.get("deploy").and_then(|deploy| deploy.get("resources")?.get("limits"));
    for (rule, key, below, what) in [
        ("memory-limit", "mem_limit", "memory", "memory"),
        ("cpu-limit", "cpus", "cpus", "CPU time"),
        ("pids-limit", "pids_limit", "pids", "processes"),
    ] {
        // A share of every period of the scheduler is one of CPU time, too.
        let quota = service.get("cpu_quota").filter(|_| key == "cpus");
        let all = [service.get(key), limits.and_then(|limits| limits.get(below)), quota];
        if !all.into_iter().flatten().filter_map(Node::scalar).any(is_amount) {
            checker.add(rule, service.place, format!("`{name}` has no limit of {what}"));
        }
    }
}

/// Whether others wait for a service to end: nobody asks it how it is.
fn is_job(stack: &Stack, name: &str) -> bool {
    let waits = |service: &Node| {
        let condition = service.get("depends_on").and_then(|on| on.get(name)?.get("condition")?.scalar());
        condition == Some("service_completed_successfully")
    };
    stack.services().any(|(_, service)| waits(service))
}

/// Whether a limit is one: `0`, `0m`, `0.0` and `-1` are none.
fn is_amount(text: &str) -> bool {
    let has_digit = || !text.starts_with('-') && text.contains(|digit: char| ('1'..='9').contains(&digit));
    amount(text.trim()).map_or_else(has_digit, |amount| amount > 0.0)
}

fn upkeep(checker: &mut Checker<'_>, name: &str, service: &Node) {
    if service.get("healthcheck").is_none() && !is_job(checker.stack, name) {
        checker.add("healthcheck-missing", service.place, format!("`{name}` has no health check"));
    }
    if let Some(node) = service.get("restart").filter(|node| matches!(node.scalar(), Some("always" | "unless-stopped")))
    {
        checker.add(
            "restart-always",
            node.place,
            format!("`{name}` has restart: {}", node.scalar().unwrap_or_default()),
        );
    }
    let image = service.get("image");
    if let Some(text) = image.and_then(Node::scalar)
        && !text.contains("@sha256:")
        && !is_cast(service)
        && service.get("build").is_none()
    {
        let place = image.map_or(service.place, |image| image.place);
        checker.add("image-moves", place, format!("`{name}` runs `{text}`"));
    }
}

mod development;
mod gpu;
mod host;
mod mounts;
#[cfg(test)]
mod tests;

pub(super) use mounts::bound;
