use super::*;
use crate::validate::elf::testing::{Made, library, program};
use crate::validate::fixture::{Case, Recipe, hold};

const SITE: &str = "opt/venv/lib/python3.11/site-packages";
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// A C library with its loader, an interpreter, a virtual environment.
fn python(recipe: &mut Recipe) -> &mut Recipe {
    let libc = Made {
        soname: Some("libc.so.6"),
        needed: vec!["ld-linux-x86-64.so.2"],
        provides: vec!["GLIBC_2.2.5", "GLIBC_2.36"],
        ..Made::default()
    };
    let mut loader = Made { soname: Some("ld-linux-x86-64.so.2"), ..Made::default() };
    loader.tail = b"\0/lib/x86_64-linux-gnu/\0/usr/lib/x86_64-linux-gnu/\0/lib/\0/usr/lib/\0".to_vec();
    let interpreter = Made::dynamic_program(LOADER, &["libc.so.6"]);
    recipe.symlink(0, "lib64", "usr/lib").folder(0, "usr/lib/x86_64-linux-gnu", 0o755);
    recipe.file(0, "usr/lib/x86_64-linux-gnu/libc.so.6", 0o755, libc.bytes());
    recipe.file(0, "usr/lib/ld-linux-x86-64.so.2", 0o755, loader.bytes());
    recipe.file(0, "usr/bin/python3.11", 0o755, interpreter.bytes());
    recipe.file(1, "opt/venv/pyvenv.cfg", 0o644, "home = /usr/bin\nversion = 3.11.2\n");
    recipe.symlink(1, "opt/venv/bin/python3.11", "/usr/bin/python3.11");
    recipe.symlink(1, "opt/venv/bin/python", "python3.11");
    recipe.folder(1, SITE, 0o755)
}

fn module<'a>(recipe: &'a mut Recipe, path: &str, made: &Made) -> &'a mut Recipe {
    python(recipe).file(1, &format!("{SITE}/{path}"), 0o644, made.bytes())
}

fn wheel(recipe: &mut Recipe, tag: &str) {
    let info = format!("{SITE}/x-1.0.dist-info");
    python(recipe).file(1, &format!("{info}/METADATA"), 0o644, "Metadata-Version: 2.1\nName: x\nVersion: 1.0\n");
    recipe.file(1, &format!("{info}/WHEEL"), 0o644, format!("Wheel-Version: 1.0\nTag: {tag}\n"));
}

/// A recipe is changed, not kept.
fn done(_: &mut Recipe) {}

