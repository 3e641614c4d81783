use serde_json::{Value, json};

use super::*;
use crate::error::Explain;
use crate::node::Version;
use crate::node::testing::lock;
use crate::target::Libc;

fn target() -> NodeTarget {
    NodeTarget { os: "linux".into(), cpu: "x64".into(), libc: Some("glibc"), node: Version::parse("18.20.4") }
}

/// The paths that are installed, then those of links.
fn chosen(packages: Value) -> Result<Vec<String>, Error> {
    let selection = select(&lock(packages), &target())?;
    let packages = selection.packages.iter().map(|package| package.path.clone());
    Ok(packages.chain(selection.links.iter().map(|link| format!("{} -> {}", link.path, link.target))).collect())
}

#[test]
fn what_developers_need_is_left_out() {
    let found = chosen(json!({
        "": {"dependencies": {"a": "1"}, "devDependencies": {"d": "1"}, "optionalDependencies": {"o": "1"}},
        "node_modules/a": {},
        "node_modules/d": {"dev": true},
        // Of developers, and of somebody who could do without it: npm leaves it in.
        "node_modules/both": {"devOptional": true},
        "node_modules/o": {"optional": true},
        "node_modules/p": {"peer": true},
        "node_modules/lost": {"extraneous": true},
    }));
    assert_eq!(found.unwrap(), ["node_modules/a", "node_modules/both", "node_modules/o", "node_modules/p"]);
}

#[test]
fn with_what_is_for_another_platform_goes_what_only_it_needs() {
    let found = select(
        &lock(json!({
            "": {"dependencies": {"a": "1"}, "optionalDependencies": {"fse": "1", "any": "1"}},
            "node_modules/a": {"dependencies": {"shared": "1"}},
            "node_modules/any": {"optional": true, "optionalDependencies": {"any-mac": "1", "any-linux": "1"}},
            "node_modules/any-linux": {"optional": true, "os": ["linux"], "cpu": ["x64"]},
            "node_modules/any-mac": {"optional": true, "os": ["darwin"]},
            // fse needs mac, which is not for us: it goes, and `only` with it; `shared` stays.
            "node_modules/fse": {"optional": true, "dependencies": {"mac": "1", "only": "1", "shared": "1"}},
            "node_modules/mac": {"optional": true, "os": ["darwin"], "dependencies": {"nothing": "1"}},
            "node_modules/only": {"optional": true, "dependencies": {"deeper": "1"}},
            "node_modules/deeper": {"optional": true},
            "node_modules/shared": {},
        })),
        &target(),
    )
    .unwrap();
    let paths: Vec<&str> = found.packages.iter().map(|package| package.path.as_str()).collect();
    assert_eq!(paths, ["node_modules/a", "node_modules/any", "node_modules/any-linux", "node_modules/shared"]);
    assert_eq!(found.other_platforms, ["any-mac@1.0.0", "deeper@1.0.0", "fse@1.0.0", "mac@1.0.0", "only@1.0.0"]);
    assert_eq!(found.left_out.len(), 5);
}

/// The answers are npm's, `npm ci --os=linux --cpu=CPU --libc=LIBC`: sharp and its like have a package for each.
#[test]
fn every_platform_gets_its_own_packages() {
    let one = |cpu: &str, libc: &str| json!({"optional": true, "os": ["linux"], "cpu": [cpu], "libc": [libc]});
    let lock = lock(json!({
        "": {"dependencies": {"image": "1"}},
        "node_modules/image": {"optionalDependencies": {"arm64": "1", "arm64-musl": "1", "x64": "1", "x64-musl": "1", "any": "1"}},
        "node_modules/any": {"optional": true, "os": ["linux"], "cpu": ["x64", "arm64", "arm"]},
        "node_modules/arm64": one("arm64", "glibc"),
        "node_modules/arm64-musl": one("arm64", "musl"),
        "node_modules/x64": one("x64", "glibc"),
        "node_modules/x64-musl": one("x64", "musl"),
    }));
    for (platform, libc, expected) in [
        ("linux/amd64", Some(Libc::Glibc(2, 36)), "any image x64"),
        ("linux/amd64", Some(Libc::Musl(1, 2)), "any image x64-musl"),
        ("linux/arm64", Some(Libc::Glibc(2, 36)), "any arm64 image"),
        ("linux/arm64", Some(Libc::Musl(1, 2)), "any arm64-musl image"),
        ("linux/arm/v7", Some(Libc::Glibc(2, 36)), "any image"),
        ("linux/s390x", None, "image"),
    ] {
        let target = NodeTarget::new(&platform.parse().unwrap(), libc, None);
        let found = select(&lock, &target).unwrap();
        let names: Vec<&str> = found.packages.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names.join(" "), expected, "{target}");
    }
}

