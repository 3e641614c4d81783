use super::*;
use crate::error::Explain;

/// Registries of a machine with these variables and files; `ROOT` in either is the folder of the files.
fn registries(variables: &[(&str, &str)], files: &[(&str, &str)], npm: &str) -> Result<Registries> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let at = |text: &str| text.replace("ROOT", root.to_str().unwrap());
    for (name, text) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, at(text)).unwrap();
    }
    let mut all: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| (name.to_string(), at(value))).collect();
    all.entry("HOME".into()).or_insert_with(|| at("ROOT/home"));
    Registries::of(&Machine { variables: all, root: root.into() }, &root.join("project"), npm)
}

const NO_NPM: &str = "no-such-npm";

#[test]
fn the_first_source_that_names_a_registry_decides() {
    type Source = (&'static [(&'static str, &'static str)], &'static [(&'static str, &'static str)]);
    let sources: [Source; 9] = [
        (&[("npm_config_registry", "https://0.example/")], &[]),
        (&[("NPM_CONFIG_REGISTRY", "https://1.example/")], &[]),
        (&[], &[("project/.npmrc", "registry=https://2.example/")]),
        (&[("NPM_CONFIG_USERCONFIG", "ROOT/mine")], &[("mine", "registry = https://3.example")]),
        (&[], &[("home/.npmrc", "registry=https://4.example/")]),
        (&[("npm_config_globalconfig", "ROOT/all")], &[("all", "registry=https://5.example/")]),
        (&[("npm_config_prefix", "ROOT/usr")], &[("usr/etc/npmrc", "registry=https://6.example/")]),
        (&[], &[("etc/npmrc", "registry=https://7.example/")]),
        (&[("PATH", "ROOT/bin")], &[("bin/npm", ""), ("npmrc", "registry=https://8.example/")]),
    ];
    // What names another file in a stronger source's stead is left out of the weaker ones.
    for first in 0..sources.len() {
        let mut variables: Vec<(&str, &str)> = Vec::new();
        let mut files: Vec<(&str, &str)> = Vec::new();
        for (at, (own, written)) in sources.iter().enumerate().skip(first) {
            if (at == 4 && first == 3) || (at == 6 && first <= 5) {
                continue;
            }
            variables.extend(*own);
            files.extend(*written);
        }
        let found = registries(&variables, &files, NO_NPM).unwrap();
        assert_eq!(found.registry.unwrap().as_str(), format!("https://{first}.example/"), "{variables:?}");
    }
}

#[test]
fn scopes_logins_and_variables_come_from_all_sources() {
    let found = registries(
        &[("TOKEN", "canary-t"), ("npm_config_//env.example/:_authToken", "canary-e"), ("npm_config_replace_registry_host", "never")],
        &[
            (
                "project/.npmrc",
                "@s:registry=https://s.example/npm\n//s.example/npm/:_authToken=${TOKEN}\n//gone.example/:_authToken=${GONE}\n",
            ),
            (
                "home/.npmrc",
                "@s:registry=https://other.example/\n//b.example/:username=me\n//b.example/:_password=Y2FuYXJ5LXA=\n\
                 //c.example/:_auth=Y2FuYXJ5\n//half.example/:username=me\n_authToken=canary-of-nobody\n",
            ),
        ],
        NO_NPM,
    )
    .unwrap();
    assert_eq!(found.scopes["@s"].as_str(), "https://s.example/npm/");
    assert_eq!(found.replace, Replace::Never);
    let header = |place: &str| found.logins.get(place).map(|login| login.header.as_str()).unwrap_or_default();
    assert_eq!(header("//s.example/npm/"), "Bearer canary-t");
    assert_eq!(header("//env.example/"), "Bearer canary-e");
    assert_eq!(header("//b.example/"), "Basic bWU6Y2FuYXJ5LXA=");
    assert_eq!(header("//c.example/"), "Basic Y2FuYXJ5");
    assert_eq!(found.logins.len(), 4, "{:?}", found.logins.keys());
    let [nobodys, warning] = &found.warnings[..] else { panic!("{:?}", found.warnings) };
    assert!(nobodys.contains("home/.npmrc`: `_authToken` names no registry: nothing logs in with it"), "{nobodys}");
    assert!(warning.ends_with("/project/.npmrc`: `GONE` is not set: nothing logs in at //gone.example/"), "{warning}");
    assert!(!format!("{found:?}").contains("canary"), "{found:?}");
}

#[test]
fn a_password_in_a_url_is_a_login_for_what_is_below_it() {
    let found = registries(
        &[("npm_config_registry", "https://me:can%61ry@a.example/npm")],
        &[("project/.npmrc", "@s:registry=https://tok:@s.example/\n//s.example/:_authToken=mine\n")],
        NO_NPM,
    )
    .unwrap();
    assert_eq!(found.registry.as_ref().unwrap().as_str(), "https://a.example/npm/");
    assert!(!format!("{found:?}").contains("can%61ry"), "{found:?}");
    let login =
        |url: &str| found.login(&Url::parse(url).unwrap()).map(|login| login.header.as_str()).unwrap_or_default();
    assert_eq!(login("https://a.example/npm/x"), "Basic bWU6Y2FuYXJ5");
    assert_eq!(login("https://a.example/other"), "");
    assert_eq!(login("https://s.example/x"), "Bearer mine", "what is written for the place is stronger");
}

