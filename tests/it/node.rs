//! Packages of Node: the folder that npm makes of the same lock, and what happens when a lock, a registry or a package
//! is not as it should be.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::*;

/// A project with a base that has something called `node`, and this package.json and lock.
fn project(manifest: &Value, lock: &Value) -> Project {
    let project = Project::new(NODE_TOML);
    node_base(&project.folder().join("base"));
    project
        .file("package.json", manifest.to_string())
        .file("package-lock.json", lock.to_string())
        .file("server.js", "require('a')\n")
        .file(".dockerignore", "base\n")
}

/// A project that wants only package `a`, with this entry in its lock.
fn with(entry: Value) -> Project {
    let wants = json!({"dependencies": {"a": "^1.0.0"}});
    project(&wants, &json!({"lockfileVersion": 3, "packages": {"": wants, "node_modules/a": entry}}))
}

fn good() -> Vec<u8> {
    npm_tarball(&[("package.json", "{\"name\": \"a\"}"), ("index.js", "1\n")])
}

fn build(ingot: &Ingot, project: &Project) -> Ran {
    let output = format!("oci:{}", ingot.path("image").display());
    ingot.run(["build", project.folder().to_str().unwrap(), "-o", &output])
}

/// Every file, link and folder below `folder`: what it is, and its content.
fn tree(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut next = vec![folder.to_path_buf()];
    while let Some(at) = next.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let what = if metadata.is_symlink() {
                format!("-> {}", path.read_link().unwrap().display())
            } else if metadata.is_dir() {
                next.push(path.clone());
                "folder".to_string()
            } else {
                let mode = metadata.permissions().mode() & 0o777;
                format!("{mode:o} {}", ingot::oci::Digest::of(&std::fs::read(&path).unwrap()))
            };
            found.insert(path.strip_prefix(folder).unwrap().display().to_string(), what);
        }
    }
    found
}

