//! A streamed answer: one JSON object a line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::answers::Ran;
use crate::sandbox::result::RunFailure;
use crate::sandbox::session::Event;

fn line_of(value: &Value) -> Vec<u8> {
    let mut line = value.to_string().into_bytes();
    line.push(b'\n');
    line
}

/// The first line: the session's id, by which it can be cancelled.
pub fn started(id: &str) -> Vec<u8> {
    line_of(&json!({ "event": "session", "id": id }))
}

/// What the program says. Bytes that are no whole text come as base64.
pub fn line(event: &Event<'_>) -> Option<Vec<u8>> {
    let (name, bytes) = match event {
        Event::Started => return Some(line_of(&json!({ "event": "started" }))),
        Event::Stdout(bytes) => ("stdout", bytes),
        Event::Stderr(bytes) => ("stderr", bytes),
        _ => return None,
    };
    Some(line_of(&match std::str::from_utf8(bytes) {
        Ok(text) => json!({ "event": name, "text": text }),
        Err(_) => json!({ "event": name, "base64": STANDARD.encode(bytes) }),
    }))
}

/// The last line of a run.
pub fn result(ran: &Ran) -> Vec<u8> {
    line_of(&json!({ "event": "result", "result": ran }))
}

/// The last line of a run that has no result.
pub fn failure(failure: &RunFailure) -> Vec<u8> {
    line_of(&json!({ "event": "failed", "failure": failure }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_one_object() {
        let said = |event: Event<'_>| line(&event).map(|line| String::from_utf8(line).unwrap());
        assert_eq!(said(Event::Stdout(b"a\nb")).unwrap(), "{\"event\":\"stdout\",\"text\":\"a\\nb\"}\n");
        assert_eq!(said(Event::Stderr(b"\xff")).unwrap(), "{\"base64\":\"/w==\",\"event\":\"stderr\"}\n");
        assert_eq!(said(Event::Data(b"x")), None);
        assert_eq!(started("a"), b"{\"event\":\"session\",\"id\":\"a\"}\n");
    }
}
