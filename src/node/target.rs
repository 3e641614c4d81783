//! What `os`, `cpu` and `libc` of a package are held against.

use std::fmt;

use super::range::{Range, Version};
use crate::oci::Platform;
use crate::target::Libc;

/// What an image is to npm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeTarget {
    /// What Node calls `process.platform`: "linux".
    pub os: String,
    /// What Node calls `process.arch`: "x64", "arm64".
    pub cpu: String,
    /// "glibc" or "musl", if that is known.
    pub libc: Option<&'static str>,
    /// The version of Node, if that is known.
    pub node: Option<Version>,
}

impl NodeTarget {
    /// Of a platform and the base's C library.
    pub fn new(platform: &Platform, libc: Option<Libc>, node: Option<Version>) -> Self {
        let cpu = match platform.architecture.as_str() {
            "amd64" => "x64",
            "386" => "ia32",
            "ppc64le" => "ppc64",
            "mipsle" => "mipsel",
            other => other,
        };
        let libc = libc.map(|libc| match libc {
            Libc::Glibc(..) => "glibc",
            Libc::Musl(..) => "musl",
        });
        NodeTarget { os: platform.os.clone(), cpu: cpu.to_string(), libc, node }
    }

    /// What the package wants and this is not; `None` if it can be installed (npm-install-checks, `checkPlatform`).
    pub fn refuses(&self, wants: &Wants) -> Option<String> {
        let checks = [
            ("os", &wants.os, Some(self.os.as_str())),
            ("cpu", &wants.cpu, Some(self.cpu.as_str())),
            ("libc", &wants.libc, self.libc),
        ];
        let failed = checks.into_iter().find(|(_, list, own)| !fits(list, *own));
        failed.map(|(name, list, _)| format!("its {name} is {}", list.join(", ")))
    }

    /// The versions of Node that the package wants, if this one is none of them. A range that nobody understands asks for
    /// nothing.
    pub fn is_other_node<'a>(&self, wants: &'a Wants) -> Option<&'a str> {
        let (range, version) = (wants.node.as_deref()?, self.node.as_ref()?);
        let known = Range::parse(&range.replace(',', " "))?;
        (!known.contains(version)).then_some(range)
    }
}

impl fmt::Display for NodeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.os, self.cpu)?;
        self.libc.map_or(Ok(()), |libc| write!(f, " {libc}"))?;
        self.node.as_ref().map_or(Ok(()), |node| write!(f, ", Node {node}"))
    }
}

/// The lists of a package; an empty one asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// "linux", "!win32".
    pub os: Vec<String>,
    /// "x64", "!arm".
    pub cpu: Vec<String>,
    /// "glibc", "musl".
    pub libc: Vec<String>,
    /// Versions of Node: ">=18".
    pub node: Option<String>,
}

/// One of the plain values, and none of those behind a `!`.
fn fits(list: &[String], own: Option<&str>) -> bool {
    if list.is_empty() {
        return true;
    }
    let Some(own) = own else { return false };
    if let [only] = list
        && only == "any"
    {
        return true;
    }
    let negated: Vec<&str> = list.iter().filter_map(|entry| entry.strip_prefix('!')).collect();
    !negated.contains(&own) && (list.iter().any(|entry| entry == own) || negated.len() == list.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_have_the_names_that_node_gives_them() {
        let target = |text: &str, libc| NodeTarget::new(&text.parse().unwrap(), libc, None).to_string();
        assert_eq!(target("linux/amd64", Some(Libc::Glibc(2, 36))), "linux x64 glibc");
        assert_eq!(target("linux/arm64", Some(Libc::Musl(1, 2))), "linux arm64 musl");
        assert_eq!(target("linux/386", None), "linux ia32");
        assert_eq!(target("linux/ppc64le", None), "linux ppc64");
        assert_eq!(target("linux/arm/v7", None), "linux arm");
    }

    #[test]
    fn lists_are_read_as_npm_reads_them() {
        let target = NodeTarget { os: "linux".into(), cpu: "x64".into(), libc: Some("glibc"), node: None };
        let list = |words: &str| words.split_whitespace().map(str::to_string).collect::<Vec<_>>();
        for (os, cpu, libc, expected) in [
            ("", "", "", None),
            ("linux", "x64", "glibc", None),
            ("any", "any", "any", None),
            ("!win32", "!arm !ia32", "!musl", None),
            ("darwin linux", "x64", "", None),
            ("darwin", "", "", Some("its os is darwin")),
            ("", "arm64 ia32", "", Some("its cpu is arm64, ia32")),
            ("", "!x64", "", Some("its cpu is !x64")),
            ("linux", "x64", "musl", Some("its libc is musl")),
            ("!win32 darwin", "", "", Some("its os is !win32, darwin")),
        ] {
            let wants = Wants { os: list(os), cpu: list(cpu), libc: list(libc), node: None };
            assert_eq!(target.refuses(&wants).as_deref(), expected, "{os} {cpu} {libc}");
        }
        // Who does not know his C library gets nothing that asks for one.
        let unknown = NodeTarget { libc: None, ..target };
        assert!(unknown.refuses(&Wants { libc: list("glibc"), ..Wants::default() }).is_some());
    }
}
