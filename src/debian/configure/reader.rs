//! Reads a maintainer script as a shell would, and says what it would come to. Nothing is run.
//!
//! A fixed list of commands (`commands`, `files`, `users`) is done by Ingot itself, with the arguments that the
//! script would give them; a longer one has no effect in an image. Everything else is left, and told. Where a
//! condition cannot be known, all that it guards is only perhaps done, so it is not done but told as well.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::accounts::Accounts;
use super::expand::{has_command, matches};
use super::shell;
use super::site::Site;
use super::syntax::{List, Node, Redirection, Script, Simple, Target, Word};
use crate::error::Result;

/// How many commands of one script are looked at.
const STEP_LIMIT: usize = 50_000;
/// How many words a command may have.
const FIELD_LIMIT: usize = 8192;
/// How often a loop is gone through.
const LOOP_LIMIT: usize = 500;
/// How deep functions may call each other.
pub(super) const CALL_LIMIT: usize = 30;
/// The longest text that a variable holds, in bytes.
pub(super) const TEXT_LIMIT: usize = 128 << 10;

/// Whether a command succeeded, if that can be known.
pub(super) type Status = Option<bool>;

/// A word, if it can be known.
pub(super) type Known = Option<String>;

/// How reading goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Next,
    /// Out of the loop, to its next round.
    Break,
    Continue,
    Return,
    Exit,
}

/// A function, with the here-documents of its script.
type Function = (Rc<Node>, Rc<Vec<Word>>);

/// What a script comes to.
pub(super) struct Reader<'r, 'a> {
    pub site: &'r mut Site<'a>,
    pub accounts: &'r mut Accounts,
    /// Debian's name of the architecture.
    pub architecture: &'r str,
    /// What was not done: command lines, each once.
    pub left: Vec<String>,
    /// Triggers that the script activates.
    pub triggered: Vec<String>,
    pub umask: u32,
    pub(super) variables: BTreeMap<String, Known>,
    functions: BTreeMap<String, Function>,
    pub(super) arguments: Vec<Known>,
    texts: Rc<Vec<Word>>,
    /// What is printed while something waits for it.
    pub(super) captured: Vec<Known>,
    /// Within how many conditions that cannot be known.
    perhaps: usize,
    pub(super) calls: usize,
    pub(super) nesting: usize,
    pub(super) steps: usize,
    temporary: usize,
}

impl<'r, 'a> Reader<'r, 'a> {
    /// For a script of `package`.
    pub fn new(
        site: &'r mut Site<'a>,
        accounts: &'r mut Accounts,
        architecture: &'r str,
        package: &str,
        script: &str,
        arguments: &[&str],
    ) -> Reader<'r, 'a> {
        let variables = [
            ("DPKG_ROOT", ""),
            ("DPKG_ADMINDIR", "/var/lib/dpkg"),
            ("DPKG_MAINTSCRIPT_PACKAGE", package),
            ("DPKG_MAINTSCRIPT_NAME", script),
            ("DPKG_MAINTSCRIPT_ARCH", architecture),
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/root"),
            ("0", script),
        ];
        Reader {
            site,
            accounts,
            architecture,
            left: Vec::new(),
            triggered: Vec::new(),
            umask: 0o022,
            variables: variables.into_iter().map(|(name, value)| (name.into(), Some(value.into()))).collect(),
            functions: BTreeMap::new(),
            arguments: arguments.iter().map(|argument| Some((*argument).to_string())).collect(),
            texts: Rc::default(),
            captured: Vec::new(),
            perhaps: 0,
            calls: 0,
            nesting: 0,
            steps: 0,
            temporary: 0,
        }
    }

    /// Reads the script from its beginning to its end.
    pub fn read(&mut self, script: Script) -> Result<()> {
        self.texts = Rc::new(script.texts);
        self.list(&script.list).map(drop)
    }

    /// Whether what stands here is done for sure.
    pub fn is_certain(&self) -> bool {
        self.perhaps == 0
    }