#[test]
fn packages_for_other_versions_of_node_are_told_and_optional_ones_left_out() {
    let wants = |range: &str| json!({"engines": {"node": range}});
    let optional = |range: &str| json!({"engines": {"node": range}, "optional": true});
    let found = select(
        &lock(json!({
            "": {},
            "node_modules/old": wants(">=0.8"),
            "node_modules/new": wants("^20 || >=22"),
            "node_modules/listed": {"engines": ["node >= 99"]},
            "node_modules/odd": wants("whatever"),
            "node_modules/may": optional("18.x"),
            "node_modules/maynot": optional(">=20"),
            "node_modules/dev": {"dev": true, "engines": {"node": ">=99"}},
        })),
        &target(),
    )
    .unwrap();
    let paths: Vec<&str> = found.packages.iter().map(|package| package.folder.as_str()).collect();
    assert_eq!(paths, ["listed", "may", "new", "odd", "old"]);
    assert_eq!(found.other_nodes, [("new@1.0.0".to_string(), "^20 || >=22".to_string())]);
    assert_eq!(found.other_platforms, ["maynot@1.0.0"]);
}

#[test]
fn what_must_be_there_and_is_for_another_platform_is_an_error() {
    let error = chosen(json!({"": {"dependencies": {"a": "1"}}, "node_modules/a": {"cpu": ["arm64"]}})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "package-lock.json: `a@1.0.0` is not for linux x64 glibc, Node 18.20.4: its cpu is arm64"
    );
    assert!(error.class().code() == 2 && error.hint().unwrap().contains("optionalDependencies"));
}

#[test]
fn a_lock_that_lacks_something_is_out_of_date() {
    for (packages, expected) in [
        (json!({"": {"dependencies": {"a": "1"}}}), "`a`, which the project needs, is not in it"),
        (
            json!({"": {"dependencies": {"a": "1"}}, "node_modules/a": {"dependencies": {"b": "1"}}, "node_modules/c/node_modules/b": {}}),
            "`b`, which `node_modules/a` needs, is not in it",
        ),
    ] {
        let error = chosen(packages).unwrap_err();
        assert_eq!(error.to_string(), format!("package-lock.json is out of date: {expected}"));
        assert!(error.hint().unwrap().contains("npm install --package-lock-only"));
    }
    // What is optional, a peer, or of developers, may be absent.
    let fine = json!({
        "": {"devDependencies": {"d": "1"}},
        "node_modules/d": {"dev": true, "dependencies": {"gone": "1"}},
        "node_modules/a": {"optionalDependencies": {"o": "1"}, "peerDependencies": {"p": "1"}},
    });
    assert_eq!(chosen(fine).unwrap(), ["node_modules/a"]);
}

#[test]
fn a_package_without_a_good_hash_is_refused() {
    for (entry, found) in [
        (json!({"integrity": ""}), "no hash"),
        (json!({"integrity": "sha1-qZk+NkcGgWq6PiVxeFDCbJzQ2J0="}), "only a sha1 hash"),
    ] {
        let error = chosen(json!({"": {}, "node_modules/a": entry})).unwrap_err();
        let expected = format!("package-lock.json: `a@1.0.0` has {found}, expected a sha512 hash in `integrity`");
        assert_eq!(error.to_string(), expected);
        assert!(error.hint().unwrap().contains("can be forged"));
    }
    // Nobody asks for the hash of what is not installed.
    let dev = json!({"": {}, "node_modules/a": {"integrity": "", "dev": true}});
    assert_eq!(chosen(dev).unwrap(), [] as [&str; 0]);
}

