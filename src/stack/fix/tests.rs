use super::*;
use crate::stack::{policy, yaml};
use proptest::prelude::*;

pub(super) struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    pub(super) fn new(files: &[(&str, &str)]) -> Project {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Project { folder }
    }

    fn request(&self) -> Request {
        Request { folder: Some(self.folder.path().into()), ..Request::default() }
    }

    /// Whatever is known of the images: what is written here is looked at as text.
    fn fix(&self) -> Fixed {
        fix(&self.request(), &policy(&[]).unwrap(), true).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What is written of itself.
    pub(super) fn careful(&self) -> Fixed {
        fix(&self.request(), &policy(&[]).unwrap(), false).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}

/// The text of one file after a fix, which is written, and changes nothing when it is run again.
fn fixed(text: &str) -> String {
    let project = Project::new(&[("compose.yaml", text)]);
    let first = project.fix();
    first.write().unwrap();
    let after = project.read("compose.yaml");
    let again = project.fix();
    assert!(again.files.is_empty(), "a second run changes:\n{}", again.files[0].diff());
    assert_eq!(again.fixed, []);
    after
}

fn left(project: &Project) -> Vec<String> {
    let report = project.fix().report;
    report.findings.iter().map(|finding| format!("{}: {}", finding.rule, finding.details.join("; "))).collect()
}

const HARDENED: &str = "    read_only: true
    tmpfs: [\"/tmp:size=64m\"]
    cap_drop: [ALL]
    security_opt: [\"no-new-privileges:true\"]
    mem_limit: 512m
    cpus: 1.0
    pids_limit: 2048
";

#[test]
fn a_service_gets_what_it_lacks_and_keeps_the_rest() {
    let text = "# my stack\nservices:\n  web: # the front\n    image: \"web:1\"   # pinned by hand\n    restart: always\n    # reached by the proxy\n    ports: ['8080:80', \"127.0.0.1:9:9\"]\n\n# the end\n";
    let expected = "# my stack\nservices:\n  web: # the front\n    image: \"web:1\"   # pinned by hand\n    restart: \"on-failure:5\"\n    # reached by the proxy\n    ports: ['127.0.0.1:8080:80', \"127.0.0.1:9:9\"]\n";
    assert_eq!(fixed(text), format!("{expected}{HARDENED}\n# the end\n"));
}

#[test]
fn the_hand_of_the_author_is_kept() {
    // Four spaces, lists with dashes, single quotes.
    let text = "services:\n    web:\n        image: 'web:1'\n        command:\n        - 'run'\n        - 'x'\n";
    let after = fixed(text);
    assert!(after.ends_with(
        "        read_only: true\n        tmpfs:\n        - '/tmp:size=64m'\n        cap_drop:\n        - ALL\n        security_opt:\n        - 'no-new-privileges:true'\n        mem_limit: 512m\n        cpus: 1.0\n        pids_limit: 2048\n"
    ), "{after}");
    // Braces.
    let after = fixed("services: {web: {image: web, ports: [80]}}\n");
    assert!(after.starts_with("services: {web: {image: web, ports: [127.0.0.1::80], read_only: true, tmpfs: [\"/tmp:size=64m\"], cap_drop: [ALL]"), "{after}");
    // JSON.
    let after = fixed("{\"services\": {\"web\": {\"image\": \"web\"\n}\n}}");
    assert!(after.contains("\"image\": \"web\", \"read_only\": true, \"tmpfs\": [\"/tmp:size=64m\"]"), "{after}");
    assert!(serde_json::from_str::<Json>(&after).is_ok(), "{after}");
    // Line ends of Windows, no end of the last line, a byte order mark, space behind words, a bracket below its key.
    let after = fixed("\u{feff}services:\r\n  web:\r\n    command: [\r\n      a\r\n    ]\r\n    image: web \t");
    assert!(after.starts_with("\u{feff}services:\r\n  web:\r\n"), "{after:?}");
    assert!(after.ends_with("    image: web \t\r\n    read_only: true\r\n    tmpfs: [\"/tmp:size=64m\"]\r\n    cap_drop: [ALL]\r\n    security_opt: [\"no-new-privileges:true\"]\r\n    mem_limit: 512m\r\n    cpus: 1.0\r\n    pids_limit: 2048"), "{after:?}");
    // Text of several lines at the end, of which the last keeps its empty lines.
    let after = fixed(
        "services:\n  a:\n    image: a\n    command: |\n      x\n      # no comment\n\n\n  b:\n    image: b\n    command: |+\n      y\n\n\n# end\n",
    );
    assert!(after.contains("      # no comment\n    read_only: true\n"), "{after}");
    assert!(after.contains("      y\n\n\n    read_only: true\n"), "{after}");
    let node = yaml::parse(&after, 0, "c").unwrap().remove(0);
    assert_eq!(node.get("services").unwrap().get("b").unwrap().get("command").unwrap().scalar(), Some("y\n\n\n"));
}

#[test]
fn values_that_stand_there_are_changed_where_they_stand() {
    let text = "services:\n  a:\n    image: a\n    read_only: false # later\n    tmpfs: /run\n    cap_drop:\n      - NET_RAW\n    security_opt: []\n    mem_limit: 0\n    pids_limit: -1\n    deploy:\n      resources:\n        reservations:\n          memory: 2G\n          cpus: '1.5'\n    ports:\n      - target: 80\n        published: 8080\n      - \"0.0.0.0:${PORT:-81}:81/tcp\"\n      - '[::]:82:82'\n      - \"[::0]:86:86\"\n      - ${PORT:-83}:83\n      - \"127.0.0.1:84:84\"\n      - 192.168.1.5:85:85\n";
    let after = fixed(text);
    for expected in [
        "    read_only: true # later\n",
        "    tmpfs: [/run, \"/tmp:size=64m\"]\n",
        "    cap_drop:\n      - NET_RAW\n      - ALL\n",
        "    security_opt: [\"no-new-privileges:true\"]\n",
        "    mem_limit: 2g\n",
        "    pids_limit: 2048\n",
        "          cpus: '1.5'\n    ports:\n",
        "\n    cpus: 1.5\n",
        "        published: 8080\n        host_ip: \"127.0.0.1\"\n",
        "      - \"127.0.0.1:${PORT:-81}:81/tcp\"\n      - '[::1]:82:82'\n      - \"[::1]:86:86\"\n      - 127.0.0.1:${PORT:-83}:83\n      - \"127.0.0.1:84:84\"\n      - 192.168.1.5:85:85\n",
    ] {
        assert!(after.contains(expected), "{expected}\n{after}");
    }
}

#[test]
fn what_is_extended_is_hardened_once() {
    // Docker Compose refuses a list of `security_opt` that has a word twice.
    let after =
        fixed("services:\n  a:\n    extends: b\n  b:\n    extends: {service: c}\n    tty: true\n  c:\n    image: c\n");
    assert_eq!((after.matches("no-new-privileges").count(), after.matches("read_only").count()), (1, 1), "{after}");
}

#[test]
fn limits_stand_in_one_table() {
    let after = fixed(
        "services:\n  a:\n    image: a\n    deploy:\n      replicas: 2\n  b:\n    image: b\n    deploy: {resources: {limits: {memory: 1g}}}\n",
    );
    assert!(after.contains("      replicas: 2\n      resources:\n        limits:\n          memory: 512m\n          cpus: \"1.0\"\n          pids: 2048\n"), "{after}");
    assert!(after.contains("deploy: {resources: {limits: {memory: 1g, cpus: \"1.0\", pids: 2048}}}"), "{after}");
}

#[test]
fn well_known_images_get_what_they_need() {
    let after = fixed(
        "services:\n  db:\n    image: postgres:16\n    volumes: [\"data:/var/lib/postgresql/data\"]\n  cache:\n    image: docker.io/library/redis\n    volumes: [\"./data:/data\"]\nvolumes:\n  data:\n",
    );
    for expected in [
        "    user: postgres\n    read_only: true\n    tmpfs: [\"/tmp:size=64m\", \"/var/run/postgresql:size=16m\"]\n    cap_drop: [ALL]\n    security_opt",
        "    healthcheck:\n      test: [CMD-SHELL, \"pg_isready -U \\\"$${POSTGRES_USER:-postgres}\\\" -d \\\"$${POSTGRES_DB:-$${POSTGRES_USER:-postgres}}\\\"\"]\n      interval: 10s\n      timeout: 5s\n      retries: 5\n      start_period: 60s\n",
        "    cap_drop: [ALL]\n    cap_add: [CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETPCAP, SETUID]\n",
        "      test: [CMD, redis-cli, ping]\n",
    ] {
        assert!(after.contains(expected), "{expected}\n{after}");
    }
    assert!(!after.contains("user: redis"), "its data is somebody's folder\n{after}");
}

#[test]
fn what_is_shared_is_not_changed_for_others() {
    // An own key wins over a merged one; a merged list is written as a whole.
    let after = fixed(
        "x-base: &base\n  restart: always\n  security_opt: [\"label:type:x\"]\nservices:\n  a:\n    <<: *base\n    image: a\n  b: &b\n    image: b\n  c: *b\n  d:\n    <<: *b\n    tty: true\n",
    );
    assert!(after.contains("x-base: &base\n  restart: always\n  security_opt: [\"label:type:x\"]\n"), "{after}");
    assert!(after.contains("    security_opt: [\"label:type:x\", \"no-new-privileges:true\"]\n"), "{after}");
    assert!(after.contains("    restart: \"on-failure:5\"\n"), "{after}");
    // What c and d take from b, they get with b.
    assert_eq!(after.matches("read_only: true").count(), 2, "{after}");
    // Ports that come from elsewhere, and an alias that would give a postgres' health to another image.
    let project = Project::new(&[(
        "compose.yaml",
        "x-p: &p [\"8080:80\"]\nservices:\n  a:\n    image: a\n    ports: *p\n  db: &db\n    image: postgres\n    environment: {POSTGRES_PASSWORD: x}\n  other:\n    <<: *db\n    image: other\n",
    )]);
    let left = left(&project);
    assert!(left.iter().any(|line| line.starts_with("port-public: left: its ports are an alias")), "{left:#?}");
    assert!(left.iter().any(|line| line.starts_with("healthcheck-missing: left: `other` shares it")), "{left:#?}");
    assert!(left.iter().any(|line| line.starts_with("image-moves: left: the digest is in a registry")), "{left:#?}");
}

#[test]
fn each_service_is_edited_where_it_stands() {
    let project = Project::new(&[
        (
            "compose.yaml",
            "include: [parts/db.yaml]\nservices:\n  a:\n    extends: {file: base.yaml, service: base}\n  b:\n    image: b\n    restart: always\n",
        ),
        ("compose.override.yaml", "services:\n  b:\n    restart: unless-stopped\n  c:\n    image: c\n"),
        ("base.yaml", "services:\n  base:\n    image: a\n    restart: always\n    ports: ['8080:80']\n"),
        ("parts/db.yaml", "services:\n  db:\n    image: db\n"),
    ]);
    let result = project.fix();
    result.write().unwrap();
    let names: Vec<&str> = result.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["compose.override.yaml", "compose.yaml", "parts/db.yaml"]);
    let (first, over) = (project.read("compose.yaml"), project.read("compose.override.yaml"));
    assert!(first.contains("service: base}\n    read_only: true\n"), "{first}");
    assert!(first.contains("    restart: \"on-failure:5\"\n  b:\n"), "an own key wins over an extended one\n{first}");
    assert!(first.contains("    image: b\n    restart: always\n    read_only: true\n"), "{first}");
    assert!(
        over.starts_with("services:\n  b:\n    restart: \"on-failure:5\"\n  c:\n    image: c\n    read_only: true\n"),
        "{over}"
    );
    assert!(project.read("parts/db.yaml").contains("    read_only: true\n"));
    assert!(project.read("base.yaml").ends_with("ports: ['8080:80']\n"), "others may extend it");
    let left = left(&project);
    assert!(
        left.iter().any(|line| line.starts_with("port-public: left: its ports stand in a service or an anchor")),
        "{left:#?}"
    );
}

#[test]
fn what_cannot_be_edited_is_left_with_a_reason() {
    for (text, expected) in [
        (
            "services:\n  a:\n    image: a\n---\nservices:\n  a: {tty: true}\n",
            "writable-root: left: the file has several documents",
        ),
        (
            "services:\n  a:\n    image: a\n    restart: ${R:-always}\n",
            "restart-always: left: its value comes from a variable",
        ),
        (
            "services:\n  a:\n    image: a\n    ports: [\"${IP:-0.0.0.0}:8080:80\"]\n",
            "port-public: left: the address of a port comes from a variable",
        ),
        (
            "x-d: &d {labels: [a]}\nservices:\n  a:\n    image: a\n    deploy: *d\n",
            "memory-limit: left: it is shared with others by an alias",
        ),
        (
            "services:\n  a:\n    image: a\n    read_only: |\n      false\n",
            "writable-root: left: it is a text of several lines",
        ),
    ] {
        let project = Project::new(&[("compose.yaml", text)]);
        let left = left(&project);
        assert!(left.iter().any(|line| line.starts_with(expected)), "{text}\n{left:#?}");
    }
}

#[test]
fn a_file_is_written_whole_with_its_mode_or_not_at_all() {
    use std::os::unix::fs::PermissionsExt;
    let project = Project::new(&[("real.yaml", "services:\n  a:\n    image: a\n")]);
    let (link, real) = (project.folder.path().join("compose.yaml"), project.folder.path().join("real.yaml"));
    std::os::unix::fs::symlink("real.yaml", &link).unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    let result = project.fix();
    result.write().unwrap();
    assert!(link.is_symlink() && project.read("real.yaml").contains("read_only: true"));
    assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_dir(project.folder.path()).unwrap().count(), 2, "nothing else stays");
    let error = result.write().unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.class().code()),
        ("`compose.yaml` was changed by somebody else, and is not written", 2)
    );
}

