//! For each kind of application: a folder, the draft, the file, and that it loads.

use std::path::Path;

use super::*;
use crate::fs;
use crate::project::{BuildArgs, FILE_NAME, Project, Variant};

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("My Shop_").tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write_atomic(&path, text.as_bytes()).unwrap();
    }
    dir
}

/// Detects, writes, loads; gives draft and variant.
fn written(dir: &Path) -> (Draft, Variant) {
    let draft = detect(dir).unwrap();
    fs::write_atomic(&dir.join(FILE_NAME), draft.to_toml().as_bytes()).unwrap();
    let project = Project::load(dir).unwrap_or_else(|error| panic!("{error}\n{}", draft.to_toml()));
    let variant = project.variant("default", &BuildArgs::default()).unwrap();
    let app = variant.app.clone().unwrap();
    assert_eq!(app.command, draft.command);
    assert!(app.source.value.is_dir());
    (draft, variant)
}

/// Kind, source and command of what is found in these files.
fn found(files: &[(&str, &str)]) -> (AppKind, String, String) {
    let dir = folder(files);
    let (draft, _) = written(dir.path());
    (draft.kind, draft.source, draft.command.join(" "))
}

const HASHED: &str = "gunicorn==23.0.0 \\\n    --hash=sha256:00\n";

#[test]
fn flask_as_an_object_or_a_factory() {
    let app = "from flask import Flask\n\napp = Flask(__name__)\n";
    let factory = "import flask\ndef create_app(config=None):\n    app = flask.Flask(__name__)\n    return app\n";
    let development = "python -m flask --app app:app run --host 0.0.0.0 --port 8080";
    assert_eq!(found(&[("app.py", app)]), (AppKind::Flask, ".".into(), development.into()));
    assert_eq!(
        found(&[("app.py", app), ("requirements.txt", HASHED)]),
        (AppKind::Flask, ".".into(), "gunicorn --bind 0.0.0.0:8080 app:app".into())
    );
    assert_eq!(
        found(&[("src/shop/__init__.py", factory), ("requirements.lock", HASHED)]),
        (AppKind::Flask, "src".into(), "gunicorn --bind 0.0.0.0:8080 shop:create_app()".into())
    );
    // wsgi.py is where servers look.
    assert_eq!(
        found(&[
            ("shop/__init__.py", factory),
            ("shop/wsgi.py", "from . import create_app\napplication = create_app()\n"),
            ("tests/test_app.py", app),
            (".venv/lib/x.py", app),
            ("requirements.txt", "waitress\nflask\n"),
        ]),
        (AppKind::Flask, ".".into(), "waitress-serve --listen=0.0.0.0:8080 shop.wsgi:application".into())
    );
}

#[test]
fn fastapi_as_an_object_or_a_factory() {
    let app = "from fastapi import FastAPI\napi: FastAPI = FastAPI(\n    title='x')\n";
    assert_eq!(
        found(&[("main.py", app)]),
        (AppKind::FastApi, ".".into(), "uvicorn main:api --host 0.0.0.0 --port 8080".into())
    );
    // A folder without `__init__.py` is a package if it is imported from, and an import root if not.
    let files =
        [("app/main.py", "from app.db import x\nfrom fastapi import FastAPI\napp = FastAPI()\n"), ("app/db.py", "")];
    assert_eq!(found(&files).2, "uvicorn app.main:app --host 0.0.0.0 --port 8080");
    assert_eq!(
        found(&[("backend/main.py", app)]),
        (AppKind::FastApi, "backend".into(), "uvicorn main:api --host 0.0.0.0 --port 8080".into())
    );
    let factory = "from fastapi import FastAPI\ndef make_app():\n    return FastAPI()\n";
    assert_eq!(found(&[("main.py", factory)]).2, "uvicorn main:make_app --host 0.0.0.0 --port 8080 --factory");
}

#[test]
fn django_by_its_manage_py() {
    let manage = "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n";
    let wsgi = "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n";
    let dir = folder(&[("site/manage.py", manage), ("site/shop/wsgi.py", wsgi), ("requirements.txt", HASHED)]);
    let (draft, variant) = written(dir.path());
    assert_eq!((draft.kind, draft.source.as_str()), (AppKind::Django, "site"));
    assert_eq!(draft.command.join(" "), "gunicorn --bind 0.0.0.0:8080 shop.wsgi:application");
    assert_eq!(variant.env["DJANGO_SETTINGS_MODULE"], "shop.settings");
    assert!(found(&[("manage.py", manage)]).2.starts_with("python -m django runserver"));
}

#[test]
fn plain_modules_run_through_dash_m() {
    let main = "if __name__ == '__main__':\n    print(1)\n";
    assert_eq!(found(&[("main.py", "print(1)")]), (AppKind::Plain, ".".into(), "python -m main".into()));
    assert_eq!(found(&[("tool.py", main), ("lib.py", "")]).2, "python -m tool");
    let package = [("src/shop/__init__.py", ""), ("src/shop/__main__.py", "print(1)")];
    assert_eq!(found(&package), (AppKind::Plain, "src".into(), "python -m shop".into()));
    assert_eq!(found(&[("shop/__main__.py", "print(1)")]), (AppKind::Plain, ".".into(), "python -m shop".into()));
}

