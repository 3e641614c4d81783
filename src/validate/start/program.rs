//! What happens when the kernel is told to execute a file: programs, scripts, their interpreters.

use super::person::Person;
use crate::layer::TreePath;
use crate::validate::subject::Subject;

/// How often one interpreter may be a script itself (Linux: BINPRM_MAX_RECURSION).
const DEPTH_LIMIT: usize = 5;
/// The longest first line that the kernel reads, in bytes.
const LINE_LIMIT: usize = 255;
/// What engines set if an image has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The most folders of PATH that are looked into.
const PATH_LIMIT: usize = 256;

/// Why a command does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    Missing,
    NotExecutable(String),
    Architecture(String, String),
    Format(String),
    /// The file, and what it names.
    Interpreter(String, String),
    LineEnd(String),
}

impl Problem {
    /// The rule that tells of it.
    pub fn rule(&self) -> &'static str {
        match self {
            Problem::Missing => "start-command",
            Problem::NotExecutable(_) => "start-executable",
            Problem::Architecture(..) => "start-architecture",
            Problem::Format(_) => "start-format",
            Problem::Interpreter(..) => "start-interpreter",
            Problem::LineEnd(_) => "start-line-end",
        }
    }

    /// What is wrong with the command of that name.
    pub fn told(&self, name: &str) -> String {
        match self {
            Problem::Missing => format!("`{name}` is not in the image"),
            Problem::NotExecutable(path) => format!("`{path}` cannot be executed by the image's user"),
            Problem::Architecture(path, machine) => format!("`{path}` is a program for {machine}"),
            Problem::Format(path) => format!("`{path}` is neither a program nor a script that begins with `#!`"),
            Problem::Interpreter(path, other) => format!("`{path}` needs `{other}`, which is not in the image"),
            Problem::LineEnd(path) => format!("the first line of `{path}` ends with a carriage return"),
        }
    }
}

/// Where commands are looked for, and who looks.
pub(super) struct Shell<'a> {
    subject: &'a Subject,
    person: Person,
    folders: Vec<String>,
    working: String,
}

impl<'a> Shell<'a> {
    /// With the image's PATH, working folder and user.
    pub fn of(subject: &'a Subject) -> Self {
        let path = subject.config.env_var("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
        let working = subject.config.get("WorkingDir").and_then(|folder| folder.as_str()).unwrap_or_default();
        let working = if working.is_empty() { "/".to_string() } else { working.to_string() };
        let folders = path.split(':').take(PATH_LIMIT).map(String::from).collect();
        Shell { subject, person: Person::of(subject), folders, working }
    }

    /// The folder in which it begins.
    pub fn working(&self) -> &str {
        &self.working
    }

    /// A path as the process sees it.
    pub fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') { path.to_string() } else { format!("{}/{path}", self.working.trim_end_matches('/')) }
    }

    /// The file that a command stands for.
    pub fn find(&self, name: &str) -> Result<TreePath, Problem> {
        let file = |path: &str| {
            let real = self.subject.root.follow(path)?;
            self.subject.file(&real).map(|_| real)
        };
        if name.contains('/') {
            let real = file(&self.absolute(name)).ok_or(Problem::Missing)?;
            return match self.person.may_execute(self.subject, &real) {
                true => Ok(real),
                false => Err(Problem::NotExecutable(format!("/{real}"))),
            };
        }
        let mut refused = None;
        for folder in &self.folders {
            let Some(real) = file(&self.absolute(&format!("{folder}/{name}"))).filter(|_| !name.is_empty()) else {
                continue;
            };
            if self.person.may_execute(self.subject, &real) {
                return Ok(real);
            }
            refused.get_or_insert(real);
        }
        Err(refused.map_or(Problem::Missing, |real| Problem::NotExecutable(format!("/{real}"))))
    }

    /// Whether the kernel starts a command, and all that it names.
    pub fn start(&self, name: &str) -> Result<TreePath, Problem> {
        let path = self.find(name)?;
        self.execute(&path, DEPTH_LIMIT)?;
        Ok(path)
    }

