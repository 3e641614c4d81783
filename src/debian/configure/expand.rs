//! What words of a script become: parameters put in, fields split, patterns matched.

use super::reader::{CALL_LIMIT, Known, Reader, TEXT_LIMIT};
use super::syntax::{Part, PartKind, Word};
use crate::error::Result;

/// The longest text that a pattern is cut from, in bytes.
const CUT_LIMIT: usize = 2048;
/// The most that comparing may cost then: letters of the text, by its places, by letters of the pattern.
const CUT_WORK: usize = 1 << 26;
/// How many paths are looked at to find those that one pattern of files names.
const GLOB_LIMIT: usize = 1 << 20;

impl Reader<'_, '_> {
    /// The fields that a word becomes.
    pub(super) fn fields(&mut self, word: &Word) -> Result<Vec<Known>> {
        if let [Part { kind: PartKind::Parameter(name, None), .. }] = word.as_slice()
            && name == "@"
        {
            return Ok(self.arguments.clone());
        }
        let mut fields: Vec<Known> = Vec::new();
        let mut field: Option<Known> = None;
        let mut glob = false;
        let mut length = 0;
        for part in word {
            let Some(value) = self.part(part)? else {
                field = Some(None);
                continue;
            };
            let splits = !part.quoted && !matches!(part.kind, PartKind::Text(_));
            glob |= !part.quoted && value.contains(['*', '?', '[']);
            length += value.len();
            if length > TEXT_LIMIT {
                return Ok(vec![None]);
            }
            if !splits {
                let text = field.get_or_insert_with(|| Some(String::new()));
                text.iter_mut().for_each(|text| text.push_str(&value));
                continue;
            }
            for (n, piece) in value.split([' ', '\t', '\n']).enumerate() {
                if n > 0 {
                    fields.extend(field.take());
                }
                if !piece.is_empty() {
                    let text = field.get_or_insert_with(|| Some(String::new()));
                    text.iter_mut().for_each(|text| text.push_str(piece));
                }
            }
        }
        fields.extend(field);
        if glob {
            return Ok(fields.into_iter().flat_map(|field| self.glob(field)).collect());
        }
        Ok(fields)
    }

    /// The files that a pattern names; the pattern itself if there are none.
    fn glob(&self, field: Known) -> Vec<Known> {
        let Some(pattern) = field.as_deref().filter(|text| text.starts_with('/') && text.contains(['*', '?', '[']))
        else {
            return vec![field];
        };
        let mut seen = 0;
        let mut found = vec![String::new()];
        for part in pattern.split('/').skip(1) {
            let mut next = Vec::new();
            for folder in found {
                if !part.contains(['*', '?', '[']) {
                    next.push(format!("{folder}/{part}"));
                    continue;
                }
                let Some(real) = self.site.root.resolve(&folder) else { continue };
                let below = self.site.root.list(&folder);
                seen += below.len() + 1;
                if seen > GLOB_LIMIT {
                    return vec![None];
                }
                for path in below.into_keys() {
                    let hidden = path.name().starts_with('.') && !part.starts_with('.');
                    if path.parent().as_ref() == Some(&real) && !hidden && matches(path.name(), part) {
                        next.push(format!("{folder}/{}", path.name()));
                    }
                }
            }
            found = next;
        }
        found.retain(|path| self.site.root.exists(path));
        if found.is_empty() { vec![field] } else { found.into_iter().map(Some).collect() }
    }

    /// A word as one text.
    pub fn text(&mut self, word: &Word) -> Result<Known> {
        let mut text = Some(String::new());
        for part in word {
            let value = self.part(part)?;
            text = joined(text, value);
        }
        Ok(text)
    }

    /// A word as a pattern: what is quoted in it stands for itself.
    pub(super) fn pattern(&mut self, word: &Word) -> Result<Known> {
        let mut text = Some(String::new());
        for part in word {
            let value = self.part(part)?.map(|value| if part.quoted { escape(&value) } else { value });
            text = joined(text, value);
        }
        Ok(text)
    }

    fn part(&mut self, part: &Part) -> Result<Known> {
        self.nested(|reader| reader.part_inside(part)).unwrap_or(Ok(None))
    }

    fn part_inside(&mut self, part: &Part) -> Result<Known> {
        match &part.kind {
            PartKind::Text(text) => Ok(Some(text.clone())),
            PartKind::Arithmetic => Ok(None),
            PartKind::Parameter(name, operation) => self.parameter(name, operation.as_ref()),
            PartKind::Command(body) => {
                let Ok(script) = self.parse(body) else {
                    self.leave(body.trim());
                    return Ok(None);
                };
                let variables = self.remember();
                self.captured.push(Some(String::new()));
                let read = if self.calls < CALL_LIMIT { self.inner(script).map(drop) } else { Ok(()) };
                let printed = self.captured.pop().flatten();
                self.variables = variables;
                read?;
                Ok(printed.map(|text| text.trim_end_matches('\n').to_string()))
            }
        }
    }

