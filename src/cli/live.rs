//! What a program in a sandbox says, passed on while it says it. A terminal gets it without anything that it would
//! act on; a file or a pipe gets every byte.

use std::io::{self, IsTerminal, Write};

use crate::error::{Error, Result};
use crate::sandbox::Event;
use crate::text;

use super::printer::OutputError;

/// Both streams.
pub struct Live {
    stdout: Side,
    stderr: Side,
}

#[derive(Default)]
struct Side {
    terminal: bool,
    /// The beginning of a character whose end has not come yet.
    begun: Vec<u8>,
}

impl Live {
    /// To this process's own streams.
    pub fn new() -> Self {
        let side = |terminal| Side { terminal, begun: Vec::new() };
        Live { stdout: side(io::stdout().is_terminal()), stderr: side(io::stderr().is_terminal()) }
    }

    /// Passes output on. A reader that has gone away is not an error: the program runs to its end.
    pub fn pass(&mut self, event: &Event<'_>) -> Result<()> {
        match event {
            Event::Stdout(bytes) => written(io::stdout().lock(), &self.stdout.fit(bytes)),
            Event::Stderr(bytes) => written(io::stderr().lock(), &self.stderr.fit(bytes)),
            _ => Ok(()),
        }
    }

    /// What is left of a character that never ended.
    pub fn end(&mut self) -> Result<()> {
        let (out, err) = (self.stdout.rest(), self.stderr.rest());
        written(io::stdout().lock(), &out)?;
        written(io::stderr().lock(), &err)
    }
}

fn written(mut to: impl Write, bytes: &[u8]) -> Result<()> {
    match to.write_all(bytes).and_then(|()| to.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::from(OutputError(error))),
        _ => Ok(()),
    }
}

impl Side {
    fn fit(&mut self, bytes: &[u8]) -> Vec<u8> {
        if !self.terminal {
            return bytes.to_vec();
        }
        self.begun.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.begun) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.begun.len(),
        };
        let rest = self.begun.split_off(whole);
        let whole = std::mem::replace(&mut self.begun, rest);
        text::escape_lines(&String::from_utf8_lossy(&whole)).into_bytes()
    }

    fn rest(&mut self) -> Vec<u8> {
        let rest = std::mem::take(&mut self.begun);
        text::escape_lines(&String::from_utf8_lossy(&rest)).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_told_what_to_do() {
        let mut side = Side { terminal: true, begun: Vec::new() };
        let mut said = side.fit(b"a\x1b]52;c;x\x07\n\xc3");
        said.extend(side.fit(b"\xa4\r\xff\xe2"));
        said.extend(side.rest());
        assert_eq!(String::from_utf8(said).unwrap(), "a\\u{1b}]52;c;x\\u{7}\nä\\r\u{fffd}\u{fffd}");
        let mut side = Side { terminal: false, begun: Vec::new() };
        assert_eq!(side.fit(b"\x1b[31m\xff"), b"\x1b[31m\xff");
    }
}
