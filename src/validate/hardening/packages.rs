//! Packages of the distribution that an image in production has no use for.

use crate::validate::findings::{Draft, Findings};
use crate::validate::subject::Subject;

/// Compilers: also with a version at the end.
const COMPILERS: [&str; 8] = ["gcc", "g++", "clang", "gfortran", "golang", "rustc", "tcc", "ghc"];
/// What builds, what others log in with, what looks into other processes and networks.
const OTHERS: [&str; 30] = [
    "build-essential",
    "build-base",
    "make",
    "cmake",
    "cargo",
    "dpkg-dev",
    "openssh-server",
    "dropbear",
    "dropbear-bin",
    "telnetd",
    "inetutils-telnetd",
    "rsh-server",
    "rsh-redone-server",
    "vsftpd",
    "proftpd-core",
    "xinetd",
    "openbsd-inetd",
    "sudo",
    "doas",
    "opendoas",
    "nmap",
    "ncat",
    "socat",
    "tcpdump",
    "netcat-openbsd",
    "netcat-traditional",
    "gdb",
    "strace",
    "ltrace",
    "docker.io",
];
/// The most that are named.
const NAMED: usize = 20;

pub(super) fn look(subject: &Subject, findings: &mut Findings<'_>) {
    let mut found: Vec<&str> = Vec::new();
    let apk = subject.text("lib/apk/db/installed").unwrap_or_default();
    found.extend(apk.lines().filter_map(|line| line.strip_prefix("P:")).filter(|name| is_unneeded(name)));
    if let Some(status) = subject.text("var/lib/dpkg/status") {
        found.extend(status.split("\n\n").filter_map(installed).filter(|name| is_unneeded(name)));
    }
    for (path, fact) in subject.files().filter(|(path, _)| path.as_str().starts_with("var/lib/dpkg/status.d/")) {
        let text = fact.content.text.as_deref().and_then(|text| std::str::from_utf8(text).ok());
        found.extend(
            text.filter(|_| !path.name().ends_with(".md5sums")).and_then(name).filter(|name| is_unneeded(name)),
        );
    }
    found.sort_unstable();
    found.dedup();
    if !found.is_empty() {
        let more = found.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let named: Vec<String> = found.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
        let message = format!("the image has {}{more}", named.join(", "));
        findings.add(Draft::new("package-unneeded", "/var/lib/dpkg/status", message));
    }
}

fn name(stanza: &str) -> Option<&str> {
    stanza.lines().find_map(|line| line.strip_prefix("Package: ")).map(str::trim)
}

/// The package of a stanza, unless it was removed.
fn installed(stanza: &str) -> Option<&str> {
    let status = stanza.lines().find_map(|line| line.strip_prefix("Status: "))?;
    name(stanza).filter(|_| status.trim_end().ends_with(" installed"))
}

fn is_unneeded(name: &str) -> bool {
    let versioned = |compiler: &str| {
        let rest = name.strip_prefix(compiler);
        let version = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('-').is_some_and(version))
    };
    OTHERS.contains(&name) || COMPILERS.iter().any(|compiler| versioned(compiler))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_programs_not_of_their_libraries() {
        for yes in ["gcc", "gcc-12", "clang-14", "sudo", "openssh-server"] {
            assert!(is_unneeded(yes), "{yes}");
        }
        for no in ["gcc-12-base", "libgcc-s1", "openssh-client", "libc-bin", "curl", "sudoku"] {
            assert!(!is_unneeded(no), "{no}");
        }
        assert_eq!(installed("Package: x\nStatus: deinstall ok config-files\n"), None);
        assert_eq!(installed("Package: x\nStatus: install ok installed\n"), Some("x"));
    }
}
