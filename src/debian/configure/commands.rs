//! The commands of maintainer scripts that are answered: those that ask, those that talk, those without effect in an
//! image, and the way to those that Ingot does itself.

use super::alternatives;
use super::curated;
use super::reader::{Known, Reader, Status};
use super::syntax::Simple;
use crate::debian::Version;
use crate::debian::root::is_marker;
use crate::error::Result;
use crate::layer::BaseKind;

/// Where a shell looks for programs.
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The most words that a test may have.
const TEST_LIMIT: usize = 64;

impl Reader<'_, '_> {
    /// What a command comes to that is no function of the script.
    pub fn known_command(&mut self, name: &str, arguments: &[Known], simple: &Simple) -> Result<Status> {
        let program = PATH.iter().find_map(|folder| name.strip_prefix(&format!("{folder}/"))).unwrap_or(name);
        if let Some(status) = self.builtin(program, arguments) {
            return Ok(status);
        }
        let Some(words) = arguments.iter().cloned().collect::<Option<Vec<String>>>() else {
            if !is_harmless(program) {
                self.leave(&simple.text);
            }
            self.print(None);
            return Ok(None);
        };
        if let Some(status) = self.question(program, &words)? {
            return Ok(status);
        }
        if is_harmless(program) {
            self.print(None);
            return Ok(None);
        }
        // Layers give such names a meaning.
        if words.iter().any(|word| is_marker(word)) {
            self.leave(&simple.text);
            return Ok(None);
        }
        // All that follows changes something, which is only done when it is sure.
        if !self.is_certain() {
            if !self.is_done(program, &words)? {
                self.leave(&simple.text);
            }
            return Ok(None);
        }
        let done = match program {
            "update-alternatives" => Some(alternatives::call(self.site, &words)?),
            "adduser" | "addgroup" | "useradd" | "groupadd" | "usermod" | "gpasswd" => self.users(program, &words)?,
            "mkdir" | "rmdir" | "rm" | "touch" | "ln" | "cp" | "mv" | "install" | "chown" | "chgrp" | "chmod"
            | "dpkg-statoverride" | "ucf" => self.files(program, &words)?,
            _ => None,
        };
        match done {
            Some(true) => Ok(Some(true)),
            // Understood, and the real one would have failed.
            Some(false)
                if matches!(program, "mkdir" | "rmdir" | "rm" | "ln" | "cp" | "mv" | "chown" | "chgrp" | "chmod") =>
            {
                Ok(Some(false))
            }
            _ => {
                self.print(None);
                self.leave(&simple.text);
                Ok(None)
            }
        }
    }

    /// Whether something that is perhaps to be done is done already, so that it does not matter.
    fn is_done(&mut self, program: &str, words: &[String]) -> Result<bool> {
        let paths = || words.iter().filter(|word| word.starts_with('/'));
        Ok(match program {
            "mkdir" => paths().all(|path| self.site.is_folder(path)),
            "rm" | "rmdir" => paths().all(|path| !self.site.root.exists(path)),
            "update-alternatives" => words.first().is_some_and(|word| word == "--remove" || word == "--remove-all"),
            _ => false,
        })
    }

