//! Requirements files as pip reads them, as far as a locked build may use them.

use std::path::{Path, PathBuf};

use pep440_rs::{Operator, VersionSpecifiers};

use super::Error;
use super::location::{IndexOptions, Links, Location};
use super::markers::Marker;
use super::names::{normalize, shown};
use crate::error::Result;
use crate::fs;
use crate::oci::Digest;

/// The largest requirements file, in bytes.
const FILE_LIMIT: u64 = 16 << 20;
/// How deep `-r` and `-c` may nest.
const DEPTH_LIMIT: usize = 20;

/// A requirement that names one version.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// The normalised name.
    pub name: String,
    /// The version.
    pub version: String,
    /// Its sha256 hashes; other algorithms are left out.
    pub hashes: Vec<Digest>,
    /// When it applies.
    pub marker: Option<Marker>,
    /// "requirements.lock:12".
    pub place: String,
}

/// What a constraints file says of a distribution.
#[derive(Clone, Debug)]
pub struct Constraint {
    /// The normalised name.
    pub name: String,
    /// The versions that are allowed.
    pub versions: VersionSpecifiers,
    /// The hashes that are allowed; all if there is none.
    pub hashes: Vec<Digest>,
    /// When it applies.
    pub marker: Option<Marker>,
    /// As it is written.
    pub text: String,
    /// "constraints.txt:3".
    pub place: String,
}

/// A requirements file with all that it includes.
#[derive(Clone, Debug, Default)]
pub struct Requirements {
    /// In their order.
    pub pinned: Vec<Pinned>,
    /// From files named by `-c`.
    pub constraints: Vec<Constraint>,
    /// Index options in the files.
    pub options: IndexOptions,
}

/// Looks up an environment variable for `${NAME}`.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads `path` and what it includes.
pub fn read(path: &Path, variables: Variables<'_>) -> Result<Requirements> {
    let mut reader = Reader { found: Requirements::default(), variables, open: Vec::new() };
    reader.file(path, false)?;
    Ok(reader.found)
}

struct Reader<'a> {
    found: Requirements,
    variables: Variables<'a>,
    open: Vec<PathBuf>,
}

/// A line after continuations are joined and comments are gone.
struct Line<'a> {
    text: String,
    place: String,
    folder: &'a Path,
    constraint: bool,
}

