//! Hand-made packages over hand-made bases.

use super::super::deb_testing::RawDeb;
use super::super::install_testing::{Site, files, is, one};
use super::*;
use crate::layer::read::testing::RawTar;

fn merged() -> RawTar {
    ["bin", "lib", "sbin"].iter().fold(RawTar::new().folder("usr"), |tar, name| {
        tar.folder(&format!("usr/{name}")).symlink(name, &format!("usr/{name}"))
    })
}

fn owned(installation: &Installation, name: &str) -> Vec<String> {
    installation.owned[name].iter().cloned().collect()
}

#[test]
fn merged_folders_stay_links() {
    let site = Site::over(merged());
    let a = RawDeb::new("a", "1", "all", "").data(|tar| {
        tar.folder("./bin/").file("./bin/a", b"1").folder("./lib/").folder("./lib/x/").file("./lib/x/y", b"2")
    });
    // As base-files of later releases.
    let links = RawDeb::new("base-files", "13", "all", "")
        .data(|tar| tar.symlink("./bin", "usr/bin").symlink("./lib", "/usr/lib"));
    let installation = site.install(&[&a, &links]).unwrap();
    assert_eq!(owned(&installation, "a"), ["/.", "/bin", "/bin/a", "/lib", "/lib/x", "/lib/x/y"]);
    is(&files(installation), &[("usr/bin/a", "1"), ("usr/lib/x", "folder 755"), ("usr/lib/x/y", "2")]);
    let evil = RawDeb::new("evil", "1", "all", "").data(|tar| tar.symlink("./lib", "/tmp"));
    assert_eq!(site.refused(&[&evil, &a]), "`/lib` is in two packages: package `evil` 1 and the base");
    let evil = one("evil", "", "./lib", "x");
    assert_eq!(site.refused(&[&evil]), "`/lib` is in two packages: package `evil` 1 and the base");

    // A fresh root gets its links from the package, in whatever order.
    let fresh = Site::empty();
    let links = links.data(|tar| tar.folder("./usr/").folder("./usr/bin/").folder("./usr/lib/"));
    for order in [[&a, &links], [&links, &a]] {
        let found = files(fresh.install(&order).unwrap());
        let expected =
            [("bin", "-> usr/bin"), ("lib", "-> /usr/lib"), ("usr", "folder 755"), ("usr/bin", "folder 755")];
        is(&found.clone().into_iter().take(4).collect(), &expected);
        assert_eq!(found["usr/bin/a"], "1");
    }
    // One file under both names of a folder.
    let both = one("b", "", "./bin/b", "1").data(|tar| tar.symlink("./usr/bin/b", "/bin/b"));
    is(&files(site.install(&[&both]).unwrap()), &[("usr/bin/b", "1")]);
    let both = one("b", "", "./bin/b", "1").data(|tar| tar.file("./usr/bin/b", b"2"));
    assert_eq!(site.refused(&[&both]), "`/usr/bin/b` is in two packages: package `b` 1 and package `b` 1");
    let (one_name, other) = (one("b", "", "./bin/b", "1"), one("c", "", "./usr/bin/b", "2"));
    assert_eq!(site.refused(&[&one_name, &other]), "`/usr/bin/b` is in two packages: package `b` 1 and package `c` 1");
}

#[test]
fn what_was_prepared_in_the_layer_stays() {
    let site = Site::empty();
    let root = || {
        let mut root = Root::new(site.base.clone());
        let input = "the fresh root".into();
        root.insert(&TreePath::new("usr/bin").unwrap(), Entry::directory(&input)).unwrap();
        root.insert(&TreePath::new("bin").unwrap(), Entry::symlink("usr/bin", &input)).unwrap();
        root.insert(&TreePath::new("etc/x").unwrap(), Entry::file("1", 0o644, &input)).unwrap();
        root
    };
    let a = one("a", "", "./bin/a", "1").data(|tar| tar.symlink("./usr/l", "x"));
    let links = RawDeb::new("base-files", "13", "all", "").data(|tar| tar.symlink("./bin", "usr/bin"));
    let found = files(site.install_into(root(), &[&a, &links]).unwrap());
    assert_eq!((found["bin"].as_str(), found["usr/bin/a"].as_str()), ("-> usr/bin", "1"));
    let refused = |deb: RawDeb| site.install_into(root(), &[&deb]).err().unwrap().to_string();
    let text = "`/etc/x` is in two packages: the fresh root and package `b` 1";
    assert_eq!(refused(one("b", "", "./etc/x", "2")), text);
    assert_eq!(refused(RawDeb::new("b", "1", "all", "").data(|tar| tar.symlink("./etc/x", "y"))), text);
}

