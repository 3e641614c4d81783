//! What a cluster has no word for: every key, why, and what to do instead. Declared once, for errors and for the docs.

/// One key that is lost in translation.
pub(super) struct Loss {
    /// What `--allow` calls it.
    pub key: &'static str,
    /// Why there is no counterpart.
    pub why: &'static str,
    /// What to do about it.
    pub hint: &'static str,
}

const fn loss(key: &'static str, why: &'static str, hint: &'static str) -> Loss {
    Loss { key, why, hint }
}

const NODE: &str = "it is about the machine that engine runs on, and a cluster has many";

/// All of them, sorted by key.
pub(super) const LOSSES: &[Loss] = &[
    loss(
        "annotations",
        "it is not the key of an annotation",
        "take letters, digits, `.`, `_`, `-`, and a domain before `/`",
    ),
    loss("blkio_config", "there is no limit of disk transfers", "choose a storage class that has one"),
    loss("cgroup", NODE, "leave it out"),
    loss("cgroup_parent", NODE, "leave it out"),
    loss("command", "an image's own command cannot be taken away without an entrypoint", "write `entrypoint`, too"),
    loss("container_name", "pods have names of their own", "let other services use the name of the service"),
    loss("cpu_count", "it is for Windows", "write `cpus`"),
    loss("cpu_percent", "it is for Windows", "write `cpus`"),
    loss("cpu_rt_period", NODE, "leave it out"),
    loss("cpu_rt_runtime", NODE, "leave it out"),
    loss("cpu_shares", "a share above the limit is no reservation", "write `deploy.resources.reservations.cpus`"),
    loss("cpuset", NODE, "give it whole CPUs, and nodes the static CPU manager"),
    loss("credential_spec", "it is for Windows", "leave it out"),
    loss(
        "depends_on",
        "all services start at once",
        "let the service try again until the other answers, or end: it is restarted",
    ),
    loss("deploy.endpoint_mode", "it is not known", "write `vip` or `dnsrr`"),
    loss("deploy.mode", "only replicated services are translated", "write a DaemonSet or Job yourself"),
    loss("deploy.placement", NODE, "write nodeSelector or affinity yourself"),
    loss("deploy.restart_policy", "a pod of a Deployment is always restarted", "write `restart: always`"),
    loss("deploy.rollback_config", "a Deployment goes back when it is told to", "`kubectl rollout undo`"),
    loss("deploy.update_config", "a Deployment has other words for it", "write its `strategy` yourself"),
    loss("device_cgroup_rules", NODE, "leave it out, or install the device's plugin in the cluster"),
    loss("devices", NODE, "install the device's plugin in the cluster, and ask for what it offers"),
    loss(
        "dns",
        "a pod that asks other name servers does not find the other services",
        "tell the cluster's DNS about them",
    ),
    loss("domainname", "a pod is in its cluster's domain", "write `hostname` only"),
    loss("entrypoint", "it is taken away, and nothing says what runs instead", "write `command`"),
    loss("environment", "it is not the name of a variable", "take letters, digits, `.`, `_` and `-`"),
    loss("external_links", NODE, "use the name that the other has in the cluster"),
    loss(
        "extra_hosts",
        "there is no such host, or no such address",
        "use the name that the service has in the cluster",
    ),
    loss("gpus", "a pod asks for a number of GPUs, and cannot choose", "write `count: 1` with `capabilities: [gpu]`"),
    loss("group_add", "only its number means the same on every node", "write the number of the group"),
    loss("hostname", "it cannot be the name of a pod", "leave it out: a service is reached by its name"),
    loss(
        "ipc",
        "there is no such host, or other container, in a cluster",
        "leave it out, or make one image of the two",
    ),
    loss("isolation", "it is for Windows", "leave it out"),
    loss("labels", "it is not the key of a label", "take letters, digits, `.`, `_`, `-`, and a domain before `/`"),
    loss(
        "labels.proxy",
        "the proxy reads them from the engine, and a cluster has none",
        "write an Ingress, or what your proxy reads in a cluster",
    ),
    loss("logging", "logs are collected by the cluster", "leave it out, and install what ships logs in the cluster"),
    loss("mac_address", NODE, "leave it out"),
    loss("mem_swappiness", NODE, "leave it out"),
    loss(
        "memswap_limit",
        "nodes have no swap, or their own rules for it",
        "leave it out, or make it the same as `mem_limit`",
    ),
    loss("models", "there is no such thing in a cluster", "run the model as a service"),
    loss("network_mode", "there is no such host, or other container, in a cluster", "use `networks` and `ports`"),
    loss("networks.address", "addresses are the cluster's to give", "use the names of services"),
    loss(
        "networks.aliases",
        "it cannot be a name in a cluster",
        "take lower-case letters, digits and `-`, a letter first",
    ),
    loss("networks.driver", "networks are the cluster's", "leave it out"),
    loss("networks.external", "who else is in this network is not in the file", "write a NetworkPolicy for them"),
    loss("networks.ipam", "addresses are the cluster's to give", "leave it out"),
    loss("oom_kill_disable", NODE, "leave it out"),
    loss("oom_score_adj", NODE, "set the same request and limit of memory: such pods are killed last"),
    loss("pid", "there is no such host, or other container, in a cluster", "leave it out"),
    loss("pids_limit", "the limit of processes is one for all pods of a node", "set `podPidsLimit` of the kubelets"),
    loss("platform", "nodes are chosen by system and architecture", "write `linux/amd64`"),
    loss(
        "ports",
        "who may reach it is not decided",
        "say `--publish load-balancer`, `node-port` or `none`, or publish on 127.0.0.1",
    ),
    loss("ports.host_ip", "nodes have other addresses", "leave the address out, or write 127.0.0.1"),
    loss("post_start", "only one command, without user, folder and variables, can be run", "write one `command`"),
    loss("pre_stop", "only one command, without user, folder and variables, can be run", "write one `command`"),
    loss("provider", "it is a program of this machine", "run it as a container"),
    loss("pull_policy", "it is not known there", "write `always`, `missing` or `never`"),
    loss(
        "restart",
        "what has ports or a health check is always restarted",
        "leave it out; what ends and is waited for becomes a Job",
    ),
    loss("runtime", NODE, "write `runtimeClassName` yourself"),
    loss(
        "secrets.uid",
        "files of secrets and configs belong to root",
        "leave `uid` and `gid` out: everybody may read them",
    ),
    loss("security_opt", "it names something of a node", "install the profile on the nodes"),
    loss("stop_signal", "the image says which signal it wants", "set it in the image"),
    loss("storage_opt", NODE, "leave it out"),
    loss("tmpfs", "an emptyDir is writable for all, and has no other options", "keep `size` only"),
    loss("ulimits", "they are set for all containers of a node, by its runtime", "set them there"),
    loss("use_api_socket", "there is no engine to talk to", "leave it out"),
    loss("user", "only its number means the same everywhere", "write the number of the user: `\"1001:1001\"`"),
    loss("userns_mode", NODE, "leave it out"),
    loss("uts", NODE, "leave it out"),
    loss("volume_driver", "volumes are the cluster's", "write `x-ingot: { storage-class: NAME }` at the volume"),
    loss(
        "volumes.bind",
        "the folder is of this machine, and a pod runs anywhere",
        "use `configs` for files, `volumes` for data, or put it into the image",
    ),
    loss("volumes.driver", "volumes are the cluster's", "write `x-ingot: { storage-class: NAME }` at the volume"),
    loss(
        "volumes.shared",
        "most storage classes give a volume to one node, and a pod on another waits for ever",
        "write `x-ingot: { storage-class: NAME }` at the volume, of a class that offers ReadWriteMany, or let one service have it",
    ),
    loss("volumes.type", "there is no such volume in a cluster", "use a named volume"),
    loss("volumes_from", "pods do not share folders", "name a volume, and mount it in both"),
    loss(
        "x-ingot.sandbox",
        "the sandbox service starts containers of this machine's engine",
        "run what needs it on a machine with an engine",
    ),
];

/// What is known of a key.
pub(super) fn of(key: &str) -> Option<&'static Loss> {
    LOSSES.iter().find(|loss| loss.key == key)
}

/// The table of `docs/stack.md`.
pub fn markdown() -> String {
    let mut page = "| key | why | instead |\n|---|---|---|\n".to_string();
    for loss in LOSSES {
        page += &format!("| `{}` | {} | {} |\n", loss.key, loss.why, loss.hint);
    }
    page + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_say_why() {
        assert!(LOSSES.windows(2).all(|pair| pair[0].key < pair[1].key));
        assert!(LOSSES.iter().all(|loss| !loss.why.is_empty() && !loss.hint.is_empty()));
        assert!(of("nothing").is_none());
    }

    #[test]
    fn the_page_of_what_is_lost_is_fresh() {
        crate::project::page::holds("stack.md", "src/stack/export/losses.rs", &markdown());
    }
}
