use serde_json::{Value, json};

use super::RULES;
use crate::validate::elf::testing::{Made, program};
use crate::validate::fixture::{Case, Recipe, hold};

const SITE: &str = "opt/venv/lib/python3.11/site-packages";

/// A Python and a virtual environment.
fn python(recipe: &mut Recipe) {
    recipe.file(0, "usr/bin/python3.11", 0o755, program());
    recipe.folder(1, "opt", 0o755).folder(1, "opt/venv", 0o755).folder(1, "opt/venv/bin", 0o755);
    recipe.file(1, "opt/venv/pyvenv.cfg", 0o644, "home = /usr/bin\nversion = 3.11.2\n");
    recipe.symlink(1, "opt/venv/bin/python3.11", "/usr/bin/python3.11");
    recipe.symlink(1, "opt/venv/bin/python", "python3.11");
    recipe.folder(1, SITE, 0o755);
    recipe.config["Env"] = json!(["PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin"]);
}

fn distribution(recipe: &mut Recipe, folder: &str, name: &str, version: &str, needs: &[&str]) {
    let needs: String = needs.iter().map(|need| format!("Requires-Dist: {need}\n")).collect();
    let text = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}\nText\n");
    recipe.file(1, &format!("{folder}/{name}-{version}.dist-info/METADATA"), 0o644, text);
}

/// Bytecode of a version's magic number, made of a source with this time and size.
fn bytecode(number: u16, time: u32, size: u32) -> Vec<u8> {
    let words = [0u32, time, size].map(u32::to_le_bytes).concat();
    [&number.to_le_bytes()[..], b"\r\n", &words, b"code"].concat()
}

fn starts(recipe: &mut Recipe, body: &[u8]) {
    recipe.without("app/serve").file(1, "app/serve", 0o755, body);
}

const TIME: u32 = 315_532_800;

