use super::*;
use crate::layer::read::testing::{RawTar, layer};
use crate::layer::{EmptyBase, Store};
use crate::progress::Progress;

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

fn spec() -> RuntimeSpec {
    let user = User { name: "app".into(), uid: 1001, group: "app".into(), gid: 1001, home: Some(path("app")) };
    let launcher = Launcher {
        interpreter: Some("/opt/venv/bin/python".into()),
        require_env: BTreeMap::from([("MODE".into(), "production".into())]),
    };
    RuntimeSpec {
        user,
        writable: vec![path("app/data"), path("var/run/app")],
        folders: vec![path("app")],
        launcher: Some(launcher),
    }
}

fn with_base<T>(tar: RawTar, then: impl FnOnce(&Rootfs, &Context<'_>) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_at(folder.path()).unwrap();
    let layers = [layer(&store, "base", tar.end())];
    let rootfs = Rootfs::open(&layers, Arc::new(store.clone()), &store, &Progress::silent()).unwrap();
    let progress = Progress::silent();
    then(&rootfs, &Context { store: &store, base: &EmptyBase, progress: &progress })
}

fn base() -> RawTar {
    let tar = RawTar::new().raw(b'5', b"etc", b"", 0, 0o700, b"").folder("run").symlink("var/run", "../run");
    tar.file("etc/passwd", b"root:x:0:0::/root:/bin/sh\n").file("etc/group", b"root:x:0:\n")
}

#[test]
fn the_tree_is_complete_and_owned_as_planned() {
    with_base(base(), |rootfs, context| {
        let tree = RuntimeLayer::new(spec(), rootfs).unwrap().tree(context).unwrap();
        let listing: Vec<String> =
            tree.iter().map(|(path, entry)| format!("{:o} {}:{} {path}", entry.mode, entry.uid, entry.gid)).collect();
        assert_eq!(
            listing,
            [
                "755 0:0 app",
                "755 1001:1001 app/data",
                "700 1:2 etc",
                "644 1:2 etc/group",
                "644 1:2 etc/passwd",
                "755 1:2 run",
                "755 1001:1001 run/app",
                "755 0:0 usr",
                "755 0:0 usr/local",
                "755 0:0 usr/local/bin",
                "755 0:0 usr/local/bin/ingot-launcher",
            ]
        );
    });
}

#[test]
fn whatever_decides_bytes_changes_the_fingerprint() {
    let digest = |spec: RuntimeSpec, tar: RawTar| {
        with_base(tar, |rootfs, context| {
            RuntimeLayer::new(spec, rootfs).unwrap().fingerprint(context).unwrap().digest()
        })
    };
    let first = digest(spec(), base());
    assert_eq!(first, digest(spec(), base()));
    let mut seen = vec![first];
    let mut differs = |spec, tar| {
        let digest = digest(spec, tar);
        assert!(!seen.contains(&digest), "{}", seen.len());
        seen.push(digest);
    };
    differs(RuntimeSpec { writable: vec![], ..spec() }, base());
    differs(RuntimeSpec { folders: vec![path("srv")], ..spec() }, base());
    differs(RuntimeSpec { launcher: None, ..spec() }, base());
    differs(RuntimeSpec { user: User { gid: 7, ..spec().user }, ..spec() }, base());
    differs(RuntimeSpec { user: User { home: None, ..spec().user }, ..spec() }, base());
    let mut other = spec();
    other.launcher.as_mut().unwrap().require_env.insert("MODE".into(), "test".into());
    differs(other, base());
    differs(spec(), base().file("etc/group", b"root:x:0:\nx:x:5:\n"));
    differs(spec(), base().file("etc/shadow", b"root:*:1::::::\n"));
    differs(spec(), base().raw(b'0', b"etc/group", b"", 10, 0o600, b"root:x:0:\n"));
    differs(spec(), base().folder("etc"));
}

#[test]
fn the_shell_form_needs_a_shell() {
    let mut shell = spec();
    shell.launcher.as_mut().unwrap().interpreter = None;
    with_base(base(), |rootfs, _| {
        let error = RuntimeLayer::new(shell.clone(), rootfs).err().unwrap();
        assert_eq!(error.to_string(), "the launcher needs `/bin/sh`, which the base image does not have");
        assert!(error.hint().is_some());
    });
    let tar = base().file("usr/bin/dash", b"elf").symlink("usr/bin/sh", "dash").symlink("bin", "usr/bin");
    with_base(tar, |rootfs, context| {
        let tree = RuntimeLayer::new(shell, rootfs).unwrap().tree(context).unwrap();
        assert!(tree.get(&path(LAUNCHER_PATH)).is_some());
    });
}

#[test]
fn no_base_at_all_is_fine() {
    assert!(RuntimeLayer::new(spec(), &Rootfs::empty()).is_ok());
}
