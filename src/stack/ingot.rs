//! `x-ingot`: what a Compose file says to Ingot and to no provider. Of a service: which project its image is cast from,
//! whether it may use the stack's sandbox, where its health is asked. Of the stack: its sandbox.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::error::Error;
use super::load::Stack;
use super::node::{Map, Node, Place, Value};
use crate::project::suggestion;

/// The key.
pub const KEY: &str = "x-ingot";
/// The name under which the stack's sandbox is shown; no service can have it then.
pub const SANDBOX: &str = "sandbox";

const OF_SERVICE: [&str; 5] = ["args", "health", "project", "sandbox", "variant"];
const OF_STACK: [&str; 1] = ["sandbox"];
const OF_SANDBOX: [&str; 11] =
    ["allow-weak", "args", "cpus", "image", "max-sessions", "memory", "pids", "project", "queue", "timeout", "variant"];
/// The keys of a sandbox that are options of `ingot sandbox serve` by the same name.
const OPTIONS: [&str; 6] = ["cpus", "max-sessions", "memory", "pids", "queue", "timeout"];

/// An image that Ingot casts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cast {
    /// The folder of the Ingot project.
    pub project: PathBuf,
    /// Its variant; the project's default otherwise.
    pub variant: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// Where it is said.
    pub place: Place,
}

/// What a service says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// What its image is cast from.
    pub cast: Option<Cast>,
    /// Whether it gets the socket of the stack's sandbox.
    pub sandbox: bool,
    /// Where its health is asked.
    pub health: Option<Endpoint>,
}

/// An address in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The port in the container.
    pub port: u16,
    /// With a slash, and the query.
    pub path: String,
}

/// The stack's sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxSpec {
    /// What its image is cast from, or what it is called in the engine.
    pub image: SandboxImage,
    /// Options of `ingot sandbox serve`, by name.
    pub options: BTreeMap<String, String>,
    /// Whether limits that are not in force are accepted.
    pub allow_weak: bool,
    /// Where it is said.
    pub place: Place,
}

/// Where code runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SandboxImage {
    /// In an image that Ingot casts.
    Cast(Cast),
    /// In an image that is there.
    Named(String),
}

/// What a service of the stack says.
pub fn extras(stack: &Stack, name: &str, service: &Node) -> Result<Extras, Error> {
    let Some(node) = service.get(KEY) else { return Ok(Extras::default()) };
    let reader = Reader { stack, whose: format!("services.{name}.{KEY}") };
    let map = reader.table(node, &OF_SERVICE)?;
    let extras = Extras {
        cast: reader.cast(node, map)?,
        sandbox: reader.flag(map, "sandbox")?,
        health: reader.text(map, "health")?.map(|(text, place)| reader.endpoint(text, place)).transpose()?,
    };
    if extras.sandbox && sandbox(stack)?.is_none() {
        return Err(reader.wrong(
            node.place,
            format!("`{name}` uses the sandbox, but the stack has none"),
            "write `x-ingot: { sandbox: { project: ./DIR } }` at the top level of the file",
        ));
    }
    Ok(extras)
}

/// The stack's sandbox, if it has one.
pub fn sandbox(stack: &Stack) -> Result<Option<SandboxSpec>, Error> {
    let Some(node) = stack.root.get(KEY) else { return Ok(None) };
    let reader = Reader { stack, whose: KEY.into() };
    let map = reader.table(node, &OF_STACK)?;
    let Some((_, node)) = map.get("sandbox") else { return Ok(None) };
    let reader = Reader { stack, whose: format!("{KEY}.sandbox") };
    let map = reader.table(node, &OF_SANDBOX)?;
    let image = match (reader.cast(node, map)?, reader.text(map, "image")?) {
        (Some(cast), None) => SandboxImage::Cast(cast),
        (None, Some((image, _))) => SandboxImage::Named(image.into()),
        (Some(_), Some((_, place))) => {
            return Err(reader.wrong(place, "the sandbox has `project` and `image`".into(), "keep one of the two"));
        }
        (None, None) => {
            let hint = "write `project: ./DIR` for an image that Ingot casts, or `image: REF`";
            return Err(reader.wrong(node.place, "nothing says which image the sandbox runs code in".into(), hint));
        }
    };
    if let Some((_, service)) = stack.services().find(|(name, _)| *name == SANDBOX) {
        let what = format!("a service is called `{SANDBOX}`, as the stack's own sandbox is");
        return Err(reader.wrong(service.place, what, "give it another name"));
    }
    let mut options = BTreeMap::new();
    for name in OPTIONS {
        if let Some((text, place)) = reader.text(map, name)? {
            reader.option(name, text, place)?;
            options.insert(name.to_string(), text.to_string());
        }
    }
    Ok(Some(SandboxSpec { image, options, allow_weak: reader.flag(map, "allow-weak")?, place: node.place }))
}

