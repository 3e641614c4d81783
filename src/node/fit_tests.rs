use serde_json::{Value, json};

use super::*;
use crate::error::Explain;
use crate::node::testing::lock;

/// What is said of a lock with these packages, and of a project with these overrides.
fn said(packages: Value, overrides: Value) -> Result<(), String> {
    let mut manifest = packages[""].clone();
    manifest["overrides"] = overrides;
    let lock = lock(packages);
    let manifest = Manifest::parse(manifest.to_string().as_bytes(), "package.json").unwrap();
    fits(&lock, &manifest, "package.json").map_err(|error| {
        assert_eq!(error.class().code(), 2);
        assert!(error.hint().is_some());
        error.to_string()
    })
}

fn out_of_date(difference: &str) -> Result<(), String> {
    Err(format!("package-lock.json is out of date: {difference}"))
}

#[test]
fn what_the_project_wants_is_what_the_lock_has() {
    for (wish, version, fits) in [
        ("^2.0.0", "1.0.0", false),
        (">=1 <2", "2.0.0", false),
        ("1.x || ^3", "1.9.0", true),
        ("1 - 2", "2.7.1", true),
        ("^2.0.0-rc.1", "2.0.0-rc.2", true),
        ("^2.0.0-rc.1", "1.0.0", false),
        ("^2", "2.1.0-beta.1", false),
        ("*", "2.1.0-beta.1", true),
        ("latest", "1.0.0", true),
        ("npm:other@^9", "9.0.0", true),
        ("npm:other@^9", "1.0.0", false),
    ] {
        let packages = json!({"": {"dependencies": {"a": wish}}, "node_modules/a": {"version": version}});
        let difference = format!("it has `a@{version}`, and the project wants `{wish}`");
        assert_eq!(said(packages, Value::Null), if fits { Ok(()) } else { out_of_date(&difference) }, "{wish}");
    }
}

#[test]
fn packages_have_what_they_want_of_one_another() {
    let with = |a: Value, b: Value| json!({"": {"dependencies": {"a": "1"}}, "node_modules/a": a, "node_modules/b": b});
    let wants = json!({"dependencies": {"b": "^2.0.0"}});
    let unfit = out_of_date("it has `b@1.0.0`, and `node_modules/a` wants `^2.0.0`");
    assert_eq!(said(with(wants.clone(), json!({})), Value::Null), unfit);
    assert_eq!(
        said(with(json!({"optionalDependencies": {"b": "^2.0.0"}}), json!({"optional": true})), Value::Null),
        unfit
    );
    assert_eq!(said(with(wants.clone(), json!({"version": "2.1.0"})), Value::Null), Ok(()));
    // Its own one is nearer.
    let mut nested = with(wants.clone(), json!({}));
    nested["node_modules/a/node_modules/b"] = json!({"version": "2.0.0"});
    assert_eq!(said(nested, Value::Null), Ok(()));
    // What npm takes the lock's word for.
    let mut bundled = wants.clone();
    bundled["bundleDependencies"] = json!(["b"]);
    let mut shrunk = wants.clone();
    shrunk["hasShrinkwrap"] = json!(true);
    let mut accepting = wants.clone();
    accepting["acceptDependencies"] = json!({"b": "^1"});
    for fine in [bundled, shrunk, accepting, json!({"peerDependencies": {"b": "^2"}})] {
        assert_eq!(said(with(fine.clone(), json!({})), Value::Null), Ok(()), "{fine}");
    }
    // Nobody asks what those want that are not installed.
    let dev = json!({"": {"devDependencies": {"a": "1"}}, "node_modules/a": {"dev": true, "dependencies": {"b": "^2"}},
        "node_modules/b": {"dev": true}});
    assert_eq!(said(dev, Value::Null), Ok(()));
    let workspaces = |version: &str| {
        json!({
            "": {"dependencies": {"a": "1"}},
            "node_modules/a": {"dependencies": {"web": "^1"}},
            "node_modules/web": {"link": true, "resolved": "packages/web"},
            "packages/web": {"version": version},
        })
    };
    assert_eq!(said(workspaces("1.2.0"), Value::Null), Ok(()));
    assert_eq!(
        said(workspaces("2.0.0"), Value::Null),
        out_of_date("it has `web@2.0.0`, and `node_modules/a` wants `^1`")
    );
}