impl Line<'_> {
    fn refuse(&self, problem: impl Into<String>, hint: &'static str) -> Error {
        Error::Requirement { place: self.place.clone(), line: shown(&self.text), problem: problem.into(), hint }
    }
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, constraint: bool) -> Result<()> {
        let name = path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
        if self.open.len() >= DEPTH_LIMIT || self.open.iter().any(|open| open == path) {
            return Err(Error::Syntax { place: name, reason: "it includes itself".into() }.into());
        }
        let text = fs::read_text(path, FILE_LIMIT)?;
        self.open.push(path.to_path_buf());
        let folder = path.parent().unwrap_or(Path::new("."));
        for (number, text) in logical_lines(text.strip_prefix('\u{feff}').unwrap_or(&text)) {
            let place = format!("{name}:{number}");
            let text = self.expand(&text, &place)?;
            self.line(&Line { text, place, folder, constraint })?;
        }
        self.open.pop();
        Ok(())
    }

    /// `${NAME}` as pip replaces it; pip leaves an undefined one as it is, which helps nobody.
    fn expand(&self, text: &str, place: &str) -> Result<String, Error> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (head, tail) = rest.split_at(at);
            expanded.push_str(head);
            let name = tail[2..].split('}').next().unwrap_or_default();
            let variable = tail[2..].contains('}')
                && !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
            if !variable {
                expanded.push_str("${");
                rest = &tail[2..];
                continue;
            }
            let value = (self.variables)(name).filter(|value| !value.is_empty()).ok_or_else(|| Error::Syntax {
                place: place.to_string(),
                reason: format!("the environment variable `{name}` is not set"),
            })?;
            expanded.push_str(&value);
            rest = &tail[3 + name.len()..];
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn line(&mut self, line: &Line<'_>) -> Result<()> {
        let (requirement, options) = split_options(&line.text);
        let options = words(options).ok_or_else(|| line.refuse("has an open quote", "close the quote"))?;
        if requirement.is_empty() {
            return self.global(line, &options);
        }
        let hashes = hashes(line, &options)?;
        let (name, versions, marker) = parse(line, requirement)?;
        let marker = marker.map(|marker| Marker::parse(marker, &line.place)).transpose()?;
        if line.constraint {
            let (text, place) = (shown(requirement), line.place.clone());
            self.found.constraints.push(Constraint { name, versions, hashes, marker, text, place });
            return Ok(());
        }
        let version = match &versions[..] {
            [one] if matches!(one.operator(), Operator::Equal | Operator::ExactEqual) => one.version().to_string(),
            _ => return Err(line.refuse("does not pin one version", LOCK).into()),
        };
        if hashes.is_empty() {
            let requirement = format!("{name}=={version}");
            return Err(Error::NoHash { requirement, place: line.place.clone() }.into());
        }
        self.found.pinned.push(Pinned { name, version, hashes, marker, place: line.place.clone() });
        Ok(())
    }

    /// A line that is an option.
    fn global(&mut self, line: &Line<'_>, options: &[String]) -> Result<()> {
        let mut options = options.iter();
        while let Some(option) = options.next() {
            let (name, attached) = split_option(option);
            let mut value = || {
                let found = attached.map(str::to_string).or_else(|| options.next().cloned());
                found.ok_or_else(|| line.refuse("has an option without a value", "give the option a value"))
            };
            let found = &mut self.found.options;
            match name {
                "-r" | "--requirement" => {
                    let path = line.folder.join(value()?);
                    self.file(&path, line.constraint)?;
                }
                "-c" | "--constraint" => {
                    let path = line.folder.join(value()?);
                    self.file(&path, true)?;
                }
                "-i" | "--index-url" | "--pypi-url" => found.index = Some(Location::parse(&value()?, &line.place)?),
                "--extra-index-url" => found.extra.push(Location::parse(&value()?, &line.place)?),
                "-f" | "--find-links" => found.links.push(Links::parse(&value()?, line.folder, &line.place)?),
                "--no-index" => found.no_index = true,
                // All that these ask for is what Ingot does anyway, or has no meaning for locked wheels.
                "--require-hashes" | "--prefer-binary" | "--pre" => {}
                "--only-binary" | "--use-feature" | "--trusted-host" => drop(value()?),
                "-e" | "--editable" => return Err(line.refuse("is an editable install", PIN).into()),
                "--no-binary" => return Err(line.refuse("asks for a source distribution", WHEELS).into()),
                _ => return Err(line.refuse(format!("has the unknown option `{}`", shown(name)), "remove it").into()),
            }
        }
        Ok(())
    }
}

/// Name, versions and marker of `name[extras] versions ; marker`. Not by pep508_rs, which panics at `a.`.
fn parse<'a>(line: &Line<'_>, text: &'a str) -> Result<(String, VersionSpecifiers, Option<&'a str>), Error> {
    let refuse = |what: &str| line.refuse(format!("is not a requirement: {what}"), "write `name==version ; marker`");
    let (head, marker) = text.split_once(';').map_or((text, None), |(head, marker)| (head, Some(marker)));
    let end = head.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(head.len());
    let (name, rest) = head.split_at(end);
    let edge = |c: char| c.is_ascii_alphanumeric();
    if !name.starts_with(edge) || !name.ends_with(edge) {
        return Err(refuse("it has no name"));
    }
    let mut rest = rest.trim();
    if let Some(extras) = rest.strip_prefix('[') {
        let (extras, after) = extras.split_once(']').ok_or_else(|| refuse("a `]` is missing"))?;
        if extras.chars().any(|c| !(c.is_ascii_alphanumeric() || "._-, ".contains(c))) {
            return Err(refuse("its extras are no names"));
        }
        rest = after.trim();
    }
    if rest.starts_with('@') {
        return Err(line.refuse("is a URL, not a version", PIN));
    }
    let versions = rest.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).unwrap_or(rest);
    let versions = versions.parse().map_err(|_| refuse("its versions are no version specifiers"))?;
    Ok((normalize(name), versions, marker))
}

const LOCK: &str = "lock with versions and hashes: `uv pip compile --generate-hashes`, `pip-compile --generate-hashes`";
const PIN: &str = "a locked build needs `name==version --hash=sha256:...`: build a wheel of it and lock that";
const WHEELS: &str = "Ingot installs wheels only: remove the option";

