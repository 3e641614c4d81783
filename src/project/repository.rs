//! What git's answers depend on, so that it need not be asked again: `stamps-v1/git-FOLDER`.
//!
//! The answers are those about HEAD, tags, and whether a tracked file differs from the commit. They hold as long as
//! nothing of that changed: HEAD and the branch that it names, packed references, tags, the index, configurations, and
//! every tracked file, each by its [`Stamp`]; where git reads through links, every link and what it leads to. Whatever is
//! unusual (submodules, reftables, configurations that include others or name another work tree, variables that steer
//! git, file systems of other machines) is asked of git every time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::facts::Commit;
use crate::fs::{self, Moment, Stamp, keeps_time};
use crate::layer::{Bucket, Store};
use crate::oci::{Digest, Epoch};

/// In larger repositories git itself is asked.
const TRACKED_LIMIT: usize = 50_000;
/// The most tags that are watched, each a file.
const TAGS_LIMIT: usize = 5_000;
/// So many links may follow each other, as for the kernel.
const LINKS_LIMIT: usize = 40;
/// The largest note that is read, in bytes.
const NOTE_LIMIT: u64 = 64 << 20;
/// The largest index.
const INDEX_LIMIT: u64 = 64 << 20;
/// The largest of git's small files.
const SMALL_LIMIT: u64 = 64 << 10;

/// Whether a folder is in a repository.
pub(super) enum Found {
    /// Git has nothing to say about it.
    Nothing,
    /// In this one.
    Repository(Repository),
    /// Git has to be asked.
    Unclear,
}

/// A repository of the ordinary kind.
pub(super) struct Repository {
    /// The folder with the tracked files.
    pub top: PathBuf,
    /// What is the same for all work trees.
    common: PathBuf,
    /// What this work tree has of its own.
    own: PathBuf,
    /// Small files that lead there.
    pointers: Vec<PathBuf>,
    /// The user's and the machine's configuration.
    configurations: Vec<PathBuf>,
    name: String,
}

/// Questions to git itself, whose answers decide what is watched.
pub(super) struct Git<'a> {
    /// The machine's configuration, if git can tell where it is.
    pub system: &'a dyn Fn() -> Option<PathBuf>,
    /// The index, each entry with its mode in front.
    pub tracked: &'a dyn Fn() -> Option<Vec<(String, PathBuf)>>,
}

/// A file and what it looked like; `None` if it was not there.
type Seen = (PathBuf, Option<Stamp>);

/// The repository that `root` is in.
pub(super) fn find(root: &Path, configurations: Vec<PathBuf>) -> Found {
    let root = fs::canonical(root);
    for folder in root.ancestors() {
        let marker = folder.join(".git");
        if fs::symlink_metadata(&marker).is_ok() {
            return match Repository::at(&root, folder, &marker, configurations) {
                Some(repository) => Found::Repository(repository),
                None => Found::Unclear,
            };
        }
        // A bare repository.
        if ["HEAD", "objects", "refs"].iter().all(|part| fs::exists(&folder.join(part))) {
            return Found::Unclear;
        }
    }
    Found::Nothing
}

impl Repository {
    fn at(root: &Path, top: &Path, marker: &Path, configurations: Vec<PathBuf>) -> Option<Repository> {
        let mut pointers = vec![marker.to_path_buf()];
        let own = if marker.is_dir() {
            pointers.clear();
            marker.to_path_buf()
        } else {
            top.join(small(marker)?.trim_end().strip_prefix("gitdir: ")?)
        };
        let pointer = own.join("commondir");
        let common = small(&pointer).map_or(own.clone(), |path| own.join(path.trim_end()));
        pointers.push(pointer);
        let unusual = fs::exists(&common.join("reftable")) || ![top, &own, &common].into_iter().all(keeps_time);
        let places = [root, top, &own, &common].into_iter().chain(configurations.iter().map(PathBuf::as_path));
        let parts = places.map(|path| path.as_os_str().as_encoded_bytes()).collect::<Vec<_>>().join(&b'\n');
        let name = format!("git-{}", Digest::of(&parts).hex());
        (!unusual).then(|| Repository { top: top.to_path_buf(), common, own, pointers, configurations, name })
    }

