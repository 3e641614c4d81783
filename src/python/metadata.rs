//! METADATA and WHEEL: headers as in mail (PEP 566, PEP 427).

use super::Error;
use super::names::{WheelName, normalize, same_version, shown};
use super::tags::Tag;

/// The largest METADATA or WHEEL file, in bytes.
pub const METADATA_LIMIT: u64 = 16 << 20;

/// The headers of a document, in order; what follows the first empty line is left out.
#[derive(Clone, Debug)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// Parses headers; a line that begins with white space continues the one before it.
    pub fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in text.lines() {
            if line.is_empty() {
                break;
            }
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = headers.last_mut() {
                    value.push('\n');
                    value.push_str(line.trim());
                }
                continue;
            }
            if let Some((name, value)) = line.split_once(':') {
                headers.push((name.trim().to_ascii_lowercase(), value.trim().to_string()));
            }
        }
        Headers(headers)
    }

    /// Every value of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a header that comes exactly once.
    pub fn one(&self, name: &str) -> Option<&str> {
        match self.all(name)[..] {
            [value] => Some(value),
            _ => None,
        }
    }
}

/// Compares METADATA and WHEEL with the file name.
pub fn agree(file: &str, name: &WheelName, metadata: &Headers, wheel: &Headers) -> Result<(), Error> {
    let refuse = |reason: String| Error::Wheel { file: shown(file), reason };
    let written = metadata.one("Name").ok_or_else(|| refuse("METADATA has not exactly one Name".into()))?;
    if normalize(written) != name.name {
        return Err(refuse(format!("METADATA names `{}`, the file name `{}`", shown(written), name.name)));
    }
    let version = metadata.one("Version").ok_or_else(|| refuse("METADATA has not exactly one Version".into()))?;
    if !same_version(version, &name.version) {
        return Err(refuse(format!("METADATA has version `{}`, the file name `{}`", shown(version), name.version)));
    }
    let format = wheel.one("Wheel-Version").unwrap_or_default();
    if !format.starts_with("1.") {
        return Err(refuse(format!("it has Wheel-Version `{}`, expected 1.0", shown(format))));
    }
    if !wheel
        .one("Root-Is-Purelib")
        .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "true" | "false"))
    {
        return Err(refuse("WHEEL does not say whether Root-Is-Purelib".into()));
    }
    let tags = tags(wheel).ok_or_else(|| refuse("WHEEL has a malformed Tag".into()))?;
    // Not equality: tools that rename a wheel for an older platform policy often leave one of the tags as it was.
    if !tags.iter().any(|tag| name.tags.iter().any(|own| agrees(tag, own))) {
        let tags: Vec<String> = tags.iter().map(Tag::to_string).collect();
        return Err(refuse(format!(
            "WHEEL has the tags `{}`, none of which is in the file name",
            shown(&tags.join(" "))
        )));
    }
    Ok(())
}

/// Whether a tag in WHEEL is one of the file name. Many wheels are renamed to the platform that they are for, and what
/// is in them is not changed (torch: from `linux_x86_64`, playwright: from `any`): so the file name decides, as with pip
/// and uv, and only another Python, another ABI or another processor is refused.
fn agrees(tag: &Tag, own: &Tag) -> bool {
    let processors = || processor(&tag.platform).zip(processor(&own.platform));
    let platform =
        || tag.platform == own.platform || tag.platform == "any" || processors().is_some_and(|(a, b)| a == b);
    tag.python == own.python && tag.abi == own.abi && platform()
}

/// "x86_64" of `linux_x86_64`, `manylinux2014_x86_64` and `musllinux_1_2_x86_64`.
fn processor(platform: &str) -> Option<&str> {
    let rest = ["manylinux", "musllinux", "linux"].iter().find_map(|policy| platform.strip_prefix(policy))?;
    Some(rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_'))
}

fn tags(wheel: &Headers) -> Option<Vec<Tag>> {
    let mut tags = Vec::new();
    for text in wheel.all("Tag") {
        let parts: Vec<&str> = text.split('-').collect();
        let [python, abi, platform] = parts[..] else { return None };
        tags.extend(Tag::expand(python, abi, platform));
    }
    Some(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str =
        "Metadata-Version: 2.1\nName: Foo.Bar\nVersion: 1.0.0\nSummary: a\n  Version: 3\n\nVersion: 2\n";
    const WHEEL: &str =
        "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py2-none-any\nTag: py3-none-any\n";

    fn check(metadata: &str, wheel: &str) -> Result<(), Error> {
        let file = "foo_bar-1.0-py3-none-any.whl";
        let (metadata, wheel) = (Headers::parse(metadata.as_bytes()), Headers::parse(wheel.as_bytes()));
        agree(file, &WheelName::parse(file).unwrap(), &metadata, &wheel)
    }

    #[test]
    fn a_wheel_may_be_renamed_for_a_platform_but_not_for_another_processor() {
        let check = |file: &str, tag: &str| {
            let wheel = format!("Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n");
            let metadata = Headers::parse(METADATA.as_bytes());
            agree(file, &WheelName::parse(file).unwrap(), &metadata, &Headers::parse(wheel.as_bytes()))
        };
        let many = "foo_bar-1.0-cp311-cp311-manylinux1_x86_64.whl";
        check(many, "cp311-cp311-linux_x86_64").unwrap();
        check("foo_bar-1.0-cp311-cp311-manylinux_2_17_aarch64.whl", "cp311-cp311-linux_aarch64").unwrap();
        check(many, "cp311-cp311-manylinux_2_28_x86_64").unwrap();
        check("foo_bar-1.0-py3-none-manylinux1_x86_64.whl", "py3-none-any").unwrap();
        for tag in ["cp311-cp311-linux_aarch64", "cp310-cp310-linux_x86_64", "cp311-cp311-win_amd64", "cp311-abi3-any"]
        {
            assert!(check(many, tag).is_err(), "{tag}");
        }
    }

    /// Row 75 of the catalogue.
    #[test]
    fn file_name_metadata_and_wheel_agree() {
        check(METADATA, WHEEL).unwrap();
        let wheel = |from: &str, to: &str| (METADATA.to_string(), WHEEL.replace(from, to));
        let metadata = |from: &str, to: &str| (METADATA.replace(from, to), WHEEL.to_string());
        for ((metadata, wheel), expected) in [
            (metadata("Foo.Bar", "other"), "METADATA names `other`, the file name `foo-bar`"),
            (metadata("1.0.0", "1.1"), "METADATA has version `1.1`, the file name `1.0`"),
            (metadata("Name: Foo.Bar", "Name: foo-bar\nName: x"), "not exactly one Name"),
            (metadata("Version: 1.0.0\n", ""), "not exactly one Version"),
            (wheel("Wheel-Version: 1.0", "Wheel-Version: 2.0"), "Wheel-Version `2.0`"),
            (wheel("Wheel-Version: 1.0\n", ""), "Wheel-Version ``"),
            (wheel("Root-Is-Purelib: true\n", ""), "does not say whether Root-Is-Purelib"),
            (wheel("py3-none-any", "py3-none-x"), "none of which is in the file name"),
            (wheel("py3-none-any", "py3"), "malformed Tag"),
        ] {
            let error = check(&metadata, &wheel).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
