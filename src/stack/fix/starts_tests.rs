//! What a fix must not do: keep a stack from starting.

use super::tests::Project;

/// What is written for one service, and the reasons for what is left, as `RULE: left: WHY`.
fn of(service: &str) -> (String, String) {
    let text = format!("services:\n  a:\n    {}\nvolumes: {{data: }}\n", service.replace('\n', "\n    "));
    stack(&text)
}

fn stack(text: &str) -> (String, String) {
    let project = Project::new(&[("compose.yaml", text)]);
    let first = project.careful();
    first.write().unwrap();
    let again = project.careful();
    assert!(again.files.is_empty(), "a second run changes:\n{}", again.files[0].diff());
    let lines =
        first.report.findings.iter().map(|finding| format!("{}: {}\n", finding.rule, finding.details.join("; ")));
    (project.read("compose.yaml"), lines.collect())
}

/// Checks one service for what must be in its file, and what must not (`!`), and for reasons (`?`).
fn holds(service: &str, expected: &[&str]) {
    let (after, left) = of(service);
    for one in expected {
        let held = match (one.strip_prefix('!'), one.strip_prefix('?')) {
            (Some(not), _) => !after.contains(not),
            (_, Some(why)) => left.contains(why),
            _ => after.contains(one),
        };
        assert!(held, "{one}\n{after}\n{left}");
    }
}

#[test]
fn an_image_that_is_not_known_keeps_what_it_may_need() {
    let safe = ["no-new-privileges:true", "cpus: 1.0", "pids_limit: 2048"];
    let left = ["!read_only", "!cap_drop", "!user:", "!mem_limit", "!tmpfs", "!healthcheck"];
    holds("image: lscr.io/linuxserver/radarr:latest\nenvironment: [PUID=1000]", &[&safe[..], &left].concat());
    holds("build: .", &[&safe[..], &left].concat());
    holds(
        "image: gitlab/gitlab-ce\nuser: \"0:0\"",
        &["!read_only", "!cap_drop", "!mem_limit", "?root-user: left: the file says root"],
    );
    holds(
        "image: app",
        &[
            "?capabilities-kept: left: `app` is not known, and which it begins with: try `cap_drop: [ALL]`, with `cap_add`",
            "?writable-root: left: `app` is not known, and what it writes to: try `read_only: true`",
            "?root-user: left: `app` is not known, and which user it can run as: try `user: ",
            "?memory-limit: left: how much it needs is not known: measure, and write `mem_limit`",
            "?healthcheck-missing: left: `app` is not known, and how its health is asked",
        ],
    );
    let project = Project::new(&[("compose.yaml", "services: {a: {image: app}, b: {image: 'redis:7'}}\n")]);
    let advice = project.careful().advice.join("\n");
    let line = "`a`: `app` is not known, so `cap_drop`, `healthcheck`, `mem_limit`, `user`, `read_only` is left to you";
    assert!(advice.contains(line) && !advice.contains("`b`:"), "{advice}");
}

#[test]
fn what_ingot_casts_is_hardened() {
    holds(
        "x-ingot: {project: ./app}",
        &["read_only: true", "tmpfs: [\"/tmp:size=64m\"]", "cap_drop: [ALL]", "!mem_limit"],
    );
    holds("x-ingot: {project: ./app}\nuser: root", &["read_only: true", "!cap_drop"]);
}

#[test]
fn images_that_write_beside_their_configuration_stay_writable() {
    holds("image: elasticsearch:8.15.0", &["!read_only", "!cap_drop", "mem_limit: 2g", "curl -s"]);
    holds("image: elasticsearch:8.15.0\nenvironment: [network.host=_site_]", &["!healthcheck"]);
    for image in
        ["neo4j:5", "confluentinc/cp-kafka:7.6.0", "apache/kafka", "minio/minio", "timescale/timescaledb:latest-pg16"]
    {
        holds(&format!("image: {image}"), &["!read_only", "!cap_drop"]);
    }
    holds(
        "image: grafana/grafana",
        &["!read_only", "user: \"472\"", "cap_drop: [ALL]", "?it writes to /var/lib/grafana, where it has no volume"],
    );
    holds(
        "image: grafana/grafana-enterprise\nvolumes: [\"data:/var/lib/grafana\"]",
        &["read_only: true", "/var/log/grafana:size=16m"],
    );
}

