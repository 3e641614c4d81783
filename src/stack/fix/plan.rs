//! Which findings of a service can be answered by editing its file, and how; and why the others cannot.
//!
//! What is safe for any image is written for any. What depends on the image is written for those that Ingot casts, and for
//! those that are [`understood`]: a service that starts must not be made one that does not.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{Change, Fix, Op, Val, loopback, moved};
use super::needs::{Memory, connections, has_gpu, needs_setuid};
use crate::stack::ingot::is_cast;
use crate::stack::known::{Begins, Understood, is_in, targets, understood};
use crate::stack::node::Node;
use crate::stack::{Stack, check};

/// What a service may have at most where nobody knows better: to be measured.
const MEMORY: &str = "512m";
/// More than a machine has is refused by docker, and every machine has one.
const CPUS: &str = "1.0";
/// What podman gives every container: enough for any server that is no fork bomb.
const PIDS: u64 = 2048;
/// What a well-known server has enough of.
const FEW_PIDS: u64 = 512;
/// What may be written to beside volumes.
const TEMPORARY: &str = "/tmp:size=64m";

/// What is done about the findings of a service.
#[derive(Default)]
pub struct Plan {
    /// The fixes, in the order in which they are written.
    pub fixes: Vec<Fix>,
    /// Why the findings of other rules are left.
    pub left: BTreeMap<&'static str, String>,
}

/// What is done about a finding, or why nothing is.
type Answer = Result<Vec<Change>, String>;

/// Plans for the rules that fired at a service. `guesses`: what depends on the image is written for images that are not known,
/// too.
pub fn plan(stack: &Stack, service: &Node, fired: &BTreeSet<&str>, guesses: bool) -> Plan {
    let look = Look { stack, service, image: understood(service), is_cast: is_cast(service), guesses };
    let user = if fired.contains("root-user") { look.user() } else { Ok(Vec::new()) };
    let becomes = user.as_ref().is_ok_and(|changes| !changes.is_empty());
    let mut plan = Plan::default();
    let mut answer = |rule: &'static str, answer: &dyn Fn() -> Answer| {
        if !fired.contains(rule) {
            return;
        }
        match answer() {
            Ok(changes) if changes.is_empty() => {}
            Ok(changes) => {
                let is_partial = rule == "port-public" && look.outward().is_some();
                if is_partial {
                    plan.left.extend(look.outward().map(|why| (rule, why)));
                }
                plan.fixes.push(Fix { rule, changes, is_partial });
            }
            Err(why) => drop(plan.left.insert(rule, why)),
        }
    };
    answer("root-user", &|| user.clone());
    answer("writable-root", &|| look.read_only());
    answer("capabilities-kept", &|| look.capabilities(becomes));
    answer("new-privileges", &|| match needs_setuid(service) {
        Some(why) => Err(format!("{why}, which gains privileges: without them it may not start")),
        None => Ok(vec![add(&["security_opt"], &["no-new-privileges:true"])]),
    });
    answer("memory-limit", &|| look.memory());
    answer("cpu-limit", &|| if has_gpu(service) { Err(GPU.into()) } else { Ok(vec![cpus(service)]) });
    answer("pids-limit", &|| Ok(vec![look.pids()]));
    answer("port-public", &|| look.ports());
    answer("healthcheck-missing", &|| look.health());
    answer("restart-always", &|| look.restart());
    plan
}

/// Whether nothing that a plan needs is known of a service's image: the name of it, as a reason has it.
pub fn is_strange(service: &Node) -> Option<String> {
    if is_cast(service) { None } else { understood(service).err() }
}

const GPU: &str = "it asks for GPUs: what a model takes is to be measured";

struct Look<'a> {
    stack: &'a Stack,
    service: &'a Node,
    image: Result<Understood, String>,
    is_cast: bool,
    guesses: bool,
}