    /// The digest of the index. `git describe` writes the file anew each time, and seldom with another content.
    fn index(&self) -> Option<Digest> {
        fs::read(&self.own.join("index"), INDEX_LIMIT).ok().map(|bytes| Digest::of(&bytes))
    }

    /// Everything but the index and tracked files.
    fn own_files(&self, git: &Git<'_>) -> Option<Vec<PathBuf>> {
        let mut configurations = vec![self.own.join("config.worktree"), self.common.join("config")];
        configurations.extend(self.configurations.iter().cloned());
        if configurations.iter().any(|path| leads_elsewhere(path)) {
            return None;
        }
        if let Some(system) = (git.system)().filter(|path| !configurations.contains(path)) {
            if leads_elsewhere(&system) {
                return None;
            }
            configurations.push(system);
        }
        let head = self.own.join("HEAD");
        let mut files = self.pointers.clone();
        if let Some(branch) = small(&head)?.trim_end().strip_prefix("ref: ") {
            let branch = self.common.join(branch);
            // A reference that leads to another one.
            if small(&branch).is_some_and(|text| text.starts_with("ref:")) {
                return None;
            }
            files.push(branch);
        }
        files.push(head);
        files.extend(["packed-refs", "shallow", "info/grafts"].map(|name| self.common.join(name)));
        files.extend(configurations);
        for folder in ["refs/tags", "refs/replace"] {
            below(&self.common.join(folder), &mut files)?;
        }
        files.into_iter().map(chain).collect::<Option<Vec<_>>>().map(|chains| chains.concat())
    }

    /// What git said, if it would say the same now.
    pub(super) fn known(&self, store: &Store) -> Option<Commit> {
        let bytes = store.get_entry(Bucket::Stamps, &self.name, NOTE_LIMIT).ok()??;
        let (index, commit, seen) = decode(&bytes)?;
        if self.index() != Some(index) {
            return None;
        }
        seen.iter().all(|(path, stamp)| look(path) == *stamp).then_some(commit)
    }

    /// Looks at all that `ask`'s answers depend on, asks, and keeps the answers.
    pub(super) fn ask(&self, store: &Store, git: &Git<'_>, ask: impl FnOnce() -> Commit) -> Commit {
        let (began, index) = (Moment::now(), self.index());
        let seen = self.look(git);
        let commit = ask();
        let settled = |(_, stamp): &Seen| stamp.is_none_or(|stamp| stamp.is_settled(began));
        if let Some(seen) = seen.filter(|seen| seen.iter().all(settled))
            && commit.revision.is_some()
            && commit.refusal.is_none()
            && let Some(index) = index.filter(|index| self.index() == Some(*index))
            && let Some(bytes) = encode(&index, &commit, &seen)
        {
            // A note that cannot be written is only missed.
            let _: crate::error::Result<()> = store.put_note(Bucket::Stamps, &self.name, &bytes);
        }
        commit
    }

    fn look(&self, git: &Git<'_>) -> Option<Vec<Seen>> {
        let with_stamp = |path: PathBuf| {
            let stamp = look(&path);
            (path, stamp)
        };
        let mut seen: Vec<Seen> = self.own_files(git)?.into_iter().map(with_stamp).collect();
        let tracked = (git.tracked)()?;
        // A submodule has a HEAD and files of its own.
        if tracked.len() > TRACKED_LIMIT || tracked.iter().any(|(mode, _)| mode == "160000") {
            return None;
        }
        seen.extend(tracked.into_iter().map(|(_, path)| with_stamp(self.top.join(path))));
        count(&seen).then_some(seen)
    }
}

/// Whether all stamps count: what is mounted below the work tree, or where configurations are, may not keep time.
fn count(seen: &[Seen]) -> bool {
    let places = seen.iter().filter_map(|(path, stamp)| Some((stamp.as_ref()?.device, path.as_path())));
    // Of a link, the folder is asked: it may lead elsewhere.
    let place = |path: &Path| if path.is_symlink() { path.parent().is_some_and(keeps_time) } else { keeps_time(path) };
    places.collect::<BTreeMap<u64, &Path>>().into_values().all(place)
}

