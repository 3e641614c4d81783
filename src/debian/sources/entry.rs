//! The entries of apt's source files (sources.list(5)), one-line and deb822, before URLs and keys are looked up.

use super::SourcesError;
use crate::debian::apt_conf::flag;
use crate::debian::{Paragraph, paragraphs};

/// One line, or one paragraph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub origin: String,
    pub archives: Vec<String>,
    pub suites: Vec<String>,
    pub components: Vec<String>,
    pub architectures: Option<Vec<String>>,
    pub signed_by: Option<String>,
    pub trusted: bool,
    pub check_valid_until: Option<bool>,
}

/// The `deb` lines of a `.list` file.
pub(super) fn one_line(file: &str, text: &str) -> Vec<Result<Entry, SourcesError>> {
    let lines = text.lines().enumerate();
    lines.filter_map(|(number, line)| one(&format!("{file}:{}", number + 1), line).transpose()).collect()
}

fn one(origin: &str, line: &str) -> Result<Option<Entry>, SourcesError> {
    let refuse = |reason: &str| SourcesError::Syntax { origin: origin.to_string(), reason: reason.into() };
    let line = match line.find(" #").or_else(|| line.find("\t#")) {
        Some(comment) => line.get(..comment).unwrap_or_default(),
        None => line,
    };
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (kind, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match kind {
        "deb" => {}
        "deb-src" => return Ok(None),
        _ => return Err(refuse("it begins neither with `deb` nor with `deb-src`")),
    }
    let (options, rest) = match rest.trim_start().strip_prefix('[') {
        Some(after) => after.split_once(']').ok_or_else(|| refuse("its options have no end"))?,
        None => ("", rest.trim_start()),
    };
    let mut entry = Entry { origin: origin.to_string(), ..Entry::default() };
    for option in options.split_whitespace() {
        let (name, value) = option.split_once('=').ok_or_else(|| refuse("one of its options has no value"))?;
        match name {
            "arch" => entry.architectures = Some(value.split(',').map(str::to_string).collect()),
            "signed-by" => entry.signed_by = Some(value.replace(',', "\n")),
            "trusted" => entry.trusted = flag(value) == Some(true),
            "check-valid-until" => entry.check_valid_until = flag(value),
            _ => {}
        }
    }
    if rest.trim_start().starts_with("cdrom:") {
        return Ok(None);
    }
    let mut words = rest.split_whitespace().map(str::to_string);
    entry.archives.extend(words.next());
    entry.suites.extend(words.next());
    entry.components.extend(words);
    checked(entry).map(Some)
}

/// The paragraphs of a `.sources` file.
pub(super) fn deb822(file: &str, text: &str) -> Vec<Result<Entry, SourcesError>> {
    let mut entries = Vec::new();
    let mut line = 1;
    let mut rest = text;
    for paragraph in paragraphs(text) {
        // Where it stands: what comes before it ends lines.
        let at = (paragraph.as_ptr() as usize).saturating_sub(rest.as_ptr() as usize);
        line += rest.get(..at).unwrap_or_default().matches('\n').count();
        rest = rest.get(at..).unwrap_or_default();
        let comments = paragraph.lines().take_while(|line| line.starts_with('#')).count();
        entries.extend(of_paragraph(&format!("{file}:{}", line + comments), paragraph).transpose());
    }
    entries
}

fn of_paragraph(origin: &str, text: &str) -> Result<Option<Entry>, SourcesError> {
    let paragraph = Paragraph::parse(text);
    let words = |name: &str| -> Vec<String> {
        paragraph.get(name).unwrap_or_default().split_whitespace().map(str::to_string).collect()
    };
    let asked = |name: &str| paragraph.get(name).and_then(flag);
    if paragraph.is_empty() || asked("Enabled") == Some(false) || !words("Types").iter().any(|kind| kind == "deb") {
        return Ok(None);
    }
    let mut archives = words("URIs");
    let before = archives.len();
    archives.retain(|archive| !archive.starts_with("cdrom:"));
    if archives.is_empty() && before > 0 {
        return Ok(None);
    }
    let architectures = words("Architectures");
    let entry = Entry {
        origin: origin.to_string(),
        archives,
        suites: words("Suites"),
        components: words("Components"),
        architectures: (!architectures.is_empty()).then_some(architectures),
        signed_by: paragraph.get("Signed-By").filter(|text| !text.trim().is_empty()).map(str::to_string),
        trusted: asked("Trusted") == Some(true),
        check_valid_until: asked("Check-Valid-Until"),
    };
    checked(entry).map(Some)
}

fn checked(entry: Entry) -> Result<Entry, SourcesError> {
    let refuse = |reason: String| SourcesError::Syntax { origin: entry.origin.clone(), reason };
    if entry.archives.is_empty() {
        return Err(refuse("it has no URI".into()));
    }
    if entry.suites.is_empty() {
        return Err(refuse("it has no suite".into()));
    }
    for suite in &entry.suites {
        let odd = |c: char| c.is_control() || c.is_whitespace();
        if suite.split('/').any(|part| part == "..") || suite.contains(odd) {
            return Err(refuse("its suite is no path below the archive".into()));
        }
        if suite.ends_with('/') != entry.components.is_empty() {
            let suite: String = suite.escape_debug().take(60).collect();
            return Err(refuse(match entry.components.is_empty() {
                true => format!("the suite `{suite}` has no component"),
                false => format!("the suite `{suite}` ends in a slash and has components"),
            }));
        }
    }
    for component in &entry.components {
        if component.split('/').any(|part| part == "..") || component.contains(char::is_control) {
            return Err(refuse("one of its components is no name".into()));
        }
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let text = "# deb http://x.example/ a b\n\ndeb http://a.example/debian bookworm main contrib # x\n\
                    deb-src http://a.example/debian bookworm main\ndeb cdrom:[Debian 12 \"x y\"]/ bookworm main\n\
                    deb [ arch=amd64,arm64 signed-by=/k/a.gpg,ABCD check-valid-until=no trusted=yes x=y ] \
                    https://b.example ./\n";
        let entries: Vec<Entry> = one_line("a.list", text).into_iter().map(Result::unwrap).collect();
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0].origin.as_str(), entries[0].components.join(" ")), ("a.list:3", "main contrib".into()));
        let second = &entries[1];
        assert_eq!(second.architectures.as_deref(), Some(&["amd64".to_string(), "arm64".to_string()][..]));
        assert_eq!(second.signed_by.as_deref(), Some("/k/a.gpg\nABCD"));
        assert_eq!(
            (second.check_valid_until, second.trusted, second.suites.join(" ")),
            (Some(false), true, "./".into())
        );
    }

    #[test]
    fn bad_lines_are_told() {
        for (line, reason) in [
            ("rpm http://a.example/ x y", "it begins neither with `deb` nor with `deb-src`"),
            ("deb [arch=amd64 http://a.example/ x y", "its options have no end"),
            ("deb [arch] http://a.example/ x y", "one of its options has no value"),
            ("deb", "it has no URI"),
            ("deb http://a.example/", "it has no suite"),
            ("deb http://a.example/ x", "the suite `x` has no component"),
            ("deb http://a.example/ x/ main", "the suite `x/` ends in a slash and has components"),
            ("deb http://a.example/ ../x main", "its suite is no path below the archive"),
            ("deb http://a.example/ x ../main", "one of its components is no name"),
        ] {
            let error = one_line("f", line).remove(0).unwrap_err();
            assert_eq!(error.to_string(), format!("`f:1` is not a source of packages: {reason}"));
        }
    }

    #[test]
    fn paragraphs_are_read() {
        let text = "# top\n\nTypes: deb deb-src\n# between\nURIs: http://a.example/ http://b.example/\nSuites: s s-updates\n\
                    Components: main\nArchitectures: amd64\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n\n\
                    Types: deb\nEnabled: no\nURIs: x\n\nTypes: deb-src\nURIs: x\n\n# c\nTypes: deb\nURIs: http://c.example\n\
                    Suites: f/\nTrusted: yes\n";
        let entries: Vec<Entry> = deb822("a.sources", text).into_iter().map(Result::unwrap).collect();
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0].archives.len(), entries[0].suites.len()), (2, 2));
        assert_eq!(entries[0].signed_by.as_deref(), Some("\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc"));
        assert_eq!((entries[0].origin.as_str(), entries[1].origin.as_str()), ("a.sources:3", "a.sources:22"));
        assert!(entries[1].trusted && entries[1].components.is_empty());
    }
}
