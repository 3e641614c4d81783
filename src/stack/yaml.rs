//! YAML 1.2 to trees: a document each, no key twice, and aliases that cannot grow beyond a limit.
//!
//! The parser is a library's; the tree is made here because every value needs its line, and because an alias that is
//! copied in counts against a limit (a file of a kilobyte can stand for gigabytes).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::error::Error;
use super::node::{Map, Merge, Node, Place, Value};

/// The largest file, in bytes.
pub const FILE_LIMIT: u64 = 1 << 20;
/// The most values of a file, with what aliases stand for.
pub const NODES_LIMIT: usize = 100_000;
/// The most bytes of text of a file, with what aliases stand for.
pub const TEXT_LIMIT: usize = 8 << 20;
/// How deep values may stand in one another.
pub const DEPTH_LIMIT: usize = 64;
/// The key that merges mappings (YAML 1.1, as Compose files use it).
const MERGE_KEY: &str = "<<";

/// The most documents of a file.
pub const DOCUMENTS_LIMIT: usize = 100;
/// How much may be read again because brackets close further left than the parser likes, in bytes.
const MENDING_LIMIT: usize = 64 << 20;
/// What is put before such a bracket: more than anybody indents.
const MENDING: usize = 256;

/// Reads the documents of `text`, which is file number `file` with this name. There is always one.
pub fn parse(text: &str, file: usize, name: &str) -> Result<Vec<Node>, Error> {
    let (text, _) = mended(text);
    let mut reader =
        Reader { parser: Parser::new_from_str(&text), anchors: BTreeMap::new(), size: Size::default(), file, name };
    let mut documents = Vec::new();
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => break,
            Event::DocumentStart(_) if documents.len() == DOCUMENTS_LIMIT => {
                return Err(reader.wrong(span, &format!("more than {DOCUMENTS_LIMIT} documents")));
            }
            Event::DocumentStart(_) => {
                let first = reader.next()?;
                documents.push(reader.node(first, 0)?);
            }
            _ => {}
        }
    }
    if documents.is_empty() {
        documents.push(Node::new(Place { file, line: 1 }, Value::Null));
    }
    Ok(documents)
}

/// A text whose brackets close far enough right, and the lines (from 1) that got space for it.
///
/// YAML wants what is in brackets to be indented more than the key before them. libyaml, and so every engine, does not
/// care, and `]` below its key is how many people write. Space between brackets means nothing, so it can be added where
/// the parser stops; lines keep their numbers.
pub fn mended(text: &str) -> (Cow<'_, str>, BTreeSet<usize>) {
    let mut lines = BTreeSet::new();
    let mut out = Cow::Borrowed(text);
    let mut work = 0usize;
    while let Some(line) = left_of_its_key(&out) {
        work += out.len();
        if work > MENDING_LIMIT || !lines.insert(line) {
            break;
        }
        let start = out.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        out.to_mut().insert_str(start, &" ".repeat(MENDING));
    }
    (out, lines)
}

/// Where in a line the parser found what stands in brackets too far left.
fn left_of_its_key(text: &str) -> Option<usize> {
    Parser::new_from_str(text).find_map(|event| match event {
        Err(error) if error.info() == "invalid indentation" => Some(Some(error.marker().line())),
        Err(_) => Some(None),
        Ok((Event::StreamEnd, _)) => Some(None),
        Ok(_) => None,
    })?
}

/// How many bytes [`mended`] puts before a line.
pub const MENDED: usize = MENDING;

