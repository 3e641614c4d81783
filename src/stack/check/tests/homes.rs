//! Whose a folder is, and how findings are told.

use super::*;

#[test]
fn an_engine_of_a_desktop_is_found_below_a_home_if_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (home, app) = (folder.path().join("people/bob"), folder.path().join("app"));
    std::fs::create_dir_all(home.join(".docker")).unwrap();
    std::fs::create_dir_all(&app).unwrap();
    let found = |source: &str| {
        std::fs::write(app.join("compose.yaml"), format!("{GOOD}    volumes: ['{source}:/x']\n")).unwrap();
        let environment = [("HOME".to_string(), home.display().to_string())].into();
        let stack = Stack::load(&Request { folder: Some(app.clone()), environment, ..Request::default() }).unwrap();
        let findings = check(&stack, &policy(&[]).unwrap(), false).findings;
        findings.into_iter().map(|finding| finding.rule).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        (found("~"), found("~/.docker"), found("~/data")),
        ("host-mount".into(), "host-mount".into(), "".into())
    );
    std::fs::create_dir_all(home.join(".docker/run")).unwrap();
    std::fs::write(home.join(".docker/run/docker.sock"), "").unwrap();
    let both = "engine-socket host-mount".to_string();
    assert_eq!((found("~"), found("~/.docker"), found("~/data")), (both.clone(), both.clone(), "".into()));
    assert_eq!(found(&folder.path().join("people/bob/").display().to_string()), both);
}

#[test]
fn a_home_has_folders_of_its_own_also_roots() {
    let folder = tempfile::tempdir().unwrap();
    for (home, source, expected) in [
        ("/root", "~/data", false),
        ("/root", "/root/data", false),
        ("/root", "~", true),
        ("/root", "~/.ssh", true),
        ("/root", "~/.config/x", true),
        ("/home/bob", "/root/data", true),
        ("/home/bob", "~/data", false),
    ] {
        std::fs::write(folder.path().join("compose.yaml"), format!("{GOOD}    volumes: ['{source}:/x']\n")).unwrap();
        let environment = [("HOME".to_string(), home.to_string())].into();
        let request = Request { folder: Some(folder.path().into()), environment, ..Request::default() };
        let findings = check(&Stack::load(&request).unwrap(), &policy(&[]).unwrap(), false).findings;
        assert_eq!(findings.iter().any(|finding| finding.rule == "host-mount"), expected, "{source} of {home}");
    }
}

#[test]
fn what_is_in_the_project_is_its_own_wherever_it_lies() {
    for (folder, source, expected) in [
        ("/root/app", "./data", false),
        ("/root/app", ".", false),
        ("/root", "./data", false),
        ("/root", ".", true),
        ("/root", "./.ssh", true),
        ("/root", "./.config/app", true),
        ("/root/app", "./.ssh", true),
        ("/root/app", "../other", true),
        ("/home/bob", ".", true),
        ("/home/bob", "./.aws", true),
        ("/home/bob", "./data", false),
        ("/home/bob/.config/app", "./data", false),
        ("/usr/src/app", "./data", false),
        ("/var/lib/app", "./data", false),
        ("/var/lib/app", "/var/lib/docker", true),
        ("/etc", "./app", true),
        ("/", "./etc", true),
    ] {
        let text = changed(&format!("volumes: ['{source}:/x']"));
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("compose.yaml"), text).unwrap();
        let mut stack = Stack::load(&Request { folder: Some(place.path().into()), ..Request::default() }).unwrap();
        stack.folder = folder.into();
        let findings = check(&stack, &policy(&[]).unwrap(), false).findings;
        assert_eq!(findings.iter().any(|finding| finding.rule == "host-mount"), expected, "{source} in {folder}");
    }
}

#[test]
fn one_place_is_told_once_and_says_how_many_services_have_it() {
    let text = "x-e: &e\n  environment: {DB_PASSWORD: k2J9xQ7vRt4Wm8ZsX}\nservices:\n  a:\n    <<: *e\n    image: a\n  b:\n    <<: *e\n    image: b\n  c:\n    <<: *e\n    image: c\n";
    let found = findings(text, false);
    let told = |rule: &str| -> Vec<String> {
        found
            .iter()
            .filter(|finding| finding.rule == rule)
            .map(|one| format!("{} {}", one.place(), one.message))
            .collect()
    };
    assert_eq!(told("secret-value"), ["compose.yaml:2 `DB_PASSWORD` of `a` (and 2 more) stands in the file"]);
    let lines = ["4", "7", "10"].iter().zip(["a", "b", "c"]);
    let expected: Vec<String> =
        lines.map(|(line, name)| format!("compose.yaml:{line} `{name}` can write to its root")).collect();
    assert_eq!(told("writable-root"), expected, "at the name of each");
}

#[test]
fn a_port_that_nobody_chose_is_told_as_that() {
    for (port, expected) in [
        ("80", "`a` publishes 80 at a port of the engine's choice, on every address"),
        ("8080:80", "`a` publishes 8080 on every address"),
    ] {
        let found =
            findings(&changed("- ports:").replace("restart", &format!("ports: ['{port}']\n    restart")), false);
        assert_eq!(found.iter().map(|one| one.message.as_str()).collect::<Vec<_>>(), [expected]);
    }
}

#[test]
fn nvidias_older_request_is_a_request_to_docker() {
    use crate::engine::Kind::{Docker, Podman};
    let folder = tempfile::tempdir().unwrap();
    let told = |asks: &str, engine| {
        std::fs::write(folder.path().join("compose.yaml"), changed(&format!("runtime: nvidia\n    {asks}"))).unwrap();
        let request = Request { folder: Some(folder.path().into()), engine, ..Request::default() };
        let findings = check(&Stack::load(&request).unwrap(), &policy(&[]).unwrap(), false).findings;
        findings.iter().filter(|one| one.line == Some(15)).map(|one| one.severity).collect::<Vec<_>>()
    };
    for asks in ["environment: [NVIDIA_VISIBLE_DEVICES=all]", "gpus: all"] {
        let all = (told(asks, None), told(asks, Some(Docker)), told(asks, Some(Podman)));
        assert_eq!(all, (vec![Severity::Warning], vec![], vec![Severity::Error]), "{asks}");
    }
    assert_eq!(told("tty: true", Some(Docker)), [Severity::Error]);
}