const CASES: &[Case] = &[
    Case {
        rule: ARCHITECTURE,
        breaks: |recipe| {
            recipe.file(0, "usr/bin/tool", 0o755, Made { machine: 183, program: true, ..Made::default() }.bytes());
        },
        passes: |recipe| {
            recipe.file(0, "usr/bin/tool", 0o755, program());
        },
    },
    Case {
        rule: DAMAGED,
        breaks: |recipe| {
            let bytes = library(&["libc.so.6"]).bytes();
            python(recipe).file(0, "usr/lib/liba.so.1", 0o644, &bytes[..bytes.len() - 9]);
        },
        passes: |recipe| {
            python(recipe).file(0, "usr/lib/liba.so.1", 0o644, library(&["libc.so.6"]).bytes());
        },
    },
    Case {
        rule: DRIVER,
        breaks: |recipe| done(module(recipe, "x.so", &library(&["libcuda.so.1"]))),
        passes: |recipe| done(module(recipe, "x.so", &library(&[]))),
    },
    Case {
        rule: FOREIGN,
        breaks: |recipe| {
            module(recipe, "x/amd64.so", &library(&["libc.so.6"]));
            recipe.file(1, &format!("{SITE}/x/arm64.so"), 0o644, Made { machine: 183, ..Made::default() }.bytes());
        },
        passes: |recipe| done(module(recipe, "x/amd64.so", &library(&["libc.so.6"]))),
    },
    Case {
        rule: INTERPRETER,
        breaks: |recipe| {
            let tool = Made::dynamic_program("/lib/ld-musl-x86_64.so.1", &[]);
            recipe.file(0, "usr/bin/tool", 0o755, tool.bytes());
        },
        passes: |recipe| {
            let tool = Made::dynamic_program("/lib/ld-musl-x86_64.so.1", &[]);
            recipe.file(0, "usr/bin/tool", 0o755, tool.bytes());
            recipe.file(0, "usr/lib/ld-musl-x86_64.so.1", 0o755, library(&[]).bytes());
        },
    },
    Case {
        rule: LIBC,
        breaks: |recipe| done(module(recipe, "x.so", &library(&["libc.musl-x86_64.so.1"]))),
        passes: |recipe| done(module(recipe, "x.so", &library(&["libc.so.6"]))),
    },
    Case {
        rule: LIBRARY,
        breaks: |recipe| done(module(recipe, "cv2/cv2.abi3.so", &library(&["libGL.so.1", "libc.so.6"]))),
        passes: |recipe| {
            module(recipe, "cv2/cv2.abi3.so", &library(&["libGL.so.1", "libc.so.6"]));
            recipe.file(0, "usr/lib/libGL.so.1", 0o644, library(&["libc.so.6"]).bytes());
        },
    },
    Case {
        rule: OPTIONAL,
        breaks: |recipe| {
            python(recipe).file(0, "usr/lib/app/plugins/x.so", 0o644, library(&["libmissing.so.1"]).bytes());
        },
        passes: |recipe| {
            python(recipe).file(0, "usr/lib/app/plugins/x.so", 0o644, library(&["libc.so.6"]).bytes());
        },
    },
    Case {
        rule: PRELOADED,
        breaks: |recipe| {
            module(recipe, "x/x.so", &library(&["libother.so.1"]));
            recipe.file(1, &format!("{SITE}/other/lib/libother.so.1"), 0o644, library(&[]).bytes());
        },
        passes: |recipe| {
            let made = Made { runpath: Some("$ORIGIN/../other/lib"), ..library(&["libother.so.1"]) };
            module(recipe, "x/x.so", &made);
            recipe.file(1, &format!("{SITE}/other/lib/libother.so.1"), 0o644, library(&[]).bytes());
        },
    },
    Case {
        rule: UNUSED,
        breaks: |recipe| {
            let name = "usr/lib/python3.11/lib-dynload/_tkinter.cpython-311-x86_64-linux-gnu.so";
            python(recipe).file(0, name, 0o644, library(&["libtk8.6.so"]).bytes());
        },
        passes: |recipe| done(python(recipe)),
    },
    Case {
        rule: VERSION,
        breaks: |recipe| {
            let made = Made { requires: vec![("libc.so.6", "GLIBC_2.38")], ..library(&["libc.so.6"]) };
            module(recipe, "x.so", &made);
        },
        passes: |recipe| {
            let made = Made { requires: vec![("libc.so.6", "GLIBC_2.36")], ..library(&["libc.so.6"]) };
            module(recipe, "x.so", &made);
        },
    },
    Case {
        rule: WHEEL,
        breaks: |recipe| wheel(recipe, "cp311-cp311-manylinux_2_17_aarch64"),
        passes: |recipe| wheel(recipe, "cp311-cp311-manylinux_2_17_x86_64"),
    },
];

#[test]
fn every_rule_of_this_group_holds() {
    hold(RULES, CASES);
}

fn fired(make: impl Fn(&mut Recipe)) -> Vec<String> {
    let mut recipe = Recipe::good();
    python(&mut recipe);
    make(&mut recipe);
    recipe.fired().into_iter().filter(|rule| rule.starts_with("link-")).collect()
}

fn file(recipe: &mut Recipe, path: &str, made: &Made) {
    recipe.file(1, path, 0o755, made.bytes());
}

