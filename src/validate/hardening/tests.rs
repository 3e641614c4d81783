//! An image that breaks each rule, one that is much the same and does not, and images that nobody should trust.

use base64::Engine as _;
use serde_json::{Value, json};

use super::RULES;
use crate::check::Severity;
use crate::oci::Digest;
use crate::project::Budget;
use crate::validate::fixture::{Case, Entry, Recipe, hold};

const NO: fn(&mut Recipe) = |_| {};

#[test]
fn every_rule_fires_and_does_not() {
    hold(RULES, &[USERS, FILES, SECRETS, SETTINGS].concat());
}

/// Nobody's key: it only has the form of one.
fn key() -> String {
    format!("AKIA{}", "Q2W3E4R5T6Y7UZIX")
}

/// Nobody's token.
fn web_token() -> String {
    let part = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let signature = part(&Digest::of(b"nobody's").hex()[..32]);
    format!("{}.{}.{signature}", part(r#"{"alg":"HS256","typ":"JWT"}"#), part(r#"{"sub":"4711","name":"Nobody"}"#))
}

const USERS: &[Case] = &[
    Case { rule: "user-root", breaks: |recipe| recipe.config["User"] = Value::Null, passes: NO },
    Case {
        rule: "user-invalid",
        breaks: |recipe| recipe.config["User"] = json!("4294967296"),
        passes: |recipe| recipe.config["User"] = json!("65534"),
    },
    Case {
        rule: "user-name",
        breaks: |recipe| recipe.config["User"] = json!("app"),
        passes: |recipe| recipe.config["User"] = json!("1001"),
    },
    Case { rule: "user-unknown", breaks: |recipe| recipe.config["User"] = json!("4711"), passes: NO },
    Case {
        rule: "password-empty",
        breaks: |recipe| {
            recipe.file(0, "etc/shadow", 0o640, "root:*:1::::::\napp::1::::::\n");
        },
        passes: |recipe| {
            recipe.file(0, "etc/shadow", 0o640, "root:*:1::::::\napp:!:1::::::\n");
        },
    },
    Case { rule: "account-duplicate", breaks: |recipe| passwd(recipe, 1001), passes: |recipe| passwd(recipe, 1002) },
];

/// Adds a second user.
fn passwd(recipe: &mut Recipe, uid: u32) {
    recipe.without("etc/passwd");
    let text = format!("root:x:0:0::/:/bin/sh\napp:x:1001:1001::/app:/bin/sh\nother:x:{uid}:1001::/:/bin/sh\n");
    recipe.file(0, "etc/passwd", 0o644, text);
}

fn su(recipe: &mut Recipe, mode: u32) {
    for folder in ["var/lib", "var/lib/dpkg", "var/lib/dpkg/info"] {
        recipe.folder(0, folder, 0o755);
    }
    recipe.file(0, "usr/bin/su", mode, "").file(0, "var/lib/dpkg/info/util-linux.list", 0o644, "/.\n/bin/su\n");
}

fn status(recipe: &mut Recipe, package: &str) {
    for folder in ["var/lib", "var/lib/dpkg"] {
        recipe.folder(0, folder, 0o755);
    }
    let text =
        format!("Package: libc6\nStatus: install ok installed\n\nPackage: {package}\nStatus: install ok installed\n");
    recipe.file(0, "var/lib/dpkg/status", 0o644, text);
}

fn lists(recipe: &mut Recipe) -> &mut Recipe {
    for folder in ["var/lib", "var/lib/apt", "var/lib/apt/lists"] {
        recipe.folder(0, folder, 0o755);
    }
    recipe
}

const FILES: &[Case] = &[
    Case {
        rule: "setuid",
        breaks: |recipe| {
            recipe.file(1, "app/tool", 0o4755, "");
        },
        passes: |recipe| {
            recipe.file(1, "app/tool", 0o755, "");
        },
    },
    Case { rule: "setuid-packaged", breaks: |recipe| su(recipe, 0o4755), passes: |recipe| su(recipe, 0o755) },
    Case {
        rule: "world-writable",
        breaks: |recipe| {
            recipe.folder(1, "app/shared", 0o777);
        },
        passes: |recipe| {
            recipe.folder(1, "app/shared", 0o1777).symlink(1, "app/link", "shared");
        },
    },
    Case {
        rule: "package-cache",
        breaks: |recipe| {
            lists(recipe).file(0, "var/lib/apt/lists/archive.example_Packages", 0o644, "Package: x\n");
        },
        passes: |recipe| {
            lists(recipe);
        },
    },
    Case {
        rule: "package-unneeded",
        breaks: |recipe| status(recipe, "gcc-12"),
        passes: |recipe| status(recipe, "gcc-12-base"),
    },
];

/// A file of an installed distribution.
fn distribution(recipe: &mut Recipe, body: &str) {
    let hash = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Digest::of(body.as_bytes()).as_bytes());
    let site = "usr/lib/python3/dist-packages";
    for folder in ["usr/lib/python3", site, &format!("{site}/pkg"), &format!("{site}/pkg-1.dist-info")] {
        recipe.folder(0, folder, 0o755);
    }
    let record = format!("pkg/tests.py,sha256={hash},{}\npkg-1.dist-info/RECORD,,\n", body.len());
    recipe.file(0, &format!("{site}/pkg/tests.py"), 0o644, body);
    recipe.file(0, &format!("{site}/pkg-1.dist-info/RECORD"), 0o644, record);
    recipe.file(
        0,
        &format!("{site}/pkg-1.dist-info/METADATA"),
        0o644,
        "Metadata-Version: 2.1\nName: pkg\nVersion: 1\n",
    );
}

const SECRETS: &[Case] = &[
    Case {
        rule: "secret",
        breaks: |recipe| {
            recipe.file(0, "root/settings.py", 0o600, format!("KEY = '{}'\n", key()));
            recipe.file(1, "root/.wh.settings.py", 0o644, "");
        },
        passes: |recipe| {
            recipe.file(0, "root/settings.py", 0o600, "KEY = environ['AWS_ACCESS_KEY_ID']\n");
        },
    },
    Case {
        rule: "secret-likely",
        breaks: |recipe| {
            recipe.file(1, "app/settings.py", 0o644, format!("x = '{}'\n", web_token()));
        },
        passes: |recipe| {
            recipe.file(1, "app/settings.py", 0o644, "x = 'a token goes here'\n");
        },
    },
    Case {
        rule: "secret-packaged",
        breaks: |recipe| distribution(recipe, &format!("KEY = '{}'\n", key())),
        passes: |recipe| distribution(recipe, "KEY = None\n"),
    },
    Case {
        rule: "secret-variable",
        breaks: |recipe| recipe.config["Env"] = json!(["PATH=/usr/bin", "DB_PASSWORD=correct"]),
        passes: |recipe| recipe.config["Env"] = json!(["PATH=/usr/bin", "DB_PASSWORD_FILE=/run/secrets/db"]),
    },
    Case {
        rule: "credential-file",
        breaks: |recipe| {
            recipe.file(1, "root/.netrc", 0o600, "machine x login y\n");
        },
        passes: |recipe| {
            recipe.file(1, "root/.netrc", 0o600, "");
        },
    },
    Case {
        rule: "env-file",
        breaks: |recipe| {
            recipe.file(1, "app/.env", 0o600, "MODE=x\n");
        },
        passes: |recipe| {
            recipe.file(1, "app/.env.example", 0o600, "MODE=x\n");
        },
    },
    Case {
        rule: "version-control",
        breaks: |recipe| {
            recipe.folder(1, "app/.git", 0o755).file(1, "app/.git/HEAD", 0o644, "ref: refs/heads/main\n");
        },
        passes: |recipe| {
            recipe.file(1, "app/.gitignore", 0o644, "*.log\n");
        },
    },
];

fn bin(recipe: &mut Recipe, owner: u32) {
    recipe.entry(1, Entry { owner: (owner, owner), ..Entry::new(b'5', "app/bin", 0o755) });
    recipe.config["Env"] = json!(["PATH=/app/bin:/usr/bin"]);
}

const SETTINGS: &[Case] = &[
    Case { rule: "healthcheck-missing", breaks: |recipe| recipe.config["Healthcheck"] = Value::Null, passes: NO },
    Case { rule: "labels-missing", breaks: |recipe| recipe.config["Labels"] = json!({}), passes: NO },
    Case {
        rule: "env-preload",
        breaks: |recipe| recipe.config["Env"] = json!(["PATH=/usr/bin", "LD_PRELOAD=/usr/lib/x.so"]),
        passes: |recipe| recipe.config["Env"] = json!(["PATH=/usr/bin", "LD_BIND_NOW=1"]),
    },
    Case {
        rule: "path-relative",
        breaks: |recipe| recipe.config["Env"] = json!(["PATH=/usr/bin:."]),
        passes: |recipe| recipe.config["Env"] = json!(["PATH=/usr/bin:/bin"]),
    },
    Case { rule: "path-writable", breaks: |recipe| bin(recipe, 1001), passes: |recipe| bin(recipe, 0) },
    Case { rule: "entrypoint-relative", breaks: |recipe| recipe.config["Entrypoint"] = json!(["./serve"]), passes: NO },
    Case {
        rule: "port-privileged",
        breaks: |recipe| recipe.config["ExposedPorts"] = json!({ "22/tcp": {} }),
        passes: |recipe| recipe.config["ExposedPorts"] = json!({ "8080/tcp": {} }),
    },
    Case {
        rule: "tag-latest",
        breaks: |recipe| {
            recipe.config["Labels"] = json!({ "org.opencontainers.image.base.name": "registry.example/base:latest" });
        },
        passes: |recipe| {
            recipe.config["Labels"]["org.opencontainers.image.base.name"] = json!("registry.example/base:latest");
        },
    },
    Case {
        rule: "budget",
        breaks: |recipe| recipe.declared.budget = Budget { layers: Some(1), ..Budget::default() },
        passes: |recipe| recipe.declared.budget = Budget { layers: Some(2), ..Budget::default() },
    },
];

/// Which rules about the user fire.
fn user(field: Value) -> Vec<String> {
    let mut recipe = Recipe::good();
    recipe.config["User"] = field;
    recipe.fired().into_iter().filter(|rule| rule.starts_with("user-") || rule == "document").collect()
}

#[test]
fn absurd_users_are_never_somebody_else() {
    for root in ["", "0", "0:0", "00", "+0", "-0", "root", "root:root", ":1001", "0:1001:7"] {
        assert_eq!(user(json!(root)), ["user-root"], "{root:?}");
    }
    for invalid in [
        "-1",
        "4294967296",
        "99999999999999999999999",
        "2147483648",
        "0x0",
        " 0",
        "root ",
        "1001:",
        "1001:x",
        "nobody-here",
        "1001:1001:1001",
        "1001:4294967296",
        "\u{1b}[31m",
        "1001\0",
        "１００１",
    ] {
        assert_eq!(user(json!(invalid)), ["user-invalid"], "{invalid:?}");
    }
    for sound in ["1001", "1001:1001", "1001:0"] {
        assert_eq!(user(json!(sound)), [""; 0], "{sound:?}");
    }
    assert_eq!(user(json!("app:app")), ["user-name"]);
    assert_eq!(user(json!("1001:4711")), ["user-unknown"]);
    assert_eq!(user(json!(1001)), ["user-invalid"]);
    assert_eq!(user(json!("x".repeat(1 << 20))), ["user-invalid"]);
    // Engines look for the name first: this number is root.
    let mut recipe = Recipe::good();
    recipe.without("etc/passwd").file(0, "etc/passwd", 0o644, "1001:x:0:0::/:/bin/sh\n");
    assert_eq!(recipe.findings("user-invalid").len(), 1);
}

#[test]
fn no_finding_has_control_characters_or_secrets() {
    let mut recipe = Recipe::good();
    let evil = format!("\u{1b}]52;c;{}\u{7}", key());
    recipe.config["Env"] = json!([format!("PATH={evil}:."), format!("{evil}={}", key()), "LD_PRELOAD=\u{9b}2J"]);
    recipe.config["Labels"] = json!({ "\u{1b}[2J": evil.repeat(60_000), "k": key() });
    recipe.config["Entrypoint"] = json!([format!("./{evil}{}", "x".repeat(1 << 20))]);
    recipe.config["ExposedPorts"] = json!({ "22/\u{1b}[31m": {}, "99999999999999999999/tcp": {} });
    recipe.config["Healthcheck"] = json!({ "Test": [7] });
    recipe.file(1, "app/notes", 0o644, format!("one = '{}'\n", key()));
    let report = recipe.report();
    assert!(report.findings.iter().any(|finding| finding.rule == "secret" && finding.path == "config.Env"));
    assert!(report.findings.iter().any(|finding| finding.rule == "secret" && finding.path == "config.Labels"));
    for finding in &report.findings {
        let told = format!("{} {} {:?} {}", finding.place(), finding.told(), finding.details, finding.fix);
        assert!(!told.contains(&key()[..9]), "{told}");
        assert!(!told.contains(char::is_control) && told.len() < 4000, "{}", told.len());
    }
}

#[test]
fn secrets_are_found_wherever_they_are() {
    let mut recipe = Recipe::good();
    recipe.edit_config = |config| {
        config["history"][0]["created_by"] = json!(format!("RUN |1 TOKEN={} /bin/sh -c make", key()));
        config["history"][1]["created_by"] = json!("RUN |2 A=b DB_PASSWORD=correct-horse /bin/sh -c make");
    };
    recipe.edit_manifest = |manifest| manifest["annotations"] = json!({ "x": key() });
    recipe.config["Cmd"] = json!(["--key", key()]);
    recipe.file(0, "etc/x.conf", 0o644, format!("key: {}\n", key())).file(1, "etc/x.conf", 0o644, "key: none\n");
    let found = recipe.findings("secret");
    let places: Vec<&str> = found.iter().map(|finding| finding.path.as_str()).collect();
    assert_eq!(places, ["/etc/x.conf", "config.Cmd", "history[0]", "manifest.annotations"]);
    assert!(
        found[0].message.ends_with("in layer 1/2, where it still is, although a later layer removes or replaces it")
    );
    assert_eq!(recipe.findings("secret-variable")[0].path, "history[1]");
}

#[test]
fn a_file_of_a_package_that_was_changed_is_no_longer_the_packages() {
    let mut recipe = Recipe::good();
    distribution(&mut recipe, "KEY = None\n");
    recipe.without("usr/lib/python3/dist-packages/pkg/tests.py");
    recipe.file(0, "usr/lib/python3/dist-packages/pkg/tests.py", 0o644, format!("KEY = '{}'\n", key()));
    assert_eq!((recipe.findings("secret").len(), recipe.findings("secret-packaged").len()), (1, 0));
}

#[test]
fn rights_beyond_the_base_are_told_apart() {
    let mut recipe = Recipe::good();
    su(&mut recipe, 0o4755);
    recipe.file(1, "app/setgid", 0o2755, "").folder(1, "app/shared", 0o2775);
    let pax = vec![("SCHILY.xattr.security.capability".into(), "x".into())];
    recipe.entry(1, Entry { pax, ..Entry::new(b'0', "app/capable", 0o755) });
    let own = recipe.findings("setuid");
    assert_eq!((own.len(), own[0].details.clone()), (1, vec!["/app/capable".to_string(), "/app/setgid".into()]));
    assert_eq!(recipe.findings("setuid-packaged")[0].path, "/usr/bin/su");
    // In an image of Ingot's, only its own layers add anything, whoever owns the file.
    recipe.edit_config = |config| config["history"][1]["created_by"] = json!("ingot: app in /app");
    recipe.file(1, "usr/bin/su", 0o4755, "");
    assert_eq!(recipe.findings("setuid")[0].details.len(), 3);
    assert!(recipe.findings("setuid-packaged").is_empty());
}

#[test]
fn many_files_are_one_finding() {
    let mut recipe = Recipe::good();
    for n in 0..300 {
        recipe.file(1, &format!("app/f{n:03}"), 0o4666, "");
    }
    let found = recipe.report().findings;
    let told: Vec<(&str, Severity)> = found.iter().map(|one| (one.rule.as_str(), one.severity)).collect();
    assert_eq!(told, [("setuid", Severity::Error), ("world-writable", Severity::Warning)]);
    assert!(found[0].message.ends_with(": `/app/f000`, `/app/f001`, `/app/f002` and 297 more"), "{}", found[0].message);
}
