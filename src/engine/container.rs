//! A container, as data: what it is made of, what it may do, and the argv of podman or docker that says so.
//!
//! [`Container::hardened`] is locked down as far as both engines can: no network, a read-only root, no capability, no
//! new privileges, the default seccomp profile, limits, nothing of the image's volumes, health check, stop signal and
//! working folder. Whoever needs more says so field by field. An option that an engine does not know is an error of
//! that engine and never left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::error::clean;
use super::transfer::argument;
use super::{Engine, Error, Kind};

/// The most arguments and variables, and the most bytes of one of them.
const ARGUMENTS_LIMIT: usize = 1000;
const ARGUMENT_BYTES: usize = 64 << 10;
/// How many processes a container's user may have on the whole machine, unless that is more than Ingot's own may.
const USER_PROCESSES: u64 = 4096;
/// What a container gets on top of its time before podman itself ends it.
const BACKSTOP: Duration = Duration::from_secs(30);
/// From this version on docker knows its own seccomp profile by name.
const DOCKER_BUILTIN_SECCOMP: u32 = 23;

/// A folder in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tmpfs {
    /// Where, absolute.
    pub path: String,
    /// At most so many bytes.
    pub size: u64,
    /// Its mode: 0o1777 lets every user write.
    pub mode: u32,
    /// Whether programs in it may be started.
    pub exec: bool,
    /// Whom it belongs to: the container's user, or root if `None`. Where the image has a folder, runc takes over its
    /// mode, but not its owner.
    pub owner: Option<(u32, u32)>,
}

/// A file or a folder of this machine, read-only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Absolute, without links.
    pub source: PathBuf,
    /// Where in the container, absolute.
    pub target: String,
}

/// What the engine must limit; `None` is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory. Swap is counted: there is none on top.
    pub memory: Option<u64>,
    /// Thousandths of a CPU.
    pub millicpus: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u32>,
    /// Processes and threads of the user on the whole machine (RLIMIT_NPROC). podman's own idea is more than a process
    /// without CAP_SYS_RESOURCE may give.
    pub user_processes: Option<u64>,
    /// Open files of one process.
    pub open_files: Option<u64>,
    /// Bytes of `/dev/shm`.
    pub shared_memory: Option<u64>,
}

/// What an engine shall run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// An image that the engine has: best its ID. It is never pulled.
    pub image: String,
    /// Unique; [`unique_name`] makes one.
    pub name: String,
    /// By which it is found again.
    pub labels: BTreeMap<String, String>,
    /// What the image says of itself and the container must not have: emptied variables, labels, volumes.
    pub overridden: Overridden,
    /// Program and first arguments; the image's entrypoint if `None`.
    pub entrypoint: Option<Vec<String>>,
    /// Arguments after the entrypoint; the image's command if there is neither this nor an entrypoint.
    pub args: Vec<String>,
    /// Variables on top of the image's. They can be seen by other users of this machine: no place for secrets.
    pub env: BTreeMap<String, String>,
    /// Numeric user and group; the image's own if `None`.
    pub user: Option<(u32, u32)>,
    /// The working folder; the image's if `None`.
    pub workdir: Option<String>,
    /// Whether the root file system cannot be written.
    pub read_only: bool,
    /// Whether the image's health check is kept (it runs when somebody calls [`Engine::healthcheck`], with docker by itself).
    pub healthcheck: bool,
    /// Writable folders in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// What it sees of this machine.
    pub mounts: Vec<Mount>,
    /// Limits.
    pub limits: Limits,
    /// Whether it gets this machine's NVIDIA GPUs.
    pub gpus: bool,
    /// Whether stdin is a pipe that somebody feeds.
    pub stdin: bool,
    /// How long it may run. podman ends it some time later even if Ingot is gone.
    pub timeout: Duration,
}

/// Of an image, what a container would inherit and shall not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overridden {
    /// Variables that are set to nothing.
    pub env: Vec<String>,
    /// Labels that are set to nothing.
    pub labels: Vec<String>,
    /// Annotations that are set to nothing (podman passes them on to the runtime).
    pub annotations: Vec<String>,
    /// Volumes that docker would make: an empty read-only folder stands there instead. podman makes none.
    pub volumes: Vec<String>,
}