#[test]
fn a_missing_library_is_one_finding_with_its_files_and_its_package() {
    let mut recipe = Recipe::good();
    python(&mut recipe).file(0, "etc/os-release", 0o644, "ID=ubuntu\nVERSION_ID=\"24.04\"\nVERSION_CODENAME=noble\n");
    for n in 0..30 {
        file(&mut recipe, &format!("{SITE}/x/m{n:02}.so"), &library(&["libglib-2.0.so.0"]));
    }
    let findings = recipe.findings(LIBRARY);
    assert_eq!(findings.len(), 1, "{findings:?}");
    let finding = &findings[0];
    assert_eq!(finding.message, "`libglib-2.0.so.0` is missing: 30 files need it");
    assert_eq!(finding.path, format!("/{SITE}/x/m00.so"));
    assert_eq!(finding.details.len(), NAMED + 1);
    assert_eq!(finding.details.last().unwrap(), "and 10 more files");
    assert_eq!(finding.fix, "Add `libglib2.0-0t64` to [os] packages, or install it in the base.");
}

/// Who finds a library where: the loader's own rules, one by one.
#[test]
fn libraries_are_found_where_the_loader_looks() {
    let lib = library(&["libc.so.6"]);
    let needs = |runpath, rpath| Made { runpath, rpath, ..library(&["liba.so.1"]) };
    let with = |place: &str, made: &Made, set: &dyn Fn(&mut Recipe)| {
        let mut recipe = Recipe::good();
        python(&mut recipe);
        file(&mut recipe, place, &lib);
        file(&mut recipe, &format!("{SITE}/x/x.so"), made);
        set(&mut recipe);
        recipe.fired().iter().any(|rule| rule == PRELOADED || rule == LIBRARY)
    };
    let nothing: &dyn Fn(&mut Recipe) = &|_| {};
    let plain = needs(None, None);
    assert!(!with("usr/lib/liba.so.1", &plain, nothing), "the loader's own folders");
    assert!(!with("usr/lib/x86_64-linux-gnu/liba.so.1", &plain, nothing), "that of the processor");
    assert!(with("usr/local/lib/liba.so.1", &plain, nothing), "not without a cache");
    assert!(with("opt/a/liba.so.1", &plain, nothing));
    let environment: &dyn Fn(&mut Recipe) =
        &|recipe| recipe.config["Env"] = serde_json::json!(["PATH=/usr/bin", "LD_LIBRARY_PATH=/x:/opt/a"]);
    assert!(!with("opt/a/liba.so.1", &plain, environment), "LD_LIBRARY_PATH");
    assert!(!with("opt/a/liba.so.1", &needs(Some("/opt/a"), None), nothing), "RUNPATH");
    assert!(!with("opt/a/liba.so.1", &needs(None, Some("/opt/a")), nothing), "RPATH");
    assert!(with("opt/a/liba.so.1", &needs(Some("/no"), Some("/opt/a")), nothing), "RUNPATH hides RPATH");
    let origin = format!("{SITE}/x.libs/liba.so.1");
    assert!(!with(&origin, &needs(None, Some("$ORIGIN/../x.libs")), nothing), "$ORIGIN");
    assert!(!with(&origin, &needs(None, Some("/no:${ORIGIN}/../x.libs")), nothing), "${{ORIGIN}}");
    assert!(!with("opt/lib/x86_64-linux-gnu/liba.so.1", &needs(Some("/opt/$LIB"), None), nothing), "$LIB");
    let link: &dyn Fn(&mut Recipe) = &|recipe| done(recipe.symlink(1, "usr/lib/liba.so.1", "/opt/a/real.so"));
    assert!(!with("opt/a/real.so", &plain, link), "a link in a folder of the loader's");
    let looped: &dyn Fn(&mut Recipe) = &|recipe| done(recipe.symlink(1, "usr/lib/liba.so.1", "liba.so.1"));
    assert!(with("opt/a/liba.so.1", &plain, looped), "a link to itself");
}

