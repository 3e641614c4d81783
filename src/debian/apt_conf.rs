//! apt's configuration (apt.conf(5)): as `apt-config dump` prints it, or as files hold it.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::process::Command;
use std::str::Chars;
use std::time::Duration;

use crate::process;

/// How long `apt-config dump` may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Single values by their path; paths are compared without regard to case, the last value of a path counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AptConf {
    values: BTreeMap<String, String>,
}

enum Token {
    Word(String),
    Open,
    Close,
    End,
}

impl AptConf {
    /// What `apt-config` of this machine says; nothing if there is none.
    pub fn of_machine() -> AptConf {
        let mut command = Command::new("apt-config");
        command.arg("dump").env("LC_ALL", "C");
        match process::run(command, b"", TIMEOUT) {
            Ok(output) if output.status.success() => AptConf::parse(&String::from_utf8_lossy(&output.stdout)),
            _ => AptConf::default(),
        }
    }

    /// Reads a file or a dump.
    pub fn parse(text: &str) -> AptConf {
        let mut conf = AptConf::default();
        conf.add(text);
        conf
    }

    /// Adds what a further file says.
    pub fn add(&mut self, text: &str) {
        let mut chars = text.chars().peekable();
        let mut above: Vec<String> = Vec::new();
        let mut words: Vec<String> = Vec::new();
        while let Some(token) = token(&mut chars) {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open => {
                    above.push(words.first().cloned().unwrap_or_default());
                    words.clear();
                }
                Token::Close => {
                    above.pop();
                    words.clear();
                }
                Token::End => {
                    if let [name, value] = words.as_slice() {
                        let path: Vec<&str> = above.iter().map(String::as_str).chain([name.as_str()]).collect();
                        self.values.insert(path.join("::").to_ascii_lowercase(), value.clone());
                    }
                    words.clear();
                }
            }
        }
    }

    /// The value of `Acquire::Check-Valid-Until` and the like; an empty one is none.
    pub fn get(&self, path: &str) -> Option<&str> {
        self.values.get(&path.to_ascii_lowercase()).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A value that means yes or no.
    pub fn flag(&self, path: &str) -> Option<bool> {
        self.get(path).and_then(flag)
    }
}

/// What apt takes for yes and for no.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "with" | "on" | "enable" | "1" => Some(true),
        "no" | "false" | "without" | "off" | "disable" | "0" => Some(false),
        _ => None,
    }
}

fn token(chars: &mut Peekable<Chars<'_>>) -> Option<Token> {
    loop {
        match chars.next()? {
            ';' => return Some(Token::End),
            '{' => return Some(Token::Open),
            '}' => return Some(Token::Close),
            '"' => return Some(Token::Word(chars.by_ref().take_while(|c| *c != '"').collect())),
            '#' => skip_line(chars),
            '/' if chars.peek() == Some(&'/') => skip_line(chars),
            '/' if chars.peek() == Some(&'*') => {
                let mut before = ' ';
                chars.next();
                chars.by_ref().find(|c| std::mem::replace(&mut before, *c) == '*' && *c == '/');
            }
            white if white.is_whitespace() => {}
            first => {
                let mut word = String::from(first);
                while let Some(next) = chars.next_if(|c| !c.is_whitespace() && !"{};\"".contains(*c)) {
                    word.push(next);
                }
                return Some(Token::Word(word));
            }
        }
    }
}

fn skip_line(chars: &mut Peekable<Chars<'_>>) {
    chars.by_ref().find(|c| *c == '\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_and_files_are_read() {
        let text = "APT \"\";\nDir::Etc::sourcelist \"sources.list\";\nAPT::Update:: \"a; b {\";\n// x \"\n# y\n/* z \" ; */\n\
                    Acquire { Check-Valid-Until \"false\"; http { Proxy \"http://p.example//x\"; } ; };\n\
                    acquire::retries 3; A::B \"1\"; a::b \"2\"; open";
        let conf = AptConf::parse(text);
        assert_eq!(conf.get("dir::etc::SourceList"), Some("sources.list"));
        assert_eq!(conf.flag("Acquire::Check-Valid-Until"), Some(false));
        assert_eq!(conf.get("Acquire::http::Proxy"), Some("http://p.example//x"));
        assert_eq!((conf.get("Acquire::Retries"), conf.get("A::B")), (Some("3"), Some("2")));
        assert_eq!((conf.get("APT"), conf.get("APT::Update::"), conf.flag("A::B")), (None, Some("a; b {"), None));
    }

    #[test]
    fn half_files_do_no_harm() {
        for text in ["", "}", "{{{", "\"", "/*", "A \"", "};};A \"1\";", "/", "#"] {
            AptConf::parse(text);
        }
    }

    #[test]
    fn this_machine_has_apt() {
        let conf = AptConf::of_machine();
        assert_eq!(conf.get("Dir::Etc::sourceparts"), Some("sources.list.d"), "apt-get install apt");
    }
}
