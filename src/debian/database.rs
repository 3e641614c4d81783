//! dpkg's database as dpkg itself would have left it: the status, and for each package its list, sums and scripts.
//!
//! What was left out by rule is in no list and no sums, so that `dpkg -V` finds exactly what is there.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::control_tar::SCRIPTS;
use super::install::DIVERSIONS;
use super::install_base::{FOLDER, INFO, MD5_COLUMN, STATUS_FOLDER, TRIGGERS, info_name, predecessor};
use super::{Deb, Installation, Installed, Root, database_status, database_triggers};
use crate::error::Result;
use crate::layer::{BaseView, Content, Entry, TreePath};

/// Writes the database for the packages of an installation.
pub fn write(installation: &mut Installation, debs: &[Deb], installed: &Installed) -> Result<()> {
    let mut debs: Vec<&Deb> = debs.iter().collect();
    debs.sort_by_cached_key(|deb| info_name(&deb.package));
    if debs.is_empty() {
        return Ok(());
    }
    let mut database = Database { input: "dpkg's database".into(), installation };
    let has_status = database.root().exists(database_status::STATUS);
    let has_folder = database.root().exists(STATUS_FOLDER);
    if has_folder {
        database.status_folder(&debs, installed)?;
    }
    if has_folder && !has_status {
        return Ok(());
    }
    if !has_status {
        database.begin(&debs)?;
    }
    let status = database.installation.files.text(database_status::STATUS);
    let status = database_status::merge(&status, &debs, installed, &database.installation.obsolete)?;
    database.write(database_status::STATUS, status, 0o644)?;
    database.remove_old()?;
    for deb in &debs {
        database.info(deb)?;
    }
    database.disown()?;
    for (name, text) in database_triggers::merge(&database.installation.files, &debs) {
        let path = format!("{}/{name}", TRIGGERS);
        match text.is_empty() {
            true => database.installation.root.remove(&TreePath::new(&path)?),
            false => database.write(&path, text, 0o644)?,
        }
    }
    if !database.installation.diversions.added().is_empty() {
        let text = database.installation.diversions.render();
        database.write(DIVERSIONS, text, 0o644)?;
    }
    Ok(())
}

struct Database<'a> {
    input: Arc<str>,
    installation: &'a mut Installation,
}