    fn execute(&self, path: &TreePath, depth: usize) -> Result<(), Problem> {
        let place = format!("/{path}");
        let Some(fact) = self.subject.file(path) else { return Err(Problem::Missing) };
        if let Some(elf) = fact.content.elf.as_deref() {
            if elf.machine.architecture() != Some(self.subject.platform.architecture.as_str()) && !self.runs_too(elf) {
                return Err(Problem::Architecture(place, elf.machine.name()));
            }
            let missing = elf
                .interpreter
                .as_ref()
                .filter(|loader| self.subject.root.follow(loader).and_then(|real| self.subject.file(&real)).is_none());
            return missing.map_or(Ok(()), |loader| Err(Problem::Interpreter(place, loader.clone())));
        }
        let (interpreter, argument) = match script(&fact.content.head) {
            Script::None => return Err(Problem::Format(place)),
            Script::LineEnd => return Err(Problem::LineEnd(place)),
            Script::Interpreter(interpreter, argument) => (interpreter, argument),
        };
        let Some(depth) = depth.checked_sub(1) else { return Err(Problem::Format(place)) };
        // The kernel does not look into PATH.
        let named = |problem: Problem| match problem {
            Problem::Missing => Problem::Interpreter(place.clone(), interpreter.clone()),
            other => other,
        };
        let real = self.find(&self.absolute(&interpreter)).map_err(named)?;
        self.execute(&real, depth)?;
        match argument
            .as_deref()
            .filter(|_| real.name() == "env" || interpreter.ends_with("/env"))
            .and_then(env_command)
        {
            Some(command) => {
                let named = |problem: Problem| match problem {
                    Problem::Missing => Problem::Interpreter(place.clone(), command.clone()),
                    other => other,
                };
                let real = self.find(&command).map_err(named)?;
                self.execute(&real, depth)
            }
            None => Ok(()),
        }
    }

    /// Kernels of 64 bits run programs of 32.
    fn runs_too(&self, elf: &crate::validate::elf::Elf) -> bool {
        let pair = (self.subject.platform.architecture.as_str(), elf.machine.architecture());
        matches!(pair, ("amd64", Some("386")) | ("arm64", Some("arm")))
    }
}

/// What the first line of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// It is no script.
    None,
    /// It ends as Windows ends lines.
    LineEnd,
    /// The interpreter, and all that stands behind it.
    Interpreter(String, Option<String>),
}

/// As the kernel reads it (fs/binfmt_script.c).
pub(super) fn script(head: &[u8]) -> Script {
    let Some(rest) = head.strip_prefix(b"#!") else { return Script::None };
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    // A line that goes on behind what the kernel reads is cut; the interpreter must be whole.
    let whole = line.len() < rest.len() || head.len() < LINE_LIMIT;
    let text = String::from_utf8_lossy(line);
    let text = text.trim_matches([' ', '\t']);
    let (interpreter, argument) = match text.split_once([' ', '\t']) {
        Some((interpreter, argument)) => (interpreter, Some(argument.trim_matches([' ', '\t']).to_string())),
        None if whole => (text, None),
        None => return Script::None,
    };
    if interpreter.ends_with('\r') || argument.as_deref().is_some_and(|argument| argument.ends_with('\r')) {
        return Script::LineEnd;
    }
    match interpreter {
        "" => Script::None,
        _ => Script::Interpreter(shown(interpreter), argument.map(|argument| shown(&argument))),
    }
}

fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// What `env` will run: `python3` of `-S python3 -I`, of `A=1 python3`.
fn env_command(argument: &str) -> Option<String> {
    let mut words = argument.split_whitespace();
    let mut first = true;
    loop {
        let word = words.next()?;
        match word {
            "-S" | "--split-string" | "-i" | "-" | "-v" => {}
            "-u" | "-C" => drop(words.next()),
            word if word.starts_with("-S") && word.len() > 2 && first => return word.get(2..).map(String::from),
            word if word.starts_with('-') => return None,
            word if word.contains('=') => {}
            word => return Some(word.to_string()),
        }
        first = false;
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn first_lines_are_read_as_the_kernel_does() {
        let is = |text: &str, interpreter: &str, argument: Option<&str>| {
            let expected = Script::Interpreter(interpreter.into(), argument.map(String::from));
            assert_eq!(script(text.as_bytes()), expected, "{text:?}");
        };
        is("#!/bin/sh\nx", "/bin/sh", None);
        is("#! /bin/sh -e  \nx", "/bin/sh", Some("-e"));
        is("#!/usr/bin/env python3", "/usr/bin/env", Some("python3"));
        for none in ["", "#", "#!", "#!\n", "echo", "#!  \n"] {
            assert_eq!(script(none.as_bytes()), Script::None, "{none:?}");
        }
        for bad in ["#!/bin/sh\r\nx", "#!/usr/bin/env python3\r\n"] {
            assert_eq!(script(bad.as_bytes()), Script::LineEnd, "{bad:?}");
        }
        assert_eq!(script(format!("#!/{}", "a".repeat(300)).get(..256).unwrap().as_bytes()), Script::None);
        let hostile = script(b"#!\x1b[31m\xff\n");
        assert!(matches!(&hostile, Script::Interpreter(text, None) if !text.contains('\x1b')), "{hostile:?}");
    }

    #[test]
    fn env_runs_the_first_word_that_is_no_option() {
        for (argument, command) in [
            ("python3", Some("python3")),
            ("-S python3 -I", Some("python3")),
            ("-Spython3", Some("python3")),
            ("A=1 B=2 bash", Some("bash")),
            ("-u HOME sh", Some("sh")),
            ("--unknown x", None),
            ("", None),
        ] {
            assert_eq!(env_command(argument).as_deref(), command, "{argument}");
        }
    }
}
