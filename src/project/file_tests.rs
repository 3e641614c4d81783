//! Whole files: what is read from them, and what every mistake looks like.

use super::*;
use crate::python::bytecode::BytecodeMode;

/// The example of the design, word by word.
const DESIGN: &str = r#"
[image]
name = "gameforge"
default-variant = "distroless"
[image.labels]
"org.opencontainers.image.title" = "GameForge Production"
"org.opencontainers.image.version" = "${BUILD_VERSION}"

[args]
CPU_BASE_IMAGE = "ubuntu:22.04"

[python]
version = "3.10"
lock = "requirements.lock"
venv = "/opt/venv"
bytecode = "alongside"

[os]
packages = ["python3", "libgomp1"]
upgrade = "security"

[app]
source = "src"
target = "/app"
bytecode = "only"
command = ["gunicorn", "gameforge.wsgi:app"]
expose = [8080]
require-env = { GAMEFORGE_ENV = "production" }
writable = ["/app/data", "/app/logs"]

[user]
name = "gameforge"
uid = 1001
gid = 1001

[env]
LOG_LEVEL = "info"

[healthcheck]
command = ["python", "-m", "gameforge.health"]
interval = "30s"
timeout = "15s"
start-period = "120s"
retries = 3

[budget]
layers = 60

[variants.cpu]
base = "${CPU_BASE_IMAGE}"
budget = { compressed = "500MB" }
[variants.gpu]
base = "nvidia/cuda:12.1.0-base-ubuntu22.04"
budget = { compressed = "3GB" }
env = { NVIDIA_VISIBLE_DEVICES = "all", NVIDIA_DRIVER_CAPABILITIES = "compute,utility" }
[variants.distroless]
base = "debian:12/packages"
budget = { compressed = "150MB" }
"#;

fn folder(name: &str, text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(&dir.path().join("src")).unwrap();
    fs::write_atomic(&dir.path().join("requirements.lock"), b"").unwrap();
    fs::write_atomic(&dir.path().join(name), text.as_bytes()).unwrap();
    dir
}

fn given(pairs: &[(&str, &str)]) -> BuildArgs {
    let given = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    BuildArgs { given, defaults: BTreeMap::new() }
}

fn resolved(text: &str, variant: &str, args: &BuildArgs) -> Result<Variant, Error> {
    let dir = folder(FILE_NAME, text);
    Project::load(dir.path())?.variant(variant, args)
}

#[test]
fn a_node_project_is_typed_and_its_files_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let toml = |node: &str| {
        format!(
            "[image]\nname = \"x\"\n[node]\n{node}\n[app]\nsource = \"web\"\ntarget = \"/srv\"\ncommand = [\"node\"]\n[variants.a]\nbase = \"b\"\n"
        )
    };
    let read = |node: &str| {
        write("ingot.toml", &toml(node));
        let variant = Project::load(folder.path())?.variant("a", &BuildArgs::default())?;
        Ok::<_, crate::error::Error>(variant.node.unwrap())
    };
    ["web/package-lock.json", "web/package.json", "other.json"].iter().for_each(|name| write(name, "{}"));
    let node = read("lock = \"web/package-lock.json\"").unwrap();
    assert_eq!(node.modules.value, "/srv/node_modules");
    assert!(node.package.value.ends_with("web/package.json") && node.lock.value.ends_with("web/package-lock.json"));
    let node = read("lock = \"web/package-lock.json\"\npackage = \"other.json\"\nmodules = \"/node_modules\"").unwrap();
    assert!(node.modules.value == "/node_modules" && node.package.value.ends_with("other.json"));
    for (node, expected) in [
        ("", "`lock` is missing in `[node]`"),
        ("lock = \"none.json\"", "the file `none.json` does not exist"),
        ("lock = \"other.json\"", "the file `package.json` does not exist"),
        ("lock = \"other.json\"\nmodules = \"/srv/modules\"", "`/srv/modules` is not where Node looks for packages"),
        ("lock = \"other.json\"\nversion = \"20\"", "unknown key `version` in `[node]`"),
    ] {
        let error = read(node).unwrap_err();
        assert!(error.to_string().contains(expected) && error.class().code() == 2, "{error}");
    }
}