fn hashes(line: &Line<'_>, options: &[String]) -> Result<Vec<Digest>, Error> {
    let mut hashes = Vec::new();
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let (name, attached) = split_option(option);
        if name != "--hash" {
            return Err(line.refuse(format!("has the option `{}`", shown(name)), "only --hash is possible here"));
        }
        let value = attached
            .or_else(|| options.next().map(String::as_str))
            .ok_or_else(|| line.refuse("has a --hash without a value", "write --hash=sha256:..."))?;
        if value.starts_with("sha256:") {
            let digest = value
                .to_ascii_lowercase()
                .parse()
                .map_err(|_| line.refuse("has a sha256 hash that is not 64 hexadecimal digits", "lock again"))?;
            hashes.push(digest);
        } else if !value.contains(':') {
            return Err(line.refuse("has a --hash without an algorithm", "write --hash=sha256:..."));
        }
    }
    hashes.sort();
    hashes.dedup();
    Ok(hashes)
}

/// `--name=value`, `--name`, `-rvalue`.
fn split_option(option: &str) -> (&str, Option<&str>) {
    if option.starts_with("--") {
        return option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
    }
    match option.char_indices().nth(2) {
        Some((at, _)) => (&option[..at], Some(option[at..].trim_start_matches('='))),
        None => (option, None),
    }
}

/// A requirement ends before the first word that begins with `-` (as pip's `break_args_options`).
fn split_options(text: &str) -> (&str, &str) {
    let mut start = 0;
    for word in text.split_whitespace() {
        let at = text[start..].find(word).map_or(start, |offset| start + offset);
        if word.starts_with('-') {
            return (text[..at].trim(), &text[at..]);
        }
        start = at + word.len();
    }
    (text.trim(), "")
}

/// Splits as a shell does, as far as quotes go.
fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    for character in text.chars() {
        match (quote, character) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// Lines without comments, continuations joined, with the number of their first line; none is empty.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let comment = is_comment(line);
        let (number, mut joined) = open.take().unwrap_or((index + 1, String::new()));
        match line.strip_suffix('\\') {
            Some(continued) if !comment => {
                joined.push_str(continued);
                open = Some((number, joined));
            }
            _ => {
                // A comment ends a continuation, and must still look like one.
                joined.push_str(if comment { " " } else { "" });
                joined.push_str(line);
                lines.push((number, joined));
            }
        }
    }
    lines.extend(open);
    lines
        .into_iter()
        .map(|(number, line)| (number, without_comment(&line).trim().to_string()))
        .filter(|(_, line)| !line.is_empty())
        .collect()
}

fn is_comment(line: &str) -> bool {
    without_comment(line).len() < line.len()
}