const CASES: &[Case] = &[
    Case {
        rule: "start-nothing",
        breaks: |recipe| recipe.config["Entrypoint"] = Value::Null,
        passes: |recipe| {
            recipe.config["Entrypoint"] = Value::Null;
            recipe.config["Cmd"] = json!(["/app/serve"]);
        },
    },
    Case {
        rule: "start-command",
        breaks: |recipe| recipe.config["Entrypoint"] = json!(["gunicorn"]),
        passes: |recipe| {
            recipe.config["Entrypoint"] = json!(["gunicorn"]);
            recipe.file(0, "usr/bin/gunicorn", 0o755, program());
        },
    },
    Case {
        rule: "start-executable",
        breaks: |recipe| {
            recipe.without("app/serve").file(1, "app/serve", 0o644, "#!/bin/sh\n");
        },
        passes: |_| {},
    },
    Case {
        rule: "start-architecture",
        breaks: |recipe| starts(recipe, &Made { machine: 183, program: true, ..Made::default() }.bytes()),
        passes: |recipe| starts(recipe, &program()),
    },
    Case {
        rule: "start-format",
        breaks: |recipe| starts(recipe, b"echo\n"),
        passes: |recipe| starts(recipe, b"#!/bin/sh\necho\n"),
    },
    Case {
        rule: "start-interpreter",
        breaks: |recipe| {
            recipe.file(0, "usr/bin/env", 0o755, program());
            starts(recipe, b"#!/usr/bin/env bash\n");
        },
        passes: |recipe| {
            recipe.file(0, "usr/bin/env", 0o755, program());
            starts(recipe, b"#!/usr/bin/env sh\n");
        },
    },
    Case {
        rule: "start-line-end",
        breaks: |recipe| starts(recipe, b"#!/bin/sh\r\nexit\r\n"),
        passes: |recipe| starts(recipe, b"#!/bin/sh\nexit\r\n"),
    },
    Case { rule: "start-folder", breaks: |recipe| recipe.config["WorkingDir"] = json!("/srv/app"), passes: |_| {} },
    Case {
        rule: "start-health",
        breaks: |recipe| {
            recipe.config["Healthcheck"]["Test"] = json!(["CMD-SHELL", "curl -f http://localhost/ || exit 1"])
        },
        passes: |recipe| recipe.config["Healthcheck"]["Test"] = json!(["CMD-SHELL", "sh -c true || exit 1"]),
    },
    Case {
        rule: "start-module",
        breaks: |recipe| {
            python(recipe);
            recipe.config["Entrypoint"] = json!(["python", "-m", "missing"]);
        },
        passes: |recipe| {
            python(recipe);
            recipe.config["Entrypoint"] = json!(["python", "-m", "there"]);
            recipe.file(1, "app/there.py", 0o644, "");
        },
    },
    Case {
        rule: "start-venv",
        breaks: |recipe| {
            python(recipe);
            recipe.without("opt/venv/bin/python3.11");
            recipe.symlink(1, "opt/venv/bin/python3.11", "/usr/local/bin/python3.11");
        },
        passes: python,
    },
    Case {
        rule: "start-script",
        breaks: |recipe| {
            python(recipe);
            recipe.file(1, "opt/venv/bin/flask", 0o755, "#!/build/venv/bin/python\n");
        },
        passes: |recipe| {
            python(recipe);
            recipe.file(1, "opt/venv/bin/flask", 0o755, "#!/opt/venv/bin/python\n");
        },
    },
    Case {
        rule: "start-requirement",
        breaks: |recipe| {
            python(recipe);
            distribution(recipe, SITE, "flask", "3.0", &["werkzeug>=3"]);
            distribution(recipe, SITE, "Werkzeug", "2.0", &[]);
        },
        passes: |recipe| {
            python(recipe);
            distribution(recipe, SITE, "flask", "3.0", &["werkzeug>=3"]);
            distribution(recipe, SITE, "Werkzeug", "3.0", &[]);
        },
    },
    Case {
        rule: "start-system-requirement",
        breaks: |recipe| {
            python(recipe);
            distribution(recipe, "usr/lib/python3/dist-packages", "a", "1.0", &["b"]);
        },
        passes: |recipe| {
            python(recipe);
            distribution(recipe, "usr/lib/python3/dist-packages", "a", "1.0", &["b"]);
            distribution(recipe, "usr/lib/python3/dist-packages", "b", "1.0", &[]);
        },
    },
    Case {
        rule: "start-duplicate",
        breaks: |recipe| {
            python(recipe);
            distribution(recipe, SITE, "x", "1.0", &[]);
            distribution(recipe, SITE, "x", "2.0", &[]);
        },
        passes: |recipe| {
            python(recipe);
            distribution(recipe, SITE, "x", "2.0", &[]);
        },
    },
    Case {
        rule: "start-bytecode",
        breaks: |recipe| {
            python(recipe);
            recipe.file(1, "app/main.pyc", 0o644, bytecode(3439, 0, 0));
        },
        passes: |recipe| {
            python(recipe);
            recipe.file(1, "app/main.pyc", 0o644, bytecode(3495, 0, 0));
        },
    },
    Case {
        rule: "start-stale-bytecode",
        breaks: |recipe| {
            python(recipe);
            recipe.file(1, "app/a.py", 0o644, "x = 1\n");
            recipe.file(1, "app/__pycache__/a.cpython-311.pyc", 0o644, bytecode(3495, TIME, 7));
        },
        passes: |recipe| {
            python(recipe);
            recipe.file(1, "app/a.py", 0o644, "x = 1\n");
            recipe.file(1, "app/__pycache__/a.cpython-311.pyc", 0o644, bytecode(3495, TIME, 6));
        },
    },
    Case {
        rule: "start-limit",
        breaks: |recipe| environments(recipe, 101),
        passes: |recipe| environments(recipe, 100),
    },
];

/// Folders that say that they are virtual environments.
fn environments(recipe: &mut Recipe, count: usize) {
    for n in 0..count {
        recipe.file(1, &format!("srv/{n}/pyvenv.cfg"), 0o644, "home = /usr/bin\n");
    }
}

#[test]
fn every_rule_of_this_group_holds() {
    hold(RULES, CASES);
}

fn fired(make: impl Fn(&mut Recipe)) -> Vec<String> {
    let mut recipe = Recipe::good();
    python(&mut recipe);
    make(&mut recipe);
    recipe.fired().into_iter().filter(|rule| rule.starts_with("start-")).collect()
}

fn entrypoint(words: Value) -> Vec<String> {
    fired(|recipe| recipe.config["Entrypoint"] = words.clone())
}

#[test]
fn an_environment_that_is_right_is_no_finding() {
    assert_eq!(fired(|_| {}), [""; 0]);
}

