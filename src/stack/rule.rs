//! The rules that a stack is held against (CIS Docker Benchmark section 5), declared once. The page `docs/stack.md` lists
//! them from here.

use std::sync::OnceLock;

use crate::check::{Rule, Severity};

/// id, severity, what fires it, why, what to do.
type Declared = (&'static str, Severity, &'static str, &'static str, &'static str);

use Severity::{Error, Info, Warning};

pub(super) const RULES: [Declared; 29] = [
    (
        "capability-added",
        Error,
        "`cap_add` with a capability that leads out of a container",
        "With SYS_ADMIN, SYS_PTRACE, NET_ADMIN and the like the container is as good as the host.",
        "leave it out; CHOWN, NET_BIND_SERVICE, SETGID, SETUID and a few more are let pass",
    ),
    (
        "capabilities-kept",
        Warning,
        "no `cap_drop: [ALL]`",
        "Engines give every container a dozen capabilities that most never need.",
        "write `cap_drop: [ALL]`, and `cap_add` what is needed",
    ),
    (
        "cgroup-parent",
        Warning,
        "`cgroup_parent`",
        "The limits of that group hold, not those of the file.",
        "leave it out",
    ),
    (
        "cpu-limit",
        Warning,
        "no limit of CPU time",
        "One service can take the whole machine.",
        "write `cpus: 1.0`, or `deploy.resources.limits.cpus`",
    ),
    (
        "development",
        Error,
        "in production: a setting, a command, a port or a mount of development (`FLASK_DEBUG=1`, `NODE_ENV=development`, `--reload`, `nodemon`, 9229, `develop`, source that lies over the image)",
        "It shows strangers the inside of the program, or runs code that nobody cast.",
        "take it out of production: write compose.production.yaml, with `!reset` or `!override` for what must go",
    ),
    (
        "device",
        Error,
        "a device of the host, or leave for some",
        "A container with a device can do to it what root can.",
        "leave it out; GPUs of NVIDIA are asked for with `deploy.resources.reservations.devices`",
    ),
    (
        "engine-socket",
        Error,
        "the socket of docker, podman or containerd: itself, a folder above it, a link, a volume, another service's volumes, or a client's variable (`DOCKER_HOST`)",
        "Who can talk to the engine is root on the host.",
        "leave it out: `ingot sandbox serve` runs code for a service that must not see the engine; proxies and monitors have a way without it, a file or an endpoint of their own. This rule cannot be switched off",
    ),
    (
        "gpu-ignored",
        Error,
        "a request for GPUs that the engine does not hear: without `capabilities`, with `count` and `device_ids`, `runtime: nvidia`, a swarm's words, a wish (`NVIDIA_VISIBLE_DEVICES`) without a request, podman without CDI",
        "The service starts without GPU, and nobody is told.",
        "write `deploy.resources.reservations.devices: [{driver: nvidia, count: 1, capabilities: [gpu]}]`",
    ),
    (
        "healthcheck-missing",
        Warning,
        "no health check",
        "Nobody waits for it, and nobody notices when it hangs. An image may bring its own.",
        "write `healthcheck`, or disable it in so many words",
    ),
    (
        "host-mount",
        Error,
        "a folder of the host that decides over the host",
        "`/`, `/etc`, `/proc`, `/sys`, `/dev`, `/boot`, `/root`, `/home/NAME`, programs and libraries, what of `/usr/share`, `/usr/src`, `/var/lib` and `/var/spool` is the system's, keys of a user: who can write or read there owns the machine. Read-only, what everybody may know is let pass: the time zone, certificates, `/etc/hosts`, `/lib/modules`, `/usr/share`, an application's folder below `/etc`.",
        "mount the one folder that is needed, of the project",
    ),
    (
        "host-namespace",
        Error,
        "the host's processes, IPC, names or users (`pid`, `ipc`, `uts`, `userns_mode`: host)",
        "The wall between container and host has a hole there.",
        "leave it out",
    ),
    (
        "host-network",
        Error,
        "the host's network, or that of a container of another stack (`service:NAME` is let pass)",
        "It sees and may bind every port of the host, also those of loopback.",
        "use `networks` and `ports`",
    ),
    (
        "image-moves",
        Warning,
        "an image without a digest",
        "The same file starts another image tomorrow.",
        "write `image: NAME:TAG@sha256:...`, or let Ingot cast it (`x-ingot`)",
    ),
    (
        "memory-limit",
        Warning,
        "no limit of memory",
        "One service can take the whole machine.",
        "write `mem_limit: 512m`, or `deploy.resources.limits.memory`",
    ),
    (
        "new-privileges",
        Warning,
        "no `no-new-privileges:true`",
        "A setuid program in the image makes its caller root.",
        "write `security_opt: [\"no-new-privileges:true\"]`",
    ),
    (
        "pids-limit",
        Warning,
        "no limit of processes",
        "A fork bomb takes the whole machine.",
        "write `pids_limit: 200`, or `deploy.resources.limits.pids`",
    ),
    (
        "port-low",
        Warning,
        "a port of the host below 1024",
        "Such ports are for the host's own services, and need privileges.",
        "publish a port from 1024 on, behind a proxy",
    ),
    (
        "port-public",
        Warning,
        "a port that is published on every address of the host",
        "Engines open it past the host's firewall.",
        "write `127.0.0.1:PORT:PORT`",
    ),
    (
        "privileged",
        Error,
        "`privileged: true`",
        "That is no container: it can do everything that root on the host can.",
        "leave it out, and `cap_add` the one capability that is needed",
    ),
    (
        "propagation",
        Warning,
        "a mount that propagates to the host (shared, slave)",
        "What is mounted inside appears outside.",
        "leave `propagation` out",
    ),
    (
        "provider",
        Error,
        "a `provider`, or a `runtime` that is a path or not known: a program of the host that is run instead of, or around, a container",
        "It runs as whoever starts the stack, without any wall.",
        "run it as a container",
    ),
    (
        "restart-always",
        Info,
        "`restart: always` or `unless-stopped`",
        "A service that cannot start is started for ever.",
        "write `restart: on-failure:5`",
    ),
    (
        "root-user",
        Warning,
        "no user, or root",
        "Whoever breaks out of a process of root is root. An image may bring its own user.",
        "write `user: \"1001:1001\"`",
    ),
    (
        "secret-file",
        Warning,
        "a secret's file that is missing, empty, weak or readable by everybody; an error in production",
        "Whoever can guess or read it, has the service.",
        "write a long random value, and `chmod 700` its folder: a container's user, who is somebody else, has to read the file",
    ),
    (
        "secret-missing",
        Warning,
        "a well-known image without the password that it insists on, or open to everybody, also by a port that others reach; an error in production",
        "It does not start, or lets in whoever knows its documentation.",
        "set the variable that the finding names, better its form with `_FILE` and a secret",
    ),
    (
        "secret-value",
        Warning,
        "a password or key that stands in the file, is a usual or a short one, or is empty, also of an `env_file`, a variable, a command, a health check, a label or an argument of a build; an error in production",
        "Whoever has the file, or can guess, has the service.",
        "choose a long random value, and take it from the environment, `${NAME:?}`, or better from `secrets`",
    ),
    (
        "security-off",
        Error,
        "seccomp, AppArmor, SELinux or no-new-privileges switched off",
        "Each of them has stopped known ways out of a container.",
        "leave it out",
    ),
    (
        "variable-unset",
        Warning,
        "a variable without a value and without a default",
        "It becomes nothing, and nobody is told.",
        "set it, or write `${NAME:-default}` or `${NAME:?what it is for}`",
    ),
    (
        "writable-root",
        Warning,
        "no `read_only: true`",
        "Whoever gets in can change the program.",
        "write `read_only: true`, and `tmpfs` for what must be written",
    ),
];

/// All rules, sorted by id.
pub fn rules() -> &'static [Rule] {
    static ALL: OnceLock<Vec<Rule>> = OnceLock::new();
    ALL.get_or_init(|| {
        let one =
            |(id, severity, title, why, fix): Declared| Rule { id: id.into(), title: title.into(), severity, why, fix };
        let mut rules: Vec<Rule> = RULES.into_iter().map(one).collect();
        rules.sort_by(|a, b| a.id.cmp(&b.id));
        rules
    })
}

/// The table of `docs/stack.md`.
pub fn markdown() -> String {
    let mut page = "| rule | severity | fires at | why | fix |\n|---|---|---|---|---|\n".to_string();
    for rule in rules() {
        page += &format!("| `{}` | {} | {} | {} | {} |\n", rule.id, rule.severity, rule.title, rule.why, rule.fix);
    }
    page + "\n"
}
