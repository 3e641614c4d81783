//! What a service needs of memory, processes and GPUs, as far as its file says it.

use crate::stack::fit::amount;
use crate::stack::known::words;
use crate::stack::node::{Node, Value};

const MIB: f64 = 1024.0 * 1024.0;
/// What a limit of memory is rounded up to.
const STEP: u64 = 64;
/// What a number without a unit must be to be an amount of memory.
const LEAST: f64 = 16.0 * MIB;
/// Options and variables that are amounts of memory, in small letters, without `-` and `_`.
const AMOUNTS: [&str; 13] = [
    "bufferpoolsize",
    "heapsize",
    "initmemory",
    "keybuffersize",
    "maxheap",
    "maxmemory",
    "memory",
    "memorylimit",
    "memorysize",
    "phpmemorylimit",
    "sharedbuffers",
    "tmptablesize",
    "wiredtigercachesizegb",
];

/// What the file says of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// Heaps and caches of its programs, in bytes.
    pub said: f64,
    /// Memory that is a file system: it counts as the container's.
    pub shared: f64,
    /// What is reserved.
    pub reserved: f64,
}

impl Memory {
    /// What a service says.
    pub fn of(service: &Node) -> Memory {
        let text = |node: Option<&Node>| node.and_then(Node::scalar).and_then(amount).unwrap_or_default();
        let list = |key: &str| service.get(key).and_then(Node::list).unwrap_or_default();
        let mounted = list("tmpfs").iter().filter_map(Node::scalar).filter_map(|mount| {
            let size = mount.split([':', ',']).find_map(|option| option.strip_prefix("size="))?;
            amount(size)
        });
        let sizes = list("volumes").iter().map(|mount| text(mount.get("tmpfs").and_then(|tmpfs| tmpfs.get("size"))));
        let deployed =
            service.get("deploy").and_then(|deploy| deploy.get("resources")?.get("reservations")?.get("memory"));
        Memory {
            said: said(service),
            shared: mounted.sum::<f64>() + sizes.sum::<f64>() + text(service.get("shm_size")),
            reserved: text(service.get("mem_reservation").or(deployed)),
        }
    }

    /// A limit that leaves room for all of it, beside what the programs themselves need.
    pub fn limit(self, base: &str) -> String {
        let need = amount(base).unwrap_or_default() + self.said * 1.5 + self.shared;
        if need <= self.reserved || self.said + self.shared + self.reserved == 0.0 {
            return if self.reserved > 0.0 { written(self.reserved) } else { base.to_string() };
        }
        written(need)
    }
}

/// `512m`, `2g`; rounded up.
pub fn written(bytes: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "amounts of memory in MiB")]
    let steps = (bytes / MIB / STEP as f64).ceil() as u64;
    let all = steps.max(1) * STEP;
    if all.is_multiple_of(1024) { format!("{}g", all / 1024) } else { format!("{all}m") }
}

/// The words of a service's command, those in a script, too.
fn command(service: &Node) -> Vec<String> {
    let all = ["entrypoint", "command"].iter().flat_map(|key| words(service, key));
    all.flat_map(|word| word.split_whitespace().map(str::to_string).collect::<Vec<_>>()).collect()
}

/// The options of a command, each with its value: behind `=`, or the next word.
fn options(command: &[String]) -> impl Iterator<Item = (&str, &str)> {
    command.iter().enumerate().map(|(at, word)| {
        let next = command.get(at + 1).map_or("", String::as_str);
        word.split_once('=').unwrap_or((word, next))
    })
}

fn said(service: &Node) -> f64 {
    let command = command(service);
    // Of a heap that is said twice, the last counts; of several amounts the largest: one file of variables serves many.
    let last = |words: &mut dyn Iterator<Item = &str>| words.filter_map(heap).last().unwrap_or_default();
    let mut all = vec![last(&mut command.iter().map(String::as_str))];
    all.extend(options(&command).filter_map(|(name, value)| named(name, value)));
    let environment = service.get("environment").and_then(Node::map);
    for (name, (_, node)) in environment.into_iter().flatten() {
        let value = node.scalar().unwrap_or_default();
        all.extend([last(&mut value.split_whitespace()), named(name, value).unwrap_or_default()]);
    }
    all.into_iter().fold(0.0, f64::max)
}

/// The amount of memory that a variable or an option is about.
fn named(name: &str, value: &str) -> Option<f64> {
    let plain: String = name.chars().filter(|c| !matches!(c, '-' | '_')).collect::<String>().to_ascii_lowercase();
    AMOUNTS.iter().find(|amount| plain.ends_with(*amount))?;
    let factor = if plain.ends_with("gb") { 1024.0 * MIB } else { 1.0 };
    amount(value.trim()).map(|number| number * factor).filter(|bytes| *bytes >= LEAST)
}

/// `-Xmx4g`, `--max-old-space-size=4096`.
fn heap(word: &str) -> Option<f64> {
    let word = word.trim_matches(['"', '\'']);
    let old = word.strip_prefix("--max-old-space-size=").or_else(|| word.strip_prefix("--max_old_space_size="));
    old.and_then(|size| size.parse::<f64>().ok()).map(|size| size * MIB).or_else(|| amount(word.strip_prefix("-Xmx")?))
}

