//! What is known of images that everybody runs: what they insist on, how their health is asked, what they write.
//!
//! What [`table`] says of an image was read in its Dockerfile and its entrypoint; what is not certain does not stand there. An
//! image is known by the last part of its name, whoever's registry it comes from, if its publisher is the usual one:
//! `bitnami/postgresql` is another image with other variables. [`understood`] says whether a service runs the image in the
//! way that the table is about: an old tag, another program, another port, and nothing of it holds.

mod table;

use super::ingot::is_cast;
use super::node::{Node, Value};

/// The numbers of a tag. What it leaves open is the newest: `16` is some 16, and `latest` whatever there is.
pub type Version = [u32; 3];

/// One image.
pub struct Known {
    /// `postgres`; with its publisher where the image has one: `grafana/grafana`.
    names: &'static [&'static str],
    /// The oldest version that this is known of.
    since: Version,
    /// The programs that a command may begin with, beside options of the first.
    runs: &'static [&'static str],
    /// Who it runs as when it begins.
    pub begins: Begins,
    /// A user of the image who can run it when its data is in a volume of the engine.
    pub user: Option<&'static str>,
    /// Where its data is.
    pub data: &'static [&'static str],
    /// Whether the data is in a volume even if the file has none for it.
    pub has_volume: bool,
    /// Folders that it writes to beside its data, as `tmpfs` has them; nothing if that is not known.
    pub writes: Option<&'static [&'static str]>,
    /// Its configuration: who lays something over it decides what is written, and where its health is asked.
    configuration: &'static [&'static str],
    /// Variables that do the same, but for values that are folders of volumes. `X_*` are all that begin so.
    settings: &'static [&'static str],
    /// What options may begin with that name a path or a port, and change nothing of what is known.
    options: &'static [&'static str],
    /// How its health is asked, from which version on; the oldest first.
    health: &'static [(Version, &'static [&'static str])],
    /// Words of tags for which that is not known.
    unlike: &'static [&'static str],
    /// How long it may take to begin.
    pub start: &'static str,
    /// How often its health is asked, and how long that may take.
    pub pace: (&'static str, &'static str),
    /// Memory that it begins with, if that does not depend on what it is used for.
    pub memory: Option<&'static str>,
    /// Whether it starts without any other service.
    pub is_alone: bool,
    /// What it does not start without, or starts with a password that everybody knows.
    pub secret: Option<Required>,
    /// What is open to everybody who reaches it.
    pub open: Option<Open>,
}

/// Who an image begins as.
pub enum Begins {
    /// Root, who becomes somebody else, and needs these capabilities for it.
    Root(&'static [&'static str]),
    /// Its own user, who has none.
    User,
    /// That is not known.
    Unknown,
}

/// A port behind which nobody is asked for a password.
pub struct Open {
    /// In the container.
    pub port: &'static str,
    /// What in a command may ask for one.
    pub closed_by: &'static [&'static str],
    /// A variable with the value that switches the question off, if it is asked otherwise.
    pub opened_by: Option<(&'static str, &'static str)>,
}

/// Variables of an image of which one must be set.
pub struct Required {
    /// Any of these with a value.
    pub one_of: &'static [&'static str],
    /// What happens otherwise.
    pub otherwise: &'static str,
    /// Variables that take the password away, with the value that does; any but a false one if there is none.
    pub opens: &'static [(&'static str, &'static str)],
}

/// An image that a service runs in the way that is known.
pub struct Understood {
    /// What is known.
    pub known: &'static Known,
    version: Version,
    tag: String,
    /// What is laid over its configuration, or a setting that moves what is known.
    pub moved: Option<String>,
}

impl Understood {
    /// How its health is asked.
    pub fn health(&self) -> Option<&'static [&'static str]> {
        let is_unlike = self.known.unlike.iter().any(|word| self.tag.contains(word));
        let all = self.known.health.iter().rev();
        all.filter(|_| !is_unlike).find(|(since, _)| *since <= self.version).map(|(_, test)| *test)
    }
}