#[test]
fn overrides_came_before_the_lock() {
    let packages = |b: &str| {
        json!({
            "": {"dependencies": {"a": "1", "own": "1.0.0"}},
            "node_modules/a": {"dependencies": {"b": "^1.0.0"}},
            "node_modules/b": {"version": b},
            "node_modules/own": {},
        })
    };
    let stale = out_of_date(
        "it has `b@1.0.0`, `node_modules/a` wants `^1.0.0`, and the project's `overrides` want `2.0.0` instead",
    );
    for (overrides, before, after) in [
        (json!({"b": "2.0.0"}), stale.clone(), Ok(())),
        (json!({"b@^1": "2.0.0"}), stale.clone(), Ok(())),
        (json!({"a": {"b": "2.0.0"}}), stale.clone(), Ok(())),
        (json!({"b": {".": "2.0.0"}}), stale.clone(), Ok(())),
        (
            json!({"b": "npm:other@2.0.0"}),
            out_of_date(
                "it has `b@1.0.0`, `node_modules/a` wants `^1.0.0`, and the project's `overrides` want `npm:other@2.0.0` instead",
            ),
            Ok(()),
        ),
        (Value::Null, Ok(()), out_of_date("it has `b@2.0.0`, and `node_modules/a` wants `^1.0.0`")),
        (json!({"b@^3": "2.0.0"}), Ok(()), out_of_date("it has `b@2.0.0`, and `node_modules/a` wants `^1.0.0`")),
        (json!({"x": {"b": "2.0.0"}}), Ok(()), out_of_date("it has `b@2.0.0`, and `node_modules/a` wants `^1.0.0`")),
    ] {
        assert_eq!(said(packages("1.0.0"), overrides.clone()), before, "{overrides}");
        assert_eq!(said(packages("2.0.0"), overrides.clone()), after, "{overrides}");
    }
    assert_eq!(said(packages("1.0.0"), json!({"b": "$own"})), Ok(()));
    assert!(said(packages("1.1.0"), json!({"b": "$own"})).unwrap_err().contains("`overrides` want `1.0.0` instead"));
    assert_eq!(
        said(packages("1.0.0"), json!({"own": "2.0.0"})),
        Err("package.json: `overrides` want `2.0.0` of `own`, and the project itself wants `1.0.0`".into())
    );
    assert_eq!(said(packages("1.0.0"), json!({"own": "$own"})), Ok(()));
    // Both ways lead to b: npm may have looked at it in either.
    let both = |b: &str| {
        json!({
            "": {"dependencies": {"a": "1", "c": "1"}},
            "node_modules/a": {"dependencies": {"d": "1"}},
            "node_modules/c": {"dependencies": {"d": "1"}},
            "node_modules/d": {"dependencies": {"b": "^1.0.0"}},
            "node_modules/b": {"version": b},
        })
    };
    for version in ["1.0.0", "2.0.0"] {
        assert_eq!(said(both(version), json!({"a": {"b": "2.0.0"}})), Ok(()), "{version}");
    }
}

#[test]
fn many_packages_and_rules_take_no_long_time() {
    let mut packages = serde_json::Map::new();
    let mut wants = serde_json::Map::new();
    for n in 0..3000 {
        let next: serde_json::Map<_, _> = (1..4).map(|step| (format!("c{}", (n + step) % 3000), json!("1"))).collect();
        packages.insert(format!("node_modules/c{n}"), json!({"dependencies": next}));
        wants.insert(format!("c{n}"), json!("1"));
    }
    packages.insert("".into(), json!({"dependencies": wants}));
    let rules: serde_json::Map<_, _> = (0..120).map(|n| (format!("c{n}"), json!({"nobody": "1"}))).collect();
    assert_eq!(said(packages.into(), rules.into()), Ok(()));
}