    /// Something is not done.
    pub fn leave(&mut self, text: &str) {
        if !self.left.iter().any(|left| left == text) {
            self.left.push(text.to_string());
        }
    }

    /// Something is printed; `None`: nobody knows what.
    pub fn print(&mut self, text: Known) {
        if let Some(captured) = self.captured.last_mut() {
            match (captured.as_mut(), text) {
                (Some(before), Some(text)) if before.len() + text.len() <= TEXT_LIMIT => before.push_str(&text),
                _ => *captured = None,
            }
        }
    }

    /// A name for a temporary file, which is never made.
    pub fn temporary(&mut self) -> String {
        self.temporary += 1;
        format!("/tmp/ingot.{}\n", self.temporary)
    }

    pub fn set(&mut self, name: &str, value: Known) {
        self.charge(value.as_ref().map_or(0, String::len));
        let value = if self.is_certain() { value } else { None };
        self.variables.insert(name.to_string(), value);
    }

    pub fn unset(&mut self, name: &str) {
        self.variables.remove(name);
    }

    pub fn set_arguments(&mut self, arguments: Vec<Known>) {
        self.arguments = arguments;
    }

    pub fn shift(&mut self, count: usize) -> Status {
        let enough = count <= self.arguments.len();
        self.arguments.drain(..count.min(self.arguments.len()));
        Some(enough)
    }

    fn list(&mut self, list: &List) -> Result<(Flow, Status)> {
        let mut status = Some(true);
        for node in list {
            let (flow, result) = self.node(node)?;
            status = result;
            if flow != Flow::Next {
                return Ok((flow, status));
            }
        }
        Ok((Flow::Next, status))
    }

    /// What is only perhaps come to.
    fn perhaps(&mut self, list: &List) -> Result<()> {
        self.perhaps += 1;
        let read = self.list(list);
        self.perhaps -= 1;
        read.map(drop)
    }

    fn node(&mut self, node: &Node) -> Result<(Flow, Status)> {
        self.steps += 1;
        if self.steps > STEP_LIMIT {
            self.leave("a script that does not end");
            return Ok((Flow::Exit, None));
        }
        self.nested(|reader| reader.inside(node)).unwrap_or(Ok((Flow::Next, None)))
    }

    fn inside(&mut self, node: &Node) -> Result<(Flow, Status)> {
        match node {
            Node::Simple(simple) => self.simple(simple),
            Node::Function(name, body) => {
                self.functions.insert(name.clone(), (Rc::new((**body).clone()), self.texts.clone()));
                Ok((Flow::Next, Some(true)))
            }
            Node::AndOr(first, rest) => self.and_or(first, rest),
            Node::Pipeline(commands, turned) => self.pipeline(commands, *turned),
            Node::If(arms, otherwise) => self.choose(arms, otherwise),
            Node::Case(subject, arms) => self.case(subject, arms),
            Node::For(name, words, body) => self.for_each(name, words.as_deref(), body),
            Node::While(condition, body, until) => self.repeat(condition, body, *until),
            Node::Group(list, redirections) => self.redirected(redirections, |reader| reader.list(list)),
            Node::Subshell(list, redirections) => {
                let (variables, arguments) = (self.remember(), self.arguments.clone());
                let read = self.redirected(redirections, |reader| reader.list(list));
                (self.variables, self.arguments) = (variables, arguments);
                read.map(|(_, status)| (Flow::Next, status))
            }
        }
    }

    fn and_or(&mut self, first: &Node, rest: &[(bool, Node)]) -> Result<(Flow, Status)> {
        let (mut flow, mut status) = self.node(first)?;
        for (after_success, node) in rest {
            if flow != Flow::Next {
                break;
            }
            match status {
                Some(success) if success == *after_success => (flow, status) = self.node(node)?,
                Some(_) => {}
                None => {
                    self.perhaps += 1;
                    let read = self.node(node);
                    self.perhaps -= 1;
                    // `... || true` and `... && exit`: what comes after is still only perhaps known.
                    read?;
                }
            }
        }
        Ok((flow, status))
    }

