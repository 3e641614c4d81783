//! update-alternatives: several packages offer one command, the best of them gets its name.
//!
//! A group is a file below /var/lib/dpkg/alternatives; the name's link leads to /etc/alternatives/NAME, which leads to
//! the chosen file. Slaves (man pages, mostly) follow their master; one whose file was left out gets no link.

use std::collections::BTreeMap;

use super::site::Site;
use crate::error::Result;
use crate::layer::BaseKind;

const STATES: &str = "/var/lib/dpkg/alternatives";
const LINKS: &str = "/etc/alternatives";

/// A group of alternatives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Group {
    manual: bool,
    link: String,
    /// The link of each slave by its name.
    slaves: BTreeMap<String, String>,
    choices: Vec<Choice>,
}

/// One that can be chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Choice {
    path: String,
    priority: i64,
    /// The file of each slave by its name.
    slaves: BTreeMap<String, String>,
}

impl Group {
    fn parse(text: &str) -> Option<Group> {
        let mut lines = text.lines();
        let manual = match lines.next()? {
            "auto" => false,
            "manual" => true,
            _ => return None,
        };
        let mut group = Group { manual, link: lines.next()?.to_string(), ..Group::default() };
        let mut names = Vec::new();
        loop {
            match lines.next()? {
                "" => break,
                name => {
                    names.push(name.to_string());
                    group.slaves.insert(name.to_string(), lines.next()?.to_string());
                }
            }
        }
        while let Some(path) = lines.next().filter(|line| !line.is_empty()) {
            let mut choice =
                Choice { path: path.to_string(), priority: lines.next()?.parse().ok()?, ..Choice::default() };
            for name in &names {
                let file = lines.next()?;
                if !file.is_empty() {
                    choice.slaves.insert(name.clone(), file.to_string());
                }
            }
            group.choices.push(choice);
        }
        Some(group)
    }

    /// As update-alternatives writes it: sorted, without slaves that no choice has.
    fn text(&self) -> String {
        let used = |name: &str| self.choices.iter().any(|choice| choice.slaves.contains_key(name));
        let slaves: Vec<(&String, &String)> = self.slaves.iter().filter(|(name, _)| used(name)).collect();
        let mut text = format!("{}\n{}\n", if self.manual { "manual" } else { "auto" }, self.link);
        slaves.iter().for_each(|(name, link)| text.push_str(&format!("{name}\n{link}\n")));
        text.push('\n');
        let mut choices: Vec<&Choice> = self.choices.iter().collect();
        choices.sort_by(|a, b| a.path.cmp(&b.path));
        for choice in choices {
            text.push_str(&format!("{}\n{}\n", choice.path, choice.priority));
            for (name, _) in &slaves {
                text.push_str(choice.slaves.get(*name).map_or("", String::as_str));
                text.push('\n');
            }
        }
        text.push('\n');
        text
    }

    /// The first of those with the highest priority.
    fn best(&self) -> Option<&Choice> {
        self.choices.iter().rev().max_by_key(|choice| choice.priority)
    }
}

