//! The file that a provider is given: everything resolved, so that all providers understand the same.
//!
//! Images that Ingot cast have their content's name, and nothing is pulled or built by the provider. What providers read
//! in different ways is written in the one way that all of them read alike; what one would leave out in silence is
//! written in other words, or refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::ingot::{extras, is_cast};
use super::load::Stack;
use super::node::{Map, Node, Place, Value};
use super::seal::Seal;
use super::state::SOCKET;
use super::trouble::Trouble;
use crate::engine::Kind;
use crate::error::Result;

/// Where the sandbox service's folder is in a container.
const SANDBOX_FOLDER: &str = "/run/ingot";
/// The variable that says where its socket is.
const SANDBOX_VARIABLE: &str = "INGOT_SANDBOX";
/// The label of a volume that says of which project's folder it is: names may be the same.
pub const VOLUME_LABEL: &str = "ingot.stack";
/// What keeps podman from filling a tmpfs with what the image has at its place.
const EMPTY: &str = "notmpcopyup";
/// Keys of a service that are nothing to a provider that builds nothing, and waits for nobody.
const REMOVED: [&str; 6] = ["build", "develop", "extends", "profiles", "provider", "scale"];
/// Keys of a service that must be text: podman-compose gives them to podman as they are.
const TEXTS: [&str; 12] = [
    "container_name",
    "cpuset",
    "domainname",
    "hostname",
    "mem_limit",
    "mem_reservation",
    "memswap_limit",
    "restart",
    "shm_size",
    "stop_grace_period",
    "stop_signal",
    "user",
];

/// What is put into the file besides the stack.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    /// By service: what its image is called, and what that says of its health check.
    pub images: BTreeMap<String, (String, Option<Json>)>,
    /// The folder with the sandbox service's socket, if there is one.
    pub sockets: Option<PathBuf>,
    /// The folder for files of the stack's own.
    pub files: Option<PathBuf>,
    /// What their names are made with.
    pub seal: Seal,
    /// This user's home.
    pub home: Option<String>,
    /// For whom it is.
    pub engine: Option<Kind>,
}

/// What a provider is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Pinned {
    /// The file.
    pub root: Node,
    /// Files that it names and that are not of the project: secrets and configs that are not files there.
    pub files: BTreeMap<PathBuf, String>,
}

/// The pinned file's content.
pub fn pinned(stack: &Stack, pins: &Pins) -> Result<Pinned> {
    let mut files = BTreeMap::new();
    let Value::Map(map) = &stack.root.value else { return Ok(Pinned { root: stack.root.clone(), files }) };
    let mut map: Map =
        map.iter().filter(|(key, _)| is_known(key)).map(|(key, node)| (key.clone(), node.clone())).collect();
    let nowhere = Place::default();
    map.insert("name".into(), (nowhere, Node::text(nowhere, stack.name.clone())));
    let sealed = secrets(stack, pins, &mut map, &mut files)?;
    if let Some((_, Node { value: Value::Map(services), .. })) = map.get_mut("services") {
        // One that was never cast cannot be started either.
        services.retain(|name, (_, service)| !is_cast(service) || pins.images.contains_key(name));
        for (name, (_, node)) in services.iter_mut() {
            let before = node.clone();
            let Value::Map(service) = &mut node.value else { continue };
            Pinner { stack, pins, sealed: &sealed, name, before: &before }.service(service, &mut files)?;
        }
    }
    let on_default = stack.services().any(|(_, service)| is_on_default(service));
    if on_default {
        let networks = map.entry("networks".into()).or_insert((nowhere, Node::new(nowhere, Value::Map(Map::new()))));
        if let Value::Map(networks) = &mut networks.1.value {
            networks.entry("default".into()).or_insert((nowhere, Node::new(nowhere, Value::Null)));
        }
    }
    if let Some((_, Node { value: Value::Map(volumes), .. })) = map.get_mut("volumes") {
        for (place, node) in volumes.values_mut() {
            label(node, *place, &stack.folder.display().to_string());
        }
    }
    // They are files now.
    map.remove("configs");
    let root = Node::new(stack.root.place, Value::Map(map));
    Ok(Pinned { root, files })
}

