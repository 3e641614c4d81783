//! No value of a secret is in anything that an export writes or says; and what is none is written as it is.

use super::tests::stack;
use super::*;
use crate::stack::{Request, Stack};

/// The secret of every case.
const VALUE: &str = "kX9vTq2LmZ7w";

/// What a service may have, each with a secret.
const SERVICES: &[&str] = &[
    "command: 'curl -H \"Authorization: Bearer VALUE\" http://x/'",
    "command: [curl, -H, 'Authorization: Basic cm9ib3Q6VALUE']",
    "command: [app, --header, 'X-Api-Key: VALUE']",
    "command: app --dsn user:VALUE@tcp(db:3306)/x",
    "command: app --dsn 'host=db user=x password=VALUE'",
    "command: app 'Server=db;User Id=sa;Password=VALUE;Encrypt=false'",
    "command: redis-server --requirepass VALUE",
    "command: [redis-server, --requirepass, VALUE]",
    "command: app --password=VALUE",
    "command: [app, --db-password, VALUE]",
    "command: sh -c 'PGPASSWORD=VALUE psql'",
    "command: sh -c \"mysql -uroot -pVALUE\"",
    "command: [sh, -c, 'curl -u me:VALUE http://x/']",
    "entrypoint: [sh, -c, 'echo VALUE | docker login -u x -p VALUE r']",
    "command: app root:VALUE@db:5432/x",
    "healthcheck: {test: [CMD, mysqladmin, ping, -h, localhost, -pVALUE]}",
    "healthcheck: {test: 'redis-cli -a VALUE ping'}",
    "healthcheck: {test: [CMD, curl, -u, 'elastic:VALUE', 'http://localhost:9200']}",
    "x-ingot: {health: 'http://:80/?token=VALUE'}",
    "post_start: [{command: 'mc alias set x http://u:VALUE@y'}]",
    "pre_stop: [{command: [x, --token, VALUE]}]",
    "labels: {db.password: VALUE}",
    "labels: ['app/token=VALUE']",
    "annotations: {auth: 'Basic cm9ib3Q6VALUE'}",
    "annotations: {users: 'me:$$2y$$10$$abcdefghijklmnopqrstuvVALUEwxyzABCDEFGHIJ0123456'}",
    "deploy: {labels: {api_key: VALUE}}",
    "environment: {A: 'user:VALUE@tcp(db)/x'}",
    "environment: {A: '{\"password\": \"VALUE\"}'}",
    "environment: {A: 'Bearer VALUE'}",
    "environment: {MYPASS: VALUE}",
    "environment: {DB_PWD: VALUE}",
    "environment: {REDIS_AUTH: VALUE}",
    "environment: {API_KEYS: VALUE}",
    "environment: {A: 'https://x/?api_key=VALUE'}",
    "environment: {A_TOKEN: VALUE}\n    hostname: VALUE",
    "environment: {A_TOKEN: VALUE}\n    command: app VALUE",
    "environment: {A_TOKEN: VALUE}\n    volumes: ['./VALUE:/x']",
    "environment: {A_TOKEN: VALUE}\n    extra_hosts: ['VALUE:1.2.3.4']",
    "environment: {A_TOKEN: VALUE}\n    working_dir: /VALUE",
    "environment: {COPY: VALUE}\n    secrets: [s]",
    "command: app VALUE\n    secrets: [s]",
    "image: https://me:VALUE@registry.example/x",
    "command: redis-server --requirepass ${DB_PASSWORD}",
    "command: app ${ODD}\n    secrets: [odd]",
    "environment: {COPY: '${ODD}'}\n    secrets: [odd]",
    "command: app ${UNSET_PASSWORD:-VALUE}",
    "healthcheck: {test: 'app ${UNSET_PASSWORD-VALUE}'}",
    "environment: {COPY: 'x ${UNSET_TOKEN:-VALUE}'}",
    "environment: {A_TOKEN: VALUE}\n    labels: {VALUE: x}",
    "healthcheck: {test: [CMD, x, '${ODD}']}\n    secrets: [odd]",
    "configs: [odd]",
    "configs: [written]",
    "configs: [yaml]",
    "configs: [ini]",
    "configs: [json]",
    "configs: [sql]",
    "configs: [url]",
];

