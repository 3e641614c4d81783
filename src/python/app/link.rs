//! Which links of an application may go into its layer: those that stay in it.

use std::path::Path;

use super::error::AppError;

/// The target as text, if it leads from `path` (relative to the source folder) to a place in the source folder.
///
/// `..` is allowed at the beginning only. There it leads through real folders, because the walk follows no link;
/// after a name it might lead back through another link, to anywhere.
pub(super) fn check(path: &str, shown: &str, target: &Path) -> Result<String, AppError> {
    let refuse = |reason| AppError::Link {
        path: shown.to_string(),
        target: target.to_string_lossy().escape_debug().to_string(),
        reason,
    };
    let text = target.to_str().ok_or_else(|| refuse("is not UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(refuse("has control characters"));
    }
    if text.starts_with('/') {
        return Err(refuse("is absolute: it would lead to another place in the image"));
    }
    resolve(path, text).map(|_| text.to_string()).map_err(refuse)
}

/// Where a link at `path` leads, relative to the source folder; the folder itself is the empty path.
pub(super) fn resolve(path: &str, target: &str) -> Result<String, &'static str> {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    let mut named = false;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if named => return Err("goes up again after a name: it may lead anywhere"),
            ".." => {
                parts.pop().ok_or("leads out of the source folder")?;
            }
            name => {
                named = true;
                parts.push(name);
            }
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_in_the_folder() {
        for (path, target, expected) in [
            ("a", "b", Ok("b")),
            ("x/a", "b", Ok("x/b")),
            ("x/a", "../b/./c", Ok("b/c")),
            ("x/y/a", "../..", Ok("")),
            ("a", "..", Err("leads out of the source folder")),
            ("x/a", "../../b", Err("leads out of the source folder")),
            ("a", "b/../c", Err("goes up again after a name: it may lead anywhere")),
        ] {
            assert_eq!(resolve(path, target), expected.map(str::to_string), "{path} -> {target}");
        }
        let error = check("x/a", "src/x/a", Path::new("/etc/passwd")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the link `src/x/a` to `/etc/passwd` is absolute: it would lead to another place in the image"
        );
        assert!(check("a", "a", Path::new("b\u{1b}[2J")).is_err());
    }
}