/// A real express project: the folder is npm's own, byte for byte, and the image answers in podman.
#[test]
fn an_express_project_is_what_npm_makes_of_it_and_answers() {
    let toml = NODE_TOML.replace("oci:base", &release().0).replace("[app]", "[os]\npackages = [\"nodejs\"]\n[app]");
    let project = Project::new(&toml).file(
        "package.json",
        // A nested package, programs, a scope, packages for other platforms and C libraries, an install script.
        json!({
            "name": "gateway", "version": "1.0.0",
            "dependencies": {"express": "4.18.2", "@parcel/watcher": "2.4.1", "utf-8-validate": "6.0.4"},
            "devDependencies": {"is-odd": "3.0.1"}, "workspaces": ["tools/*"]
        })
        .to_string(),
    );
    // A program of the project itself, as git has it: it cannot be run, and was written on Windows.
    let project = project
        .file(
            "tools/own/package.json",
            json!({"name": "own", "version": "1.0.0", "bin": {"own": "cli.js"}}).to_string(),
        )
        .file("tools/own/cli.js", "#!/usr/bin/node\r\nconsole.log(`own ${process.getuid()}`)\r\n");
    let project = project.file(
        "server.js",
        "const app = require('express')();\n\
         app.get('/', (request, response) => response.json({ env: process.env.NODE_ENV, uid: process.getuid() }));\n\
         const server = app.listen(8080);\n\
         process.on('SIGTERM', () => server.close(() => process.exit(0)));\n",
    );
    let folder = project.folder();
    npm(&folder, &["install", "--package-lock-only", "--ignore-scripts"]);
    // A developer's leftovers, which must not be packed.
    let project =
        project.file("node_modules/express/index.js", "throw 1\n").file(".npmrc", "//x.example/:_authToken=canary\n");

    let ingot = Ingot::new().env("npm_config_registry", npm_registry());
    let archive = ingot.path("image.tar").display().to_string();
    let layout = format!("oci:{}", ingot.path("image").display());
    let args =
        ["build", folder.to_str().unwrap(), "-o", &layout, "-o", &format!("oci-archive:{archive}"), "--format", "json"];
    let said = ingot.run(args).ok();
    assert!(said.stderr.contains("note: not run: the install script of utf-8-validate@6.0.4"), "{}", said.stderr);
    let node = &said.json()[0]["images"][0]["node"];
    assert_eq!(node["scripts_not_run"], json!(["utf-8-validate@6.0.4"]), "{node}");
    assert!(node["target"].as_str().unwrap().contains(", Node 1"), "{node}");
    let left: Vec<&str> =
        node["other_platforms"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(left.contains(&"@parcel/watcher-darwin-arm64@2.4.1") && left.iter().all(|name| !name.contains("is-odd")));
    assert!(left.iter().any(|name| name.ends_with("-musl@2.4.1")), "{left:?}");

    let theirs = Scratch::new();
    std::fs::create_dir_all(theirs.join("tools/own")).unwrap();
    for name in ["package.json", "package-lock.json", "tools/own/package.json", "tools/own/cli.js"] {
        std::fs::copy(folder.join(name), theirs.join(name)).unwrap();
    }
    npm(theirs.path(), &["ci", "--omit=dev", "--ignore-scripts"]);
    let mut expected = tree(&theirs.join("node_modules"));
    expected.remove(".package-lock.json").expect("npm writes a note of its own");
    let bundle = Scratch::new();
    let root = umoci(&ingot.path("image"), "latest", &bundle.join("bundle"));
    let found = tree(&root.join("app/node_modules"));
    let differ: Vec<_> = found.iter().filter(|(path, what)| expected.get(*path) != Some(what)).collect();
    assert!(differ.is_empty() && found.len() == expected.len(), "{} and {}: {differ:?}", found.len(), expected.len());
    assert_eq!(found[".bin/own"], "-> ../own/cli.js");
    let own = tree(&root.join("app/tools/own"));
    assert_eq!(own, tree(&theirs.join("tools/own")));
    assert!(own["cli.js"].starts_with("755 "), "{own:?}");
    assert!(found.contains_key(".bin/mime") && found.len() > 400, "{}", found.len());
    assert!(!root.join("app/.npmrc").exists() && root.join("app/package.json").exists());

    // There is no shell and nothing to check, so there is no launcher.
    let config = Layout::open(&ingot.path("image")).config()["config"].clone();
    assert_eq!((&config["Entrypoint"], &config["Cmd"]), (&Value::Null, &json!(["node", "server.js"])));
    let environment = config["Env"].to_string();
    assert!(
        environment.contains("NODE_ENV=production") && environment.contains(":/app/node_modules/.bin\""),
        "{environment}"
    );
    let podman = Podman::new();
    let image = podman.pull(&format!("oci-archive:{archive}"));
    assert_eq!(podman.once(&image, &[], &["own"]).ok().stdout, "own 1001\n");
    let service = podman.serve(&image, &["--read-only", "--cap-drop=ALL"]);
    assert_eq!(service.ready("/").text(), "{\"env\":\"production\",\"uid\":1001}");
    assert_eq!(service.stop(), 0, "{}", service.logs());
    let checked = ingot.run(["validate", &format!("oci:{}", ingot.path("image").display()), "--static"]);
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);

    // Something to check, and nobody to check it.
    let toml = toml.replace("expose", "require-env = { A = \"b\" }\nexpose");
    let project = project.file("ingot.toml", toml);
    let refused = ingot.run(["plan", project.folder().to_str().unwrap()]).exits(2);
    assert!(refused.stderr.contains("hint: ") && refused.stderr.contains("dash"), "{}", refused.stderr);
}