#[test]
fn what_wrappers_start_is_looked_at_too() {
    let with = |words: Value| {
        fired(|recipe| {
            recipe.file(0, "usr/bin/tini", 0o755, program()).file(0, "usr/bin/dumb-init", 0o755, program());
            recipe.config["Entrypoint"] = words.clone();
        })
    };
    assert_eq!(with(json!(["/usr/bin/tini", "-g", "--", "missing"])), ["start-command"]);
    assert_eq!(with(json!(["tini", "-e", "143", "--", "sh"])), [""; 0]);
    assert_eq!(with(json!(["dumb-init", "missing"])), ["start-command"]);
    assert_eq!(with(json!(["dumb-init", "sh", "-c", "missing"])), [""; 0], "what a shell does is its own");
    assert_eq!(with(json!(["tini"])), [""; 0]);
}

#[test]
fn commands_of_any_shape() {
    assert_eq!(entrypoint(json!("exec /app/serve")), [""; 0], "one text is for the shell");
    assert_eq!(entrypoint(json!(["serve"])), ["start-command"]);
    assert_eq!(entrypoint(json!(["./serve"])), [""; 0], "in the working folder");
    assert_eq!(entrypoint(json!(["../app/serve"])), [""; 0]);
    assert_eq!(entrypoint(json!([""])), ["start-command"]);
    assert_eq!(entrypoint(json!(["/app"])), ["start-command"], "a folder");
    assert_eq!(entrypoint(json!([1, {}])), ["start-nothing"]);
    assert_eq!(entrypoint(json!(["a".repeat(1 << 20)])), ["start-command"]);
    assert_eq!(entrypoint(json!(["/\u{1b}[31m\0"])), ["start-command"]);
    assert_eq!(entrypoint(json!(vec!["/app/serve"; 200_000])), [""; 0]);
}

#[test]
fn folders_on_the_way_must_let_the_user_through() {
    let rules = |mode: u32, owner: (u32, u32), user: &str| {
        let mut recipe = Recipe::good();
        recipe.config["User"] = json!(user);
        recipe.layers[1].iter_mut().filter(|entry| entry.path == "app").for_each(|entry| {
            (entry.mode, entry.owner) = (mode, owner);
        });
        recipe.fired().iter().any(|rule| rule == "start-executable")
    };
    assert!(rules(0o700, (0, 0), "1001:1001"));
    assert!(!rules(0o700, (1001, 0), "1001:1001"));
    assert!(!rules(0o710, (0, 1001), "1001"));
    assert!(rules(0o701, (0, 1001), "1001"), "the group's bit is the one that counts");
    assert!(!rules(0o000, (0, 0), "0:0"));
}

#[test]
fn interpreters_that_are_scripts_end() {
    let rules = fired(|recipe| {
        recipe.file(1, "app/a", 0o755, "#!/app/b\n").file(1, "app/b", 0o755, "#!/app/a\n");
        recipe.config["Entrypoint"] = json!(["/app/a"]);
    });
    assert_eq!(rules, ["start-format"]);
    let rules = fired(|recipe| {
        recipe.symlink(1, "app/l", "l");
        recipe.config["Entrypoint"] = json!(["/app/l"]);
    });
    assert_eq!(rules, ["start-command"]);
}

#[test]
fn python_commands() {
    let run = |words: Value| entrypoint(words);
    assert_eq!(run(json!(["python", "missing.py"])), ["start-module"]);
    assert_eq!(run(json!(["python", "-u", "/app/serve"])), [""; 0]);
    assert_eq!(run(json!(["python", "-c", "import missing"])), [""; 0]);
    assert_eq!(run(json!(["python", "-X", "utf8", "-m", "missing.sub"])), ["start-module"]);
    assert_eq!(run(json!(["/opt/venv/bin/python", "-m", "missing"])), ["start-module"]);
    let gunicorn = |words: Value, file: &str| {
        fired(|recipe| {
            recipe.file(1, "opt/venv/bin/gunicorn", 0o755, "#!/opt/venv/bin/python\n");
            recipe.file(1, file, 0o644, "");
            recipe.config["Entrypoint"] = words.clone();
        })
    };
    let words = json!(["gunicorn", "--bind", "0.0.0.0:8080", "shop.wsgi:app"]);
    assert_eq!(gunicorn(words.clone(), "app/shop/wsgi.pyc"), ["start-module"; 0]);
    assert_eq!(gunicorn(words.clone(), &format!("{SITE}/shop.abi3.so")), [""; 0]);
    assert_eq!(gunicorn(words, "app/other.py"), ["start-module"]);
    let elsewhere = json!(["gunicorn", "--chdir", "/x", "shop.wsgi:app"]);
    assert_eq!(gunicorn(elsewhere, "app/other.py"), [""; 0]);
}