/// Says whose a volume is, unless it is somebody else's.
fn label(volume: &mut Node, place: Place, folder: &str) {
    let external = volume.get("external").is_some_and(|node| !matches!(node.value, Value::Null | Value::Bool(false)));
    if external || !matches!(volume.value, Value::Null | Value::Map(_)) {
        return;
    }
    if volume.value == Value::Null {
        volume.value = Value::Map(Map::new());
    }
    let Value::Map(volume) = &mut volume.value else { return };
    let labels = volume.entry("labels".into()).or_insert((place, Node::new(place, Value::Map(Map::new()))));
    match &mut labels.1.value {
        Value::Map(labels) => drop(labels.insert(VOLUME_LABEL.into(), (place, Node::text(place, folder)))),
        Value::List(labels) => labels.push(Node::text(place, format!("{VOLUME_LABEL}={folder}"))),
        other => {
            *other = Value::Map(Map::from([(VOLUME_LABEL.to_string(), (place, Node::text(place, folder)))]));
        }
    }
}

/// The volumes that are a stack's own, as engines call them.
pub fn volumes(stack: &Stack) -> Vec<String> {
    let declared = stack.root.get("volumes").and_then(Node::map).into_iter().flatten();
    let own = declared.filter(|(_, (_, node))| {
        node.get("external").is_none_or(|node| matches!(node.value, Value::Null | Value::Bool(false)))
    });
    let named = |node: &Node| node.get("name").and_then(Node::scalar).map(str::to_string);
    own.map(|(key, (_, node))| named(node).unwrap_or_else(|| format!("{}_{key}", stack.name))).collect()
}

/// Makes files of all secrets. Those of the stack's own have other names then, by their old ones: a service whose secret
/// has changed is another service, and any provider sees that.
fn secrets(
    stack: &Stack,
    pins: &Pins,
    map: &mut Map,
    files: &mut BTreeMap<PathBuf, String>,
) -> Result<BTreeMap<String, String>> {
    let mut sealed = BTreeMap::new();
    let Some((_, Node { value: Value::Map(all), .. })) = map.get_mut("secrets") else { return Ok(sealed) };
    let mut made = Map::new();
    for (name, (place, mut node)) in std::mem::take(all) {
        match own_file(stack, pins, ("secret", &name), place, &node, files)? {
            Some((path, seal)) => {
                node.value = Value::Map(Map::from([("file".to_string(), (place, Node::text(place, path)))]));
                let now = format!("{name}-{seal}");
                made.insert(now.clone(), (place, node));
                sealed.insert(name, now);
            }
            None => {
                absolute(stack, pins, &mut node, "file");
                made.insert(name, (place, node));
            }
        }
    }
    *all = made;
    Ok(sealed)
}

/// The path of the file that a secret or a config becomes whose value is in a variable or in the Compose file itself, and
/// what stands for the value in it. Providers know such values only from their own environment, and podman-compose keeps
/// them when all else is gone.
fn own_file(
    stack: &Stack,
    pins: &Pins,
    (kind, name): (&str, &str),
    place: Place,
    node: &Node,
    files: &mut BTreeMap<PathBuf, String>,
) -> Result<Option<(String, String)>> {
    let text = |key: &str| node.get(key).and_then(Node::scalar);
    let value = match (text("environment"), text("content")) {
        (Some(variable), _) => match stack.variable(variable) {
            Some(value) => value.to_string(),
            None => {
                let what = format!("the {kind} `{name}` comes out of `{variable}`, which is not set");
                return Err(unsupported(stack, place, what, "set the variable, or write `file: ./FILE`"));
            }
        },
        (None, Some(content)) => content.to_string(),
        (None, None) => return Ok(None),
    };
    let folder = pins.files.clone().unwrap_or_default();
    let name = format!("{kind}-{name}");
    let seal = pins.seal.name(&name, &value);
    let path = folder.join(format!("{name}-{seal}"));
    let shown = path.display().to_string();
    files.insert(path, value);
    Ok(Some((shown, seal)))
}

fn unsupported(stack: &Stack, place: Place, what: String, hint: &'static str) -> crate::error::Error {
    Trouble::Unsupported { file: stack.file(place).into(), line: place.line, what, hint }.into()
}