/// How many connections a server is told to take, for each of which it has a process or a thread.
pub fn connections(service: &Node) -> u64 {
    let is_limit = |name: &str| name.trim_start_matches('-').replace('-', "_") == "max_connections";
    let command = command(service);
    let all = options(&command).filter(|(name, _)| is_limit(name));
    all.filter_map(|(_, value)| value.trim().parse().ok()).max().unwrap_or_default()
}

/// Whether it asks for GPUs.
pub fn has_gpu(service: &Node) -> bool {
    let reserved = service.get("deploy").and_then(|deploy| deploy.get("resources")?.get("reservations"));
    let is_asked = reserved.is_some_and(|all| all.get("devices").is_some() || all.get("generic_resources").is_some());
    let wishes = service.get("environment").and_then(|all| all.get("NVIDIA_VISIBLE_DEVICES"));
    is_asked
        || service.get("gpus").is_some_and(|gpus| gpus.value != Value::Null)
        || service.get("runtime").and_then(Node::scalar) == Some("nvidia")
        || wishes.is_some()
}

/// Why a service needs programs that become somebody else by a bit of their file, if it does.
pub fn needs_setuid(service: &Node) -> Option<String> {
    let environment = service.get("environment").and_then(Node::map).into_iter().flatten();
    if let Some((name, _)) = environment.into_iter().find(|(name, _)| name.to_ascii_uppercase().contains("SUDO")) {
        return Some(format!("`{}` is set", name.escape_debug()));
    }
    let test = service.get("healthcheck").map(|check| words(check, "test")).unwrap_or_default().join(" ");
    if command(service)
        .iter()
        .map(String::as_str)
        .chain(test.split_whitespace())
        .any(|word| word.rsplit('/').next() == Some("sudo"))
    {
        return Some("it calls `sudo`".into());
    }
    let image = service.get("image").and_then(Node::scalar).unwrap_or_default();
    let name = image.split(['@']).next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let name = name.split(':').next().unwrap_or_default();
    SETUID.contains(&name).then(|| "its image works with setuid programs".into())
}

/// Images whose work is done with `sudo`, `fixuid`, programs of a mail server that are setuid, or capabilities of files, by
/// the last part of their names.
const SETUID: [&str; 11] = [
    "code-server",
    "dokku",
    "exim",
    "exim-relay",
    "exim4",
    "kasm",
    "minecraft-server",
    "openssh-server",
    "openvscode-server",
    "pihole",
    "smtp",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::yaml;

    fn service(text: &str) -> Node {
        yaml::parse(text, 0, "c").unwrap().remove(0)
    }

    #[test]
    fn a_limit_leaves_room_for_what_the_file_says() {
        for (text, expected) in [
            ("{}", "512m"),
            ("{environment: {OPENSEARCH_JAVA_OPTS: -Xms1g -Xmx1g}}", "2g"),
            ("{environment: {MEMORY: 4G}}", "6656m"),
            ("{environment: {KAFKA_HEAP_OPTS: '-Xmx512m'}}", "1280m"),
            ("{environment: {NODE_OPTIONS: '--max-old-space-size=2048'}}", "3584m"),
            ("{command: java -Xmx2g -jar x.jar}", "3584m"),
            ("{command: [redis-server, --maxmemory, 2gb]}", "3584m"),
            ("{command: postgres -c shared_buffers=1GB -c effective_cache_size=3GB}", "2g"),
            ("{command: [mysqld, --innodb-buffer-pool-size=2G]}", "3584m"),
            ("{command: [mongod, --wiredTigerCacheSizeGB, '1']}", "2g"),
            ("{environment: {USE_MEMORY: 'true', MEMORY_LEAK: x}, command: [--memory, x]}", "512m"),
            ("{environment: {INIT_MEMORY: 1G, MAX_MEMORY: 2G, MEM_LIMIT: 64G}}", "3584m"),
            ("{shm_size: 1gb, tmpfs: ['/a:size=512m', /b]}", "2g"),
            ("{volumes: [{type: tmpfs, target: /x, tmpfs: {size: 2g}}]}", "2560m"),
            ("{deploy: {resources: {reservations: {memory: 2G}}}}", "2g"),
            ("{mem_reservation: 100m}", "512m"),
        ] {
            assert_eq!(Memory::of(&service(text)).limit("512m"), expected, "{text}");
        }
    }

    #[test]
    fn connections_gpus_and_setuid_programs_are_seen() {
        assert_eq!(connections(&service("{command: [mysqld, --max_connections=1000]}")), 1000);
        assert_eq!(connections(&service("{command: postgres -c max_connections=500}")), 500);
        assert_eq!(connections(&service("{command: mysqld --max-connections 700}")), 700);
        assert_eq!(connections(&service("{}")), 0);
        assert!(has_gpu(&service("{runtime: nvidia}")) && has_gpu(&service("{gpus: all}")) && !has_gpu(&service("{}")));
        assert!(has_gpu(&service("{deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}}")));
        for text in [
            "{command: [sh, -c, 'sudo -u x run']}",
            "{environment: {SUDO_ACCESS: 'true'}}",
            "{image: 'codercom/code-server:4'}",
        ] {
            assert!(needs_setuid(&service(text)).is_some(), "{text}");
        }
        assert_eq!(needs_setuid(&service("{image: web, command: run --sudoku}")), None);
    }
}