    fn pipeline(&mut self, commands: &[Node], turned: bool) -> Result<(Flow, Status)> {
        let turn = |status: Status| if turned { status.map(|success| !success) } else { status };
        if let [only] = commands {
            let (flow, status) = self.node(only)?;
            return Ok((flow, turn(status)));
        }
        let variables = self.remember();
        let mut piped: Option<Known> = None;
        let mut status = None;
        for command in commands {
            // What one prints is the next one's input.
            if let Some(text) = piped.take() {
                self.variables.insert("<".into(), text);
            }
            self.captured.push(Some(String::new()));
            let read = self.node(command);
            piped = Some(self.captured.pop().flatten());
            status = read?.1;
        }
        self.variables = variables;
        self.print(piped.flatten());
        Ok((Flow::Next, turn(status)))
    }

    fn choose(&mut self, arms: &[(List, List)], otherwise: &List) -> Result<(Flow, Status)> {
        let mut uncertain = false;
        for (condition, body) in arms {
            let (flow, status) = self.list(condition)?;
            if flow != Flow::Next {
                return Ok((flow, status));
            }
            match status {
                Some(true) if uncertain => {
                    self.perhaps(body)?;
                    return Ok((Flow::Next, None));
                }
                Some(true) => return self.list(body),
                Some(false) => {}
                None => {
                    self.perhaps(body)?;
                    uncertain = true;
                }
            }
        }
        if uncertain {
            self.perhaps(otherwise)?;
            return Ok((Flow::Next, None));
        }
        self.list(otherwise)
    }

    fn case(&mut self, subject: &Word, arms: &[(Vec<Word>, List)]) -> Result<(Flow, Status)> {
        let subject = self.text(subject)?;
        for (patterns, body) in arms {
            for pattern in patterns {
                let pattern = self.pattern(pattern)?;
                let (Some(subject), Some(pattern)) = (&subject, &pattern) else { continue };
                if matches(subject, pattern) {
                    return self.list(body);
                }
            }
        }
        if subject.is_none() {
            for (_, body) in arms {
                self.perhaps(body)?;
            }
            return Ok((Flow::Next, None));
        }
        Ok((Flow::Next, Some(true)))
    }

    fn for_each(&mut self, name: &str, words: Option<&[Word]>, body: &List) -> Result<(Flow, Status)> {
        let mut values = Vec::new();
        match words {
            None => values.clone_from(&self.arguments),
            Some(words) => {
                for word in words {
                    values.extend(self.fields(word)?);
                    if values.len() > LOOP_LIMIT {
                        break;
                    }
                }
            }
        }
        if values.len() > LOOP_LIMIT || values.iter().any(Option::is_none) {
            self.variables.insert(name.to_string(), None);
            self.perhaps(body)?;
            return Ok((Flow::Next, None));
        }
        for value in values {
            self.variables.insert(name.to_string(), value);
            let (flow, status) = self.list(body)?;
            match flow {
                Flow::Break => break,
                Flow::Return | Flow::Exit => return Ok((flow, status)),
                Flow::Next | Flow::Continue => {}
            }
        }
        Ok((Flow::Next, Some(true)))
    }

    fn repeat(&mut self, condition: &List, body: &List, until: bool) -> Result<(Flow, Status)> {
        for _ in 0..LOOP_LIMIT {
            let (flow, status) = self.list(condition)?;
            if flow != Flow::Next {
                return Ok((flow, status));
            }
            match status {
                Some(success) if success == until => return Ok((Flow::Next, Some(true))),
                Some(_) => {}
                None => {
                    self.perhaps(body)?;
                    return Ok((Flow::Next, None));
                }
            }
            let (flow, status) = self.list(body)?;
            match flow {
                Flow::Break => break,
                Flow::Return | Flow::Exit => return Ok((flow, status)),
                Flow::Next | Flow::Continue => {}
            }
        }
        Ok((Flow::Next, Some(true)))
    }

