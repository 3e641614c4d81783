//! Node, with npm beside it: what npm refuses or takes, Ingot refuses or takes, and for the same reason.

use serde_json::{Value, json};

use crate::support::*;

/// Packages that want one another, as a registry has them: name, version, and the rest of its package.json.
struct Packages {
    all: Vec<(&'static str, &'static str, Value, Vec<u8>)>,
    registry: NpmRegistry,
}

impl Packages {
    fn new(packages: &[(&'static str, &'static str, Value)]) -> Packages {
        let mut all = Vec::new();
        for (name, version, rest) in packages {
            let mut manifest = json!({"name": name, "version": version});
            manifest.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            let bytes = npm_tarball(&[("package.json", &manifest.to_string()), ("index.js", version)]);
            all.push((*name, *version, manifest, bytes));
        }
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        for (name, version, _, bytes) in &all {
            files.push((format!("/{name}/-/{name}-{version}.tgz"), bytes.clone()));
            let versions: serde_json::Map<String, Value> = all
                .iter()
                .filter(|other| other.0 == *name)
                .map(|(_, version, manifest, bytes)| {
                    let mut manifest = manifest.clone();
                    // npm goes to the registry that it is told for what is on its own default one; the place is never asked.
                    manifest["dist"] = json!({"integrity": integrity(bytes), "tarball": format!("http://127.0.0.1:9/{name}-{version}.tgz")});
                    (version.to_string(), manifest)
                })
                .collect();
            let document = json!({"name": name, "dist-tags": {"latest": version}, "versions": versions});
            files.push((format!("/{name}"), document.to_string().into_bytes()));
        }
        let served: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
        let registry = NpmRegistry::of(&served);
        Packages { all, registry }
    }

    /// The entry that a lock has of a package.
    fn entry(&self, name: &str, version: &str) -> Value {
        let (.., manifest, bytes) = self.all.iter().find(|one| (one.0, one.1) == (name, version)).unwrap();
        let mut entry = manifest.clone();
        entry.as_object_mut().unwrap().remove("name");
        entry["integrity"] = json!(integrity(bytes));
        entry["resolved"] = json!(format!("{}{name}/-/{name}-{version}.tgz", self.registry.url()));
        entry
    }
}

/// Who refuses a lock that does not fit, and who takes one that does.
#[test]
fn what_does_not_fit_is_refused_by_both() {
    let packages = Packages::new(&[
        ("a", "1.0.0", json!({"dependencies": {"b": "^1.0.0"}})),
        ("may", "1.0.0", json!({"optionalDependencies": {"b": "^1.0.0"}})),
        (
            "host",
            "1.0.0",
            json!({"peerDependencies": {"b": "^1.0.0"}, "peerDependenciesMeta": {"b": {"optional": true}}}),
        ),
        ("early", "1.0.0", json!({"dependencies": {"b": "^3.0.0-rc.1"}})),
        ("b", "1.0.0", json!({})),
        ("b", "2.0.0", json!({})),
        ("b", "3.0.0-rc.2", json!({})),
    ]);
    let lock = |wants: &Value, b: &str| {
        let mut all = serde_json::Map::from_iter([("".to_string(), wants.clone())]);
        all[""].as_object_mut().unwrap().remove("overrides");
        for name in wants["dependencies"].as_object().unwrap().keys() {
            all.insert(format!("node_modules/{name}"), packages.entry(name, if name == "b" { b } else { "1.0.0" }));
        }
        all.insert("node_modules/b".into(), packages.entry("b", b));
        json!({"name": "gateway", "lockfileVersion": 3, "requires": true, "packages": all})
    };
    let wants = |name: &str, overrides: Value| {
        let mut wants = json!({"name": "gateway", "dependencies": {name: "1"}});
        if !overrides.is_null() {
            wants["overrides"] = overrides;
        }
        wants
    };
    let ingot = Ingot::new().env("npm_config_registry", packages.registry.url());
    for (name, overrides, b, is_fit) in [
        ("a", Value::Null, "1.0.0", true),
        ("a", Value::Null, "2.0.0", false),
        ("may", Value::Null, "2.0.0", false),
        // An optional peer is the lock's own business.
        ("host", Value::Null, "2.0.0", true),
        ("early", Value::Null, "3.0.0-rc.2", true),
        ("a", Value::Null, "3.0.0-rc.2", false),
        ("b", Value::Null, "2.0.0", false),
        // The lock was written before the override, or with it.
        ("a", json!({"b": "2.0.0"}), "1.0.0", false),
        ("a", json!({"b": "2.0.0"}), "2.0.0", true),
        ("a", json!({"a": {"b": "2.0.0"}}), "1.0.0", false),
        ("a", json!({"a": {"b": "2.0.0"}}), "2.0.0", true),
        ("a", json!({"b@^1": "2.0.0"}), "1.0.0", false),
        ("a", json!({"b@^2": "1.0.0"}), "1.0.0", true),
        ("b", json!({"b": "2.0.0"}), "1.0.0", false),
    ] {
        let wants = wants(name, overrides);
        let project = Project::new(NODE_TOML);
        let folder = project.folder();
        node_base(&folder.join("base"));
        let project = project
            .file("package.json", wants.to_string())
            .file("package-lock.json", lock(&wants, b).to_string())
            .file("server.js", "");
        let said = ingot.run(["plan", folder.to_str().unwrap()]);
        let theirs = npm_ci(&folder, &packages.registry.url());
        let told = format!("{wants} {b}\n{}\n{}", said.stderr, theirs.stderr);
        assert_eq!((said.code, theirs.code), if is_fit { (0, 0) } else { (2, 1) }, "{told}");
        if !is_fit {
            assert!(
                said.stderr.contains("is out of date: it has `b@") || said.stderr.contains("`overrides` want"),
                "{told}"
            );
            assert!(
                theirs.stderr.contains("in sync")
                    || theirs.stderr.contains("EOVERRIDE")
                    || theirs.stderr.contains("npm ci"),
                "{told}"
            );
        }
        drop(project);
    }
}