struct Reader<'a> {
    stack: &'a Stack,
    whose: String,
}

impl Reader<'_> {
    fn wrong(&self, place: Place, what: String, hint: &'static str) -> Error {
        Error::Unfit { file: self.stack.file(place).into(), line: place.line, what, hint }
    }

    fn table<'n>(&self, node: &'n Node, known: &[&'static str]) -> Result<&'n Map, Error> {
        let Some(map) = node.map() else {
            let what = format!("`{}` is {}, expected a mapping", self.whose, node.kind());
            return Err(self.wrong(node.place, what, "write `x-ingot: { project: ./DIR }`"));
        };
        let names: Vec<String> = known.iter().map(ToString::to_string).collect();
        for (key, (place, _)) in map {
            if !names.contains(key) {
                let shown: String = key.escape_debug().take(100).collect();
                return Err(Error::UnknownKey {
                    file: self.stack.file(*place).into(),
                    line: place.line,
                    what: format!("there is no key `{shown}` in `{}`", self.whose),
                    hint: suggestion(key, &names, "its keys are"),
                });
            }
        }
        Ok(map)
    }

    fn text<'n>(&self, map: &'n Map, key: &str) -> Result<Option<(&'n str, Place)>, Error> {
        let Some((_, node)) = map.get(key) else { return Ok(None) };
        match node.scalar() {
            Some(text) if !text.is_empty() => Ok(Some((text, node.place))),
            _ => {
                let what = format!("`{}.{key}` is {}, expected text", self.whose, node.kind());
                Err(self.wrong(node.place, what, "write a value, or leave the key out"))
            }
        }
    }

    fn flag(&self, map: &Map, key: &str) -> Result<bool, Error> {
        match self.text(map, key)? {
            None | Some(("false", _)) => Ok(false),
            Some(("true", _)) => Ok(true),
            Some((_, place)) => {
                let what = format!("`{}.{key}` is neither true nor false", self.whose);
                Err(self.wrong(place, what, "write true or false"))
            }
        }
    }

    fn cast(&self, node: &Node, map: &Map) -> Result<Option<Cast>, Error> {
        let Some((project, place)) = self.text(map, "project")? else {
            if let Some(key) = ["variant", "args"].into_iter().find(|key| map.contains_key(*key)) {
                let what = format!("`{}` has `{key}`, but no `project`", self.whose);
                return Err(self.wrong(node.place, what, "write `project: ./DIR`: the folder with ingot.toml"));
            }
            return Ok(None);
        };
        let variant = self.text(map, "variant")?.map(|(variant, _)| variant.to_string());
        let mut args = BTreeMap::new();
        if let Some((_, node)) = map.get("args") {
            let Some(map) = node.map() else {
                let what = format!("`{}.args` is {}, expected a mapping", self.whose, node.kind());
                return Err(self.wrong(node.place, what, "write `args: { NAME: value }`"));
            };
            for (name, (place, value)) in map {
                let Some(value) = value.scalar() else {
                    let what = format!("`{}.args.{}` is {}, expected text", self.whose, shown(name), value.kind());
                    return Err(self.wrong(*place, what, "write `args: { NAME: value }`"));
                };
                args.insert(name.clone(), value.to_string());
            }
        }
        Ok(Some(Cast { project: self.stack.folder.join(project), variant, args, place }))
    }

    /// `http://:3000/api/health`: nobody asks another machine.
    fn endpoint(&self, text: &str, place: Place) -> Result<Endpoint, Error> {
        let wrong = || {
            let what = format!("`{}.health` is `{}`, expected an address in the container", self.whose, shown(text));
            self.wrong(place, what, "write `health: \"http://:PORT/PATH\"`")
        };
        let rest = text.strip_prefix("http://:").ok_or_else(wrong)?;
        let (port, path) = rest.split_once('/').unwrap_or((rest, ""));
        let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        if path.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(wrong());
        }
        Ok(Endpoint { port, path: format!("/{path}") })
    }

    /// What `ingot sandbox serve` would refuse is told here, with its line.
    fn option(&self, name: &str, text: &str, place: Place) -> Result<(), Error> {
        let number = |most: u32| text.parse::<u32>().is_ok_and(|number| number <= most);
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let (sound, hint) = match name {
            "timeout" => (
                humantime::parse_duration(text).is_ok_and(|time| time > Duration::ZERO),
                "write a time, such as 10s or 2m",
            ),
            "memory" => (digits.parse::<u64>().is_ok_and(|size| size > 0), "write a size, such as 256m"),
            "cpus" => (text.parse::<f32>().is_ok_and(|cpus| cpus > 0.0), "write a number, such as 1 or 0.5"),
            "queue" => (number(10_000), "write a number up to 10000"),
            "max-sessions" => (number(1000) && text != "0", "write a number from 1 to 1000"),
            _ => (number(u32::MAX) && text != "0", "write a number"),
        };
        if sound {
            return Ok(());
        }
        Err(self.wrong(place, format!("`{}.{name}` cannot be `{}`", self.whose, shown(text)), hint))
    }
}