impl Database<'_> {
    fn root(&self) -> &Root {
        &self.installation.root
    }

    fn write(&mut self, path: &str, content: impl Into<Vec<u8>>, mode: u32) -> Result<()> {
        let entry = Entry::file(Content::from(content.into()), mode, &self.input);
        self.installation.root.replace(&TreePath::new(path)?, entry);
        Ok(())
    }

    /// What a root without packages does not have yet. dpkg needs these folders.
    fn begin(&mut self, debs: &[&Deb]) -> Result<()> {
        for name in ["info", "triggers", "updates"] {
            let path = TreePath::new(&format!("{FOLDER}/{name}"))?;
            if self.root().own(&path).is_none() && self.root().below().lookup(&path).is_none() {
                let folder = Entry::directory(&self.input);
                self.installation.root.replace(&path, folder);
            }
        }
        for name in ["available", "diversions", "statoverride", "triggers/File", "triggers/Unincorp"] {
            self.write(&format!("{FOLDER}/{name}"), "", 0o644)?;
        }
        self.write(&format!("{INFO}/format"), "1\n", 0o644)?;
        // Programs of another architecture that read this database learn here what is native in it.
        let native = debs.iter().map(|deb| deb.package.architecture.as_str()).find(|name| *name != "all");
        match native {
            Some(native) => self.write(&format!("{FOLDER}/arch"), format!("{native}\n"), 0o644),
            None => Ok(()),
        }
    }

    /// Takes away what older versions had in dpkg's folder.
    fn remove_old(&mut self) -> Result<()> {
        let replaced = self.installation.replaced.clone();
        let old: Vec<TreePath> = self
            .root()
            .list(INFO)
            .into_keys()
            .filter(|path| path.name().rsplit_once('.').is_some_and(|(name, _)| replaced.contains(name)))
            .collect();
        old.iter().for_each(|path| self.installation.root.remove(path));
        Ok(())
    }

    /// What was not left out of a package, whoever has it now.
    fn shipped(&self, name: &str) -> BTreeSet<String> {
        let all = [&self.installation.owned, &self.installation.lost];
        all.into_iter().filter_map(|paths| paths.get(name)).flatten().cloned().collect()
    }

    /// The list, sums, scripts and the rest of one package.
    fn info(&mut self, deb: &Deb) -> Result<()> {
        let name = info_name(&deb.package);
        let owned = self.installation.owned.get(&name).cloned().unwrap_or_default();
        let shipped = self.shipped(&name);
        let list: String = owned.iter().map(|path| format!("{path}\n")).collect();
        self.write(&format!("{INFO}/{name}.list"), list, 0o644)?;
        for (script, text) in &deb.scripts {
            self.write(&format!("{INFO}/{name}.{script}"), text.as_str(), 0o755)?;
        }
        if let Some(triggers) = &deb.triggers {
            self.write(&format!("{INFO}/{name}.triggers"), triggers.as_str(), 0o644)?;
        }
        for (other, bytes) in &deb.others {
            let mode = if SCRIPTS.contains(&other.as_str()) { 0o755 } else { 0o644 };
            let bytes = if other == "md5sums" { sums(bytes, &shipped) } else { bytes.clone() };
            self.write(&format!("{INFO}/{name}.{other}"), bytes, mode)?;
        }
        Ok(())
    }

    /// Takes the paths out of lists of the base that other packages have now.
    fn disown(&mut self) -> Result<()> {
        for (name, lost) in self.installation.disowned.clone() {
            let path = format!("{INFO}/{name}.list");
            let list = self.installation.files.text(&path);
            let stays = |line: &&str| TreePath::new(line).map_or(true, |path| !lost.contains(&path));
            let list: String = list.lines().filter(stays).map(|line| format!("{line}\n")).collect();
            self.write(&path, list, 0o644)?;
        }
        Ok(())
    }

    /// One file for each package, as images without dpkg have it and scanners read it.
    fn status_folder(&mut self, debs: &[&Deb], installed: &Installed) -> Result<()> {
        for deb in debs {
            let name = &deb.package.name;
            let shipped = self.shipped(&info_name(&deb.package));
            let file = match predecessor(&deb.package, installed) {
                Some(old) => self.status_file(&old.text).unwrap_or_else(|| name.clone()),
                None => name.clone(),
            };
            self.write(&format!("{STATUS_FOLDER}/{file}"), deb.control.render(), 0o644)?;
            if let Some(md5sums) = deb.others.get("md5sums") {
                self.write(&format!("{STATUS_FOLDER}/{file}.md5sums"), sums(md5sums, &shipped), 0o644)?;
            }
        }
        Ok(())
    }

    /// The file in the folder that has this text: its name may be the package's in another writing.
    fn status_file(&self, text: &str) -> Option<String> {
        let mut all = self.installation.files.folder(STATUS_FOLDER).filter(|(name, _)| !name.ends_with(".md5sums"));
        all.find(|(_, found)| found.trim() == text.trim()).map(|(name, _)| name.to_string())
    }
}

/// The lines of md5sums of files that are not left out.
fn sums(md5sums: &[u8], shipped: &BTreeSet<String>) -> Vec<u8> {
    let lines = md5sums.split_inclusive(|byte| *byte == b'\n');
    let has = |line: &&[u8]| {
        let path = String::from_utf8_lossy(line.get(MD5_COLUMN..).unwrap_or_default());
        let path = path.trim_end_matches('\n').trim_start_matches("./").trim_start_matches('/');
        shipped.contains(&format!("/{path}"))
    };
    lines.filter(has).flatten().copied().collect()
}

#[cfg(test)]
#[path = "database_tests.rs"]
mod tests;