/// [`USER_PROCESSES`], or what this process may have at most.
fn user_processes() -> u64 {
    let own = rustix::process::getrlimit(rustix::process::Resource::Nproc).maximum;
    own.map_or(USER_PROCESSES, |own| own.min(USER_PROCESSES))
}

/// `PREFIX-` and 16 random hexadecimal digits.
pub fn unique_name(prefix: &str) -> String {
    let mut random = [0u8; 8];
    // Blocks only before the kernel has any randomness; a name that repeats is refused by the engine.
    let _ = rustix::rand::getrandom(&mut random[..], rustix::rand::GetRandomFlags::empty());
    format!("{prefix}-{}", hex::encode(random))
}

impl Container {
    /// Everything closed: what is needed must be opened. The image's own entrypoint, command, environment and user
    /// stay until they are set.
    pub fn hardened(image: &str, name: &str) -> Self {
        Container {
            image: image.into(),
            name: name.into(),
            labels: BTreeMap::new(),
            overridden: Overridden::default(),
            entrypoint: None,
            args: Vec::new(),
            env: BTreeMap::new(),
            user: None,
            workdir: None,
            read_only: true,
            healthcheck: false,
            tmpfs: Vec::new(),
            mounts: Vec::new(),
            limits: Limits {
                memory: Some(512 << 20),
                millicpus: Some(1000),
                pids: Some(128),
                user_processes: Some(user_processes()),
                open_files: Some(1024),
                shared_memory: Some(16 << 20),
            },
            gpus: false,
            stdin: false,
            timeout: Duration::from_secs(60),
        }
    }

    /// With a folder in memory that everybody may write to, without programs.
    pub fn with_tmpfs(mut self, path: &str, size: u64) -> Self {
        self.tmpfs.push(Tmpfs { path: path.into(), size, mode: 0o1777, exec: false, owner: None });
        self
    }

    /// With a folder in memory that belongs to the container's user, without programs.
    pub fn with_own_tmpfs(mut self, path: &str, size: u64, user: (u32, u32)) -> Self {
        self.tmpfs.push(Tmpfs { path: path.into(), size, mode: 0o700, exec: false, owner: Some(user) });
        self
    }

    /// With a label.
    pub fn with_label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// `podman run` or `docker run`, attached. With `detached`, it prints the container's ID and ends.
    pub(super) fn command(&self, engine: &Engine, detached: bool) -> Result<Command, Error> {
        let kind = engine.kind();
        self.checked(kind)?;
        let mut words = Words(vec!["run".into(), "--rm".into(), "--pull=never".into()]);
        words.flag(detached, "--detach");
        words.flag(self.stdin, "--interactive");
        words.pair("--name", &self.name);
        self.fences(engine, &mut words);
        self.limits(&mut words);
        self.folders(kind, &mut words);
        self.identity(kind, &mut words);
        let entrypoint = self.entrypoint.as_deref().unwrap_or_default();
        if let Some((program, _)) = entrypoint.split_first() {
            words.pair("--entrypoint", program);
        }
        // What follows the image is the container's, whatever it looks like.
        words.0.push(self.image.clone());
        words.0.extend(entrypoint.iter().skip(1).chain(&self.args).cloned());
        Ok(engine.command(words.0.iter().map(String::as_str)))
    }

