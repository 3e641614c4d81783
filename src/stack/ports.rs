//! Whether the ports that a stack publishes are free, asked before a container is made: engines say it late, and in
//! words that name neither service nor port.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use super::load::Stack;
use super::node::Node;
use super::trouble::Trouble;
use crate::engine::{Service, State};

/// Whether an address to publish on means every address of the host: none, `0.0.0.0`, `::` and what they are in other forms.
pub fn is_every(host: &str) -> bool {
    let host = host.trim().trim_start_matches('[').trim_end_matches(']');
    let host = host.split('%').next().unwrap_or_default();
    let is_zero = host.chars().all(|c| matches!(c, '0' | '.' | ':' | 'x' | 'X'));
    is_zero || host == "*" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_unspecified())
}

/// The ports of this machine that a service publishes: address, port, whether it is UDP.
fn published(service: &Node) -> Vec<(IpAddr, u16, bool)> {
    let mut found = Vec::new();
    for port in service.get("ports").and_then(Node::list).unwrap_or_default() {
        let text = |key: &str| port.get(key).and_then(Node::scalar);
        // A range is for the engine to choose from.
        let Some(number) = text("published").and_then(|port| port.parse::<u16>().ok()).filter(|port| *port > 0) else {
            continue;
        };
        let host = match text("host_ip") {
            Some("localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Some(host) => match host.parse() {
                Ok(host) => host,
                Err(_) => continue,
            },
            None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        match text("protocol") {
            Some("udp") => found.push((host, number, true)),
            Some("sctp") => {}
            _ => found.push((host, number, false)),
        }
    }
    found
}

/// Fails for the first port that somebody else has. A service whose container runs has its own.
pub fn free(stack: &Stack, services: &[&str], containers: &[Service]) -> Result<(), Trouble> {
    for (name, service) in stack.services().filter(|(name, _)| services.contains(name)) {
        let own = |one: &&Service| one.service == name && matches!(one.state, State::Running | State::Paused);
        let held: Vec<u16> =
            containers.iter().filter(own).flat_map(|one| one.ports.iter().map(|port| port.published)).collect();
        for (host, port, udp) in published(service) {
            if !held.contains(&port) && is_taken(SocketAddr::new(host, port), udp) {
                return Err(Trouble::PortTaken { service: name.into(), host: host.to_string(), port });
            }
        }
    }
    Ok(())
}

/// What cannot be found out here, the engine may try.
fn is_taken(address: SocketAddr, udp: bool) -> bool {
    let bound = if udp { UdpSocket::bind(address).map(drop) } else { TcpListener::bind(address).map(drop) };
    bound.is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::Request;

    fn check(port: u16, host: &str, containers: &[Service]) -> Result<(), Trouble> {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("services: {{web: {{image: i, ports: ['{host}{port}:80', '70000-70001:1', '53']}}}}")
            .replace("'70000-70001:1'", "'7000-7009:1'");
        std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
        let stack = Stack::load(&Request { folder: Some(folder.path().into()), ..Request::default() }).unwrap();
        free(&stack, &["web"], containers)
    }

    #[test]
    fn every_address_has_many_names() {
        for host in [
            "",
            "*",
            "0",
            "0.0",
            "0.0.0.0",
            "00.0.0.0",
            "::",
            "[::]",
            "::0",
            "[::0]",
            "0:0:0:0:0:0:0:0",
            "::%1",
            "::ffff:0.0.0.0",
        ] {
            assert!(is_every(host), "{host}");
        }
        for host in [
            "127.0.0.1",
            "::1",
            "[::1]",
            "10.0.0.0",
            "192.168.0.1",
            "::ffff:10.0.0.1",
            "localhost",
            "fe80::1%0",
            "a.example",
        ] {
            assert!(!is_every(host), "{host}");
        }
    }

    #[test]
    fn a_port_that_is_taken_is_named_with_its_service() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1:", "localhost:", ""] {
            let host = host.replace("localhost", "127.0.0.1");
            let error = check(port, &host, &[]).unwrap_err();
            assert!(error.to_string().contains(&format!("port {port} of ")), "{error}");
            assert!(error.to_string().ends_with("which `web` publishes, is taken"), "{error}");
        }
        drop(listener);
        check(port, "127.0.0.1:", &[]).unwrap();
    }
}
