//! A YAML file as its author wrote it: every value with the bytes that it stands in, and the habits of the hand.
//!
//! [`super::super::yaml`] forgets how a value was written; an edit must know. Aliases stay aliases here.

use std::collections::BTreeSet;
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::stack::yaml::{DEPTH_LIMIT, MENDED, mended};

/// A value and where its text is.
#[derive(Clone, Debug)]
pub struct Part {
    /// The bytes of it. Those of a block collection reach from its first to its last value.
    pub at: Range<usize>,
    /// What it is.
    pub kind: Kind,
}

/// What a value is, as it is written.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Text of any style; empty and plain is nothing.
    Scalar(ScalarStyle),
    /// `*name`.
    Alias,
    /// A sequence; in brackets?
    List(bool, Vec<Part>),
    /// A mapping; in braces? Keys that are merged (`<<`) are as any other here.
    Map(bool, Vec<(Part, Part)>),
}

/// A file of one document.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its text.
    pub text: String,
    /// Its only document.
    pub root: Part,
}

/// Why a file cannot be edited, as the end of "is left: ".
pub type Reason = String;

impl Source {
    /// Reads a file that [`super::super::yaml::parse`] has read before.
    pub fn parse(text: &str) -> Result<Source, Reason> {
        let (mended, lines) = mended(text);
        let bytes = origins(text, &lines);
        let mut reader = Reader { parser: Parser::new_from_str(&mended), bytes, text };
        let mut root = None;
        loop {
            match reader.next()? {
                (Event::StreamEnd, _) => break,
                (Event::DocumentStart(_), _) if root.is_some() => return Err("the file has several documents".into()),
                (Event::DocumentStart(_), _) => {
                    let first = reader.next()?;
                    root = Some(reader.part(first, 0, 0)?);
                }
                _ => {}
            }
        }
        Ok(Source { text: text.into(), root: root.ok_or("the file is empty")? })
    }

    /// The written text of a value.
    pub fn written(&self, part: &Part) -> &str {
        self.text.get(part.at.clone()).unwrap_or_default()
    }

    /// The key of a mapping as plain text.
    pub fn key(&self, part: &Part) -> &str {
        self.written(part).trim_matches(['"', '\''])
    }