/// Workspaces, bundles, scopes, programs: the same image whoever makes it, and without a network if all is in the store.
#[test]
fn the_same_lock_is_the_same_image() {
    let (a, b, c) = (
        npm_tarball(&[
            ("package.json", "{}"),
            ("cli.js", "#!/usr/bin/env node\r\n1\r\n"),
            ("node_modules/in/package.json", "{}"),
        ]),
        npm_tarball(&[("package.json", "{}"), ("index.js", "b")]),
        npm_tarball(&[("package.json", "{}"), ("index.js", "c")]),
    );
    let registry = NpmRegistry::of(&[("/a/-/a-1.0.0.tgz", &a), ("/@s/b/-/b-1.0.0.tgz", &b), ("/c/-/c-1.0.0.tgz", &c)]);
    let wants = json!({"dependencies": {"a": "1.0.0", "web": "*"}, "optionalDependencies": {"mac": "1.0.0"}});
    let entry = |bytes: &[u8]| json!({"version": "1.0.0", "integrity": integrity(bytes)});
    let mut first = entry(&a);
    first
        .as_object_mut()
        .unwrap()
        .extend([("bin".into(), json!({"a": "cli.js"})), ("hasInstallScript".into(), json!(true))]);
    let lock = json!({"lockfileVersion": 2, "packages": {
        "": wants,
        "node_modules/a": first,
        "node_modules/a/node_modules/in": {"version": "1.0.0", "inBundle": true},
        "node_modules/@s/b": entry(&b),
        "node_modules/mac": {"version": "1.0.0", "optional": true, "os": ["darwin"]},
        "packages/web": {"name": "web", "dependencies": {"c": "1.0.0"}},
        "packages/web/node_modules/c": entry(&c),
        "node_modules/web": {"link": true, "resolved": "packages/web"},
    }});
    let project = project(&wants, &lock).file("packages/web/index.js", "require('c')\n");
    let web = json!({"name": "web", "dependencies": {"c": "1.0.0"}});
    let project = project.file("packages/web/package.json", web.to_string());
    let one = Ingot::new().env("npm_config_registry", registry.url()).env("RAYON_NUM_THREADS", "1");
    let four = Ingot::new().env("NPM_CONFIG_REGISTRY", registry.url()).env("RAYON_NUM_THREADS", "4");
    let digests = [&one, &four].map(|ingot| {
        let ran = build(ingot, &project).ok();
        assert!(ran.stderr.contains("not run: the install script of a@1.0.0"), "{}", ran.stderr);
        Layout::open(&ingot.path("image")).descriptor()["digest"].clone()
    });
    assert_eq!(digests[0], digests[1]);
    assert_eq!(registry.asked().len(), 6, "each tarball once and store: {:?}", registry.asked());

    // Again, with nobody to ask, and every layer made anew.
    let output = format!("oci:{}", one.path("again").display());
    let folder = project.folder();
    let one = one.env("npm_config_registry", "http://127.0.0.1:9/");
    one.run(["build", folder.to_str().unwrap(), "--clean", "-o", &output]).ok();
    assert_eq!(Layout::open(&one.path("again")).descriptor()["digest"], digests[0]);

    let members = Layout::open(&one.path("image")).layer(2);
    let named: Vec<String> = members
        .iter()
        .filter(|member| member.kind != "directory")
        .map(|member| match &member.link {
            Some(link) => format!("{} -> {link}", member.path),
            None => member.path.clone(),
        })
        .collect();
    assert_eq!(
        named,
        [
            "app/node_modules/.bin/a -> ../a/cli.js",
            "app/node_modules/@s/b/index.js",
            "app/node_modules/@s/b/package.json",
            "app/node_modules/a/cli.js",
            "app/node_modules/a/node_modules/in/package.json",
            "app/node_modules/a/package.json",
            "app/node_modules/web -> ../packages/web",
            "app/packages/web/node_modules/c/index.js",
            "app/packages/web/node_modules/c/package.json",
        ]
    );
    let plan = one.run(["plan", folder.to_str().unwrap()]).ok().stdout;
    let newer = json!({"name": "web", "dependencies": {"c": "2.0.0"}}).to_string();
    let project = project.file("packages/web/package.json", newer);
    let refused = one.run(["plan", project.folder().to_str().unwrap()]).exits(2).stderr;
    assert!(
        refused.contains("`c` of `dependencies` is `2.0.0` in packages/web/package.json, and `1.0.0`"),
        "{refused}"
    );
    for expected in [
        "node_modules  hit",
        "packages of Node for linux x64 glibc: 4",
        "not run: the install script of a@1.0.0",
        "left out, because they are for other platforms: mac@1.0.0",
    ] {
        assert!(plan.contains(expected), "{expected}: {plan}");
    }
}

