//! The words of a maintainer script: quotes, parameters, commands within them.

use super::shell::{DEPTH_LIMIT, Parser, Result, Unreadable};
use super::syntax::{Part, PartKind, Word};

impl Parser {
    /// A word; `None` if an operator stands here.
    pub(super) fn word(&mut self) -> Result<Option<Word>> {
        let mut word = Word::new();
        let mut text = String::new();
        let start = self.at;
        while let Some(c) = self.peek() {
            match c {
                '\\' if self.peek_at(1) == Some('\n') => self.at += 2,
                c if c.is_whitespace() || ";&|()<>".contains(c) => break,
                '\\' => {
                    flush(&mut word, &mut text, false);
                    self.at += 1;
                    word.push(quoted(PartKind::Text(self.next().ok_or(Unreadable)?.to_string())));
                }
                '\'' => {
                    flush(&mut word, &mut text, false);
                    self.at += 1;
                    let mut body = String::new();
                    loop {
                        match self.next().ok_or(Unreadable)? {
                            '\'' => break,
                            c => body.push(c),
                        }
                    }
                    word.push(quoted(PartKind::Text(body)));
                }
                '"' => {
                    flush(&mut word, &mut text, false);
                    self.at += 1;
                    word.extend(self.double_quoted()?);
                }
                '$' | '`' => match self.expansion(false)? {
                    Some(part) => {
                        flush(&mut word, &mut text, false);
                        word.push(part);
                    }
                    None => {
                        text.push(c);
                        self.at += 1;
                    }
                },
                c => {
                    text.push(c);
                    self.at += 1;
                }
            }
        }
        flush(&mut word, &mut text, false);
        Ok((self.at > start).then_some(word))
    }

    /// What stands between double quotes, the opening one taken already.
    fn double_quoted(&mut self) -> Result<Word> {
        let mut word = Word::new();
        let mut text = String::new();
        loop {
            match self.peek().ok_or(Unreadable)? {
                '"' => {
                    self.at += 1;
                    // `""` is an empty word, not none.
                    if !text.is_empty() || word.is_empty() {
                        word.push(quoted(PartKind::Text(text)));
                    }
                    return Ok(word);
                }
                '\\' if self.peek_at(1).is_some_and(|c| "$`\"\\\n".contains(c)) => {
                    self.at += 1;
                    text.extend(self.next().filter(|c| *c != '\n'));
                }
                '$' | '`' => match self.expansion(true)? {
                    Some(part) => {
                        flush(&mut word, &mut text, true);
                        word.push(part);
                    }
                    None => text.extend(self.next()),
                },
                _ => text.extend(self.next()),
            }
        }
    }

    /// `$...` or a backquoted command; `None` for a `$` that is only that.
    fn expansion(&mut self, is_quoted: bool) -> Result<Option<Part>> {
        let part = |kind| Ok(Some(Part { kind, quoted: is_quoted }));
        if self.take("`") {
            let mut body = String::new();
            loop {
                match self.next().ok_or(Unreadable)? {
                    '`' => return part(PartKind::Command(body)),
                    '\\' if self.peek().is_some_and(|c| "$`\\".contains(c)) => body.extend(self.next()),
                    c => body.push(c),
                }
            }
        }
        if self.take("$((") {
            self.balanced(2)?;
            return part(PartKind::Arithmetic);
        }
        if self.take("$(") {
            let body = self.balanced(1)?;
            return part(PartKind::Command(body));
        }
        if self.take("${") {
            return self.braced().map(|kind| Some(Part { kind, quoted: is_quoted }));
        }
        let start = self.at;
        self.at += 1;
        if let Some(name) = self.name() {
            return part(PartKind::Parameter(name, None));
        }
        match self.peek() {
            Some(c) if c.is_ascii_digit() || "@*#?$!-".contains(c) => {
                self.at += 1;
                part(PartKind::Parameter(c.to_string(), None))
            }
            _ => {
                self.at = start;
                Ok(None)
            }
        }
    }

    /// Up to the parenthesis that closes what `open` opened.
    fn balanced(&mut self, open: usize) -> Result<String> {
        let mut depth = open;
        let mut body = String::new();
        let mut quote = None;
        loop {
            let c = self.next().ok_or(Unreadable)?;
            match (quote, c) {
                (Some('\''), '\'') | (Some('"'), '"') => quote = None,
                (Some('\''), _) => {}
                (_, '\\') => {
                    body.push(c);
                    body.extend(self.next());
                    continue;
                }
                (None, '\'' | '"') => quote = Some(c),
                (None, '(') => depth += 1,
                (None, ')') => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(body);
                    }
                }
                _ => {}
            }
            body.push(c);
        }
    }

    /// `name}`, `#name}`, `name:-word}`, the opening brace taken already.
    fn braced(&mut self) -> Result<PartKind> {
        let length = self.looking_at("#") && self.peek_at(1) != Some('}');
        self.at += usize::from(length);
        let name = match self.name() {
            Some(name) => name,
            None => {
                let mut name: String = self.next().ok_or(Unreadable)?.to_string();
                while name.bytes().all(|c| c.is_ascii_digit()) && self.peek().is_some_and(|c| c.is_ascii_digit()) {
                    name.extend(self.next());
                }
                name
            }
        };
        if self.take("}") {
            return Ok(PartKind::Parameter(name, length.then(|| ("length".to_string(), Word::new()))));
        }
        let operators = [":-", ":=", ":+", ":?", "##", "%%", "-", "=", "+", "?", "#", "%"];
        let operator = operators.into_iter().find(|sign| self.looking_at(sign)).ok_or(Unreadable)?;
        self.at += operator.len();
        let mut depth = 1;
        let mut body = String::new();
        loop {
            let c = self.next().ok_or(Unreadable)?;
            match c {
                '{' if body.ends_with('$') => depth += 1,
                '}' => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                '\\' => {
                    body.push(c);
                    body.extend(self.next());
                    continue;
                }
                _ => {}
            }
            body.push(c);
        }
        let quoted_parts = document(&body.replace(['"', '\''], ""), self.depth)?;
        let parts = quoted_parts.into_iter().map(|part| Part { quoted: false, ..part }).collect();
        Ok(PartKind::Parameter(name, Some((operator.to_string(), parts))))
    }
}

/// Text into which parameters are put, as in a here-document.
pub(super) fn document(text: &str, depth: usize) -> Result<Word> {
    if depth > DEPTH_LIMIT {
        return Err(Unreadable);
    }
    let escaped = text.replace('"', "\\\"");
    let text = format!("{escaped}\"").chars().collect();
    let mut parser = Parser { text, at: 0, depth: depth + 1, texts: Vec::new(), pending: Vec::new() };
    parser.double_quoted()
}

pub(super) fn quoted(kind: PartKind) -> Part {
    Part { kind, quoted: true }
}

fn flush(word: &mut Word, text: &mut String, quoted: bool) {
    if !text.is_empty() {
        word.push(Part { kind: PartKind::Text(std::mem::take(text)), quoted });
    }
}