    /// `None`: not set. `Some(None)`: nobody knows.
    fn variable(&self, name: &str) -> Option<Known> {
        match name {
            "#" => Some(Some(self.arguments.len().to_string())),
            "@" | "*" => {
                let words: Option<Vec<&str>> = self.arguments.iter().map(Option::as_deref).collect();
                Some(words.map(|words| words.join(" ")))
            }
            "?" | "$" | "!" | "-" => Some(None),
            _ => match name.parse::<usize>() {
                Ok(number) if number > 0 => self.arguments.get(number - 1).cloned(),
                _ => self.variables.get(name).cloned(),
            },
        }
    }

    fn parameter(&mut self, name: &str, operation: Option<&(String, Word)>) -> Result<Known> {
        let value = self.variable(name);
        let Some((operator, word)) = operation else { return Ok(value.unwrap_or_else(|| Some(String::new()))) };
        let is_set = match &value {
            Some(Some(text)) => Some(!operator.starts_with(':') || !text.is_empty()),
            Some(None) => None,
            None => Some(false),
        };
        let value = value.unwrap_or_else(|| Some(String::new()));
        let cut = |value: Known, pattern: Known, cut: fn(&str, &str) -> String| {
            // Each place of the value is tried.
            let short = |(text, pattern): &(String, String)| {
                text.len() <= CUT_LIMIT && text.len() * text.len() * pattern.len() <= CUT_WORK
            };
            value.zip(pattern).filter(short).map(|(value, pattern)| cut(&value, &pattern))
        };
        Ok(match (operator.trim_start_matches(':'), is_set) {
            ("-" | "=" | "?", Some(true)) => value,
            ("-", Some(false)) | ("+", Some(true)) => self.text(word)?,
            ("+", Some(false)) => Some(String::new()),
            ("=", Some(false)) => {
                let value = self.text(word)?;
                self.set(name, value.clone());
                value
            }
            ("#", _) => cut(value, self.pattern(word)?, |value, pattern| prefix(value, pattern, false)),
            ("##", _) => cut(value, self.pattern(word)?, |value, pattern| prefix(value, pattern, true)),
            ("%", _) => cut(value, self.pattern(word)?, |value, pattern| suffix(value, pattern, false)),
            ("%%", _) => cut(value, self.pattern(word)?, |value, pattern| suffix(value, pattern, true)),
            ("length", _) => value.map(|value| value.chars().count().to_string()),
            _ => None,
        })
    }
}

fn joined(before: Known, after: Known) -> Known {
    before.zip(after).map(|(before, after)| before + &after).filter(|text| text.len() <= TEXT_LIMIT)
}

pub(super) fn has_command(word: &Word) -> bool {
    word.iter().any(|part| matches!(part.kind, PartKind::Command(_)))
}

fn escape(text: &str) -> String {
    text.chars().flat_map(|c| if "*?[]\\".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}

/// Whether a text has the form of a pattern: `*`, `?`, `[...]`, and backslashes.
pub(super) fn matches(text: &str, pattern: &str) -> bool {
    // Only a hostile script compares so much.
    if text.len().saturating_mul(pattern.len()) > 1 << 24 {
        return false;
    }
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    // Where to go on after the last `*`.
    let (mut at, mut seen, mut star) = (0, 0, None);
    loop {
        let step = match pattern.get(seen) {
            Some('*') => {
                star = Some((at, seen + 1));
                seen += 1;
                continue;
            }
            None if at == text.len() => return true,
            None => None,
            Some(_) => text.get(at).and_then(|c| one(*c, pattern.get(seen..).unwrap_or_default())),
        };
        match (step, star) {
            (Some(length), _) => (at, seen) = (at + 1, seen + length),
            (None, Some((from, next))) if from < text.len() => {
                star = Some((from + 1, next));
                (at, seen) = (from + 1, next);
            }
            _ => return false,
        }
    }
}

/// How many letters of the pattern stand for this one letter.
fn one(c: char, pattern: &[char]) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['\\', escaped, ..] => (*escaped == c).then_some(2),
        ['[', set @ ..] => {
            let end = set.iter().skip(1).position(|letter| *letter == ']')? + 1;
            let set = set.get(..end)?;
            let (negated, set) = match set {
                ['!' | '^', rest @ ..] => (true, rest),
                _ => (false, set),
            };
            let mut inside = set.contains(&c);
            inside |= set.windows(3).any(|range| matches!(range, [from, '-', to] if (from..=to).contains(&&c)));
            (inside != negated).then_some(end + 2)
        }
        [letter, ..] => (*letter == c).then_some(1),
        [] => None,
    }
}

fn prefix(value: &str, pattern: &str, longest: bool) -> String {
    let mut ends: Vec<usize> = value.char_indices().map(|(at, _)| at).chain([value.len()]).collect();
    if longest {
        ends.reverse();
    }
    let end = ends.into_iter().find(|end| value.get(..*end).is_some_and(|start| matches(start, pattern)));
    end.and_then(|end| value.get(end..)).unwrap_or(value).to_string()
}

fn suffix(value: &str, pattern: &str, longest: bool) -> String {
    let mut starts: Vec<usize> = value.char_indices().map(|(at, _)| at).chain([value.len()]).collect();
    if !longest {
        starts.reverse();
    }
    let start = starts.into_iter().find(|start| value.get(*start..).is_some_and(|end| matches(end, pattern)));
    start.and_then(|start| value.get(..start)).unwrap_or(value).to_string()
}