#[test]
fn a_file_that_a_link_leads_to_out_of_the_project_is_written_if_it_is_named() {
    let text = "services:\n  a:\n    image: a\n    ports: ['8080:80']\n";
    let project = Project::new(&[
        ("real/compose.yaml", text),
        ("app/other.yaml", "services:\n  b:\n    image: b\n"),
        ("app/x", ""),
    ]);
    let app = project.folder.path().join("app");
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, app.join(at)).unwrap();
    let run = |files: &[&str], production| {
        let files = files.iter().map(|file| app.join(file)).collect();
        let request = Request { folder: Some(app.clone()), files, production, ..Request::default() };
        fix(&request, &policy(&[]).unwrap(), true).unwrap_or_else(|error| panic!("{error}"))
    };
    let names = |result: &Fixed| result.files.iter().map(|file| file.name.clone()).collect::<Vec<_>>().join(" ");
    let why = "left: it stands in a file that a link leads to, out of the project: name it with `-f`";
    link("../real/compose.yaml", "compose.yaml");
    let result = run(&[], false);
    assert_eq!((names(&result).as_str(), result.fixed.as_slice()), ("", &[][..]));
    for rule in ["writable-root", "port-public"] {
        let finding = result.report.findings.iter().find(|finding| finding.rule == rule).unwrap();
        assert_eq!(finding.details, [why], "{rule}");
    }
    result.write().unwrap();
    assert_eq!(project.read("real/compose.yaml"), text);
    // The file for production is found, too; what stands elsewhere is edited where it stands.
    link("../real/compose.yaml", "compose.production.yaml");
    let result = run(&["other.yaml"], true);
    result.write().unwrap();
    assert_eq!((names(&result).as_str(), project.read("real/compose.yaml").as_str()), ("other.yaml", text));
    // A name is a wish. The link stays one.
    let result = run(&["compose.yaml"], false);
    result.write().unwrap();
    assert!(app.join("compose.yaml").is_symlink());
    assert!(project.read("real/compose.yaml").contains("read_only: true\n"));
}