fn look(path: &Path) -> Option<Stamp> {
    fs::symlink_metadata(path).ok().map(|found| Stamp::of(&found))
}

/// A small text file, if it is there.
fn small(path: &Path) -> Option<String> {
    fs::read_text(path, SMALL_LIMIT).ok()
}

/// Whether git reads more than this configuration because of it: other files, or another work tree.
fn leads_elsewhere(configuration: &Path) -> bool {
    if !configuration.is_file() {
        return false;
    }
    let Ok(bytes) = fs::read(configuration, SMALL_LIMIT) else { return true };
    let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    let mut words = text.split(|c: char| c.is_whitespace() || c == ']' || c == '=');
    text.contains("[include") || words.any(|word| word == "worktree")
}

/// A path, and what it leads to from link to link; `None` if that has no end.
fn chain(path: PathBuf) -> Option<Vec<PathBuf>> {
    let mut paths = vec![path];
    while let Some(target) = paths.last().and_then(|last| Some(last.parent()?.join(last.read_link().ok()?))) {
        if paths.len() > LINKS_LIMIT {
            return None;
        }
        paths.push(target);
    }
    Some(paths)
}

/// A folder and everything below it; `None` if that is too much. A file that comes or goes changes its folder.
fn below(folder: &Path, files: &mut Vec<PathBuf>) -> Option<()> {
    files.push(folder.to_path_buf());
    for path in fs::read_dir(folder).unwrap_or_default() {
        if path.is_dir() {
            below(&path, files)?;
        } else {
            files.push(path);
        }
        if files.len() > TAGS_LIMIT {
            return None;
        }
    }
    Some(())
}

/// A digest of the rest, one of the index, the answers, then a line for each file. A path that is no text, or has a line break, cannot be
/// written.
fn encode(index: &Digest, commit: &Commit, seen: &[Seen]) -> Option<Vec<u8>> {
    let time = commit.time.map(|time| time.seconds().to_string());
    let mut text = format!("{index}\n");
    for answer in [&commit.revision, &commit.short, &commit.describe, &time] {
        text.push_str(answer.as_deref().unwrap_or_default());
        text.push('\n');
    }
    for (path, stamp) in seen {
        let path = path.to_str().filter(|path| !path.contains('\n'))?;
        match stamp {
            Some(stamp) => text.push_str(&format!("+ {} {path}\n", stamp.text())),
            None => text.push_str(&format!("- {path}\n")),
        }
    }
    Some(format!("{}\n{text}", Digest::of(text.as_bytes()).hex()).into_bytes())
}