    /// What is the same for every hardened container.
    fn fences(&self, engine: &Engine, words: &mut Words) {
        for fence in [
            "--network=none",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges",
            "--ipc=private",
            "--cgroupns=private",
            "--log-driver=none",
            "--stop-signal=SIGKILL",
            "--init=false",
            "--hostname=sandbox",
            "--ulimit=core=0:0",
        ] {
            words.0.push(fence.into());
        }
        words.flag(self.read_only, "--read-only");
        words.flag(!self.healthcheck, "--no-healthcheck");
        let gpus = if engine.kind() == Kind::Podman { "--device=nvidia.com/gpu=all" } else { "--gpus=all" };
        words.flag(self.gpus, gpus);
        match engine.kind() {
            Kind::Podman => {
                for fence in [
                    "--http-proxy=false",
                    "--env-host=false",
                    "--image-volume=ignore",
                    "--read-only-tmpfs=false",
                    "--seccomp-policy=default",
                    "--systemd=false",
                    "--sdnotify=ignore",
                    "--no-hosts",
                    "--passwd=false",
                    "--umask=0022",
                ] {
                    words.0.push(fence.into());
                }
                words.pair("--timeout", &(self.timeout + BACKSTOP).as_secs().to_string());
            }
            Kind::Docker => {
                let major = engine.version().split('.').next().and_then(|major| major.parse::<u32>().ok());
                words
                    .flag(major.is_some_and(|major| major >= DOCKER_BUILTIN_SECCOMP), "--security-opt=seccomp=builtin");
                words.0.push("--restart=no".into());
            }
        }
    }

    fn limits(&self, words: &mut Words) {
        let limits = &self.limits;
        if let Some(memory) = limits.memory {
            words.pair("--memory", &memory.to_string());
            words.pair("--memory-swap", &memory.to_string());
        }
        if let Some(cpus) = limits.millicpus {
            words.pair("--cpus", &format!("{}.{:03}", cpus / 1000, cpus % 1000));
        }
        if let Some(pids) = limits.pids {
            words.pair("--pids-limit", &pids.to_string());
        }
        if let Some(processes) = limits.user_processes {
            words.pair("--ulimit", &format!("nproc={processes}:{processes}"));
        }
        if let Some(files) = limits.open_files {
            words.pair("--ulimit", &format!("nofile={files}:{files}"));
        }
        if let Some(bytes) = limits.shared_memory {
            words.pair("--shm-size", &bytes.to_string());
        }
    }

    fn folders(&self, kind: Kind, words: &mut Words) {
        for tmpfs in &self.tmpfs {
            let exec = if tmpfs.exec { "exec" } else { "noexec" };
            // podman would copy what the image has there.
            let empty = if kind == Kind::Podman { ",notmpcopyup" } else { "" };
            let owner = match (kind, tmpfs.owner) {
                (_, None) => String::new(),
                (Kind::Podman, Some(_)) => ",U".into(),
                (Kind::Docker, Some((user, group))) => format!(",uid={user},gid={group}"),
            };
            let options = format!("rw,nosuid,nodev,{exec},size={},mode={:o}{empty}{owner}", tmpfs.size, tmpfs.mode);
            words.pair("--tmpfs", &format!("{}:{options}", tmpfs.path));
        }
        if kind == Kind::Docker {
            let own = self.tmpfs.iter().map(|tmpfs| &tmpfs.path).chain(self.mounts.iter().map(|mount| &mount.target));
            let own: Vec<&String> = own.collect();
            for path in self.overridden.volumes.iter().filter(|path| !own.contains(path)) {
                words.pair("--tmpfs", &format!("{path}:ro,nosuid,nodev,noexec,size=4096"));
            }
        }
        for mount in &self.mounts {
            let source = mount.source.display();
            let options = "readonly,bind-propagation=rprivate";
            words.pair("--mount", &format!("type=bind,source={source},target={},{options}", mount.target));
        }
    }

    fn identity(&self, kind: Kind, words: &mut Words) {
        if let Some((user, group)) = self.user {
            words.pair("--user", &format!("{user}:{group}"));
        }
        if let Some(workdir) = &self.workdir {
            words.pair("--workdir", workdir);
        }
        for name in self.overridden.env.iter().filter(|name| !self.env.contains_key(*name)) {
            words.pair("--env", &format!("{name}="));
        }
        for (name, value) in &self.env {
            words.pair("--env", &format!("{name}={value}"));
        }
        for name in self.overridden.labels.iter().filter(|name| !self.labels.contains_key(*name)) {
            words.pair("--label", &format!("{name}="));
        }
        for (name, value) in &self.labels {
            words.pair("--label", &format!("{name}={value}"));
        }
        if kind == Kind::Podman {
            for name in &self.overridden.annotations {
                words.pair("--annotation", &format!("{name}="));
            }
        }
    }

