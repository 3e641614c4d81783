//! tmpfiles.d(5): the folders, files and links that packages want to be there when they start.

use super::accounts::Accounts;
use super::site::Site;
use super::sysusers::words;
use crate::error::Result;

const FOLDER: &str = "/usr/lib/tmpfiles.d";
/// Where something may be made; /tmp and the kernel's own folders are not part of an image.
const PLACES: [&str; 6] = ["/var/", "/run/", "/etc/", "/srv/", "/opt/", "/home/"];

/// Makes what the layer's own files of this kind ask for. Returns the lines that name users that are not there.
pub(super) fn apply(site: &mut Site<'_>, accounts: &Accounts) -> Result<Vec<String>> {
    let mut strangers = Vec::new();
    let mut files: Vec<_> = site.root.list(FOLDER).into_keys().collect();
    files.retain(|file| file.name().ends_with(".conf") && site.root.own(file).is_some());
    for file in files {
        let text = site.text(&format!("/{file}"))?.unwrap_or_default();
        for line in text.lines() {
            if !one(site, accounts, &words(line))? {
                strangers.push(format!("`{}` in `/{file}`", crate::text::escape(line.trim())));
            }
        }
    }
    Ok(strangers)
}

/// `false`: its owner is not there.
fn one(site: &mut Site<'_>, accounts: &Accounts, line: &[String]) -> Result<bool> {
    let field = |n: usize| line.get(n).map(String::as_str).filter(|field| *field != "-");
    let (Some(kind), Some(path)) = (field(0), field(1)) else { return Ok(true) };
    let path = path.trim_end_matches('/').replace("/var/run/", "/run/");
    // Specifiers, patterns, and what is only for the start of a system.
    let literal = !path.contains(['%', '*', '?', '[']) && !kind.contains('!') && !path.contains("/../");
    if !literal || !PLACES.iter().any(|place| path.starts_with(place)) {
        return Ok(true);
    }
    let mode = field(2).and_then(|mode| u32::from_str_radix(mode.trim_start_matches(['~', ':']), 8).ok());
    let id = |name: Option<&str>, find: &dyn Fn(&str) -> Option<u32>| match name {
        Some(name) => find(name.trim_start_matches(':')),
        None => Some(0),
    };
    let (Some(uid), Some(gid)) = (id(field(3), &|user| accounts.uid(user)), id(field(4), &|group| accounts.gid(group)))
    else {
        return Ok(false);
    };
    match kind.trim_end_matches(['+', '-', '=', '^', '~', '$']) {
        "d" | "D" | "v" | "q" | "Q" => {
            let mode = mode.unwrap_or(0o755) & 0o7777;
            if !site.folder(&path, mode, uid, gid)?
                && let Some(real) = site.root.resolve(&path).filter(|real| site.root.own(real).is_some())
            {
                site.change(&real, |entry| {
                    entry.mode = if field(2).is_some() { mode } else { entry.mode };
                    entry.uid = if field(3).is_some() { uid } else { entry.uid };
                    entry.gid = if field(4).is_some() { gid } else { entry.gid };
                })?;
            }
        }
        "f" | "F" => {
            let text = line.get(6..).unwrap_or_default().join(" ");
            // Escapes and specifiers need more than this.
            if !text.contains(['\\', '%']) {
                let text = if text == "-" { "" } else { &text };
                site.new_file_as(&path, text, mode.unwrap_or(0o644) & 0o7777, uid, gid)?;
            }
        }
        "L" => {
            let target = field(6).map_or_else(|| format!("/usr/share/factory{path}"), str::to_string);
            if !target.contains('%') && (target.starts_with("..") || site.root.exists(&target) || field(6).is_some()) {
                site.new_link(&path, &target)?;
            }
        }
        _ => {}
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::files::shown;
    use super::*;
    use crate::debian::Root;
    use crate::image::Rootfs;
    use crate::layer::{Entry, TreePath};

    #[test]
    fn folders_files_and_links() {
        let mut root = Root::new(Arc::new(Rootfs::empty()));
        let input: Arc<str> = "test".into();
        let conf = "# comment\nd /var/run/app 0750 app 7 -\nD /var/lib/app - - -\nd /run/strange - nobody-knows\n\
                    f /etc/app.conf 0600 - - - one two\nL /var/link - - - - ../target\nd /tmp/x\nd /run/%u\n\
                    d! /run/boot\nd /usr/x\nL+ /run/more - - - - /etc/app.conf\nd /var/log/own 2770 app app\n";
        for (path, entry) in [
            ("usr/lib/tmpfiles.d/a.conf", Entry::file(conf, 0o644, &input)),
            ("etc/passwd", Entry::file("app:x:5:6::/:\n", 0o644, &input)),
            ("etc/group", Entry::file("app:x:6:\n", 0o644, &input)),
            ("var/log/own", Entry::directory(&input)),
        ] {
            root.insert(&TreePath::new(path).unwrap(), entry).unwrap();
        }
        let mut site = Site::new(&mut root, "test");
        let accounts = Accounts::read(&site).unwrap();
        let strangers = apply(&mut site, &accounts).unwrap();
        assert_eq!(strangers, ["`d /run/strange - nobody-knows` in `/usr/lib/tmpfiles.d/a.conf`"]);
        for (path, expected) in [
            ("/run/app", "d 750 5:7"),
            ("/var/lib/app", "d 755 0:0"),
            ("/run/strange", "nothing"),
            ("/etc/app.conf", "f 600 0:0"),
            ("/var/link", "-> ../target"),
            ("/tmp/x", "nothing"),
            ("/run/boot", "nothing"),
            ("/usr/x", "nothing"),
            ("/run/more", "-> /etc/app.conf"),
            ("/var/log/own", "d 2770 5:6"),
        ] {
            assert_eq!(shown(&site, path), expected, "{path}");
        }
        assert_eq!(site.text("/etc/app.conf").unwrap().as_deref(), Some("one two"));
    }
}