    /// The entry of a mapping with this key.
    pub fn entry<'a>(&self, map: &'a Part, key: &str) -> Option<&'a (Part, Part)> {
        match &map.kind {
            Kind::Map(_, entries) => entries.iter().find(|(name, _)| self.key(name) == key),
            _ => None,
        }
    }

    /// The service of this name, if it stands in the file.
    pub fn service(&self, name: &str) -> Option<&(Part, Part)> {
        self.entry(&self.entry(&self.root, "services")?.1, name)
    }

    /// What ends its lines.
    pub fn line_end(&self) -> &'static str {
        match self.text.find('\n') {
            Some(at) if at > 0 && self.text.as_bytes().get(at - 1) == Some(&b'\r') => "\r\n",
            _ => "\n",
        }
    }

    /// What stands before a value in its line, if that is nothing but space.
    pub fn indent(&self, part: &Part) -> Option<&str> {
        let before = self.text.get(..part.at.start)?;
        let line = before.rfind('\n').map_or(0, |at| at + 1);
        let indent = before.get(line..)?.trim_start_matches('\u{feff}');
        indent.bytes().all(|byte| byte == b' ').then_some(indent)
    }

    /// Where a line can be put in after a value, and whether one must be begun first.
    pub fn after(&self, part: &Part) -> (usize, bool) {
        let last = part.last();
        let end = last.at.end;
        if last.is_block_scalar() {
            return self.after_block(last);
        }
        match self.text.get(end..).and_then(|rest| rest.find('\n')) {
            Some(at) => (end + at + 1, false),
            None => (self.text.len(), true),
        }
    }

    /// Empty lines behind a literal or folded text are its own if it keeps them (`|+`).
    fn after_block(&self, part: &Part) -> (usize, bool) {
        let written = self.written(part);
        // The parser begins at the text; `|+` stands in the line above.
        let before = self.text.get(..part.at.start).unwrap_or_default().trim_end();
        let header = before.rsplit('\n').next().unwrap_or_default().split(" #").next().unwrap_or_default();
        let keeps = header.split_whitespace().next_back().is_some_and(|word| word.contains('+'));
        if let Some(at) = written.rfind('\n').filter(|_| keeps) {
            return (part.at.start + at + 1, false);
        }
        let end = part.at.start + written.trim_end().len();
        match self.text.get(end..).and_then(|rest| rest.find('\n')) {
            Some(at) => (end + at + 1, false),
            None => (self.text.len(), true),
        }
    }

    /// How its author writes.
    pub fn habit(&self) -> Habit {
        let mut habit = Habit::default();
        let services = self.entry(&self.root, "services").map(|(_, services)| services);
        let mut quotes = (0usize, 0usize);
        visit(services.unwrap_or(&self.root), &mut |part| match part.kind {
            Kind::Scalar(ScalarStyle::SingleQuoted) => quotes.0 += 1,
            Kind::Scalar(ScalarStyle::DoubleQuoted) => quotes.1 += 1,
            _ => {}
        });
        habit.single_quotes = quotes.0 > quotes.1;
        let Some(Part { kind: Kind::Map(false, services), .. }) = services else { return habit };
        for (name, service) in services {
            let Kind::Map(false, keys) = &service.kind else { continue };
            let (outer, inner) = (self.indent(name), keys.first().and_then(|(key, _)| self.indent(key)));
            if let (Some(outer), Some(inner)) = (outer, inner)
                && inner.len() > outer.len()
            {
                habit.step.get_or_insert(inner.len() - outer.len());
            }
            for (key, value) in keys {
                let Kind::List(flow, items) = &value.kind else { continue };
                match (flow, items.first()) {
                    (true, _) => habit.flow += 1,
                    (false, Some(item)) => {
                        habit.block += 1;
                        let dash = self.dash(item).unwrap_or_default();
                        let offset = dash.len().saturating_sub(self.indent(key).unwrap_or_default().len());
                        habit.dash.get_or_insert(offset);
                    }
                    _ => {}
                }
            }
        }
        habit
    }

    /// What stands before the dash of an item.
    pub fn dash(&self, item: &Part) -> Option<&str> {
        let before = self.text.get(..item.at.start)?;
        let line = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.get(line..)?;
        let indent = line.split('-').next()?;
        let plain = line.get(indent.len()..)?.trim_start_matches('-').bytes().all(|byte| byte == b' ');
        (plain && indent.bytes().all(|byte| byte == b' ') && line.contains('-')).then_some(indent)
    }
}

/// How an author writes, as far as it is seen in a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Habit {
    /// By how much a mapping is indented.
    step: Option<usize>,
    /// By how much the dashes of a list are.
    dash: Option<usize>,
    flow: usize,
    block: usize,
    /// Whether text is quoted with `'`.
    pub single_quotes: bool,
}

impl Habit {
    /// By how much a mapping is indented.
    pub fn step(self) -> usize {
        self.step.unwrap_or(2).clamp(1, 8)
    }

    /// By how much the dashes of a list are indented; nothing if lists are written in brackets.
    pub fn dash(self) -> Option<usize> {
        (self.block > self.flow).then_some(self.dash.unwrap_or(2))
    }
}

impl Part {
    /// Nothing at all, or a scalar that is written in words of its own?
    pub fn is_empty(&self) -> bool {
        matches!(self.kind, Kind::Scalar(ScalarStyle::Plain)) && self.at.is_empty()
    }

    fn is_block_scalar(&self) -> bool {
        matches!(self.kind, Kind::Scalar(ScalarStyle::Literal | ScalarStyle::Folded))
    }

    /// The part that its text ends with.
    fn last(&self) -> &Part {
        match &self.kind {
            Kind::List(false, items) => items.last().map_or(self, Part::last),
            Kind::Map(false, entries) => {
                entries.last().map_or(self, |(key, value)| if value.is_empty() { key } else { value.last() })
            }
            _ => self,
        }
    }
}