/// A library without a path of its own is found for the module that loads it: its RPATH counts for what it loads.
#[test]
fn paths_of_those_who_load_count() {
    let whole = |rpath, runpath| {
        fired(|recipe| {
            file(recipe, &format!("{SITE}/x/x.so"), &Made { rpath, runpath, ..library(&["liba.so.1"]) });
            file(recipe, &format!("{SITE}/x.libs/liba.so.1"), &library(&["libb.so.1"]));
            file(recipe, &format!("{SITE}/x.libs/libb.so.1"), &library(&[]));
        })
    };
    assert_eq!(whole(Some("$ORIGIN/../x.libs"), None), [""; 0]);
    assert_eq!(whole(None, Some("$ORIGIN/../x.libs")), [PRELOADED], "RUNPATH is for its own");
}

#[test]
fn what_the_process_has_already_is_not_looked_for() {
    let rules = fired(|recipe| {
        let interpreter = Made { rpath: Some("/opt/py"), ..Made::dynamic_program(LOADER, &["libpython3.11.so.1.0"]) };
        recipe.without("usr/bin/python3.11").file(0, "usr/bin/python3.11", 0o755, interpreter.bytes());
        file(recipe, "opt/py/libpython3.11.so.1.0", &library(&["libc.so.6"]));
        file(recipe, &format!("{SITE}/x.so"), &library(&["libpython3.11.so.1.0"]));
    });
    assert_eq!(rules, [""; 0]);
}

#[test]
fn versions_of_libraries_without_any_and_weak_ones_are_not_asked() {
    let requires = vec![("liba.so.1", "A_9"), ("libc.so.6", "GLIBC_9?")];
    let rules = fired(|recipe| {
        file(recipe, "usr/lib/liba.so.1", &library(&[]));
        let made = Made { requires: requires.clone(), ..library(&["liba.so.1", "libc.so.6"]) };
        file(recipe, &format!("{SITE}/x.so"), &made);
    });
    assert_eq!(rules, [""; 0]);
}

#[test]
fn a_library_that_a_package_is_for_counts_as_a_module_and_a_plugin_does_not() {
    let one = |path: &str| fired(|recipe| file(recipe, &format!("{SITE}/{path}"), &library(&["libgomp.so.1"])));
    assert_eq!(one("lightgbm/lib/lib_lightgbm.so"), [LIBRARY]);
    assert_eq!(one("qt/plugins/libx.so"), [OPTIONAL]);
    assert_eq!(one("nvidia/nvshmem/lib/libtransport.so.3"), [OPTIONAL]);
}

#[test]
fn packages_of_node_choose_among_their_prebuilds() {
    let with = |files: &[(&str, &Made)]| {
        let mut recipe = Recipe::good();
        python(&mut recipe);
        for (path, made) in files {
            recipe.file(1, &format!("app/node_modules/a/{path}"), 0o644, made.bytes());
        }
        recipe.findings(LIBC).len()
    };
    let (own, other) = (library(&["libc.so.6"]), library(&["libc.musl-x86_64.so.1"]));
    assert_eq!(with(&[("prebuilds/linux-x64/a.glibc.node", &own), ("prebuilds/linux-x64/a.musl.node", &other)]), 0);
    // Nothing to choose from; and no package that chooses.
    assert_eq!(with(&[("prebuilds/linux-x64/a.musl.node", &other)]), 1);
    assert_eq!(with(&[("lib/a.node", &own), ("lib/b.node", &other)]), 1);
}

#[test]
fn musl_looks_into_its_own_folders() {
    let image = |path: &str, text: Option<&str>| {
        let mut recipe = Recipe::good();
        recipe.file(0, "usr/lib/ld-musl-x86_64.so.1", 0o755, library(&[]).bytes());
        recipe.symlink(0, "usr/lib/libc.musl-x86_64.so.1", "ld-musl-x86_64.so.1");
        let tool = Made::dynamic_program("/lib/ld-musl-x86_64.so.1", &["liba.so.1", "libc.musl-x86_64.so.1"]);
        recipe.file(0, "usr/bin/tool", 0o755, tool.bytes());
        recipe.file(0, path, 0o755, library(&[]).bytes());
        text.map(|text| recipe.file(0, "etc/ld-musl-x86_64.path", 0o644, text));
        recipe.fired().into_iter().filter(|rule| rule.starts_with("link-")).collect::<Vec<_>>()
    };
    assert_eq!(image("usr/local/lib/liba.so.1", None), [""; 0]);
    assert_eq!(image("opt/liba.so.1", None), [LIBRARY]);
    assert_eq!(image("opt/liba.so.1", Some("/lib\n/opt\n")), [""; 0]);
    let mut recipe = Recipe::good();
    recipe.file(0, "usr/lib/ld-musl-x86_64.so.1", 0o755, library(&[]).bytes());
    recipe.file(1, "app/x.so", 0o755, library(&["libc.so.6"]).bytes());
    assert_eq!(recipe.findings(LIBC)[0].message, "one file is for glibc (`libc.so.6`), the image has musl");
}