#[test]
fn a_path_has_one_owner() {
    let site = Site::empty();
    let (a, b) = (one("a", "", "./etc/x", "1"), one("b", "", "./etc/x", "2"));
    let text = "`/etc/x` is in two packages: package `a` 1 and package `b` 1";
    assert_eq!((site.refused(&[&a, &b]), site.refused(&[&b, &a])), (text.into(), text.into()));
    let c = one("c", "Replaces: other, a (<< 2), b\n", "./etc/x", "3");
    let late = one("c", "Replaces: a (<< 1), b\n", "./etc/x", "3");
    assert_eq!(site.refused(&[&a, &late]), "`/etc/x` is in two packages: package `a` 1 and package `c` 1");
    let installation = site.install(&[&c, &b, &a]).unwrap();
    assert_eq!((owned(&installation, "a"), owned(&installation, "b")), (vec!["/.".to_string()], vec!["/.".into()]));
    assert_eq!(owned(&installation, "c"), ["/.", "/etc/x"]);
    is(&files(installation), &[("etc/x", "3")]);
}

#[test]
fn one_package_for_two_architectures_shares_its_files() {
    let site = Site::empty();
    let deb = |architecture: &'static str, content: &str| {
        let deb = RawDeb::new("l", "1", architecture, "Multi-Arch: same\n");
        deb.data(|tar| tar.file("./etc/x", content.as_bytes()).symlink("./etc/l", "x").file("./etc/e", b""))
    };
    let installation = site.install(&[&deb("i386", "1"), &deb("amd64", "1")]).unwrap();
    assert_eq!(owned(&installation, "l:amd64"), ["/.", "/etc/e", "/etc/l", "/etc/x"]);
    assert_eq!(owned(&installation, "l:i386"), owned(&installation, "l:amd64"));
    is(&files(installation), &[("etc/e", ""), ("etc/l", "-> x"), ("etc/x", "1")]);
    let text = site.refused(&[&deb("i386", "1"), &deb("amd64", "2")]);
    assert_eq!(text, "`/etc/x` is in two packages: package `l` 1 and package `l` 1");
}

#[test]
fn folders_have_the_mode_that_base_files_says() {
    let site = Site::empty();
    let folder = |name: &str, mode: u32| {
        RawDeb::new(name, "1", "all", "").data(|tar| tar.raw(b'5', b"./srv/", b"", 0, mode, b""))
    };
    let (a, b, base) = (folder("a", 0o700), folder("b", 0o755), folder("base-files", 0o1777));
    is(&files(site.install(&[&b, &a]).unwrap()), &[("srv", "folder 700")]);
    is(&files(site.install(&[&b, &a, &base]).unwrap()), &[("srv", "folder 1777")]);
    // What the base has stays as it is, as with dpkg.
    let over = Site::over(RawTar::new().raw(b'5', b"srv", b"", 0, 0o750, b""));
    is(&files(over.install(&[&b, &a]).unwrap()), &[]);
}