#[test]
fn nginx_is_read_only_if_its_configuration_is_the_images() {
    let caps = "cap_add: [CHOWN, DAC_OVERRIDE, FOWNER, KILL, NET_BIND_SERVICE, SETGID, SETUID]";
    let html = "image: nginx:1.27\nvolumes: [\"./html:/usr/share/nginx/html:ro\"]";
    holds(html, &["read_only: true", "\"/var/cache/nginx:size=256m\", \"/var/run:size=16m\"", caps]);
    let own = "image: nginx:1.27\nvolumes: [\"./default.conf:/etc/nginx/conf.d/default.conf\"]";
    holds(own, &["!read_only", caps, "?`/etc/nginx/conf.d/default.conf` decides what is written, too"]);
    holds("image: nginx:1.27\nvolumes: [\"./t:/etc/nginx/templates\"]", &["!read_only"]);
    holds("image: nginx:1.27\nvolumes: [\"./x.sh:/docker-entrypoint.d/x.sh\"]", &["!read_only", "!cap_drop"]);
}

#[test]
fn root_of_a_well_known_image_can_become_somebody_else() {
    let caps = "cap_add: [CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID]";
    let root = "image: postgres:16\nuser: root\nvolumes: [\"./pg:/var/lib/postgresql/data\"]";
    holds(root, &["user: root", "cap_drop: [ALL]", caps, "?the image's own user is `postgres`"]);
    holds("image: mysql:8\nuser: \"0:0\"", &[caps]);
    holds("image: mysql:8\ninit: true\nvolumes: [\"./my:/var/lib/mysql\"]", &["FOWNER, KILL, SETGID"]);
    holds("image: redis:8\nvolumes: [\"./r:/data\"]", &["SETPCAP"]);
    // Somebody else has no capabilities, and what he can write is not known.
    holds("image: postgres:16\nuser: \"1000:1000\"", &["cap_drop: [ALL]", "!cap_add", "!read_only"]);
    holds("image: prom/prometheus\nuser: root", &["!cap_drop", "!read_only"]);
}

#[test]
fn a_user_is_written_where_all_that_is_his_stays_so() {
    let user = "    user: postgres\n";
    holds("image: postgres:16\nvolumes: [\"data:/var/lib/postgresql/data\"]", &[user, "!cap_add"]);
    for other in [
        "volumes: [\"./pg:/var/lib/postgresql/data\"]",
        "volumes: [\"data:/var/lib/postgresql/data\", \"data:/backups\"]",
        "volumes: [{type: tmpfs, target: /var/lib/postgresql/data}]",
        "volumes: [{type: volume, source: data, target: /var/lib/postgresql/data, volume: {nocopy: true}}]",
        "read_only: true\ntmpfs: [/tmp, /run]",
        "tmpfs: [\"/var/run/postgresql:mode=0755\"]",
        "tmpfs: [/var/lib/postgresql/data]",
        "command: postgres -c ssl=on -c ssl_key_file=/key",
    ] {
        holds(&format!("image: postgres:16\n{other}"), &["!user: postgres", "cap_add"]);
    }
    let shared = "services:\n  a:\n    image: postgres:16\n    volumes: [\"data:/var/lib/postgresql/data\"]\n  b:\n    image: b\n    volumes: [\"data:/x\"]\nvolumes: {data: }\n";
    assert!(!stack(shared).0.contains("user: postgres"));
    let external = "services:\n  a:\n    image: postgres:16\n    volumes: [\"data:/var/lib/postgresql/data\"]\nvolumes: {data: {external: true}}\n";
    assert!(!stack(external).0.contains("user: postgres"));
}

#[test]
fn health_is_asked_only_where_the_program_is_there() {
    holds("image: mongo:4.4", &["mongo --quiet", "!mongosh"]);
    holds("image: mongo:7", &["mongosh --quiet"]);
    holds("image: mongo:3.0", &["!healthcheck", "!cap_drop", "?this version of `mongo:3.0` is not known"]);
    holds("image: mariadb:10.6.4-focal", &["mysqladmin ping", "!healthcheck.sh"]);
    holds("image: mariadb:11", &["test: [CMD, healthcheck.sh, \"--connect\"]"]);
    let client = "image: mongo:7\nentrypoint: [bash, /scripts/setup.sh]";
    holds(client, &["!healthcheck", "!cap_drop", "!read_only", "?it runs `bash`, not what its image does"]);
    holds("image: postgres:16\ncommand: [\"sh\", \"-c\", \"pg_dump x\"]", &["!healthcheck", "!cap_drop"]);
    holds("image: redis:7\ncommand: redis-server --port 7000", &["!healthcheck"]);
    holds(
        "image: postgres:16\nenvironment: {PGPORT: 5433}",
        &["!healthcheck", "?`PGPORT` decides where its health is asked"],
    );
    holds("image: mysql:8\nvolumes: [\"./i.sql:/docker-entrypoint-initdb.d/i.sql\"]", &["start_period: 600s"]);
}

