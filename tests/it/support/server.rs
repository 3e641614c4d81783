//! A server on loopback that says what a test wants, when it wants: a package index, a registry.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ingot::oci::Digest;

use super::Layout;

/// What is answered.
pub enum Reply {
    /// A document of this type.
    Text(&'static str, Vec<u8>),
    /// A file.
    File(PathBuf),
}

type Handler = dyn Fn(&str) -> Option<Reply> + Send + Sync;

/// It answers each request in a thread of its own, which the handler may hold up.
pub struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// A request.
struct Asked {
    path: String,
    /// The value of its `Authorization` header.
    login: Option<String>,
}

impl Server {
    /// `handler` gets the path; `None` is 404.
    pub fn start(handler: impl Fn(&str) -> Option<Reply> + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (handler, log): (Arc<Handler>, _) = (Arc::new(handler), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (handler, log) = (handler.clone(), log.clone());
                std::thread::spawn(move || answer(stream, &*handler, &log));
            }
        });
        Server { port, asked }
    }

    /// Its address.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What pip's PIP_INDEX_URL has to be, if it is an index.
    pub fn index(&self) -> String {
        format!("http://{}/simple/", self.authority())
    }

    /// The paths that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.path.clone()).collect()
    }

    /// The paths that were asked for, and who asked: the value of the `Authorization` header.
    pub fn asked_by(&self) -> Vec<(String, Option<String>)> {
        self.asked.lock().unwrap().iter().map(|asked| (asked.path.clone(), asked.login.clone())).collect()
    }
}

fn answer(mut stream: TcpStream, handler: &Handler, asked: &Mutex<Vec<Asked>>) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let request = lines.next()?.ok()?;
    let mut login = None;
    loop {
        let line = lines.next()?.ok()?;
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => login = Some(value.trim().to_string()),
            None if line.is_empty() => break,
            _ => {}
        }
    }
    let (method, path) = (request.split(' ').next()?, request.split(' ').nth(1)?.to_string());
    asked.lock().unwrap().push(Asked { path: path.clone(), login });
    let mut head = |status: &str, kind: &str, length: u64| {
        let head = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).ok()
    };
    let reply = handler(&path);
    match &reply {
        None => head("404 Not Found", "text/plain", 0)?,
        Some(Reply::Text(kind, bytes)) => head("200 OK", kind, bytes.len() as u64)?,
        Some(Reply::File(path)) => head("200 OK", "application/octet-stream", path.metadata().ok()?.len())?,
    }
    match reply {
        Some(Reply::Text(_, bytes)) if method != "HEAD" => stream.write_all(&bytes).ok(),
        Some(Reply::File(path)) if method != "HEAD" => {
            io::copy(&mut std::fs::File::open(path).ok()?, &mut stream).ok().map(drop)
        }
        _ => Some(()),
    }
}

/// An index of the wheels in a folder: `/simple/NAME/` and `/files/WHEEL`.
pub fn index_of(folder: &Path) -> impl Fn(&str) -> Option<Reply> + Send + Sync + use<> {
    let mut pages: BTreeMap<String, String> = BTreeMap::new();
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut hasher = ingot::oci::Hasher::new();
        io::copy(&mut std::fs::File::open(&path).unwrap(), &mut hasher as &mut dyn Write).unwrap();
        let digest: Digest = hasher.finish();
        let name = file.split('-').next().unwrap().replace('_', "-");
        let line = format!("<a href=\"/files/{file}#sha256={}\">{file}</a>\n", digest.hex());
        pages.entry(name).or_default().push_str(&line);
        files.insert(file, path);
    }
    move |path| match path.strip_prefix("/simple/") {
        Some(name) => pages.get(name.trim_end_matches('/')).map(|page| Reply::Text("text/html", page.clone().into())),
        None => files.get(path.strip_prefix("/files/")?).map(|path| Reply::File(path.clone())),
    }
}

/// A registry that has the only image of a layout, under any name and tag.
pub fn registry_of(layout: &Path) -> impl Fn(&str) -> Option<Reply> + Send + Sync + use<> {
    let folder = layout.to_owned();
    let opened = Layout::open(layout);
    let manifest = opened.descriptor()["digest"].as_str().unwrap().to_owned();
    move |path| {
        if path == "/v2/" {
            return Some(Reply::Text("application/json", b"{}".into()));
        }
        let blob = |digest: &str| folder.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
        if path.contains("/manifests/") {
            let kind = "application/vnd.oci.image.manifest.v1+json";
            return Some(Reply::Text(kind, std::fs::read(blob(&manifest)).unwrap()));
        }
        let file = blob(path.split("/blobs/").nth(1)?);
        file.exists().then_some(Reply::File(file))
    }
}