#[test]
fn what_is_wrong_with_a_lock_a_registry_or_a_package_is_told() {
    let (a, other) = (good(), npm_tarball(&[("index.js", "2\n")]));
    let registry = NpmRegistry::of(&[("/a/-/a-1.0.0.tgz", &a), ("/damaged.tgz", &a[..a.len() / 2])]);
    let entry = |fields: Value| {
        let mut entry = json!({"version": "1.0.0", "integrity": integrity(&a)});
        entry.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        entry
    };
    let damaged = entry(json!({
        "resolved": format!("{}damaged.tgz", registry.url()), "integrity": integrity(&a[..a.len() / 2])
    }));
    let wants = json!({"dependencies": {"a": "^1.0.0"}});
    let old = json!({"lockfileVersion": 1, "dependencies": {"a": {"version": "1.0.0"}}});
    let newer = json!({"dependencies": {"a": "^2.0.0"}});
    let current = json!({"lockfileVersion": 3, "packages": {"": wants, "node_modules/a": entry(json!({}))}});
    let cases: Vec<(&str, Project, i32, &[&str])> = vec![
        (
            "another package",
            with(entry(json!({"integrity": integrity(&other)}))),
            4,
            &[
                "`a@1.0.0` from http://127.0.0.1:",
                "does not match package-lock.json: expected sha512-",
                "hint: the registry's package was replaced",
            ],
        ),
        (
            "half a tarball",
            with(damaged),
            4,
            &["unpacking `a@1.0.0`", "the tarball of `a@1.0.0` is not sound: its gzip stream is damaged"],
        ),
        ("no such package", with(entry(json!({"version": "1.0.1"}))), 5, &["fetching `a@1.0.1`", "404"]),
        (
            "sha1",
            with(entry(json!({"integrity": "sha1-qZk+NkcGgWq6PiVxeFDCbJzQ2J0="}))),
            2,
            &["has only a sha1 hash, expected a sha512 hash", "can be forged"],
        ),
        (
            "git",
            with(entry(json!({"resolved": "git+ssh://git@host.example/a.git#1"}))),
            2,
            &["`node_modules/a` comes from a git repository"],
        ),
        (
            "another platform",
            with(entry(json!({"cpu": ["arm64"]}))),
            2,
            &["`a@1.0.0` is not for linux x64 glibc: its cpu is arm64"],
        ),
        (
            "version 1",
            project(&wants, &old),
            2,
            &["lockfileVersion is 1, expected 2 or 3", "npm install --package-lock-only"],
        ),
        (
            "out of date",
            project(&newer, &current),
            2,
            &["`a` of `dependencies` is `^2.0.0` in package.json, and `^1.0.0` in the lock"],
        ),
        (
            "no node",
            with(entry(json!({}))).file("ingot.toml", NODE_TOML.replace("oci:base", "oci:bare")),
            2,
            &["base `oci:bare` has no `node`", "ingot.toml:4:2", "packages = [\"nodejs\"]"],
        ),
        (
            "no lock",
            with(entry(json!({}))).file("ingot.toml", NODE_TOML.replace("package-lock", "npm-shrinkwrap")),
            2,
            &["`npm-shrinkwrap.json` does not exist", "ingot.toml:5:8"],
        ),
        (
            "no node_modules",
            with(entry(json!({}))).file("ingot.toml", NODE_TOML.replace("[app]", "modules = \"/srv\"\n[app]")),
            2,
            &["`/srv` is not where Node looks for packages"],
        ),
        (
            "a workspace elsewhere",
            {
                let wants = json!({"dependencies": {"web": "*"}});
                let lock = json!({"lockfileVersion": 3, "packages": {"": wants, "web": {}, "node_modules/web": {"link": true, "resolved": "web"}}});
                project(&wants, &lock)
                    .file("web/package.json", "{}")
                    .file("src/x.js", "")
                    .file("ingot.toml", NODE_TOML.replace("source = \".\"", "source = \"src\""))
            },
            2,
            &["`web` is a workspace of the project, and would not be in the image", "ingot.toml:5:8"],
        ),
    ];
    for (name, project, code, expected) in cases {
        tiny_base(&project.folder().join("bare"));
        let ingot = Ingot::new().env("npm_config_registry", registry.url());
        let ran = build(&ingot, &project).exits(code);
        for text in expected {
            assert!(ran.stderr.contains(text), "{name}: {text}\n{}", ran.stderr);
        }
        assert!(!ingot.path("image").exists(), "{name}: something was written");
    }
}