/// Where each character of a mended text stands in the text itself.
fn origins(text: &str, lines: &BTreeSet<usize>) -> Vec<usize> {
    let mut out = Vec::with_capacity(text.len());
    let mut start = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if lines.contains(&(number + 1)) {
            out.extend(std::iter::repeat_n(start, MENDED));
        }
        out.extend(line.char_indices().map(|(at, _)| start + at));
        start += line.len();
    }
    out.push(text.len());
    out
}

fn visit<'a>(part: &'a Part, see: &mut impl FnMut(&'a Part)) {
    see(part);
    match &part.kind {
        Kind::List(_, items) => items.iter().for_each(|item| visit(item, see)),
        Kind::Map(_, entries) => entries.iter().for_each(|(key, value)| {
            visit(key, see);
            visit(value, see);
        }),
        _ => {}
    }
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// Where each character begins: the parser counts characters.
    bytes: Vec<usize>,
    text: &'a str,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Range<usize>), Reason> {
        let (event, Span { start, end }) = match self.parser.next() {
            Some(Ok(event)) => event,
            Some(Err(error)) => return Err(error.info().to_string()),
            None => (Event::StreamEnd, Span::default()),
        };
        let byte = |index: usize| self.bytes.get(index).copied().unwrap_or(self.text.len());
        Ok((event, byte(start.index())..byte(end.index())))
    }

    /// `after`: where the key ends that this is the value of; nothing stands there.
    fn part(&mut self, (event, at): (Event<'a>, Range<usize>), after: usize, depth: usize) -> Result<Part, Reason> {
        if depth > DEPTH_LIMIT {
            return Err("it is too deep".into());
        }
        // Anchors and tags stand before a value, and are none of it.
        let has_more = match &event {
            Event::Scalar(_, _, anchor, tag) | Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                *anchor != 0 || tag.is_some()
            }
            _ => false,
        };
        let at = if has_more { self.without_properties(at) } else { at };
        match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) if text.is_empty() => {
                Ok(Part { at: after..after, kind: Kind::Scalar(ScalarStyle::Plain) })
            }
            Event::Scalar(_, style, ..) => Ok(Part { at, kind: Kind::Scalar(style) }),
            Event::Alias(_) => Ok(Part { at, kind: Kind::Alias }),
            Event::SequenceStart(..) => self.list(at, depth),
            Event::MappingStart(..) => self.map(at, depth),
            _ => Err("a value is missing".into()),
        }
    }

    fn list(&mut self, at: Range<usize>, depth: usize) -> Result<Part, Reason> {
        let mut items: Vec<Part> = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, end) => {
                    let flow = self.begins(&at, '[') && items.first().is_none_or(|item| item.at.start != at.start);
                    let end = if flow { end.end } else { items.last().map_or(at.end, |item| item.at.end) };
                    return Ok(Part { at: at.start..end, kind: Kind::List(flow, items) });
                }
                event => {
                    let after = items.last().map_or(at.end, |item| item.at.end);
                    items.push(self.part(event, after, depth + 1)?);
                }
            }
        }
    }

    fn map(&mut self, at: Range<usize>, depth: usize) -> Result<Part, Reason> {
        let mut entries: Vec<(Part, Part)> = Vec::new();
        loop {
            match self.next()? {
                (Event::MappingEnd, end) => {
                    let flow = self.begins(&at, '{') && entries.first().is_none_or(|(key, _)| key.at.start != at.start);
                    let end = if flow { end.end } else { entries.last().map_or(at.end, |(_, value)| value.at.end) };
                    return Ok(Part { at: at.start..end, kind: Kind::Map(flow, entries) });
                }
                event => {
                    let key = self.part(event, at.end, depth + 1)?;
                    let next = self.next()?;
                    let value = self.part(next, key.at.end, depth + 1)?;
                    entries.push((key, value));
                }
            }
        }
    }

    fn without_properties(&self, at: Range<usize>) -> Range<usize> {
        let mut start = at.start;
        while let Some(rest) = self.text.get(start..at.end).filter(|rest| rest.starts_with(['&', '!'])) {
            let word = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let gap = rest.get(word..).unwrap_or_default();
            start += word + gap.len() - gap.trim_start().len();
        }
        start..at.end.max(start)
    }

    fn begins(&self, at: &Range<usize>, with: char) -> bool {
        self.text.get(at.start..).is_some_and(|text| text.starts_with(with))
    }
}
