//! A request to run something: JSON, every field known, nothing above the ceilings.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::sandbox::order::Limits;

/// The longest id that a client may choose.
const ID_LIMIT: usize = 64;
/// The most arguments or variables.
const WORDS_LIMIT: usize = 200;
/// What a program is called that is given as a text.
const MAIN: &str = "main.py";

/// As it is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    id: Option<String>,
    code: Option<String>,
    files: Option<BTreeMap<String, String>>,
    main: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    stdin: String,
    #[serde(default)]
    limits: SentLimits,
    #[serde(default)]
    output: bool,
    #[serde(default)]
    stream: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SentLimits {
    timeout_ms: Option<u64>,
    memory: Option<u64>,
    millicpus: Option<u32>,
    pids: Option<u32>,
    tmp: Option<u64>,
    output: Option<u64>,
    files: Option<u32>,
    stdout: Option<u64>,
    stderr: Option<u64>,
}

/// What is asked for, complete.
#[derive(Debug, PartialEq, Eq)]
pub struct RunAsk {
    /// The client's own name for it.
    pub id: Option<String>,
    /// The files.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Which of them is started.
    pub main: String,
    /// Arguments.
    pub args: Vec<String>,
    /// All variables.
    pub env: BTreeMap<String, String>,
    /// What it reads.
    pub stdin: String,
    /// What it may use.
    pub limits: Limits,
    /// Whether results are wanted.
    pub output: bool,
    /// Whether the answer comes piece by piece.
    pub stream: bool,
}

impl RunAsk {
    /// Reads a request; a mistake is explained in a sentence.
    pub fn parse(body: &[u8], ceilings: &Limits) -> Result<Self, String> {
        let sent: Sent = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let sound = |id: &String| {
            id.len() <= ID_LIMIT && id.starts_with(|first: char| first.is_ascii_alphanumeric()) && id.bytes().all(plain)
        };
        if sent.id.as_ref().is_some_and(|id| !sound(id)) {
            return Err("an id is at most 64 letters, digits, dots, dashes and underscores".into());
        }
        let (files, main) = match (sent.code, sent.files) {
            (Some(code), None) if sent.main.is_none() => (BTreeMap::from([(MAIN.to_string(), code)]), MAIN.to_string()),
            (None, Some(files)) => (files, sent.main.unwrap_or_else(|| MAIN.into())),
            _ => return Err("give either `code`, or `files` and `main`".into()),
        };
        if sent.args.len() > WORDS_LIMIT || sent.env.len() > WORDS_LIMIT {
            return Err(format!("more than {WORDS_LIMIT} arguments or variables"));
        }
        let odd = |text: &String| text.contains('\0');
        if sent.args.iter().chain(sent.env.values()).any(odd)
            || sent.env.keys().any(|name| name.is_empty() || name.contains(['=', '\0']))
        {
            return Err("an argument or a variable that no program can be given".into());
        }
        let limits = sent.limits.within(ceilings);
        if let Some((name, most, asked)) = limits.above(ceilings) {
            return Err(format!("`{name}` can be at most {most} here, {asked} was asked for"));
        }
        if let Some((name, least, most, asked)) = limits.impossible() {
            return Err(format!("`{name}` cannot be {asked}: at least {least}, at most {most}"));
        }
        Ok(RunAsk {
            id: sent.id,
            files: files.into_iter().map(|(name, text)| (name, text.into_bytes())).collect(),
            main,
            args: sent.args,
            env: sent.env,
            stdin: sent.stdin,
            limits,
            output: sent.output,
            stream: sent.stream,
        })
    }
}

impl SentLimits {
    fn within(&self, ceilings: &Limits) -> Limits {
        Limits {
            timeout_ms: self.timeout_ms.unwrap_or(ceilings.timeout_ms),
            memory: self.memory.unwrap_or(ceilings.memory),
            millicpus: self.millicpus.unwrap_or(ceilings.millicpus),
            pids: self.pids.unwrap_or(ceilings.pids),
            tmp: self.tmp.unwrap_or(ceilings.tmp),
            output: self.output.unwrap_or(ceilings.output),
            files: self.files.unwrap_or(ceilings.files),
            stdout: self.stdout.unwrap_or(ceilings.stdout),
            stderr: self.stderr.unwrap_or(ceilings.stderr),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RunAsk, String> {
        RunAsk::parse(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn a_request_gets_the_ceilings_and_may_ask_for_less() {
        let ask = parse(r#"{"code":"print(1)","limits":{"memory":67108864},"id":"game-1"}"#).unwrap();
        assert_eq!((ask.main.as_str(), ask.limits.memory, ask.limits.pids), ("main.py", 64 << 20, 64));
        let ask = parse(r#"{"files":{"a.py":"","b/c.txt":"x"},"main":"a.py","stream":true}"#).unwrap();
        assert_eq!((ask.files.len(), ask.stream), (2, true));
    }

    #[test]
    fn more_than_the_ceiling_and_what_is_not_known_is_a_mistake() {
        for (text, reason) in [
            ("", "EOF"),
            ("[]", "invalid"),
            (r#"{"code":"1","image":"evil"}"#, "unknown field `image`"),
            (r#"{"code":"1","limits":{"network":true}}"#, "unknown field `network`"),
            (r#"{"code":"1","limits":{"memory":1099511627776}}"#, "`memory` can be at most"),
            (r#"{"code":"1","limits":{"timeout_ms":999999}}"#, "`timeout` can be at most"),
            (r#"{"code":"1","limits":{"memory":1}}"#, "`memory` cannot be 1"),
            (r#"{"code":"1","limits":{"pids":-1}}"#, "invalid value"),
            (r#"{"code":"1","files":{}}"#, "either `code`"),
            (r#"{}"#, "either `code`"),
            (r#"{"code":"1","id":"../x"}"#, "an id is"),
            (r#"{"code":"1","env":{"A=B":"x"}}"#, "no program can be given"),
            (r#"{"code":"1","args":["a\u0000b"]}"#, "no program can be given"),
            (r#"{"code":"1","code":"2"}"#, "duplicate field"),
        ] {
            let found = parse(text).unwrap_err();
            assert!(found.contains(reason), "{text}: {found}");
        }
    }
}
