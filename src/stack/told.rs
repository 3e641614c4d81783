//! What a service is told besides its variables: commands, checks, labels. Each with the key that it stands under.

use super::node::{Node, Place};

/// Pieces of one value, which a program reads together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// `command`, `labels.NAME`.
    pub key: String,
    /// Each with its place.
    pub pieces: Vec<(Place, String)>,
}

/// What is between two pieces.
const BETWEEN: &str = " ";

impl Told {
    fn of(key: &str, node: &Node) -> Option<Told> {
        let one = |node: &Node| Some((node.place, node.scalar()?.to_string()));
        let pieces = match node.list() {
            Some(list) => list.iter().filter_map(one).collect(),
            None => one(node).into_iter().collect::<Vec<_>>(),
        };
        (!pieces.is_empty()).then(|| Told { key: key.into(), pieces })
    }

    /// All pieces.
    pub fn text(&self) -> String {
        self.pieces.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(BETWEEN)
    }

    /// The piece that has this byte of the text.
    pub fn piece(&self, at: usize) -> usize {
        let mut end = 0;
        self.pieces
            .iter()
            .position(|(_, text)| {
                end += text.len() + BETWEEN.len();
                at < end
            })
            .unwrap_or(0)
    }

    /// The same with variables for these values.
    pub fn with(mut self, values: &[(String, String)]) -> Told {
        for (_, text) in &mut self.pieces {
            *text = values
                .iter()
                .fold(std::mem::take(text), |text, (value, name)| text.replace(value, &format!("$({name})")));
        }
        self
    }

    /// Whether the kubelet puts variables into it.
    pub fn is_command(&self) -> bool {
        matches!(self.key.as_str(), "command" | "entrypoint")
    }

    /// Whether it is `NAME=VALUE`.
    pub fn is_label(&self) -> bool {
        ["labels.", "annotations.", "deploy.labels."].iter().any(|prefix| self.key.starts_with(prefix))
    }

    /// What to do if there is a secret in it.
    pub fn hint(&self) -> &'static str {
        if self.is_label() {
            return "leave it out: everybody reads labels and annotations";
        }
        match self.key.as_str() {
            "command" | "entrypoint" => {
                "take it from a variable, `${NAME:?}`, or let a shell or the program read it: `$$NAME`, `/run/secrets/NAME`"
            }
            "healthcheck.test" => {
                "give it to the service as a variable, and let a shell read it: `[CMD-SHELL, 'PROGRAM \"$$NAME\"']`"
            }
            _ => "give it to the service as a variable or a secret, and let the service read it there",
        }
    }
}

/// `command` and `entrypoint`.
pub(super) fn commands(service: &Node) -> Vec<Told> {
    ["entrypoint", "command"].into_iter().filter_map(|key| Told::of(key, service.get(key)?)).collect()
}

/// Everything.
pub(super) fn all(service: &Node) -> Vec<Told> {
    let mut found = commands(service);
    for key in ["hostname", "working_dir"] {
        found.extend(service.get(key).and_then(|node| Told::of(key, node)));
    }
    let below = |key: &str, inner: &str| Told::of(&format!("{key}.{inner}"), service.get(key)?.get(inner)?);
    found.extend(below("x-ingot", "health"));
    found.extend(below("healthcheck", "test"));
    for key in ["post_start", "pre_stop"] {
        let hooks = service.get(key).and_then(Node::list).unwrap_or_default();
        let hooks = hooks.iter().filter_map(|hook| hook.get("command"));
        found.extend(hooks.filter_map(|command| Told::of(key, command)));
    }
    let deploy = service.get("deploy");
    let tables = [
        ("annotations", Some(service), "annotations"),
        ("deploy.labels", deploy, "labels"),
        ("labels", Some(service), "labels"),
        ("sysctls", Some(service), "sysctls"),
    ];
    for (called, table, key) in tables {
        let pairs = table.into_iter().flat_map(|table| named(called, table, key));
        found.extend(pairs.filter(|(name, _)| !is_of_proxy(name)).map(|(_, told)| told));
    }
    found
}

/// The values of a table, by their names.
fn named<'a>(called: &'static str, node: &'a Node, key: &str) -> impl Iterator<Item = (&'a str, Told)> + use<'a> {
    node.get(key).and_then(Node::map).into_iter().flatten().map(move |(name, (_, node))| {
        let text = format!("{name}={}", node.scalar().unwrap_or_default());
        (name.as_str(), Told { key: format!("{called}.{name}"), pieces: vec![(node.place, text)] })
    })
}

/// Whether a label is for a proxy that reads the engine's: no cluster has it.
pub(super) fn is_of_proxy(key: &str) -> bool {
    key.starts_with("traefik.") || key == "caddy" || key.starts_with("caddy.") || key.starts_with("caddy_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_in_a_piece() {
        let piece = |text: &str| (Place::default(), text.to_string());
        let told = Told { key: "command".into(), pieces: vec![piece("ab"), piece(""), piece("c")] };
        assert_eq!(told.text(), "ab  c");
        assert_eq!([0, 1, 3, 4, 9].map(|at| told.piece(at)), [0, 0, 1, 2, 0]);
        let with = told.with(&[("ab".into(), "X".into())]);
        assert_eq!(with.text(), "$(X)  c");
    }
}
