//! The grammar of maintainer scripts: enough of POSIX sh to say which commands a script would come to.
//!
//! Only read, never run: `reader` decides what of it Ingot does itself.

/// The deepest nesting that is read.
const DEPTH_LIMIT: usize = 48;
/// The longest script that is read, in bytes.
const LENGTH_LIMIT: usize = 1 << 20;

/// A script that is not written in what is understood here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

type Result<T> = std::result::Result<T, Unreadable>;

/// One command of any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Assignments, words and redirections.
    Simple(Simple),
    /// `a | b`; turned around by `!`.
    Pipeline(Vec<Node>, bool),
    /// `a && b || c`: whether each goes on after success.
    AndOr(Box<Node>, Vec<(bool, Node)>),
    /// `if`, `elif`, `else`.
    If(Vec<(List, List)>, List),
    /// `case`.
    Case(Word, Vec<(Vec<Word>, List)>),
    /// `for`; without `in`, over the arguments.
    For(String, Option<Vec<Word>>, List),
    /// `while`, and `until`.
    While(List, List, bool),
    /// `{ ...; }` with its redirections.
    Group(List, Vec<Redirection>),
    /// `( ... )` with its redirections.
    Subshell(List, Vec<Redirection>),
    /// `name() { ... }`.
    Function(String, Box<Node>),
}

/// Commands one after the other.
pub(super) type List = Vec<Node>;

/// A command with its words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Simple {
    pub assignments: Vec<(String, Word)>,
    pub words: Vec<Word>,
    pub redirections: Vec<Redirection>,
    /// As it is written, in one line.
    pub text: String,
}

/// `2>/dev/null`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redirection {
    /// `>`, `>>`, `<`, `>&`, `<&`, `<<`.
    pub operator: &'static str,
    /// 0 or 1 if it is not said.
    pub descriptor: u32,
    /// The file; the number of the text for `<<`.
    pub target: Target,
}

/// Where a redirection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    File(Word),
    /// The place of a here-document in [`Script::texts`].
    Text(usize),
}

/// A word with what is to be put into it.
pub(super) type Word = Vec<Part>;

/// A part of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub kind: PartKind,
    /// Within quotes: neither split nor expanded.
    pub quoted: bool,
}

/// What a part of a word is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PartKind {
    Text(String),
    /// `$name` or `${name OPERATOR word}`.
    Parameter(String, Option<(String, Word)>),
    /// `$(...)` and backquotes: a script of its own.
    Command(String),
    /// `$((...))`, which is not computed.
    Arithmetic,
}

/// A script that was understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Script {
    pub list: List,
    /// The here-documents.
    pub texts: Vec<Word>,
}

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

struct Parser {
    text: Vec<char>,
    at: usize,
    depth: usize,
    texts: Vec<Word>,
    /// Here-documents whose text begins on the next line: place, delimiter, `<<-`, whether nothing is put into it.
    pending: Vec<(usize, String, bool, bool)>,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn peek_at(&self, ahead: usize) -> Option<char> {
        self.text.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let found = self.peek();
        self.at += usize::from(found.is_some());
        found
    }

    fn looking_at(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(n, c)| self.peek_at(n) == Some(c))
    }

    fn take(&mut self, text: &str) -> bool {
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
        if self.reserved().as_deref() == Some(word) { Ok(self.at += word.len()) } else { Err(Unreadable) }
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

    fn name(&mut self) -> Option<String> {
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

    /// A word; `None` if an operator stands here.
    fn word(&mut self) -> Result<Option<Word>> {
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
fn document(text: &str, depth: usize) -> Result<Word> {
    if depth > DEPTH_LIMIT {
        return Err(Unreadable);
    }
    let escaped = text.replace('"', "\\\"");
    let text = format!("{escaped}\"").chars().collect();
    let mut parser = Parser { text, at: 0, depth: depth + 1, texts: Vec::new(), pending: Vec::new() };
    parser.double_quoted()
}

fn quoted(kind: PartKind) -> Part {
    Part { kind, quoted: true }
}

fn flush(word: &mut Word, text: &mut String, quoted: bool) {
    if !text.is_empty() {
        word.push(Part { kind: PartKind::Text(std::mem::take(text)), quoted });
    }
}
