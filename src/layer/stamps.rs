//! Digests of files that were read before, by what the file system said of them then: `stamps-v1/FOLDER`.
//!
//! An entry saves reading the file again, and nothing else. It is there only if no later change could have been missed
//! ([`crate::fs::Stamp`], which says what it cannot tell). If one is found to be wrong, all of its folder are forgotten.
//! The note begins with a digest of itself: one that is damaged does not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Bucket, Store};
use crate::error::Result;
use crate::fs::{self, Moment, Stamp};
use crate::oci::Digest;

/// The largest note that is read, in bytes.
const NOTE_LIMIT: u64 = 256 << 20;
/// So many entries that are of no use any more are kept.
const SPARE: usize = 1000;

/// What is known of the files in one folder.
pub struct Stamps {
    store: Store,
    name: String,
    /// The file system whose stamps count: the folder's, if it keeps time. Others may be mounted below.
    device: Option<u64>,
    known: BTreeMap<String, (Stamp, Digest)>,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    known: BTreeSet<String>,
    new: BTreeMap<String, (Stamp, Digest)>,
}

impl Stamps {
    /// Of the files in `folder`.
    pub fn open(store: &Store, folder: &Path) -> Stamps {
        let name = name(folder);
        let device = fs::timed_device(folder);
        let bytes = store.get_entry(Bucket::Stamps, &name, NOTE_LIMIT).ok().flatten().filter(|_| device.is_some());
        let known = bytes.and_then(|bytes| decode(&bytes)).unwrap_or_default();
        Stamps { store: store.clone(), name, device, known, used: Mutex::default() }
    }

    /// Forgets what is known of the files in `folder`: a stamp was wrong.
    pub fn forget(store: &Store, folder: &Path) {
        forget(store, &name(folder));
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The digest of the file's content, if the file is still the one that was read. `file` is its name below the folder.
    pub fn digest(&self, file: &str, found: &Stamp) -> Option<Digest> {
        let (stamp, digest) = self.known.get(file)?;
        if stamp != found || self.device != Some(found.device) {
            return None;
        }
        self.used().known.insert(file.to_string());
        Some(*digest)
    }

    /// Notes the digest of what was read from a file after `began`; `found` is of the same open file, looked at
    /// between the two.
    pub fn note(&self, file: &str, found: Stamp, digest: Digest, began: Moment) {
        if self.device == Some(found.device) && found.is_settled(began) && !file.contains('\n') {
            self.used().new.insert(file.to_string(), (found, digest));
        }
    }

    /// Keeps what is new. A note that cannot be written is only missed.
    pub fn save(&self) {
        let used = self.used();
        if used.new.is_empty() {
            // What was not believed must not be there for the next build.
            if !self.store.believes_stamps() {
                forget(&self.store, &self.name);
            }
            return;
        }
        let spare = self.known.len() > 2 * (used.known.len() + used.new.len()) + SPARE;
        let mut all = used.new.clone();
        for (file, entry) in &self.known {
            if !spare || used.known.contains(file) {
                all.entry(file.clone()).or_insert(*entry);
            }
        }
        let _: Result<()> = self.store.put_note(Bucket::Stamps, &self.name, &encode(&all));
    }
}

/// The note's name.
fn name(folder: &Path) -> String {
    Digest::of(fs::canonical(folder).as_os_str().as_encoded_bytes()).hex()
}

/// A note that cannot be removed cannot be written either: the user is told by what is.
fn forget(store: &Store, name: &str) {
    let _: fs::Result<()> = fs::remove_file(&store.entry_path(Bucket::Stamps, name));
}

fn encode(entries: &BTreeMap<String, (Stamp, Digest)>) -> Vec<u8> {
    let mut text = String::new();
    for (file, (stamp, digest)) in entries {
        text.push_str(&format!("{} {} {file}\n", stamp.text(), digest.hex()));
    }
    format!("{}\n{text}", Digest::of(text.as_bytes()).hex()).into_bytes()
}

fn decode(bytes: &[u8]) -> Option<BTreeMap<String, (Stamp, Digest)>> {
    let (own, text) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    if Digest::of(text.as_bytes()).hex() != own {
        return None;
    }
    let entry = |line: &str| {
        let mut words = line.splitn(7, ' ');
        let stamp = Stamp::parse(&mut words)?;
        let digest = format!("sha256:{}", words.next()?).parse().ok()?;
        Some((words.next()?.to_string(), (stamp, digest)))
    };
    text.lines().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    struct Folder {
        folder: tempfile::TempDir,
        store: Store,
    }

    impl Folder {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open_at(&folder.path().join("store")).unwrap();
            std::fs::create_dir(folder.path().join("files")).unwrap();
            Folder { folder, store }
        }

        fn path(&self, file: &str) -> PathBuf {
            self.folder.path().join("files").join(file)
        }

        fn open(&self) -> Stamps {
            Stamps::open(&self.store, &self.path(""))
        }

        fn stamp(&self, file: &str) -> Stamp {
            Stamp::of(&std::fs::symlink_metadata(self.path(file)).unwrap())
        }

        /// Reads a file as a build does: from the notes, or anew.
        fn read(&self, file: &str) -> (Digest, bool) {
            let stamps = self.open();
            let found = self.stamp(file);
            if let Some(digest) = stamps.digest(file, &found) {
                return (digest, true);
            }
            let began = Moment::now();
            let digest = Digest::of(&std::fs::read(self.path(file)).unwrap());
            stamps.note(file, found, digest, began);
            stamps.save();
            (digest, false)
        }

        /// Until a stamp of now counts.
        fn settle(&self) {
            std::thread::sleep(Duration::from_millis(120));
        }
    }

