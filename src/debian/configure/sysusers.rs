//! sysusers.d(5): the users and groups that packages declare.

use super::accounts::{Accounts, NewUser, Style};
use super::site::Site;
use crate::error::Result;
use crate::layer::TreePath;

const FOLDER: &str = "/usr/lib/sysusers.d";
const NOLOGIN: &str = "/usr/sbin/nologin";

/// The files of this kind that the layer itself has: those below were there before.
pub(super) fn files(site: &Site<'_>) -> Vec<TreePath> {
    let all = site.root.list(FOLDER).into_keys();
    all.filter(|path| path.name().ends_with(".conf") && site.root.own(path).is_some()).collect()
}

/// Makes what one file declares.
pub(super) fn apply(site: &Site<'_>, file: &TreePath, accounts: &mut Accounts) -> Result<()> {
    let text = site.text(&format!("/{file}"))?.unwrap_or_default();
    let lines: Vec<Vec<String>> = text.lines().map(words).filter(|words| words.len() > 1).collect();
    // Groups before users before members, in whatever order they are written.
    for letter in ['g', 'u', 'm'] {
        for line in lines.iter().filter(|line| line.first().is_some_and(|kind| kind.starts_with(letter))) {
            one(line, letter, accounts);
        }
    }
    Ok(())
}

fn one(line: &[String], kind: char, accounts: &mut Accounts) {
    let field = |n: usize| line.get(n).map(String::as_str).filter(|field| *field != "-" && !field.is_empty());
    let Some(name) = field(1) else { return };
    let id = field(2).unwrap_or_default();
    match kind {
        'g' => drop(accounts.add_group(name, id.parse().ok(), Style::Sysusers)),
        'm' => drop(accounts.add_member(name, id)),
        _ if accounts.has_user(name) => {}
        _ => {
            let (uid, group) = id.split_once(':').map_or((id, None), |(uid, group)| (uid, Some(group)));
            let uid = uid.parse().ok();
            let gid = match group {
                Some(group) => accounts.gid(group),
                None => {
                    let wanted = uid.or_else(|| accounts.gid(name).filter(|_| accounts.has_group(name)));
                    accounts.add_group(name, wanted.or_else(|| accounts.free_for_both()), Style::Sysusers)
                }
            };
            let Some(gid) = gid else { return };
            let text = |n: usize, default: &str| field(n).unwrap_or(default).to_string();
            let shell = if uid == Some(0) { "/bin/sh" } else { NOLOGIN };
            let user = NewUser {
                name: name.to_string(),
                uid: uid.or(Some(gid)),
                gid,
                gecos: text(3, ""),
                home: text(4, "/"),
                shell: text(5, shell),
            };
            accounts.add_user(&user, Style::Sysusers);
        }
    }
}

/// The words of a line: quotes group, `#` at its beginning makes it a comment.
pub(super) fn words(line: &str) -> Vec<String> {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return Vec::new();
    }
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in line.chars() {
        match quote {
            Some(open) if letter == open => quote = None,
            Some(_) => word.get_or_insert_default().push(letter),
            None if letter == '"' || letter == '\'' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::debian::Root;
    use crate::image::Rootfs;
    use crate::layer::Entry;

    #[test]
    fn users_groups_and_members_are_made() {
        let mut root = Root::new(Arc::new(Rootfs::empty()));
        let input: Arc<str> = "test".into();
        let conf = "# comment\nm dog input\nu dog - \"The Dog\" /var/lib/dog\ng input -\nu! cat 50:input - - /bin/sh\n\
                    u web 33\nu root 0\nx\n";
        for (path, text) in [
            ("usr/lib/sysusers.d/a.conf", conf),
            ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n"),
            ("etc/group", "root:x:0:\n"),
        ] {
            root.insert(&TreePath::new(path).unwrap(), Entry::file(text, 0o644, &input)).unwrap();
        }
        let mut site = Site::new(&mut root, "test");
        let mut accounts = Accounts::read(&site).unwrap();
        let files = files(&site);
        assert_eq!(files.len(), 1);
        apply(&site, &files[0], &mut accounts).unwrap();
        accounts.write(&mut site).unwrap();
        let expected = "root:x:0:0:root:/root:/bin/bash\ndog:x:998:998:The Dog:/var/lib/dog:/usr/sbin/nologin\n\
                        cat:x:50:999::/:/bin/sh\nweb:x:33:33::/:/usr/sbin/nologin\n";
        assert_eq!(site.text("/etc/passwd").unwrap().unwrap(), expected);
        assert_eq!(site.text("/etc/group").unwrap().unwrap(), "root:x:0:\ninput:x:999:dog\ndog:x:998:\nweb:x:33:\n");
    }
}
