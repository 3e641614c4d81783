//! The grammar of maintainer scripts as a tree: enough of POSIX sh to say which commands a script would come to.

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