/// The parts of an image's name: publisher and name as the table has them, and the tag; nothing if a digest is all there is.
fn parts(image: &str) -> (String, Option<&str>) {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let (folder, last) = name.rsplit_once('/').unwrap_or(("", name));
    let (last, tag) = last.split_once(':').map_or((last, None), |(last, tag)| (last, Some(tag)));
    let publisher = folder.rsplit('/').next().unwrap_or_default();
    let is_host = publisher.contains(['.', ':']) || publisher == "localhost";
    let is_official = publisher.is_empty() || is_host || publisher == "library";
    let full = if is_official { last.to_string() } else { format!("{publisher}/{last}") };
    let tag = tag.or(if digest.is_some() { None } else { Some("latest") });
    (full, tag)
}

/// Whether a service runs what its image is for, in whatever way, and no script or other program of it.
fn runs_itself(service: &Node, known: &Known) -> bool {
    let words = |key: &str| -> Vec<String> {
        let Some(node) = service.get(key) else { return Vec::new() };
        let list = node.list().unwrap_or_default().iter().filter_map(Node::scalar).map(str::to_string);
        node.scalar().unwrap_or_default().split_whitespace().map(str::to_string).chain(list).collect()
    };
    let (entrypoint, command) = (words("entrypoint"), words("command"));
    let begins = entrypoint.iter().chain(&command).any(|word| {
        let mut programs = word.split_whitespace().map(|word| word.rsplit('/').next().unwrap_or(word));
        word.contains("docker-entrypoint") || programs.any(|name| name == "run.sh" || known.runs.contains(&name))
    });
    let first = command.first().map(|word| word.rsplit('/').next().unwrap_or(word));
    begins || entrypoint.is_empty() && !matches!(first, Some("sh" | "bash" | "ash"))
}

/// What is known of the image that a service runs. An image that is built here is not known, and neither is one that runs
/// another program than its own.
pub fn known(service: &Node) -> Option<&'static Known> {
    by_name(service).filter(|known| runs_itself(service, known))
}

fn by_name(service: &Node) -> Option<&'static Known> {
    if service.get("build").is_some() || is_cast(service) {
        return None;
    }
    let (full, _) = parts(service.get("image")?.scalar()?);
    table::KNOWN.iter().find(|known| known.names.contains(&full.as_str()))
}

/// What is known of how a service runs; or why nothing is.
pub fn understood(service: &Node) -> Result<Understood, String> {
    let image = service.get("image").and_then(Node::scalar).filter(|_| service.get("build").is_none());
    let Some(image) = image else { return Err("what its Dockerfile makes is not known".into()) };
    let shown: String = image.escape_debug().take(120).collect();
    let Some(known) = by_name(service) else { return Err(format!("`{shown}` is not known")) };
    let (_, tag) = parts(image);
    let version = tag.and_then(version).filter(|version| *version >= known.since);
    let Some(version) = version else { return Err(format!("this version of `{shown}` is not known")) };
    if let Some(program) = other_program(service, known) {
        return Err(format!(
            "it runs `{}`, not what its image does",
            program.escape_debug().take(60).collect::<String>()
        ));
    }
    if let Some(target) = targets(service).into_iter().find(|target| is_program(target)) {
        return Err(format!(
            "`{}` lies over the programs of its image",
            target.escape_debug().take(80).collect::<String>()
        ));
    }
    Ok(Understood { known, version, tag: tag.unwrap_or_default().to_string(), moved: moved(service, known) })
}