#[test]
fn tags_that_fit_in_any_way_are_no_finding() {
    for (tag, fits) in [
        ("py3-none-any", true),
        ("py2.py3-none-any", true),
        ("cp39-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64", true),
        ("cp311-cp311-linux_x86_64", true),
        ("cp312-abi3-manylinux_2_17_x86_64", false),
        ("cp310-cp310-manylinux_2_17_x86_64", false),
        ("cp311-cp311-musllinux_1_2_x86_64", false),
        ("cp311-cp311-macosx_11_0_arm64", false),
        ("cp311-cp311-win_amd64", false),
    ] {
        let mut recipe = Recipe::good();
        wheel(&mut recipe, tag);
        assert_eq!(recipe.findings(WHEEL).is_empty(), fits, "{tag}");
    }
}

/// Libraries that all need each other are no endless work.
#[test]
fn libraries_that_need_each_other_end() {
    let whole = |count: usize| {
        let names: Vec<&'static str> = (0..count).map(|n| &*format!("lib{n}.so").leak()).collect();
        fired(|recipe| names.iter().for_each(|name| file(recipe, &format!("usr/lib/{name}"), &library(&names))))
    };
    assert_eq!(whole(30), [""; 0]);
    assert_eq!(whole(180), [DAMAGED], "what was not checked is told");
}

/// A library that is there under its long name alone: ldconfig's link is gone, and nothing loads it by path.
#[test]
fn a_library_without_its_link_is_missing_and_one_in_a_folder_that_programs_do_not_search() {
    let soname = Made { soname: Some("liba.so.1"), ..library(&[]) };
    let rules = fired(|recipe| {
        file(recipe, "usr/lib/liba.so.1.0.3", &soname);
        file(recipe, &format!("{SITE}/x.so"), &library(&["liba.so.1"]));
    });
    assert_eq!(rules, [LIBRARY]);
    let rules = fired(|recipe| {
        file(recipe, "opt/a/liba.so.1", &soname);
        file(recipe, "usr/bin/tool", &Made::dynamic_program(LOADER, &["liba.so.1"]));
    });
    assert_eq!(rules, [LIBRARY]);
    let rules = fired(|recipe| {
        file(recipe, &format!("{SITE}/a.libs/liba-1234.so.1.0"), &soname);
        file(recipe, &format!("{SITE}/x.so"), &library(&["liba.so.1"]));
    });
    assert_eq!(rules, [PRELOADED]);
}

#[test]
fn a_loader_is_in_its_process_wherever_it_stands() {
    // As images have it that were put together by hand: /lib64 is a folder of its own, and no loader looks there.
    let mut recipe = Recipe::good();
    python(&mut recipe);
    let loader =
        recipe.layers[0].iter().find(|entry| entry.path.ends_with("ld-linux-x86-64.so.2")).unwrap().body.clone();
    recipe.without("lib64").without("usr/lib/ld-linux-x86-64.so.2").folder(0, "lib64", 0o755);
    recipe.file(0, "lib64/ld-linux-x86-64.so.2", 0o755, &loader);
    assert_eq!(recipe.findings(LIBRARY), []);
    recipe.without("lib64/ld-linux-x86-64.so.2");
    assert_eq!(recipe.findings(LIBRARY).len() + recipe.findings(INTERPRETER).len(), 2, "{:?}", recipe.fired());
}