const TAIL: &str = "secrets: {s: {file: ./s}, odd: {environment: ODD}}
configs:
  odd: {environment: DB_PASSWORD}
  written: {content: \"user: a\\npassword: VALUE\\n\"}
  yaml: {file: ./c.yaml}
  ini: {file: ./c.ini}
  json: {file: ./c.json}
  sql: {file: ./c.sql}
  url: {file: ./c.url}
";

const FILES: &[(&str, &str)] = &[
    ("s", "VALUE\n"),
    ("c.yaml", "user: a\npassword: VALUE\n"),
    ("c.ini", "[db]\ndb_password = \"VALUE\"\n"),
    ("c.json", "{\"a\": {\"secret\": \"VALUE\"}}\n"),
    ("c.sql", "CREATE USER a WITH PASSWORD 'VALUE';\n"),
    ("c.url", "x = amqp://a:VALUE@b/\n"),
];

#[test]
fn no_value_of_a_secret_is_written_or_said() {
    for service in SERVICES {
        let image = if service.starts_with("image:") { "" } else { "image: x\n    " };
        let text = format!("services:\n  a:\n    {image}{service}\n{TAIL}").replace("VALUE", VALUE);
        let parent = tempfile::tempdir().unwrap();
        for (name, content) in FILES {
            std::fs::write(parent.path().join(name), content.replace("VALUE", VALUE)).unwrap();
        }
        std::fs::write(parent.path().join("compose.yaml"), &text).unwrap();
        let environment = ["DB_PASSWORD", "ODD"].map(|name| (name.to_string(), VALUE.to_string())).into();
        let request = Request { folder: Some(parent.path().into()), environment, ..Request::default() };
        let stack = Stack::load(&request).unwrap_or_else(|error| panic!("{text}: {error}"));
        for lossy in [true, false] {
            match kubernetes(&stack, &Options { lossy, ..Options::default() }) {
                Ok(all) => {
                    let files = all.files().into_values().collect::<String>();
                    let said = all.yaml() + &all.list().to_string() + &files;
                    let said = said + &all.notes.concat() + &all.lost.concat() + &all.secrets.concat();
                    assert!(!said.contains(VALUE), "{service}: {said}");
                    assert!(!all.secrets.is_empty(), "{service}: where has it gone? {said}");
                }
                Err(error) => {
                    let details = error.details().unwrap_or_default();
                    let said = format!("{error} {details} {:?}", error.hint());
                    assert!(!said.contains(VALUE), "{service}: {said}");
                    assert!(details.contains("compose.yaml:"), "{service}: {said}");
                    let twice = details.matches(super::secrets::NOWHERE).count();
                    assert!(twice < 2, "{service} is told twice: {said}");
                }
            }
        }
    }
}

#[test]
fn what_is_no_secret_is_written_as_it_is() {
    let text = r#"
services:
  a:
    image: x
    command: [app, --password-file, /run/secrets/x, --token-ttl, 5m, -p, '5432', --max-tokens, '100']
    healthcheck: {test: [CMD-SHELL, 'mysqladmin ping -p$$MYSQL_PASSWORD && pg_isready -U postgres -p 5432']}
    environment:
      URL: http://db:5432/x
      DATABASE: postgres://app@db/x
      TOKENS: '100'
      MAX_TOKEN: '100'
      PASSWORD_FILE: /run/secrets/x
      MYSQL_ALLOW_EMPTY_PASSWORD: 'yes'
      SORT_KEY: created_at
      AUTH_METHOD: scram-sha-256
      MODE: development
      KAFKA_LISTENERS: 'PLAINTEXT://:9092,CONTROLLER://:9093'
    labels: {tier: web, com.example.password-policy: strict}
    configs: [nginx]
    post_start: [{command: [sh, -c, 'test -n "$$TOKEN"']}]
configs:
  nginx: {file: ./nginx.conf}
"#;
    let nginx =
        "server { location / { proxy_pass http://app:3000; proxy_set_header Authorization $http_authorization; } }\n";
    let (_folder, stack) = stack(text, &[("nginx.conf", nginx)]);
    let all = kubernetes(&stack, &Options::default())
        .unwrap_or_else(|error| panic!("{error}\n{}", error.details().unwrap_or_default()));
    assert!(all.secrets.is_empty(), "{:?}", all.secrets);
    assert!(all.yaml().contains("kind: ConfigMap"), "{}", all.yaml());
}

#[test]
fn a_secret_in_a_command_is_put_there_by_the_kubelet() {
    let parent = tempfile::tempdir().unwrap();
    let text = "services:
  redis: {image: x, command: 'redis-server --requirepass ${REDIS_PASSWORD} --save $$HOME'}
  app: {image: x, entrypoint: [sh, -c], command: ['run ${REDIS_PASSWORD}'], environment: {CACHE: '${REDIS_PASSWORD}', BROKER: 'redis://:${REDIS_PASSWORD}@redis'}}
";
    std::fs::write(parent.path().join("compose.yaml"), text).unwrap();
    let environment = [("REDIS_PASSWORD".to_string(), VALUE.to_string())].into();
    let request = Request { folder: Some(parent.path().into()), environment, ..Request::default() };
    let all = kubernetes(&Stack::load(&request).unwrap(), &Options::default()).unwrap();
    let container = |name: &str| {
        let found =
            all.objects.iter().find(|one| one["kind"] == "Deployment" && one["metadata"]["name"] == name).unwrap();
        found["spec"]["template"]["spec"]["containers"][0].clone()
    };
    let redis = container("redis");
    assert_eq!(redis["args"].to_string(), r#"["redis-server","--requirepass","$(REDIS_PASSWORD)","--save","$HOME"]"#);
    assert_eq!(
        redis["env"].to_string(),
        r#"[{"name":"REDIS_PASSWORD","valueFrom":{"secretKeyRef":{"key":"REDIS_PASSWORD","name":"redis-env"}}}]"#
    );
    assert_eq!(container("app")["args"].to_string(), r#"["run $(CACHE)"]"#);
    assert_eq!(
        all.secrets,
        [
            r#"kubectl create secret generic app-env --from-literal=BROKER="${BROKER:?}" --from-literal=CACHE="${CACHE:?}""#,
            r#"kubectl create secret generic redis-env --from-literal=REDIS_PASSWORD="${REDIS_PASSWORD:?}""#,
        ]
    );
    assert!(
        all.notes.iter().any(|note| note.contains("`redis` gets the variable `REDIS_PASSWORD`")),
        "{:?}",
        all.notes
    );
}

#[test]
fn a_config_with_a_secret_is_a_secret() {
    let text = "services: {a: {image: x, configs: [{source: c, target: /etc/c.conf, mode: 0440}]}}\nconfigs: {c: {file: ./c.conf}}\n";
    let (_folder, stack) = stack(text, &[("c.conf", "a: 1\npassword: hunter2\n")]);
    let all = kubernetes(&stack, &Options::default()).unwrap();
    let yaml = all.yaml();
    assert!(!yaml.contains("hunter2") && !yaml.contains("ConfigMap") && !yaml.contains("checksum/"), "{yaml}");
    assert!(yaml.contains("secretName: c-config") && yaml.contains("defaultMode: 288"), "{yaml}");
    assert_eq!(all.secrets, ["kubectl create secret generic c-config --from-file=c=./c.conf"]);
    let note = "compose.yaml:2: the config `c` has a password in line 2: it is the Secret `c-config`, and no ConfigMap";
    assert!(all.notes.contains(&note.to_string()), "{:?}", all.notes);
}