#[test]
fn limits_are_not_below_what_the_file_asks_for() {
    let heap = "image: opensearchproject/opensearch:2\nenvironment: [\"OPENSEARCH_JAVA_OPTS=-Xms1g -Xmx1g\"]";
    holds(heap, &["!mem_limit", "?how much it needs beside the 1g that the file speaks of is not known"]);
    holds("image: elasticsearch:8.1.0\nenvironment: [\"ES_JAVA_OPTS=-Xmx4g\"]", &["mem_limit: 8g"]);
    holds("image: postgres:16\nshm_size: 1gb\ncommand: postgres -c shared_buffers=2GB", &["mem_limit: 5g"]);
    holds("image: mysql:8\ncommand: --max_connections=1000", &["pids_limit: 1512"]);
    holds("image: redis:7", &["pids_limit: 512"]);
    // What stands in a configuration is not read.
    let own = "image: mysql:8\nvolumes: [\"./my.cnf:/etc/mysql/conf.d/my.cnf\"]";
    holds(own, &["!mem_limit", "pids_limit: 2048", "?how much it needs is not known"]);
    holds("image: mariadb:11", &["mem_limit: 1536m", "\"/tmp:size=512m\""]);
    let gpu = "image: ollama/ollama\ndeploy: {resources: {reservations: {devices: [{driver: nvidia, count: 1, capabilities: [gpu]}]}}}";
    holds(gpu, &["!memory", "!cpus", "?cpu-limit: left: it asks for GPUs", "pids: 2048"]);
}

#[test]
fn ports_that_others_knock_at_stay_open() {
    for port in ["51820:51820/udp", "25:25", "443:8443", "25565:25565", "0.0.0.0:53:53", "${HTTPS:-443}:443"] {
        holds(&format!("image: x\nports: [\"{port}\"]"), &[&format!("ports: [\"{port}\"]"), "?port-public: left: "]);
    }
    let some = "image: x\nports: [\"443:443\", \"8080:8080\", \"127.0.0.1:1:1\", {target: 9, published: 9, protocol: udp}, {target: 7, published: 7000}]";
    holds(
        some,
        &[
            "[\"443:443\", \"127.0.0.1:8080:8080\", \"127.0.0.1:1:1\", {target: 9, published: 9, protocol: udp}, {target: 7, published: 7000, host_ip: \"127.0.0.1\"}]",
            "?port-public: left: 443, 9: others are to reach it, and no proxy stands before it",
        ],
    );
    // A swarm takes no address.
    holds(
        "image: x\nports: [{target: 80, published: 8080, mode: host}]",
        &["published: 8080, mode: host}]", "!host_ip"],
    );
}

#[test]
fn a_restart_that_may_be_counted_on_stays() {
    let text = |image: &str, more: &str| {
        format!("services:\n  a:\n    image: {image}\n    restart: always\n{more}  db:\n    image: postgres:16\n")
    };
    let (after, left) = stack(&text("app", "    depends_on: [db]\n"));
    assert!(after.contains("    restart: always\n"), "{after}");
    assert!(left.contains("restart-always: left: `on-failure:5` gives up in seconds"), "{left}");
    let waits = "    depends_on: {db: {condition: service_healthy}}\n";
    for text in [text("app", waits), text("redis:7", "")] {
        assert!(stack(&text).0.contains("    restart: \"on-failure:5\"\n"), "{text}");
    }
    assert!(
        stack(&text("nginx:1.27", "")).0.contains("    restart: always\n"),
        "it ends if it does not find its upstreams"
    );
    // Out of a variable, by whatever way.
    let shared = "x-a: &a {image: redis, restart: \"${RESTART:-always}\"}\nservices: {a: {<<: *a}, b: {image: redis, restart: \"${RESTART:-always}\"}}\n";
    let (after, left) = stack(shared);
    assert!(!after.contains("on-failure"), "{after}");
    assert_eq!(left.matches("restart-always: left: its value comes from a variable").count(), 2, "{left}");
}

#[test]
fn what_is_privileged_or_gains_privileges_is_left() {
    holds(
        "image: redis:7\nprivileged: true",
        &["!cap_drop", "?`privileged` gives it all of them, whatever is dropped"],
    );
    for service in
        ["image: dokku/dokku:0.35", "image: x\ncommand: sudo -u y run", "image: x\nenvironment: {GRANT_SUDO: \"yes\"}"]
    {
        holds(service, &["!no-new-privileges", "?new-privileges: left: "]);
    }
}
