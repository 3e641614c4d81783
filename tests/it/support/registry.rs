//! A real registry on loopback.

use std::fs::File;
use std::process::Command;

use ingot::process::Running;

use super::http::free_port;
use super::program::{Ran, tool};
use super::{Scratch, get};

/// `docker-registry` with storage of its own; it ends with the value.
pub struct Registry {
    running: Running,
    scratch: Scratch,
    /// Where it listens.
    pub port: u16,
}

impl Registry {
    /// Open to everybody.
    pub fn start() -> Registry {
        Registry::with(Scratch::new(), "")
    }

    /// Open to one user with a password.
    pub fn with_password(user: &str, password: &str) -> Registry {
        let scratch = Scratch::new();
        let mut command = Command::new(tool("htpasswd", "apache2-utils"));
        command.args(["-Bbn", user, password]);
        std::fs::write(scratch.join("htpasswd"), Ran::of(command).ok().stdout).unwrap();
        let auth = format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", scratch.join("htpasswd").display());
        Registry::with(scratch, &auth)
    }

    fn with(scratch: Scratch, auth: &str) -> Registry {
        let port = free_port();
        let data = scratch.join("data");
        let config = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\n\
             http:\n  addr: 127.0.0.1:{port}\n{auth}",
            data.display()
        );
        std::fs::write(scratch.join("config.yml"), config).unwrap();
        let log = File::create(scratch.join("log")).unwrap();
        let mut command = Command::new(tool("docker-registry", "docker-registry"));
        command.arg("serve").arg(scratch.join("config.yml")).stdin(std::process::Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let mut registry = Registry { running: Running::start(command).unwrap(), scratch, port };
        registry.wait();
        registry
    }

    /// Waits until it answers, be it with a refusal.
    fn wait(&mut self) {
        for _ in 0..600 {
            if get(self.port, "/v2/").is_ok() {
                return;
            }
            let ended = self.running.child().try_wait().unwrap();
            assert!(ended.is_none(), "docker-registry ended: {ended:?}\n{}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("docker-registry does not answer\n{}", self.log());
    }

    /// `127.0.0.1:PORT/NAME`.
    pub fn reference(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// What it logged: every request it served.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.join("log")).unwrap_or_default()
    }

    /// The requests that it served, in their order.
    pub fn requests(&self) -> Vec<Request> {
        // The access log: ADDRESS - - [TIME] "METHOD URI HTTP/1.1" STATUS SIZE "" "AGENT".
        let request = |line: &str| {
            let (_, rest) = line.split_once("] \"")?;
            let mut words = rest.split(' ');
            let (method, uri) = (words.next()?.to_owned(), words.next()?.to_owned());
            Some(Request { method, uri, status: words.nth(1)?.parse().ok()? })
        };
        self.log().lines().filter_map(request).collect()
    }
}

/// One line of a registry's access log.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET, PUT.
    pub method: String,
    /// With the query.
    pub uri: String,
    /// 200, 404.
    pub status: u16,
}

impl Request {
    /// Whether it brought bytes of a blob.
    pub fn is_upload(&self) -> bool {
        self.method == "PATCH" || self.method == "PUT" && self.uri.contains("/blobs/uploads/")
    }
}