fn is_known(key: &str) -> bool {
    !key.starts_with("x-") && !matches!(key, "version" | "include")
}

/// Whether a service is on the default network although it does not say so.
fn is_on_default(service: &Node) -> bool {
    let none = |node: Option<&Node>| node.is_none_or(|node| node.value == Value::Null);
    let named = service.get("networks").and_then(Node::map).is_some_and(|networks| networks.contains_key("default"));
    named || none(service.get("network_mode")) && none(service.get("networks"))
}

struct Pinner<'a> {
    stack: &'a Stack,
    pins: &'a Pins,
    sealed: &'a BTreeMap<String, String>,
    name: &'a str,
    before: &'a Node,
}

impl Pinner<'_> {
    fn service(&self, service: &mut Map, files: &mut BTreeMap<PathBuf, String>) -> Result<()> {
        let extras = extras(self.stack, self.name, self.before)?;
        let place = self.before.place;
        self.scale(service);
        service.retain(|key, _| !key.starts_with("x-") && !REMOVED.contains(&key.as_str()));
        if let Some(count) = self.replicas() {
            service.insert("scale".into(), (place, count));
        }
        if let Some((image, check)) = self.pins.images.get(self.name) {
            service.insert("image".into(), (place, Node::text(place, image.clone())));
            if let (false, Some(check)) = (service.contains_key("healthcheck"), check) {
                service.insert("healthcheck".into(), (place, healthcheck(place, check)));
            }
        }
        service.insert("pull_policy".into(), (place, Node::text(place, "never")));
        if is_on_default(self.before) {
            let networks = service.entry("networks".into()).or_insert((place, Node::new(place, Value::Null)));
            if networks.1.value == Value::Null {
                networks.1.value = Value::Map(Map::from([("default".into(), (place, Node::new(place, Value::Null)))]));
            }
        }
        self.dependencies(service);
        self.environment(service);
        self.files(service, files)?;
        self.lists(service);
        if self.pins.engine == Some(Kind::Podman) {
            self.tmpfs(service);
        }
        if extras.sandbox
            && let Some(folder) = &self.pins.sockets
        {
            self.sandbox(service, folder);
        }
        // podman 4 has no option for it; Ingot itself runs the checks there.
        if self.pins.engine == Some(Kind::Podman)
            && let Some((_, Node { value: Value::Map(check), .. })) = service.get_mut("healthcheck")
        {
            check.remove("start_interval");
        }
        Ok(())
    }

    /// podman-compose reads `deploy.replicas` only with a mode beside it.
    fn scale(&self, service: &mut Map) {
        if self.replicas().is_some()
            && let Some((_, Node { value: Value::Map(deploy), .. })) = service.get_mut("deploy")
        {
            deploy.remove("replicas");
        }
    }

    fn replicas(&self) -> Option<Node> {
        let deployed = self.before.get("deploy").and_then(|deploy| deploy.get("replicas"));
        let node = deployed.or_else(|| self.before.get("scale"))?;
        let count = node.scalar()?.parse::<u32>().ok()?;
        Some(Node::new(node.place, Value::Number(count.to_string())))
    }

    /// Those that are not there need not be waited for.
    fn dependencies(&self, service: &mut Map) {
        if let Some((_, Node { value: Value::Map(on), .. })) = service.get_mut("depends_on") {
            let there = |name: &str, service: &Node| !is_cast(service) || self.pins.images.contains_key(name);
            on.retain(|name, _| self.stack.services().any(|(other, service)| other == name && there(other, service)));
        }
    }

    /// A variable without a value has that of the environment or of `.env`, which the provider does not see.
    fn environment(&self, service: &mut Map) {
        let Some((_, Node { value: Value::Map(variables), .. })) = service.get_mut("environment") else { return };
        let mut unset = Vec::new();
        for (name, (_, node)) in variables.iter_mut() {
            node.value = match (&node.value, self.stack.variable(name)) {
                (Value::Null, Some(value)) => Value::Text(value.to_string()),
                (Value::Null, None) => {
                    unset.push(name.clone());
                    continue;
                }
                // Everything is text there.
                _ => Value::Text(node.scalar().unwrap_or_default().to_string()),
            };
        }
        unset.iter().for_each(|name| drop(variables.remove(name)));
    }

    /// Paths begin at the project's folder; configs are files of this machine, which podman-compose would leave out.
    fn files(&self, service: &mut Map, files: &mut BTreeMap<PathBuf, String>) -> Result<()> {
        for file in list(service, "env_file") {
            absolute(self.stack, self.pins, file, "path");
        }
        let mut mounts = Vec::new();
        for grant in self.before.get("configs").and_then(Node::list).unwrap_or_default() {
            mounts.push(self.config(grant, files)?);
        }
        service.remove("configs");
        if !mounts.is_empty() {
            let place = self.before.place;
            let all = service.entry("volumes".into()).or_insert((place, Node::new(place, Value::List(Vec::new()))));
            if let Value::List(all) = &mut all.1.value {
                all.extend(mounts);
            }
        }
        for mount in list(service, "volumes") {
            if mount.get("type").and_then(Node::scalar) == Some("bind") {
                absolute(self.stack, self.pins, mount, "source");
            }
        }
        for grant in list(service, "secrets") {
            self.grant(grant);
        }
        Ok(())
    }

    /// What a secret is called in a container stays.
    fn grant(&self, grant: &mut Node) {
        let place = grant.place;
        let Value::Map(grant) = &mut grant.value else { return };
        let source = grant.get("source").and_then(|(_, node)| node.scalar()).unwrap_or_default().to_string();
        if let Some(now) = self.sealed.get(&source) {
            grant.insert("source".into(), (place, Node::text(place, now.clone())));
            grant.entry("target".into()).or_insert((place, Node::text(place, source)));
        }
    }

    fn config(&self, grant: &Node, files: &mut BTreeMap<PathBuf, String>) -> Result<Node> {
        let text = |key: &str| grant.get(key).and_then(Node::scalar);
        let source = text("source").unwrap_or_default();
        let (stack, place) = (self.stack, grant.place);
        let config = stack.root.get("configs").and_then(|all| all.get(source));
        let own =
            config.map(|config| own_file(stack, self.pins, ("config", source), place, config, files)).transpose()?;
        let own = own.flatten().map(|(path, _)| path);
        let file = own.or_else(|| Some(config?.get("file")?.scalar()?.to_string()));
        let Some(file) = file else {
            let what = format!("the config `{source}` of `{}` is kept by the engine, which podman cannot", self.name);
            return Err(unsupported(stack, place, what, "write `configs: { NAME: { file: ./FILE } }`"));
        };
        let target = text("target").map_or_else(|| format!("/{source}"), str::to_string);
        let mut mount = mount(place, &file, &target);
        absolute(stack, self.pins, &mut mount, "source");
        Ok(mount)
    }

    /// What podman-compose reads in the short form only, and text where it gives podman what it finds.
    fn lists(&self, service: &mut Map) {
        for key in TEXTS {
            if let Some((_, node)) = service.get_mut(key) {
                to_text(node);
            }
        }
        for key in ["group_add", "dns", "expose", "tmpfs"] {
            list(service, key).for_each(to_text);
        }
        for device in list(service, "devices") {
            let text = |key: &str| device.get(key).and_then(Node::scalar);
            if let Some(source) = text("source") {
                let target = text("target").unwrap_or(source);
                let permissions = text("permissions").map(|text| format!(":{text}")).unwrap_or_default();
                device.value = Value::Text(format!("{source}:{target}{permissions}"));
            }
        }
        if let Some((_, hosts)) = service.get_mut("extra_hosts")
            && let Value::Map(map) = &hosts.value
        {
            let line = |(name, (place, node)): (&String, &(Place, Node))| {
                Node::text(*place, format!("{name}:{}", node.scalar().unwrap_or_default()))
            };
            hosts.value = Value::List(map.iter().map(line).collect());
        }
    }

    /// podman fills a tmpfs with what the image has there, and docker does not. podman-compose can say so in the short form
    /// only.
    fn tmpfs(&self, service: &mut Map) {
        let place = self.before.place;
        let mut all: Vec<Node> = list(service, "tmpfs").map(|node| node.clone()).collect();
        if let Some((_, Node { value: Value::List(volumes), .. })) = service.get_mut("volumes") {
            let is_tmpfs = |mount: &Node| mount.get("type").and_then(Node::scalar) == Some("tmpfs");
            all.extend(volumes.iter().filter(|mount| is_tmpfs(mount)).map(short_tmpfs));
            volumes.retain(|mount| !is_tmpfs(mount));
        }
        for node in &mut all {
            let text = node.scalar().unwrap_or_default();
            let (path, options) = text.split_once(':').unwrap_or((text, ""));
            let mut options: Vec<&str> = options.split(',').filter(|option| !option.is_empty()).collect();
            if !options.iter().any(|option| option.ends_with("tmpcopyup")) {
                options.push(EMPTY);
            }
            node.value = Value::Text(format!("{path}:{}", options.join(",")));
        }
        if !all.is_empty() {
            service.insert("tmpfs".into(), (place, Node::new(place, Value::List(all))));
        }
    }

    fn sandbox(&self, service: &mut Map, folder: &Path) {
        let place = self.before.place;
        let volumes = service.entry("volumes".into()).or_insert((place, Node::new(place, Value::List(Vec::new()))));
        if let Value::List(volumes) = &mut volumes.1.value {
            volumes.push(mount(place, &folder.display().to_string(), SANDBOX_FOLDER));
        }
        let variables =
            service.entry("environment".into()).or_insert((place, Node::new(place, Value::Map(Map::new()))));
        if let Value::Map(variables) = &mut variables.1.value {
            let socket = Node::text(place, format!("{SANDBOX_FOLDER}/{SOCKET}"));
            variables.insert(SANDBOX_VARIABLE.into(), (place, socket));
        }
    }
}

