//! A change as an edit of text: lines are put in, words are replaced, and everything else stays as it is.

use std::ops::Range;

use saphyr_parser::ScalarStyle;

use super::change::{Change, Op, Val, is_outward, loopback};
use super::source::{Habit, Kind, Part, Reason, Source};
use crate::stack::render;

/// The text with the change of a service made in it.
pub fn edit(source: &Source, service: &str, change: &Change) -> Result<String, Reason> {
    let Some((_, map)) = source.service(service) else { return Err("it does not stand in that file".into()) };
    let edits = match &change.op {
        Op::Loopback => ports(source, map)?,
        Op::Set(val) => vec![at_path(source, map, &change.path, val, false)?],
        Op::Add(vals) => vec![at_path(source, map, &change.path, &Val::List(vals.clone()), true)?],
    };
    Ok(applied(&source.text, edits))
}

/// Whether the value of a path stands in the service itself.
pub fn has(source: &Source, service: &str, path: &[&'static str]) -> bool {
    let Some((_, mut at)) = source.service(service).map(|(key, value)| (key, value)) else { return false };
    for key in path {
        match source.entry(at, key) {
            Some((_, value)) => at = value,
            None => return false,
        }
    }
    true
}

type Edit = (Range<usize>, String);

fn applied(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|(at, _)| at.start);
    let mut out = text.to_string();
    for (at, new) in edits.into_iter().rev() {
        if out.get(at.clone()).is_some() {
            out.replace_range(at, &new);
        }
    }
    out
}

