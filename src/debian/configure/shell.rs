//! Reads a maintainer script: only its grammar. `reader` says what of it Ingot does.

use super::shell_words::{document, quoted};
use super::syntax::{List, Node, PartKind, Redirection, Script, Simple, Target, Word};

/// The deepest nesting that is read.
pub(super) const DEPTH_LIMIT: usize = 96;
/// The longest script that is read, in bytes.
const LENGTH_LIMIT: usize = 1 << 20;

/// A script that is not written in what is understood here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

pub(super) type Result<T> = std::result::Result<T, Unreadable>;

/// Reads a script.
pub(super) fn parse(text: &str) -> Result<Script> {
    if text.len() > LENGTH_LIMIT {
        return Err(Unreadable);
    }
    let mut parser = Parser { text: text.chars().collect(), at: 0, depth: 0, texts: Vec::new(), pending: Vec::new() };
    let list = parser.list(&[])?;
    if parser.at < parser.text.len() || !parser.pending.is_empty() {
        return Err(Unreadable);
    }
    Ok(Script { list, texts: parser.texts })
}

pub(super) struct Parser {
    pub(super) text: Vec<char>,
    pub(super) at: usize,
    pub(super) depth: usize,
    pub(super) texts: Vec<Word>,
    /// Here-documents whose text begins on the next line: place, delimiter, `<<-`, whether nothing is put into it.
    pub(super) pending: Vec<(usize, String, bool, bool)>,
}

impl Parser {
    pub(super) fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    pub(super) fn peek_at(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let found = self.peek();
        self.at += usize::from(found.is_some());
        found
    }