/// A file or folder of this machine, read-only.
fn mount(place: Place, source: &str, target: &str) -> Node {
    let text = |text: &str| (place, Node::text(place, text));
    let pairs = [
        ("type".to_string(), text("bind")),
        ("source".into(), text(source)),
        ("target".into(), text(target)),
        ("read_only".into(), (place, Node::new(place, Value::Bool(true)))),
    ];
    Node::new(place, Value::Map(Map::from(pairs)))
}

/// A tmpfs among the volumes, in one line.
fn short_tmpfs(mount: &Node) -> Node {
    let text = |node: Option<&Node>| node.and_then(Node::scalar).map(str::to_lowercase);
    let option = |key: &str| text(mount.get("tmpfs").and_then(|options| options.get(key)));
    let mode = mount.get("tmpfs").and_then(|options| options.get("mode")).and_then(octal);
    // "64mb": the kernel knows no `b`.
    let size = option("size").map(|size| format!("size={}", size.trim_end_matches('b')));
    let read_only =
        mount.get("read_only").is_some_and(|node| node.value == Value::Bool(true)).then(|| "ro".to_string());
    let options: Vec<String> =
        [size, mode.map(|mode| format!("mode={mode}")), read_only].into_iter().flatten().collect();
    let target = mount.get("target").and_then(Node::scalar).unwrap_or_default();
    Node::text(mount.place, format!("{target}:{}", options.join(",")))
}

