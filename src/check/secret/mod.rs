//! Secrets in bytes, by their forms.
//!
//! The forms are data (`secrets.toml`). One pass of Aho-Corasick looks for their words; only around a word is its
//! form's expression tried, with the linear-time engine of `regex`, and stretches that overlap are tried once: a file
//! takes time in proportion to its length, whatever is in it. What matches is then held against what a secret looks
//! like ([`noise`]).

mod form;
mod noise;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::OnceLock;

use aho_corasick::AhoCorasick;

pub(super) use form::{Files, PREFIX, forms, version};

use form::{Form, stack_forms};

use super::finding::Evidence;

/// How far before a word a match may begin, in bytes.
const BEFORE: usize = 256;
/// How far after a word a match may end. Longer ones are cut, and still found.
const AFTER: usize = 4096;
/// The most matches of one form in one file.
const MATCHES_LIMIT: usize = 20;
/// A line that is longer is not written by hand.
const LINE_LIMIT: usize = 500;
/// What answers for a finding in the line itself, or in the line above: `ingot: allow RULE REASON`.
const COMMENT: &[u8] = b"ingot: allow ";
/// How much of a line is searched for such a comment, before and after the match.
const COMMENT_REACH: usize = 1024;

/// A secret in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    /// The rule's id.
    pub(super) rule: String,
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) evidence: Evidence,
    /// Whether a comment beside it answers for it.
    pub(super) allowed: bool,
}

struct Words {
    forms: &'static [Form],
    automaton: AhoCorasick,
    /// The form of each word.
    owner: Vec<usize>,
}

impl Words {
    fn of(forms: &'static [Form]) -> Option<Self> {
        let pairs: Vec<(usize, &str)> = forms
            .iter()
            .enumerate()
            .flat_map(|(form, one)| one.words.iter().map(move |word| (form, word.as_str())))
            .collect();
        let automaton =
            AhoCorasick::builder().ascii_case_insensitive(true).build(pairs.iter().map(|(_, word)| word)).ok()?;
        Some(Words { forms, automaton, owner: pairs.into_iter().map(|(form, _)| form).collect() })
    }
}

fn words() -> Option<&'static Words> {
    static WORDS: OnceLock<Option<Words>> = OnceLock::new();
    WORDS.get_or_init(|| Words::of(forms())).as_ref()
}

fn stack_words() -> Option<&'static Words> {
    static WORDS: OnceLock<Option<Words>> = OnceLock::new();
    WORDS.get_or_init(|| Words::of(stack_forms())).as_ref()
}

/// All secrets in these bytes, by line.
pub(super) fn scan(bytes: &[u8], files: Files) -> Vec<Hit> {
    words().map(|words| found(words, bytes, files)).unwrap_or_default().into_iter().map(|(hit, _, _)| hit).collect()
}

/// All secrets in what a stack tells a program, by line: the titles of their forms, and where they are.
pub(super) fn scan_stack(bytes: &[u8]) -> Vec<(Hit, &'static str, Range<usize>)> {
    let mut all = words().map(|words| found(words, bytes, Files::Source)).unwrap_or_default();
    let stack = stack_words().map(|words| found(words, bytes, Files::Source)).unwrap_or_default();
    for (hit, title, range) in stack {
        if !all.iter().any(|(_, _, other)| other.start < range.end && range.start < other.end) {
            all.push((hit, title, range));
        }
    }
    all.sort_by_key(|(hit, _, range)| (hit.line, range.start));
    all
}