#[test]
fn a_file_that_its_owner_closed_is_left() {
    use std::os::unix::fs::PermissionsExt;
    let text = "services:\n  a:\n    image: a\n";
    let project = Project::new(&[("compose.yaml", text)]);
    let path = project.folder.path().join("compose.yaml");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
    let result = project.fix();
    result.write().unwrap();
    assert_eq!((result.files.len(), project.read("compose.yaml").as_str()), (0, text));
    let left = left(&project);
    assert!(
        left.contains(&"writable-root: left: it stands in a file that its owner closed to writing".into()),
        "{left:#?}"
    );
}

#[test]
fn files_are_written_all_or_none_and_otherwise_it_is_said_which() {
    let text = |name: &str| format!("services:\n  {name}:\n    image: x\n");
    let files = [("compose.yaml", text("a")), ("compose.override.yaml", text("b"))];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let project = Project::new(&files);
    let result = project.fix();
    assert_eq!(
        result.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(),
        ["compose.override.yaml", "compose.yaml"]
    );
    // The second is somebody else's now: the first stays, too.
    std::fs::write(project.folder.path().join("compose.yaml"), text("c")).unwrap();
    assert_eq!(
        result.write().unwrap_err().to_string(),
        "`compose.yaml` was changed by somebody else, and is not written"
    );
    assert_eq!((project.read("compose.override.yaml"), project.read("compose.yaml")), (text("b"), text("c")));
    assert_eq!(std::fs::read_dir(project.folder.path()).unwrap().count(), 2, "nothing else stays");
    // After all were looked at, a name may still be taken.
    let result = project.fix();
    let prepared = result.prepare().unwrap();
    std::fs::remove_file(project.folder.path().join("compose.yaml")).unwrap();
    std::fs::create_dir(project.folder.path().join("compose.yaml")).unwrap();
    let error = finish(prepared).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("`compose.yaml` could not be written, but `compose.override.yaml` is: could not rename"),
        "{text}"
    );
    assert_eq!(error.class().code(), 6);
    assert!(error.hint().unwrap().starts_with("run it again"));
    assert!(project.read("compose.override.yaml").contains("read_only: true"));
}