#[test]
fn name_version_and_lock_come_from_the_files_beside() {
    let draft = |files: &[(&str, &str)]| {
        let mut files = files.to_vec();
        files.push(("main.py", ""));
        written(folder(&files).path()).0
    };
    let plain = draft(&[]);
    assert!(plain.name.starts_with("my-shop-"), "{}", plain.name);
    assert_eq!((plain.python, plain.lock), (Some(PythonVersion::new(3, 12)), None));
    let pyproject = "[project]\nname = 'Web.Shop'\nrequires-python = '>=3.9,<3.11'\n";
    let named = draft(&[("pyproject.toml", pyproject), ("uv.lock", ""), (".python-version", "3.13.1\n")]);
    assert_eq!(
        (named.name.as_str(), named.python, named.lock.as_deref()),
        ("web-shop", Some(PythonVersion::new(3, 13)), None)
    );
    assert!(named.notes.iter().any(|note| note.contains("uv export")), "{:?}", named.notes);
    assert_eq!(draft(&[("pyproject.toml", pyproject)]).python, Some(PythonVersion::new(3, 10)));
    let compiled = "#\n# This file is autogenerated by pip-compile with Python 3.11\n#\n";
    let locked = draft(&[("requirements.txt", compiled), ("requirements.lock", HASHED), ("pylock.toml", "")]);
    assert_eq!((locked.python, locked.lock.as_deref()), (Some(PythonVersion::new(3, 11)), Some("pylock.toml")));
    let unlocked = draft(&[("requirements.txt", "flask\n")]);
    assert!(unlocked.lock.is_none() && unlocked.notes[0].contains("uv pip compile --generate-hashes requirements.txt"));
}

#[test]
fn a_folder_without_an_application_is_told() {
    let error = detect(folder(&[("README.md", "")]).path()).unwrap_err();
    assert!(error.to_string().starts_with("found no application of Python or Node in `"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("main.py")));
    assert!(detect(Path::new("/no/such/folder")).is_err());
}

#[test]
fn the_file_reads_well() {
    let app = "from flask import Flask\napp = Flask(__name__)\n";
    let dir = folder(&[
        ("src/shop/__init__.py", app),
        ("requirements.lock", HASHED),
        ("pyproject.toml", "[project]\nname='shop'\n"),
    ]);
    let draft = written(dir.path()).0;
    insta::assert_snapshot!(draft.to_toml(), @r#"
    # How Ingot casts this Flask application; every key: docs/project-file.md

    [image]
    name = "shop"

    [python]
    version = "3.12"                           # what the base provides
    lock = "requirements.lock"

    [app]
    source = "src"                             # .dockerignore holds
    command = ["gunicorn", "--bind", "0.0.0.0:8080", "shop:app"]
    expose = [8080]
    # writable = ["/app/data"]                 # folders that the application writes to

    # [healthcheck]
    # command = ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/health', timeout=5)"]

    [budget]                                   # checked before anything is written or pushed
    compressed = "500MB"

    [variants.default]
    base = "python:3.12-slim-bookworm"
    "#);
}

#[test]
fn odd_names_are_written_so_that_they_are_read_back() {
    let mut draft = detect(folder(&[("main.py", "")]).path()).unwrap();
    draft.command = vec!["a\"b\\c".into(), "${HOME} $x $$".into(), "tab\there".into()];
    let dir = folder(&[("main.py", "")]);
    fs::write_atomic(&dir.path().join(FILE_NAME), draft.to_toml().as_bytes()).unwrap();
    let variant = Project::load(dir.path()).unwrap().variant("default", &BuildArgs::default()).unwrap();
    assert_eq!(variant.app.unwrap().command, draft.command);
}

const LOCK: &str = r#"{"lockfileVersion": 3, "packages": {"": {}, "node_modules/next": {"version": "1.0.0",
    "bin": {"next": "dist/bin/next"}, "integrity": "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw=="},
    "node_modules/nodemon": {"version": "1.0.0", "dev": true, "bin": "n.js"}}}"#;

