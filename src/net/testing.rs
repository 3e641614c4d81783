//! A server for tests that does what it is told: wrong bytes, broken connections, lies, long silence.
//!
//! A test gives it a function from what was asked to what is done; afterwards it looks at what was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use url::Url;

use super::Http;
use super::retry::Pace;

/// A request that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// How many requests with the same method and path came before this one.
    pub earlier: usize,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// "GET /path", for a `match`.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path())
    }
}

/// What is done about a request.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Content-Length, if it is not the body's; `None` leaves it out.
    pub length: Option<u64>,
    /// Only so much of the body is sent; then the connection dies.
    pub cut: Option<usize>,
    /// Silence before the answer.
    pub delay: Duration,
    /// The body comes byte by byte, with this pause before each.
    pub trickle: Option<Duration>,
    /// No answer at all.
    pub hang_up: bool,
}

impl Act {
    pub(crate) fn status(status: u16) -> Self {
        Act::body(status, b"")
    }

    pub(crate) fn body(status: u16, body: &[u8]) -> Self {
        Act {
            status,
            headers: Vec::new(),
            body: body.to_vec(),
            length: Some(body.len() as u64),
            cut: None,
            delay: Duration::ZERO,
            trickle: None,
            hang_up: false,
        }
    }

    pub(crate) fn hang_up() -> Self {
        Act { hang_up: true, ..Act::status(0) }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    pub(crate) fn length(mut self, length: Option<u64>) -> Self {
        self.length = length;
        self
    }

    pub(crate) fn trickle(mut self, pause: Duration) -> Self {
        self.trickle = Some(pause);
        self
    }

    pub(crate) fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

type Handler = dyn Fn(&Seen) -> Act + Send + Sync;
type Appetite = dyn Fn(&Seen) -> Option<usize> + Send + Sync;

pub(crate) struct Server {
    host: String,
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// On 127.0.0.1.
    pub(crate) fn start(handler: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        Server::start_at("127.0.0.1", handler, |_| None)
    }

    /// On any address of this machine; `appetite` says after how many bytes of a request's body the connection dies
    /// (the handler still sees those, its answer is not sent).
    pub(crate) fn start_at(
        host: &str,
        handler: impl Fn(&Seen) -> Act + Send + Sync + 'static,
        appetite: impl Fn(&Seen) -> Option<usize> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (handler, appetite): (Arc<Handler>, Arc<Appetite>) = (Arc::new(handler), Arc::new(appetite));
        let (log, stopped) = (seen.clone(), stop.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (log, handler, appetite) = (log.clone(), handler.clone(), appetite.clone());
                thread::spawn(move || stream.map(|stream| serve(stream, &log, &*handler, &*appetite)));
            }
        });
        Server { host: host.into(), port, seen, stop }
    }

    /// "127.0.0.1:PORT".
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(crate) fn url(&self, target: &str) -> Url {
        Url::parse(&format!("http://{}{target}", self.authority())).unwrap()
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// "GET /a", "GET /b", ... in the order in which they came.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect((self.host.as_str(), self.port));
    }
}

fn serve(stream: TcpStream, log: &Mutex<Vec<Seen>>, handler: &Handler, appetite: &Appetite) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_string(), words.next()?.to_string());
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_string(), value.trim().to_string()));
    }
    let mut seen = Seen { method, target, headers, body: Vec::new(), earlier: 0 };
    let length: usize = seen.header("content-length").map_or(0, |text| text.parse().unwrap());
    {
        let log = log.lock().unwrap();
        seen.earlier = log.iter().filter(|other| other.line() == seen.line()).count();
    }
    let eaten = appetite(&seen).map_or(length, |most| most.min(length));
    seen.body = vec![0; eaten];
    let whole = reader.read_exact(&mut seen.body).is_ok();
    log.lock().unwrap().push(seen.clone());
    let act = handler(&seen);
    if !whole || eaten < length || act.hang_up {
        let _ = writer.shutdown(Shutdown::Both);
        return None;
    }
    thread::sleep(act.delay);
    let mut head = format!("HTTP/1.1 {} Told\r\nConnection: close\r\n", act.status);
    for (name, value) in &act.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(length) = act.length {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    head.push_str("\r\n");
    writer.write_all(head.as_bytes()).ok()?;
    if seen.method != "HEAD" {
        let sent = act.cut.unwrap_or(act.body.len()).min(act.body.len());
        for piece in act.body[..sent].chunks(if act.trickle.is_some() { 1 } else { sent.max(1) }) {
            thread::sleep(act.trickle.unwrap_or_default());
            writer.write_all(piece).ok()?;
        }
    }
    let _ = writer.flush();
    let _ = writer.shutdown(Shutdown::Write);
    let _ = std::io::copy(&mut reader, &mut std::io::sink());
    None
}

/// A client that does not make tests wait.
pub(crate) fn quick() -> Http {
    Http::with_pace(Pace {
        first_pause: Duration::from_millis(2),
        idle: Duration::from_millis(400),
        commit: Duration::from_secs(2),
        window: Duration::from_millis(300),
        window_minimum: 100,
        ..Pace::DEFAULT
    })
    .unwrap()
}