    fn simple(&mut self, simple: &Simple) -> Result<(Flow, Status)> {
        let mut fields = Vec::new();
        let mut length = 0;
        for word in &simple.words {
            let more = self.fields(word)?;
            length += more.iter().flatten().map(String::len).sum::<usize>();
            fields.extend(more);
            if length > TEXT_LIMIT || fields.len() > FIELD_LIMIT {
                self.leave(&simple.text);
                return Ok((Flow::Next, None));
            }
        }
        let substituted = simple.assignments.iter().any(|(_, word)| has_command(word));
        let mut assigned = Vec::new();
        for (name, word) in &simple.assignments {
            let value = self.text(word)?;
            assigned.push((name.clone(), self.variables.get(name).cloned()));
            self.set(name, value);
        }
        if fields.is_empty() {
            let status = if substituted { None } else { Some(true) };
            return self.redirected(&simple.redirections, |_| Ok((Flow::Next, status)));
        }
        let read = self.redirected(&simple.redirections, |reader| reader.command(&fields, simple));
        // `LC_ALL=C command`: only for that command.
        for (name, before) in assigned {
            match before {
                Some(value) => drop(self.variables.insert(name, value)),
                None => drop(self.variables.remove(&name)),
            }
        }
        read
    }

    fn command(&mut self, mut fields: &[Known], simple: &Simple) -> Result<(Flow, Status)> {
        // `exec`, `env` and their like: what they start.
        while let [Some(name), rest @ ..] = fields
            && matches!(name.as_str(), "exec" | "command" | "builtin" | "env" | "nice" | "ionice")
            && rest.first().is_some_and(|first| !first.as_ref().is_some_and(|word| word.starts_with('-')))
        {
            fields = rest;
        }
        let Some((Some(name), arguments)) = fields.split_first() else {
            self.print(None);
            self.leave(&simple.text);
            return Ok((Flow::Next, None));
        };
        let success = |argument: Option<&Known>| match argument {
            None => Some(true),
            Some(Some(code)) => Some(code == "0"),
            Some(None) => None,
        };
        match name.as_str() {
            "exit" => return Ok((self.only_perhaps(Flow::Exit), success(arguments.first()))),
            "return" => return Ok((self.only_perhaps(Flow::Return), success(arguments.first()))),
            "break" => return Ok((self.only_perhaps(Flow::Break), Some(true))),
            "continue" => return Ok((self.only_perhaps(Flow::Continue), Some(true))),
            "." | "source" => return self.source(arguments, simple),
            "eval" => return self.eval(arguments, simple),
            _ => {}
        }
        if let Some((body, texts)) = self.functions.get(name).cloned() {
            return self.call(&body, texts, arguments, simple);
        }
        let status = self.known_command(name, arguments, simple)?;
        Ok((Flow::Next, status))
    }

    /// A jump that is only perhaps made is not followed, so that what comes after it is read, too.
    fn only_perhaps(&self, flow: Flow) -> Flow {
        if self.is_certain() { flow } else { Flow::Next }
    }

    fn call(
        &mut self,
        body: &Node,
        texts: Rc<Vec<Word>>,
        arguments: &[Known],
        simple: &Simple,
    ) -> Result<(Flow, Status)> {
        if self.calls >= CALL_LIMIT {
            self.leave(&simple.text);
            return Ok((Flow::Next, None));
        }
        self.calls += 1;
        let before =
            (std::mem::replace(&mut self.arguments, arguments.to_vec()), std::mem::replace(&mut self.texts, texts));
        let read = self.node(body);
        (self.arguments, self.texts) = before;
        self.calls -= 1;
        let (flow, status) = read?;
        Ok((if flow == Flow::Exit { flow } else { Flow::Next }, status))
    }

