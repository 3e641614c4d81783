//! mkdir, rm, ln, cp, chown and their like, as maintainer scripts call them, done in the root.

use super::reader::Reader;
#[cfg(test)]
use super::site::Site;
use crate::error::Result;
use crate::layer::{BaseKind, Entry, Kind};

/// Files that only pass: nothing is done to them.
const PASSING: [&str; 4] = ["/tmp/", "/dev/", "/proc/", "/sys/"];

/// A call's options, as letters and long names, and its operands.
struct Call<'a> {
    options: Vec<(String, &'a str)>,
    operands: Vec<&'a str>,
}

impl<'a> Call<'a> {
    /// `values`: the options that take one. `None`: an option is not among `known` or `values`.
    fn read(words: &'a [String], known: &[&str], values: &[&str]) -> Option<Call<'a>> {
        let mut call = Call { options: Vec::new(), operands: Vec::new() };
        let mut words = words.iter().map(String::as_str);
        let mut only_operands = false;
        while let Some(word) = words.next() {
            if only_operands || !word.starts_with('-') || word == "-" {
                call.operands.push(word);
            } else if word == "--" {
                only_operands = true;
            } else if let Some(long) = word.strip_prefix("--") {
                match long.split_once('=') {
                    Some((name, value)) if values.contains(&name) => call.options.push((name.to_string(), value)),
                    None if values.contains(&long) => call.options.push((long.to_string(), words.next()?)),
                    None if known.contains(&long) => call.options.push((long.to_string(), "")),
                    _ => return None,
                }
            } else {
                let letters = word.get(1..)?;
                for (at, letter) in letters.char_indices() {
                    let name = letter.to_string();
                    if values.contains(&name.as_str()) {
                        let rest = letters.get(at + letter.len_utf8()..).filter(|rest| !rest.is_empty());
                        call.options.push((
                            name,
                            match rest {
                                Some(rest) => rest,
                                None => words.next()?,
                            },
                        ));
                        break;
                    }
                    if !known.contains(&name.as_str()) {
                        return None;
                    }
                    call.options.push((name, ""));
                }
            }
        }
        Some(call)
    }

    fn get(&self, names: &[&str]) -> Option<&'a str> {
        self.options.iter().find(|(name, _)| names.contains(&name.as_str())).map(|(_, value)| *value)
    }

    fn has(&self, names: &[&str]) -> bool {
        self.get(names).is_some()
    }
}

fn is_passing(path: &str) -> bool {
    PASSING.iter().any(|start| path.starts_with(start))
}

fn clean(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("/{}", parts.join("/"))
}

impl Reader<'_, '_> {
    /// A path that may be changed: absolute, without `..`, not the root itself, and no whiteout.
    fn is_place(&self, path: &str) -> bool {
        path.starts_with('/') && self.site.takes(path.trim_end_matches('/'))
    }

    /// `None`: the call is not understood. `false`: it would fail.
    pub fn files(&mut self, program: &str, words: &[String]) -> Result<Option<bool>> {
        let (known, values): (&[&str], &[&str]) = match program {
            "mkdir" => (&["p", "parents", "v"], &["m", "mode"]),
            "rmdir" => (&["p", "parents", "ignore-fail-on-non-empty"], &[]),
            "rm" => (&["r", "R", "f", "v", "recursive", "force"], &[]),
            "touch" => (&["a", "m", "c", "h", "no-dereference"], &["d", "r", "t", "reference", "date"]),
            "ln" => (&["s", "f", "n", "r", "T", "v", "symbolic", "force", "no-dereference"], &[]),
            "cp" | "mv" => (&["a", "p", "f", "d", "v", "n", "Z", "T", "P", "L", "u", "preserve"], &[]),
            "install" => (&["d", "p", "D", "T", "directory"], &["m", "o", "g", "mode", "owner", "group"]),
            "chown" | "chgrp" | "chmod" => (&["R", "h", "f", "v", "c", "recursive", "no-dereference"], &[]),
            "dpkg-statoverride" => {
                (&["update", "add", "force", "quiet", "force-all", "force-statoverride-add"], &["force"])
            }
            "ucf" => (&["three-way", "debconf-ok"], &["sum-file", "src-dir", "state-dir"]),
            _ => return Ok(None),
        };
        let Some(mut call) = Call::read(words, known, values) else { return Ok(None) };
        let cleaned: Vec<String> = call
            .operands
            .iter()
            .map(|path| if path.starts_with('/') { clean(path) } else { (*path).to_string() })
            .collect();
        call.operands = cleaned.iter().map(String::as_str).collect();
        match program {
            "mkdir" => self.mkdir(&call),
            "install" if call.has(&["d", "directory"]) => self.mkdir(&call),
            "install" => self.install(&call),
            "rm" | "rmdir" => self.remove(&call, program == "rm"),
            "touch" => self.touch(&call),
            "ln" => self.link(&call),
            "cp" => self.copy(&call),
            "mv" => self.rename(&call),
            "ucf" => match call.operands.as_slice() {
                [from, to] if self.is_place(to) => self.site.copy(from, to).map(|_| Some(true)),
                _ => Ok(None),
            },
            "dpkg-statoverride" => self.override_mode(&call),
            _ => self.change(program, &call),
        }
    }