fn found(words: &'static Words, bytes: &[u8], files: Files) -> Vec<(Hit, &'static str, Range<usize>)> {
    let mut stretches: BTreeMap<usize, Vec<Range<usize>>> = BTreeMap::new();
    for word in words.automaton.find_overlapping_iter(bytes) {
        let Some(form) = words.owner.get(word.pattern().as_usize()).copied() else { continue };
        let begin = word.start().saturating_sub(BEFORE);
        let end = word.end().saturating_add(AFTER).min(bytes.len());
        let known = stretches.entry(form).or_default();
        match known.last_mut() {
            Some(last) if begin <= last.end => last.end = last.end.max(end),
            _ => known.push(begin..end),
        }
    }
    // Forms are sorted from what says most to what says least: the first that takes a place has it.
    let mut taken: Vec<Range<usize>> = Vec::new();
    let mut hits = Vec::new();
    for (form, stretches) in stretches {
        let Some(form) = words.forms.get(form).filter(|form| form.files.includes(files)) else { continue };
        let found = stretches.into_iter().flat_map(|stretch| matches(form, bytes, stretch));
        for (whole, secret) in found.take(MATCHES_LIMIT) {
            if taken.iter().any(|other| other.start < secret.end && secret.start < other.end) {
                continue;
            }
            let Some(found) = bytes.get(secret.clone()) else { continue };
            let hit = Hit {
                rule: form.rule(),
                line: line_of(bytes, whole),
                evidence: if form.beginning { Evidence::beginning(found) } else { Evidence::of(found) },
                allowed: is_allowed(bytes, whole, &form.rule()),
            };
            hits.push((hit, form.title.as_str(), secret.clone()));
            taken.push(secret);
        }
    }
    hits.sort_by(|(a, ..), (b, ..)| (a.line, &a.rule).cmp(&(b.line, &b.rule)));
    hits
}

/// Where matches of this form begin in one stretch, and where their secrets are.
fn matches<'a>(
    form: &'a Form,
    bytes: &'a [u8],
    stretch: Range<usize>,
) -> impl Iterator<Item = (usize, Range<usize>)> + 'a {
    let text = bytes.get(..stretch.end).unwrap_or_default();
    let mut at = stretch.start;
    std::iter::from_fn(move || {
        let expression = form.expression()?;
        while at <= text.len() {
            let captures = expression.captures_at(text, at)?;
            let whole = captures.get(0)?;
            let secret = captures.iter().skip(1).flatten().next().unwrap_or(whole);
            // The next one may begin with what ended this one.
            at = secret.end().max(at + 1);
            let by_hand = !form.files.needs_short_lines() || is_short_line(bytes, secret.start());
            if by_hand && noise::is_secret(form, secret.as_bytes(), whole.as_bytes()) {
                // What stands before a word may be the end of the line above.
                let space = whole.as_bytes().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                return Some((whole.start() + space, secret.range()));
            }
        }
        None
    })
}

fn line_of(bytes: &[u8], at: usize) -> usize {
    memchr_count(bytes.get(..at).unwrap_or_default()) + 1
}

fn memchr_count(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// The line around `at`, as far as `reach` on both sides.
fn line_around(bytes: &[u8], at: usize, reach: usize) -> Range<usize> {
    let low = at.saturating_sub(reach);
    let begin = bytes.get(low..at).unwrap_or_default().iter().rposition(|byte| *byte == b'\n');
    let high = at.saturating_add(reach).min(bytes.len());
    let end = bytes.get(at..high).unwrap_or_default().iter().position(|byte| *byte == b'\n');
    begin.map_or(low, |place| low + place + 1)..end.map_or(high, |place| at + place)
}

fn is_short_line(bytes: &[u8], at: usize) -> bool {
    line_around(bytes, at, LINE_LIMIT).len() <= LINE_LIMIT
}

fn is_allowed(bytes: &[u8], at: usize, rule: &str) -> bool {
    let line = line_around(bytes, at, COMMENT_REACH);
    let above = line.start.checked_sub(1).map(|end| line_around(bytes, end, COMMENT_REACH));
    let answers = |line: Range<usize>| {
        let text = bytes.get(line).unwrap_or_default();
        let comment = text.windows(COMMENT.len()).position(|window| window == COMMENT)?;
        let words = String::from_utf8_lossy(text.get(comment + COMMENT.len()..)?).into_owned();
        let (named, reason) = words.trim().split_once(char::is_whitespace)?;
        (named == rule && reason.chars().any(char::is_alphanumeric)).then_some(())
    };
    answers(line).or_else(|| answers(above?)).is_some()
}

#[cfg(test)]
mod tests;