    /// Another file's commands. Those of debconf and of dpkg only talk.
    fn source(&mut self, arguments: &[Known], simple: &Simple) -> Result<(Flow, Status)> {
        let Some(Some(path)) = arguments.first() else {
            self.leave(&simple.text);
            return Ok((Flow::Next, None));
        };
        if path.starts_with("/usr/share/debconf/") || path.starts_with("/usr/share/dpkg/") {
            return Ok((Flow::Next, Some(true)));
        }
        match self.site.text(path)?.map(|text| self.parse(&text)) {
            Some(Ok(script)) if self.calls < CALL_LIMIT => self.inner(script),
            None if self.site.root.exists("/var/lib/dpkg") && path.starts_with("/etc/") => {
                Ok((Flow::Next, Some(false)))
            }
            _ => {
                self.leave(&simple.text);
                Ok((Flow::Next, None))
            }
        }
    }

    fn eval(&mut self, arguments: &[Known], simple: &Simple) -> Result<(Flow, Status)> {
        let words: Option<Vec<&str>> = arguments.iter().map(Option::as_deref).collect();
        match words.map(|words| self.parse(&words.join(" "))) {
            Some(Ok(script)) if self.calls < CALL_LIMIT => self.inner(script),
            _ => {
                self.leave(&simple.text);
                Ok((Flow::Next, None))
            }
        }
    }

    /// Reads a script within the script.
    pub(super) fn parse(&mut self, text: &str) -> shell::Result<Script> {
        self.charge(text.len());
        shell::parse(text)
    }

    pub(super) fn inner(&mut self, script: Script) -> Result<(Flow, Status)> {
        self.calls += 1;
        let texts = std::mem::replace(&mut self.texts, Rc::new(script.texts));
        let read = self.list(&script.list);
        self.texts = texts;
        self.calls -= 1;
        read
    }

    /// What a command prints goes into the file that its redirection names.
    fn redirected(
        &mut self,
        redirections: &[Redirection],
        read: impl FnOnce(&mut Self) -> Result<(Flow, Status)>,
    ) -> Result<(Flow, Status)> {
        let mut out = None;
        for redirection in redirections.iter().filter(|one| one.descriptor == 1 && one.operator.starts_with('>')) {
            if let (Target::File(word), ">" | ">>") = (&redirection.target, redirection.operator) {
                out = Some((self.text(word)?, redirection.operator == ">>"));
            }
        }
        let input = redirections.iter().find_map(|one| match (&one.target, one.descriptor) {
            (Target::Text(place), 0) => self.texts.get(*place).cloned(),
            _ => None,
        });
        let input = match input {
            Some(word) => Some(self.text(&word)?),
            None => None,
        };
        let before = self.variables.get("<").cloned();
        let has_input = input.is_some();
        if let Some(text) = input {
            self.variables.insert("<".into(), text);
        }
        // `>&2`: to the terminal, not to whom waits for it.
        let away = redirections.iter().any(|one| one.descriptor == 1 && one.operator == ">&");
        let captures = out.is_some() || away;
        if captures {
            self.captured.push(Some(String::new()));
        }
        let result = read(self);
        let printed = if captures { self.captured.pop().flatten() } else { None };
        if has_input {
            match before {
                Some(value) => drop(self.variables.insert("<".into(), value)),
                None => drop(self.variables.remove("<")),
            }
        }
        if let Some((path, append)) = out {
            self.output(path, append, printed)?;
        }
        result
    }

    /// The text on a command's stdin, if it stands in the script.
    pub fn input(&self) -> Option<Known> {
        self.variables.get("<").cloned()
    }

    fn output(&mut self, path: Known, append: bool, text: Known) -> Result<()> {
        let passing = |path: &str| ["/dev/", "/tmp/", "/proc/", "/sys/"].iter().any(|start| path.starts_with(start));
        match (path, text) {
            (Some(path), _) if passing(&path) => {}
            (Some(path), Some(text)) if self.is_certain() && path.starts_with('/') && self.site.takes(&path) => {
                let before = if append { self.site.text(&path)?.unwrap_or_default() } else { String::new() };
                let mode = 0o666 & !self.umask;
                self.charge(before.len() + text.len());
                self.site.write(&path, (before + &text).into_bytes(), mode, 0, 0)?;
            }
            (path, _) => {
                let path = path.unwrap_or_else(|| "a file".into());
                self.leave(&format!("what writes {path}"));
            }
        }
        Ok(())
    }
}
