//! What is left, and what is written of well-known images.

use super::*;

#[test]
fn what_would_keep_a_service_from_starting_is_left() {
    // It begins as root, as its own file shows.
    for service in [
        "    image: lscr.io/linuxserver/radarr:latest\n",
        "    image: x\n    environment: [PUID=1000]\n",
        "    image: x\n    user: \"0:0\"\n",
        "    image: x\n    command: [\"sh\", \"-c\", \"mkdir -p /x; chown -R 1000 /x\"]\n",
        "    image: x\n    entrypoint: /bin/sh -c 'apk add git && git clone x'\n",
    ] {
        let (text, left) = answered(service);
        assert!(!text.contains("cap_drop") && !text.contains("read_only") && text.contains("mem_limit"), "{text}");
        for rule in ["capabilities-kept", "writable-root"] {
            let why = format!("{rule}: left: it begins as root and becomes somebody else, or installs something");
            assert!(left.iter().any(|line| line.starts_with(&why)), "{service}: {left:#?}");
        }
    }
    let (text, _) = answered("    image: x\n    user: \"1000\"\n    command: [npm, install]\n");
    assert!(text.contains("cap_drop: [ALL]"), "{text}");
    // What well-known images write, where nothing can lie over it.
    for image in ["elasticsearch:8", "opensearchproject/opensearch:2", "confluentinc/cp-kafka", "neo4j:5"] {
        let (text, left) = answered(&format!("    image: {image}\n"));
        assert!(text.contains("cap_drop") && !text.contains("read_only"), "{text}");
        assert!(
            left.contains(&"writable-root: left: the image writes to its configuration whenever it starts".into()),
            "{left:#?}"
        );
    }
    assert!(answered("    image: neo4j:5\n").0.contains("cap_add: [CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID]"));
    let (text, left) = answered("    image: grafana/grafana\n");
    assert!(!text.contains("read_only"), "{text}");
    assert!(
        left.contains(&"writable-root: left: its data is where the image is: give it a volume first".into()),
        "{left:#?}"
    );
    assert!(
        answered("    image: grafana/grafana\n    volumes: [\"./g:/var/lib/grafana\"]\n").0.contains("read_only: true")
    );
    // A privileged service has all of them.
    let (text, left) = answered("    image: x\n    privileged: true\n");
    assert!(!text.contains("cap_drop"), "{text}");
    assert!(left.iter().any(|line| line.starts_with("capabilities-kept: left: it is privileged")), "{left:#?}");
    // A VPN, and mail; a page beside them is none of those.
    for (ports, is_left) in
        [("['51820:51820/udp']", true), ("['25:25', '53:53/udp']", true), ("['51820:51820/udp', '8080:80']", false)]
    {
        let (text, left) = answered(&format!("    image: x\n    ports: {ports}\n"));
        assert_eq!(text.contains(&format!("ports: {ports}")), is_left, "{text}");
        let why = "port-public: left: others are to reach it there";
        assert_eq!(left.iter().any(|line| line.starts_with(why)), is_left, "{left:#?}");
    }
    // A model server.
    let (text, left) = answered("    image: x\n    gpus: all\n");
    assert!(!text.contains("mem_limit") && !text.contains("cpus"), "{text}");
    assert!(left.iter().any(|line| line.starts_with("memory-limit: left: it has a GPU")), "{left:#?}");
}

#[test]
fn well_known_images_become_somebody_else_however_they_begin() {
    let (text, left) =
        answered("    image: postgres:16\n    user: root\n    volumes: [\"./pg:/var/lib/postgresql/data\"]\n");
    assert!(text.contains("cap_add: [CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID]"), "{text}");
    assert!(
        left.iter().any(|line| line.starts_with("root-user: left: the image can run as its own user")),
        "{left:#?}"
    );
    // root made its folder while it began.
    let (text, _) = answered("    image: postgres:16\n    read_only: true\n    tmpfs: [/tmp, /run]\n");
    assert!(
        text.contains("user: postgres") && text.contains("tmpfs: [/tmp, /run, \"/var/run/postgresql:size=64m\"]"),
        "{text}"
    );
}