    fn mkdir(&mut self, call: &Call<'_>) -> Result<Option<bool>> {
        let Some(mode) = call.get(&["m", "mode"]).map_or(Some(0o777 & !self.umask), octal) else { return Ok(None) };
        let (Some(uid), Some(gid)) = self.owner(call.get(&["o", "owner"]), call.get(&["g", "group"])) else {
            return Ok(None);
        };
        let parents = call.has(&["p", "parents", "d", "directory"]);
        for path in &call.operands {
            if is_passing(path) {
                continue;
            }
            if !self.is_place(path) {
                return Ok(None);
            }
            let made = self.site.folder(path, mode, uid, gid)?;
            if !made && !parents {
                return Ok(Some(false));
            }
            if !made && call.has(&["d", "directory"]) && call.has(&["m", "mode", "o", "g"]) {
                let real = self.site.root.resolve(path);
                if let Some(real) = real {
                    self.site.change(&real, |entry| (entry.mode, entry.uid, entry.gid) = (mode, uid, gid))?;
                }
            }
        }
        Ok(Some(true))
    }

    /// The numbers of names; those of root if none is named.
    fn owner(&self, user: Option<&str>, group: Option<&str>) -> (Option<u32>, Option<u32>) {
        (user.map_or(Some(0), |user| self.accounts.uid(user)), group.map_or(Some(0), |group| self.accounts.gid(group)))
    }

    fn install(&mut self, call: &Call<'_>) -> Result<Option<bool>> {
        let (Some(mode), (Some(uid), Some(gid))) = (
            call.get(&["m", "mode"]).map_or(Some(0o755), octal),
            self.owner(call.get(&["o", "owner"]), call.get(&["g", "group"])),
        ) else {
            return Ok(None);
        };
        let [from, to] = call.operands.as_slice() else { return Ok(None) };
        if *from == "/dev/null" && self.is_place(to) {
            return self.site.new_file_as(to, "", mode, uid, gid).map(|_| Some(true));
        }
        let to = self.destination(from, to);
        let (true, Some(bytes)) = (self.is_place(&to), self.site.root.read(from, super::site::TEXT_LIMIT)?) else {
            return Ok(None);
        };
        self.charge(bytes.len());
        self.site.write(&to, bytes, mode, uid, gid)?;
        Ok(Some(true))
    }

    /// Into a folder under its own name, or to the path itself.
    fn destination(&self, from: &str, to: &str) -> String {
        match self.site.is_folder(to) {
            true => format!("{}/{}", to.trim_end_matches('/'), from.rsplit('/').next().unwrap_or(from)),
            false => to.to_string(),
        }
    }

    fn remove(&mut self, call: &Call<'_>, files: bool) -> Result<Option<bool>> {
        for path in &call.operands {
            if is_passing(path) {
                continue;
            }
            if !self.is_place(path) {
                return Ok(None);
            }
            let place = self.site.path(path)?;
            let Some(found) = self.site.at(&place) else { continue };
            let is_folder = found.kind == BaseKind::Directory;
            let empty = !is_folder || self.site.root.list(path).is_empty();
            match (is_folder, files) {
                (true, true) if !call.has(&["r", "R", "recursive"]) => {}
                (true, false) if !empty => {}
                // A package's own folder is not emptied because a script would tidy up.
                (true, true) if !empty => return Ok(None),
                _ => self.site.root.remove(&place),
            }
        }
        Ok(Some(true))
    }

    fn touch(&mut self, call: &Call<'_>) -> Result<Option<bool>> {
        for path in call.operands.iter().filter(|path| !is_passing(path)) {
            if !self.is_place(path) {
                return Ok(None);
            }
            if !self.site.root.exists(path) && !call.has(&["c"]) {
                self.site.new_file_as(path, "", 0o666 & !self.umask, 0, 0)?;
            }
        }
        Ok(Some(true))
    }