fn set(path: &[&'static str], val: Val) -> Change {
    Change { path: path.to_vec(), op: Op::Set(val) }
}

fn add(path: &[&'static str], texts: &[&str]) -> Change {
    Change { path: path.to_vec(), op: Op::Add(texts.iter().map(|text| Val::text(*text)).collect()) }
}

fn text<'a>(node: &'a Node, key: &str) -> &'a str {
    node.get(key).and_then(Node::scalar).unwrap_or_default()
}

fn list<'a>(service: &'a Node, key: &str) -> &'a [Node] {
    service.get(key).and_then(Node::list).unwrap_or_default()
}

/// A path as the container has it: /var/run leads to /run.
fn settled(path: &str) -> &str {
    path.strip_prefix("/var").filter(|rest| is_in(rest, "/run")).unwrap_or(path).trim_end_matches('/')
}

impl Look<'_> {
    /// The user that the file names; nothing if there is none.
    fn named_user(&self) -> Option<&str> {
        Some(text(self.service, "user")).filter(|user| !user.is_empty())
    }

    fn is_root(&self) -> bool {
        let name = self.named_user().unwrap_or("root").split(':').next().unwrap_or_default();
        matches!(name, "" | "root") || name.parse() == Ok(0)
    }

    /// Why what depends on the image is left, and what to try.
    fn left(&self, why: &str, what: &str) -> Answer {
        Err(format!("{why}: try {what}"))
    }

    fn user(&self) -> Answer {
        const TRY: &str = "`user: \"1001:1001\"`, and look at what it writes";
        let image = match &self.image {
            Ok(image) => image,
            Err(_) if self.named_user().is_some() => {
                return Err("the file says root: whether it must be is not known".into());
            }
            Err(why) => return self.left(&format!("{why}, and which user it can run as"), TRY),
        };
        match (image.known.user, &image.known.begins, &image.moved) {
            (Some(user), ..) if self.named_user().is_some() => {
                Err(format!("the file says root; the image's own user is `{user}`: take `user` out, or write that"))
            }
            (Some(user), Begins::User, _) => Ok(vec![set(&["user"], Val::text(user))]),
            (Some(user), Begins::Root(_), Some(moved)) => {
                Err(format!("`{user}` is its user, but `{moved}` decides what it must be able to read and write"))
            }
            (Some(user), Begins::Root(_), None) if self.may_be_user(image) => Ok(vec![set(&["user"], Val::text(user))]),
            (Some(user), ..) => {
                Err(format!("it becomes `{user}` by itself, after it took over its folders, which only root can"))
            }
            (None, Begins::Root(_), _) => Err("it begins as root, and becomes somebody else by itself".into()),
            (None, ..) => self.left("which user the image can run as is not known", TRY),
        }
    }

    /// Whether all that a service can write to is its image's user's when it begins: only a new volume of the engine is given to
    /// him, over a folder that is his in the image.
    fn may_be_user(&self, image: &Understood) -> bool {
        let known = image.known;
        let is_given = |mount: &Node| {
            let (source, target) = (text(mount, "source"), text(mount, "target").trim_end_matches('/'));
            text(mount, "read_only") == "true"
                || text(mount, "type") == "volume"
                    && known.data.contains(&target)
                    && mount.get("volume").and_then(Node::map).is_none_or(|options| options.is_empty())
                    && !self.is_shared(source)
                    && check::bound(self.stack, source).is_none()
        };
        // A folder of the image that is hidden by an empty one is not his any more; and who mounts with a mode or an owner
        // may have meant root.
        let hides = |mount: &Node| {
            let (target, options) =
                mount.scalar().unwrap_or_default().split_once(':').unwrap_or((mount.scalar().unwrap_or_default(), ""));
            let target = settled(target);
            let own =
                known.writes.unwrap_or_default().iter().map(|path| settled(path.split(':').next().unwrap_or_default()));
            own.chain(known.data.iter().copied())
                .any(|path| is_in(path, target) && (path != target || known.data.contains(&path)))
                || options
                    .split(',')
                    .any(|option| ["mode=", "uid=", "gid="].iter().any(|start| option.starts_with(start)))
        };
        // A secret's file on the host may be its owner's alone.
        self.service.get("secrets").is_none()
            && list(self.service, "volumes").iter().all(is_given)
            && !list(self.service, "tmpfs").iter().any(hides)
            && self.service.get("volumes_from").is_none()
    }

    /// A volume that another service, or somebody outside of the stack, may have made before.
    fn is_shared(&self, volume: &str) -> bool {
        let uses = self.stack.services().flat_map(|(_, service)| list(service, "volumes"));
        let external = self.stack.root.get("volumes").and_then(|volumes| volumes.get(volume)?.get("external"));
        external.is_some_and(|node| node.scalar() != Some("false"))
            || uses.filter(|mount| !volume.is_empty() && text(mount, "source") == volume).count() > 1
    }

    fn read_only(&self) -> Answer {
        const TRY: &str = "`read_only: true`, with a volume or `tmpfs` for what it writes to";
        let writes = match &self.image {
            _ if self.is_cast => &[],
            Ok(image) => match self.writes(image) {
                Ok(writes) => writes,
                Err(_) if self.guesses => &[],
                Err(why) => return self.left(&why, TRY),
            },
            Err(_) if self.guesses => &[],
            Err(why) => return self.left(&format!("{why}, and what it writes to"), TRY),
        };
        let targets: Vec<&str> = targets(self.service)
            .into_iter()
            .chain(list(self.service, "tmpfs").iter().filter_map(Node::scalar))
            .filter_map(|target| target.split(':').next())
            .map(settled)
            .collect();
        let folder = |path: &str| settled(path.split(':').next().unwrap_or_default()).to_string();
        let has_own = writes.iter().any(|path| folder(path) == "/tmp");
        let lacks = |path: &&&str| !targets.contains(&folder(path).as_str());
        let temporary = [TEMPORARY];
        let folders: Vec<&str> = temporary.iter().filter(|_| !has_own).chain(writes).filter(lacks).copied().collect();
        let mut changes = vec![set(&["read_only"], Val::Bool(true))];
        if !folders.is_empty() {
            changes.push(add(&["tmpfs"], &folders));
        }
        Ok(changes)
    }

    /// What an image writes to, if that is certain of how it is run here.
    fn writes(&self, image: &Understood) -> Result<&'static [&'static str], String> {
        let known = image.known;
        let Some(writes) = known.writes else { return Err("all that its image writes to is not known".into()) };
        if let Some(moved) = &image.moved {
            return Err(format!("`{}` decides what is written, too", moved.escape_debug()));
        }
        let is_other = self.named_user().is_some_and(|user| known.user != Some(user));
        if is_other && !(self.is_root() && matches!(known.begins, Begins::Root(_))) {
            return Err("what it writes to as that user is not known".into());
        }
        let mounted = targets(self.service);
        let has_data = |folder: &&str| mounted.iter().any(|target| is_in(folder, target));
        match known.data.first().filter(|_| !known.has_volume && !known.data.iter().any(has_data)) {
            Some(folder) => Err(format!("it writes to {folder}, where it has no volume")),
            None => Ok(writes),
        }
    }

    fn capabilities(&self, becomes_user: bool) -> Answer {
        const TRY: &str = "`cap_drop: [ALL]`, with `cap_add` for what its log asks for";
        let drop = add(&["cap_drop"], &["ALL"]);
        if text(self.service, "privileged") == "true" {
            return Err("`privileged` gives it all of them, whatever is dropped".into());
        }
        let image = match &self.image {
            _ if self.is_cast && (self.named_user().is_none() || !self.is_root()) => return Ok(vec![drop]),
            Ok(image) => image,
            Err(_) if self.guesses => return Ok(vec![drop]),
            Err(why) => return self.left(&format!("{why}, and which it begins with"), TRY),
        };
        let is_own = becomes_user || !self.is_root();
        match image.known.begins {
            Begins::Root(_) | Begins::User if is_own => Ok(vec![drop]),
            Begins::Root(needs) => {
                let mut needs = needs.to_vec();
                // An init that is root hands signals on to somebody else.
                if text(self.service, "init") == "true" && !needs.contains(&"KILL") {
                    needs.push("KILL");
                    needs.sort_unstable();
                }
                Ok(vec![drop, add(&["cap_add"], &needs)])
            }
            Begins::User if self.named_user().is_none() => Ok(vec![drop]),
            _ if self.guesses => Ok(vec![drop]),
            Begins::User => self.left("which capabilities it needs as root is not known", TRY),
            Begins::Unknown => self.left("which capabilities its image begins with is not known", TRY),
        }
    }

    /// What is enough for the image, if its configuration is its own.
    fn usual_memory(&self) -> Option<&'static str> {
        let image = self.image.as_ref().ok().filter(|image| image.moved.is_none());
        image.and_then(|image| image.known.memory)
    }

    fn memory(&self) -> Answer {
        const MEASURE: &str = "measure, and write `mem_limit`";
        if has_gpu(self.service) {
            return Err(GPU.into());
        }
        let said = Memory::of(self.service);
        match self.usual_memory().or(self.guesses.then_some(MEMORY)) {
            Some(base) => Ok(vec![limit(self.service, "mem_limit", "memory", Val::text(said.limit(base)))]),
            None if said.said > 0.0 => {
                let heap = super::needs::written(said.said);
                Err(format!("how much it needs beside the {heap} that the file speaks of is not known: {MEASURE}"))
            }
            None => Err(format!("how much it needs is not known: {MEASURE}")),
        }
    }

    /// More than the connections that a server is told to take.
    fn pids(&self) -> Change {
        let usual = if self.usual_memory().is_some() { FEW_PIDS } else { PIDS };
        let connections = connections(self.service);
        let pids = if connections == 0 { usual } else { usual.max(connections + FEW_PIDS) };
        limit(self.service, "pids_limit", "pids", Val::Number(pids.to_string()))
    }

    /// Why ports stay as they are.
    fn outward(&self) -> Option<String> {
        let is_left = |port: &&Node| loopback(text(port, "host_ip")).is_some() && moved(port).is_none();
        let ports: Vec<&str> =
            list(self.service, "ports").iter().filter(is_left).map(|port| text(port, "published")).collect();
        let named = ports.iter().take(6).copied().collect::<Vec<_>>().join(", ");
        (!ports.is_empty()).then(|| format!("{named}: others are to reach it, and no proxy stands before it"))
    }

    fn ports(&self) -> Answer {
        if list(self.service, "ports").iter().any(|port| moved(port).is_some()) {
            return Ok(vec![Change { path: vec!["ports"], op: Op::Loopback }]);
        }
        self.outward().map_or(Ok(Vec::new()), Err)
    }

    fn health(&self) -> Answer {
        let image = match &self.image {
            Ok(image) => image,
            _ if self.is_cast => return Err("only you know how the health of your program is asked".into()),
            Err(why) => return Err(format!("{why}, and how its health is asked")),
        };
        if let Some(moved) = &image.moved {
            return Err(format!("`{}` decides where its health is asked", moved.escape_debug()));
        }
        let Some(test) = image.health() else {
            return Err("how the health of this image is asked is not known".into());
        };
        let (interval, timeout) = image.known.pace;
        // Data that is read in first takes its time.
        let fills = targets(self.service).iter().any(|target| is_in(target, "/docker-entrypoint-initdb.d"));
        let check = Val::Map(vec![
            ("test", Val::texts(test)),
            ("interval", Val::text(interval)),
            ("timeout", Val::text(timeout)),
            ("retries", Val::Number("5".into())),
            ("start_period", Val::text(if fills { "600s" } else { image.known.start })),
        ]);
        Ok(vec![set(&["healthcheck"], check)])
    }

    /// Five attempts are over in seconds: who is begun again until a database is there would give up.
    fn restart(&self) -> Answer {
        let conditions = self.service.get("depends_on").and_then(Node::map);
        let is_awaited = |(_, node): &(_, Node)| {
            matches!(text(node, "condition"), "service_healthy" | "service_completed_successfully")
        };
        let waits = conditions.is_some_and(|all| !all.is_empty() && all.values().all(is_awaited));
        let is_alone = self.image.as_ref().is_ok_and(|image| image.known.is_alone);
        if waits || is_alone || self.guesses || self.stack.services().count() == 1 {
            return Ok(vec![set(&["restart"], Val::text("on-failure:5"))]);
        }
        Err("`on-failure:5` gives up in seconds, and it may count on being begun again until others are there: let it wait for them with `condition: service_healthy` first".into())
    }
}