#[test]
fn the_login_of_a_packages_registry_is_for_all_of_its_server_and_no_other() {
    let found = registries(
        &[],
        &[(
            "project/.npmrc",
            "registry=https://a.example/group/npm/\n@s:registry=https://s.example/npm/\n@open:registry=https://a.example/open/\n\
             //a.example/group/npm/:_authToken=a\n//a.example/files/:_authToken=f\n//s.example/npm/:_authToken=s\n\
             @plain:registry=http://a.example/group/npm/\n",
        )],
        NO_NPM,
    )
    .unwrap();
    for (package, url, expected) in [
        ("x", "https://a.example/group/npm/x/-/x-1.tgz", "Bearer a"),
        ("x", "https://a.example/project/7/x-1.tgz", "Bearer a"),
        ("x", "https://a.example/files/x-1.tgz", "Bearer f"),
        ("@s/x", "https://s.example/elsewhere/x-1.tgz", "Bearer s"),
        // Another server, another port, another scheme, the registry of another package.
        ("x", "https://s.example/elsewhere/x-1.tgz", ""),
        ("x", "https://a.example:8443/project/7/x-1.tgz", ""),
        ("x", "http://a.example/project/7/x-1.tgz", ""),
        ("x", "https://a.example.evil.example/project/7/x-1.tgz", ""),
        ("@s/x", "https://a.example/project/7/x-1.tgz", ""),
        ("@open/x", "https://a.example/project/7/x-1.tgz", ""),
    ] {
        let login = found.login_for(&Url::parse(url).unwrap(), package).map(|login| login.header.as_str());
        assert_eq!(login.unwrap_or_default(), expected, "{package} from {url}");
    }
}

#[test]
fn a_bad_setting_is_named_and_not_repeated() {
    for (variables, files, expected) in [
        (&[("npm_config_registry", "canary")][..], &[][..], "npm_config_registry: a registry is not a URL"),
        (
            &[],
            &[("project/.npmrc", "registry=ssh://canary@x/")],
            ".npmrc`: a registry has the scheme `ssh`, expected https",
        ),
        (&[], &[("project/.npmrc", "@s:registry=${GONE}")], ".npmrc`: the variable `GONE` is not set"),
    ] {
        let error = registries(variables, files, NO_NPM).unwrap_err();
        assert!(error.to_string().contains(expected) && !error.to_string().contains("canary"), "{error}");
        assert!(error.class().code() == 2 && error.hint().unwrap().contains("npm config list"));
    }
}

/// A program that answers as npm does, and writes down how often it was asked.
fn fake_npm(folder: &Path) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("npm");
    let script = format!(
        "#!/bin/sh\necho \"$@\" \"[$npm_config_registry]\" >> {0}/asked\ncase \"$*\" in\n\
         *globalconfig*) echo https://default.example/ ;;\n*) echo https://told.example/npm ;;\nesac\n",
        folder.display()
    );
    // Not by this process: a program that a fork has open for writing cannot be started.
    let mut write = Command::new("sh");
    write.args(["-c", &format!("cat > {0}; chmod 755 {0}", path.display())]);
    process::run(write, script.as_bytes(), TOOL_TIMEOUT).unwrap();
    assert!(path.metadata().unwrap().permissions().mode() & 0o100 != 0);
    path.display().to_string()
}

#[test]
fn at_last_npm_is_asked_and_only_once() {
    let folder = tempfile::tempdir().unwrap();
    let npm = fake_npm(folder.path());
    std::fs::create_dir(folder.path().join("project")).unwrap();
    let machine = Machine { variables: BTreeMap::new(), root: folder.path().into() };
    let found = Registries::of(&machine, &folder.path().join("project"), &npm).unwrap();
    for _ in 0..3 {
        let url = found.tarball("a", "1.0.0", None).unwrap();
        assert_eq!(url.as_str(), "https://told.example/npm/a/-/a-1.0.0.tgz");
        let resolved = Url::parse("https://default.example/a/-/a-1.0.0.tgz").unwrap();
        assert_eq!(found.tarball("a", "1.0.0", Some(&resolved)).unwrap(), url);
        let other = Url::parse("https://other.example/a.tgz").unwrap();
        assert_eq!(found.tarball("a", "1.0.0", Some(&other)).unwrap(), other);
    }
    let asked = std::fs::read_to_string(folder.path().join("asked")).unwrap();
    assert_eq!(asked.lines().count(), 2, "{asked}");
}

#[test]
fn without_npm_only_what_the_lock_names_is_known() {
    let found = registries(&[], &[], NO_NPM).unwrap();
    let error = found.tarball("a", "1.0.0", None).unwrap_err();
    assert!(matches!(error, Error::NoRegistry), "{error}");
    assert!(error.hint().unwrap().contains("npm_config_registry"));
    let resolved = Url::parse("https://some.example/a.tgz").unwrap();
    assert_eq!(found.tarball("a", "1.0.0", Some(&resolved)).unwrap(), resolved);
    let scoped = registries(&[], &[("project/.npmrc", "@s:registry=http://s.example/\n")], NO_NPM).unwrap();
    assert_eq!(scoped.tarball("@s/b", "2.0.0", None).unwrap().as_str(), "http://s.example/@s/b/-/b-2.0.0.tgz");
}

/// This machine has npm, which knows its registry; which one is none of our business.
#[test]
fn the_npm_of_this_machine_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine { variables: BTreeMap::new(), root: folder.path().into() };
    let found = Registries::of(&machine, folder.path(), "npm").unwrap();
    let url = found.of_package("a").expect("apt-get install npm");
    assert!(url.scheme().starts_with("http") && url.path().ends_with('/'));
    assert!(found.default_host().is_some_and(|host| host.contains('.')), "npm says its own default");
}
