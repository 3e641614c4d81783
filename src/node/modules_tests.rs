use serde_json::json;

use super::*;
use crate::layer::{EmptyBase, Store};
use crate::node::testing::{put, store, tarball};
use crate::node::{Lock, NodeTarget, select};
use crate::progress::Progress;

/// A layer of the packages of a lock: key, extra fields of the entry, files of the tarball.
struct Case {
    _folder: tempfile::TempDir,
    store: Store,
    spec: ModulesSpec,
}

type Files<'a> = &'a [(&'a str, &'a str)];

fn case(entries: &[(&str, serde_json::Value, Files<'_>)], root: Option<&str>) -> Case {
    let (folder, store) = store();
    let mut packages = serde_json::Map::from_iter([("".to_string(), json!({}))]);
    for (key, fields, files) in entries {
        let mut entry = json!({"version": "1.0.0"});
        if key.contains("node_modules") && fields.get("link").is_none() {
            entry["integrity"] = json!(crate::node::testing::integrity(&tarball(files)));
        }
        entry.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        packages.insert(key.to_string(), entry);
    }
    let lock = json!({"lockfileVersion": 3, "packages": packages}).to_string();
    let lock = Lock::parse(lock.as_bytes(), "package-lock.json").unwrap();
    let target = NodeTarget { os: "linux".into(), cpu: "x64".into(), libc: Some("glibc"), node: None };
    let selection = select(&lock, &target).unwrap();
    let files = |path: &str| entries.iter().find(|(key, ..)| *key == path).unwrap().2;
    let tarballs = selection
        .packages
        .iter()
        .map(|package| package.tarball.as_ref().map(|_| put(&tarball(files(&package.path)), &store)));
    let tarballs = tarballs.collect();
    let root = root.map(|root| TreePath::new(root).unwrap());
    Case { _folder: folder, store, spec: ModulesSpec::new(root, selection, tarballs) }
}

impl Case {
    fn tree(&self) -> Result<LayerTree> {
        let progress = Progress::silent();
        let context = Context { store: &self.store, base: &EmptyBase, progress: &progress };
        ModulesLayer::new(self.spec.clone()).tree(&context)
    }

    /// "mode path text" or "path -> target", a line each.
    fn listing(&self) -> Vec<String> {
        let line = |(path, entry): (&TreePath, &Entry)| match &entry.kind {
            Kind::Symlink(target) => format!("{path} -> {target}"),
            _ => {
                let text = String::from_utf8(entry.read(path, 1 << 20).unwrap().unwrap()).unwrap();
                format!("{:o} {path} {}", entry.mode, text.escape_debug())
            }
        };
        self.tree().unwrap().iter().map(line).collect()
    }

    fn fingerprint(&self) -> crate::oci::Digest {
        let progress = Progress::silent();
        let context = Context { store: &self.store, base: &EmptyBase, progress: &progress };
        ModulesLayer::new(self.spec.clone()).fingerprint(&context).unwrap().digest()
    }
}

#[test]
fn packages_are_in_their_places_and_their_programs_are_linked() {
    let case = case(
        &[
            (
                "node_modules/a",
                json!({"bin": {"a": "cli.js", "gone": "gone.js"}}),
                &[("cli.js", "#!/usr/bin/env node\r\n1\r\n"), ("package.json", "{}")],
            ),
            ("node_modules/a/node_modules/b", json!({"bin": "b.js"}), &[("b.js", "2")]),
            ("node_modules/@s/c", json!({"bin": {"c": "bin"}}), &[("bin/x", "3")]),
        ],
        Some("app"),
    );
    assert_eq!(
        case.listing(),
        [
            "app/node_modules/.bin/a -> ../a/cli.js",
            "app/node_modules/.bin/c -> ../@s/c/bin",
            "644 app/node_modules/@s/c/bin/x 3",
            "755 app/node_modules/a/cli.js #!/usr/bin/env node\\n1\\r\\n",
            "app/node_modules/a/node_modules/.bin/b -> ../b/b.js",
            "755 app/node_modules/a/node_modules/b/b.js 2",
            "644 app/node_modules/a/package.json {}",
        ]
    );
    assert!(case.spec.has_programs());
}

#[test]
fn of_two_programs_with_one_name_the_first_in_npms_order_is_linked() {
    let both: Files<'_> = &[("x.js", "")];
    let case = case(
        &[
            ("node_modules/a-b", json!({"bin": {"x": "x.js"}}), both),
            ("node_modules/a.b", json!({"bin": {"x": "x.js", "y": "none.js"}}), both),
            ("node_modules/a_b", json!({"bin": {"x": "none.js"}}), both),
            ("node_modules/z", json!({"bin": {"y": "x.js"}}), both),
        ],
        None,
    );
    // `_` is the first, and has nothing there: npm does not look for another one.
    let links: Vec<String> = case.listing().into_iter().filter(|line| line.contains("->")).collect();
    assert_eq!(links, [] as [&str; 0]);
}

#[test]
fn what_is_bundled_comes_with_what_it_is_in() {
    let parent: Files<'_> = &[
        ("package.json", "{}"),
        ("node_modules/in/package.json", "{}"),
        ("node_modules/in/i.js", "in"),
        ("node_modules/own/old.js", "old"),
    ];
    let case = case(
        &[
            ("node_modules/p", json!({}), parent),
            ("node_modules/p/node_modules/in", json!({"inBundle": true, "integrity": null, "bin": "i.js"}), &[]),
            // The lock has another one in its place.
            ("node_modules/p/node_modules/own", json!({}), &[("new.js", "new")]),
        ],
        Some("srv/x"),
    );
    assert_eq!(
        case.listing(),
        [
            "srv/x/node_modules/p/node_modules/.bin/in -> ../in/i.js",
            "755 srv/x/node_modules/p/node_modules/in/i.js in",
            "644 srv/x/node_modules/p/node_modules/in/package.json {}",
            "644 srv/x/node_modules/p/node_modules/own/new.js new",
            "644 srv/x/node_modules/p/package.json {}",
        ]
    );
    let lying = self::case(
        &[
            ("node_modules/p", json!({}), &[("package.json", "{}")]),
            ("node_modules/p/node_modules/in", json!({"inBundle": true, "integrity": null}), &[]),
        ],
        None,
    );
    let error = lying.tree().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the tarball of `p@1.0.0` is not sound: the lock says that `in@1.0.0` is in it, and it is not"
    );
    assert_eq!(error.class().code(), 4);
}

