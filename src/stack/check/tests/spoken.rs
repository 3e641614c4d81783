//! Secrets in commands, health checks, labels and arguments of builds.

use super::*;

/// The messages about secrets, of a service with one key more.
fn told(line: &str) -> Vec<String> {
    let key = line.split(':').next().unwrap_or_default();
    let found = findings(&format!("{}    {line}\n", changed(&format!("- {key}:"))), false);
    found.into_iter().filter(|one| one.rule == "secret-value").map(|one| one.message).collect()
}

#[test]
fn a_secret_that_everybody_can_list_is_told() {
    for (line, expected) in [
        ("command: redis-server --requirepass k2J9xQ7vRt4Wm8Zs", "in `command` of `a` stands in the file"),
        ("entrypoint: [app, --db-password, hunter2x9]", "in `entrypoint` of `a` is short enough to be guessed"),
        ("command: [sh, -c, 'psql postgres://u:postgres@db/x']", "`a` has a value that everybody tries first"),
        (
            "command: 'app --password=${UNSET_ONE:-changeme}'",
            "in `command` of `a` has a value that everybody tries first",
        ),
        (
            "command: 'curl -H \"Authorization: Bearer k2J9xQ7vRt4Wm8Zs\" http://x/'",
            "in `command` of `a` stands in the file",
        ),
        (
            "healthcheck: {test: [CMD, mysqladmin, ping, -pk2J9xQ7vRt4Wm8Zs]}",
            "in `healthcheck.test` of `a` stands in the file",
        ),
        ("labels: {app.db.password: k2J9xQ7vRt4Wm8Zs}", "in `labels.app.db.password` of `a` stands in the file"),
        (
            "build: {context: ., args: {NPM_TOKEN: k2J9xQ7vRt4Wm8Zs}}",
            "`build.args.NPM_TOKEN` of `a` stands in the file",
        ),
        (
            "build: {context: ., args: [DB_PASSWORD=postgres]}",
            "`build.args.DB_PASSWORD` of `a` has a value that everybody",
        ),
    ] {
        let found = told(line);
        assert!(found.len() == 1 && found[0].contains(expected), "{line}: {found:?}");
        assert!(!found[0].contains("k2J9") && !found[0].contains("hunter2"), "{found:?}");
    }
    let folded = "command: >\n      sh -c '\n      echo a;\n      echo b;\n      mysql -uroot -pk2J9xQ7vRt4Wm8Zs'";
    assert_eq!(told(folded).len(), 1);
}

#[test]
fn what_is_no_secret_of_the_file_is_not_told() {
    for line in [
        "command: redis-server --requirepass ${FROM_OUTSIDE}",
        "command: redis-server --requirepass ${UNSET_ONE} --port 6379",
        "command: [redis-server, --requirepass, '${UNSET_ONE}', --save, '60']",
        "command: [sh, -c, 'psql -w \"$$PGPASSWORD\" --password=$$(cat /run/secrets/x)']",
        "command: [app, --password-file, /run/secrets/x, --token-ttl, 5m, -p, '5432', --max-tokens, '100']",
        "healthcheck: {test: [CMD-SHELL, 'mysqladmin ping -p$$MYSQL_PASSWORD']}",
        "labels: {traefik.http.middlewares.x.basicauth.users: 'me:$$2y$$10$$abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789abcdefg'}",
        "labels: {tier: web, com.example.password-policy: strict}",
        "build: {context: ., args: {VERSION: '1', NPM_TOKEN: '${FROM_OUTSIDE}', TOKEN_FILE: /x}}",
        "build: .",
    ] {
        let found = told(line);
        assert!(found.is_empty(), "{line}: {found:?}");
    }
}