    pub(super) fn looking_at(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(n, c)| self.peek_at(n) == Some(c))
    }

    pub(super) fn take(&mut self, text: &str) -> bool {
        let found = self.looking_at(text);
        self.at += if found { text.chars().count() } else { 0 };
        found
    }

    /// Spaces, continued lines and comments.
    fn blank(&mut self) {
        loop {
            if self.take("\\\n") {
                continue;
            }
            match self.peek() {
                Some(' ' | '\t' | '\r') => self.at += 1,
                Some('#') => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    /// The end of a line, after which here-documents stand.
    fn newline(&mut self) -> Result<bool> {
        if !self.take("\n") {
            return Ok(false);
        }
        for (place, delimiter, tabs, literal) in std::mem::take(&mut self.pending) {
            let mut body = String::new();
            loop {
                if self.at >= self.text.len() {
                    return Err(Unreadable);
                }
                let mut line = String::new();
                while let Some(c) = self.next().filter(|c| *c != '\n') {
                    line.push(c);
                }
                let line = if tabs { line.trim_start_matches('\t') } else { &line };
                if line == delimiter {
                    break;
                }
                body.push_str(line);
                body.push('\n');
            }
            let word = if literal { vec![quoted(PartKind::Text(body))] } else { document(&body, self.depth)? };
            *self.texts.get_mut(place).ok_or(Unreadable)? = word;
        }
        Ok(true)
    }

    fn blank_lines(&mut self) -> Result<()> {
        self.blank();
        while self.newline()? {
            self.blank();
        }
        Ok(())
    }

    /// The word of letters that stands here, if nothing else belongs to it.
    fn reserved(&self) -> Option<String> {
        let ends = |c: Option<char>| c.is_none_or(|c| c.is_whitespace() || ";&|()".contains(c));
        if let Some(sign @ ('{' | '}' | '!')) = self.peek() {
            return ends(self.peek_at(1)).then(|| sign.to_string());
        }
        let word: String = (0..8).map_while(|n| self.peek_at(n)).take_while(char::is_ascii_lowercase).collect();
        (!word.is_empty() && ends(self.peek_at(word.len()))).then_some(word)
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        self.blank_lines()?;
        if self.reserved().as_deref() != Some(word) {
            return Err(Unreadable);
        }
        self.at += word.len();
        Ok(())
    }

    /// Commands up to one of these words, `)`, `;;` or the end.
    fn list(&mut self, ends: &[&str]) -> Result<List> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(Unreadable);
        }
        let mut list = Vec::new();
        loop {
            self.blank_lines()?;
            let at_end = self.reserved().is_some_and(|word| ends.contains(&word.as_str()));
            if at_end || self.peek().is_none_or(|c| c == ')') || self.looking_at(";;") {
                break;
            }
            list.push(self.and_or()?);
            self.blank();
            match self.peek() {
                Some(';') if !self.looking_at(";;") => self.at += 1,
                Some('&') if !self.looking_at("&&") => self.at += 1,
                Some('\n' | ')' | ';') | None => {}
                Some(_) => return Err(Unreadable),
            }
        }
        self.depth -= 1;
        Ok(list)
    }

    fn and_or(&mut self) -> Result<Node> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            self.blank();
            let after_success = if self.take("&&") {
                true
            } else if self.take("||") {
                false
            } else {
                break;
            };
            self.blank_lines()?;
            rest.push((after_success, self.pipeline()?));
        }
        Ok(if rest.is_empty() { first } else { Node::AndOr(Box::new(first), rest) })
    }

    fn pipeline(&mut self) -> Result<Node> {
        self.blank();
        let turned = self.reserved().as_deref() == Some("!");
        self.at += usize::from(turned);
        let mut commands = vec![self.command()?];
        loop {
            self.blank();
            if self.looking_at("||") || !self.take("|") {
                break;
            }
            self.blank_lines()?;
            commands.push(self.command()?);
        }
        match commands.pop() {
            Some(only) if commands.is_empty() && !turned => Ok(only),
            Some(last) => {
                commands.push(last);
                Ok(Node::Pipeline(commands, turned))
            }
            None => Err(Unreadable),
        }
    }

    fn command(&mut self) -> Result<Node> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(Unreadable);
        }
        let node = self.one_command();
        self.depth -= 1;
        node
    }

    fn one_command(&mut self) -> Result<Node> {
        self.blank();
        if self.take("(") {
            let list = self.list(&[])?;
            return if self.take(")") { Ok(Node::Subshell(list, self.redirections()?)) } else { Err(Unreadable) };
        }
        let node = match self.reserved().as_deref() {
            Some("{") => {
                self.at += 1;
                let list = self.list(&["}"])?;
                self.expect("}")?;
                return Ok(Node::Group(list, self.redirections()?));
            }
            Some("if") => self.if_node()?,
            Some("case") => self.case_node()?,
            Some("for") => self.for_node()?,
            Some(word @ ("while" | "until")) => {
                self.at += 5;
                let condition = self.list(&["do"])?;
                Node::While(condition, self.body()?, word == "until")
            }
            _ => return self.simple(),
        };
        let redirections = self.redirections()?;
        Ok(if redirections.is_empty() { node } else { Node::Group(vec![node], redirections) })
    }

    fn body(&mut self) -> Result<List> {
        self.expect("do")?;
        let list = self.list(&["done"])?;
        self.expect("done")?;
        Ok(list)
    }

    fn if_node(&mut self) -> Result<Node> {
        self.expect("if")?;
        let mut arms = Vec::new();
        loop {
            let condition = self.list(&["then"])?;
            self.expect("then")?;
            arms.push((condition, self.list(&["elif", "else", "fi"])?));
            match self.reserved().as_deref() {
                Some("elif") => self.at += 4,
                Some("else") => {
                    self.at += 4;
                    let otherwise = self.list(&["fi"])?;
                    self.expect("fi")?;
                    return Ok(Node::If(arms, otherwise));
                }
                _ => {
                    self.expect("fi")?;
                    return Ok(Node::If(arms, Vec::new()));
                }
            }
        }
    }

    fn case_node(&mut self) -> Result<Node> {
        self.expect("case")?;
        self.blank();
        let subject = self.word()?.ok_or(Unreadable)?;
        self.expect("in")?;
        let mut arms = Vec::new();
        loop {
            self.blank_lines()?;
            if self.reserved().as_deref() == Some("esac") {
                self.at += 4;
                return Ok(Node::Case(subject, arms));
            }
            self.take("(");
            let mut patterns = Vec::new();
            loop {
                self.blank();
                patterns.push(self.word()?.ok_or(Unreadable)?);
                self.blank();
                if self.take(")") {
                    break;
                }
                if !self.take("|") {
                    return Err(Unreadable);
                }
            }
            arms.push((patterns, self.list(&["esac"])?));
            self.take(";;");
        }
    }

    fn for_node(&mut self) -> Result<Node> {
        self.expect("for")?;
        self.blank();
        let name = self.name().ok_or(Unreadable)?;
        self.blank_lines()?;
        let mut words = None;
        if self.reserved().as_deref() == Some("in") {
            self.at += 2;
            let mut found = Vec::new();
            self.blank();
            while let Some(word) = self.word()? {
                found.push(word);
                self.blank();
            }
            words = Some(found);
        }
        self.blank();
        self.take(";");
        Ok(Node::For(name, words, self.body()?))
    }

    pub(super) fn name(&mut self) -> Option<String> {
        let is_part = |c: char| c == '_' || c.is_ascii_alphanumeric();
        if self.peek().is_none_or(|c| c.is_ascii_digit()) {
            return None;
        }
        let name: String = self.text.get(self.at..)?.iter().copied().take_while(|c| is_part(*c)).collect();
        self.at += name.len();
        (!name.is_empty()).then_some(name)
    }

    fn simple(&mut self) -> Result<Node> {
        let start = self.at;
        let mut simple = Simple::default();
        loop {
            self.blank();
            if let Some(redirection) = self.redirection()? {
                simple.redirections.push(redirection);
                continue;
            }
            if simple.words.is_empty() {
                if let Some(assignment) = self.assignment()? {
                    simple.assignments.push(assignment);
                    continue;
                }
                if let Some(function) = self.function()? {
                    return Ok(function);
                }
            }
            match self.word()? {
                Some(word) => simple.words.push(word),
                None => break,
            }
        }
        if simple == Simple::default() {
            return Err(Unreadable);
        }
        let text: String = self.text.get(start..self.at).unwrap_or_default().iter().collect();
        simple.text = text.replace("\\\n", " ").split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Node::Simple(simple))
    }

    fn assignment(&mut self) -> Result<Option<(String, Word)>> {
        let start = self.at;
        match self.name() {
            Some(name) if self.take("=") => Ok(Some((name, self.word()?.unwrap_or_default()))),
            _ => {
                self.at = start;
                Ok(None)
            }
        }
    }

    fn function(&mut self) -> Result<Option<Node>> {
        let start = self.at;
        if self.reserved().as_deref() == Some("function") {
            self.at += 8;
            self.blank();
        }
        let is_part = |c: &char| matches!(c, '_' | '-' | '.') || c.is_ascii_alphanumeric();
        let name: String = self.text.get(self.at..).unwrap_or_default().iter().copied().take_while(is_part).collect();
        self.at += name.len();
        self.blank();
        if name.is_empty() || !self.take("(") {
            self.at = start;
            return Ok(None);
        }
        self.blank();
        if !self.take(")") {
            return Err(Unreadable);
        }
        self.blank_lines()?;
        Ok(Some(Node::Function(name, Box::new(self.command()?))))
    }

    fn redirections(&mut self) -> Result<Vec<Redirection>> {
        let mut found = Vec::new();
        loop {
            self.blank();
            match self.redirection()? {
                Some(redirection) => found.push(redirection),
                None => return Ok(found),
            }
        }
    }

    fn redirection(&mut self) -> Result<Option<Redirection>> {
        let digit = self.peek().and_then(|c| c.to_digit(10)).filter(|_| matches!(self.peek_at(1), Some('<' | '>')));
        let start = self.at;
        self.at += usize::from(digit.is_some());
        let operators = [
            ("<<-", "<<"),
            ("<<", "<<"),
            (">>", ">>"),
            (">&", ">&"),
            ("<&", "<&"),
            (">|", ">"),
            ("<>", "<"),
            (">", ">"),
            ("<", "<"),
        ];
        let Some((written, operator)) = operators.into_iter().find(|(sign, _)| self.looking_at(sign)) else {
            self.at = start;
            return Ok(None);
        };
        self.at += written.len();
        self.blank();
        let descriptor = digit.unwrap_or(u32::from(operator.starts_with('>')));
        let word = self.word()?.ok_or(Unreadable)?;
        let target = if operator == "<<" {
            let literal = word.iter().any(|part| part.quoted);
            let delimiter: Option<String> = word
                .iter()
                .map(|part| if let PartKind::Text(text) = &part.kind { Some(text.as_str()) } else { None })
                .collect();
            self.texts.push(Word::new());
            self.pending.push((self.texts.len() - 1, delimiter.ok_or(Unreadable)?, written == "<<-", literal));
            Target::Text(self.texts.len() - 1)
        } else {
            Target::File(word)
        };
        Ok(Some(Redirection { operator, descriptor, target }))
    }
}
