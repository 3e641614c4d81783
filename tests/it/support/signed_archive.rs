//! An apt archive of this machine: made packages, indexes signed by GnuPG, and a server that can lie.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use ingot::oci::Digest;

use super::Scratch;
use super::program::{Ran, tool};

/// Files by path, as they are served; tests change them.
pub type Files = BTreeMap<String, Vec<u8>>;

/// An archive for one release and one architecture.
pub struct SignedArchive {
    scratch: Scratch,
    port: u16,
    files: Arc<Mutex<Files>>,
    asked: Arc<Mutex<Vec<String>>>,
    /// The indexes' text by suite.
    packages: BTreeMap<String, String>,
    /// When the indexes were made, and until when they are valid: what `date -d` understands.
    pub times: (String, String),
}

/// The folder of a suite's archive: Debian keeps security updates in one of its own.
fn folder(suite: &str) -> &'static str {
    if suite.ends_with("-security") { "debian-security" } else { "debian" }
}

impl SignedArchive {
    /// With these packages (without dependencies) in the first suite, and empty others; signed and served.
    pub fn new(suites: &[&str], packages: &[&str]) -> SignedArchive {
        let scratch = Scratch::new();
        let files = Arc::new(Mutex::new(Files::new()));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let port = serve(files.clone(), asked.clone());
        let mut archive = SignedArchive {
            scratch,
            port,
            files,
            asked,
            packages: suites.iter().map(|suite| (suite.to_string(), String::new())).collect(),
            times: ("yesterday".into(), "tomorrow".into()),
        };
        for owner in ["archive", "stranger"] {
            let keyring = archive.keyring(owner);
            archive.gpg(&["--quick-gen-key", &format!("{owner} <{owner}@a.example>"), "ed25519", "sign", "never"]);
            archive.gpg(&["--output", keyring.to_str().unwrap(), "--export", &format!("{owner}@a.example")]);
        }
        for package in packages {
            archive.add(suites[0], package);
        }
        archive.sign("archive");
        archive
    }

    fn gpg(&self, args: &[&str]) -> Ran {
        let home = self.scratch.join("gnupg");
        if !home.exists() {
            use std::os::unix::fs::DirBuilderExt;
            std::fs::DirBuilder::new().mode(0o700).create(&home).unwrap();
        }
        let mut command = Command::new(tool("gpg", "gpg gpg-agent"));
        command.arg("--homedir").arg(home).args(["--batch", "--yes", "--quiet", "--passphrase", ""]).args(args);
        Ran::of(command).ok()
    }

    /// The public key of "archive" or of "stranger".
    pub fn keyring(&self, owner: &str) -> PathBuf {
        self.scratch.join(format!("{owner}.gpg"))
    }

    /// What to name as mirror.
    pub fn mirror(&self) -> String {
        format!("http://127.0.0.1:{}/debian", self.port)
    }

    /// Adds a package with one file; it is signed with the next signature.
    pub fn add(&mut self, suite: &str, name: &str) {
        let root = self.scratch.join(name);
        std::fs::create_dir_all(root.join("DEBIAN")).unwrap();
        std::fs::create_dir_all(root.join("usr/share").join(name)).unwrap();
        std::fs::write(root.join("usr/share").join(name).join("file"), name).unwrap();
        let control = format!(
            "Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@a.example>\nDescription: a package\n"
        );
        std::fs::write(root.join("DEBIAN/control"), &control).unwrap();
        let deb = self.scratch.join(format!("{name}.deb"));
        let mut command = Command::new(tool("dpkg-deb", "dpkg"));
        command.args(["--root-owner-group", "--build"]).arg(&root).arg(&deb);
        Ran::of(command).ok();
        let bytes = std::fs::read(deb).unwrap();
        let text = self.packages.get_mut(suite).unwrap();
        write!(
            text,
            "{control}Filename: pool/{name}.deb\nSize: {}\nSHA256: {}\n\n",
            bytes.len(),
            Digest::of(&bytes).hex()
        )
        .unwrap();
        self.files().insert(format!("{}/pool/{name}.deb", folder(suite)), bytes);
    }

    /// Makes all indexes, and signs them as "archive" or as "stranger".
    pub fn sign(&self, owner: &str) {
        let date = |text: &str| {
            let mut command = Command::new("date");
            command.args(["-u", "-d", text, "+%a, %d %b %Y %H:%M:%S UTC"]).env("LC_ALL", "C");
            Ran::of(command).ok().stdout.trim().to_string()
        };
        let (made, until) = (date(&self.times.0), date(&self.times.1));
        for (suite, packages) in &self.packages {
            let mut release = format!(
                "Origin: Test\nSuite: {suite}\nCodename: {suite}\nDate: {made}\nValid-Until: {until}\n\
                 Architectures: amd64 arm64\nComponents: main\nAcquire-By-Hash: no\nSHA256:\n"
            );
            for architecture in ["amd64", "arm64"] {
                let path = format!("main/binary-{architecture}/Packages");
                let (digest, size) = (Digest::of(packages.as_bytes()).hex(), packages.len());
                writeln!(release, " {digest} {size} {path}").unwrap();
                let file = format!("{}/dists/{suite}/{path}", folder(suite));
                self.files().insert(file, packages.clone().into_bytes());
            }
            let (plain, signed) = (self.scratch.join("Release"), self.scratch.join("InRelease"));
            std::fs::write(&plain, release).unwrap();
            let user = format!("{owner}@a.example");
            let (plain, out) = (plain.to_str().unwrap(), signed.to_str().unwrap());
            self.gpg(&["--local-user", &user, "--output", out, "--clearsign", plain]);
            let file = format!("{}/dists/{suite}/InRelease", folder(suite));
            self.files().insert(file, std::fs::read(&signed).unwrap());
        }
    }

    /// What is served.
    pub fn files(&self) -> std::sync::MutexGuard<'_, Files> {
        self.files.lock().unwrap()
    }

    /// Changes a file that is served.
    #[track_caller]
    pub fn change(&self, path: &str, from: &str, to: &str) {
        let mut files = self.files();
        let bytes = files.get_mut(path).unwrap_or_else(|| panic!("{path}"));
        let at = bytes.windows(from.len()).position(|found| found == from.as_bytes()).expect(from);
        bytes.splice(at..at + from.len(), to.bytes());
    }

    /// The paths that were asked for since the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl Drop for SignedArchive {
    fn drop(&mut self) {
        let mut command = Command::new("gpgconf");
        command.arg("--homedir").arg(self.scratch.join("gnupg")).args(["--kill", "all"]);
        let _ = ingot::process::run(command, b"", ingot::process::DEFAULT_TIMEOUT);
    }
}

fn serve(files: Arc<Mutex<Files>>, asked: Arc<Mutex<Vec<String>>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (files, asked) = (files.clone(), asked.clone());
            std::thread::spawn(move || answer(stream, &files, &asked));
        }
    });
    port
}

fn answer(mut stream: TcpStream, files: &Mutex<Files>, asked: &Mutex<Vec<String>>) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let request = lines.next()?.ok()?;
    while !lines.next()?.ok()?.is_empty() {}
    let path = request.split(' ').nth(1)?.trim_start_matches('/').to_string();
    let found = files.lock().unwrap().get(&path).cloned();
    asked.lock().unwrap().push(path);
    let (status, body) = found.map_or((404, Vec::new()), |body| (200, body));
    let head = format!("HTTP/1.1 {status} Told\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body).ok()
}