fn at_path(source: &Source, map: &Part, path: &[&'static str], val: &Val, adds: bool) -> Result<Edit, Reason> {
    let Some((first, rest)) = path.split_first() else { return Err("nothing is named".into()) };
    match (&map.kind, source.entry(map, first)) {
        (Kind::Map(..), None) => {
            let wrapped = rest.iter().rev().fold(val.clone(), |inner, key| Val::Map(vec![(*key, inner)]));
            insert(source, map, first, &wrapped)
        }
        (_, Some((_, value))) if !rest.is_empty() => at_path(source, value, rest, val, adds),
        (_, Some((key, value))) => match (adds, val) {
            (true, Val::List(vals)) => add(source, key, value, vals),
            _ => replace(source, key, value, val),
        },
        (Kind::Alias, None) => Err("it is shared with others by an alias".into()),
        (_, None) => Err(format!("`{first}` cannot be put below something that is no mapping")),
    }
}

fn replace(source: &Source, key: &Part, value: &Part, val: &Val) -> Result<Edit, Reason> {
    let new = Writer::of(source).flow(val);
    let written = source.written(value);
    match value.kind {
        _ if value.is_empty() => {
            let rest = source.text.get(key.at.end..).unwrap_or_default();
            let colon = rest.find(':').filter(|at| rest.get(..*at).is_some_and(|gap| gap.trim().is_empty()));
            let at = key.at.end + colon.ok_or("it has no value that could be replaced")? + 1;
            Ok((at..at, format!(" {new}")))
        }
        Kind::Scalar(ScalarStyle::Literal | ScalarStyle::Folded) => Err("it is a text of several lines".into()),
        Kind::Scalar(_) if written.contains('$') => Err("its value comes from a variable".into()),
        Kind::Scalar(_) => Ok((value.at.clone(), new)),
        Kind::Alias => Err("its value is an alias".into()),
        _ => Err("its value is no text".into()),
    }
}

fn add(source: &Source, key: &Part, value: &Part, vals: &[Val]) -> Result<Edit, Reason> {
    let writer = Writer::of(source);
    let new: Vec<String> = vals.iter().map(|val| writer.flow(val)).collect();
    match &value.kind {
        Kind::List(true, items) => match items.last() {
            Some(last) => Ok((last.at.end..last.at.end, format!(", {}", new.join(", ")))),
            None => Ok((value.at.clone(), format!("[{}]", new.join(", ")))),
        },
        Kind::List(false, items) => {
            let dash =
                items.iter().find_map(|item| source.dash(item)).ok_or("its list is written in an unusual way")?;
            let lines: Vec<String> = new.iter().map(|item| format!("{dash}- {item}")).collect();
            Ok(lines_after(source, value, &lines))
        }
        Kind::Scalar(_) if value.is_empty() => replace(source, key, value, &Val::List(vals.to_vec())),
        Kind::Scalar(ScalarStyle::Literal | ScalarStyle::Folded) => Err("it is a text of several lines".into()),
        Kind::Scalar(_) => Ok((value.at.clone(), format!("[{}, {}]", source.written(value), new.join(", ")))),
        Kind::Alias => Err("its list is an alias".into()),
        Kind::Map(..) => Err("it is no list".into()),
    }
}

/// A key that was not there, at the end of a mapping.
fn insert(source: &Source, map: &Part, key: &str, val: &Val) -> Result<Edit, Reason> {
    let writer = Writer::of(source);
    let Kind::Map(flow, entries) = &map.kind else { return Err("it is no mapping".into()) };
    let quoted = entries.first().is_some_and(|(key, _)| source.written(key).starts_with('"'));
    let writer = Writer { quoted, ..writer };
    if *flow {
        let text = format!("{}: {}", writer.key(key), writer.flow(val));
        return Ok(match entries.last() {
            Some((key, value)) => {
                let end = value.at.end.max(key.at.end);
                (end..end, format!(", {text}"))
            }
            None => (map.at.clone(), format!("{{{text}}}")),
        });
    }
    let margin =
        entries.first().and_then(|(key, _)| margin(source, key)).ok_or("it does not begin on a line of its own")?;
    let lines: Vec<String> = writer.block(key, val).into_iter().map(|line| format!("{margin}{line}")).collect();
    Ok(lines_after(source, map, &lines))
}

/// The space that keys of a mapping begin with; the dash of a list counts as space.
fn margin(source: &Source, key: &Part) -> Option<String> {
    let before = source.text.get(..key.at.start)?;
    let line = before.get(before.rfind('\n').map_or(0, |at| at + 1)..)?.trim_start_matches('\u{feff}');
    line.bytes().all(|byte| byte == b' ' || byte == b'-').then(|| " ".repeat(line.len()))
}

fn lines_after(source: &Source, part: &Part, lines: &[String]) -> Edit {
    let end = source.line_end();
    let (at, begin) = source.after(part);
    let text = if begin {
        // The last line had no end, and the file still has none.
        format!("{end}{}", lines.join(end))
    } else {
        lines.iter().map(|line| format!("{line}{end}")).collect()
    };
    (at..at, text)
}

/// Every port on every address becomes one of this machine, but for those that only others knock at.
fn ports(source: &Source, service: &Part) -> Result<Vec<Edit>, Reason> {
    let (_, ports) = source.entry(service, "ports").ok_or("its ports stand elsewhere")?;
    let Kind::List(_, items) = &ports.kind else { return Err("its ports are an alias".into()) };
    let text = |item, key| source.entry(item, key).map_or("", |(_, value)| default(source.key(value)));
    let mut edits = Vec::new();
    for item in items {
        match &item.kind {
            Kind::Scalar(ScalarStyle::Literal | ScalarStyle::Folded) | Kind::Alias | Kind::List(..) => {
                return Err("a port is written in an unusual way".into());
            }
            Kind::Scalar(_) => edits.extend(short_port(source, item)?),
            Kind::Map(..) => match source.entry(item, "host_ip") {
                _ if is_outward(text(item, "published"), text(item, "protocol"), text(item, "mode")) => {}
                None => edits.push(insert(source, item, "host_ip", &Val::text("127.0.0.1"))?),
                Some((key, value)) => {
                    if let Some(own) = loopback(source.key(value)) {
                        edits.push(replace(source, key, value, &Val::text(own))?);
                    }
                }
            },
        }
    }
    Ok(edits)
}

/// `[[IP:]PUBLISHED:]TARGET`, where each may be a variable.
fn short_port(source: &Source, item: &Part) -> Result<Option<Edit>, Reason> {
    let written = source.written(item);
    let skip = usize::from(written.starts_with(['"', '\'']));
    let text = written.trim_matches(['"', '\'']);
    let (mut depth, mut colons) = (0usize, Vec::new());
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b':' if depth == 0 => colons.push(at),
            _ => {}
        }
    }
    let start = item.at.start + skip;
    let published = match colons[..] {
        [] => "",
        [end] => text.get(..end).unwrap_or_default(),
        [first, second, ..] => text.get(first + 1..second).unwrap_or_default(),
    };
    if is_outward(default(published), text.rsplit_once('/').map_or("", |(_, protocol)| protocol), "") {
        return Ok(None);
    }
    Ok(match colons[..] {
        [] => Some((start..start, "127.0.0.1::".into())),
        [_] => Some((start..start, "127.0.0.1:".into())),
        [first, _] => {
            let host = text.get(..first).unwrap_or_default();
            if host.contains('$') {
                return Err("the address of a port comes from a variable".into());
            }
            let own = loopback(host.trim_matches(['[', ']']));
            own.map(|own| (start..start + first, if own.contains(':') { format!("[{own}]") } else { own.into() }))
        }
        _ => return Err("a port is written in an unusual way".into()),
    })
}

