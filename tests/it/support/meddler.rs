//! A mirror of this machine's apt archives that changes what passes through it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;

use super::program::{Ran, tool};

type Meddle = dyn Fn(&str, Vec<u8>) -> Option<Vec<u8>> + Send + Sync;

/// A server on loopback that lives as long as the test program.
pub struct Meddler {
    port: u16,
    archive: String,
}

impl Meddler {
    /// Serves the machine's archives; `meddle` gets each path with its body and says what is answered, or nothing
    /// for 404.
    pub fn start(meddle: impl Fn(&str, Vec<u8>) -> Option<Vec<u8>> + Send + Sync + 'static) -> Meddler {
        let archives = Arc::new(archives());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let archive = archives.keys().min_by_key(|name| name.len()).unwrap().clone();
        let meddle: Arc<Meddle> = Arc::new(meddle);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (archives, meddle) = (archives.clone(), meddle.clone());
                std::thread::spawn(move || answer(stream, &archives, &*meddle));
            }
        });
        Meddler { port, archive }
    }

    /// `--mirror`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/{}/", self.port, self.archive)
    }
}

/// The last component of each archive's URL, and the URL.
fn archives() -> BTreeMap<String, String> {
    let mut command = Command::new(tool("apt-get", "apt"));
    command.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]);
    let listed = Ran::of(command).ok().stdout;
    let named = listed.lines().map(|url| url.trim_end_matches('/'));
    let wanted = |url: &&str| ["/debian", "/debian-security", "/ubuntu"].iter().any(|end| url.ends_with(end));
    named.filter(wanted).map(|url| (url.rsplit('/').next().unwrap().to_owned(), url.to_owned())).collect()
}

fn answer(mut stream: TcpStream, archives: &BTreeMap<String, String>, meddle: &Meddle) {
    let mut line = String::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let _ = reader.read_line(&mut line);
    let mut header = String::new();
    while reader.read_line(&mut header).is_ok_and(|count| count > 2) {
        header.clear();
    }
    let path = line.split(' ').nth(1).unwrap_or_default();
    let body = path.trim_start_matches('/').split_once('/').and_then(|(archive, rest)| {
        let mut command = Command::new(tool("curl", "curl"));
        command.args(["--silent", "--fail", "--location", &format!("{}/{rest}", archives.get(archive)?)]);
        let output = command.output().unwrap();
        output.status.success().then_some(output.stdout).and_then(|body| meddle(path, body))
    });
    let (status, body) = body.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}
