//! The smallest HTTP client: enough to ask a service on loopback.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// What a server said.
#[derive(Debug)]
pub struct Answer {
    /// 200, 404.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A port on loopback that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One request.
pub fn get(port: u16, path: &str) -> io::Result<Answer> {
    ask(port, &format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n"))
}

/// One request with a document.
pub fn post(port: u16, path: &str, body: &serde_json::Value) -> io::Result<Answer> {
    let body = body.to_string();
    let head = format!("POST {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json");
    ask(port, &format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

fn ask(port: u16, request: &str) -> io::Result<Answer> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or_else(|| io::Error::other("the answer has no end of headers"))?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("the answer has no status"))?;
    Ok(Answer { status, head, body: bytes.split_off(end + 4) })
}

/// Asks until the answer is 200.
#[track_caller]
pub fn get_until_ready(port: u16, path: &str) -> Answer {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = get(port, path);
        match answer {
            Ok(answer) if answer.status == 200 => return answer,
            answer if Instant::now() > deadline => panic!("port {port} does not serve {path}: {answer:?}"),
            _ => thread::sleep(Duration::from_millis(100)),
        }
    }
}