    /// Commands that the shell itself has.
    fn builtin(&mut self, name: &str, arguments: &[Known]) -> Option<Status> {
        let first = || arguments.first().cloned().flatten();
        Some(match name {
            ":" | "true" => Some(true),
            "false" => Some(false),
            "[" | "test" | "[[" => self.test(arguments),
            "echo" | "printf" => {
                let text = self.printed(name, arguments);
                self.print(text);
                Some(true)
            }
            "cat" if arguments.is_empty() => {
                let input = self.input().unwrap_or(None);
                self.print(input);
                Some(true)
            }
            "shift" => {
                let count = first().and_then(|count| count.parse().ok()).unwrap_or(1);
                self.shift(count)
            }
            "set" => {
                if arguments.first() == Some(&Some("--".to_string())) {
                    self.set_arguments(arguments.iter().skip(1).cloned().collect());
                }
                Some(true)
            }
            "export" | "local" | "readonly" | "declare" | "typeset" => {
                for argument in arguments {
                    match argument.as_deref().map(|word| (word, word.split_once('='))) {
                        Some((_, Some((name, value)))) => self.set(name, Some(value.to_string())),
                        Some((name, None)) if matches!(arguments.len(), 1..) && name.starts_with('-') => {}
                        _ => {}
                    }
                }
                Some(true)
            }
            "unset" => {
                arguments.iter().flatten().for_each(|name| self.unset(name));
                Some(true)
            }
            "read" | "getopts" => {
                arguments.iter().flatten().filter(|name| !name.starts_with('-')).for_each(|name| self.set(name, None));
                None
            }
            "umask" => {
                if let Some(mask) = first().and_then(|mask| u32::from_str_radix(&mask, 8).ok()) {
                    self.umask = mask & 0o777;
                }
                Some(true)
            }
            "trap" | "cd" | "wait" | "hash" | "ulimit" | "alias" | "pushd" | "popd" => Some(true),
            name if name.starts_with("db_") => {
                self.set("RET", None);
                match name {
                    "db_stop" | "db_version" | "db_capb" | "db_title" | "db_purge" => Some(true),
                    _ => None,
                }
            }
            _ => return None,
        })
    }

    fn printed(&self, name: &str, arguments: &[Known]) -> Known {
        let words: Vec<&str> = arguments.iter().map(Option::as_deref).collect::<Option<_>>()?;
        match (name, words.as_slice()) {
            ("echo", ["-n", rest @ ..]) => Some(rest.join(" ")),
            ("echo", [first, ..]) if first.starts_with('-') => None,
            ("echo", words) => Some(format!("{}\n", words.join(" "))),
            ("printf", ["%s\\n", rest @ ..]) => Some(rest.iter().map(|word| format!("{word}\n")).collect()),
            ("printf", ["%s", rest @ ..]) => Some(rest.concat()),
            ("printf", [format]) if !format.contains(['%', '\\']) => Some((*format).to_string()),
            ("printf", [format]) if !format.contains('%') => Some(format.replace("\\n", "\n").replace("\\t", "\t")),
            _ => None,
        }
    }