#[test]
fn bundles_come_with_their_package_unless_it_is_the_project() {
    let found = select(
        &lock(json!({
            "": {},
            "node_modules/mine": {"inBundle": true},
            "node_modules/p": {},
            "node_modules/p/node_modules/in": {"inBundle": true, "integrity": null, "dependencies": {"absent": "1"}},
        })),
        &target(),
    );
    let tarballs: Vec<bool> = found.unwrap().packages.iter().map(|package| package.tarball.is_some()).collect();
    assert_eq!(tarballs, [true, true, false]);
}

#[test]
fn what_nobody_wants_of_a_bundle_is_not_taken_out_of_it() {
    let found = select(
        &lock(json!({
            "": {"dependencies": {"p": "1"}},
            "node_modules/p": {},
            "node_modules/p/node_modules/extra": {"extraneous": true, "integrity": null},
            "node_modules/p/node_modules/lost": {"extraneous": true},
        })),
        &target(),
    );
    assert_eq!(found.unwrap().left_out, ["node_modules/p/node_modules/lost"]);
}

#[test]
fn workspaces_are_links_unless_only_developers_need_them() {
    let found = chosen(json!({
        "": {"dependencies": {"web": "*"}},
        "packages/web": {"name": "web", "dependencies": {"a": "1", "tool": "1"}},
        "packages/tool": {"name": "tool"},
        "packages/lint": {"name": "lint", "dev": true},
        "packages/web/node_modules/a": {},
        "node_modules/web": {"link": true, "resolved": "packages/web"},
        "node_modules/tool": {"link": true, "resolved": "packages/tool"},
        "node_modules/lint": {"link": true, "resolved": "packages/lint"},
    }));
    assert_eq!(
        found.unwrap(),
        ["packages/web/node_modules/a", "node_modules/tool -> packages/tool", "node_modules/web -> packages/web"]
    );
}

#[test]
fn what_the_project_needs_is_not_left_out_whatever_the_lock_says_of_it() {
    let refused = |packages: serde_json::Value| select(&lock(packages), &target()).unwrap_err().to_string();
    let dev = json!({"": {"dependencies": {"a": "1"}}, "node_modules/a": {"dependencies": {"b": "1"}},
        "node_modules/b": {"dev": true}});
    let said = refused(dev);
    assert!(said.ends_with("`b@1.0.0`, which `node_modules/a` needs, is marked `dev` in it"), "{said}");
    let extraneous = json!({"": {"dependencies": {"a": "1"}}, "node_modules/a": {"extraneous": true}});
    let said = refused(extraneous);
    assert!(said.ends_with("`a@1.0.0`, which the project needs, is marked `extraneous` in it"), "{said}");
    let optional = json!({"": {"dependencies": {"a": "1"}}, "node_modules/a": {"optional": true, "os": ["win32"]}});
    let said = refused(optional);
    assert!(said.contains("`a@1.0.0` is not for linux x64 glibc"), "{said}");
    // Locks may be written without peers; and what may be lacking may lack.
    let found = select(
        &lock(json!({"": {"dependencies": {"a": "1"}, "optionalDependencies": {"o": "1"}},
            "node_modules/a": {"peerDependencies": {"p": "1"}}, "node_modules/p": {"dev": true},
            "node_modules/o": {"optional": true, "os": ["win32"]}})),
        &target(),
    )
    .unwrap();
    assert_eq!((found.packages.len(), found.left_out.len()), (1, 2));
}

#[test]
fn many_packages_for_other_platforms_take_no_long_time() {
    // A chain that hangs on each of many optional packages: looked at once for all of them.
    let mut packages = serde_json::Map::from_iter([("".to_string(), json!({"optionalDependencies": {}}))]);
    for n in 0..3000 {
        let next = format!("c{}", n + 1);
        packages.insert(format!("node_modules/c{n}"), json!({"optional": true, "dependencies": {next: "1"}}));
        packages.insert(
            format!("node_modules/o{n}"),
            json!({"optional": true, "os": ["win32"], "dependencies": {"c0": "1"}}),
        );
    }
    packages.insert("node_modules/c3000".into(), json!({"optional": true}));
    let found = select(&lock(packages.into()), &target()).unwrap();
    assert_eq!((found.packages.len(), found.left_out.len()), (0, 6001));
}
