//! Commands: text split by a shell's rules, and dollars as Kubernetes wants them.

use serde_json::{Map as Object, Value as Json, json};

use super::translation::{Translation, put};
use crate::stack::node::{Node, Value};

/// Splits text by a shell's rules: quotes, backslashes, nothing is expanded. `None`: a quote is not closed.
pub(super) fn words(text: &str) -> Option<Vec<String>> {
    let (mut all, mut word, mut begun) = (Vec::new(), String::new(), false);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => {
                begun = true;
                loop {
                    match letters.next()? {
                        '\'' => break,
                        letter => word.push(letter),
                    }
                }
            }
            '"' => {
                begun = true;
                loop {
                    match letters.next()? {
                        '"' => break,
                        '\\' => match letters.next()? {
                            letter @ ('"' | '\\' | '$' | '`') => word.push(letter),
                            '\n' => {}
                            letter => word.extend(['\\', letter]),
                        },
                        letter => word.push(letter),
                    }
                }
            }
            '\\' => match letters.next()? {
                '\n' => {}
                letter => {
                    begun = true;
                    word.push(letter);
                }
            },
            letter if letter.is_ascii_whitespace() => {
                if std::mem::take(&mut begun) {
                    all.push(std::mem::take(&mut word));
                }
            }
            letter => {
                begun = true;
                word.push(letter);
            }
        }
    }
    if begun {
        all.push(word);
    }
    Some(all)
}

/// Text that the kubelet leaves as it is: it replaces `$(NAME)` by variables, and `$$` by a dollar.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        out.push(letter);
        if letter == '$' && matches!(letters.peek(), Some('$' | '(')) {
            out.push('$');
        }
    }
    out
}

/// Escaped text in which the kubelet puts these values, each the value of a variable.
fn with_variables(text: &str, values: &[(String, String)]) -> String {
    let Some(((value, name), rest)) = values.split_first() else { return escaped(text) };
    let mut out = String::new();
    let mut pieces = text.split(value.as_str()).peekable();
    while let Some(piece) = pieces.next() {
        out += &with_variables(piece, rest);
        if pieces.peek().is_some() {
            // A dollar before another one is doubled.
            out += if piece.ends_with('$') { "$" } else { "" };
            out += &format!("$({name})");
        }
    }
    out
}

/// The words of a command, from text or a list; `Some(Err(()))` is text that no shell can split.
pub(super) fn argv(node: &Node) -> Option<Result<Vec<String>, ()>> {
    match &node.value {
        Value::Null | Value::Map(_) => None,
        Value::List(list) => Some(Ok(list.iter().filter_map(|one| one.scalar().map(str::to_string)).collect())),
        _ => Some(words(node.scalar().unwrap_or_default()).ok_or(())),
    }
}

/// `entrypoint` and `command`, which Kubernetes calls `command` and `args`.
pub(super) fn translate(
    translation: &mut Translation<'_>,
    name: &str,
    service: &Node,
    container: &mut Object<String, Json>,
) {
    let mut read = |key: &'static str| -> Option<Vec<String>> {
        let node = service.get(key)?;
        match argv(node)? {
            Ok(words) => Some(words),
            Err(()) => {
                let what = format!("`{key}` of `{name}` has a quote that is not closed");
                translation.refuse(node.place, &what, "close it, or write a list");
                None
            }
        }
    };
    let (entrypoint, command) = (read("entrypoint"), read("command"));
    let place = |key: &str| service.get(key).map_or(service.place, |node| node.place);
    let spoken = translation.spoken.get(name).cloned().unwrap_or_default();
    let list = |words: Vec<String>| -> Option<Json> {
        Some(words.iter().map(|word| json!(with_variables(word, &spoken))).collect())
    };
    match (entrypoint, command) {
        (Some(entrypoint), command) if !entrypoint.is_empty() => {
            put(container, "command", list(entrypoint));
            put(container, "args", command.and_then(list));
        }
        // The image's entrypoint is taken away: what is left is the command.
        (Some(_), Some(command)) if !command.is_empty() => put(container, "command", list(command)),
        (Some(_), _) => {
            translation.lose("entrypoint", place("entrypoint"), &format!("the empty `entrypoint` of `{name}`"))
        }
        (None, Some(command)) if command.is_empty() => {
            translation.lose("command", place("command"), &format!("the empty `command` of `{name}`"));
        }
        (None, command) => put(container, "args", command.and_then(list)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the kubelet makes of text (k8s.io/kubernetes/third_party/forked/golang/expansion), without any variable.
    fn kubelet(text: &str) -> String {
        let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
        while at < bytes.len() {
            match (bytes[at], bytes.get(at + 1)) {
                (b'$', Some(b'$')) => {
                    out.push(b'$');
                    at += 2;
                }
                (b'$', Some(b'(')) => match bytes[at + 2..].iter().position(|byte| *byte == b')') {
                    Some(end) => {
                        out.extend(b"<variable>");
                        at += end + 3;
                    }
                    None => {
                        out.extend(b"$(");
                        at += 2;
                    }
                },
                (byte, _) => {
                    out.push(byte);
                    at += 1;
                }
            }
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_split_as_a_shell_does() {
        for (text, expected) in [
            ("a b  c", Some(vec!["a", "b", "c"])),
            ("sh -c 'a \"b\" $c'", Some(vec!["sh", "-c", "a \"b\" $c"])),
            (r#""a \" \n" b\ c ''"#, Some(vec!["a \" \\n", "b c", ""])),
            ("a\\\nb \"c\\\nd\"", Some(vec!["ab", "cd"])),
            ("  ", Some(vec![])),
            ("a'b'\"c\"", Some(vec!["abc"])),
            ("'a", None),
            ("\"a", None),
            ("a\\", None),
        ] {
            let expected = expected.map(|words: Vec<&str>| words.into_iter().map(String::from).collect::<Vec<_>>());
            assert_eq!(words(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_kubelet_leaves_text_as_it_was(text in "[$()a-z ]{0,12}|\\PC{0,8}") {
            prop_assert_eq!(kubelet(&escaped(&text)), text);
        }
    }

    #[test]
    fn values_of_variables_are_put_there_by_the_kubelet() {
        let values = [("s3cret-long".to_string(), "A".to_string()), ("s3cret".into(), "B".into())];
        for (text, expected) in [
            ("x --pass s3cret-long $(date)", "x --pass $(A) $$(date)"),
            ("s3crets3cret-long", "$(B)$(A)"),
            ("$s3cret", "$$$(B)"),
            ("x", "x"),
        ] {
            assert_eq!(with_variables(text, &values), expected);
        }
    }

    #[test]
    fn only_dollars_that_would_be_lost_are_doubled() {
        for (text, expected) in [("$HOME", "$HOME"), ("$(date)", "$$(date)"), ("a$$", "a$$$"), ("$$(x)", "$$$$(x)")] {
            assert_eq!(escaped(text), expected);
            assert_eq!(kubelet(expected), text);
        }
        assert_eq!(kubelet("$(date)"), "<variable>", "the model of the kubelet itself");
    }
}
