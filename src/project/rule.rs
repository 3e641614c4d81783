//! The grammars of values: each rule says what is wrong with a text, or nothing.

use std::path::{Component, Path};
use std::time::Duration;

use crate::layer::TreePath;
use crate::python::PythonVersion;

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// "`x` is not a port: ...".
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A check of one text.
pub type Rule = fn(&str) -> Result<(), Complaint>;

/// The longest name of an image, in characters.
const IMAGE_NAME_LIMIT: usize = 255;
/// The largest user and group id: larger ones are negative for some programs.
pub const ID_LIMIT: i64 = (1 << 31) - 1;

fn complain<T>(message: String, hint: Option<&str>) -> Result<T, Complaint> {
    Err(Complaint { message, hint: hint.map(str::to_string) })
}

fn matches(text: &str, first: fn(char) -> bool, rest: fn(char) -> bool) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(first) && characters.all(rest)
}

/// Anything that has no NUL: what `execve` takes.
pub fn text(value: &str) -> Result<(), Complaint> {
    match value.contains('\0') {
        true => complain("the text has a NUL character".into(), None),
        false => Ok(()),
    }
}

/// How much a finding matters.
pub fn severity(value: &str) -> Result<(), Complaint> {
    match ["error", "warning", "info"].contains(&value) {
        true => Ok(()),
        false => complain(
            format!("`{}` is not a severity", value.escape_debug()),
            Some("write \"error\", \"warning\" or \"info\""),
        ),
    }
}

/// Something: not empty, no spaces around it, one line.
pub fn base(value: &str) -> Result<(), Complaint> {
    if value.is_empty() || value.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return complain(
            format!("`{}` is not an image: it is empty or has spaces", value.escape_debug()),
            Some("name a base such as `debian:12-slim`, `oci:DIR` or `debian:12/packages`"),
        );
    }
    Ok(())
}