/// What a port is without the variable that it may come from: `${PORT:-443}` is 443. What the stack has of it is held against
/// what the file becomes.
fn default(text: &str) -> &str {
    let inner = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    inner.and_then(|inner| inner.split_once('-')).map_or(text, |(_, value)| value)
}

fn is_size(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    unit.len() < text.len() && matches!(unit.to_ascii_lowercase().as_str(), "s" | "k" | "m" | "g" | "kb" | "mb" | "gb")
}

/// Writes values as the author of a file does.
struct Writer {
    habit: Habit,
    /// Keys and text in double quotes, as JSON has them.
    quoted: bool,
}

impl Writer {
    fn of(source: &Source) -> Writer {
        Writer { habit: source.habit(), quoted: false }
    }

    fn key(&self, key: &str) -> String {
        if self.quoted { format!("\"{key}\"") } else { key.into() }
    }

    /// In one line.
    fn flow(&self, val: &Val) -> String {
        match val {
            Val::Bool(flag) => flag.to_string(),
            Val::Number(number) => number.clone(),
            Val::Text(text) => self.text(text),
            Val::List(list) => format!("[{}]", list.iter().map(|val| self.flow(val)).collect::<Vec<_>>().join(", ")),
            Val::Map(map) => {
                let pairs = map.iter().map(|(key, val)| format!("{}: {}", self.key(key), self.flow(val)));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// A dollar is written twice.
    fn text(&self, text: &str) -> String {
        let text = text.replace('$', "$$");
        let plain = render::text(&text);
        let is_plain = !plain.starts_with('"');
        match () {
            () if self.quoted => render::quoted(&text),
            // `512m`, `10s`: no number in any YAML.
            () if is_size(&text) => text,
            () if is_plain => plain,
            () if self.habit.single_quotes && !text.contains(['\'', '\n']) => format!("'{text}'"),
            () => plain,
        }
    }

    /// A key with its value in lines, without indentation.
    fn block(&self, key: &str, val: &Val) -> Vec<String> {
        let head = format!("{}:", self.key(key));
        match (val, self.habit.dash()) {
            (Val::Map(map), _) if !map.is_empty() => {
                let step = " ".repeat(self.habit.step());
                let inner = map.iter().flat_map(|(key, val)| self.block(key, val));
                std::iter::once(head).chain(inner.map(|line| format!("{step}{line}"))).collect()
            }
            // A command is read as one.
            (Val::List(list), Some(dash)) if !list.is_empty() && key != "test" => {
                let item = |val: &Val| format!("{}- {}", " ".repeat(dash), self.flow(val));
                std::iter::once(head).chain(list.iter().map(item)).collect()
            }
            _ => vec![format!("{head} {}", self.flow(val))],
        }
    }
}