#[test]
fn node_commands() {
    let run = |words: Value| {
        fired(|recipe| {
            recipe.file(1, "usr/bin/node", 0o755, program());
            recipe.file(1, "app/main.js", 0o644, "");
            recipe.config["Entrypoint"] = words.clone();
        })
    };
    for missing in [
        json!(["node", "server.js"]),
        json!(["node", "--enable-source-maps", "--max-old-space-size=64", "/app/main.mjs"]),
        json!(["/usr/bin/node", "app"]),
    ] {
        assert_eq!(run(missing.clone()), ["start-module"], "{missing}");
    }
    for fine in [
        json!(["node", "main.js"]),
        json!(["node", "main", "missing.js"]),
        json!(["node", "/app"]),
        json!(["node", "--no-warnings", "/app/main.js"]),
        json!(["node", "-r", "missing", "main.js"]),
        json!(["node", "-e", "1"]),
        json!(["node", "--test"]),
        json!(["node", "inspect", "missing.js"]),
        json!(["node"]),
    ] {
        assert_eq!(run(fine.clone()), [""; 0], "{fine}");
    }
}

#[test]
fn environments_that_do_not_fit() {
    for (cfg, message) in [
        ("home = /usr/local/bin\nversion = 3.11.2\n", "`home = /usr/local/bin` is not in the image"),
        ("version = 3.11.2\n", "it has no `home`: it is no virtual environment"),
        ("home = /usr/bin\nversion = 3.10.2\n", "its version is not that of its library, `python3.11`"),
        ("home = /usr/lib\n", "`home = /usr/lib` has no `python3.11`"),
    ] {
        let mut recipe = Recipe::good();
        python(&mut recipe);
        recipe.without("opt/venv/pyvenv.cfg").file(1, "opt/venv/pyvenv.cfg", 0o644, cfg);
        let findings = recipe.findings("start-venv");
        assert_eq!(findings.iter().map(|one| one.message.as_str()).collect::<Vec<_>>(), [message]);
    }
}

#[test]
fn requirements_as_pip_check_sees_them() {
    let unmet = |make: &dyn Fn(&mut Recipe)| {
        let mut recipe = Recipe::good();
        python(&mut recipe);
        make(&mut recipe);
        recipe.findings("start-requirement").into_iter().map(|finding| finding.message).collect::<Vec<_>>()
    };
    let none: [String; 0] = [];
    let needs = |needs: &'static str| unmet(&|recipe| distribution(recipe, SITE, "a", "1.0", &[needs]));
    assert_eq!(needs("b"), ["a 1.0 needs `b`: it is not installed"]);
    assert_eq!(needs("b; python_version < '3.11'"), none);
    assert_eq!(needs("b; extra == 'test'"), none);
    assert_eq!(needs("b; sys_platform == 'win32' or platform_machine == 'aarch64'"), none);
    assert_eq!(needs("!!!"), none, "what cannot be read is not judged");
    // An extra that is asked for, through another one.
    let found = unmet(&|recipe| {
        distribution(recipe, SITE, "a", "1.0", &["b[x]"]);
        distribution(recipe, SITE, "b", "1.0", &["b[y]; extra == 'x'", "c; extra == 'y'", "d; extra == 'z'"]);
    });
    assert_eq!(found, ["b 1.0 needs `c`: it is not installed"]);
    // A prerelease is a version.
    let found = unmet(&|recipe| {
        distribution(recipe, SITE, "a", "1.0", &["b>=2.0rc1"]);
        distribution(recipe, SITE, "b", "2.0rc2", &[]);
    });
    assert_eq!(found, none);
}

#[test]
fn a_virtual_environment_sees_the_system_if_it_says_so() {
    let rules = |system: bool| {
        fired(|recipe| {
            let cfg = format!("home = /usr/bin\nversion = 3.11.2\ninclude-system-site-packages = {system}\n");
            recipe.without("opt/venv/pyvenv.cfg").file(1, "opt/venv/pyvenv.cfg", 0o644, cfg);
            distribution(recipe, SITE, "a", "1.0", &["b"]);
            distribution(recipe, "usr/lib/python3/dist-packages", "b", "1.0", &[]);
        })
    };
    assert_eq!(rules(true), [""; 0]);
    assert_eq!(rules(false), ["start-requirement"]);
}

