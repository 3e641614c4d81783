//! adduser, addgroup, useradd, groupadd and usermod, as maintainer scripts call them.

use super::accounts::{NewUser, Style};
use super::reader::Reader;
use crate::error::Result;

const NOLOGIN: &str = "/usr/sbin/nologin";
const NO_HOME: &str = "/nonexistent";

/// The options of one call.
#[derive(Default)]
struct Call<'a> {
    names: Vec<&'a str>,
    options: Vec<(&'a str, &'a str)>,
}

impl<'a> Call<'a> {
    /// `None`: there is an option that is not known.
    fn read(words: &'a [String], flags: &[&str], values: &[&str]) -> Option<Call<'a>> {
        let mut call = Call::default();
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            if let Some((name, value)) = word.split_once('=').filter(|(name, _)| values.contains(name)) {
                call.options.push((name, value));
            } else if values.contains(&word) {
                call.options.push((word, words.next()?));
            } else if flags.contains(&word) {
                call.options.push((word, ""));
            } else if word.starts_with('-') {
                return None;
            } else {
                call.names.push(word);
            }
        }
        Some(call)
    }

    fn get(&self, names: &[&str]) -> Option<&'a str> {
        self.options.iter().find(|(name, _)| names.contains(name)).map(|(_, value)| *value)
    }

    fn has(&self, names: &[&str]) -> bool {
        self.get(names).is_some()
    }
}

impl Reader<'_, '_> {
    /// `None`: the call is not understood.
    pub fn users(&mut self, program: &str, words: &[String]) -> Result<Option<bool>> {
        if self.accounts.is_empty() {
            return Ok(None);
        }
        Ok(match program {
            "adduser" => match words {
                [user, group] | [_, user, group]
                    if !words.iter().any(|word| word == "--system" || word == "--group") =>
                {
                    Some(self.accounts.add_member(user, group))
                }
                _ => return self.adduser(words),
            },
            "addgroup" => self.addgroup(words),
            "useradd" => return self.useradd(words),
            "groupadd" => self.groupadd(words),
            "usermod" => self.usermod(words),
            "gpasswd" => match words {
                [add, user, group] if add == "-a" || add == "--add" => Some(self.accounts.add_member(user, group)),
                _ => None,
            },
            _ => None,
        }
        .filter(|done| *done))
    }

    fn adduser(&mut self, words: &[String]) -> Result<Option<bool>> {
        let flags = [
            "--system",
            "--group",
            "--no-create-home",
            "--disabled-login",
            "--disabled-password",
            "--quiet",
            "-q",
            "--force-badname",
            "--allow-badname",
            "--allow-bad-names",
            "--allow-all-names",
            "--verbose",
            "--debug",
        ];
        let values = [
            "--home",
            "--shell",
            "--gecos",
            "--comment",
            "--ingroup",
            "--uid",
            "--gid",
            "--firstuid",
            "--lastuid",
            "--conf",
        ];
        let Some(call) = Call::read(words, &flags, &values) else { return Ok(None) };
        let [name] = call.names.as_slice() else { return Ok(None) };
        if call.has(&["--group"]) && !call.has(&["--system"]) {
            return Ok(self.addgroup(words));
        }
        if !call.has(&["--system"]) {
            return Ok(None);
        }
        if self.accounts.has_user(name) {
            return Ok(Some(true));
        }
        let own_group = call.has(&["--group"]);
        let gid = match (call.get(&["--ingroup"]), call.get(&["--gid"])) {
            (Some(group), _) => self.accounts.gid(group),
            (None, Some(gid)) => gid.parse().ok(),
            (None, None) if own_group => self.accounts.add_group(name, None, Style::Adduser),
            (None, None) => self.accounts.gid("nogroup"),
        };
        let Some(gid) = gid else { return Ok(None) };
        let home = call.get(&["--home"]).unwrap_or(NO_HOME);
        // The old format of names: `name,,,`.
        let gecos = call.get(&["--gecos"]).map(|gecos| {
            if gecos.is_empty() || gecos.contains(',') { gecos.to_string() } else { format!("{gecos},,,") }
        });
        let user = NewUser {
            name: (*name).to_string(),
            uid: call.get(&["--uid"]).and_then(|uid| uid.parse().ok()),
            gid,
            gecos: gecos.or_else(|| call.get(&["--comment"]).map(str::to_string)).unwrap_or_default(),
            home: home.to_string(),
            shell: call.get(&["--shell"]).unwrap_or(NOLOGIN).to_string(),
        };
        let Some(uid) = self.accounts.add_user(&user, Style::Adduser) else { return Ok(None) };
        if !call.has(&["--no-create-home"]) && home != NO_HOME && home.starts_with('/') {
            self.site.folder(home, 0o755, uid, gid)?;
        }
        Ok(Some(true))
    }