/// A repository path: lower-case components, joined by `/` (distribution-spec, "Pulling manifests").
pub fn image_name(value: &str) -> Result<(), Complaint> {
    let refuse = |why: &str, hint| complain(format!("`{}` is not an image name: {why}", value.escape_debug()), hint);
    if value.contains([':', '@']) {
        return refuse("it has a port, a tag or a digest", Some("give the registry and the tag with `-t`"));
    }
    if value.chars().any(|c| c.is_ascii_uppercase()) {
        return refuse("it must be lower-case", None);
    }
    if value.len() > IMAGE_NAME_LIMIT {
        return refuse("it is longer than 255 characters", None);
    }
    let component = |part: &str| {
        let ends = part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric());
        let separators: Vec<&str> = part.split(|c: char| c.is_ascii_alphanumeric()).filter(|s| !s.is_empty()).collect();
        ends && separators.iter().all(|s| matches!(*s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
    };
    if !value.split('/').all(component) {
        return refuse(
            "it must be letters, digits and single `.`, `_`, `-` between them, in parts joined by `/`",
            None,
        );
    }
    Ok(())
}

/// The name of a variant: part of file names and tags.
pub fn variant_name(value: &str) -> Result<(), Complaint> {
    if value == "all" {
        return complain("a variant cannot be named `all`: `--variant all` means every variant".into(), None);
    }
    let good = matches(
        value,
        |c| c.is_ascii_lowercase() || c.is_ascii_digit(),
        |c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-'),
    );
    match good && value.len() <= 64 && !value.contains("..") {
        true => Ok(()),
        false => complain(
            format!("`{}` is not a variant's name: it must be a-z, 0-9, `.`, `_`, `-`", value.escape_debug()),
            None,
        ),
    }
}

/// A label or annotation key.
pub fn label_key(value: &str) -> Result<(), Complaint> {
    match value.is_empty() || value.chars().any(|c| c.is_whitespace() || c.is_control()) {
        true => complain(
            format!("`{}` is not a label: it is empty or has spaces", value.escape_debug()),
            Some("labels look like `org.opencontainers.image.title`"),
        ),
        false => Ok(()),
    }
}

/// A name of the environment, or of a build argument.
pub fn env_name(value: &str) -> Result<(), Complaint> {
    let good = matches(value, |c| c.is_ascii_alphabetic() || c == '_', |c| c.is_ascii_alphanumeric() || c == '_');
    match good {
        true => Ok(()),
        false => complain(
            format!("`{}` is not a variable name: it must be letters, digits and `_`", value.escape_debug()),
            None,
        ),
    }
}

/// A user name as every `useradd` takes it.
pub fn user_name(value: &str) -> Result<(), Complaint> {
    let refuse = |why: &str, hint| complain(format!("`{}` is not a user name: {why}", value.escape_debug()), hint);
    if value == "root" {
        return refuse("the application must not run as root", Some("any other name will do: `app`"));
    }
    let good = matches(
        value,
        |c| c.is_ascii_lowercase() || c == '_',
        |c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'),
    );
    match good && value.len() <= 32 {
        true => Ok(()),
        false => refuse("it must be at most 32 of a-z, 0-9, `_`, `-`, and begin with a letter or `_`", None),
    }
}

/// An absolute, normalised path in the image, not its root.
pub fn image_path(value: &str) -> Result<(), Complaint> {
    let refuse = |why: &str, hint: Option<String>| {
        Err(Complaint { message: format!("`{}` is not a path in the image: {why}", value.escape_debug()), hint })
    };
    if !value.starts_with('/') {
        return refuse("it must be absolute", Some(format!("write `/{}`", value.trim_start_matches("./"))));
    }
    if value == "/" {
        return refuse("it is the root", None);
    }
    if value.starts_with("//") || value.starts_with("/./") {
        return refuse("it has an empty or `.` component", None);
    }
    if value.ends_with('/') {
        return refuse("it ends with `/`", Some(format!("write `{}`", value.trim_end_matches('/'))));
    }
    match TreePath::new(value) {
        Ok(_) => Ok(()),
        Err(crate::layer::Error::Path { reason, .. }) => refuse(reason, None),
        Err(error) => refuse(&error.to_string(), None),
    }
}

/// A path in the image where Node looks for packages.
pub fn modules_path(value: &str) -> Result<(), Complaint> {
    image_path(value)?;
    match value.rsplit('/').next() == Some("node_modules") {
        true => Ok(()),
        false => complain(
            format!("`{}` is not where Node looks for packages", value.escape_debug()),
            Some("its last part must be `node_modules`"),
        ),
    }
}

/// A path of the project: relative to the project file.
pub fn project_path(value: &str) -> Result<(), Complaint> {
    let refuse =
        |why: &str, hint| complain(format!("`{}` is not a path of the project: {why}", value.escape_debug()), hint);
    if value.is_empty() || value.chars().any(char::is_control) {
        return refuse("it is empty or has control characters", None);
    }
    if value.starts_with('/') {
        return refuse(
            "it is absolute",
            Some("write it relative to the project file, so that it holds on other machines"),
        );
    }
    Ok(())
}

/// A folder inside of the project.
pub fn source_path(value: &str) -> Result<(), Complaint> {
    project_path(value)?;
    match Path::new(value).components().any(|part| part == Component::ParentDir) {
        true => complain(
            format!("`{value}` is not a path of the project: it leaves the project's folder"),
            Some("put `ingot.toml` into the folder that holds everything the image needs"),
        ),
        false => Ok(()),
    }
}

/// `sm_80`.
pub fn gpu_architecture(value: &str) -> Result<(), Complaint> {
    match gpu_number(value) {
        Some(_) => Ok(()),
        None => complain(
            format!("`{}` is not the architecture of a GPU", value.escape_debug()),
            Some("write it as \"sm_80\""),
        ),
    }
}

/// 80 of `sm_80`.
pub fn gpu_number(value: &str) -> Option<u32> {
    let digits = value.strip_prefix("sm_")?;
    let plain = (2..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| plain && *number >= 20)
}

/// `535`, `535.54.03`.
pub fn gpu_driver(value: &str) -> Result<(), Complaint> {
    match driver_number(value) {
        Some(_) => Ok(()),
        None => complain(
            format!("`{}` is not the version of a driver", value.escape_debug()),
            Some("write it as \"535\" or \"535.54\""),
        ),
    }
}

/// (535, 54) of `535.54.03`.
pub fn driver_number(value: &str) -> Option<(u32, u32)> {
    let mut parts = value.split('.').map(|part| {
        let plain = (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u32>().ok().filter(|_| plain)
    });
    let (major, minor) = (parts.next()??, parts.next().unwrap_or(Some(0))?);
    let rest: Vec<_> = parts.collect();
    (rest.len() <= 1 && rest.iter().all(Option::is_some)).then_some((major, minor))
}

/// CPython 3.8 and later.
pub fn python_version(value: &str) -> Result<(), Complaint> {
    let hint = Some("write it as \"3.11\"");
    match value.parse::<PythonVersion>() {
        Err(message) => complain(message, hint),
        Ok(version) if version.major != 3 || version.minor < 8 => {
            complain(format!("Python {version} is not supported: expected 3.8 or later"), None)
        }
        Ok(_) => Ok(()),
    }
}

/// A Debian package name (policy 5.6.1), with `:ARCH` or `=VERSION` if need be.
pub fn package(value: &str) -> Result<(), Complaint> {
    let (name, version) = value.split_once('=').map_or((value, None), |(name, version)| (name, Some(version)));
    let (name, architecture) = name.split_once(':').map_or((name, None), |(name, arch)| (name, Some(arch)));
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = name.len() >= 2
        && name.starts_with(lower)
        && name.chars().all(|c| lower(c) || matches!(c, '+' | '-' | '.'))
        && architecture.is_none_or(|arch| !arch.is_empty() && arch.chars().all(lower))
        && version.is_none_or(|version| {
            version.starts_with(|c: char| c.is_ascii_digit())
                && version.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | '~' | ':'))
        });
    match good {
        true => Ok(()),
        false => complain(
            format!("`{}` is not a package name", value.escape_debug()),
            Some("write the name as apt knows it, with `=VERSION` to pin it"),
        ),
    }
}