/// In the form that the service has already, for a file must not have both: its own keys, or those of `deploy`.
fn limit(service: &Node, own: &'static str, below: &'static str, val: Val) -> Change {
    let deploy = service.get("deploy");
    let has_table = deploy.and_then(|deploy| deploy.get("resources")?.get("limits")).is_some();
    let has_own = ["mem_limit", "cpus", "pids_limit"].iter().any(|key| service.get(key).is_some());
    let deploys = has_table || deploy.is_some() && !has_own;
    match (deploys, val) {
        (false, val) => set(&[own], val),
        // A number of CPUs is text there.
        (true, Val::Number(number)) if below == "cpus" => {
            set(&["deploy", "resources", "limits", below], Val::Text(number))
        }
        (true, val) => set(&["deploy", "resources", "limits", below], val),
    }
}

/// No less than what is reserved.
fn cpus(service: &Node) -> Change {
    let reserved = service.get("deploy").and_then(|deploy| deploy.get("resources")?.get("reservations")?.get("cpus"));
    let more = reserved.and_then(Node::scalar).filter(|text| text.parse::<f64>().is_ok_and(|cpus| cpus > 1.0));
    limit(service, "cpus", "cpus", Val::Number(more.unwrap_or(CPUS).into()))
}

/// What a person has to decide, where no edit is right for everybody.
pub fn decision(rule: &str) -> &'static str {
    match rule {
        "root-user" => {
            "which user the image can run as is not known: try `user: \"1001:1001\"` and look at what it writes"
        }
        "healthcheck-missing" => "how the health of this image is asked is not known",
        "image-moves" => "the digest is in a registry, which is not asked",
        "variable-unset" | "secret-value" | "secret-missing" | "secret-file" => "only you know the value",
        "engine-socket" => "take it out: who has it is root on the host, and no setting makes that safe",
        "port-low" => "another port is another address for whoever uses it",
        "development" => "what production needs instead is not known",
        "writable-root" | "capabilities-kept" | "new-privileges" | "memory-limit" | "cpu-limit" | "pids-limit"
        | "port-public" | "restart-always" => "it is written in a form that is not edited",
        _ => "the service may need it: whether it does is your decision",
    }
}

