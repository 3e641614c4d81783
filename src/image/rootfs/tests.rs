use super::*;
use crate::layer::read::testing::{RawTar, layer};

pub(super) struct Fixture {
    pub folder: tempfile::TempDir,
    pub store: Store,
}

impl Fixture {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_at(&folder.path().join("store")).unwrap();
        Fixture { folder, store }
    }

    pub fn open(&self, tars: Vec<RawTar>) -> Result<Rootfs> {
        let layers: Vec<_> =
            tars.into_iter().enumerate().map(|(n, tar)| layer(&self.store, &format!("base {n}"), tar.end())).collect();
        self.open_layers(&layers)
    }

    pub fn open_layers(&self, layers: &[LayerBlob]) -> Result<Rootfs> {
        Rootfs::open(layers, Arc::new(self.store.clone()), &self.store, &Progress::silent())
    }
}

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn paths(rootfs: &Rootfs) -> Vec<&str> {
    rootfs.iter().map(|(path, _)| path.as_str()).collect()
}

fn text(rootfs: &Rootfs, at: &str) -> Option<String> {
    rootfs.read(&path(at), 100).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn later_layers_replace_and_hide() {
    let lower =
        RawTar::new().folder("d").file("d/a", b"1").file("d/b", b"1").file("test", b"1").file("root/test", b"1");
    let middle = RawTar::new().file("d/a", b"2").file(".wh.test", b"").file("x/y/z", b"2");
    let upper = RawTar::new().file("d/c", b"3").file("d/.wh.b", b"").file("x/.wh.y", b"");
    let fixture = Fixture::new();
    let rootfs = fixture.open(vec![lower, middle, upper]).unwrap();
    assert_eq!(paths(&rootfs), ["d", "d/a", "d/c", "root", "root/test", "x"]);
    assert_eq!((text(&rootfs, "d/a"), text(&rootfs, "d/b")), (Some("2".into()), None));
    assert_eq!(text(&rootfs, "root/test"), Some("1".into()));
    assert_eq!(rootfs.list(&path("d")).len(), 2);
    assert_eq!(rootfs.lookup(&path("x")).unwrap().mode, 0o755);
    assert!(rootfs.read(&path("d/a"), 0).is_err());
    let many = [path("d/a"), path("d/c"), path("root/test"), path("d"), path("gone")];
    let found = rootfs.read_many(&many, 1).unwrap();
    let found: Vec<_> = found.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    assert_eq!(found, [("d/a", &b"2"[..]), ("d/c", &b"3"[..]), ("root/test", &b"1"[..])]);
    // Remembered now; read anew; and what the listing keeps: the same limit for all.
    assert!(rootfs.read_many(&many, 0).is_err());
    assert!(rootfs.read_many(&[path("d/a")], 0).is_err());
    assert!(rootfs.remembered().len() == 3 && rootfs.read_many(&many, 1).is_ok());
    rootfs.remembered().clear();
    assert!(rootfs.read_many(&many, 0).is_err());
    let kept = fixture.open(vec![RawTar::new().file("etc/passwd", b"root:x:0:0::/:\n")]).unwrap();
    assert_eq!(kept.kept.len(), 1);
    assert!(kept.read_many(&[path("etc/passwd")], 3).is_err() && kept.read_many(&[path("etc/passwd")], 99).is_ok());
}

#[test]
fn a_lowest_layer_is_taken_whole_as_if_it_were_placed_piece_by_piece() {
    let fixture = Fixture::new();
    let whole = || {
        let first = RawTar::new().folder("a").file("a-b", b"1").folder("a/x").file("a/x/f", b"2").file("a/y", b"3");
        first.folder("usr").folder("usr/lib").symlink("lib", "usr/lib").file("usr/lib/z", b"4").folder("a/x/g")
    };
    let part = || RawTar::new().file("no/folder/f", b"5").folder("b").file("b/f", b"6");
    for tar in [whole, part] {
        let taken = fixture.open(vec![tar()]).unwrap();
        let placed = fixture.open(vec![RawTar::new().file("zzz", b""), tar()]).unwrap();
        let all = |rootfs: &Rootfs| -> Vec<(TreePath, BaseEntry, u64)> {
            let nodes = rootfs.nodes.iter().filter(|(path, _)| path.as_str() != "zzz");
            nodes.map(|(path, node)| (path.clone(), node.entry.clone(), node.size)).collect()
        };
        assert_eq!(all(&taken), all(&placed));
        assert!(taken.nodes.len() > 3 && text(&taken, "a/x/f").is_none_or(|text| text == "2"));
    }
    let entries = |tar: fn() -> RawTar| fixture.open(vec![tar()]).unwrap().nodes;
    assert!(entries(part).contains_key("no/folder") && entries(whole).contains_key("a/x/g"));
}

#[test]
fn a_marker_hides_only_lower_layers_wherever_it_stands() {
    let lower = || RawTar::new().folder("d").file("d/old", b"").file("other", b"");
    let uppers = [
        RawTar::new().file("d/.wh..wh..opq", b"").folder("d").file("d/new", b""),
        RawTar::new().folder("d").file("d/.wh..wh..opq", b"").file("d/new", b""),
        RawTar::new().folder("d").file("d/new", b"").file("d/.wh..wh..opq", b""),
    ];
    let fixture = Fixture::new();
    for upper in uppers {
        let rootfs = fixture.open(vec![lower(), upper]).unwrap();
        assert_eq!(paths(&rootfs), ["d", "d/new", "other"]);
    }
    // The same for a whiteout of a path that its own layer adds.
    for upper in [RawTar::new().file("x", b"2").file(".wh.x", b""), RawTar::new().file(".wh.x", b"").file("x", b"2")] {
        let rootfs = fixture.open(vec![RawTar::new().file("x", b"1"), upper]).unwrap();
        assert_eq!(text(&rootfs, "x"), Some("2".into()));
    }
    let rootfs = fixture.open(vec![lower(), RawTar::new().file(".wh..wh..opq", b"").file("n", b"")]).unwrap();
    assert_eq!(paths(&rootfs), ["n"]);
}

#[test]
fn a_whiteout_does_not_follow_a_link() {
    let lower = || RawTar::new().folder("target").file("target/f", b"").symlink("link", "/target");
    let fixture = Fixture::new();
    for marker in ["link/.wh..wh..opq", "link/.wh.f"] {
        let rootfs = fixture.open(vec![lower(), RawTar::new().file(marker, b"")]).unwrap();
        assert_eq!(paths(&rootfs), ["link", "target", "target/f"], "{marker}");
    }
}

#[test]
fn entries_go_where_engines_put_them() {
    let lower = || RawTar::new().folder("usr/lib").symlink("lib", "usr/lib").file("f", b"");
    let fixture = Fixture::new();
    // Through the link of a lower layer, as extraction does.
    let rootfs = fixture.open(vec![lower(), RawTar::new().file("lib/x/y", b"1")]).unwrap();
    assert_eq!(paths(&rootfs), ["f", "lib", "usr", "usr/lib", "usr/lib/x", "usr/lib/x/y"]);
    assert_eq!(text(&rootfs, "lib/x/y"), Some("1".into()));
    // A folder over a link replaces the link; a file over a folder replaces all of it.
    let rootfs = fixture.open(vec![lower(), RawTar::new().folder("lib").file("lib/x", b"")]).unwrap();
    assert_eq!(paths(&rootfs), ["f", "lib", "lib/x", "usr", "usr/lib"]);
    let rootfs = fixture.open(vec![lower(), RawTar::new().file("usr", b"")]).unwrap();
    assert_eq!(paths(&rootfs), ["f", "lib", "usr"]);
    // Chains of links that lead out stay inside; links to nowhere and through files are refused.
    let chain = RawTar::new().symlink("cur", ".").symlink("par", "cur/..").file("par/x", b"1");
    assert_eq!(paths(&fixture.open(vec![chain]).unwrap()), ["cur", "par", "x"]);
    for upper in [
        RawTar::new().file("f/below", b""),
        RawTar::new().symlink("loop", "loop").file("loop/x", b""),
        RawTar::new().symlink("out", "no/../../x").file("out/y", b""),
    ] {
        assert_eq!(fixture.open(vec![lower(), upper]).err().unwrap().class().code(), 4);
    }
}

#[test]
fn links_are_followed_inside_the_root() {
    let tar = RawTar::new().file("usr/bin/python3.11", b"elf").symlink("usr/bin/python3", "python3.11");
    let tar = tar.symlink("bin", "usr/bin").symlink("etc/alt", "/bin/python3").symlink("up", "../../../etc/alt");
    let tar = tar.symlink("loop", "loop").symlink("dangling", "/nowhere").symlink("root", "/");
    let fixture = Fixture::new();
    let rootfs = fixture.open(vec![tar]).unwrap();
    for at in ["usr/bin/python3.11", "bin/python3", "etc/alt", "up", "root/root/bin/python3"] {
        assert_eq!(rootfs.resolve(&path(at)), Some(path("usr/bin/python3.11")), "{at}");
        assert_eq!(text(&rootfs, at), Some("elf".into()));
    }
    for at in ["loop", "dangling", "up/x", "root", "none"] {
        assert_eq!(rootfs.resolve(&path(at)), None, "{at}");
    }
    assert_eq!(rootfs.size(&path("up")), Some(3));
    assert_eq!(rootfs.entry(&path("bin")).unwrap().kind, BaseKind::Directory);
}

#[test]
fn hard_links_share_bytes_within_and_across_layers() {
    let lower = RawTar::new().file("z", b"1").hardlink("a", "z").file("old", b"0");
    let upper = RawTar::new().hardlink("b", "./old").file("z", b"2").hardlink("c", "z");
    let fixture = Fixture::new();
    let rootfs = fixture.open(vec![lower, upper]).unwrap();
    for (at, expected) in [("a", "1"), ("z", "2"), ("b", "0"), ("c", "2")] {
        assert_eq!(text(&rootfs, at).as_deref(), Some(expected), "{at}");
    }
    for bad in [RawTar::new().hardlink("a", "none"), RawTar::new().folder("d").hardlink("a", "d")] {
        assert!(fixture.open(vec![bad]).is_err());
    }
}

#[test]
fn the_second_time_no_layer_is_opened() {
    let fixture = Fixture::new();
    let passwd = b"root:x:0:0::/root:/bin/sh\n";
    let tar = RawTar::new().file("etc/passwd", passwd).file("big", b"not kept").end();
    let layers = [layer(&fixture.store, "base 1/1", tar)];
    let cold = fixture.open_layers(&layers).unwrap();
    fixture.store.discard(&layers[0].descriptor.digest).unwrap();
    let warm = fixture.open_layers(&layers).unwrap();
    assert_eq!(paths(&warm), paths(&cold));
    assert_eq!(warm.read(&path("etc/passwd"), 100).unwrap().unwrap(), passwd);
    assert!(warm.read(&path("big"), 100).unwrap_err().to_string().contains("reading `/big` of the base image"));
    // A damaged listing is made anew.
    let name = format!("{}.listing", layers[0].descriptor.digest.hex());
    fixture.store.put_entry(crate::layer::Bucket::Bases, &name, b"listing 1 junk").unwrap();
    assert!(fixture.open_layers(&layers).is_err());
}

#[test]
fn layers_that_do_not_verify_are_refused_and_not_remembered() {
    let fixture = Fixture::new();
    let mut bad = layer(&fixture.store, "base 1/1", RawTar::new().file("f", b"").end());
    bad.diff_id = Digest::of(b"other");
    assert_eq!(fixture.open_layers(&[bad.clone()]).err().unwrap().class().code(), 4);
    assert_eq!(fixture.open_layers(&[bad]).err().unwrap().class().code(), 4);
    assert!(paths(&fixture.open(vec![]).unwrap()).is_empty());
    assert!(paths(&fixture.open(vec![RawTar::new()]).unwrap()).is_empty());
    assert!(paths(&fixture.open(vec![RawTar::new().file(".wh.x", b"")]).unwrap()).is_empty());
}

mod materialise {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn write(fixture: &Fixture, rootfs: &Rootfs) -> (std::path::PathBuf, Result<()>) {
        let into = tempfile::tempdir_in(fixture.folder.path()).unwrap().keep();
        let result = rootfs.materialise(&|_, _| true, &into);
        (into, result)
    }

    #[test]
    fn the_chosen_entries_are_written() {
        let fixture = Fixture::new();
        let tar = RawTar::new().raw(b'0', b"usr/bin/su", b"", 3, 0o4555, b"elf").hardlink("usr/bin/hard", "usr/bin/su");
        let tar = tar.symlink("bin", "/usr/bin").symlink("etc/up", "../../usr/bin/su").symlink("gone", "/etc/none");
        let rootfs = fixture.open(vec![tar.special(b'3', "dev/null").folder("empty")]).unwrap();
        let (into, result) = write(&fixture, &rootfs);
        result.unwrap();
        for at in ["usr/bin/su", "usr/bin/hard", "bin/su", "etc/up"] {
            assert_eq!(fs::read(into.join(at)).unwrap(), b"elf", "{at}");
        }
        assert_eq!(fs::metadata(into.join("usr/bin/su")).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(fs::read_link(into.join("etc/up")).unwrap().to_str(), Some("../usr/bin/su"));
        assert!(into.join("empty").is_dir() && !into.join("dev/null").exists());
        assert!(fs::symlink_metadata(into.join("gone")).is_err());

        let into = tempfile::tempdir().unwrap();
        rootfs.materialise(&|path, _| path.name() == "hard", into.path()).unwrap();
        assert_eq!(fs::read_dir(into.path()).unwrap().count(), 1);
        assert_eq!(fs::read(into.path().join("usr/bin/hard")).unwrap(), b"elf");
    }

    /// Every way out that tars have been seen to try (reliability.md 2A rows 1-3, 8, 12, 13): outside, a canary.
    #[test]
    fn nothing_outside_is_touched() {
        let fixture = Fixture::new();
        let outside = tempfile::tempdir().unwrap();
        let canary = outside.path().join("canary");
        fs::write(&canary, "canary").unwrap();
        fs::set_permissions(&canary, fs::Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o750)).unwrap();
        let (out, can) = (outside.path().to_str().unwrap(), canary.to_str().unwrap());
        let up = format!("{}{}", "../".repeat(12), &can[1..]);
        let attacks = [
            RawTar::new().symlink("x", can).file("x", b"evil"),
            RawTar::new().symlink("x", &up).file("x", b"evil"),
            RawTar::new().symlink("x", out).file("x/canary", b"evil"),
            RawTar::new().symlink("foo", out).raw(b'5', b"foo/.", b"", 0, 0o777, b""),
            RawTar::new().symlink("foo", can).raw(b'0', b"foo", b"", 0, 0o777, b""),
            RawTar::new().hardlink("x", can).file("x", b"evil"),
            RawTar::new().hardlink("x", "canary"),
            RawTar::new().symlink("cur", ".").symlink("par", "cur/..").file("par/canary", b"evil"),
            RawTar::new().symlink("a", "..").symlink("a/b", "..").symlink("a/b/c", out).file("a/b/c/canary", b"evil"),
            RawTar::new().symlink("/.", out).file("canary", b"evil"),
            RawTar::new().file(can, b"evil"),
            RawTar::new().file(&up, b"evil"),
            RawTar::new().folder("d").symlink("d", out).file("d/canary", b"evil"),
            RawTar::new().symlink("d", out).folder("d").file("d/canary", b"evil"),
        ];
        for (number, attack) in attacks.into_iter().enumerate() {
            if let Ok(rootfs) = fixture.open(vec![attack]) {
                let (into, _) = write(&fixture, &rootfs);
                for link in walkdir::WalkDir::new(&into).into_iter().map(|entry| entry.unwrap()) {
                    if link.path_is_symlink() {
                        let real = fs::canonicalize(link.path()).unwrap();
                        assert!(real.starts_with(fs::canonicalize(&into).unwrap()), "{number}: {}", real.display());
                    }
                }
            }
            assert_eq!(fs::read(&canary).unwrap(), b"canary", "{number}");
            assert_eq!(fs::metadata(&canary).unwrap().permissions().mode() & 0o7777, 0o640, "{number}");
            assert_eq!(fs::metadata(outside.path()).unwrap().permissions().mode() & 0o7777, 0o750, "{number}");
            assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "{number}");
        }
    }

    #[test]
    fn links_and_files_that_are_there_already_are_not_followed() {
        let fixture = Fixture::new();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("f"), "canary").unwrap();
        let rootfs = fixture.open(vec![RawTar::new().file("d/f", b"evil")]).unwrap();
        let into = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), into.path().join("d")).unwrap();
        assert_eq!(rootfs.materialise(&|_, _| true, into.path()).unwrap_err().class().code(), 6);
        assert_eq!(fs::read(outside.path().join("f")).unwrap(), b"canary");
    }
}
