//! The control tar of a .deb: the control file, maintainer scripts, conffiles, triggers, and what else describes it.

use std::collections::BTreeMap;

use super::data_stream::DataStream;
use super::{DebError, Package, Paragraph};
use crate::layer::read::{MemberKind, Members};

/// The longest control tar of a .deb, in bytes.
pub const CONTROL_LIMIT: u64 = 64 << 20;
/// The most files in one.
const FILES_LIMIT: usize = 200;
/// Scripts that dpkg and debconf call.
pub(super) const SCRIPTS: [&str; 5] = ["preinst", "postinst", "prerm", "postrm", "config"];

/// What a control tar says.
pub(super) struct Control {
    pub package: Package,
    pub control: Paragraph,
    pub scripts: BTreeMap<String, String>,
    pub conffiles: Vec<String>,
    pub triggers: Option<String>,
    pub others: BTreeMap<String, Vec<u8>>,
}

impl Control {
    /// What the files of a control tar say.
    pub fn of(mut files: BTreeMap<String, Vec<u8>>, package: &str) -> Result<Control, DebError> {
        let text = |name: &str, bytes: Vec<u8>| {
            String::from_utf8(bytes).map_err(|_| DebError::damaged(package, format!("`{name}` is not UTF-8 text")))
        };
        let control = files.remove("control").ok_or_else(|| DebError::damaged(package, "it has no control file"))?;
        let (control, described) = describe(&text("control", control)?, package)?;
        let triggers = files.remove("triggers").map(|bytes| text("triggers", bytes)).transpose()?;
        let conffiles = match files.get("conffiles") {
            Some(bytes) => conffiles(&text("conffiles", bytes.clone())?, package)?,
            None => Vec::new(),
        };
        let mut scripts = BTreeMap::new();
        for name in SCRIPTS {
            // A few essential packages have programs there.
            match files.remove(name).map(String::from_utf8) {
                Some(Ok(script)) => drop(scripts.insert(name.to_string(), script)),
                Some(Err(program)) => drop(files.insert(name.to_string(), program.into_bytes())),
                None => {}
            }
        }
        Ok(Control { package: described, control, scripts, conffiles, triggers, others: files })
    }
}

/// All files, by name.
pub(super) fn files(stream: DataStream<'_>, package: &str) -> Result<BTreeMap<String, Vec<u8>>, DebError> {
    let mut members = Members::new(stream);
    let mut files = BTreeMap::new();
    while let Some(member) = members.next_member()? {
        let Some(path) = member.path else { continue };
        let damaged = |what: &str| DebError::damaged(package, format!("`{path}` in its control tar {what}"));
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
        if member.kind != MemberKind::File {
            return Err(damaged("is not a file"));
        }
        if member.absolute || member.lossy || !path.as_str().chars().all(fits) {
            return Err(damaged("has a path that no control file has"));
        }
        // The whole tar has a limit; so has what a size may promise.
        let bytes = members.read_body(CONTROL_LIMIT)?;
        if files.insert(path.to_string(), bytes).is_some() {
            return Err(damaged("comes twice"));
        }
        if files.len() > FILES_LIMIT {
            return Err(damaged("is one file too many"));
        }
    }
    Ok(files)
}

/// The one paragraph of the control file, and the package that it describes.
fn describe(text: &str, package: &str) -> Result<(Paragraph, Package), DebError> {
    let mut paragraphs = super::paragraphs(text);
    let control = paragraphs.next().map(Paragraph::parse).unwrap_or_default();
    if paragraphs.next().is_some() {
        return Err(DebError::damaged(package, "its control file has more than one paragraph"));
    }
    let described = Package::parse(&control).map_err(|source| DebError::Control { package: package.into(), source })?;
    let fits = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c))
    };
    // Both become parts of file names.
    for (field, value) in [("name", &described.name), ("architecture", &described.architecture)] {
        if !fits(value) || value.len() > 200 {
            return Err(DebError::damaged(package, format!("its control file has the {field} `{value}`")));
        }
    }
    Ok((control, described))
}

/// The paths, without those that are to be removed on an upgrade: the package does not ship them (deb-conffiles(5)).
fn conffiles(text: &str, package: &str) -> Result<Vec<String>, DebError> {
    let mut paths = Vec::new();
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        if line.starts_with('/') {
            paths.push(line.to_string());
        } else if !line.starts_with("remove-on-upgrade ") {
            return Err(DebError::damaged(package, format!("its list of conffiles has the line `{line}`")));
        }
    }
    Ok(paths)
}
