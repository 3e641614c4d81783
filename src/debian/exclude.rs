//! What of a package does not go into an image: documentation and translations that no service reads. Licences stay.

use std::collections::BTreeSet;

use super::install_error::InstallError;
use crate::layer::TreePath;

/// A reason to leave something out, which `[os] keep` can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Docs,
    Man,
    Info,
    Locales,
    /// What only packagers read.
    Packaging,
}

/// Folders below `/usr/share`, and what they are.
const FOLDERS: [(&str, Part); 13] = [
    ("bug", Part::Packaging),
    ("doc", Part::Docs),
    ("doc-base", Part::Docs),
    ("groff", Part::Man),
    ("gtk-doc", Part::Docs),
    ("help", Part::Docs),
    ("info", Part::Info),
    ("linda", Part::Packaging),
    ("lintian", Part::Packaging),
    ("locale", Part::Locales),
    ("man", Part::Man),
    ("omf", Part::Docs),
    ("gnome/help", Part::Docs),
];

/// What is kept of what is left out by default: `[os] keep`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    all: bool,
    parts: BTreeSet<Part>,
    locales: BTreeSet<String>,
}

impl Keep {
    /// From the values of `keep`: "docs", "man", "info", "locales", "locale:de", "all".
    pub fn parse<S: AsRef<str>>(values: &[S]) -> Result<Keep, InstallError> {
        let mut keep = Keep::default();
        for value in values.iter().map(AsRef::as_ref) {
            match value {
                "all" => keep.all = true,
                "docs" => drop(keep.parts.insert(Part::Docs)),
                "man" => drop(keep.parts.insert(Part::Man)),
                "info" => drop(keep.parts.insert(Part::Info)),
                "locales" => drop(keep.parts.insert(Part::Locales)),
                other => match other.strip_prefix("locale:").filter(|name| is_locale(name)) {
                    Some(name) => drop(keep.locales.insert(name.to_string())),
                    None => return Err(InstallError::Keep { value: other.escape_debug().take(100).collect() }),
                },
            }
        }
        Ok(keep)
    }

    /// Whether this path of a package is left out. Folders that only hold such paths are left out with them, which
    /// this does not say.
    pub fn leaves_out(&self, path: &TreePath) -> bool {
        let Some(share) = path.as_str().strip_prefix("usr/share/").filter(|_| !self.all) else { return false };
        let found = FOLDERS.iter().find_map(|(folder, part)| {
            let rest = share.strip_prefix(folder)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| (*part, rest.trim_start_matches('/')))
        });
        match found {
            None => false,
            Some((part, _)) if self.parts.contains(&part) => false,
            Some((Part::Docs, rest)) if share.starts_with("doc/") => {
                // The folder of a package, which may be a link to that of another one, and its licence.
                rest.contains('/') && path.name() != "copyright"
            }
            Some((Part::Docs, "")) if share == "doc" => false,
            Some((Part::Locales, rest)) => !(rest == "locale.alias" || self.has_locale(rest)),
            Some(_) => true,
        }
    }

    /// Whether the first component is a locale that is kept: `de` keeps `de`, `de_AT`, `de.UTF-8` and `de@euro`.
    fn has_locale(&self, rest: &str) -> bool {
        let name = rest.split('/').next().unwrap_or_default();
        self.locales.iter().any(|kept| {
            name.strip_prefix(kept.as_str()).is_some_and(|more| more.is_empty() || more.starts_with(['_', '.', '@']))
        })
    }
}

fn is_locale(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.@-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Class, Explain};

    #[test]
    fn documents_are_left_out_and_licences_stay() {
        let out = |keep: &[&str], path: &str| Keep::parse(keep).unwrap().leaves_out(&TreePath::new(path).unwrap());
        for (path, kept_by) in [
            ("usr/share/doc/a/changelog.gz", "docs"),
            ("usr/share/doc/a/copyright/more", "docs"),
            ("usr/share/doc-base/a", "docs"),
            ("usr/share/gtk-doc/html/x", "docs"),
            ("usr/share/help/C/x", "docs"),
            ("usr/share/man", "man"),
            ("usr/share/man/man1/a.1.gz", "man"),
            ("usr/share/groff/x", "man"),
            ("usr/share/info/a.info.gz", "info"),
            ("usr/share/lintian/overrides/a", "all"),
            ("usr/share/linda/x", "all"),
            ("usr/share/bug/a/script", "all"),
            ("usr/share/locale/de/LC_MESSAGES/a.mo", "locales"),
            ("usr/share/locale/de_AT/LC_MESSAGES/a.mo", "locale:de"),
            ("usr/share/locale/sr@latin/x", "locale:sr"),
        ] {
            assert!(out(&[], path), "{path}");
            for keep in ["docs", "man", "info", "locales", "locale:de", "locale:sr", "all"] {
                let kept = keep == kept_by
                    || keep == "all"
                    || (path.contains("/de") && keep.starts_with("locale") && !keep.ends_with("sr"))
                    || (path.contains("/sr@") && keep == "locales");
                assert_eq!(out(&[keep], path), !kept, "{path} {keep}");
            }
        }
        for path in [
            "usr/share/doc",
            "usr/share/doc/a",
            "usr/share/doc/a/copyright",
            "usr/share/doc/a/b/copyright",
            "usr/share/locale/locale.alias",
            "usr/share/mandatory/x",
            "usr/share/manual",
            "usr/share/documents/x",
            "usr/share/zoneinfo/UTC",
            "usr/local/share/man/x",
            "usr/lib/locale/C.utf8/LC_CTYPE",
            "etc/bug/x",
        ] {
            assert!(!out(&[], path), "{path}");
        }
        assert!(out(&["locale:d"], "usr/share/locale/de/x") && out(&["locale:de_AT"], "usr/share/locale/de/x"));
    }

    #[test]
    fn unknown_values_are_named() {
        for bad in ["doc", "", "locale:", "locale:../x", "ALL"] {
            let error = Keep::parse(&[bad]).unwrap_err();
            assert_eq!(error.to_string(), format!("`{bad}` is nothing that `keep` knows"));
            assert_eq!(error.class(), Class::Usage);
            assert!(error.hint().unwrap().contains("\"docs\""));
        }
    }
}