    fn link(&mut self, call: &Call<'_>) -> Result<Option<bool>> {
        let [target, path] = call.operands.as_slice() else { return Ok(None) };
        if !call.has(&["s", "symbolic"])
            || call.has(&["r"])
            || !self.is_place(path)
            || target.chars().any(char::is_control)
        {
            return Ok(None);
        }
        if is_passing(path) {
            return Ok(Some(true));
        }
        let follows = !call.has(&["n", "T", "no-dereference"]);
        let is_folder = match self.site.at(&self.site.path(path)?) {
            Some(entry) if entry.kind == BaseKind::Directory => true,
            Some(_) if follows => self.site.is_folder(path),
            _ => false,
        };
        let path = if is_folder { self.destination(target, path) } else { (*path).to_string() };
        if !self.is_place(&path) {
            return Ok(None);
        }
        if call.has(&["f", "force"]) {
            self.site.link(&path, target)?;
            return Ok(Some(true));
        }
        self.site.new_link(&path, target).map(Some)
    }

    fn copy(&mut self, call: &Call<'_>) -> Result<Option<bool>> {
        let [from, to] = call.operands.as_slice() else { return Ok(None) };
        if is_passing(to) {
            return Ok(Some(true));
        }
        let to = self.destination(from, to);
        if !self.is_place(&to) || is_passing(from) || self.site.is_folder(from) {
            return Ok(None);
        }
        let Some(entry) = self.site.target(from) else { return Ok(Some(false)) };
        let Some(bytes) = self.site.root.read(from, super::site::TEXT_LIMIT)? else { return Ok(Some(false)) };
        let keeps = call.has(&["p", "a", "preserve"]);
        let mode = if keeps { entry.mode } else { entry.mode & !self.umask & 0o777 };
        let (uid, gid) = if keeps { (entry.uid, entry.gid) } else { (0, 0) };
        self.charge(bytes.len());
        self.site.write(&to, bytes, mode, uid, gid)?;
        Ok(Some(true))
    }

    fn rename(&mut self, call: &Call<'_>) -> Result<Option<bool>> {
        let [from, to] = call.operands.as_slice() else { return Ok(None) };
        let to = self.destination(from, to);
        if is_passing(from) && is_passing(&to) {
            return Ok(Some(true));
        }
        if !self.is_place(from) || !self.is_place(&to) {
            return Ok(None);
        }
        let (from, to) = (self.site.path(from)?, self.site.path(&to)?);
        let place = self.site.root.place(&from);
        match self.site.root.own(&place).cloned() {
            Some(entry) if entry.kind_is_plain() => {
                self.site.root.remove(&from);
                self.site.root.replace(&to, entry);
                Ok(Some(true))
            }
            Some(_) => Ok(None),
            None if self.site.at(&from).is_none() => Ok(Some(false)),
            None => Ok(None),
        }
    }

    fn change(&mut self, program: &str, call: &Call<'_>) -> Result<Option<bool>> {
        let [what, paths @ ..] = call.operands.as_slice() else { return Ok(None) };
        let (mut uid, mut gid) = (None, None);
        if program != "chmod" {
            let (user, group) = match what.split_once([':', '.']).filter(|_| program == "chown") {
                Some((user, group)) => (user, group),
                None if program == "chown" => (*what, ""),
                None => ("", *what),
            };
            (uid, gid) = (self.accounts.uid(user), self.accounts.gid(group));
            if (!user.is_empty() && uid.is_none()) || (!group.is_empty() && gid.is_none()) {
                return Ok(None);
            }
        }
        let mut all = true;
        for path in paths.iter().filter(|path| !is_passing(path)) {
            if !self.is_place(path) {
                return Ok(None);
            }
            let direct = self.site.path(path)?;
            let real = if call.has(&["h", "no-dereference"]) {
                Some(self.site.root.place(&direct))
            } else {
                self.site.root.resolve(path)
            };
            let Some(real) = real.filter(|real| self.site.root.entry(real).is_some()) else {
                all = false;
                continue;
            };
            let mut places = vec![real.clone()];
            if call.has(&["R", "recursive"]) {
                places.extend(self.site.root.list(&format!("/{real}")).into_keys());
            }
            for place in places {
                let Some(found) = self.site.root.entry(&place) else { continue };
                if matches!(found.kind, BaseKind::Symlink(_)) && program == "chmod" {
                    continue;
                }
                let is_folder = found.kind == BaseKind::Directory;
                let mode = match program {
                    "chmod" => match new_mode(what, found.mode, is_folder, self.umask) {
                        Some(mode) => mode,
                        None => return Ok(None),
                    },
                    // The kernel takes these bits away when a file changes its owner.
                    _ if !is_folder && found.kind == BaseKind::File => found.mode & !0o6000,
                    _ => found.mode,
                };
                let changed = self.site.change(&place, |entry| {
                    entry.mode = mode;
                    entry.uid = uid.unwrap_or(entry.uid);
                    entry.gid = gid.unwrap_or(entry.gid);
                })?;
                if !changed {
                    return Ok(None);
                }
            }
        }
        Ok(Some(all))
    }