/// Words that tags have for what is newest, and for what it is built on. What is built on something else is another image:
/// MariaDB on `ubi` has its socket elsewhere, and Prometheus without a distribution another user.
const WORDS: &[&str] = &[
    "alpine",
    "beta",
    "bionic",
    "bookworm",
    "bullseye",
    "buster",
    "debian",
    "focal",
    "ha",
    "innovation",
    "jammy",
    "latest",
    "lts",
    "m",
    "main",
    "mainline",
    "management",
    "noble",
    "oracle",
    "oraclelinux",
    "otel",
    "perl",
    "pg",
    "rc",
    "slim",
    "stable",
    "trixie",
    "ubuntu",
];
/// Options of servers for a port, an address, a socket, a folder or a user.
const OPTIONS: &[&str] = &["-D", "-U", "-f", "-h", "-k", "-p", "-s", "-u", "--user"];
const PATHS: &[&str] = &["--dir", "--pidfile", "--user="];
/// What words have that are about a path, a port, a socket or a file of settings.
const MOVING: &[&str] = &["/", "cnf", "conf", "datadir", "defaults", "port", "sock", "ssl", "tls", "tmpdir"];

/// The version that a tag is about: `16-alpine`, `v2.45.0`, `lts`, `pg16`.
fn version(tag: &str) -> Option<Version> {
    let is_word = |part: &str| {
        let word = part.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        WORDS.contains(&word) || word.is_empty() && !part.is_empty()
    };
    let numbers = tag.strip_prefix('v').unwrap_or(tag);
    let mut version = [u32::MAX; 3];
    if numbers.starts_with(|c: char| c.is_ascii_digit()) {
        let mut parts = numbers.split(['-', '_']);
        let first = parts.next()?;
        for (slot, number) in version.iter_mut().zip(first.split('.')) {
            let digits =
                number.find(|c: char| !c.is_ascii_digit()).map_or(number, |at| number.get(..at).unwrap_or_default());
            match digits.parse() {
                Ok(number) => *slot = number,
                Err(_) => break,
            }
        }
        return parts.all(is_word).then_some(version);
    }
    (!tag.is_empty() && tag.split('-').all(is_word)).then_some(version)
}

/// The words of a command, as a list or as text.
pub fn words(service: &Node, key: &str) -> Vec<String> {
    let Some(node) = service.get(key) else { return Vec::new() };
    let plain = |word: &str| word.trim_matches(['"', '\'']).to_string();
    match &node.value {
        Value::List(list) => list.iter().filter_map(Node::scalar).map(str::to_string).collect(),
        _ => node.scalar().unwrap_or_default().split_whitespace().map(plain).collect(),
    }
}

/// The program that is run instead of the image's own.
fn other_program(service: &Node, known: &Known) -> Option<String> {
    let entrypoint = service.get("entrypoint").filter(|node| node.value != Value::Null);
    if entrypoint.is_some() {
        return Some(words(service, "entrypoint").into_iter().next().unwrap_or_default());
    }
    let first = words(service, "command").into_iter().next()?;
    let name = first.rsplit('/').next().unwrap_or_default();
    (!first.starts_with('-') && !known.runs.contains(&name)).then_some(first)
}

/// Where something is laid into the container.
pub fn targets(service: &Node) -> Vec<&str> {
    let list = |key: &str| service.get(key).and_then(Node::list).unwrap_or_default();
    let mounts = list("volumes").iter().chain(list("configs")).filter_map(|mount| mount.get("target")?.scalar());
    mounts.map(|target| target.trim_end_matches('/')).collect()
}