#[test]
fn workspaces_are_links() {
    let case = case(
        &[
            ("packages/web", json!({"name": "@s/web", "bin": {"web": "cli.js"}}), &[]),
            ("packages/web/node_modules/d", json!({}), &[("d.js", "")]),
            ("node_modules/@s/web", json!({"link": true, "resolved": "packages/web"}), &[]),
        ],
        Some("app"),
    );
    assert_eq!(
        case.listing(),
        [
            "app/node_modules/.bin/web -> ../@s/web/cli.js",
            "app/node_modules/@s/web -> ../../packages/web",
            "644 app/packages/web/node_modules/d/d.js ",
        ]
    );
    assert_eq!(case.spec.workspace_programs().into_iter().collect::<Vec<_>>(), ["packages/web/cli.js"]);
}

#[test]
fn everything_that_decides_a_byte_is_in_the_fingerprint() {
    let plain = |fields| case(&[("node_modules/a", fields, &[("a.js", "1")])], Some("app")).fingerprint();
    let one = plain(json!({}));
    assert_eq!(one, plain(json!({"license": "MIT", "engines": {"node": ">=1"}})));
    let others = [
        plain(json!({"bin": "a.js"})),
        plain(json!({"version": "1.0.1"})),
        case(&[("node_modules/a", json!({}), &[("a.js", "2")])], Some("app")).fingerprint(),
        case(&[("node_modules/a", json!({}), &[("a.js", "1")])], Some("srv")).fingerprint(),
        case(&[("node_modules/b", json!({}), &[("a.js", "1")])], Some("app")).fingerprint(),
    ];
    let mut all = vec![one];
    all.extend(others);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 6);
}