    /// `--update --add USER GROUP MODE FILE`: owner, mode, and the database that keeps them.
    fn override_mode(&mut self, call: &Call<'_>) -> Result<Option<bool>> {
        const LIST: &str = "/var/lib/dpkg/statoverride";
        let [user, group, mode, path] = call.operands.as_slice() else { return Ok(None) };
        let (Some(uid), Some(gid), Some(bits)) = (self.accounts.uid(user), self.accounts.gid(group), octal(mode))
        else {
            return Ok(None);
        };
        if !call.has(&["add"]) || !self.is_place(path) {
            return Ok(None);
        }
        let mut list = self.site.text(LIST)?.unwrap_or_default();
        if !list.lines().any(|line| line.ends_with(&format!(" {path}"))) {
            list.push_str(&format!("{user} {group} {mode} {path}\n"));
            self.site.write(LIST, list.into_bytes(), 0o644, 0, 0)?;
        }
        if call.has(&["update"])
            && let Some(real) = self.site.root.resolve(path)
        {
            return self.site.change(&real, |entry| (entry.mode, entry.uid, entry.gid) = (bits, uid, gid)).map(Some);
        }
        Ok(Some(true))
    }
}

impl Entry {
    /// Whether nothing else can hang on it: no folder, and no first name of a file with others.
    fn kind_is_plain(&self) -> bool {
        matches!(self.kind, Kind::File(_) | Kind::Symlink(_))
    }
}

fn octal(text: &str) -> Option<u32> {
    let mode = u32::from_str_radix(text, 8).ok()?;
    (mode <= 0o7777 && text.len() <= 5).then_some(mode)
}

/// `0755`, `u=rwx,go+rX`, `g+s`.
pub(super) fn new_mode(what: &str, old: u32, is_folder: bool, umask: u32) -> Option<u32> {
    if let Some(mode) = octal(what) {
        // chmod keeps a folder's setuid and setgid bits, unless five digits say otherwise.
        return Some(if is_folder && what.len() < 5 { mode | (old & 0o6000) } else { mode });
    }
    let mut mode = old;
    for clause in what.split(',') {
        let at = clause.find(['+', '-', '='])?;
        let (who, rest) = (clause.get(..at)?, clause.get(at..)?);
        let mut classes = 0;
        for class in who.chars() {
            classes |= match class {
                'u' => 0o4700,
                'g' => 0o2070,
                'o' => 0o1007,
                'a' => 0o7777,
                _ => return None,
            };
        }
        if who.is_empty() {
            classes = 0o7777 & !umask;
        }
        let (operator, letters) = (rest.chars().next()?, rest.get(1..)?);
        let mut bits = 0;
        for letter in letters.chars() {
            bits |= match letter {
                'r' => 0o444,
                'w' => 0o222,
                'x' => 0o111,
                'X' if is_folder || old & 0o111 != 0 => 0o111,
                'X' => 0,
                's' => 0o6000,
                't' => 0o1000,
                _ => return None,
            };
        }
        let bits = bits & (if letters.contains('t') { classes | 0o1000 } else { classes });
        mode = match operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => (mode & !(classes & 0o777)) | bits,
        };
    }
    Some(mode)
}

/// What a path is in the root, for tests of this and its neighbours.
#[cfg(test)]
pub(super) fn shown(site: &Site<'_>, path: &str) -> String {
    match site.at(&site.path(path).unwrap()) {
        None => "nothing".into(),
        Some(entry) => {
            let kind = match entry.kind {
                BaseKind::Symlink(target) => return format!("-> {target}"),
                BaseKind::Directory => "d",
                _ => "f",
            };
            format!("{kind} {:o} {}:{}", entry.mode, entry.uid, entry.gid)
        }
    }
}