    /// Nothing that an engine could read as something else than it is.
    fn checked(&self, kind: Kind) -> Result<(), Error> {
        let refuse = |text: &str| Err(Error::Argument { kind, text: clean(text) });
        if !argument(&self.image) || !argument(&self.name) || self.name.contains(['/', ':', '@']) {
            return refuse(if argument(&self.image) { &self.name } else { &self.image });
        }
        let targets = self.mounts.iter().map(|mount| &mount.target);
        let folders = self.tmpfs.iter().map(|tmpfs| &tmpfs.path).chain(targets).chain(&self.overridden.volumes);
        if let Some(path) = folders.chain(&self.workdir).find(|path| !plain_path(path)) {
            return refuse(path);
        }
        if let Some(mount) = self.mounts.iter().find(|mount| !mountable(&mount.source)) {
            return refuse(&mount.source.to_string_lossy());
        }
        let overridden = &self.overridden;
        let inherited = overridden.env.iter().chain(&overridden.labels).chain(&overridden.annotations);
        let names = inherited.chain(self.env.keys()).chain(self.labels.keys());
        if let Some(name) = names.clone().find(|name| name.is_empty() || name.contains(['=', '\n', '\0'])) {
            return refuse(name);
        }
        let words = self.entrypoint.iter().flatten().chain(&self.args).chain(names);
        let words = words.chain(self.env.values()).chain(self.labels.values());
        if words.clone().count() > ARGUMENTS_LIMIT {
            return refuse("more than 1000 arguments, variables and labels");
        }
        if let Some(word) = words.clone().find(|word| word.len() > ARGUMENT_BYTES || word.contains('\0')) {
            return refuse(word);
        }
        match self.entrypoint.as_deref().and_then(<[String]>::first) {
            // podman reads JSON where it begins with a bracket; an empty one would be the image's.
            Some(program) if program.is_empty() || program.starts_with(['[', '-']) => refuse(program),
            _ => Ok(()),
        }
    }
}

struct Words(Vec<String>);

impl Words {
    fn flag(&mut self, on: bool, flag: &str) {
        if on {
            self.0.push(flag.into());
        }
    }

    /// One word, so that a value is never taken for an option.
    fn pair(&mut self, option: &str, value: &str) {
        self.0.push(format!("{option}={value}"));
    }
}

/// An absolute path of harmless characters, without dots and not of the kernel's own folders.
fn plain_path(path: &str) -> bool {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/+ ".contains(&byte);
    let kernel = ["/proc", "/sys", "/dev"].iter().any(|own| path == *own || path.starts_with(&format!("{own}/")));
    path.starts_with('/') && path.bytes().all(harmless) && !path.split('/').any(|part| part == "..") && !kernel
}