/// A kind of files that packages bring and images usually do without.
pub fn keep(value: &str) -> Result<(), Complaint> {
    let language = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '@' | '.' | '-');
    let locale = value.strip_prefix("locale:").is_some_and(|name| !name.is_empty() && name.chars().all(language));
    match locale || ["docs", "man", "info", "locales", "all"].contains(&value) {
        true => Ok(()),
        false => complain(
            format!("`{}` is not a kind of files to keep", value.escape_debug()),
            Some("choose from docs, man, info, locales, locale:LANGUAGE and all"),
        ),
    }
}

/// The base URL of an archive of packages.
pub fn mirror(value: &str) -> Result<(), Complaint> {
    let refuse = |why: &str, hint| complain(format!("`{}` is not an archive: {why}", value.escape_debug()), hint);
    let Ok(url) = url::Url::parse(value) else {
        return refuse("it is not a URL", Some("write the URL of the folder that has `dists` and `pool`"));
    };
    if !matches!(url.scheme(), "http" | "https") {
        return refuse("it is neither http nor https", None);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return complain(
            "the archive's URL has a user name or a password".into(),
            Some("put them into apt's auth.conf"),
        );
    }
    Ok(())
}

/// A port and its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// 1 to 65535.
    pub number: u16,
    /// Over what.
    pub protocol: Protocol,
}

/// What a port is reached by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP, the default.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl std::fmt::Display for Port {
    /// `8080/tcp`, the form of the image configuration.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        write!(f, "{}/{protocol}", self.number)
    }
}

/// `8080` or `8080/udp`.
pub fn port(value: &str) -> Result<Port, Complaint> {
    let (number, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => {
            return complain(
                format!("`{}` is not a port: its protocol is not tcp, udp or sctp", value.escape_debug()),
                None,
            );
        }
    };
    match number.parse::<u16>() {
        Ok(number) if number > 0 => Ok(Port { number, protocol }),
        _ => complain(
            format!("`{}` is not a port: expected 1 to 65535", value.escape_debug()),
            Some("write 8080, or \"8080/udp\""),
        ),
    }
}

/// `500MB` (decimal), `500MiB` (binary), or bytes.
pub fn size(value: &str) -> Result<u64, Complaint> {
    let refuse = |why: &str| {
        complain(
            format!("`{}` is not a size: {why}", value.escape_debug()),
            Some("write it as \"500MB\" (500 000 000 bytes) or \"500MiB\" (524 288 000 bytes)"),
        )
    };
    if !value.starts_with(|c: char| c.is_ascii_digit()) {
        return refuse("it does not begin with a digit");
    }
    match value.parse::<bytesize::ByteSize>() {
        Ok(size) if size.as_u64() == 0 => refuse("nothing fits into it"),
        Ok(size) if size.as_u64() > i64::MAX as u64 => refuse("it is too large"),
        Ok(size) => Ok(size.as_u64()),
        Err(_) => refuse("it is not a number and a unit"),
    }
}

