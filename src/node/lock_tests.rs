use serde_json::json;

use super::*;
use crate::error::Explain;
use crate::node::testing::HASH;

fn parse(value: serde_json::Value) -> Result<Lock, Error> {
    Lock::parse(value.to_string().as_bytes(), "package-lock.json")
}

fn with(key: &str, entry: serde_json::Value) -> Result<Lock, Error> {
    parse(json!({"lockfileVersion": 3, "packages": {"": {}, key: entry}}))
}

#[test]
fn an_entry_is_read_whole() {
    let lock = with(
        "node_modules/alias",
        json!({
            "name": "@s/real", "version": "1.2.3-rc.1", "resolved": "https://registry.example/x.tgz", "integrity": HASH,
            "optional": true, "hasInstallScript": true, "os": "linux", "cpu": ["x64", "!arm"], "libc": ["glibc"],
            "bin": {"real": "./cli.js"}, "dependencies": {"d": "1"}, "peerDependencies": {"p": "1", "q": "1"},
            "peerDependenciesMeta": {"q": {"optional": true}}, "engines": {"node": ">=18"}, "license": "MIT",
            "funding": [{"url": "x"}], "deprecated": "no more"
        }),
    )
    .unwrap();
    let entry = &lock.entries["node_modules/alias"];
    assert_eq!((entry.called().as_str(), entry.place.name()), ("@s/real@1.2.3-rc.1", Some("alias")));
    assert!(entry.optional && entry.install_script && !entry.dev && !entry.in_bundle && !entry.extraneous);
    assert_eq!((entry.wants.os.join(" "), entry.wants.cpu.join(" ")), ("linux".into(), "x64 !arm".into()));
    assert_eq!(entry.dependencies.edges(), [("d", false), ("p", false), ("q", true)]);
    assert_eq!(entry.bins["real"], "cli.js");
    let Source::Tarball { resolved: Some(resolved), integrity: Ok(integrity) } = &entry.source else { panic!() };
    assert_eq!((resolved.as_str(), integrity.to_string().as_str()), ("https://registry.example/x.tgz", HASH));
}

#[test]
fn other_versions_are_refused() {
    for (version, found) in [(json!(1), "1"), (json!(4), "4"), (json!("3"), "\"3\""), (json!(null), "missing")] {
        let error = parse(json!({"lockfileVersion": version, "dependencies": {}})).unwrap_err();
        assert_eq!(error.to_string(), format!("package-lock.json: lockfileVersion is {found}, expected 2 or 3"));
        assert!(error.hint().unwrap().contains("npm install --package-lock-only"));
        assert_eq!(error.class().code(), 2);
    }
    assert!(parse(json!({"lockfileVersion": 2, "packages": {"": {}}, "dependencies": {"x": {}}})).is_ok());
}

#[test]
fn what_is_no_lock_is_told() {
    for (text, expected) in [
        ("", "EOF while parsing"),
        ("[]", "invalid length"),
        ("{\"lockfileVersion\": 3}", "it has no `packages`"),
        ("{\"lockfileVersion\": 3, \"packages\": {}}", "no entry for the project itself"),
        ("{\"lockfileVersion\": 3, \"packages\": {\"\": []}}", "`` is not what npm writes"),
        (
            "{\"lockfileVersion\": 3, \"packages\": {\"\": {}, \"node_modules/x\": 7}}",
            "`node_modules/x` is not what npm writes",
        ),
        (
            "{\"lockfileVersion\": 3, \"packages\": {\"\": {}, \"node_modules/x\": {\"dev\": \"yes\"}}}",
            "invalid type: string",
        ),
    ] {
        let error = Lock::parse(text.as_bytes(), "package-lock.json").unwrap_err();
        assert!(matches!(error, Error::Document { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let deep = format!("{{\"lockfileVersion\": 3, \"packages\": {{\"\": {}", "[".repeat(100_000));
    assert!(Lock::parse(deep.as_bytes(), "x").unwrap_err().to_string().contains("recursion limit"));
    let many: serde_json::Map<String, serde_json::Value> = (0..=PACKAGES_LIMIT)
        .map(|n| (format!("node_modules/p{n}"), json!({})))
        .chain([("".into(), json!({}))])
        .collect();
    let error = parse(json!({"lockfileVersion": 3, "packages": many})).unwrap_err();
    assert!(error.to_string().contains("it has 50002 packages, of at most 50000"), "{error}");
}

#[test]
fn entries_that_cannot_be_used_are_named() {
    let version = |fields: serde_json::Value| {
        let mut entry = json!({"version": "1.0.0", "integrity": HASH});
        entry.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        entry
    };
    for (key, entry, problem, hint) in [
        (
            "node_modules/x",
            version(json!({"resolved": "git+ssh://git@host.example/x.git#abc"})),
            "comes from a git repository",
            "publish it to a registry: what",
        ),
        (
            "node_modules/x",
            version(json!({"resolved": "git://host.example/x"})),
            "comes from a git repository",
            "publish it",
        ),
        (
            "node_modules/x",
            version(json!({"resolved": "file:x.tgz"})),
            "comes from a file of the developer's machine",
            "workspace",
        ),
        (
            "node_modules/x",
            version(json!({"resolved": "../x"})),
            "comes from neither a registry nor a URL",
            "workspace",
        ),
        (
            "node_modules/x",
            json!({"link": true, "resolved": "../x"}),
            "is a link to `../x`, which is not in the project",
            "workspace",
        ),
        ("node_modules/x", json!({"link": true}), "is a link to ``, which is not in the project", "workspace"),
        (
            "node_modules/x",
            json!({"link": true, "resolved": "node_modules/y"}),
            "which is not in the project",
            "workspace",
        ),
        (
            "node_modules/x",
            json!({"link": true, "resolved": "packages/x"}),
            "is a link to `packages/x`, which is not in the lock",
            "workspace",
        ),
        (
            "packages/x",
            json!({"link": true, "resolved": "packages/y"}),
            "is a link outside of `node_modules`",
            "changed by hand",
        ),
        ("../x", json!({"version": "1.0.0"}), "is not a path below the project", "workspace"),
        ("node_modules/../../x", version(json!({})), "is not a path below the project", "changed by hand"),
        ("node_modules/.bin", version(json!({})), "does not have the name of a package", "changed by hand"),
        (
            "node_modules/x",
            version(json!({"name": "../y"})),
            "is of a package `../y`: that is no name",
            "changed by hand",
        ),
        (
            "node_modules/x",
            version(json!({"version": "1.0.0/../.."})),
            "has the version `1.0.0/../..`, which is none",
            "changed by hand",
        ),
        ("node_modules/x", json!({"integrity": HASH}), "has the version ``, which is none", "changed by hand"),
    ] {
        let error = with(key, entry).unwrap_err();
        let said = error.to_string();
        assert!(said.starts_with(&format!("package-lock.json: `{key}` ")) && said.contains(problem), "{said}");
        assert!(error.hint().unwrap().contains(hint), "{said}: {:?}", error.hint());
        assert_eq!(error.class().code(), 2);
    }
    let hostile = with("node_modules/a\u{1b}[2J", version(json!({}))).unwrap_err().to_string();
    assert!(!hostile.contains('\u{1b}'), "{hostile}");
}
