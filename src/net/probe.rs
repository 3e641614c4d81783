//! One question to a service of this machine, over TCP or a unix socket: no proxy, no redirect, no credentials, one
//! deadline for all of it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// The most bytes of an answer.
const ANSWER_BYTES: usize = 256 << 10;

/// Where a service listens.
#[derive(Clone, Copy, Debug)]
pub enum Listening<'a> {
    /// On a port.
    Tcp(SocketAddr),
    /// On a socket.
    Unix(&'a Path),
}

/// What a service answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// 200, 503.
    pub status: u16,
    /// What follows the head.
    pub body: Vec<u8>,
}

trait Stream: Read + Write {
    fn until(&self, timeout: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn until(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout)).and_then(|()| self.set_write_timeout(Some(timeout)))
    }
}

impl Stream for UnixStream {
    fn until(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout)).and_then(|()| self.set_write_timeout(Some(timeout)))
    }
}

/// `GET PATH`. `path` has no white space.
pub fn probe(place: Listening<'_>, path: &str, timeout: Duration) -> io::Result<Probed> {
    let deadline = Instant::now() + timeout;
    let mut stream: Box<dyn Stream> = match place {
        Listening::Tcp(address) => Box::new(TcpStream::connect_timeout(&address, timeout)?),
        Listening::Unix(path) => Box::new(UnixStream::connect(path)?),
    };
    stream.until(left(deadline)?)?;
    // 1.0: the answer comes in one piece, and ends with the connection.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut bytes = Vec::new();
    let mut buffer = [0u8; 16 << 10];
    while bytes.len() < ANSWER_BYTES {
        stream.until(left(deadline)?)?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend(buffer.iter().take(count)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(late());
            }
            Err(error) => return Err(error),
        }
    }
    parse(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn left(deadline: Instant) -> io::Result<Duration> {
    deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()).ok_or_else(late)
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

fn parse(bytes: &[u8]) -> Option<Probed> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Probed { status, body: bytes.get(end + 4..)?.to_vec() })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn served(answer: &'static [u8], pause: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0u8; 1024];
            let count = stream.read(&mut asked).unwrap();
            assert!(asked[..count].starts_with(b"GET /health?x HTTP/1.0\r\n"));
            thread::sleep(pause);
            let _ = stream.write_all(answer);
        });
        address
    }

    #[test]
    fn a_service_is_asked_and_has_a_deadline() {
        let ask = |answer, pause, timeout| {
            probe(Listening::Tcp(served(answer, pause)), "/health?x", Duration::from_millis(timeout))
        };
        let told = ask(b"HTTP/1.1 503 Nope\r\nA: b\r\n\r\n{\"a\":1}", Duration::ZERO, 5000).unwrap();
        assert_eq!(told, Probed { status: 503, body: b"{\"a\":1}".to_vec() });
        let late = ask(b"", Duration::from_secs(5), 100).unwrap_err();
        assert_eq!(late.to_string(), "no answer in time");
        for garbage in [&b""[..], b"SSH-2.0\r\n\r\n", b"HTTP/1.1 x\r\n\r\n", b"HTTP/1.1 200 OK\r\n"] {
            let error = ask(garbage, Duration::ZERO, 5000).unwrap_err();
            assert_eq!(error.to_string(), "the answer is not HTTP");
        }
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(probe(Listening::Tcp(gone), "/", Duration::from_secs(1)).is_err());
        assert!(probe(Listening::Unix(Path::new("/no/such/socket")), "/", Duration::from_secs(1)).is_err());
    }
}