/// How much there is of a value: values and bytes of text.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    text: usize,
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// Values with an anchor, and how much each is.
    anchors: BTreeMap<usize, (Node, Size)>,
    size: Size,
    file: usize,
    name: &'a str,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Error> {
        match self.parser.next() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let place = Place { file: self.file, line: error.marker().line() };
                Err(self.wrong_at(place, error.info()))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn place(&self, span: Span) -> Place {
        Place { file: self.file, line: span.start.line() }
    }

    fn wrong(&self, span: Span, what: &str) -> Error {
        self.wrong_at(self.place(span), what)
    }

    fn wrong_at(&self, place: Place, what: &str) -> Error {
        let what = what.chars().filter(|c| !c.is_control()).take(200).collect();
        Error::Yaml { file: self.name.to_string(), line: place.line, what }
    }

    fn count(&mut self, span: Span, more: Size) -> Result<(), Error> {
        self.size.nodes += more.nodes;
        self.size.text += more.text;
        if self.size.nodes > NODES_LIMIT {
            return Err(self.wrong(span, &format!("more than {NODES_LIMIT} values, with what aliases stand for")));
        }
        match self.size.text > TEXT_LIMIT {
            true => {
                Err(self.wrong(span, &format!("more than {TEXT_LIMIT} bytes of text, with what aliases stand for")))
            }
            false => Ok(()),
        }
    }

    fn node(&mut self, (event, span): (Event<'a>, Span), depth: usize) -> Result<Node, Error> {
        if depth > DEPTH_LIMIT {
            return Err(self.wrong(span, &format!("values stand more than {DEPTH_LIMIT} deep in one another")));
        }
        let place = self.place(span);
        let before = self.size;
        let text = if let Event::Scalar(text, ..) = &event { text.len() } else { 0 };
        self.count(span, Size { nodes: 1, text })?;
        let (value, anchor, tag) = match event {
            Event::Scalar(text, style, anchor, tag) => (scalar(&text, style, tag.as_deref()), anchor, tag),
            Event::SequenceStart(anchor, tag) => (self.sequence(depth)?, anchor, tag),
            Event::MappingStart(anchor, tag) => (self.mapping(depth)?, anchor, tag),
            Event::Alias(anchor) => {
                let Some(size) = self.anchors.get(&anchor).map(|(_, size)| *size) else {
                    return Err(self.wrong(span, "an alias of a value that is not finished or not there"));
                };
                // Before anything is copied.
                self.count(span, size)?;
                let node = self.anchors.get(&anchor).map(|(node, _)| node.value.clone());
                return Ok(Node::new(place, node.unwrap_or(Value::Null)));
            }
            _ => return Err(self.wrong(span, "a value is missing")),
        };
        let merge = match tag.as_deref() {
            None => Merge::Usual,
            Some(tag) if tag.handle == "!" && tag.suffix == "reset" => Merge::Reset,
            Some(tag) if tag.handle == "!" && tag.suffix == "override" => Merge::Override,
            Some(tag)
                if tag.is_yaml_core_schema()
                    && matches!(&*tag.suffix, "str" | "int" | "bool" | "float" | "null" | "map" | "seq") =>
            {
                Merge::Usual
            }
            Some(tag) => {
                return Err(self.wrong(span, &format!("a tag that is not known: `{}{}`", tag.handle, tag.suffix)));
            }
        };
        let node = Node { place, value, merge };
        if anchor != 0 {
            let size = Size { nodes: self.size.nodes - before.nodes, text: self.size.text - before.text };
            // What an anchor keeps is there twice.
            self.count(span, size)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, Error> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(list)),
                event => list.push(self.node(event, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, Error> {
        let (mut map, mut merged) = (Map::new(), Vec::new());
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node((event, span), depth + 1)?;
            let Some(name) = key.scalar().map(str::to_string).or_else(|| (key.value == Value::Null).then(String::new))
            else {
                return Err(self.wrong(span, &format!("a key that is {}", key.kind())));
            };
            let next = self.next()?;
            let value = self.node(next, depth + 1)?;
            if name == MERGE_KEY {
                merged.push((span, value));
            } else if map.insert(name.clone(), (key.place, value)).is_some() {
                return Err(self.wrong(span, &format!("the key `{}` is there twice", name.escape_debug())));
            }
        }
        for (span, value) in merged {
            self.merge(&mut map, value, span)?;
        }
        Ok(Value::Map(map))
    }

    /// What `<<` adds: keys that are not there; of a list, the first that has a key wins.
    fn merge(&self, map: &mut Map, value: Node, span: Span) -> Result<(), Error> {
        let sources = match value.value {
            Value::List(list) => list,
            _ => vec![value],
        };
        for source in sources {
            let Value::Map(source) = source.value else { return Err(self.wrong(span, "`<<` merges mappings only")) };
            for (key, entry) in source {
                map.entry(key).or_insert(entry);
            }
        }
        Ok(())
    }
}

/// YAML 1.2's core schema: only plain scalars are anything else than text.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    if style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix == "str") {
        return Value::Text(text.to_string());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        number if is_number(number) => Value::Number(number.to_string()),
        text => Value::Text(text.to_string()),
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let radix = |prefix: &str, radix| {
        digits.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
    };
    let begins =
        digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && digits.contains(|c: char| c.is_ascii_digit());
    let plain = begins
        && digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte))
        && text.parse::<f64>().is_ok();
    plain
        || radix("0x", 16)
        || radix("0o", 8)
        || matches!(digits, ".inf" | ".Inf" | ".INF")
        || matches!(text, ".nan" | ".NaN" | ".NAN")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Explain;

    fn read(text: &str) -> Node {
        parse(text, 0, "compose.yaml").unwrap().remove(0)
    }

    fn refused(text: &str) -> String {
        let error = parse(text, 0, "compose.yaml").unwrap_err();
        assert_eq!(error.class().code(), 2);
        error.to_string()
    }

    #[test]
    fn everything_has_its_line_and_kind() {
        let node = read("services:\n  web:\n    ports: [\"8080:80\", 90]\n    tty: yes\n    init: true\n    image:\n");
        let web = node.get("services").unwrap().get("web").unwrap();
        assert_eq!(web.place.line, 3);
        assert_eq!(web.map().unwrap()["init"].0.line, 5);
        let ports = web.get("ports").unwrap().list().unwrap();
        assert_eq!((&ports[0].value, &ports[1].value), (&Value::Text("8080:80".into()), &Value::Number("90".into())));
        assert_eq!(web.get("tty").unwrap().value, Value::Text("yes".into()), "YAML 1.2");
        assert_eq!((web.get("init").unwrap().scalar(), web.get("image").unwrap().kind()), (Some("true"), "nothing"));
        for (text, number) in [
            ("1", true),
            ("-1.5e3", true),
            ("0o17", true),
            ("0x1F", true),
            ("1.2.3", false),
            ("1e", false),
            (".", false),
            ("10m", false),
            (".inf", true),
        ] {
            assert_eq!(is_number(text), number, "{text}");
        }
        assert_eq!(read("").value, Value::Null);
    }

    #[test]
    fn aliases_and_merge_keys_stand_for_what_they_name() {
        let node = read("x-a: &a {a: 1, b: 2}\nx-c: &c {b: 3, c: 4}\ns:\n  <<: [*a, *c]\n  a: 9\nt: *a\n");
        let merged: Vec<_> = node
            .get("s")
            .unwrap()
            .map()
            .unwrap()
            .iter()
            .map(|(key, (_, node))| (key.as_str(), node.scalar().unwrap()))
            .collect();
        assert_eq!(merged, [("a", "9"), ("b", "2"), ("c", "4")]);
        assert_eq!(
            (node.get("t").unwrap().place.line, node.get("t").unwrap().get("b").unwrap().scalar()),
            (6, Some("2"))
        );
        assert_eq!(read("a: !reset null\nb: !override [1]\n").get("a").unwrap().merge, Merge::Reset);
    }

    #[test]
    fn brackets_may_close_where_people_close_them() {
        let text = "a:\n  b: [\n    x,\n  ]\n  c: {\n  d: [y\n],\n  }\ne: [\n]\nf: |\n  ]\n";
        let node = read(text);
        assert_eq!(
            crate::stack::render::json(&node).to_string(),
            r#"{"a":{"b":["x"],"c":{"d":["y"]}},"e":[],"f":"]\n"}"#
        );
        assert_eq!(node.map().unwrap()["f"].0.line, 11);
        assert!(refused("a:\n  b: [\n  x\n c: d\n").contains("line "), "what is not closed stays a mistake");
        let many = format!("a:\n{}", "  - [\n  x\n  ]\n".repeat(2000));
        let started = std::time::Instant::now();
        let _ = parse(&many, 0, "c.yaml");
        assert!(started.elapsed().as_secs() < 60, "work is bounded");
    }

    #[test]
    fn a_file_may_have_several_documents() {
        let all = parse("a: 1\n---\nb: 2\n", 0, "c.yaml").unwrap();
        assert_eq!((all.len(), all[1].get("b").unwrap().place.line), (2, 3));
    }

    #[test]
    fn bombs_and_mistakes_are_refused_at_their_line() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for n in 1..10 {
            let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
            bomb += &format!("a{n}: &a{n} [{aliases}]\n");
        }
        assert!(refused(&bomb).contains("more than 100000 values"), "{}", refused(&bomb));
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), vec!["*a"; 20_000].join(", "));
        assert!(refused(&long).contains("bytes of text, with what aliases stand for"), "{}", refused(&long));
        let deep = "[".repeat(5000);
        assert!(refused(&deep).contains("compose.yaml"), "{}", refused(&deep));
        let nested = format!("a: {}{}", "[".repeat(70), "]".repeat(70));
        assert!(refused(&nested).contains("more than 64 deep"), "{}", refused(&nested));
        assert_eq!(refused("a: 1\nb: 2\na: 3\n"), "`compose.yaml`, line 3: the key `a` is there twice");
        assert!(refused(&"---\na: 1\n".repeat(101)).contains("line 201: more than 100 documents"));
        assert!(refused("a: !secret x\n").contains("line 1: a tag that is not known: `!secret`"));
        assert!(refused("a: &x [*x]\n").contains("line 1: "));
        assert!(refused("? [a]\n: b\n").contains("a key that is a list"));
        assert!(refused("<<: 1\n").contains("merges mappings only"));
        for broken in ["a: [", "a: 'x", "{a: b", "*x", "a: *nope", "%YAML 9", "\u{0}", "a:\n - b\n c"] {
            assert!(refused(broken).starts_with("`compose.yaml`, line "), "{broken:?}: {}", refused(broken));
        }
    }
}
