//! `.dockerignore`, as docker reads it.
//!
//! Each line is a pattern of paths relative to the project's root; the last one that matches a path, or a folder
//! above it, decides; `!` takes a path back in, also from a folder that is left out. Unlike `.gitignore`, a
//! pattern without a slash matches at the root only. Only the project root has such a file: one in a sub-folder
//! is an ordinary file.
//!
//! Patterns are those of Go's `filepath.Match` (`*`, `?`, `[a-z]`, `\`), and `**` for any number of folders.

/// A pattern that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadPattern {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) pattern: String,
    pub(super) reason: &'static str,
}

/// A parsed file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    /// Takes back in what an earlier pattern left out.
    back: bool,
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// `?`: one character that is not `/`.
    One,
    /// `*`: any characters but `/`.
    Star,
    /// `**/`: nothing, or anything that ends with `/`.
    Folders,
    /// `**` at the end: anything.
    Rest,
    /// `[a-z]`.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Ignore {
    /// Reads the text of the file.
    pub(super) fn parse(text: &str) -> Result<Self, BadPattern> {
        let mut patterns = Vec::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let trimmed = line.trim();
            let (back, path) = match trimmed.strip_prefix('!') {
                Some(path) => (true, path.trim()),
                None => (false, trimmed),
            };
            let refuse = |reason| BadPattern { line: index + 1, pattern: trimmed.to_string(), reason };
            if path.is_empty() {
                return Err(refuse("nothing follows the `!`"));
            }
            patterns.push(Pattern { back, tokens: tokens(&clean(path)).map_err(refuse)? });
        }
        Ok(Ignore { patterns })
    }

    /// Whether this path, relative to the project's root, is left out.
    pub(super) fn matches(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        let candidates: Vec<Vec<char>> =
            ends.filter_map(|end| path.get(..end)).map(|part| part.chars().collect()).collect();
        let mut left_out = false;
        for pattern in &self.patterns {
            if pattern.back == left_out && candidates.iter().any(|candidate| is_match(&pattern.tokens, candidate)) {
                left_out = !pattern.back;
            }
        }
        left_out
    }

    /// Whether something in a folder that is left out may be taken back in.
    pub(super) fn takes_back(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.back)
    }
}

/// Go's `filepath.Clean`, then without the leading slash: the root is the project's.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            _ => parts.push(part),
        }
    }
    match parts.join("/") {
        empty if empty.is_empty() => if rooted { "/" } else { "." }.to_string(),
        cleaned => cleaned,
    }
}

fn tokens(pattern: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(char) = chars.next() {
        tokens.push(match char {
            '*' if chars.next_if_eq(&'*').is_some() => {
                let slash = chars.next_if_eq(&'/').is_some();
                match chars.clone().next() {
                    None => Token::Rest,
                    // Docker's matcher takes `**x` at the beginning for "ends with x" if the rest is literal.
                    Some(_) if tokens.is_empty() && !slash && is_literal(chars.clone()) => Token::Rest,
                    Some(_) => Token::Folders,
                }
            }
            '*' => Token::Star,
            '?' => Token::One,
            '\\' => Token::Literal(chars.next().ok_or("nothing follows the `\\`")?),
            '[' => class(&mut chars)?,
            other => Token::Literal(other),
        });
    }
    Ok(tokens)
}

fn is_literal(mut rest: impl Iterator<Item = char>) -> bool {
    !rest.any(|char| matches!(char, '*' | '?' | '[' | ']' | '\\'))
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Token, &'static str> {
    const OPEN: &str = "a `[` is not closed";
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Ok(Token::Class { negated, ranges });
        }
        let low = member(chars, OPEN)?;
        let high = if chars.next_if_eq(&'-').is_some() { member(chars, OPEN)? } else { low };
        if high < low {
            return Err("a range in `[]` is backwards");
        }
        ranges.push((low, high));
    }
}

