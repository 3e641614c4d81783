//! The images, one after the other.

use super::{Begins, Known, Open, Required, Version};

/// What root needs to own its data and to become somebody else.
const BECOMES: &[&str] = &["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"];
/// Redis 8 drops its bounding set, too.
const BECOMES_BOUND: &[&str] = &["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETPCAP", "SETUID"];
/// Servers that also take a port below 1024, and end processes that are not root's any more.
const SERVES: &[&str] = &["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"];
const ANY: Version = [0, 0, 0];

const NOTHING: Known = Known {
    names: &[],
    since: ANY,
    runs: &[],
    begins: Begins::Unknown,
    user: None,
    data: &[],
    has_volume: true,
    writes: None,
    configuration: &[],
    settings: &[],
    options: &[],
    health: &[],
    unlike: &[],
    start: "60s",
    pace: ("10s", "5s"),
    memory: None,
    is_alone: true,
    secret: None,
    open: None,
};

const REDIS: Option<Open> =
    Some(Open { port: "6379", closed_by: &["requirepass", "aclfile", ".conf", "protected-mode"], opened_by: None });

const POSTGRES: Known = Known {
    names: &["postgres"],
    since: [10, 0, 0],
    runs: &["postgres"],
    begins: Begins::Root(BECOMES),
    user: Some("postgres"),
    data: &["/var/lib/postgresql/data", "/var/lib/postgresql"],
    writes: Some(&["/var/run/postgresql:size=16m"]),
    settings: &["PGDATA", "PGPORT", "PGHOST", "POSTGRES_INITDB_WALDIR"],
    health: &[(
        ANY,
        &[
            "CMD-SHELL",
            "pg_isready -U \"${POSTGRES_USER:-postgres}\" -d \"${POSTGRES_DB:-${POSTGRES_USER:-postgres}}\"",
        ],
    )],
    memory: Some("1g"),
    secret: Some(POSTGRES_SECRET),
    ..NOTHING
};
const POSTGRES_SECRET: Required = Required {
    one_of: &["POSTGRES_PASSWORD", "POSTGRES_PASSWORD_FILE"],
    otherwise: "the image does not start",
    opens: &[("POSTGRES_HOST_AUTH_METHOD", "trust")],
};
/// mysqladmin says that a server is there that does not let it in.
const MYSQL_HEALTH: &[&str] = &["CMD-SHELL", "mysqladmin ping -h 127.0.0.1 --silent"];
const REDIS_SETTINGS: &[&str] = &["SKIP_DROP_PRIVS", "SKIP_FIX_PERMS", "VALKEY_EXTRA_FLAGS", "REDISCLI_AUTH"];
const REDIS_HEALTH: &[&str] = &["CMD", "redis-cli", "ping"];

/// Programs of one file, which have a user and write nothing but their data.
const PROMETHEUS: Known = Known { begins: Begins::User, user: Some("nobody"), writes: Some(&[]), ..NOTHING };