/// A service in one of the styles that people write.
fn service(name: &str) -> impl Strategy<Value = String> + use<> {
    let name = name.to_string();
    let lines = prop::sample::subsequence(
        vec![
            "restart: always",
            "restart_: x",
            "ports: [\"8080:80\"]",
            "ports:\n  - 80\n  - target: 81\n    published: 8081",
            "read_only: false",
            "cap_drop: [NET_RAW]",
            "cap_drop:\n- NET_RAW",
            "tmpfs: /tmp",
            "tmpfs:\n  - /run",
            "security_opt: ['label:type:t']",
            "deploy: {replicas: 1}",
            "deploy:\n  resources:\n    limits:\n      memory: 1g",
            "mem_limit: 0",
            "pids_limit: -1",
            "user: \"0\"",
            "environment: {A: \"x # y\", B: '$$'}",
            "command: |\n  a\n\n  b",
            "command: >-\n  a\n  b",
            "# a comment",
            "",
            "labels:\n  - \"a=b: c\" # why",
            "healthcheck: {test: [CMD, x]}",
            "command: [\n  a\n]",
            "volumes: [\"./x:/x\"]",
            "<<: *base",
            "build: .",
        ],
        0..9,
    );
    (lines, 0..4usize, any::<bool>(), prop::sample::select(vec!["x", "postgres:16", "redis", "nginx"])).prop_map(
        move |(lines, step, comment, image)| {
            let step = " ".repeat(step + 1);
            let mut out = format!("{step}{name}:{}\n", if comment { " # it" } else { "" });
            let mut keys = BTreeSet::from(["image"]);
            let mut all = vec![format!("image: {image}")];
            for line in lines {
                let key = line.split(':').next().unwrap();
                if line.starts_with('#') || line.is_empty() || (!key.ends_with('_') && keys.insert(key)) {
                    all.push(line.to_string());
                }
            }
            for line in all.iter().flat_map(|text| text.split('\n')) {
                out += &if line.is_empty() { "\n".into() } else { format!("{step}{step}{line}\n") };
            }
            out
        },
    )
}