/// The key that a person writes for a rule of which the answer depends on the image.
pub fn by_hand(rule: &str) -> Option<&'static str> {
    Some(match rule {
        "capabilities-kept" => "cap_drop",
        "healthcheck-missing" => "healthcheck",
        "memory-limit" => "mem_limit",
        "root-user" => "user",
        "writable-root" => "read_only",
        _ => return None,
    })
}

/// What to look at after a fix, a line for each kind of it that was made.
pub fn advice(rule: &str) -> Option<&'static str> {
    Some(match rule {
        "writable-root" => {
            "where `read_only` is written, only `tmpfs` and volumes can be written to: give a service one for the rest"
        }
        "capabilities-kept" => {
            "where `cap_drop` is written, a service has what its image needs and no more: write `cap_add` where one is missed"
        }
        "memory-limit" | "cpu-limit" | "pids-limit" => "limits are where to begin: measure, and write what is needed",
        "root-user" => "well-known images run as their own user: their data must be in a volume that the engine made",
        "port-public" => "ports are published on this machine only: put a proxy before what others shall reach",
        "restart-always" => "`on-failure` does not start a service again after the machine was",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_reason_of_its_own() {
        for rule in crate::stack::rules() {
            assert!(decision(&rule.id).len() > 20, "{}", rule.id);
        }
    }
}
