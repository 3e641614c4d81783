//! A small HTTP service on a unix socket: asynchronous inside, with handlers that are ordinary functions on threads of
//! their own. Only this user may connect. Bodies, headers, connections and idle time have limits.

use std::convert::Infallible;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc};

use super::{Error, runtime};
use crate::fs;

/// The most connections at once; more wait.
const CONNECTIONS: usize = 256;
/// How long a client may take for a request's head, and for its body.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most bytes of a request's head.
const HEAD_BYTES: usize = 64 << 10;
/// Pieces of a streamed answer that may wait for the client.
const WAITING: usize = 32;
/// How often at least is looked whether a client takes more of it.
const TICK: Duration = Duration::from_millis(50);
/// Nobody but this user connects.
const SOCKET_MASK: u32 = 0o177;
/// Everybody connects.
const SHARED: u32 = 0o666;

/// A request as a handler sees it.
#[derive(Debug)]
pub struct Ask {
    /// "GET", "POST".
    pub method: String,
    /// Without the query.
    pub path: String,
    /// At most as long as the service allows.
    pub body: Vec<u8>,
    /// Set when the client has gone away.
    pub gone: Gone,
}

/// Whether the client of a request has gone away.
#[derive(Clone, Debug, Default)]
pub struct Gone(Arc<AtomicBool>);

impl Gone {
    /// Whether nobody waits for the answer any more.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Sets it when a request's future is dropped, which is what happens when its client goes.
struct Leaving(Gone);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// An answer: the head, and what follows.
pub struct Answer {
    /// 200, 404.
    pub status: u16,
    /// "application/json".
    pub content_type: &'static str,
    /// More headers.
    pub headers: Vec<(&'static str, String)>,
    /// What follows the head.
    pub body: Body,
}

/// What follows the head of an answer.
pub enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// A function that gives it piece by piece, on a thread of its own.
    Pieces(Box<dyn FnOnce(&Pieces) + Send>),
}

/// Takes the pieces of a streamed answer.
pub struct Pieces(mpsc::Sender<Bytes>);

impl Pieces {
    /// Sends a piece; false if nobody listens any more, or if `give_up` says so while the client takes nothing.
    pub fn send(&self, piece: Vec<u8>, give_up: &dyn Fn() -> bool) -> bool {
        let (mut piece, mut pause) = (Bytes::from(piece), Duration::from_millis(1));
        loop {
            match self.0.try_send(piece) {
                Ok(()) => return true,
                Err(TrySendError::Closed(_)) => return false,
                Err(TrySendError::Full(_)) if give_up() => return false,
                Err(TrySendError::Full(back)) => piece = back,
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(TICK);
        }
    }
}

impl Answer {
    /// An answer that is all there.
    pub fn whole(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Answer { status, content_type, headers: Vec::new(), body: Body::Whole(body) }
    }
}

/// Answers requests.
pub type Handler = Arc<dyn Fn(Ask) -> Answer + Send + Sync>;

/// A socket that is listened on; its file goes with it.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    _file: fs::TemporaryName,
}

impl Socket {
    /// Listens. What is left of a service that is gone is replaced; one that answers, or a file that is no socket, is not.
    pub fn bind(path: &Path) -> Result<Self, Error> {
        use std::os::unix::fs::FileTypeExt;
        let refuse = |source: io::Error| Error::Socket { path: path.into(), source };
        if let Ok(found) = fs::symlink_metadata(path) {
            if !found.file_type().is_socket() {
                return Err(refuse(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket")));
            }
            if UnixStream::connect(path).is_ok() {
                return Err(refuse(io::Error::new(io::ErrorKind::AddrInUse, "another service answers there")));
            }
            fs::remove_file(path).map_err(|error| refuse(io::Error::other(error.to_string())))?;
        }
        // Closed from the first moment on.
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(SOCKET_MASK));
        let bound = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = bound.map_err(refuse)?;
        listener.set_nonblocking(true).map_err(refuse)?;
        Ok(Socket { listener, _file: fs::TemporaryName::of(path) })
    }

    /// Like [`Socket::bind`], but every user who gets to the socket may connect: its folder decides who that is.
    pub fn bind_shared(path: &Path) -> Result<Self, Error> {
        let socket = Self::bind(path)?;
        let refuse =
            |error: fs::Error| Error::Socket { path: path.into(), source: io::Error::other(error.to_string()) };
        fs::set_mode(path, SHARED).map_err(refuse)?;
        Ok(socket)
    }

    /// Answers until the process ends or the listener breaks. `body_limit` is for requests.
    pub fn serve(self, body_limit: usize, handler: Handler) -> Result<(), Error> {
        let broken = |source: io::Error| Error::Setup { source };
        runtime::get()?.block_on(async {
            let listener = tokio::net::UnixListener::from_std(self.listener).map_err(broken)?;
            let places = Arc::new(Semaphore::new(CONNECTIONS));
            loop {
                let place = places.clone().acquire_owned().await;
                let (stream, _) = match listener.accept().await {
                    Ok(accepted) => accepted,
                    // Out of descriptors, or a client that was gone at once: neither is the end.
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                };
                let handler = handler.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(request, body_limit, handler.clone()));
                    let mut server = http1::Builder::new();
                    server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(HEAD_BYTES);
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                    drop(place);
                });
            }
        })
    }
}

type Sent = Response<BoxBody<Bytes, Infallible>>;