fn file() -> impl Strategy<Value = String> {
    (service("web"), service("db"), 0..3usize, any::<bool>(), any::<bool>()).prop_map(
        |(web, db, services, crlf, end)| {
            // Services of one file are indented alike.
            let step = |text: &str| text.len() - text.trim_start().len();
            let both = services > 0 && step(&web) == step(&db);
            let mut text = format!(
                "x-base: &base\n  restart: always\n  cap_drop: [MKNOD]\nservices:\n{web}{}",
                if both { db } else { String::new() }
            );
            if !end {
                text.truncate(text.trim_end().len());
            }
            if crlf { text.replace('\n', "\r\n") } else { text }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is read of the new file is what was read of the old one, with the hardening and nothing else; every line of the
    /// old file is in the new one unless it was to be changed; and a second run changes nothing.
    #[test]
    fn a_fix_hardens_and_changes_nothing_else(text in file()) {
        let project = Project::new(&[("compose.yaml", &text)]);
        let before = Stack::load(&project.request());
        prop_assume!(before.is_ok());
        let before = before.unwrap();
        let result = project.fix();
        result.write().unwrap();
        let after = Stack::load(&project.request()).unwrap();
        let hardened = ["user", "read_only", "tmpfs", "cap_drop", "cap_add", "security_opt", "mem_limit", "cpus", "pids_limit", "deploy", "ports", "healthcheck", "restart"];
        for (name, service) in after.services() {
            let old = before.root.get("services").unwrap().get(name).unwrap();
            for (key, (_, node)) in service.map().unwrap() {
                if !hardened.contains(&key.as_str()) {
                    prop_assert_eq!(Some(json(node)), old.get(key).map(json));
                }
            }
            for key in old.map().unwrap().keys() {
                prop_assert!(service.get(key).is_some(), "{} is gone", key);
            }
            let rules: BTreeSet<&str> = result.fixed.iter().filter(|(of, _)| of == name).map(|(_, rule)| rule.as_str()).collect();
            prop_assert!(rules.contains("new-privileges"), "{:?}\n{}", result.report.findings, text);
        }
        let new = project.read("compose.yaml");
        let kept: Vec<&str> = new.lines().collect();
        for line in text.lines().filter(|line| line.trim_start().starts_with('#') || line.contains("image:") || line.contains("labels:")) {
            prop_assert!(kept.contains(&line), "{:?} is gone:\n{}", line, new);
        }
        prop_assert_eq!(new.matches("\r\n").count() == new.matches('\n').count(), !text.contains('\n') || text.contains("\r\n"));
        let again = project.fix();
        prop_assert!(again.files.is_empty(), "{}\n{}", text, again.files.first().map(|file| file.diff()).unwrap_or_default());
    }
}