#[test]
fn links_and_folders_agree_or_are_named() {
    let site =
        Site::over(RawTar::new().folder("real").symlink("link", "real").symlink("broken", "gone").file("file", b"1"));
    let a = |path: &str| RawDeb::new("a", "1", "all", "").data(|tar| tar.folder(path).file(&format!("{path}x"), b"1"));
    is(&files(site.install(&[&a("./link/")]).unwrap()), &[("real/x", "1")]);
    assert_eq!(
        site.refused(&[&a("./broken/")]),
        "`/broken` is a folder of package `a` 1 but a link to no folder of the base"
    );
    assert_eq!(site.refused(&[&a("./file/")]), "`/file` is a folder of package `a` 1 but a file of the base");
    // A link over a folder: the folder stays.
    let link = |target: &str| RawDeb::new("l", "1", "all", "").data(|tar| tar.symlink("./real", target));
    is(&files(site.install(&[&link("other")]).unwrap()), &[]);
    assert_eq!(
        site.refused(&[&one("f", "", "./real", "1")]),
        "`/real` is a folder of the base but a file of package `f` 1"
    );
    let (folder, file) = (a("./new/"), one("f", "", "./new", "1"));
    let text = "`/new` is a folder of package `a` but a file of package `f` 1";
    assert_eq!((site.refused(&[&folder, &file]), site.refused(&[&file, &folder])), (text.into(), text.into()));
    // A link and a folder of two packages: the link leads to where both go.
    let link = |target: &str| RawDeb::new("l", "1", "all", "").data(|tar| tar.symlink("./new", target));
    let expected = [("new", "-> real"), ("real/x", "1")];
    is(&files(site.install(&[&folder, &link("real")]).unwrap()), &expected);
    is(&files(site.install(&[&link("real"), &folder]).unwrap()), &expected);
    let text = "`/new` is a folder of package `a` 1 but a link to no folder of package `l`";
    assert_eq!(site.refused(&[&folder, &link("nowhere")]), text);
    assert_eq!(site.refused(&[&folder, &link("new")]), text);
}

#[test]
fn the_first_name_of_a_file_is_the_file() {
    let site = Site::over(merged());
    let a = RawDeb::new("a", "1", "all", "").data(|tar| {
        tar.raw(b'0', b"./usr/lib/z", b"", 1, 0o4755, b"1")
            .hardlink("./bin/b", "./usr/lib/z")
            .file("./usr/share/man/m", b"2")
            .hardlink("./usr/lib/m", "./usr/share/man/m")
    });
    let installation = site.install(&[&a]).unwrap();
    let privileged: Vec<(&str, u32)> =
        installation.privileged.iter().map(|(path, mode, _)| (path.as_str(), *mode)).collect();
    assert_eq!(privileged, [("usr/bin/b", 0o4755), ("usr/lib/z", 0o4755)]);
    assert_eq!(installation.left_out, 1);
    // The page of the manual is left out, its other name is not.
    is(&files(installation), &[("usr/bin/b", "1"), ("usr/lib/m", "2"), ("usr/lib/z", "= usr/bin/b")]);
}

#[test]
fn diversions_move_the_files_of_others() {
    let base = RawTar::new().folder("etc").file("etc/x", b"0").folder("var/lib/dpkg/info");
    let base = base.file("var/lib/dpkg/diversions", b"/etc/y\n/etc/y.d\nd\n");
    let site = Site::over(base);
    let script = "#!/bin/sh\ndpkg-divert --package d --add --rename --divert /etc/x.d /etc/x\n";
    let d = one("d", "", "./etc/x", "1").data(|tar| tar.file("./etc/y", b"1")).with("preinst", script);
    let a = one("a", "", "./etc/x", "2").data(|tar| tar.file("./etc/y", b"2"));
    // Nobody owns the base's file: another package's takes its place, where that is now.
    let found = files(site.install(&[&a, &d]).unwrap());
    is(&found, &[("etc/x", "1"), ("etc/x.d", "2"), ("etc/y", "1"), ("etc/y.d", "2")]);
    let a = one("a", "", "./etc/y", "2");
    let installation = site.install(&[&a, &d]).unwrap();
    assert_eq!(owned(&installation, "a"), ["/.", "/etc/y"]);
    let diversions = installation.root.read_text(DIVERSIONS, 1000).unwrap();
    assert_eq!(diversions.as_deref(), Some("/etc/y\n/etc/y.d\nd\n/etc/x\n/etc/x.d\nd\n"));
    is(&files(installation), &[("etc/x", "1"), ("etc/x.d", "0"), ("etc/y", "1"), ("etc/y.d", "2")]);
    let bad = one("d", "", "./x", "").with("postinst", "dpkg-divert --add --divert /a//b /x\n");
    assert!(site.refused(&[&bad]).starts_with("the diversion of `/x` to `/a//b` by package `d`"));
}