fn shown(text: &str) -> String {
    text.escape_debug().take(100).collect()
}

/// Whether a service has an image that Ingot casts.
pub fn is_cast(service: &Node) -> bool {
    service.get(KEY).and_then(|node| node.get("project")).is_some_and(|node| node.value != Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Explain;
    use crate::stack::Request;

    fn stack(text: &str) -> Stack {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
        Stack::load(&Request { folder: Some(folder.path().into()), ..Request::default() }).unwrap()
    }

    fn first(stack: &Stack) -> Result<Extras, Error> {
        let (name, service) = stack.services().next().unwrap();
        extras(stack, name, service)
    }

    #[test]
    fn a_service_says_what_it_is_cast_from() {
        let text = "x-ingot: {sandbox: {project: ./x, max-sessions: 5, timeout: 10s, memory: 256m}}\nservices:\n  web: {x-ingot: {project: ./web, variant: cpu, args: {A: 1}, sandbox: true, health: 'http://:3000/api/health?x'}}\n";
        let stack = stack(text);
        let found = first(&stack).unwrap();
        let cast = found.cast.unwrap();
        assert_eq!((cast.project, cast.variant.as_deref()), (stack.folder.join("./web"), Some("cpu")));
        assert_eq!((cast.args["A"].as_str(), cast.place.line), ("1", 3));
        assert_eq!(found.health, Some(Endpoint { port: 3000, path: "/api/health?x".into() }));
        let sandbox = sandbox(&stack).unwrap().unwrap();
        assert!(found.sandbox && matches!(sandbox.image, SandboxImage::Cast(_)));
        assert_eq!(sandbox.options["max-sessions"], "5");
    }

    #[test]
    fn what_is_not_understood_has_its_line() {
        for (text, expected) in [
            ("{projekt: ./web}", "there is no key `projekt` in `services.web.x-ingot`"),
            ("[a]", "`services.web.x-ingot` is a list, expected a mapping"),
            ("{variant: cpu}", "has `variant`, but no `project`"),
            ("{project: ./web, args: [A]}", "`services.web.x-ingot.args` is a list"),
            ("{project: ./web, args: {A: []}}", "`services.web.x-ingot.args.A` is a list"),
            ("{project: }", "`services.web.x-ingot.project` is nothing, expected text"),
            ("{project: ./web, sandbox: 7}", "neither true nor false"),
            ("{project: ./web, sandbox: true}", "`web` uses the sandbox, but the stack has none"),
            ("{project: ./web, health: 'http://example:80/'}", "expected an address in the container"),
            ("{project: ./web, health: 'http://:0/'}", "expected an address in the container"),
        ] {
            let error = first(&stack(&format!("services: {{web: {{image: i, x-ingot: {text}}}}}"))).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
            assert!(error.to_string().starts_with("`compose.yaml`, line 1: ") && error.class().code() == 2);
            assert!(error.hint().is_some(), "{text}");
        }
        for (text, expected) in [
            ("{}", "nothing says which image"),
            ("{image: i, project: .}", "has `project` and `image`"),
            ("{image: i, timeout: soon}", "`x-ingot.sandbox.timeout` cannot be `soon`"),
            ("{image: i, max-sessions: 0}", "cannot be `0`"),
            ("{image: i, memory: x}", "cannot be `x`"),
            ("{image: i, sessions: 1}", "there is no key `sessions` in `x-ingot.sandbox`"),
        ] {
            let error =
                sandbox(&stack(&format!("x-ingot: {{sandbox: {text}}}\nservices: {{web: {{image: i}}}}"))).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
        let taken = stack("x-ingot: {sandbox: {image: i}}\nservices: {sandbox: {image: i}}");
        assert!(sandbox(&taken).unwrap_err().to_string().contains("a service is called `sandbox`"));
    }
}