/// A comment begins with `#` at the start or after white space.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (at, character) in line.char_indices() {
        if character == '#' && before.is_whitespace() {
            return &line[..at];
        }
        before = character;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error as AnyError;
    use proptest::prelude::*;

    const HASH: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn read_files(files: &[(&str, &str)]) -> Result<Requirements, AnyError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text.replace("HASH", HASH)).unwrap();
        }
        let variables = |name: &str| (name == "TOKEN").then(|| "canary".to_string());
        read(&folder.path().join(files[0].0), &variables)
    }

    fn refused(text: &str) -> String {
        let error = read_files(&[("requirements.lock", text)]).unwrap_err();
        assert_eq!(error.class().code(), 2, "{error}");
        error.to_string()
    }

    #[test]
    fn pip_compile_and_uv_styles() {
        let text = "\u{feff}#
# This file is autogenerated by pip-compile
--index-url https://u:${TOKEN}@index.example/simple
--find-links=wheels   # local
Flask[async]==3.0.0 ; python_version >= \"3.8\" \\
    --hash=HASH \\
    --hash=sha512:00 \\
    --hash=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    # via -r requirements.in
zope.interface===6.0 --hash HASH
torch==2.1.0+cu121 --hash='HASH'
";
        let found = read_files(&[("requirements.lock", text)]).unwrap();
        let names: Vec<_> = found.pinned.iter().map(|p| (p.name.as_str(), p.version.as_str())).collect();
        assert_eq!(names, [("flask", "3.0.0"), ("zope-interface", "6.0"), ("torch", "2.1.0+cu121")]);
        let flask = &found.pinned[0];
        assert_eq!((flask.hashes.len(), flask.place.as_str()), (2, "requirements.lock:5"));
        assert_eq!(flask.marker.as_ref().unwrap().text(), "python_version >= \"3.8\"");
        assert_eq!(found.options.index.as_ref().unwrap().login.as_ref().unwrap().password, "canary");
        assert!(matches!(&found.options.links[..], [Links::Folder(path)] if path.ends_with("wheels")));
        assert!(!format!("{found:?}").contains("canary"));
    }

    #[test]
    fn files_include_files() {
        let found = read_files(&[
            ("requirements.lock", "-r more/b.txt\n-c c.txt\na==1 --hash=HASH"),
            ("more/b.txt", "--requirement=c.txt\n--no-index"),
            ("more/c.txt", "c==2 --hash=HASH"),
            ("c.txt", "a<2\nd"),
        ])
        .unwrap();
        let places: Vec<_> = found.pinned.iter().map(|p| p.place.as_str()).collect();
        assert_eq!(places, ["c.txt:1", "requirements.lock:3"]);
        let constraints: Vec<_> = found.constraints.iter().map(|c| (c.text.as_str(), c.place.as_str())).collect();
        assert_eq!(constraints, [("a<2", "c.txt:1"), ("d", "c.txt:2")]);
        assert!(found.options.no_index);
        let error = read_files(&[("a.txt", "-r b.txt"), ("b.txt", "-r a.txt")]).unwrap_err();
        assert_eq!(error.to_string(), "a.txt: it includes itself");
        let error = read_files(&[("a.txt", "-r missing.txt")]).unwrap_err();
        assert_eq!(error.class().code(), 6);
    }

    #[test]
    fn what_is_not_locked_is_refused_with_its_line() {
        for (text, expected) in [
            ("a>=1 --hash=HASH", "requirements.lock:1: `a>=1 --hash="),
            ("a==1.* --hash=HASH", "does not pin one version"),
            ("a==1,<2 --hash=HASH", "does not pin one version"),
            ("a --hash=HASH", "does not pin one version"),
            ("# x\n\na==1", "requirements.lock:3: `a==1` has no sha256 hash"),
            ("a==1 --hash=md5:00", "has no sha256 hash"),
            ("a==1 --hash=sha256:00", "is not 64 hexadecimal digits"),
            ("a==1 --hash=00", "without an algorithm"),
            ("a==1 --hash", "without a value"),
            ("a==1 --config-settings=x", "has the option `--config-settings`"),
            ("a @ https://u:canary@index.example/a-1.whl --hash=HASH", "is a URL, not a version"),
            ("https://u:canary@index.example/a-1.whl", "is not a requirement"),
            ("./a-1.whl", "is not a requirement"),
            ("-e .", "is an editable install"),
            ("--editable=.", "is an editable install"),
            ("--no-binary :all:", "asks for a source distribution"),
            ("--frobnicate", "unknown option `--frobnicate`"),
            ("-r", "option without a value"),
            ("--find-links 'x", "has an open quote"),
            ("a==1;python_version --hash=HASH", "`python_version` is not an environment marker"),
            ("a.==1 --hash=HASH", "it has no name"),
            ("a[x==1 --hash=HASH", "a `]` is missing"),
            ("a[;]==1 --hash=HASH", "is not a requirement"),
            ("a=1 --hash=HASH", "no version specifiers"),
            ("--index-url https://${NOT_SET}/", "the environment variable `NOT_SET` is not set"),
        ] {
            let message = refused(text);
            assert!(message.contains(expected), "{text}: {message}");
            assert!(!message.contains("canary"), "{message}");
        }
    }

    #[test]
    fn comments_and_continuations_are_pips() {
        let lines = logical_lines("a \\\n  b # c\nd#e\n  # f \\\ng \\\n# h\ni \\");
        let expected = [(1, "a    b"), (3, "d#e"), (5, "g"), (7, "i")];
        assert_eq!(lines, expected.map(|(number, text)| (number, text.to_string())));
    }

    proptest! {
        #[test]
        fn names_and_versions_round_trip(
            name in "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?",
            version in "(1!)?[0-9]{1,3}(\\.[0-9]{1,3}){0,3}(rc[0-9])?(\\.post[0-9])?(\\+[a-z0-9]{1,5})?",
        ) {
            let found = read_files(&[("r.txt", &format!("{name}=={version} --hash=HASH"))]).unwrap();
            prop_assert_eq!(&found.pinned[0].name, &normalize(&name));
            prop_assert!(super::super::names::same_version(&found.pinned[0].version, &version));
        }

        #[test]
        fn any_line_parses_or_not_but_never_panics(line in ".{0,80}") {
            let _ = read_files(&[("r.txt", &line)]);
        }
    }
}
