//! One Python process that compiles modules: the other end of `layers/compile.py`.
//!
//! Two threads move the bytes, so that an interpreter that neither reads nor writes is only a timeout, and so that it
//! finds the next module when it is done with one: several may be on their way. Answers come in the order of requests.

use std::io::{self, Read, Write};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::PythonVersion;
#[cfg(test)]
use super::bytecode::Module;
use super::bytecode::SyntaxError;
use super::bytecode_error::BytecodeError;
use super::interpreter::Interpreter;
use super::marshal::STREAM_LIMIT;
use crate::process::Running;

/// The script that the interpreter runs.
pub(super) const SCRIPT: &str = include_str!("../../layers/compile.py");

/// How long an interpreter may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How long it may take for one module. Seen: 3 s for the largest generated modules of common packages.
const MODULE_TIMEOUT: Duration = Duration::from_secs(120);

/// What is read from its pipe at once, in bytes.
const PIPE_BUFFER: usize = 64 << 10;

/// The longest message of a syntax error, in bytes.
const MESSAGE_LIMIT: usize = 4096;

/// What the worker made of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compiled {
    /// The hash of the source that belongs in the header.
    pub(super) source_hash: [u8; 8],
    /// What `marshal.dumps` said.
    pub(super) stream: Vec<u8>,
}

pub(super) type Answer = Result<Compiled, SyntaxError>;

/// A running interpreter.
pub(super) struct Worker {
    label: String,
    requests: Sender<Vec<u8>>,
    answers: Receiver<io::Result<Answer>>,
    _running: Running,
}

impl Worker {
    /// Starts an interpreter and checks that it writes the bytecode that it promised.
    pub(super) fn start(interpreter: &Interpreter) -> Result<Self, BytecodeError> {
        Worker::start_script(interpreter, SCRIPT, "0")
    }

    /// With another script around the worker's, and another hash seed: the tests' way to disturb it.
    pub(super) fn start_script(interpreter: &Interpreter, script: &str, seed: &str) -> Result<Self, BytecodeError> {
        let label = interpreter.label().to_string();
        let failed = |source| BytecodeError::Process { interpreter: label.clone(), source };
        let mut command = interpreter.command(&[script]);
        command.env("PYTHONHASHSEED", seed);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut running = Running::start(command).map_err(failed)?;
        let (stdin, stdout) = (running.child().stdin.take(), running.child().stdout.take());
        let (requests, queue) = channel();
        let (results, answers) = channel();
        let (greetings, greeting) = channel();
        thread::spawn(move || stdin.map(|pipe| send(pipe, &queue)));
        thread::spawn(move || stdout.map(|pipe| receive(pipe, &greetings, &results)));
        let found = match greeting.recv_timeout(START_TIMEOUT) {
            Ok(Ok((magic, version))) if magic == interpreter.magic() && version == interpreter.version() => None,
            Ok(Ok((magic, version))) => Some(format!("{} of Python {version}", hex::encode(magic))),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("nothing within {} s", START_TIMEOUT.as_secs())),
        };
        match found {
            None => Ok(Worker { label, requests, answers, _running: running }),
            Some(found) => {
                Err(BytecodeError::Greeting { interpreter: label, expected: hex::encode(interpreter.magic()), found })
            }
        }
    }

    /// Sends it a module. After an error the worker must not be used again.
    pub(super) fn send(&self, path: &str, source: &[u8]) -> Result<(), BytecodeError> {
        let mut request = Vec::with_capacity(8 + path.len() + source.len());
        for part in [path.as_bytes(), source] {
            let length = u32::try_from(part.len()).map_err(|_| self.failed(path, "it is larger than 4 GiB".into()))?;
            request.extend_from_slice(&length.to_le_bytes());
            request.extend_from_slice(part);
        }
        self.requests.send(request).map_err(|_| self.failed(path, "it ended".into()))
    }

    /// What it made of the oldest module that has no answer yet, whose path this is.
    pub(super) fn receive(&self, path: &str) -> Result<Answer, BytecodeError> {
        self.receive_within(path, MODULE_TIMEOUT)
    }

    fn receive_within(&self, path: &str, timeout: Duration) -> Result<Answer, BytecodeError> {
        let failed = |reason: String| Err(self.failed(path, reason));
        match self.answers.recv_timeout(timeout) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => failed("it ended".into()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::OutOfMemory => {
                Err(BytecodeError::Memory { interpreter: self.label.clone(), module: path.to_string() })
            }
            Ok(Err(error)) => failed(error.to_string()),
            Err(RecvTimeoutError::Timeout) => failed(format!("it took longer than {} s", timeout.as_secs_f32())),
            Err(RecvTimeoutError::Disconnected) => failed("it ended".into()),
        }
    }

    fn failed(&self, path: &str, reason: String) -> BytecodeError {
        BytecodeError::Worker { interpreter: self.label.clone(), module: path.to_string(), reason }
    }

    /// Compiles one module and waits for it.
    #[cfg(test)]
    pub(super) fn compile(&self, module: &Module, timeout: Duration) -> Result<Answer, BytecodeError> {
        self.send(&module.path, &module.source)?;
        self.receive_within(&module.path, timeout)
    }
}

fn send(mut pipe: ChildStdin, queue: &Receiver<Vec<u8>>) -> io::Result<()> {
    for request in queue {
        pipe.write_all(&request)?;
        pipe.flush()?;
    }
    Ok(())
}

type Greeting = ([u8; 4], PythonVersion);

fn receive(pipe: ChildStdout, greetings: &Sender<io::Result<Greeting>>, answers: &Sender<io::Result<Answer>>) {
    let mut pipe = io::BufReader::with_capacity(PIPE_BUFFER, pipe);
    let greeting = greeting(&mut pipe);
    let failed = greeting.is_err();
    if greetings.send(greeting).is_err() || failed {
        return;
    }
    loop {
        let answer = answer(&mut pipe);
        let failed = answer.is_err();
        if answers.send(answer).is_err() || failed {
            return;
        }
    }
}

fn greeting(pipe: &mut impl Read) -> io::Result<Greeting> {
    let magic = array::<4>(pipe)?;
    let [major, minor, micro] = array(pipe)?;
    Ok((magic, PythonVersion { major, minor, micro: Some(micro) }))
}

fn answer(pipe: &mut impl Read) -> io::Result<Answer> {
    match array(pipe)? {
        [0u8] => {
            let source_hash = array(pipe)?;
            Ok(Ok(Compiled { source_hash, stream: counted(pipe, STREAM_LIMIT)? }))
        }
        [1] => {
            let (line, column) = (u32::from_le_bytes(array(pipe)?), u32::from_le_bytes(array(pipe)?));
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            let message = text(counted(pipe, MESSAGE_LIMIT)?);
            Ok(Err(SyntaxError { message, line, column, text: text(counted(pipe, MESSAGE_LIMIT)?) }))
        }
        [2] => Err(io::ErrorKind::OutOfMemory.into()),
        _ => Err(io::Error::other("its answer is malformed")),
    }
}

fn array<const N: usize>(pipe: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    pipe.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn counted(pipe: &mut impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let length = u32::from_le_bytes(array(pipe)?) as usize;
    if length > limit {
        return Err(io::Error::other(format!("its answer has {length} bytes, expected at most {limit}")));
    }
    let mut bytes = Vec::with_capacity(length.min(PIPE_BUFFER));
    pipe.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