#[test]
fn the_file_of_the_design_is_read_whole() {
    let dir = folder(FILE_NAME, DESIGN);
    let project = Project::load(dir.path()).unwrap();
    assert_eq!(project.variants(), ["cpu", "distroless", "gpu"]);
    assert_eq!(project.default_variant().as_deref(), Some("distroless"));
    let variant = project.variant("gpu", &given(&[("BUILD_VERSION", "1.2")])).unwrap();
    assert_eq!(variant.image.name, "gameforge");
    assert_eq!(variant.image.labels["org.opencontainers.image.version"], "1.2");
    assert_eq!(variant.base.value, "nvidia/cuda:12.1.0-base-ubuntu22.04");
    let python = variant.python.unwrap();
    assert_eq!((python.version.value.to_string().as_str(), python.bytecode), ("3.10", BytecodeMode::Alongside));
    assert_eq!(python.lock.unwrap().value, dir.path().join("requirements.lock"));
    let app = variant.app.unwrap();
    assert_eq!((app.target.value.as_str(), app.bytecode), ("/app", BytecodeMode::Only));
    assert_eq!(app.source.value, dir.path().join("src"));
    assert_eq!(app.command, ["gunicorn", "gameforge.wsgi:app"]);
    assert_eq!(app.expose.iter().map(ToString::to_string).collect::<Vec<_>>(), ["8080/tcp"]);
    assert_eq!(app.require_env["GAMEFORGE_ENV"], "production");
    assert_eq!(app.writable.len(), 2);
    assert_eq!((variant.user.name.as_str(), variant.user.uid, variant.user.gid), ("gameforge", 1001, 1001));
    // A variant's table is laid over the project's.
    assert_eq!(
        variant.env.keys().collect::<Vec<_>>(),
        ["LOG_LEVEL", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_VISIBLE_DEVICES"]
    );
    assert_eq!((variant.budget.compressed, variant.budget.layers), (Some(3_000_000_000), Some(60)));
    let check = variant.healthcheck.unwrap();
    assert_eq!((check.interval, check.start_period, check.retries), (30_000_000_000, 120_000_000_000, 3));
    assert_eq!(variant.epoch, Epoch::ENTRIES);
    assert_eq!(variant.args["VARIANT"], "gpu");
    let cpu = project.variant("cpu", &given(&[("CPU_BASE_IMAGE", "debian:12")])).unwrap();
    assert_eq!(cpu.base.value, "debian:12");
    assert_eq!(cpu.base.at.to_string(), format!("{}:50:8", project.file.display()));
}

#[test]
fn pyproject_toml_holds_the_same() {
    let nested: String = DESIGN
        .lines()
        .map(|line| match line.strip_prefix('[') {
            Some(header) => format!("[tool.ingot.{header}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    let dir = folder(PYPROJECT, &format!("[project]\nname = \"x\"\n{nested}"));
    let project = Project::load(dir.path()).unwrap();
    assert_eq!(project.variant("cpu", &BuildArgs::default()).unwrap().base.value, "ubuntu:22.04");
}

#[test]
fn defaults_hold_where_nothing_is_written() {
    let text = "[image]\nname = 'x'\n[app]\nsource = 'src'\ncommand = ['x']\n[variants.default]\nbase = 'debian:12'\n";
    let variant = resolved(text, "default", &BuildArgs::default()).unwrap();
    assert_eq!((variant.user.name.as_str(), variant.user.group.as_str(), variant.user.uid), ("app", "app", 1001));
    assert!(variant.python.is_none() && variant.healthcheck.is_none());
    let app = variant.app.unwrap();
    assert_eq!((app.target.value.as_str(), app.bytecode), ("/app", BytecodeMode::None));
    assert_eq!(variant.budget, crate::project::Budget::default());
    let python = text.replace("[app]", "[python]\nversion = '3.11'\n[app]");
    let variant = resolved(&python, "default", &BuildArgs::default()).unwrap();
    assert_eq!(variant.app.unwrap().bytecode, BytecodeMode::Only);
    let python = variant.python.unwrap();
    assert_eq!((python.venv.value.as_str(), python.bytecode), ("/opt/venv", BytecodeMode::Alongside));
}

#[test]
fn names_are_expanded_in_the_order_given_args_facts() {
    let text = r#"
image.name = "x"
[args]
A = "a-${B}"
B = "b"
PYTHON_VERSION = "3.12"
[python]
version = "${PYTHON_VERSION}"
[env]
ALL = "$$ $x ${A} ${VARIANT} ${PYTHON_VERSION} ${VCS_REF}$"
[variants.v]
base = "b:${B}"
[variants.w]
base = "b:${B}"
args = { B = "over" }
"#;
    let all = |variant, args: &BuildArgs| resolved(text, variant, args).unwrap().env["ALL"].clone();
    assert_eq!(all("v", &BuildArgs::default()), "$ $x a-b v 3.12 unknown$");
    assert_eq!(all("w", &BuildArgs::default()), "$ $x a-over w 3.12 unknown$");
    // A given value is taken as it is; facts fill what is left.
    let mut args = given(&[("B", "${A}"), ("PYTHON_VERSION", "3.13")]);
    args.defaults.insert("VCS_REF".into(), "abc".into());
    assert_eq!(all("v", &args), "$ $x a-${A} v 3.13 abc$");
    // `python.version` is what `${PYTHON_VERSION}` means when nobody says otherwise.
    let plain =
        text.replace("PYTHON_VERSION = \"3.12\"\n", "").replace("version = \"${PYTHON_VERSION}\"", "version = \"3.9\"");
    assert!(resolved(&plain, "v", &BuildArgs::default()).unwrap().env["ALL"].contains(" 3.9 "));
}

/// A good file, in which each case below replaces one piece.
const GOOD: &str = r#"[image]
name = "shop"

[args]
TAG = "12"

[python]
version = "3.11"
lock = "requirements.lock"

[os]
packages = ["curl"]

[app]
source = "src"
command = ["gunicorn", "shop:app"]
expose = [8080]
writable = ["/app/data"]

[user]
uid = 1001

[env]
MODE = "fast"

[healthcheck]
command = ["true"]
interval = "30s"

[budget]
compressed = "500MB"

[variants.cpu]
base = "debian:${TAG}"
"#;

/// What is replaced, and by what. The rendered errors are in `mistakes.txt`.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("a misspelt key", "name = \"shop\"", "nmae = \"shop\""),
    ("a misspelt table", "[healthcheck]", "[healtcheck]"),
    ("a key with another dash", "writable = [\"/app/data\"]", "require_env = { A = \"1\" }"),
    ("a key of another table", "[image]", "[image]\nbase = \"debian:12\""),
    ("a base outside of a variant", "[image]", "base = \"debian:12\"\n[image]"),
    ("a key that is like no other", "uid = 1001", "shell = \"/bin/sh\""),
    ("an unknown key in a variant", "[variants.cpu]", "[variants.cpu]\nbudget = { compresed = \"1GB\" }"),
    ("an unknown key of a variant", "[variants.cpu]", "[variants.cpu]\nfrom = \"debian:12\""),
    ("a default variant in a variant", "[variants.cpu]", "[variants.cpu]\nimage = { default-variant = \"cpu\" }"),
    ("a number for a string", "MODE = \"fast\"", "PORT = 8080"),
    ("a boolean for a string", "MODE = \"fast\"", "DEBUG = true"),
    ("a version that is a float", "version = \"3.11\"", "version = 3.11"),
    ("a command line", "[\"gunicorn\", \"shop:app\"]", "\"gunicorn shop:app\""),
    ("a string for a number", "uid = 1001", "uid = \"1001\""),
    ("a number for an array", "expose = [8080]", "expose = 8080"),
    ("a wrong element", "packages = [\"curl\"]", "packages = [\"curl\", 7]"),
    ("a value for a table", "[variants.cpu]", "[variants.cpu]\nbudget = \"1GB\""),
    ("an empty command", "[\"gunicorn\", \"shop:app\"]", "[]"),
    ("a name in capitals", "name = \"shop\"", "name = \"Shop\""),
    ("a name with a tag", "name = \"shop\"", "name = \"shop:1\""),
    ("a missing name", "name = \"shop\"", ""),
    ("a missing image table", "[image]\nname = \"shop\"", ""),
    ("a missing command", "command = [\"gunicorn\", \"shop:app\"]", ""),
    ("a missing base", "base = \"debian:${TAG}\"", ""),
    ("no variant at all", "[variants.cpu]\nbase = \"debian:${TAG}\"", ""),
    ("a default variant that is not there", "name = \"shop\"", "name = \"shop\"\ndefault-variant = \"cpus\""),
    ("a variant named all", "[variants.cpu]", "[variants.all]"),
    ("a missing lock file", "lock = \"requirements.lock\"", "lock = \"requirments.lock\""),
    ("a folder for a lock file", "lock = \"requirements.lock\"", "lock = \"src\""),
    ("a missing source folder", "source = \"src\"", "source = \"app\""),
    ("a file for a source folder", "source = \"src\"", "source = \"requirements.lock\""),
    ("a source outside of the project", "source = \"src\"", "source = \"../src\""),
    ("an absolute source", "source = \"src\"", "source = \"/src\""),
    ("an undefined name", "MODE = \"fast\"", "MODE = \"is ${NODE} here\""),
    ("a misspelt name", "debian:${TAG}", "debian:${TAGS}"),
    ("an undefined name after an escape", "MODE = \"fast\"", "MODE = \"\\t ${NODE}\""),
    ("a shell expression", "MODE = \"fast\"", "MODE = \"${TAG:-11}\""),
    ("an open brace", "MODE = \"fast\"", "MODE = \"a ${TAG\""),
    ("a circle of names", "TAG = \"12\"", "TAG = \"${OTHER}\"\nOTHER = \"${TAG}\""),
    ("a version that is not supported", "version = \"3.11\"", "version = \"2.7\""),
    ("a version that is none", "version = \"3.11\"", "version = \"latest\""),
    ("a wrong choice", "version = \"3.11\"", "version = \"3.11\"\nbytecode = \"onyl\""),
    (
        "a mode without Python",
        "[python]\nversion = \"3.11\"\nlock = \"requirements.lock\"\n\n[os]\npackages = [\"curl\"]\n\n[app]",
        "[app]\nbytecode = \"only\"",
    ),
    ("a port that is too large", "expose = [8080]", "expose = [8080, 80800]"),
    ("a port of another protocol", "expose = [8080]", "expose = [\"80/http\"]"),
    ("a port twice", "expose = [8080]", "expose = [8080, \"8080/tcp\"]"),
    ("a size without a unit", "compressed = \"500MB\"", "compressed = \"500 bananas\""),
    ("a size of nothing", "compressed = \"500MB\"", "compressed = 0"),
    ("a duration without a unit", "interval = \"30s\"", "interval = \"30\""),
    ("root by number", "uid = 1001", "uid = 0"),
    ("root by name", "uid = 1001", "name = \"root\""),
    ("a number that is too large", "uid = 1001", "uid = 2147483648"),
    ("a user name in capitals", "uid = 1001", "name = \"Shop\""),
    ("a relative path in the image", "\"/app/data\"", "\"data\""),
    ("a path that climbs", "\"/app/data\"", "\"/app/../etc\""),
    ("a path that ends with a slash", "\"/app/data\"", "\"/app/data/\""),
    ("a folder twice", "[\"/app/data\"]", "[\"/app/data\", \"/app/data\"]"),
    ("an application in the environment", "source = \"src\"", "source = \"src\"\ntarget = \"/opt/venv/app\""),
    ("a variable with a dash", "MODE = \"fast\"", "LOG-LEVEL = \"info\""),
    ("a package with spaces", "[\"curl\"]", "[\"curl wget\"]"),
    ("a value given twice", "name = \"shop\"", "name = \"shop\"\nname = \"shop\""),
    ("no TOML", "name = \"shop\"", "name: shop"),
    ("an unclosed string", "name = \"shop\"", "name = \"shop"),
];

/// Whole files.
const PYPROJECT_MISTAKES: &[(&str, &str)] = &[
    ("a misspelt key", "[project]\nname = 'x'\n[tool.ingot.image]\nnam = 'x'\n"),
    ("an empty table", "[tool.ingot]\n"),
    ("a value for the table", "[tool]\ningot = 7\n"),
    ("no table", "[tool.other]\n"),
];

fn rendered(error: &Error, dir: &Path) -> String {
    let mut text = format!("error: {error}\n");
    text += &error.snippet().map(|snippet| format!("{snippet}\n")).unwrap_or_default();
    text += &error.hint().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
    assert_eq!(error.class(), crate::error::Class::Usage);
    text.replace(&format!("{}/", dir.display()), "").replace(&dir.display().to_string(), "DIR")
}

fn mistake(name: &str, text: &str) -> String {
    let dir = folder(name, text);
    let result = Project::load(dir.path())
        .and_then(|project| project.variant(&project.default_variant().unwrap(), &BuildArgs::default()));
    rendered(&result.expect_err(text), dir.path())
}

/// `UPDATE=1 cargo test` rewrites the file; its diff is what a user will see.
#[test]
fn every_mistake_shows_its_place() {
    let mut page =
        String::from("Every mistake in a project file, as it is shown. Written by `UPDATE=1 cargo test project::`.\n");
    for (title, from, to) in MISTAKES {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{title} replaces nothing");
        page += &format!("\n== {title}\n{}", mistake(FILE_NAME, &text));
    }
    for (title, text) in PYPROJECT_MISTAKES {
        page += &format!("\n== pyproject.toml: {title}\n{}", mistake(PYPROJECT, text));
    }
    let dir = folder(FILE_NAME, GOOD);
    let project = Project::load(dir.path()).unwrap();
    let error = |variant: &str, args: &BuildArgs| rendered(&project.variant(variant, args).unwrap_err(), dir.path());
    let command_line = [
        ("another variant", error("gpu", &BuildArgs::default())),
        ("a misspelt build argument", error("cpu", &given(&[("TAGG", "1")]))),
        ("another build argument", error("cpu", &given(&[("COLOUR", "1")]))),
        ("a build argument that spoils a value", error("cpu", &given(&[("TAG", "a b")]))),
        ("another folder", rendered(&Project::load(&dir.path().join("no")).unwrap_err(), dir.path())),
    ];
    for (title, text) in command_line {
        page += &format!("\n== command line: {title}\n{text}");
    }
    fs::write_atomic(&dir.path().join(PYPROJECT), b"[tool.ingot.image]\nname = 'x'\n").unwrap();
    let twice = rendered(&Project::load(dir.path()).unwrap_err(), dir.path());
    page += &format!("\n== pyproject.toml: two project files\n{twice}");
    compare(&page);
}

fn compare(page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/project/mistakes.txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write_atomic(&path, page.as_bytes()).unwrap();
    }
    let golden = fs::read_text(&path, 1 << 20).unwrap();
    for (now, before) in page.split("\n== ").zip(golden.split("\n== ")) {
        assert_eq!(now, before, "run UPDATE=1 cargo test project:: and look at the difference");
    }
    assert_eq!(page.len(), golden.len());
}