#[test]
fn health_is_asked_in_words_that_the_release_knows() {
    for (image, expected) in [
        ("mongo", "mongosh"),
        ("mongo:7", "mongosh"),
        ("mongo:5.0.3", "mongosh"),
        ("mongo:latest", "mongosh"),
        ("mongo:4.4", "\"mongo --quiet"),
        ("mongo:3.6-xenial", "\"mongo --quiet"),
        ("mariadb:11", "healthcheck.sh"),
        ("mariadb:10.6", "healthcheck.sh"),
        ("mariadb:lts", "healthcheck.sh"),
        ("mariadb:10.6.6", "healthcheck.sh"),
        ("mariadb:10.6.4-focal", "mysqladmin ping"),
        ("mariadb:10.3", "mysqladmin ping"),
        ("mariadb:10.4.22", "mysqladmin ping"),
    ] {
        let (text, _) = answered(&format!("    image: {image}\n"));
        assert!(text.contains(expected), "{image}: {text}");
    }
    let (text, _) = answered("    image: mongo:3\n    entrypoint: [bash, /setup.sh]\n");
    assert!(!text.contains("healthcheck"), "{text}");
}

#[test]
fn limits_are_no_less_than_what_the_file_asks_for() {
    for (service, memory, processes) in [
        ("    image: x\n", "512m", "200"),
        ("    image: x\n    environment: [\"JAVA_OPTS=-Xms1g -Xmx1g\"]\n", "1536m", "1000"),
        ("    image: x\n    environment: {MEMORY: 4G}\n", "6144m", "1000"),
        ("    image: x\n    environment: {MEMORY: 4, MAX_MEMORY: high}\n", "512m", "200"),
        ("    image: x\n    command: java -Xmx2048m -jar x\n", "3072m", "1000"),
        ("    image: x\n    shm_size: 1gb\n    tmpfs: [\"/x:mode=1777,size=1g\"]\n", "2560m", "200"),
        ("    image: mysql\n    command: --max_connections=1500\n", "1g", "1700"),
    ] {
        let (text, _) = answered(service);
        assert!(text.contains(&format!("    mem_limit: {memory}\n")), "{text}");
        assert!(text.contains(&format!("    pids_limit: {processes}\n")), "{text}");
    }
}

#[test]
fn a_restart_out_of_a_variable_is_left_wherever_it_stands() {
    let text = "x-a: &a {image: i, restart: \"${RESTART:-always}\"}\nservices:\n  a:\n    <<: *a\n  b:\n    image: j\n    restart: ${RESTART:-always}\n";
    let project = Project::new(&[("compose.yaml", text)]);
    let result = project.fix();
    result.write().unwrap();
    assert!(!project.read("compose.yaml").contains("on-failure"), "{}", project.read("compose.yaml"));
    let left: Vec<&Finding> =
        result.report.findings.iter().filter(|finding| finding.rule == "restart-always").collect();
    assert!(
        left.len() == 2 && left.iter().all(|finding| finding.details == ["left: its value comes from a variable"]),
        "{left:#?}"
    );
}

#[test]
fn what_to_try_is_named() {
    let text = "services:\n  app:\n    image: x\n  db:\n    image: postgres\n    ports: ['5432:5432']\n";
    let advice = Project::new(&[("compose.yaml", text)]).fix().advice;
    assert!(
        advice.iter().any(|line| line.starts_with("no service has a capability") && line.ends_with("Try `app`")),
        "{advice:#?}"
    );
    assert!(
        advice.iter().any(|line| line.starts_with("ports are published") && line.ends_with("Look at `db`")),
        "{advice:#?}"
    );
}