/// A mode in octal digits: text is in these already, a number is what it is.
fn octal(node: &Node) -> Option<String> {
    let text = node.scalar()?;
    let digits = text.strip_prefix("0o").or_else(|| text.strip_prefix('0'));
    match (&node.value, digits) {
        (_, Some(digits)) => Some(digits.to_string()).filter(|digits| !digits.is_empty()),
        (Value::Number(_), None) => text.parse::<u32>().ok().map(|mode| format!("{mode:o}")),
        (_, None) => Some(text.to_string()),
    }
}

fn list<'m>(service: &'m mut Map, key: &str) -> impl Iterator<Item = &'m mut Node> {
    let found = match service.get_mut(key) {
        Some((_, Node { value: Value::List(list), .. })) => list.as_mut_slice(),
        _ => &mut [],
    };
    found.iter_mut()
}

fn to_text(node: &mut Node) {
    if let Value::Number(number) = &node.value {
        node.value = Value::Text(number.clone());
    }
}

/// Makes the path under a key absolute.
fn absolute(stack: &Stack, pins: &Pins, node: &mut Node, key: &str) {
    let Value::Map(map) = &mut node.value else { return };
    let Some((_, path)) = map.get_mut(key) else { return };
    let Some(text) = path.scalar() else { return };
    let home = |rest: &str| pins.home.as_ref().map(|home| format!("{home}{rest}"));
    let full = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => home(rest),
        _ => None,
    };
    // Not where links lead to: that may be changed on purpose while the stack runs.
    let full = full.unwrap_or_else(|| stack.folder.join(text).display().to_string());
    path.value = Value::Text(full.replace("/./", "/"));
}