/// Whether a path is that of a folder, or in it.
pub fn is_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Programs and scripts that run before the image's own.
fn is_program(target: &str) -> bool {
    let folders =
        ["/bin", "/sbin", "/lib", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/local/bin", "/docker-entrypoint.d"];
    target.is_empty()
        || ["/usr", "/usr/local", "/etc", "/etc/passwd", "/etc/group"].contains(&target)
        || folders.iter().any(|folder| is_in(target, folder))
        || target.ends_with("entrypoint.sh")
}

/// What moves an image's paths and ports from where they are known to be.
fn moved(service: &Node, known: &Known) -> Option<String> {
    let targets = targets(service);
    let lies_over = |target: &&&str| known.configuration.iter().any(|path| is_in(target, path) || is_in(path, target));
    if let Some(target) = targets.iter().find(lies_over) {
        return Some((*target).to_string());
    }
    let is_set = |name: &str| {
        known.settings.iter().any(|set| set.strip_suffix('*').map_or(name == *set, |start| name.starts_with(start)))
    };
    let environment = service.get("environment").and_then(Node::map);
    let value = |node: &Node| node.scalar().unwrap_or_default().to_string();
    for (name, (_, node)) in environment.into_iter().flatten().filter(|(name, _)| is_set(name)) {
        let is_mounted = targets.iter().chain(known.data).any(|target| is_in(&value(node), target));
        if !is_mounted && node.scalar().is_some_and(|text| !text.is_empty()) {
            return Some(name.clone());
        }
    }
    let moves = |word: &String| {
        let lower = word.to_ascii_lowercase();
        let is_fine = known.options.iter().any(|fine| word.starts_with(fine));
        let is_option = OPTIONS.contains(&word.as_str()) || PATHS.iter().any(|start| word.starts_with(start));
        !is_fine && (is_option || MOVING.iter().any(|part| lower.contains(part)))
    };
    let command = words(service, "command");
    let skip = usize::from(command.first().is_some_and(|first| !first.starts_with('-')));
    // A word may be a password.
    command.iter().skip(skip).any(moves).then(|| "its command".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::yaml;

    fn service(text: &str) -> Node {
        yaml::parse(text, 0, "c").unwrap().remove(0)
    }

    #[test]
    fn versions_are_read_from_tags() {
        let max = u32::MAX;
        for (tag, expected) in [
            ("16", Some([16, max, max])),
            ("10.6.4-focal", Some([10, 6, 4])),
            ("v2.45.0", Some([2, 45, 0])),
            ("8.2-m01-alpine", Some([8, 2, max])),
            ("pg16", Some([max; 3])),
            ("latest", Some([max; 3])),
            ("alpine3.20", Some([max; 3])),
            ("stable-alpine-slim", Some([max; 3])),
            ("16-3.4-alpine", Some([16, max, max])),
            ("mine", None),
            ("lts-ubi9", None),
            ("11.8-ubi9", None),
            ("v3.10.0-distroless", None),
            ("", None),
        ] {
            assert_eq!(version(tag), expected, "{tag}");
        }
    }

    #[test]
    fn an_image_is_known_by_its_name_and_publisher() {
        let is_known = |image: &str| known(&service(&format!("image: '{image}'"))).is_some();
        for image in
            ["postgres", "docker.io/library/redis:7", "mirror.test:5000/mongo", "docker.io/grafana/grafana:9@sha256:x"]
        {
            assert!(is_known(image), "{image}");
        }
        for image in ["bitnami/postgresql", "me/redis", "postgres-exporter", "docker.io/me/nginx"] {
            assert!(!is_known(image), "{image}");
        }
        assert!(known(&service("{image: postgres, build: .}")).is_none());
    }

    #[test]
    fn an_image_that_is_used_in_another_way_is_not_understood() {
        let why = |text: &str| understood(&service(text)).err().unwrap_or_default();
        assert_eq!(why("image: postgres:16"), "");
        assert_eq!(why("{image: redis:7, command: redis-server --appendonly yes}"), "");
        assert_eq!(why("{image: mysql:8, command: [--max_connections=500]}"), "");
        assert_eq!(why("{image: postgres:16, command: [/usr/local/bin/postgres, -c, fsync=off]}"), "");
        assert_eq!(why("image: me/app"), "`me/app` is not known");
        assert_eq!(why("{build: ., image: postgres}"), "what its Dockerfile makes is not known");
        for image in ["postgres:9.6", "mongo:3.0", "mysql:5.5", "redis:mine", "redis@sha256:abc"] {
            assert_eq!(why(&format!("image: '{image}'")), format!("this version of `{image}` is not known"));
        }
        for text in [
            "{image: mongo:8, entrypoint: [bash, /setup.sh]}",
            "{image: redis:7, command: [sh, -c, 'redis-server']}",
            "{image: nginx, command: '/bin/sh -c \"sleep 1\"'}",
        ] {
            assert!(why(text).starts_with("it runs `"), "{text}: {}", why(text));
        }
        for target in ["/docker-entrypoint.d/x.sh", "/usr/local/bin/docker-entrypoint.sh", "/", "/entrypoint.sh"] {
            let text = format!("{{image: nginx, volumes: [{{type: bind, source: ./x, target: '{target}'}}]}}");
            assert!(why(&text).ends_with("lies over the programs of its image"), "{text}: {}", why(&text));
        }
    }

    #[test]
    fn settings_move_what_is_known() {
        let moved = |text: &str| understood(&service(text)).ok().and_then(|image| image.moved).unwrap_or_default();
        for (text, expected) in [
            ("{image: postgres, environment: {PGDATA: /var/lib/postgresql/data/pgdata}}", ""),
            ("{image: postgres, environment: {PGDATA: /elsewhere}}", "PGDATA"),
            ("{image: postgres, environment: {PGDATA: /pg/x}, volumes: [{type: volume, source: d, target: /pg}]}", ""),
            ("{image: postgres, command: [postgres, -c, config_file=/x]}", "its command"),
            ("{image: postgres, command: postgres -c shared_preload_libraries=pg_stat_statements}", ""),
            ("{image: redis, command: redis-server /etc/redis.conf}", "its command"),
            ("{image: redis, command: redis-server --requirepass s3cret/port}", "its command"),
            ("{image: nginx, volumes: [{type: bind, source: ., target: /usr/share/nginx/html}]}", ""),
            (
                "{image: nginx, volumes: [{type: bind, source: ., target: /etc/nginx/conf.d/a.conf}]}",
                "/etc/nginx/conf.d/a.conf",
            ),
            ("{image: nginx, configs: [{source: a, target: /etc/nginx/nginx.conf}]}", "/etc/nginx/nginx.conf"),
            ("{image: prom/prometheus, command: [--config.file=/x/y.yml, --storage.tsdb.path=/prometheus]}", ""),
            ("{image: prom/prometheus, command: [--storage.tsdb.path=/data]}", "its command"),
            ("{image: grafana/grafana, environment: {GF_SERVER_HTTP_PORT: '80'}}", "GF_SERVER_HTTP_PORT"),
        ] {
            assert_eq!(moved(text), expected, "{text}");
        }
    }

    #[test]
    fn health_is_asked_with_what_a_version_has() {
        let health = |image: &str| {
            let service = service(&format!("image: {image}"));
            understood(&service).ok().and_then(|image| image.health()).map(|test| test.join(" ")).unwrap_or_default()
        };
        for (image, expected) in [
            ("mongo:4.4", "CMD-SHELL mongo --quiet"),
            ("mongo:5", "CMD-SHELL mongo --quiet"),
            ("mongo:6.0", "CMD-SHELL mongosh --quiet"),
            ("mongo", "CMD-SHELL mongosh --quiet"),
            ("mariadb:10.6.4-focal", "CMD-SHELL mysqladmin"),
            ("mariadb:10.11", "CMD healthcheck.sh --connect"),
            ("mariadb:lts", "CMD healthcheck.sh --connect"),
            ("grafana/grafana:11.0.0", "CMD-SHELL wget"),
        ] {
            assert!(health(image).starts_with(expected), "{image}: {}", health(image));
        }
        assert_eq!((health("grafana/grafana:11.0.0-ubuntu"), health("nginx")), (String::new(), String::new()));
    }
}