fn member(chars: &mut impl Iterator<Item = char>, open: &'static str) -> Result<char, &'static str> {
    match chars.next().ok_or(open)? {
        '\\' => chars.next().ok_or(open),
        '-' | ']' => Err("a `-` or `]` in `[]` has no `\\` before it"),
        other => Ok(other),
    }
}

/// All places that the tokens so far can have reached, at once: no pattern takes longer than its length times the
/// path's.
fn is_match(tokens: &[Token], path: &[char]) -> bool {
    let mut reached = vec![false; path.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    for token in tokens {
        let mut next = Vec::with_capacity(reached.len());
        // Whether this token has begun before the current place, and may go on.
        let mut open = false;
        let mut previous: Option<char> = None;
        for (place, here) in reached.iter().enumerate() {
            let before = place.checked_sub(1).and_then(|index| reached.get(index)).copied().unwrap_or(false);
            let consumed = |accepts: bool| before && accepts;
            next.push(match token {
                Token::Literal(wanted) => consumed(previous == Some(*wanted)),
                Token::One => consumed(previous != Some('/')),
                Token::Class { negated, ranges } => {
                    consumed(previous.is_some_and(|char| {
                        ranges.iter().any(|(low, high)| (*low..=*high).contains(&char)) != *negated
                    }))
                }
                Token::Star => {
                    open = *here || (open && previous != Some('/'));
                    open
                }
                Token::Folders => {
                    let ends = *here || (open && previous == Some('/'));
                    open |= *here;
                    ends
                }
                Token::Rest => {
                    open |= *here;
                    open
                }
            });
            previous = path.get(place).copied();
        }
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(file: &str, path: &str) -> bool {
        Ignore::parse(file).unwrap().matches(path)
    }

    #[test]
    fn patterns_match_as_dockers_do() {
        for (pattern, yes, no) in [
            // The examples of docker's documentation.
            ("*/temp*", &["somedir/temporary.txt", "somedir/temp"][..], &["temp", "a/b/temp"][..]),
            ("*/*/temp*", &["a/b/temporary.txt", "a/b/temp/c"], &["a/temp"]),
            ("temp?", &["tempa", "tempb", "tempa/x"], &["temp", "tempab", "a/tempa"]),
            ("**/*.go", &["x.go", "a/x.go", "a/b/c/x.go"], &["x.gone", "a/x.g"]),
            ("*.md", &["README.md"], &["docs/README.md"]),
            ("README*.md", &["README-secret.md", "README.md"], &["README.txt"]),
            // Rooted, cleaned, trimmed.
            ("/foo/bar", &["foo/bar", "foo/bar/baz"], &["a/foo/bar", "foo/barn"]),
            ("foo/bar/", &["foo/bar", "foo/bar/baz"], &["foo"]),
            ("  ./foo//x/../bar  ", &["foo/bar"], &["foo/x"]),
            ("foo", &["foo", "foo/a/b/c"], &["a/foo", "foobar"]),
            (".", &[], &["a", "a/b"]),
            ("/", &[], &["a", "a/b"]),
            ("..", &[], &["a"]),
            // Two stars.
            ("**", &["a", "a/b/c", ".x"], &[]),
            ("**/", &["a", "a/b"], &[]),
            ("a/**", &["a/b", "a/b/c"], &["a", "ab"]),
            ("a**", &["a", "ab", "a/b"], &["ba"]),
            ("**/a", &["a", "b/a", "b/c/a", "b/a/c"], &["ab", "ba", "b/ab"]),
            ("**a", &["a", "ba", "c/ba"], &["ab"]),
            ("**/a/**", &["a/b", "c/a/b"], &["a", "c/a", "ab/c"]),
            ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["a/xb", "ab"]),
            ("a/**/*.py", &["a/x.py", "a/b/x.py"], &["x.py", "a/x.pyc"]),
            ("**/__pycache__", &["__pycache__/x", "a/__pycache__/b"], &["a/x__pycache__"]),
            // Characters.
            ("[a-c]x", &["ax", "bx", "cx"], &["dx", "x", "[a-c]x"]),
            ("[^a]x", &["bx", "éx"], &["ax", "x"]),
            (r"a\*b", &["a*b"], &["axb", r"a\b"]),
            (r"\!x", &["!x"], &["x"]),
            (r"\#x", &["#x"], &["x"]),
            ("a.b+(c)|{d}$^", &["a.b+(c)|{d}$^"], &["axb+(c)|{d}$^"]),
            ("é?", &["éü"], &["é"]),
            ("a b", &["a b/c"], &["a"]),
        ] {
            yes.iter().for_each(|path| assert!(ignored(pattern, path), "`{pattern}` should match {path}"));
            no.iter().for_each(|path| assert!(!ignored(pattern, path), "`{pattern}` should not match {path}"));
        }
    }

    #[test]
    fn the_last_match_decides() {
        for (file, yes, no) in [
            ("*.md\n!README.md", &["a.md"][..], &["README.md"][..]),
            ("*.md\n!README*.md\nREADME-secret.md", &["a.md", "README-secret.md"], &["README.md", "README-x.md"]),
            ("*.md\nREADME-secret.md\n!README*.md", &["a.md"], &["README.md", "README-secret.md"]),
            ("*\n!src\n", &["a", "docs/x"], &["src", "src/x"]),
            ("docs\n!docs/keep\ndocs/keep/not", &["docs", "docs/x", "docs/keep/not"], &["docs/keep", "docs/keep/x"]),
            ("**\n! **/*.py \n**/secret.py", &["a", "a/secret.py"], &["x.py", "a/b/x.py"]),
            ("!a", &[], &["a"]),
            ("\u{feff}# no\n\n  \na\r\n #b\n", &["a", "#b"], &["no", "b"]),
        ] {
            yes.iter().for_each(|path| assert!(ignored(file, path), "{file:?} should leave out {path}"));
            no.iter().for_each(|path| assert!(!ignored(file, path), "{file:?} should keep {path}"));
        }
        assert!(Ignore::parse("a\n!b").unwrap().takes_back() && !Ignore::parse("a").unwrap().takes_back());
    }

    #[test]
    fn a_pattern_that_is_none_says_where() {
        for (file, line, reason) in [
            ("a\n!", 2, "nothing follows the `!`"),
            ("[a", 1, "a `[` is not closed"),
            ("[", 1, "a `[` is not closed"),
            ("[]a]", 1, "a `-` or `]` in `[]` has no `\\` before it"),
            ("[b-a]", 1, "a range in `[]` is backwards"),
            ("a\\", 1, "nothing follows the `\\`"),
        ] {
            let error = Ignore::parse(file).unwrap_err();
            assert_eq!((error.line, error.reason), (line, reason), "{file:?}");
        }
    }

    #[test]
    fn no_pattern_takes_for_ever() {
        let pattern = "*a".repeat(200) + "**/b";
        assert!(!ignored(&pattern, &"a".repeat(2000)));
    }
}