/// Whether a path can stand in `--mount`, which separates with commas and knows quotes.
fn mountable(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.starts_with('/') && !text.contains([',', '"', '\n', '\r', '\0']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Explain;

    fn engine(kind: Kind, version: &str) -> Engine {
        Engine { kind, program: "engine".into(), version: version.into() }
    }

    fn words(container: &Container, kind: Kind) -> Vec<String> {
        let command = container.command(&engine(kind, "28.2.2"), false).unwrap();
        command.get_args().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    fn sample() -> Container {
        let mut container = Container::hardened("sha256:abc", "ingot-1").with_tmpfs("/tmp", 1 << 20);
        container.entrypoint = Some(vec!["/bin/run".into(), "--flag".into()]);
        container.args = vec!["--rm".into()];
        container.env.insert("A".into(), "b=c".into());
        container.user = Some((61200, 61200));
        container.workdir = Some("/".into());
        container.limits.user_processes = Some(4096);
        container.mounts.push(Mount { source: "/usr/lib/x y".into(), target: "/code".into() });
        container.overridden = Overridden {
            env: vec!["LD_PRELOAD".into()],
            labels: vec!["io.containers.seccomp.profile".into()],
            annotations: vec!["run.oci.handler".into()],
            volumes: vec!["/data".into()],
        };
        container
    }

    #[test]
    fn podman_is_told_everything() {
        let said = words(&sample(), Kind::Podman).join("\n");
        insta::assert_snapshot!(said, @r"
        run
        --rm
        --pull=never
        --name=ingot-1
        --network=none
        --cap-drop=ALL
        --security-opt=no-new-privileges
        --ipc=private
        --cgroupns=private
        --log-driver=none
        --stop-signal=SIGKILL
        --init=false
        --hostname=sandbox
        --ulimit=core=0:0
        --read-only
        --no-healthcheck
        --http-proxy=false
        --env-host=false
        --image-volume=ignore
        --read-only-tmpfs=false
        --seccomp-policy=default
        --systemd=false
        --sdnotify=ignore
        --no-hosts
        --passwd=false
        --umask=0022
        --timeout=90
        --memory=536870912
        --memory-swap=536870912
        --cpus=1.000
        --pids-limit=128
        --ulimit=nproc=4096:4096
        --ulimit=nofile=1024:1024
        --shm-size=16777216
        --tmpfs=/tmp:rw,nosuid,nodev,noexec,size=1048576,mode=1777,notmpcopyup
        --mount=type=bind,source=/usr/lib/x y,target=/code,readonly,bind-propagation=rprivate
        --user=61200:61200
        --workdir=/
        --env=LD_PRELOAD=
        --env=A=b=c
        --label=io.containers.seccomp.profile=
        --annotation=run.oci.handler=
        --entrypoint=/bin/run
        sha256:abc
        --flag
        --rm
        ");
    }

    #[test]
    fn docker_is_told_the_same_in_its_words() {
        let said = words(&sample(), Kind::Docker);
        for word in [
            "--network=none",
            "--cap-drop=ALL",
            "--security-opt=seccomp=builtin",
            "--restart=no",
            "--tmpfs=/data:ro,nosuid,nodev,noexec,size=4096",
            "--tmpfs=/tmp:rw,nosuid,nodev,noexec,size=1048576,mode=1777",
        ] {
            assert!(said.iter().any(|said| said == word), "{word}: {said:?}");
        }
        for word in ["--http-proxy=false", "--image-volume=ignore", "--annotation=run.oci.handler="] {
            assert!(!said.iter().any(|said| said == word), "{word}");
        }
        let old = sample().command(&engine(Kind::Docker, "20.10.5"), true).unwrap();
        let old: Vec<_> = old.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        assert!(old.contains(&"--detach".to_string()) && !old.contains(&"--security-opt=seccomp=builtin".to_string()));
    }

    #[test]
    fn what_could_be_read_as_something_else_is_refused() {
        type Change = fn(&mut Container);
        let changes: [Change; 12] = [
            |container| container.image = "--privileged".into(),
            |container| container.name = "a/b".into(),
            |container| container.workdir = Some("/proc/self/fd/7".into()),
            |container| container.workdir = Some("relative".into()),
            |container| container.entrypoint = Some(vec!["[\"sh\"]".into()]),
            |container| container.entrypoint = Some(vec!["--privileged".into()]),
            |container| container.tmpfs[0].path = "/tmp:exec,size=1t".into(),
            |container| container.mounts[0].source = "/x,readwrite".into(),
            |container| container.mounts[0].target = "/x/../y".into(),
            |container| container.overridden.volumes = vec!["/a:suid".into()],
            |container| container.overridden.env = vec!["A=B".into()],
            |container| container.args = vec!["x".into(); 2000],
        ];
        for (n, change) in changes.into_iter().enumerate() {
            let mut container = sample();
            change(&mut container);
            let error = container.command(&engine(Kind::Podman, "4"), false).map(|_| ()).unwrap_err();
            assert_eq!(error.class().code(), 2, "{n}: {error}");
            assert!(error.to_string().len() < 600, "{n}");
        }
    }

    #[test]
    fn names_are_unique() {
        let (one, other) = (unique_name("ingot"), unique_name("ingot"));
        assert!(one != other && one.len() == "ingot-".len() + 16, "{one} {other}");
    }
}
