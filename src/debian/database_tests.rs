//! What is written of hand-made packages over hand-made databases. Real ones are compared with dpkg in `tests/it`.

use super::super::deb_testing::RawDeb;
use super::super::install_testing::{Site, everything, one};
use crate::layer::read::testing::RawTar;

#[test]
fn a_fresh_root_gets_a_database() {
    let deb = RawDeb::new("a", "1", "amd64", "Multi-Arch: same\n").with("postinst", "#!/bin/sh\n");
    let deb = deb.with("md5sums", "0123456789abcdef0123456789abcdef  usr/share/doc/a/copyright\nfedcba9876543210fedcba9876543210  usr/share/doc/a/changelog\n");
    let deb = deb.data(|tar| {
        tar.folder("./usr/share/doc/a/")
            .file("./usr/share/doc/a/copyright", b"")
            .file("./usr/share/doc/a/changelog", b"x")
    });
    let found = everything(Site::empty().install(&[&deb]).unwrap());
    assert_eq!(found["var/lib/dpkg/info/a:amd64.list"], "/.\n/usr/share/doc/a\n/usr/share/doc/a/copyright\n");
    let sums = "0123456789abcdef0123456789abcdef  usr/share/doc/a/copyright\n";
    assert_eq!(found["var/lib/dpkg/info/a:amd64.md5sums"], sums);
    assert_eq!(found["var/lib/dpkg/info/a:amd64.postinst"], "#!/bin/sh\n");
    assert_eq!((found["var/lib/dpkg/info/format"].as_str(), found["var/lib/dpkg/arch"].as_str()), ("1\n", "amd64\n"));
    assert!(found["var/lib/dpkg/status"].starts_with("Package: a\nStatus: install ok installed\n"));
    assert!(!found.contains_key("usr/share/doc/a/changelog"));
    let nothing = everything(Site::empty().install(&[]).unwrap());
    assert!(nothing.is_empty());
}

#[test]
fn a_base_without_dpkg_gets_a_file_for_each_package() {
    let old = "Package: a\nVersion: 1\nArchitecture: all\nDescription: old\n";
    let base =
        RawTar::new().file("var/lib/dpkg/status.d/YQ", old.as_bytes()).file("usr/x", b"old").file("usr/y", b"old");
    let sums = b"00000000000000000000000000000000  usr/x\n00000000000000000000000000000000  usr/y\n";
    let site = Site::over(base.file("var/lib/dpkg/status.d/YQ.md5sums", sums));
    let (mut a, b) = (one("a", "", "./usr/x", "new"), one("b", "", "./usr/b", ""));
    a = a.with("md5sums", "11111111111111111111111111111111  usr/x\n");
    let found = everything(site.install(&[&a, &b]).unwrap());
    let paths: Vec<&str> = found.keys().map(String::as_str).collect();
    let database = ["var/lib/dpkg/status.d/YQ", "var/lib/dpkg/status.d/YQ.md5sums", "var/lib/dpkg/status.d/b"];
    assert_eq!(paths, [&["usr/.wh.y", "usr/b", "usr/x"][..], &database].concat());
    assert!(found["var/lib/dpkg/status.d/b"].starts_with("Package: b\nVersion: 1\n"));
    // Another package's file is not overwritten.
    let other = RawTar::new().file("var/lib/dpkg/status.d/d", b"Package: d\nVersion: 1\nArchitecture: all\n");
    let site = Site::over(other.file("usr/y", b"").file("var/lib/dpkg/status.d/d.md5sums", sums));
    let error = site.install(&[&one("c", "", "./usr/y", "")]).err().unwrap();
    assert!(error.to_string().ends_with("package `c` 1 and package `d` of the base"), "{error}");
}

#[test]
fn what_is_not_installed_stays_in_the_status() {
    let status = "Package: z\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: all\nConffiles:\n /etc/z 0\n\n\
                  Package: a\nStatus: hold ok installed\nVersion: 0\nArchitecture: all\n\n\
                  Package: l\nStatus: install ok installed\nVersion: 1\nArchitecture: i386\nMulti-Arch: same\n";
    let site = Site::over(RawTar::new().file("var/lib/dpkg/status", status.as_bytes()).file("etc/z", b""));
    let l = RawDeb::new("l", "1", "amd64", "Multi-Arch: same\n");
    let found = everything(site.install(&[&l, &one("a", "", "./a", "")]).unwrap());
    let text = &found["var/lib/dpkg/status"];
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| ["Package", "Status", "Version"].iter().any(|name| line.starts_with(name)))
        .collect();
    assert_eq!(
        lines,
        [
            "Package: a",
            "Status: hold ok installed",
            "Version: 1",
            "Package: l",
            "Status: install ok installed",
            "Version: 1",
            "Package: l",
            "Status: install ok installed",
            "Version: 1",
            "Package: z",
            "Status: deinstall ok config-files",
            "Version: 1"
        ]
    );
    assert!(!found.contains_key("var/lib/dpkg/info/format") && !found.contains_key("var/lib/dpkg/arch"));
    assert!(text.contains("Architecture: all\nConffiles:\n /etc/z 0\n") && text.contains("i386\nMulti-Arch: same\n"));
}