#[test]
fn only_what_the_system_s_lists_have_is_the_system_s() {
    const ALPINE: &str = "usr/lib/python3.12/site-packages";
    let rules = |folder: &str, list: (&str, &str)| {
        let mut recipe = Recipe::good();
        python(&mut recipe);
        let one = if folder == ALPINE { "usr/bin/python3.12" } else { "usr/lib/x" };
        recipe.file(0, one, 0o755, program()).folder(1, folder, 0o755);
        distribution(&mut recipe, folder, "a", "1.0", &["b"]);
        recipe.file(1, list.0, 0o644, list.1);
        let fired = recipe.fired().into_iter();
        fired.filter(|rule| rule == "start-requirement" || rule == "start-system-requirement").collect::<Vec<_>>()
    };
    const APK: &str = "lib/apk/db/installed";
    let own = format!("P:py3-a\nF:{ALPINE}/a-1.0.dist-info\nR:METADATA\n");
    assert_eq!(rules(ALPINE, (APK, &own)), ["start-system-requirement"]);
    assert_eq!(rules(ALPINE, (APK, "P:musl\nF:lib\nR:ld-musl-x86_64.so.1\n")), ["start-requirement"]);
    assert_eq!(rules(ALPINE, ("etc/x", "")), ["start-requirement"]);
    let rpm = format!("{ALPINE}/a-1.0.dist-info/INSTALLER");
    assert_eq!(rules(ALPINE, (&rpm, "rpm\n")), ["start-system-requirement"]);
    assert_eq!(rules(ALPINE, (&rpm, "pip\n")), ["start-requirement"]);
    const DEBIAN: &str = "usr/lib/python3/dist-packages";
    const DPKG: &str = "var/lib/dpkg/info/python3-a.list";
    let own = format!("/.\n/{DEBIAN}/a-1.0.dist-info\n");
    assert_eq!(rules(DEBIAN, (DPKG, &own)), ["start-system-requirement"]);
    assert_eq!(rules(DEBIAN, (DPKG, "/.\n/etc\n")), ["start-requirement"]);
    assert_eq!(rules(DEBIAN, ("etc/x", "")), ["start-system-requirement"], "the lists were left out");
}

#[test]
fn large_and_odd_metadata_is_read_in_bounded_time() {
    let rules = fired(|recipe| {
        let info = format!("{SITE}/a-1.dist-info/METADATA");
        let needs = "Requires-Dist: a[x]; extra == 'x'\n".repeat(100_000);
        recipe.file(1, &info, 0o644, format!("Name: a\nVersion: 1\n{needs}"));
        recipe.file(1, &format!("{SITE}/b-1.dist-info/METADATA"), 0o644, [0xff, 0xfe, b'\n', 0]);
        recipe.file(
            1,
            &format!("{SITE}/c-1.dist-info/METADATA"),
            0o644,
            format!("Name: c\nVersion: {}\n", "9".repeat(1 << 20)),
        );
    });
    assert_eq!(rules, [""; 0]);
}

#[test]
fn bytecode_of_other_pythons_and_other_states() {
    let pyc = |path: &str, bytes: Vec<u8>| {
        fired(|recipe| {
            recipe.file(1, "app/a.py", 0o644, "x = 1\n");
            recipe.file(1, path, 0o644, bytes.clone());
        })
    };
    let cache = "app/__pycache__/a.cpython-311.pyc";
    assert_eq!(pyc(cache, bytecode(3439, TIME, 6)), ["start-stale-bytecode"]);
    assert_eq!(pyc(cache, bytecode(3495, TIME + 1, 6)), ["start-stale-bytecode"]);
    assert_eq!(pyc(cache, b"".to_vec()), ["start-stale-bytecode"]);
    assert_eq!(
        pyc("app/__pycache__/a.cpython-310.pyc", bytecode(3439, 0, 0)),
        [""; 0],
        "for a Python that is not there"
    );
    assert_eq!(pyc("app/__pycache__/a.cpython-311.opt-1.pyc", bytecode(3495, TIME, 6)), [""; 0]);
    assert_eq!(
        pyc("app/__pycache__/gone.cpython-311.pyc", bytecode(3439, 0, 0)),
        [""; 0],
        "without a source, never used"
    );
    assert_eq!(pyc("app/a.pyc", bytecode(3439, 0, 0)), [""; 0], "beside a source, never used");
    let hash_based = [&3495u16.to_le_bytes()[..], b"\r\n", &1u32.to_le_bytes(), &[9; 8]].concat();
    assert_eq!(pyc(cache, hash_based), [""; 0]);
}