    /// Commands that only ask.
    fn question(&mut self, program: &str, words: &[String]) -> Result<Option<Status>> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Ok(Some(match (program, words.as_slice()) {
            ("command", ["-v" | "-V", name]) | ("which" | "type", [name] | ["-s" | "-a", name]) => self.which(name),
            ("dpkg", ["--compare-versions", a, operator, b]) => compare(a, operator, b),
            ("dpkg", ["--print-architecture"]) => self.answer(&format!("{}\n", self.architecture)),
            ("dpkg-vendor", ["--derives-from", vendor]) => self.derives_from(vendor)?,
            ("dpkg-vendor", ["--is", vendor]) => self.derives_from(vendor)?,
            ("uname", ["-s"] | []) => self.answer("Linux\n"),
            ("id", ["-u"] | ["-g"]) => self.answer("0\n"),
            ("id", [name] | ["-u", name] | ["-un" | "-nu", name]) if !name.starts_with('-') => {
                let known = self.accounts.has_user(name);
                self.print(self.accounts.uid(name).filter(|_| known).map(|uid| format!("{uid}\n")));
                Some(known)
            }
            ("getent", [database @ ("passwd" | "group"), name]) => {
                let line = self.accounts.line(database, name);
                let found = line.is_some();
                self.print(Some(line.map(|line| line + "\n").unwrap_or_default()));
                Some(found)
            }
            ("getent", [database @ ("passwd" | "group")]) => {
                let text = self.accounts.text(database);
                self.print(text);
                Some(true)
            }
            ("dpkg-statoverride", ["--list", path] | ["--list", "--quiet", path] | ["--quiet", "--list", path]) => {
                let list = self.site.text("/var/lib/dpkg/statoverride")?.unwrap_or_default();
                self.print(None);
                Some(list.lines().any(|line| line.ends_with(&format!(" {path}"))))
            }
            ("dirname", [path]) => {
                self.answer(&format!("{}\n", path.rsplit_once('/').map_or(".", |(folder, _)| folder)))
            }
            ("basename", [path, suffix]) => {
                let name = path.rsplit('/').next().unwrap_or(path);
                self.answer(&format!("{}\n", name.strip_suffix(suffix).unwrap_or(name)))
            }
            ("basename", [path]) => self.answer(&format!("{}\n", path.rsplit('/').next().unwrap_or(path))),
            ("readlink", [path] | ["-n", path]) => match self.site.path(path).ok().and_then(|path| self.site.at(&path))
            {
                Some(entry) if matches!(entry.kind, BaseKind::Symlink(_)) => {
                    let BaseKind::Symlink(target) = entry.kind else { return Ok(None) };
                    self.answer(&format!("{target}\n"))
                }
                _ => Some(false),
            },
            ("mktemp", _) => {
                let name = self.temporary();
                self.answer(&name)
            }
            ("cat", [path]) if path.starts_with('/') => {
                let found = self.site.root.exists(path);
                let text = self.filtered(Some(path))?;
                self.print(text);
                Some(found)
            }
            ("grep" | "egrep" | "fgrep", words) => return Ok(Some(self.grep(words)?)),
            ("cut", ["-d", separator, "-f", field] | ["-f", field, "-d", separator]) => self.cut(separator, field),
            ("cut", [separator, field] | [field, separator])
                if separator.starts_with("-d") && field.starts_with("-f") && separator.len() == 3 =>
            {
                self.cut(separator.get(2..).unwrap_or_default(), field.get(2..).unwrap_or_default())
            }
            ("ls", [.., path]) if path.starts_with('/') && !words.contains(&"-l") => {
                let real = self.site.root.resolve(path);
                let children = self.site.root.list(path).into_keys().filter(|child| child.parent() == real);
                let names: String = children.map(|child| format!("{}\n", child.name())).collect();
                let found = real.is_some();
                self.print(if self.site.is_folder(path) { Some(names) } else { None });
                Some(found)
            }
            // Only with `-i` it changes anything.
            ("sed", words) if !words.iter().any(|word| word.starts_with("--in") || is_in_place(word)) => {
                self.print(None);
                None
            }
            // A layer has no file capabilities; scripts that know such file systems make do with setuid.
            ("setcap", _) if self.is_certain() => {
                self.leave("setcap");
                Some(false)
            }
            ("dpkg-trigger", words) => {
                self.triggered
                    .extend(words.iter().filter(|word| !word.starts_with('-')).map(|word| (*word).to_string()));
                Some(true)
            }
            ("deb-systemd-helper" | "systemctl" | "service" | "invoke-rc.d", _) => None,
            _ => return Ok(None),
        }))
    }

    /// The text that a filter reads: a file, or what is piped into it.
    fn filtered(&self, file: Option<&str>) -> Result<Known> {
        match file {
            Some("/etc/passwd") => Ok(self.accounts.text("passwd")),
            Some("/etc/group") => Ok(self.accounts.text("group")),
            Some(path) if path.starts_with('/') => Ok(Some(self.site.text(path)?.unwrap_or_default())),
            Some(_) => Ok(None),
            None => Ok(self.input().flatten()),
        }
    }

    /// `grep` for plain text, perhaps at the beginning or the end of a line; other patterns are not computed.
    fn grep(&mut self, words: &[&str]) -> Result<Status> {
        let (options, operands): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with('-'));
        let flags = options.iter().all(|option| option.chars().skip(1).all(|flag| "qsEFvx".contains(flag)));
        let has = |flag| options.iter().any(|option| option.contains(flag));
        let (Some(pattern), true, true) = (operands.first(), flags, operands.len() <= 2) else {
            self.print(None);
            return Ok(None);
        };
        let (starts, plain) = pattern.strip_prefix('^').map_or((false, *pattern), |rest| (true, rest));
        let (ends, plain) = plain.strip_suffix('$').map_or((false, plain), |rest| (true, rest));
        let Some(text) = self
            .filtered(operands.get(1).copied())?
            .filter(|_| !plain.contains(['.', '*', '[', '\\', '(', '+', '?', '|', '{', '^', '$']))
        else {
            self.print(None);
            return Ok(None);
        };
        let (starts, ends) = (starts || has('x'), ends || has('x'));
        let fits = |line: &&str| {
            let fits = match (starts, ends) {
                (true, true) => *line == plain,
                (true, false) => line.starts_with(plain),
                (false, true) => line.ends_with(plain),
                (false, false) => line.contains(plain),
            };
            fits != has('v')
        };
        let found: String = text.lines().filter(fits).map(|line| format!("{line}\n")).collect();
        let status = Some(!found.is_empty());
        self.print(Some(if has('q') { String::new() } else { found }));
        Ok(status)
    }

    fn cut(&mut self, separator: &str, field: &str) -> Status {
        let text = field.parse::<usize>().ok().zip(self.input().flatten()).map(|(number, text)| {
            let field =
                |line: &str| line.split(separator).nth(number.max(1) - 1).unwrap_or_default().to_string() + "\n";
            text.lines().map(field).collect()
        });
        self.print(text);
        Some(true)
    }

    fn answer(&mut self, text: &str) -> Status {
        self.print(Some(text.to_string()));
        Some(true)
    }

    fn which(&mut self, name: &str) -> Status {
        let found = if name.starts_with('/') {
            Some(name.to_string()).filter(|path| self.site.root.exists(path))
        } else {
            PATH.iter().map(|folder| format!("{folder}/{name}")).find(|path| self.site.root.exists(path))
        };
        let status = Some(found.is_some());
        self.print(Some(found.map(|path| path + "\n").unwrap_or_default()));
        status
    }

    fn derives_from(&mut self, vendor: &str) -> Result<Status> {
        let release = self.site.text("/etc/os-release")?.or(self.site.text("/usr/lib/os-release")?).unwrap_or_default();
        let id = release.lines().find_map(|line| line.strip_prefix("ID=")).map(|id| id.trim_matches('"').to_string());
        Ok(id.map(|id| vendor.eq_ignore_ascii_case(&id)))
    }

    /// `test`: what can be said of words and of the root.
    fn test(&self, arguments: &[Known]) -> Status {
        let end = arguments.last().is_some_and(|last| matches!(last.as_deref(), Some("]" | "]]")));
        let words = arguments.get(..arguments.len() - usize::from(end))?;
        if words.len() > TEST_LIMIT {
            return None;
        }
        self.either(words)
    }

    fn either(&self, words: &[Known]) -> Status {
        let or = words.iter().position(|word| word.as_deref() == Some("-o")).filter(|at| *at > 0);
        match or {
            Some(at) => match (self.both(words.get(..at)?), self.either(words.get(at + 1..)?)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            None => self.both(words),
        }
    }

    fn both(&self, words: &[Known]) -> Status {
        // `-a` between two tests; as the first word it would be a file's.
        let and = words.iter().position(|word| matches!(word.as_deref(), Some("-a" | "&&"))).filter(|at| *at > 0);
        match and {
            Some(at) => match (self.single(words.get(..at)?), self.both(words.get(at + 1..)?)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            None => self.single(words),
        }
    }

    fn single(&self, words: &[Known]) -> Status {
        let (mut words, mut turned) = (words, false);
        while let [Some(first), rest @ ..] = words
            && first == "!"
            && !rest.is_empty()
        {
            (words, turned) = (rest, !turned);
        }
        self.plain(words).map(|is| is != turned)
    }

    /// One test without `!`.
    fn plain(&self, words: &[Known]) -> Status {
        match words {
            [] => Some(false),
            [word] => word.as_ref().map(|word| !word.is_empty()),
            [Some(operator), operand] => self.unary(operator, operand.as_deref()?),
            [a, Some(operator), b] => {
                let (a, b) = (a.as_deref()?, b.as_deref()?);
                let order = || Some(a.trim().parse::<i64>().ok()?.cmp(&b.trim().parse().ok()?));
                match operator.as_str() {
                    "=" | "==" => Some(a == b),
                    "!=" => Some(a != b),
                    "-eq" => order().map(|order| order.is_eq()),
                    "-ne" => order().map(|order| order.is_ne()),
                    "-lt" => order().map(|order| order.is_lt()),
                    "-le" => order().map(|order| order.is_le()),
                    "-gt" => order().map(|order| order.is_gt()),
                    "-ge" => order().map(|order| order.is_ge()),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn unary(&self, operator: &str, operand: &str) -> Status {
        let living = ["/proc", "/sys", "/dev", "/run"].iter().any(|folder| operand.starts_with(&format!("{folder}/")));
        let target = || self.site.target(operand);
        let kind = || target().map(|entry| entry.kind);
        Some(match operator {
            "-n" => !operand.is_empty(),
            "-z" => operand.is_empty(),
            // What only a running system has; /run/lock and its like may be in the image.
            _ if living && !self.site.root.exists(operand) => false,
            "-e" | "-a" | "-r" | "-w" => operand == "/" || target().is_some(),
            "-d" => operand == "/" || kind() == Some(BaseKind::Directory),
            "-f" => kind() == Some(BaseKind::File),
            "-L" | "-h" => {
                let path = self.site.path(operand).ok()?;
                matches!(self.site.at(&path).map(|entry| entry.kind), Some(BaseKind::Symlink(_)))
            }
            "-x" => target().is_some_and(|entry| entry.mode & 0o111 != 0),
            "-s" => match kind() {
                Some(BaseKind::File) => !self.site.text(operand).ok()??.is_empty(),
                found => found.is_some(),
            },
            "-S" | "-p" | "-c" | "-b" => false,
            "-t" => false,
            "-u" => target().is_some_and(|entry| entry.mode & 0o4000 != 0),
            "-g" => target().is_some_and(|entry| entry.mode & 0o2000 != 0),
            _ => return None,
        })
    }
}

/// `-i`, `-i.bak`, `-ni`, `-Ei`.
fn is_in_place(word: &str) -> bool {
    let letters = word.strip_prefix('-').filter(|letters| !letters.starts_with('-')).unwrap_or_default();
    letters
        .chars()
        .take_while(char::is_ascii_alphabetic)
        .take_while(|letter| !"efl".contains(*letter))
        .any(|letter| letter == 'i')
}

fn is_harmless(program: &str) -> bool {
    curated::is_needless(program)
}

/// `dpkg --compare-versions`: an empty version is older than any; with `-nl`, newer.
fn compare(a: &str, operator: &str, b: &str) -> Status {
    let later = operator.ends_with("-nl");
    let order = match (a.is_empty(), b.is_empty()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) if later => std::cmp::Ordering::Greater,
        (false, true) if later => std::cmp::Ordering::Less,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => a.parse::<Version>().ok()?.cmp(&b.parse().ok()?),
    };
    match operator.trim_end_matches("-nl") {
        "lt" | "<<" => Some(order.is_lt()),
        "le" | "<=" | "<" => Some(order.is_le()),
        "eq" | "=" => Some(order.is_eq()),
        "ne" => Some(order.is_ne()),
        "ge" | ">=" | ">" => Some(order.is_ge()),
        "gt" | ">>" => Some(order.is_gt()),
        _ => None,
    }
}