    fn addgroup(&mut self, words: &[String]) -> Option<bool> {
        let flags = ["--system", "--group", "--quiet", "-q", "--force-badname", "--allow-badname", "--verbose"];
        let call = Call::read(words, &flags, &["--gid"])?;
        let [name] = call.names.as_slice() else { return None };
        let gid = call.get(&["--gid"]).and_then(|gid| gid.parse().ok());
        if !call.has(&["--system"]) && gid.is_none() {
            return None;
        }
        self.accounts.add_group(name, gid, Style::Adduser).map(|_| true)
    }

    fn useradd(&mut self, words: &[String]) -> Result<Option<bool>> {
        let flags = [
            "-r",
            "--system",
            "-M",
            "--no-create-home",
            "-m",
            "--create-home",
            "-U",
            "--user-group",
            "-N",
            "--no-user-group",
            "-l",
            "--no-log-init",
        ];
        let values = [
            "-d",
            "--home",
            "--home-dir",
            "-s",
            "--shell",
            "-c",
            "--comment",
            "-g",
            "--gid",
            "-u",
            "--uid",
            "-G",
            "--groups",
            "-b",
            "-K",
        ];
        let Some(call) = Call::read(words, &flags, &values) else { return Ok(None) };
        let [name] = call.names.as_slice() else { return Ok(None) };
        if !call.has(&["-r", "--system"]) {
            return Ok(None);
        }
        if self.accounts.has_user(name) {
            return Ok(Some(true));
        }
        let uid = call.get(&["-u", "--uid"]).and_then(|uid| uid.parse().ok());
        let gid = match call.get(&["-g", "--gid"]) {
            Some(group) => self.accounts.gid(group),
            None if call.has(&["-N", "--no-user-group"]) => Some(100),
            None => {
                let same = uid.or_else(|| self.accounts.free_for_both()).filter(|id| self.accounts.is_free(*id));
                self.accounts.add_group(name, same, Style::Useradd)
            }
        };
        let Some(gid) = gid else { return Ok(None) };
        let default = format!("/home/{name}");
        let home = call.get(&["-d", "--home", "--home-dir"]).unwrap_or(&default);
        let user = NewUser {
            name: (*name).to_string(),
            uid,
            gid,
            gecos: call.get(&["-c", "--comment"]).unwrap_or_default().to_string(),
            home: home.to_string(),
            shell: call.get(&["-s", "--shell"]).unwrap_or("/bin/sh").to_string(),
        };
        let Some(made) = self.accounts.add_user(&user, Style::Useradd) else { return Ok(None) };
        for group in call.get(&["-G", "--groups"]).unwrap_or_default().split(',').filter(|group| !group.is_empty()) {
            self.accounts.add_member(name, group);
        }
        if call.has(&["-m", "--create-home"]) && home.starts_with('/') {
            self.site.folder(home, 0o755, made, gid)?;
        }
        Ok(Some(true))
    }

    fn groupadd(&mut self, words: &[String]) -> Option<bool> {
        let call = Call::read(words, &["-r", "--system", "-f", "--force", "-o"], &["-g", "--gid", "-K"])?;
        let [name] = call.names.as_slice() else { return None };
        let gid = call.get(&["-g", "--gid"]).and_then(|gid| gid.parse().ok());
        if !call.has(&["-r", "--system"]) && gid.is_none() {
            return None;
        }
        self.accounts.add_group(name, gid, Style::Useradd).map(|_| true)
    }

    fn usermod(&mut self, words: &[String]) -> Option<bool> {
        let call = Call::read(words, &["-a", "--append"], &["-G", "--groups"])?;
        let [name] = call.names.as_slice() else { return None };
        let groups = call.get(&["-G", "--groups"])?;
        Some(call.has(&["-a", "--append"]) && groups.split(',').all(|group| self.accounts.add_member(name, group)))
    }
}