pub(super) const KNOWN: &[Known] = &[
    POSTGRES,
    // The same entrypoint, and tags with the numbers of the extension.
    Known { names: &["pgvector/pgvector", "ankane/pgvector", "postgis/postgis"], since: ANY, ..POSTGRES },
    // It writes more when it begins: it tunes its configuration.
    Known {
        names: &["timescale/timescaledb", "timescale/timescaledb-ha"],
        health: POSTGRES.health,
        secret: Some(POSTGRES_SECRET),
        settings: POSTGRES.settings,
        runs: POSTGRES.runs,
        ..NOTHING
    },
    // Entrypoints of their own before that of postgres.
    Known {
        names: &["immich-app/postgres", "tensorchord/pgvecto-rs", "tensorchord/vchord-postgres"],
        secret: Some(POSTGRES_SECRET),
        ..NOTHING
    },
    Known {
        names: &["mysql"],
        since: [5, 7, 0],
        runs: &["mysqld"],
        begins: Begins::Root(BECOMES),
        user: Some("mysql"),
        data: &["/var/lib/mysql"],
        writes: Some(&["/tmp:size=512m", "/var/run/mysqld:size=16m"]),
        configuration: &["/etc/my.cnf", "/etc/mysql"],
        settings: &["MYSQL_TCP_PORT", "MYSQL_UNIX_PORT"],
        health: &[(ANY, MYSQL_HEALTH)],
        start: "120s",
        memory: Some("1536m"),
        secret: Some(Required {
            one_of: &["MYSQL_ROOT_PASSWORD", "MYSQL_ROOT_PASSWORD_FILE", "MYSQL_RANDOM_ROOT_PASSWORD"],
            otherwise: "the image does not start",
            opens: &[("MYSQL_ALLOW_EMPTY_PASSWORD", "")],
        }),
        ..NOTHING
    },
    Known {
        names: &["percona"],
        secret: Some(Required {
            one_of: &["MYSQL_ROOT_PASSWORD", "MYSQL_ROOT_PASSWORD_FILE", "MYSQL_RANDOM_ROOT_PASSWORD"],
            otherwise: "the image does not start",
            opens: &[("MYSQL_ALLOW_EMPTY_PASSWORD", "")],
        }),
        ..NOTHING
    },
    Known {
        names: &["mariadb"],
        since: [10, 3, 0],
        runs: &["mysqld", "mariadbd"],
        begins: Begins::Root(BECOMES),
        user: Some("mysql"),
        data: &["/var/lib/mysql"],
        writes: Some(&["/tmp:size=512m", "/run/mysqld:size=16m"]),
        configuration: &["/etc/my.cnf", "/etc/my.cnf.d", "/etc/mysql"],
        settings: &["MYSQL_TCP_PORT", "MYSQL_UNIX_PORT"],
        // healthcheck.sh is of 10.6.6, 10.5.14 and their like; mysqladmin went with 11. A server that was begun without
        // the script's own user is well, too: only whether it can be reached is asked.
        health: &[(ANY, MYSQL_HEALTH), ([10, 11, 0], &["CMD", "healthcheck.sh", "--connect"])],
        start: "120s",
        memory: Some("1536m"),
        secret: Some(Required {
            one_of: &[
                "MARIADB_ROOT_PASSWORD",
                "MARIADB_ROOT_PASSWORD_FILE",
                "MARIADB_ROOT_PASSWORD_HASH",
                "MARIADB_ROOT_PASSWORD_HASH_FILE",
                "MARIADB_RANDOM_ROOT_PASSWORD",
                "MYSQL_ROOT_PASSWORD",
                "MYSQL_ROOT_PASSWORD_FILE",
                "MYSQL_RANDOM_ROOT_PASSWORD",
            ],
            otherwise: "the image does not start",
            opens: &[("MARIADB_ALLOW_EMPTY_ROOT_PASSWORD", ""), ("MYSQL_ALLOW_EMPTY_PASSWORD", "")],
        }),
        ..NOTHING
    },
    Known {
        names: &["mongo"],
        since: [4, 0, 0],
        runs: &["mongod"],
        begins: Begins::Root(BECOMES),
        user: Some("mongodb"),
        data: &["/data/db", "/data/configdb"],
        writes: Some(&[]),
        configuration: &["/etc/mongod.conf", "/etc/mongod.conf.orig"],
        settings: &["TMPDIR"],
        options: &["--replSet", "--bind_ip"],
        // mongosh is certain from 6 on, and mongo is gone there.
        health: &[
            (ANY, &["CMD-SHELL", "mongo --quiet --eval 'db.adminCommand(\"ping\").ok' | grep -q 1"]),
            ([6, 0, 0], &["CMD-SHELL", "mongosh --quiet --eval 'db.adminCommand(\"ping\").ok' | grep -q 1"]),
        ],
        pace: ("30s", "15s"),
        memory: Some("2g"),
        secret: Some(Required {
            one_of: &["MONGO_INITDB_ROOT_PASSWORD", "MONGO_INITDB_ROOT_PASSWORD_FILE"],
            otherwise: "it asks nobody for a password",
            opens: &[],
        }),
        ..NOTHING
    },
    Known {
        names: &["redis"],
        since: [5, 0, 0],
        runs: &["redis-server"],
        begins: Begins::Root(BECOMES_BOUND),
        user: Some("redis"),
        data: &["/data"],
        writes: Some(&[]),
        settings: REDIS_SETTINGS,
        options: &["--dir=/data", "--dbfilename", "--appendfilename"],
        health: &[(ANY, REDIS_HEALTH)],
        memory: Some("1g"),
        open: REDIS,
        ..NOTHING
    },
    Known {
        names: &["redis/redis-stack-server"],
        health: &[(ANY, REDIS_HEALTH)],
        settings: &["REDIS_ARGS"],
        open: REDIS,
        ..NOTHING
    },
    Known {
        names: &["valkey/valkey", "valkey"],
        runs: &["valkey-server"],
        begins: Begins::Root(BECOMES_BOUND),
        user: Some("valkey"),
        data: &["/data"],
        writes: Some(&[]),
        settings: REDIS_SETTINGS,
        options: &["--dir=/data", "--dbfilename", "--appendfilename"],
        health: &[(ANY, &["CMD", "valkey-cli", "ping"])],
        memory: Some("1g"),
        open: REDIS,
        ..NOTHING
    },
    Known {
        names: &["rabbitmq"],
        since: [3, 9, 0],
        runs: &["rabbitmq-server"],
        begins: Begins::Root(BECOMES),
        user: Some("rabbitmq"),
        data: &["/var/lib/rabbitmq"],
        health: &[(ANY, &["CMD", "rabbitmq-diagnostics", "-q", "ping"])],
        start: "120s",
        pace: ("30s", "30s"),
        memory: Some("1g"),
        secret: Some(Required {
            one_of: &["RABBITMQ_DEFAULT_PASS", "RABBITMQ_DEFAULT_PASS_FILE", "RABBITMQ_CONFIG_FILE"],
            otherwise: "its user is `guest` with the password `guest`",
            opens: &[],
        }),
        ..NOTHING
    },
    // Root without a user to become, over folders of anybody; programs for its health come and go.
    Known {
        names: &["minio/minio", "minio"],
        secret: Some(Required {
            one_of: &["MINIO_ROOT_PASSWORD", "MINIO_ROOT_PASSWORD_FILE", "MINIO_SECRET_KEY", "MINIO_SECRET_KEY_FILE"],
            otherwise: "its user is `minioadmin` with the password `minioadmin`",
            opens: &[],
        }),
        ..NOTHING
    },
    Known {
        names: &["nginx"],
        since: [1, 10, 0],
        runs: &["nginx"],
        begins: Begins::Root(SERVES),
        writes: Some(&["/var/cache/nginx:size=256m", "/var/run:size=16m"]),
        configuration: &["/etc/nginx"],
        settings: &["NGINX_*"],
        options: &["daemon off"],
        memory: Some("768m"),
        is_alone: false,
        ..NOTHING
    },
    Known {
        names: &["httpd"],
        since: [2, 4, 0],
        runs: &["httpd-foreground"],
        begins: Begins::Root(SERVES),
        writes: Some(&["/usr/local/apache2/logs:size=64m"]),
        configuration: &["/usr/local/apache2/conf", "/usr/local/apache2/conf.d"],
        memory: Some("512m"),
        is_alone: false,
        ..NOTHING
    },
    Known {
        names: &["memcached"],
        since: [1, 5, 0],
        runs: &["memcached"],
        begins: Begins::User,
        user: Some("memcache"),
        writes: Some(&[]),
        memory: Some("512m"),
        ..NOTHING
    },
    Known {
        names: &["grafana/grafana", "grafana/grafana-oss", "grafana/grafana-enterprise"],
        since: [7, 3, 0],
        begins: Begins::User,
        user: Some("472"),
        data: &["/var/lib/grafana"],
        has_volume: false,
        writes: Some(&["/var/log/grafana:size=16m"]),
        configuration: &["/etc/grafana/grafana.ini", "/usr/share/grafana", "/run.sh"],
        settings: &["GF_PATHS_*", "GF_SERVER_*", "GF_AWS_PROFILES", "GF_LOG_MODE"],
        health: &[(ANY, &["CMD-SHELL", "wget -qO- http://127.0.0.1:3000/api/health || exit 1"])],
        unlike: &["ubuntu"],
        memory: Some("1g"),
        secret: Some(Required {
            one_of: &["GF_SECURITY_ADMIN_PASSWORD", "GF_SECURITY_ADMIN_PASSWORD__FILE"],
            otherwise: "its user is `admin` with the password `admin`",
            opens: &[],
        }),
        ..NOTHING
    },
    // What it needs depends on what it collects.
    Known {
        names: &["prom/prometheus", "prometheus/prometheus"],
        since: [2, 0, 0],
        data: &["/prometheus"],
        options: &["--config.file=", "--storage.tsdb.path=/prometheus", "--web.console.", "--storage.tsdb.retention"],
        health: &[(ANY, &["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:9090/-/healthy"])],
        ..PROMETHEUS
    },
    Known {
        names: &["prom/alertmanager", "prometheus/alertmanager"],
        since: [0, 15, 0],
        data: &["/alertmanager"],
        options: &["--config.file=", "--storage.path=/alertmanager"],
        health: &[(ANY, &["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:9093/-/healthy"])],
        memory: Some("512m"),
        ..PROMETHEUS
    },
    Known {
        names: &["prom/node-exporter", "prometheus/node-exporter"],
        since: [1, 0, 0],
        options: &["--path.", "--collector.", "--no-collector."],
        memory: Some("512m"),
        ..PROMETHEUS
    },
    // It writes its keystore, its logs and more beside its configuration, which a tmpfs would hide.
    Known {
        names: &["elasticsearch", "elasticsearch/elasticsearch"],
        since: [7, 0, 0],
        runs: &["elasticsearch"],
        configuration: &["/usr/share/elasticsearch/config/elasticsearch.yml"],
        settings: &["http.*", "network.*", "transport.*"],
        health: &[(
            ANY,
            &["CMD-SHELL", "curl -s http://127.0.0.1:9200 >/dev/null || curl -sk https://127.0.0.1:9200 >/dev/null"],
        )],
        start: "180s",
        memory: Some("2g"),
        open: Some(Open { port: "9200", closed_by: &[], opened_by: Some(("xpack.security.enabled", "false")) }),
        ..NOTHING
    },
];