/// The settings are npm's, and a password goes where it belongs.
#[test]
fn tokens_go_to_their_own_registry_and_are_never_shown() {
    let (a, b) = (good(), npm_tarball(&[("package.json", "{}")]));
    let own = NpmRegistry::of(&[("/a/-/a-1.0.0.tgz", &a)]);
    let scoped = NpmRegistry::of(&[("/npm/@s/b/-/b-1.0.0.tgz", &b)]);
    let elsewhere = NpmRegistry::of(&[("/c.tgz", &b)]);
    let wants = json!({"dependencies": {"a": "1.0.0", "@s/b": "1.0.0", "c": "1.0.0"}});
    let lock = json!({"lockfileVersion": 3, "packages": {
        "": wants,
        "node_modules/a": {"version": "1.0.0", "integrity": integrity(&a)},
        "node_modules/@s/b": {"version": "1.0.0", "integrity": integrity(&b)},
        // The same bytes in another place would not be fetched twice.
        "node_modules/c": {"version": "1.0.0", "resolved": format!("{}c.tgz", elsewhere.url()), "integrity": format!("{} {}", integrity(&b), integrity(&a))},
    }});
    let npmrc = format!(
        "@s:registry={0}npm/\n{1}npm/:_authToken=${{TOKEN}}\n{2}:username=me\n{2}:_password=Y2FuYXJ5\n//gone.example/:_authToken=${{GONE}}\n",
        scoped.url(),
        scoped.place(),
        own.place(),
    );
    let project = project(&wants, &lock).file(".npmrc", npmrc);
    let ingot = Ingot::new().env("npm_config_registry", own.url()).env("TOKEN", "canary-token");
    let ran = build(&ingot, &project).ok();
    assert!(ran.stderr.contains("warning: ") && ran.stderr.contains("`GONE` is not set"), "{}", ran.stderr);
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("canary"), "{}", ran.stderr);
    let one = |path: &str, login: Option<&str>| vec![(path.to_string(), login.map(str::to_string))];
    assert_eq!(own.asked(), one("/a/-/a-1.0.0.tgz", Some("Basic bWU6Y2FuYXJ5")));
    assert_eq!(scoped.asked(), one("/npm/@s/b/-/b-1.0.0.tgz", Some("Bearer canary-token")));
    assert_eq!(elsewhere.asked(), one("/c.tgz", None));
    // Neither the settings nor a folder of packages is packed.
    let layers = Layout::open(&ingot.path("image"));
    let all: Vec<String> = (0..layers.layers()).flat_map(|n| layers.layer(n)).map(|member| member.path).collect();
    assert!(all.iter().any(|path| path == "app/package.json") && all.iter().all(|path| !path.contains(".npmrc")));
}