fn decode(bytes: &[u8]) -> Option<(Digest, Commit, Vec<Seen>)> {
    let (own, text) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    if Digest::of(text.as_bytes()).hex() != own {
        return None;
    }
    let mut lines = text.lines();
    let index = lines.next()?.parse().ok()?;
    let mut answer = || lines.next().map(|line| (!line.is_empty()).then(|| line.to_string()));
    let (revision, short, describe) = (answer()?, answer()?, answer()?);
    let time = match answer()? {
        Some(seconds) => Some(Epoch::from_seconds(seconds.parse().ok()?).ok()?),
        None => None,
    };
    let seen = |line: &str| match line.split_once(' ')? {
        ("-", path) => Some((PathBuf::from(path), None)),
        (_, rest) => {
            let mut words = rest.splitn(6, ' ');
            let stamp = Stamp::parse(&mut words)?;
            Some((PathBuf::from(words.next()?), Some(stamp)))
        }
    };
    let seen = lines.map(seen).collect::<Option<Vec<Seen>>>()?;
    Some((index, Commit { revision, short, describe, time, refusal: None }, seen))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::process::Command;
    use std::time::Duration;

    use super::*;
    use crate::process;
    use crate::project::facts::{asking, commit};

    struct Clone {
        folder: tempfile::TempDir,
        store: Store,
    }

    impl Clone {
        fn new(script: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open_at(&folder.path().join("store")).unwrap();
            std::fs::create_dir(folder.path().join("work")).unwrap();
            let clone = Clone { folder, store };
            clone.sh(
                "git init -q -b main . && mkdir src && echo 1 > src/a && echo 2 > b && git add . && git commit -qm 1",
            );
            clone.sh(script);
            clone
        }

        fn root(&self) -> PathBuf {
            self.folder.path().join("work")
        }

        fn sh(&self, script: &str) {
            let mut command = Command::new("sh");
            let script = format!("git() {{ command git -c user.name=a -c user.email=a@b.example \"$@\"; }}\n{script}");
            command.args(["-ec", &script]).current_dir(self.root());
            let output = process::run(command, b"", Duration::from_secs(20)).unwrap();
            assert!(output.status.success(), "install git? {}", output.stderr_text());
            // Until the stamps of what was done count.
            std::thread::sleep(Duration::from_millis(120));
        }

        /// What a build is told, and whether git was asked for it. It is always what git says.
        fn facts(&self, below: &str) -> (Option<String>, bool) {
            let root = self.root().join(below);
            let asked = Cell::new(false);
            let found = asking(&root, &self.store, || asked.set(true));
            assert_eq!(found, commit(&root));
            (found.describe, asked.get())
        }

        /// The next question is asked of git, and then no more.
        fn asks_once(&self, below: &str) -> String {
            // The first `git describe` may refresh the index.
            self.facts(below);
            std::thread::sleep(Duration::from_millis(120));
            self.facts(below);
            let (describe, asked) = self.facts(below);
            assert!(!asked, "{describe:?}");
            describe.unwrap()
        }
    }

    #[test]
    fn git_is_asked_again_when_something_changed() {
        let clone = Clone::new("git tag v1");
        assert_eq!(clone.asks_once(""), "v1");
        assert_eq!(clone.asks_once("src"), "v1");
        for (script, expected) in [
            ("echo 3 > src/a", "v1-dirty"),
            ("echo 1 > src/a", "v1"),
            ("rm b", "v1-dirty"),
            ("git checkout -q b; touch untracked", "v1"),
            ("echo 4 > b; touch -d 2001-01-01 b; git add b", "v1-dirty"),
            ("git reset -q --hard; git tag -d v1 >/dev/null; git tag v2", "v2"),
            ("git tag -a -m x v3", "v3"),
            ("git pack-refs --all; git checkout -q -b other; git commit -q --allow-empty -m 2; git tag v4", "v4"),
            ("git checkout -q main", "v3"),
            ("git checkout -q --detach v4", "v4"),
        ] {
            clone.sh(script);
            assert!(clone.facts("").1, "{script}");
            assert_eq!(clone.asks_once(""), expected, "{script}");
        }
        clone.sh("git commit -q --allow-empty -m 3");
        assert!(clone.asks_once("").starts_with("v4-1-g"));
    }

    #[test]
    fn work_trees_have_a_head_of_their_own() {
        let clone = Clone::new("git tag v1; git worktree add -q ../other -b other; cd ../other; git tag x");
        let tree = Clone { store: clone.store.clone(), folder: clone.folder };
        assert_eq!(tree.asks_once("../other"), "v1");
        tree.sh("cd ../other; git commit -q --allow-empty -m 2; git tag v2");
        assert!(tree.facts("../other").1);
        assert_eq!(tree.asks_once("../other"), "v2");
    }

    #[test]
    fn what_is_unusual_is_asked_every_time_and_nothing_needs_no_git() {
        let clone =
            Clone::new("git init -q inner; git -C inner commit -q --allow-empty -m 1; git add inner 2>/dev/null");
        (0..3).for_each(|_| assert!(clone.facts("").1, "a submodule"));
        let bare = Clone::new("git clone -q --bare . ../bare");
        (0..2).for_each(|_| assert!(bare.facts("../bare").1, "a bare repository"));
        let folder = tempfile::tempdir().unwrap();
        let asked = Cell::new(false);
        assert_eq!(asking(folder.path(), &bare.store, || asked.set(true)), Commit::default());
        assert!(!asked.get());
    }

    #[test]
    fn a_file_of_a_file_system_that_keeps_no_time_is_asked_of_git_every_time() {
        let clone = Clone::new("git tag v1");
        let noted = |configuration: &str| {
            let configurations = vec![PathBuf::from(configuration)];
            let Found::Repository(repository) = find(&clone.root(), configurations) else { panic!("no repository") };
            look(Path::new(configuration));
            std::thread::sleep(Duration::from_millis(120));
            let git = Git { system: &|| None, tracked: &|| Some(Vec::new()) };
            repository.ask(&clone.store, &git, || commit(&clone.root()));
            repository.known(&clone.store).is_some()
        };
        assert!(!noted("/proc/version"));
        assert!(noted("/etc/hostname"));
    }

    #[test]
    fn a_configuration_that_leads_elsewhere_is_asked_of_git_every_time() {
        for setting in
            ["[include]\n path = ../../elsewhere", "[IncludeIf \"gitdir:/\"]\n path = x", "[core]WorkTree=.."]
        {
            let clone = Clone::new("git tag v1; touch ../elsewhere");
            std::fs::write(clone.folder.path().join("setting"), setting).unwrap();
            clone.sh("cat ../setting >> .git/config");
            clone.facts("");
            std::thread::sleep(Duration::from_millis(120));
            (0..2).for_each(|_| assert!(clone.facts("").1, "{setting}"));
        }
        // Neither is a mention of it.
        let clone = Clone::new("git tag v1; git config extensions.worktreeConfig true; git config a.b 'include this'");
        assert_eq!(clone.asks_once(""), "v1");
    }

    #[test]
    fn what_a_link_leads_to_is_watched() {
        let clone = Clone::new(
            "git tag v1; git pack-refs --all; git branch -q other; mv .git/config .git/packed-refs ..
             ln -s ../../config ../../packed-refs .git",
        );
        assert_eq!(clone.asks_once(""), "v1");
        clone.sh("git config --file ../config core.filemode false");
        assert!(clone.facts("").1, "the configuration's target");
        assert_eq!(clone.asks_once(""), "v1");
        clone.sh("sed s,refs/tags/v1,refs/tags/v2, ../packed-refs > x; cat x > ../packed-refs; rm x");
        assert!(clone.facts("").1, "the target of packed references");
        assert_eq!(clone.asks_once(""), "v2");
        // HEAD, as it was written once.
        clone.sh("git commit -q --allow-empty -m 2; git tag v3; ln -sf refs/heads/main .git/HEAD");
        assert_eq!(clone.asks_once(""), "v3");
        clone.sh("git commit -q --allow-empty -m 3; test -h .git/HEAD");
        assert!(clone.facts("").1, "HEAD's target");
    }

    #[test]
    fn the_machines_configuration_is_where_git_says() {
        let clone = Clone::new("git tag v1");
        let system = clone.folder.path().join("etc-gitconfig");
        let Found::Repository(repository) = find(&clone.root(), Vec::new()) else { panic!("no repository") };
        let answers = || {
            let git = Git { system: &|| Some(system.clone()), tracked: &|| Some(Vec::new()) };
            repository.ask(&clone.store, &git, || commit(&clone.root()));
        };
        answers();
        assert!(repository.known(&clone.store).is_some());
        clone.sh("echo '[core]' > ../etc-gitconfig");
        assert!(repository.known(&clone.store).is_none());
        answers();
        assert!(repository.known(&clone.store).is_some());
        clone.sh("echo '[include] path = x' > ../etc-gitconfig");
        answers();
        assert!(repository.known(&clone.store).is_none());
        // Another home has another configuration.
        let Found::Repository(other) = find(&clone.root(), vec!["/nonexistent".into()]) else {
            panic!("no repository")
        };
        assert_ne!(other.name, repository.name);
    }

    #[test]
    fn a_damaged_note_is_none() {
        let clone = Clone::new("git tag v1");
        clone.asks_once("");
        let bucket = clone.store.root().join("stamps-v1");
        let sound = std::fs::read(&fs::read_dir(&bucket).unwrap()[0]).unwrap();
        assert!(decode(&sound).is_some());
        for at in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[at] ^= 1;
            assert!(decode(&bytes).is_none(), "{at}");
        }
        assert!(encode(&Digest::of(b"x"), &Commit::default(), &[("a\nb".into(), None)]).is_none());
    }
}