    #[test]
    fn a_file_that_did_not_change_is_read_once() {
        let folder = Folder::new();
        std::fs::write(folder.path("a b"), "one").unwrap();
        folder.settle();
        assert_eq!(folder.read("a b"), (Digest::of(b"one"), false));
        assert_eq!(folder.read("a b"), (Digest::of(b"one"), true));
        // Another folder with a file of that name.
        assert!(Stamps::open(&folder.store, folder.folder.path()).known.is_empty());
    }

    #[test]
    fn a_file_that_has_just_changed_is_read_again_and_again() {
        let folder = Folder::new();
        for round in 0..50 {
            let text = format!("{round:04}");
            std::fs::write(folder.path("a"), &text).unwrap();
            assert_eq!(folder.read("a"), (Digest::of(text.as_bytes()), false), "same size, same tick");
        }
    }

    #[test]
    fn no_change_is_missed() {
        let folder = Folder::new();
        let (path, other) = (folder.path("a"), folder.path("b"));
        let touch = |path: &PathBuf, time: &str| {
            let status = std::process::Command::new("touch").arg("-d").arg(time).arg(path).status().unwrap();
            assert!(status.success());
        };
        let old = "2001-02-03T04:05:06.789Z";
        let known = |text: &str| {
            std::fs::write(&path, text).unwrap();
            touch(&path, old);
            folder.settle();
            assert_eq!(folder.read("a"), (Digest::of(text.as_bytes()), false));
            assert_eq!(folder.read("a"), (Digest::of(text.as_bytes()), true));
        };
        known("one");
        // Same size, and the time set back.
        std::fs::write(&path, "two").unwrap();
        touch(&path, old);
        assert_eq!(folder.read("a"), (Digest::of(b"two"), false));
        // Replaced by a file of the same size and time.
        known("three");
        std::fs::write(&other, "tHREE").unwrap();
        touch(&other, old);
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(folder.read("a"), (Digest::of(b"tHREE"), false));
        // Changed by another name of it.
        known("four");
        std::fs::hard_link(&path, &other).unwrap();
        std::fs::write(&other, "FOUR").unwrap();
        touch(&other, old);
        assert_eq!(folder.read("a"), (Digest::of(b"FOUR"), false));
    }

    #[test]
    fn a_damaged_note_is_none_and_old_entries_go_at_last() {
        let folder = Folder::new();
        std::fs::write(folder.path("a"), "one").unwrap();
        folder.settle();
        folder.read("a");
        let name = folder.open().name;
        let path = folder.store.entry_path(Bucket::Stamps, &name);
        let sound = std::fs::read(&path).unwrap();
        for at in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[at] ^= 1;
            assert!(decode(&bytes).is_none(), "{at}");
        }
        assert!(decode(&sound[..sound.len() - 1]).is_none() && decode(b"").is_none());
        std::fs::write(&path, "x").unwrap();
        assert_eq!(folder.read("a"), (Digest::of(b"one"), false));

        let (stamp, digest) = (folder.stamp("a"), Digest::of(b"one"));
        let many = folder.open();
        (0..2 * SPARE).for_each(|n| many.note(&format!("gone {n}"), stamp, digest, Moment::now()));
        many.save();
        assert_eq!(folder.open().known.len(), 2 * SPARE + 1);
        let few = folder.open();
        assert!(few.digest("a", &stamp).is_some());
        few.note("new", stamp, digest, Moment::now());
        few.save();
        assert_eq!(folder.open().known.into_keys().collect::<Vec<_>>(), ["a", "new"]);
    }

    #[test]
    fn what_cannot_be_told_apart_is_not_noted() {
        let folder = Folder::new();
        std::fs::write(folder.path("a"), "one").unwrap();
        let stamps = folder.open();
        let stamp = Stamp { changed: 1, modified: 1, ..folder.stamp("a") };
        stamps.note("a\nb", stamp, Digest::of(b"one"), Moment::now());
        stamps.note("fresh", folder.stamp("a"), Digest::of(b"one"), Moment::now());
        stamps.save();
        assert!(folder.open().known.is_empty());
        let proc = Stamps::open(&folder.store, Path::new("/proc"));
        proc.note("a", stamp, Digest::of(b"one"), Moment::now());
        proc.save();
        assert!(Stamps::open(&folder.store, Path::new("/proc")).known.is_empty());
    }

    #[test]
    fn a_file_of_another_file_system_below_is_not_noted() {
        let folder = Folder::new();
        std::fs::write(folder.path("a"), "one").unwrap();
        folder.settle();
        let here = folder.stamp("a");
        // As below a mount: of a machine whose clock is not this one's, perhaps.
        let there = Stamp { device: here.device + 1, ..here };
        let stamps = folder.open();
        stamps.note("a", here, Digest::of(b"one"), Moment::now());
        stamps.note("mount/a", there, Digest::of(b"one"), Moment::now());
        stamps.save();
        assert_eq!(folder.open().known.into_keys().collect::<Vec<_>>(), ["a"]);
        // Nor believed if an older note has it.
        let stamps = Stamps { known: [("mount/a".to_string(), (there, Digest::of(b"one")))].into(), ..folder.open() };
        assert_eq!(stamps.digest("mount/a", &there), None);
    }
}