/// What `ingot init` writes for the sources of an example can be planned and built as it is.
#[test]
fn what_init_writes_for_node_can_be_built() {
    let project = Project::new("");
    let folder = project.folder();
    std::fs::remove_file(folder.join("ingot.toml")).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/stack/express");
    let copied = tree(&source);
    for (path, what) in copied.iter().filter(|(path, _)| *path != "ingot.toml") {
        match what.as_str() {
            "folder" => std::fs::create_dir_all(folder.join(path)).unwrap(),
            _ => std::fs::copy(source.join(path), folder.join(path)).map(drop).unwrap(),
        }
    }
    let ingot = Ingot::new().env("npm_config_registry", npm_registry());
    let at = folder.to_str().unwrap();
    ingot.run(["init", at]).ok();
    let text = std::fs::read_to_string(folder.join("ingot.toml")).unwrap();
    assert!(text.contains("[\"node\", \"src/main.mjs\"]") && text.contains("expose = [3000]"), "{text}");
    // Whatever release this machine is of.
    std::fs::write(folder.join("ingot.toml"), text.replace("debian:12/packages", &release().0)).unwrap();
    let plan = ingot.run(["plan", at]).ok().stdout;
    assert!(plan.contains("packages of Node for linux"), "{plan}");
    build(&ingot, &project).ok();
    let image = Layout::open(&ingot.path("image"));
    assert_eq!(image.config()["config"]["Cmd"], json!(["node", "src/main.mjs"]));
    let all: Vec<String> = (0..image.layers()).flat_map(|n| image.layer(n)).map(|member| member.path).collect();
    for path in ["usr/bin/node", "app/src/main.mjs", "app/node_modules/express/package.json"] {
        assert!(all.iter().any(|found| found == path), "{path}");
    }
}

/// Tarballs are sent for before the base is there; what the base says in the end decides, and bytes do not depend on it.
#[test]
fn packages_are_fetched_while_the_base_is() {
    let (a, b) = (good(), npm_tarball(&[("package.json", "{\"name\": \"b\"}")]));
    let tarballs = Arc::new(NpmRegistry::of(&[("/a/-/a-1.0.0.tgz", &a), ("/b/-/b-1.0.0.tgz", &b)]));
    let wants = json!({"dependencies": {"a": "^1.0.0"}, "optionalDependencies": {"b": "1.0.0", "c": "1.0.0"}});
    let only = |libc: &str| json!({"version": "1.0.0", "integrity": integrity(&b), "optional": true, "libc": [libc]});
    let lock = json!({"lockfileVersion": 3, "packages": {
        "": wants,
        "node_modules/a": {"version": "1.0.0", "integrity": integrity(&a)},
        // Nobody knows before the base is open which of the two it is.
        "node_modules/b": only("glibc"),
        "node_modules/c": only("musl"),
    }});
    let project = project(&wants, &lock);
    let (came, files) = (Arc::new(AtomicBool::new(false)), registry_of(&project.folder().join("base")));
    let bases = {
        let (tarballs, came) = (tarballs.clone(), came.clone());
        Server::start(move |path| {
            let begin = Instant::now();
            while path.contains("/blobs/") && !came.load(Ordering::SeqCst) && begin.elapsed() < Duration::from_secs(20)
            {
                came.store(!tarballs.asked().is_empty(), Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
            }
            files(path)
        })
    };
    let project = project.file("ingot.toml", NODE_TOML.replace("oci:base", &format!("{}/base:1", bases.authority())));
    let one = Ingot::new().env("npm_config_registry", tarballs.url());
    build(&one, &project).ok();
    assert!(came.load(Ordering::SeqCst), "nothing was fetched before the base: {:?}", bases.asked());
    let asked: Vec<String> = tarballs.asked().into_iter().map(|(path, _)| path).collect();
    assert_eq!(asked, ["/a/-/a-1.0.0.tgz", "/b/-/b-1.0.0.tgz"], "each once");
    let other = Ingot::new().env("npm_config_registry", tarballs.url()).env("RAYON_NUM_THREADS", "1");
    build(&other, &project).ok();
    let digests = [&one, &other].map(|ingot| Layout::open(&ingot.path("image")).descriptor()["digest"].clone());
    assert_eq!(digests[0], digests[1]);
    let layout = Layout::open(&one.path("image"));
    let all: Vec<String> = (0..layout.layers()).flat_map(|n| layout.layer(n)).map(|member| member.path).collect();
    let has = |path: &str| all.iter().any(|found| found == path);
    assert!(has("app/node_modules/b/package.json") && !has("app/node_modules/c/package.json"), "{all:?}");
}