/// What `update-alternatives ARGUMENTS` does. `false`: the arguments are none that are understood.
pub(super) fn call(site: &mut Site<'_>, arguments: &[String]) -> Result<bool> {
    let mut rest =
        arguments.iter().map(String::as_str).filter(|word| !matches!(*word, "--force" | "--quiet" | "--verbose"));
    let words: Vec<&str> = rest.by_ref().collect();
    match words.as_slice() {
        ["--install", link, name, path, priority, slaves @ ..] => install(site, link, name, path, priority, slaves),
        ["--remove", name, path] => remove(site, name, Some(path)),
        ["--remove-all", name] => remove(site, name, None),
        ["--set", name, path] => set(site, name, Some(path)),
        ["--auto", name] => set(site, name, None),
        ["--query" | "--list" | "--display" | "--get-selections", ..] => Ok(true),
        _ => Ok(false),
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && !name.contains(char::is_whitespace) && name != "." && name != ".."
}

fn is_path(path: &str) -> bool {
    path.starts_with('/') && !path.chars().any(char::is_control)
}

fn install(site: &mut Site<'_>, link: &str, name: &str, path: &str, priority: &str, slaves: &[&str]) -> Result<bool> {
    let Ok(priority) = priority.parse() else { return Ok(false) };
    if !is_name(name) || !is_path(link) || !is_path(path) {
        return Ok(false);
    }
    let mut choice = Choice { path: path.to_string(), priority, slaves: BTreeMap::new() };
    let mut links = BTreeMap::new();
    for slave in slaves.chunks(4) {
        let ["--slave", link, name, path] = slave else { return Ok(false) };
        if !is_name(name) || !is_path(link) || !is_path(path) {
            return Ok(false);
        }
        links.insert((*name).to_string(), (*link).to_string());
        choice.slaves.insert((*name).to_string(), (*path).to_string());
    }
    // The real one refuses a file that is not there.
    if !site.root.exists(path) {
        return Ok(true);
    }
    let mut group = read(site, name)?.unwrap_or_default();
    if group.link != link && !group.link.is_empty() {
        remove_link(site, &group.link.clone())?;
    }
    group.link = link.to_string();
    for (slave, link) in links {
        if let Some(old) = group.slaves.insert(slave, link.clone()).filter(|old| *old != link) {
            remove_link(site, &old)?;
        }
    }
    match group.choices.iter_mut().find(|other| other.path == path) {
        Some(other) => *other = choice,
        None => group.choices.push(choice),
    }
    apply(site, name, &group)?;
    Ok(true)
}

fn remove(site: &mut Site<'_>, name: &str, path: Option<&str>) -> Result<bool> {
    if !is_name(name) {
        return Ok(false);
    }
    let Some(mut group) = read(site, name)? else { return Ok(true) };
    let chosen = chosen(site, name)?;
    group.choices.retain(|choice| path.is_some_and(|path| choice.path != path));
    if chosen.as_deref() == path {
        group.manual = false;
    }
    if group.choices.is_empty() {
        let own = [(name, group.link.as_str())];
        for (name, link) in
            own.into_iter().chain(group.slaves.iter().map(|(name, link)| (name.as_str(), link.as_str())))
        {
            remove_link(site, link)?;
            remove_link(site, &format!("{LINKS}/{name}"))?;
        }
        let state = site.path(&format!("{STATES}/{name}"))?;
        site.root.remove(&state);
        return Ok(true);
    }
    apply(site, name, &group)?;
    Ok(true)
}

fn set(site: &mut Site<'_>, name: &str, path: Option<&str>) -> Result<bool> {
    let Some(mut group) = read(site, name)? else { return Ok(true) };
    group.manual = path.is_some();
    if let Some(path) = path {
        match group.choices.iter().find(|choice| choice.path == path).cloned() {
            Some(choice) => link(site, name, &group, &choice)?,
            None => return Ok(true),
        }
    }
    apply(site, name, &group)?;
    Ok(true)
}

fn read(site: &Site<'_>, name: &str) -> Result<Option<Group>> {
    Ok(site.text(&format!("{STATES}/{name}"))?.as_deref().and_then(Group::parse))
}

/// What the name's link leads to now.
fn chosen(site: &Site<'_>, name: &str) -> Result<Option<String>> {
    Ok(match site.at(&site.path(&format!("{LINKS}/{name}"))?).map(|entry| entry.kind) {
        Some(BaseKind::Symlink(target)) => Some(target),
        _ => None,
    })
}

/// Writes the group down, and makes its links if it chooses by itself.
fn apply(site: &mut Site<'_>, name: &str, group: &Group) -> Result<()> {
    for folder in [STATES, LINKS] {
        site.folder(folder, 0o755, 0, 0)?;
    }
    site.write(&format!("{STATES}/{name}"), group.text().into_bytes(), 0o644, 0, 0)?;
    let current = chosen(site, name)?;
    let current = group.choices.iter().find(|choice| Some(&choice.path) == current.as_ref());
    match if group.manual { current.or(group.best()) } else { group.best() }.cloned() {
        Some(choice) => link(site, name, group, &choice),
        None => Ok(()),
    }
}

fn link(site: &mut Site<'_>, name: &str, group: &Group, choice: &Choice) -> Result<()> {
    link_one(site, name, &group.link, &choice.path)?;
    for (slave, link) in &group.slaves {
        match choice.slaves.get(slave).filter(|file| site.root.exists(file)) {
            Some(file) => link_one(site, slave, link, file)?,
            None => {
                remove_link(site, link)?;
                remove_link(site, &format!("{LINKS}/{slave}"))?;
            }
        }
    }
    Ok(())
}

/// `LINK -> /etc/alternatives/NAME -> FILE`. A file in the place of the link stays.
fn link_one(site: &mut Site<'_>, name: &str, link: &str, file: &str) -> Result<()> {
    site.link(&format!("{LINKS}/{name}"), file)?;
    match site.at(&site.path(link)?).map(|entry| entry.kind) {
        None | Some(BaseKind::Symlink(_)) => site.link(link, &format!("{LINKS}/{name}")).map(drop),
        Some(_) => Ok(()),
    }
}

fn remove_link(site: &mut Site<'_>, path: &str) -> Result<()> {
    let path = site.path(path)?;
    if matches!(site.at(&path).map(|entry| entry.kind), Some(BaseKind::Symlink(_))) {
        site.root.remove(&path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::debian::Root;
    use crate::image::Rootfs;
    use crate::layer::{Entry, TreePath};

    fn root(files: &[&str]) -> Root {
        let mut root = Root::new(Arc::new(Rootfs::empty()));
        for file in files {
            root.insert(&TreePath::new(file).unwrap(), Entry::file("", 0o755, &"test".into())).unwrap();
        }
        root
    }

    fn run(root: &mut Root, line: &str) -> bool {
        let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        call(&mut Site::new(root, "test"), &words).unwrap()
    }

    fn target(root: &Root, path: &str) -> Option<String> {
        match root.entry(&TreePath::new(path).unwrap())?.kind {
            BaseKind::Symlink(target) => Some(target),
            _ => Some("a file".into()),
        }
    }

    #[test]
    fn the_best_is_linked_and_all_is_written_down() {
        let mut root = root(&["usr/bin/mawk", "usr/bin/gawk", "usr/share/man/man1/gawk.1.gz"]);
        let slave = |of: &str| format!("--slave /usr/share/man/man1/awk.1.gz awk.1.gz /usr/share/man/man1/{of}.1.gz");
        assert!(run(&mut root, &format!("--install /usr/bin/awk awk /usr/bin/mawk 5 {}", slave("mawk"))));
        assert_eq!(target(&root, "usr/bin/awk").as_deref(), Some("/etc/alternatives/awk"));
        assert_eq!(target(&root, "etc/alternatives/awk").as_deref(), Some("/usr/bin/mawk"));
        // The man page was left out.
        assert_eq!(target(&root, "etc/alternatives/awk.1.gz"), None);
        assert!(run(&mut root, &format!("--install /usr/bin/awk awk /usr/bin/gawk 10 {}", slave("gawk"))));
        assert!(run(&mut root, "--install /usr/bin/awk awk /usr/bin/not-there 100"));
        assert_eq!(target(&root, "etc/alternatives/awk").as_deref(), Some("/usr/bin/gawk"));
        assert_eq!(target(&root, "etc/alternatives/awk.1.gz").as_deref(), Some("/usr/share/man/man1/gawk.1.gz"));
        let state = "auto\n/usr/bin/awk\nawk.1.gz\n/usr/share/man/man1/awk.1.gz\n\n/usr/bin/gawk\n10\n\
                     /usr/share/man/man1/gawk.1.gz\n/usr/bin/mawk\n5\n/usr/share/man/man1/mawk.1.gz\n\n";
        let found = root.read_text("/var/lib/dpkg/alternatives/awk", 1000).unwrap().unwrap();
        assert_eq!(found, state);
        assert_eq!(Group::parse(&found).unwrap().text(), state);

        assert!(run(&mut root, "--set awk /usr/bin/mawk"));
        assert_eq!(target(&root, "etc/alternatives/awk").as_deref(), Some("/usr/bin/mawk"));
        assert_eq!(target(&root, "etc/alternatives/awk.1.gz"), None);
        assert!(run(&mut root, &format!("--install /usr/bin/awk awk /usr/bin/gawk 99 {}", slave("gawk"))));
        assert_eq!(target(&root, "etc/alternatives/awk").as_deref(), Some("/usr/bin/mawk"), "chosen by hand");
        assert!(run(&mut root, "--remove awk /usr/bin/mawk"));
        assert_eq!(target(&root, "etc/alternatives/awk").as_deref(), Some("/usr/bin/gawk"));
        assert!(run(&mut root, "--remove awk /usr/bin/gawk") && run(&mut root, "--remove awk /usr/bin/gawk"));
        assert_eq!((target(&root, "etc/alternatives/awk"), target(&root, "usr/bin/awk")), (None, None));
        assert!(!root.exists("/var/lib/dpkg/alternatives/awk"));
    }

    #[test]
    fn what_is_not_understood_is_said_and_files_stay() {
        let mut root = root(&["usr/bin/a", "usr/bin/x"]);
        for bad in
            ["--install /usr/bin/x x /usr/bin/a", "--install /x ../x /usr/bin/a 1", "--config x", "--install x x /a 1"]
        {
            assert!(!run(&mut root, bad), "{bad}");
        }
        assert!(run(&mut root, "--install /usr/bin/x x /usr/bin/a 1"));
        assert_eq!(target(&root, "usr/bin/x").as_deref(), Some("a file"));
        assert_eq!(Group::parse("auto\n/usr/bin/x\n"), None);
        assert_eq!(Group::parse("once\n/usr/bin/x\n\n"), None);
    }
}