#[test]
fn the_good_file_is_good() {
    assert_eq!(resolved(GOOD, "cpu", &BuildArgs::default()).unwrap().base.value, "debian:12");
}

#[test]
fn a_broken_pyproject_of_somebody_else_does_not_matter() {
    let dir = folder(FILE_NAME, GOOD);
    fs::write_atomic(&dir.path().join(PYPROJECT), b"= nonsense").unwrap();
    assert!(Project::load(dir.path()).is_ok());
}

#[test]
fn the_page_of_the_project_file_shows_what_is_so() {
    let page = fs::read_text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/project-file.md"), 1 << 20).unwrap();
    let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(resolved(example, "default", &BuildArgs::default()).is_ok());
    let shown = page.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(mistake(FILE_NAME, &example.replace("command", "comand")), shown);
}

#[test]
fn names_that_double_each_other_end() {
    for (last, fails) in [("x", true), ("", false)] {
        let mut text = String::from("image.name = 'x'\nvariants.v.base = 'b'\n[env]\nA = '${A0}'\n[args]\n");
        (0..60).for_each(|n| text += &format!("A{n} = '${{A{0}}}${{A{0}}}'\n", n + 1));
        text += &format!("A60 = '{last}'\n");
        let result = resolved(&text, "v", &BuildArgs::default());
        assert_eq!(result.is_err(), fails, "{result:?}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    /// Whatever is done to a file, there is a project or an error that can be shown.
    #[test]
    fn no_file_makes_a_panic(at in 0usize..600, length in 0usize..12, insert in "[\\PC\\n\"$\\{\\}\\[\\]=.]{0,8}") {
        let mut text = GOOD.to_string();
        let at = at.min(text.len());
        text.replace_range(at..(at + length).min(GOOD.len()), &insert);
        let source = Source::new(Path::new(FILE_NAME), text);
        let Ok(table) = document::parse(&source) else { return Ok(()) };
        let checked = Project::checked(Path::new("/"), "/ingot.toml".into(), source, "", table, 0..0);
        let project = match checked {
            Ok(project) => project,
            Err(error) => {
                proptest::prop_assert!(crate::error::Explain::snippet(&error).is_some());
                return Ok(());
            }
        };
        for variant in project.variants() {
            let result = project.variant(&variant, &BuildArgs::default());
            proptest::prop_assert!(result.is_err_and(|error| error.snippet().is_some()));
        }
    }
}