#[test]
fn node_is_started_as_its_package_says() {
    let of = |manifest: &str, files: &[&str]| {
        let mut all = vec![("package.json", manifest), ("package-lock.json", LOCK)];
        all.extend(files.iter().map(|file| (*file, "")));
        let (kind, source, command) = found(&all);
        assert_eq!((kind, source.as_str()), (AppKind::Node, "."));
        command
    };
    assert_eq!(of(r#"{"scripts": {"start": "node src/main.mjs"}}"#, &[]), "node src/main.mjs");
    assert_eq!(
        of(r#"{"scripts": {"start": "next start -p 80"}}"#, &[]),
        "node node_modules/next/dist/bin/next start -p 80"
    );
    assert_eq!(of(r#"{"scripts": {"start": "nodemon x.js"}, "main": "lib"}"#, &["lib/index.js"]), "node lib/index.js");
    assert_eq!(of(r#"{"scripts": {"start": "a && b"}, "main": "./lib/x"}"#, &["lib/x.js"]), "node lib/x.js");
    assert_eq!(of(r#"{"bin": {"x": "./cli.mjs"}}"#, &["cli.mjs"]), "node cli.mjs");
    assert_eq!(of("\u{feff}{}", &["server.js"]), "node server.js");
}

#[test]
fn the_file_of_a_node_application_reads_well() {
    let manifest = r#"{"name": "@shop/web", "scripts": {"start": "LEVEL=warn node server.js"}}"#;
    let dir = folder(&[
        ("package.json", manifest),
        ("package-lock.json", LOCK),
        ("server.js", "http.createServer().listen(process.env.PORT ?? 3000)\n"),
        (".dockerignore", ""),
    ]);
    let (draft, variant) = written(dir.path());
    assert!(variant.node.is_some() && variant.python.is_none());
    insta::assert_snapshot!(draft.to_toml(), @r#"
    # How Ingot casts this Node application; every key: docs/project-file.md

    [image]
    name = "web"

    [os]
    packages = ["nodejs"]                      # Node itself, from the base's own packages

    [node]
    lock = "package-lock.json"                 # the packages, every one with its hash

    [app]
    source = "."                               # .dockerignore holds
    command = ["node", "server.js"]
    expose = [3000]
    # writable = ["/app/data"]                 # folders that the application writes to

    [env]
    LEVEL = "warn"

    # [healthcheck]
    # command = ["node", "-e", "fetch('http://127.0.0.1:3000/health').then(answer => process.exit(answer.ok ? 0 : 1))"]

    [budget]                                   # checked before anything is written or pushed
    compressed = "500MB"

    [variants.default]
    base = "debian:12/packages"
    "#);
}

#[test]
fn a_base_has_the_node_that_is_wanted() {
    for (engines, base) in [
        (">=18", "debian:12/packages"),
        (">=20", "node:22-bookworm-slim"),
        ("20.x || 99", "node:20-bookworm-slim"),
        ("99", "node:22-bookworm-slim"),
    ] {
        let manifest = format!(r#"{{"engines": {{"node": "{engines}"}}, "main": "x.js"}}"#);
        let dir = folder(&[("package.json", &manifest), ("package-lock.json", LOCK), ("x.js", "")]);
        let (draft, variant) = written(dir.path());
        assert_eq!(draft.base, base, "{engines}");
        assert_eq!(variant.os.packages.len(), usize::from(base.starts_with("debian")));
        assert_eq!(draft.notes.iter().any(|note| note.contains("choose a base")), engines == "99");
    }
}

#[test]
fn python_and_node_in_one_folder_are_decided_and_told() {
    let flask = ("app.py", "from flask import Flask\napp = Flask(__name__)\n");
    let starts = ("package.json", r#"{"scripts": {"start": "node x.js"}}"#);
    let (main, lock) = (("main.py", "print(1)"), ("package-lock.json", LOCK));
    let told = |files: &[(&str, &str)]| {
        let (draft, _) = written(folder(files).path());
        assert!(draft.to_toml().contains(&format!("# {}\n", draft.remarks[0])));
        (draft.kind, draft.remarks.join(" "))
    };
    let (kind, said) = told(&[flask, starts, lock]);
    assert!(kind == AppKind::Flask && said.contains("`[node]` with `lock = \"package-lock.json\"`"), "{said}");
    let (kind, said) = told(&[flask, starts]);
    assert!(kind == AppKind::Flask && said.contains("it has no lock"), "{said}");
    let (kind, said) = told(&[main, starts, lock]);
    assert!(kind == AppKind::Node && said.contains("`python -m main` is left out"), "{said}");
    assert_eq!(told(&[main, ("package.json", "{}"), lock]).0, AppKind::Plain);
}

#[test]
fn a_package_json_alone_is_not_enough() {
    let refused = |files: &[(&str, &str)]| {
        let error = detect(folder(files).path()).unwrap_err();
        assert_eq!(error.class().code(), 2);
        format!("{error} {}", error.hint().unwrap())
    };
    let said = refused(&[("package.json", "{}"), ("server.js", "")]);
    assert!(said.contains("no package-lock.json") && said.contains("npm install --package-lock-only"), "{said}");
    let said = refused(&[("package.json", "{}"), ("yarn.lock", "")]);
    assert!(said.contains("not yarn.lock") && said.contains("npm install --package-lock-only"), "{said}");
    let said = refused(&[("package.json", "{}"), ("package-lock.json", LOCK)]);
    assert!(said.contains("does not say how the application is started") && said.contains("`start`"), "{said}");
    let said = refused(&[("package.json", "{}"), ("package-lock.json", "{\"lockfileVersion\": 1}")]);
    assert!(said.contains("lockfileVersion is 1"), "{said}");
}