/// `30s`, `1m 30s`, `500ms`; in nanoseconds, as docker's health check wants it.
pub fn duration(value: &str) -> Result<u64, Complaint> {
    let refuse = |why: &str| {
        complain(
            format!("`{}` is not a duration: {why}", value.escape_debug()),
            Some("write it as \"30s\", \"500ms\" or \"1m 30s\""),
        )
    };
    let Ok(duration) = humantime::parse_duration(value) else {
        return refuse("it is not a number and a unit");
    };
    if !duration.is_zero() && duration < Duration::from_millis(1) {
        return refuse("docker takes nothing below one millisecond");
    }
    match u64::try_from(duration.as_nanos()) {
        Ok(nanoseconds) if nanoseconds <= i64::MAX as u64 => Ok(nanoseconds),
        _ => refuse("it is too long"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rule: Rule, good: &[&str], bad: &[&str]) {
        good.iter().for_each(|text| assert_eq!(rule(text), Ok(()), "{text:?}"));
        bad.iter().for_each(|text| assert!(rule(text).is_err(), "{text:?}"));
    }

    #[test]
    fn every_grammar_has_its_good_and_bad_words() {
        table(
            image_name,
            &["a", "a/b", "my-app", "a__b", "a.b", "a---b", "ghcr.example/x"],
            &["", "A", "a:1", "a@b", "-a", "a-", "a..b", "a//b", "/a", "a___b", "a b", "é"],
        );
        table(variant_name, &["cpu", "3.11", "a-b_c"], &["", "all", "CPU", "a/b", "a..b", "-a", "a b"]);
        table(env_name, &["A", "_a1"], &["", "1A", "A-B", "A=B", "A B"]);
        table(user_name, &["app", "_x-1"], &["", "root", "1a", "App", "a.b", "a234567890123456789012345678901234"]);
        table(
            image_path,
            &["/app", "/opt/venv"],
            &["", "app", "/", "//a", "/a/", "/a/../b", "/a/./b", "/./a", "/a\nb"],
        );
        table(source_path, &["src", ".", "a/b", "./src"], &["", "/src", "../src", "a/../../b"]);
        table(project_path, &["../uv.lock", "x"], &["", "/x", "a\0"]);
        table(python_version, &["3.8", "3.13", "3.11.7"], &["3", "3.7", "2.7", "py3", "3.x", "3.11.7.1"]);
        table(keep, &["docs", "all", "locale:de", "locale:pt_BR"], &["", "doc", "locale:", "locale:a/b"]);
        table(
            mirror,
            &["https://mirror.example/debian"],
            &["", "mirror.example", "file:///x", "https://u:p@mirror.example/"],
        );
        table(
            package,
            &["python3", "g++", "libc6:amd64", "curl=7.88.1-10+deb12u5"],
            &["", "a", "Python3", "a b", "-x", "x=", "x:", "curl=>1"],
        );
        table(base, &["ubuntu:22.04", "oci:dir"], &["", " x", "a b"]);
        table(label_key, &["org.x.y", "a"], &["", "a b"]);
    }

    #[test]
    fn numbers_with_units_are_exact() {
        assert_eq!(size("500MB"), Ok(500_000_000));
        assert_eq!(size("500MiB"), Ok(524_288_000));
        assert_eq!(size("1.5 GB"), Ok(1_500_000_000));
        assert_eq!(size("123"), Ok(123));
        assert!(["", "MB", "0", "-1", "5 bananas", "99999999999GB"].iter().all(|text| size(text).is_err()));
        assert_eq!(duration("1m 30s"), Ok(90_000_000_000));
        assert_eq!(duration("0s"), Ok(0));
        assert!(["", "30", "s", "1us", "9999999 years"].iter().all(|text| duration(text).is_err()));
        assert_eq!(port("53/udp").map(|port| port.to_string()), Ok("53/udp".into()));
        assert!(["0", "65536", "x", "80/http", "-1", ""].iter().all(|text| port(text).is_err()));
    }
}