async fn answer(request: Request<Incoming>, body_limit: usize, handler: Handler) -> Result<Sent, Infallible> {
    let (head, body) = request.into_parts();
    let read = tokio::time::timeout(PATIENCE, Limited::new(body, body_limit).collect()).await;
    let body = match read {
        Ok(Ok(body)) => body.to_bytes().to_vec(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "the request's body is too large"));
        }
        Ok(Err(_)) => return Ok(plain(StatusCode::BAD_REQUEST, "the request's body broke off")),
        Err(_) => return Ok(plain(StatusCode::REQUEST_TIMEOUT, "the request's body did not come")),
    };
    let gone = Gone::default();
    let leaving = Leaving(gone.clone());
    let ask = Ask { method: head.method.to_string(), path: head.uri.path().to_string(), body, gone };
    let answer = tokio::task::spawn_blocking(move || handler(ask)).await;
    let Ok(answer) = answer else {
        return Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, "the request could not be handled"));
    };
    let body = match answer.body {
        Body::Whole(bytes) => Full::new(bytes.into()).boxed(),
        Body::Pieces(make) => {
            let (sender, receiver) = mpsc::channel(WAITING);
            tokio::task::spawn_blocking(move || make(&Pieces(sender)));
            // The client is waited for until the last piece: the connection takes the stream with it.
            let pieces = stream::unfold((receiver, leaving), |(mut receiver, leaving)| async move {
                let piece = receiver.recv().await?;
                Some((Ok::<_, Infallible>(Frame::data(piece)), (receiver, leaving)))
            });
            StreamBody::new(pieces).boxed()
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    Ok(response)
}

fn plain(status: StatusCode, what: &'static str) -> Sent {
    let body = serde_json::json!({ "error": what }).to_string();
    let mut response = Response::new(Full::new(Bytes::from(body)).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn exchange(path: &Path, request: &str) -> String {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut said = String::new();
        let _ = stream.read_to_string(&mut said);
        said
    }

    fn start(handler: impl Fn(Ask) -> Answer + Send + Sync + 'static) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let socket = Socket::bind(&path).unwrap();
        std::thread::spawn(move || socket.serve(64, Arc::new(handler)));
        (folder, path)
    }

    #[test]
    fn requests_are_answered_and_bodies_limited() {
        let (_folder, path) = start(|ask| match ask.path.as_str() {
            "/pieces" => Answer {
                body: Body::Pieces(Box::new(|pieces| {
                    for piece in ["one\n", "two\n"] {
                        pieces.send(piece.into(), &|| false);
                    }
                })),
                ..Answer::whole(200, "application/x-ndjson", Vec::new())
            },
            _ => Answer::whole(201, "application/json", format!("{} {}", ask.method, ask.body.len()).into()),
        });
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let said = exchange(&path, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab");
        assert!(said.starts_with("HTTP/1.1 201 ") && said.ends_with("POST 2"), "{said}");
        let said = exchange(&path, "GET /pieces HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert!(said.contains("one\n") && said.contains("two\n") && said.contains("chunked"), "{said}");
        let body = "x".repeat(65);
        let said = exchange(
            &path,
            &format!("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 65\r\nConnection: close\r\n\r\n{body}"),
        );
        assert!(said.starts_with("HTTP/1.1 413 "), "{said}");
        let said = exchange(&path, "nonsense\r\n\r\n");
        assert!(said.starts_with("HTTP/1.1 400 "), "{said}");
    }

    #[test]
    fn a_client_that_goes_is_noticed() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let sender = std::sync::Mutex::new(sender);
        let (_folder, path) = start(move |ask| {
            for _ in 0..500 {
                if ask.gone.is_set() {
                    sender.lock().unwrap().send(()).unwrap();
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            Answer::whole(200, "text/plain", Vec::new())
        });
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(100));
        drop(stream);
        receiver.recv_timeout(Duration::from_secs(5)).expect("the handler is told");
    }

    #[test]
    fn a_client_that_takes_nothing_or_goes_ends_its_stream() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let sender = std::sync::Mutex::new(sender);
        let (_folder, path) = start(move |ask| {
            let (told, gone) = (sender.lock().unwrap().clone(), ask.gone);
            let silent = ask.path == "/silent";
            let feed = move |pieces: &Pieces| {
                if silent {
                    while !gone.is_set() {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    return told.send("gone").unwrap();
                }
                let since = std::time::Instant::now();
                let late = || since.elapsed() > Duration::from_millis(300);
                while pieces.send(vec![b'x'; 64 << 10], &late) {}
                told.send("given up").unwrap();
            };
            Answer { body: Body::Pieces(Box::new(feed)), ..Answer::whole(200, "text/plain", Vec::new()) }
        });
        let ask = |what: &str| {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.write_all(format!("GET {what} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(100));
            stream
        };
        let mute = ask("/flood");
        assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Ok("given up"));
        drop(mute);
        drop(ask("/silent"));
        assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Ok("gone"));
    }

    #[test]
    fn a_socket_that_somebody_uses_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let first = Socket::bind(&path).unwrap();
        let error = Socket::bind(&path).unwrap_err();
        assert!(
            matches!(&error, Error::Socket { source, .. } if source.kind() == io::ErrorKind::AddrInUse),
            "{error:?}"
        );
        drop(first);
        assert!(!path.exists(), "its file goes with it");
        // One that was killed leaves its file.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Socket::bind(&path).unwrap());
        std::fs::write(&path, "precious").unwrap();
        assert!(Socket::bind(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
