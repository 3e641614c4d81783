use super::*;
use crate::stack::render::json;

fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join("app").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn load(files: &[(&str, &str)], change: impl FnOnce(&mut Request)) -> Result<Stack> {
    let folder = project(files);
    let mut request = Request { folder: Some(folder.path().join("app")), ..Request::default() };
    change(&mut request);
    request.files.iter_mut().for_each(|file| *file = folder.path().join("app").join(&*file));
    Stack::load(&request)
}

fn refused(text: &str) -> String {
    load(&[("compose.yaml", text)], |_| {}).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn files_variables_and_profiles_make_one_stack() {
    let base = "services:\n  web:\n    image: web:${TAG:-1}\n    environment: [MODE=$MODE, \"B=${B}\"]\n  debug: {image: d, profiles: [dev]}\n";
    let over = "services:\n  web: {environment: [C=3]}\n";
    let files = [("compose.yaml", base), ("compose.override.yaml", over), (".env", "MODE=prod\nTAG=2\n")];
    let stack = load(&files, |request| {
        request.environment.insert("TAG".into(), "3".into());
    })
    .unwrap();
    assert_eq!(
        json(&stack.root).to_string(),
        r#"{"services":{"web":{"environment":{"B":"","C":"3","MODE":"prod"},"image":"web:3"}}}"#
    );
    assert_eq!((stack.name.as_str(), stack.files.join(" ").as_str()), ("app", "compose.yaml compose.override.yaml"));
    assert_eq!((stack.unset.len(), stack.unset["B"].line), (1, 4));
    let stack = load(&files, |request| request.profiles.push("dev".into())).unwrap();
    assert_eq!(stack.services().map(|(name, _)| name).collect::<Vec<_>>(), ["debug", "web"]);
    let stack = load(&files, |request| request.files = vec!["compose.yaml".into()]).unwrap();
    assert_eq!(stack.files.len(), 1);
}

#[test]
fn in_production_its_file_lies_over_the_others_once() {
    let files = [
        ("compose.yaml", "services: {a: {image: i, tty: true}}\n"),
        ("other.yaml", "services: {a: {image: j}}\n"),
        ("compose.production.yaml", "services: {a: {tty: false}}\n"),
    ];
    let printed = |change: fn(&mut Request)| load(&files, change).unwrap().files.join(" ");
    assert_eq!(printed(|request| request.production = true), "compose.yaml compose.production.yaml");
    assert_eq!(printed(|_| {}), "compose.yaml");
    let named = |request: &mut Request| {
        request.production = true;
        request.files = vec!["compose.yaml".into(), "other.yaml".into()];
    };
    let stack = load(&files, named).unwrap();
    assert_eq!(stack.files.join(" "), "compose.yaml other.yaml compose.production.yaml");
    assert_eq!(json(&stack.root).to_string(), r#"{"services":{"a":{"image":"j","tty":false}}}"#);
    let twice = |request: &mut Request| {
        request.production = true;
        request.files = vec!["compose.yaml".into(), "compose.production.yaml".into()];
    };
    assert_eq!(load(&files, twice).unwrap().files.len(), 2);
}

#[test]
fn services_extend_and_files_include_one_another_inside_the_project() {
    let files = [
        (
            "compose.yaml",
            "include: [parts/db.yaml]\nservices:\n  a: {extends: {file: parts/base.yaml, service: base}, environment: {B: 2}}\n  c: {extends: a, tty: true}\n",
        ),
        (
            "parts/base.yaml",
            "services:\n  base: {image: i, environment: {A: 1, B: 1}, depends_on: [nobody], extends: root}\n  root: {init: true}\n",
        ),
        ("parts/db.yaml", "services:\n  db: {image: db}\n"),
    ];
    let stack = load(&files, |_| {}).unwrap();
    let expected = r#"{"a":{"environment":{"A":1,"B":2},"image":"i","init":true},"c":{"environment":{"A":1,"B":2},"image":"i","init":true,"tty":true},"db":{"image":"db"}}"#;
    assert_eq!(json(stack.root.get("services").unwrap()).to_string(), expected);
    for (text, expected) in [
        ("include: ['https://x.example/c.yaml']", "is not on this machine"),
        ("include: ['oci://x.example/c']", "is not on this machine"),
        ("services: {a: {extends: {file: ../x.yaml, service: s}}}", "is outside of the project's folder"),
        ("services: {a: {extends: a}}", "extends itself"),
        ("services: {a: {extends: b}}", "`b` is extended, but there is no such service"),
        ("include: [compose.yaml]", "include one another more than 16 deep"),
    ] {
        assert!(refused(text).contains(expected), "{text}: {}", refused(text));
    }
    assert!(
        load(&[("x", "")], |_| {}).map(|_| ()).unwrap_err().to_string().starts_with("there is no Compose file in ")
    );
}

#[test]
fn what_a_later_file_takes_away_is_gone() {
    let files = [
        (
            "compose.yaml",
            "services: {a: {image: i, ports: ['1:1'], volumes: ['./x:/x'], environment: {A: 1, B: 2}, command: [x]}}\n",
        ),
        (
            "compose.production.yaml",
            "services: {a: {ports: !override ['2:2'], volumes: !reset [], environment: {B: !reset null, C: 3}, command: !reset null}}\n",
        ),
    ];
    let stack = load(&files, |request| request.production = true).unwrap();
    assert_eq!(
        json(stack.root.get("services").unwrap().get("a").unwrap()).to_string(),
        r#"{"environment":{"A":1,"C":3},"image":"i","ports":[{"protocol":"tcp","published":"2","target":"2"}]}"#
    );
}

#[test]
fn included_files_have_their_own_folder_and_variables() {
    let files = [
        ("compose.yaml", "include: [{path: p/c.yaml, env_file: p/own.env}]\nservices: {a: {image: 'a:${V:-outer}'}}\n"),
        (
            "p/c.yaml",
            "services: {b: {image: 'b:$V', build: ./ctx, volumes: ['./d:/d', 'n:/n'], env_file: x.env}}\nvolumes: {n: }\nsecrets: {s: {file: s.txt}}\n",
        ),
        ("p/own.env", "V=inner\n"),
        ("p/x.env", "A=1\nB=$V\n"),
    ];
    let stack = load(&files, |_| {}).unwrap();
    let service = |name: &str| json(stack.root.get("services").unwrap().get(name).unwrap());
    assert_eq!(service("a")["image"], "a:outer");
    let b = service("b");
    assert_eq!(
        (&b["image"], &b["build"]["context"], &b["volumes"][0]["source"]),
        (&"b:inner".into(), &"./p/ctx".into(), &"./p/d".into())
    );
    assert_eq!((&b["volumes"][1]["source"], b.get("env_file")), (&"n".into(), None));
    assert_eq!(b["environment"].to_string(), r#"{"A":"1","B":""}"#);
    assert_eq!(json(&stack.root)["secrets"]["s"]["file"], "./p/s.txt");
}

#[test]
fn files_of_variables_are_under_what_stands_in_the_file() {
    let files = [
        (
            "compose.yaml",
            "services: {a: {image: i, env_file: [one.env, {path: two.env, required: false}, {path: no.env, required: false}, {path: raw.env, format: raw}], environment: {A: own, KNOWN: , UNKNOWN: }}}\n",
        ),
        ("one.env", "A=1\nB=1\nC=1\n"),
        ("two.env", "B=2\nD=$C-$KNOWN\n"),
        ("raw.env", "E='$x' # y\n"),
    ];
    let stack = load(&files, |request| drop(request.environment.insert("KNOWN".into(), "k".into()))).unwrap();
    assert_eq!(
        json(stack.root.get("services").unwrap().get("a").unwrap().get("environment").unwrap()).to_string(),
        r#"{"A":"own","B":"2","C":"1","D":"1-k","E":"'$x' # y","KNOWN":"k","UNKNOWN":null}"#
    );
    let place =
        stack.root.get("services").unwrap().get("a").unwrap().get("environment").unwrap().get("D").unwrap().place;
    assert_eq!((stack.file(place), place.line), ("two.env", 2));
    assert!(refused("services: {a: {image: i, env_file: no.env}}").contains("`no.env` is not there"));
    assert!(refused("services: {a: {image: i, env_file: ../no.env}}").contains("is outside of the project's folder"));
}

#[test]
fn what_a_variable_without_a_value_leaves_is_its_mistake() {
    let error = refused("services:\n  a:\n    image: i\n    ports: ['${P}:${P}']\n");
    assert!(error.starts_with("`compose.yaml`, line 4: `P` has no value, and so `:` is no port: expected"), "{error}");
    let stack = load(&[("compose.yaml", "services: {a: {image: i}, b: {image: b, profiles: [p]}}\n")], |_| {}).unwrap();
    assert_eq!(stack.asleep, ["b"]);
}

#[test]
fn names_files_and_profiles_come_from_the_environment() {
    let files = [
        (
            "compose.yaml",
            "name: own\nservices: {a: {image: 'i:$COMPOSE_PROJECT_NAME'}, b: {image: b, profiles: [p]}}\n",
        ),
        (".env", "COMPOSE_PROFILES=p,q\n"),
    ];
    let stack = load(&files, |_| {}).unwrap();
    assert_eq!((stack.name.as_str(), stack.services().count()), ("own", 2));
    assert_eq!(json(stack.root.get("services").unwrap().get("a").unwrap())["image"], "i:own");
    let stack = load(&files, |request| drop(request.environment.insert("COMPOSE_PROJECT_NAME".into(), "other".into())))
        .unwrap();
    assert_eq!(stack.name, "other");
}

#[test]
fn no_file_of_variables_is_read_through_a_link_that_leads_out() {
    let files = [
        ("compose.yaml", "include: [inc/compose.yaml]\nservices: {a: {image: 'a:${LEAK:-own}'}}\n"),
        ("inc/compose.yaml", "services: {b: {image: 'b:${LEAK:-own}'}}\n"),
        ("inc/real.env", "LEAK=inner\n"),
        ("../outside.env", "LEAK=secret\n"),
    ];
    let folder = project(&files);
    let app = folder.path().join("app");
    let load = |env_files: &[&str]| {
        let env_files = env_files.iter().map(|file| app.join(file)).collect();
        Stack::load(&Request { folder: Some(app.clone()), env_files, ..Request::default() })
    };
    let image =
        |stack: &Stack, name: &str| json(stack.root.get("services").unwrap().get(name).unwrap())["image"].clone();
    let link = |to: &str, at: &str| {
        let _ = std::fs::remove_file(app.join(at));
        std::os::unix::fs::symlink(to, app.join(at)).unwrap();
    };
    link("../../outside.env", "inc/.env");
    let error = load(&[]).map(|_| ()).unwrap_err().to_string();
    assert_eq!(error, "`compose.yaml`, line 1: `inc/.env` is outside of the project's folder");
    link("real.env", "inc/.env");
    assert_eq!(image(&load(&[]).unwrap(), "b"), "b:inner");
    link("../outside.env", ".env");
    let error = load(&[]).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "`.env` is a link that leads out of the project's folder");
    assert_eq!(
        (error.hint().unwrap().as_str(), error.class().code()),
        ("if that is meant, name it: `--env-file .env`", 2)
    );
    assert_eq!(image(&load(&[".env"]).unwrap(), "a"), "a:secret");
    link("inc/real.env", ".env");
    assert_eq!(image(&load(&[]).unwrap(), "a"), "a:inner");
}

#[test]
fn files_of_labels_are_under_what_stands_in_the_file() {
    let files = [
        (
            "compose.yaml",
            "include: [p/c.yaml]\nservices: {a: {image: i, label_file: [one.txt, ./two.txt], labels: {A: own}}, b: {image: i, label_file: one.txt}, d: {extends: {file: p/c.yaml, service: c}}}\n",
        ),
        ("one.txt", "# who it is\nA=1\ncom.example.b='x y'\nC=$A-$KNOWN\n"),
        ("two.txt", "com.example.b=2\nD=$C\nKNOWN\n"),
        ("p/c.yaml", "services: {c: {image: i, label_file: c.txt}}\n"),
        ("p/c.txt", "E=1\n"),
    ];
    let stack = load(&files, |request| drop(request.environment.insert("KNOWN".into(), "k".into()))).unwrap();
    let service = |name: &str| json(stack.root.get("services").unwrap().get(name).unwrap()).to_string();
    assert_eq!(service("a"), r#"{"image":"i","labels":{"A":"own","C":"1-","D":"1-","com.example.b":"2"}}"#);
    assert_eq!(service("b"), r#"{"image":"i","labels":{"A":"1","C":"1-","com.example.b":"x y"}}"#);
    assert_eq!((service("c"), service("d")), (r#"{"image":"i","labels":{"E":"1"}}"#.into(), service("c")));
    let labels = stack.root.get("services").unwrap().get("a").unwrap().get("labels").unwrap();
    let place = labels.get("D").unwrap().place;
    assert_eq!((stack.file(place), place.line), ("two.txt", 2));
    for (file, expected) in [
        ("/etc/hosts", "line 1: `/etc/hosts` is outside of the project's folder"),
        ("../l.txt", "line 1: `../l.txt` is outside of the project's folder"),
        ("https://x.example/l", "is not on this machine"),
        ("no.txt", "line 1: `no.txt` is not there"),
    ] {
        let text = format!("services: {{a: {{image: i, label_file: '{file}'}}}}");
        assert!(refused(&text).contains(expected), "{file}: {}", refused(&text));
    }
    let bad = [("compose.yaml", "services: {a: {image: i, label_file: l.txt}}\n"), ("l.txt", "\na b c\n")];
    let error = load(&bad, |_| {}).map(|_| ()).unwrap_err().to_string();
    assert_eq!(error, "`l.txt`, line 2: a line without `=`");
    let over = [
        ("compose.yaml", "services: {a: {image: i, label_file: one.txt}}\n"),
        ("compose.override.yaml", "services: {a: {label_file: two.txt}}\n"),
        ("one.txt", "A=1\nB=1\n"),
        ("two.txt", "B=2\n"),
    ];
    let stack = load(&over, |_| {}).unwrap();
    assert_eq!(json(&stack.root)["services"]["a"]["labels"].to_string(), r#"{"A":"1","B":"2"}"#);
}
