//! Health checks that reached the engine in pieces: older podmans (5.4 was seen) tear arguments at their
//! spaces when Docker Compose calls their service (`podman compose`). Such a check fails for ever, and nobody is told why.

use std::collections::BTreeMap;

use super::{Node, Trouble};
use crate::engine::Service;
use crate::text;

/// How much of an argument is shown.
const SHOWN: usize = 80;

/// The commands of a pinned file's health checks, by service: the form with arguments, which no shell reads.
pub fn checks(pinned: &Node) -> BTreeMap<String, Vec<String>> {
    let services = pinned.get("services").and_then(Node::map).into_iter().flatten();
    let of = |service: &Node| {
        let test = service.get("healthcheck")?.get("test")?.list()?;
        // What is a dollar for the provider is written as two.
        let words: Vec<String> = test.iter().filter_map(Node::scalar).map(|word| word.replace("$$", "$")).collect();
        (words.first().is_some_and(|first| first == "CMD")).then_some(words)
    };
    services.filter_map(|(name, (_, service))| Some((name.clone(), of(service)?))).collect()
}

/// An error if the check of one of these containers of `service` is not the one that the file has, but its pieces.
pub fn whole(wanted: &BTreeMap<String, Vec<String>>, service: &str, containers: &[&Service]) -> Result<(), Trouble> {
    let Some(wanted) = wanted.get(service) else { return Ok(()) };
    let is_torn = |found: &[String]| {
        found.len() > wanted.len() && found.join(" ").split_whitespace().eq(wanted.join(" ").split_whitespace())
    };
    if !containers.iter().any(|one| is_torn(&one.test)) {
        return Ok(());
    }
    let argument = wanted.iter().find(|word| word.contains(char::is_whitespace)).cloned().unwrap_or_default();
    Err(Trouble::TornCheck { service: service.into(), argument: text::escape(&argument).chars().take(SHOWN).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Explain;
    use crate::stack::{Place, Value};

    fn node(value: Value) -> Node {
        Node::new(Place::default(), value)
    }

    fn map(key: &str, value: Node) -> Node {
        node(Value::Map([(key.to_string(), (Place::default(), value))].into()))
    }

    fn pinned(test: &[&str]) -> Node {
        let words = test.iter().map(|word| Node::text(Place::default(), *word)).collect();
        map("services", map("api", map("healthcheck", map("test", node(Value::List(words))))))
    }

    #[test]
    fn arguments_of_several_words_are_missed() {
        let wanted = checks(&pinned(&["CMD", "python", "-c", "import x; x.y('$$a')"]));
        let found = |words: &[&str]| {
            let test = words.iter().map(ToString::to_string).collect();
            let container = Service { test, ..Service::example("api") };
            whole(&wanted, "api", &[&container])
        };
        found(&["CMD", "python", "-c", "import x; x.y('$a')"]).unwrap();
        // As podman-compose's podman keeps it, and a container that has no check yet.
        found(&["CMD-SHELL", "python -c 'import x'"]).unwrap();
        found(&[]).unwrap();
        let error = found(&["CMD", "python", "-c", "import", "x;", "x.y('$a')"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the health check of `api` has reached the engine in pieces: `import x; x.y('$a')` was one argument"
        );
        assert!(error.hint().unwrap().contains("podman-compose") && error.class().code() == 7);
        whole(&wanted, "web", &[]).unwrap();
        assert!(checks(&pinned(&["CMD-SHELL", "a b"])).is_empty());
        assert!(checks(&map("services", map("api", node(Value::Null)))).is_empty());
    }
}