/// An image's health check in the words of Compose.
fn healthcheck(place: Place, check: &Json) -> Node {
    let mut map = Map::new();
    let test = check.get("Test").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
    let test: Vec<Node> = test.map(|word| Node::text(place, word)).collect();
    map.insert("test".into(), (place, Node::new(place, Value::List(test))));
    for (key, own) in [("interval", "Interval"), ("timeout", "Timeout"), ("start_period", "StartPeriod")] {
        if let Some(nanoseconds) = check.get(own).and_then(Json::as_u64).filter(|time| *time > 0) {
            map.insert(key.into(), (place, Node::text(place, format!("{}ms", nanoseconds.div_ceil(1_000_000)))));
        }
    }
    if let Some(retries) = check.get("Retries").and_then(Json::as_u64).filter(|retries| *retries > 0) {
        map.insert("retries".into(), (place, Node::new(place, Value::Number(retries.to_string()))));
    }
    Node::new(place, Value::Map(map))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::render::{json, yaml};
    use crate::stack::{Request, Stack};

    fn stack(text: &str) -> Stack {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
        let environment = BTreeMap::from([("SET".to_string(), "a $b".to_string())]);
        Stack::load(&Request { folder: Some(folder.path().into()), environment, ..Request::default() }).unwrap()
    }

    fn service(text: &str, pins: &Pins) -> Result<Json> {
        let stack = stack(&format!("name: app\nservices:\n  web: {text}\nnetworks: {{n: }}\nvolumes: {{data: }}\n"));
        let folder = stack.folder.display().to_string();
        let root = json(&pinned(&stack, pins)?.root);
        let text = root["services"]["web"].to_string().replace(&folder, "DIR");
        Ok(serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn providers_get_what_all_of_them_understand() {
        let pins = Pins { home: Some("/home/me".into()), engine: Some(Kind::Podman), ..Pins::default() };
        for (text, key, expected) in [
            ("{image: i, privileged: 'false', tty: 'yes'}", "privileged", r#"false"#),
            ("{image: i, tty: 'yes'}", "tty", r#"true"#),
            ("{image: i, user: 1001}", "user", r#""1001""#),
            ("{image: i}", "pull_policy", r#""never""#),
            ("{image: i}", "networks", r#"{"default":null}"#),
            ("{image: i, networks: [n]}", "networks", r#"{"n":null}"#),
            ("{image: i, network_mode: none}", "networks", "null"),
            ("{image: i, environment: [SET, UNSET, A=1]}", "environment", r#"{"A":"1","SET":"a $b"}"#),
            ("{image: i, environment: {A: 1, B: true}}", "environment", r#"{"A":"1","B":"true"}"#),
            ("{image: i, env_file: [{path: ./a.env, required: false}]}", "env_file", "null"),
            ("{image: i, extra_hosts: {h: 1.2.3.4}}", "extra_hosts", r#"["h:1.2.3.4"]"#),
            ("{image: i, deploy: {replicas: 2}}", "scale", "2"),
            ("{image: i, build: ., profiles: [], x-ingot: {health: 'http://:1/'}}", "build", "null"),
            ("{image: i, healthcheck: {test: [CMD, x], start_interval: 1s}}", "healthcheck", r#"{"test":["CMD","x"]}"#),
            ("{image: i, depends_on: {gone: {condition: service_started, required: false}}}", "depends_on", "{}"),
            (
                "{image: i, volumes: ['./x:/x', '~/y:/y:ro', 'data:/d']}",
                "volumes",
                r#"[{"bind":{"create_host_path":true},"source":"DIR/x","target":"/x","type":"bind"},{"bind":{"create_host_path":true},"read_only":true,"source":"/home/me/y","target":"/y","type":"bind"},{"source":"data","target":"/d","type":"volume","volume":{}}]"#,
            ),
        ] {
            assert_eq!(service(text, &pins).unwrap()[key].to_string(), expected, "{text}");
        }
    }

    #[test]
    fn a_tmpfs_is_empty_whoever_makes_it() {
        let tmpfs = |text: &str, engine| {
            let pins = Pins { engine: Some(engine), ..Pins::default() };
            let made = service(&format!("{{image: i, {text}}}"), &pins).unwrap();
            (made["tmpfs"].to_string(), made["volumes"].to_string())
        };
        for (text, expected) in [
            ("tmpfs: /tmp", r#"["/tmp:notmpcopyup"]"#),
            (
                "tmpfs: ['/tmp:size=64m', '/run:mode=1777']",
                r#"["/tmp:size=64m,notmpcopyup","/run:mode=1777,notmpcopyup"]"#,
            ),
            ("tmpfs: ['/tmp:tmpcopyup']", r#"["/tmp:tmpcopyup"]"#),
            ("volumes: [{type: tmpfs, target: /t}]", r#"["/t:notmpcopyup"]"#),
            (
                "volumes: [{type: tmpfs, target: /t, read_only: true, tmpfs: {size: 64mb, mode: 0o1777}}]",
                r#"["/t:size=64m,mode=1777,ro,notmpcopyup"]"#,
            ),
            ("volumes: [{type: tmpfs, target: /t, tmpfs: {mode: 448}}]", r#"["/t:mode=700,notmpcopyup"]"#),
            ("volumes: [{type: tmpfs, target: /t, tmpfs: {mode: '0700'}}]", r#"["/t:mode=700,notmpcopyup"]"#),
        ] {
            let (found, volumes) = tmpfs(text, Kind::Podman);
            assert_eq!(found, expected, "{text}");
            assert!(["null", "[]"].contains(&volumes.as_str()), "{text}: {volumes}");
            assert!(!tmpfs(text, Kind::Docker).0.contains("notmp"), "docker does it by itself: {text}");
        }
    }

    #[test]
    fn volumes_say_whose_they_are() {
        let stack = stack(
            "name: app\nservices: {a: {image: i}}\nvolumes: {a: , b: {name: fixed, labels: {k: v}}, c: {labels: [k=v]}, d: {external: true}, e: {external: false}}\n",
        );
        let folder = stack.folder.display().to_string();
        let root = json(&pinned(&stack, &Pins::default()).unwrap().root);
        for name in ["a", "b", "e"] {
            assert_eq!(root["volumes"][name]["labels"][VOLUME_LABEL], folder, "{name}: {root}");
        }
        assert_eq!(root["volumes"]["c"]["labels"], serde_json::json!(["k=v", format!("{VOLUME_LABEL}={folder}")]));
        assert_eq!(root["volumes"]["b"]["labels"]["k"], "v");
        assert_eq!(root["volumes"]["d"]["labels"], Json::Null, "it is nobody's here");
        assert_eq!(volumes(&stack), ["app_a", "fixed", "app_c", "app_e"]);
    }

    #[test]
    fn secrets_and_configs_are_files() {
        let seal = Seal([7; 32]);
        let pins = Pins { files: Some("/run/i/files".into()), seal, ..Pins::default() };
        let text = "name: app\nservices:\n  web: {image: i, secrets: [s, {source: s, target: t}, f], configs: [{source: c, target: /etc/c}, d]}\nsecrets: {s: {environment: SET}, f: {file: ./f}}\nconfigs: {c: {file: ./c.conf}, d: {content: text}}\n";
        let stack = stack(text);
        let made = pinned(&stack, &pins).unwrap();
        let root = json(&made.root);
        let folder = stack.folder.display().to_string();
        let (s, d) = (seal.name("secret-s", "a $b"), seal.name("config-d", "text"));
        let shown = |value: &Json| value.to_string().replace(&folder, "DIR").replace(&s, "SEAL").replace(&d, "SEAL");
        assert_eq!(
            shown(&root["services"]["web"]["volumes"]),
            r#"[{"read_only":true,"source":"DIR/c.conf","target":"/etc/c","type":"bind"},{"read_only":true,"source":"/run/i/files/config-d-SEAL","target":"/d","type":"bind"}]"#
        );
        assert_eq!(
            shown(&root["services"]["web"]["secrets"]),
            r#"[{"source":"s-SEAL","target":"s"},{"source":"s-SEAL","target":"t"},{"source":"f"}]"#
        );
        assert_eq!(shown(&root["secrets"]), r#"{"f":{"file":"DIR/f"},"s-SEAL":{"file":"/run/i/files/secret-s-SEAL"}}"#);
        assert_eq!(root.get("configs"), None);
        let files: Vec<(String, String)> =
            made.files.into_iter().map(|(path, text)| (path.display().to_string(), text)).collect();
        assert_eq!(
            files,
            [
                (format!("/run/i/files/config-d-{d}"), "text".to_string()),
                (format!("/run/i/files/secret-s-{s}"), "a $b".into())
            ]
        );
        for (text, expected) in [
            ("secrets: {s: {environment: UNSET}}", "line 2: the secret `s` comes out of `UNSET`, which is not set"),
            ("configs: {c: {external: true}}", "line 1: the config `c` of `web` is kept by the engine"),
        ] {
            let key = text.split(':').next().unwrap();
            let name = if key == "secrets" { "s" } else { "c" };
            let text = format!("services: {{web: {{image: i, {key}: [{name}]}}}}\n{text}\n");
            let error = pinned(&self::stack(&text), &pins).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    /// A provider makes anew what is another service in its file, and nothing else.
    #[test]
    fn a_changed_secret_changes_the_services_that_have_it() {
        let services = |secret: &str, config: &str| {
            let text = format!(
                "name: app\nservices:\n  a: {{image: i, secrets: [s]}}\n  b: {{image: i, configs: [c]}}\n  c: {{image: i}}\nsecrets: {{s: {{environment: {secret}}}}}\nconfigs: {{c: {{content: {config}}}}}\n"
            );
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
            let environment = ["ONE", "TWO"].map(|name| (name.to_string(), format!("sesame {name}"))).into();
            let request = Request { folder: Some(folder.path().into()), environment, ..Request::default() };
            let pins = Pins { files: Some("/run/i".into()), ..Pins::default() };
            let made = pinned(&Stack::load(&request).unwrap(), &pins).unwrap();
            assert!(!yaml(&made.root).contains("sesame"));
            ["a", "b", "c"].map(|name| json(&made.root)["services"][name].to_string())
        };
        let before = services("ONE", "x");
        let changed = |after: [String; 3]| [0, 1, 2].map(|number| before[number] != after[number]);
        assert_eq!(changed(services("ONE", "x")), [false; 3]);
        assert_eq!(changed(services("TWO", "x")), [true, false, false]);
        assert_eq!(changed(services("ONE", "y")), [false, true, false]);
    }

    #[test]
    fn cast_images_have_their_contents_name_and_their_own_check() {
        let check = serde_json::json!({"Test": ["CMD", "x"], "Interval": 1_500_000_000u64, "Retries": 2});
        let image = ("localhost/app-web:sha256-0123456789ab".to_string(), Some(check));
        let pins = Pins {
            images: BTreeMap::from([("web".to_string(), image)]),
            sockets: Some("/run/ingot/app-1/sandbox".into()),
            ..Pins::default()
        };
        let text =
            "name: app\nx-ingot: {sandbox: {image: s}}\nservices:\n  web: {x-ingot: {project: ., sandbox: true}}\n";
        let root = pinned(&stack(text), &pins).unwrap().root;
        insta::assert_snapshot!(yaml(&root), @r#"
        name: app
        networks:
          default: null
        services:
          web:
            environment:
              INGOT_SANDBOX: /run/ingot/sandbox.sock
            healthcheck:
              interval: "1500ms"
              retries: 2
              test:
                - CMD
                - x
            image: "localhost/app-web:sha256-0123456789ab"
            networks:
              default: null
            pull_policy: never
            volumes:
              - read_only: true
                source: /run/ingot/app-1/sandbox
                target: /run/ingot
                type: bind
        "#);
    }
}
