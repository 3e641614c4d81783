//! What is known of images that everybody runs: what they insist on, how their health is asked, what they write.
//!
//! Common knowledge: no image was opened for it. An image is known by the last part of its name, whoever's registry it comes from,
//! if its publisher is the usual one: `bitnami/postgresql` is another image with other variables.

use super::ingot::is_cast;
use super::node::Node;

/// One image.
pub struct Known {
    /// `postgres`; with its publisher where the image has one: `grafana/grafana`.
    names: &'static [&'static str],
    /// A user of the image who can run it when its data is in a volume of the engine.
    pub user: Option<&'static str>,
    /// What it must be able to do when it begins as root and then becomes somebody else.
    pub capabilities: &'static [&'static str],
    /// Folders that it writes to beside its volumes.
    pub writes: &'static [&'static str],
    /// Whether it writes where it is configured, and nothing can lie over that.
    pub writes_root: bool,
    /// Where its data is, if the image itself has no volume for it.
    pub data: &'static [&'static str],
    /// How its health is asked.
    pub health: &'static [&'static str],
    /// How long it may take to begin.
    pub start: &'static str,
    /// Memory that it needs to be of use.
    pub memory: &'static str,
    /// What it does not start without, or starts with a password that everybody knows.
    pub secret: Option<Required>,
    /// What is open to everybody who reaches it.
    pub open: Option<Open>,
}

/// A port behind which nobody is asked for a password.
pub struct Open {
    /// In the container.
    pub port: &'static str,
    /// What in a command may ask for one.
    pub closed_by: &'static [&'static str],
    /// A variable with the value that switches the question off, if it is asked otherwise.
    pub opened_by: Option<(&'static str, &'static str)>,
}

/// Variables of an image of which one must be set.
pub struct Required {
    /// Any of these with a value.
    pub one_of: &'static [&'static str],
    /// What happens otherwise.
    pub otherwise: &'static str,
    /// Variables that take the password away, with the value that does; any but a false one if there is none.
    pub opens: &'static [(&'static str, &'static str)],
}

const DROPS: &[&str] = &["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"];
const NOTHING: Known = Known {
    names: &[],
    user: None,
    capabilities: &[],
    writes: &[],
    writes_root: false,
    data: &[],
    health: &[],
    start: "10s",
    memory: "512m",
    secret: None,
    open: None,
};
const REDIS: Option<Open> =
    Some(Open { port: "6379", closed_by: &["requirepass", "aclfile", ".conf", "protected-mode"], opened_by: None });

const KNOWN: &[Known] = &[
    Known {
        names: &[
            "postgres",
            "postgis/postgis",
            "pgvector/pgvector",
            "timescale/timescaledb",
            "ankane/pgvector",
            "immich-app/postgres",
            "tensorchord/pgvecto-rs",
            "tensorchord/vchord-postgres",
        ],
        user: Some("postgres"),
        capabilities: DROPS,
        writes: &["/var/run/postgresql"],
        health: &[
            "CMD-SHELL",
            "pg_isready -U \"${POSTGRES_USER:-postgres}\" -d \"${POSTGRES_DB:-${POSTGRES_USER:-postgres}}\"",
        ],
        start: "30s",
        secret: Some(Required {
            one_of: &["POSTGRES_PASSWORD", "POSTGRES_PASSWORD_FILE"],
            otherwise: "the image does not start",
            opens: &[("POSTGRES_HOST_AUTH_METHOD", "trust")],
        }),
        ..NOTHING
    },
    Known {
        names: &["mysql", "percona"],
        user: Some("mysql"),
        capabilities: DROPS,
        writes: &["/var/run/mysqld"],
        health: &["CMD-SHELL", "mysqladmin ping -h 127.0.0.1 --silent"],
        start: "60s",
        memory: "1g",
        secret: Some(Required {
            one_of: &["MYSQL_ROOT_PASSWORD", "MYSQL_ROOT_PASSWORD_FILE", "MYSQL_RANDOM_ROOT_PASSWORD"],
            otherwise: "the image does not start",
            opens: &[("MYSQL_ALLOW_EMPTY_PASSWORD", "")],
        }),
        ..NOTHING
    },
    Known {
        names: &["mariadb"],
        user: Some("mysql"),
        capabilities: DROPS,
        writes: &["/run/mysqld"],
        health: &["CMD", "healthcheck.sh", "--connect", "--innodb_initialized"],
        start: "60s",
        memory: "1g",
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
        user: Some("mongodb"),
        capabilities: DROPS,
        health: &["CMD-SHELL", "mongosh --quiet --eval 'db.adminCommand(\"ping\").ok' | grep -q 1"],
        start: "30s",
        memory: "1g",
        secret: Some(Required {
            one_of: &["MONGO_INITDB_ROOT_PASSWORD", "MONGO_INITDB_ROOT_PASSWORD_FILE"],
            otherwise: "it asks nobody for a password",
            opens: &[],
        }),
        ..NOTHING
    },
    Known {
        names: &["redis", "redis/redis-stack-server"],
        user: Some("redis"),
        capabilities: DROPS,
        health: &["CMD", "redis-cli", "ping"],
        open: REDIS,
        ..NOTHING
    },
    Known {
        names: &["valkey/valkey", "valkey"],
        user: Some("valkey"),
        capabilities: DROPS,
        health: &["CMD", "valkey-cli", "ping"],
        open: REDIS,
        ..NOTHING
    },
    Known {
        names: &["rabbitmq"],
        user: Some("rabbitmq"),
        capabilities: DROPS,
        health: &["CMD", "rabbitmq-diagnostics", "-q", "ping"],
        start: "60s",
        secret: Some(Required {
            one_of: &["RABBITMQ_DEFAULT_PASS", "RABBITMQ_DEFAULT_PASS_FILE", "RABBITMQ_CONFIG_FILE"],
            otherwise: "its user is `guest` with the password `guest`",
            opens: &[],
        }),
        ..NOTHING
    },
    Known {
        names: &["minio/minio", "minio"],
        secret: Some(Required {
            one_of: &["MINIO_ROOT_PASSWORD", "MINIO_ROOT_PASSWORD_FILE", "MINIO_SECRET_KEY", "MINIO_SECRET_KEY_FILE"],
            otherwise: "its user is `minioadmin` with the password `minioadmin`",
            opens: &[],
        }),
        health: &["CMD", "mc", "ready", "local"],
        ..NOTHING
    },
    Known {
        names: &["nginx"],
        capabilities: &["CHOWN", "NET_BIND_SERVICE", "SETGID", "SETUID"],
        writes: &["/var/cache/nginx", "/var/run"],
        ..NOTHING
    },
    Known {
        names: &["httpd"],
        capabilities: &["NET_BIND_SERVICE", "SETGID", "SETUID"],
        writes: &["/usr/local/apache2/logs"],
        ..NOTHING
    },
    Known { names: &["memcached"], ..NOTHING },
    Known {
        names: &["grafana/grafana", "grafana/grafana-oss", "grafana/grafana-enterprise"],
        data: &["/var/lib/grafana"],
        health: &["CMD-SHELL", "wget -qO- http://127.0.0.1:3000/api/health || exit 1"],
        start: "30s",
        secret: Some(Required {
            one_of: &["GF_SECURITY_ADMIN_PASSWORD", "GF_SECURITY_ADMIN_PASSWORD__FILE"],
            otherwise: "its user is `admin` with the password `admin`",
            opens: &[],
        }),
        ..NOTHING
    },
    Known {
        names: &["elasticsearch", "elasticsearch/elasticsearch"],
        health: &[
            "CMD-SHELL",
            "curl -s http://127.0.0.1:9200 >/dev/null || curl -sk https://127.0.0.1:9200 >/dev/null",
        ],
        start: "60s",
        memory: "2g",
        writes_root: true,
        open: Some(Open { port: "9200", closed_by: &[], opened_by: Some(("xpack.security.enabled", "false")) }),
        ..NOTHING
    },
    Known { names: &["opensearchproject/opensearch"], writes_root: true, memory: "2g", start: "60s", ..NOTHING },
    Known { names: &["neo4j"], capabilities: DROPS, writes_root: true, memory: "2g", start: "60s", ..NOTHING },
    Known {
        names: &["confluentinc/cp-kafka", "apache/kafka", "confluentinc/cp-server"],
        writes_root: true,
        memory: "2g",
        start: "60s",
        ..NOTHING
    },
];

/// How the health of an image is asked, in the words that its tag knows: older ones lack a program.
pub fn health(known: &Known, service: &Node) -> &'static [&'static str] {
    let image = service.get("image").and_then(Node::scalar).unwrap_or_default();
    let tag =
        image.split('@').next().and_then(|name| name.rsplit('/').next()?.split_once(':')).map_or("", |(_, tag)| tag);
    let version = tag.split('-').next().unwrap_or_default();
    let parts: Vec<u32> = version.split('.').map_while(|part| part.parse().ok()).collect();
    let is_old = |first: &[u32]| !parts.is_empty() && parts[..] < *first;
    match known.names {
        ["mongo"] if is_old(&[5]) => &["CMD-SHELL", "mongo --quiet --eval 'db.adminCommand(\"ping\").ok' | grep -q 1"],
        // healthcheck.sh came with these.
        ["mariadb"] if MARIADB.iter().any(|(from, to)| is_old(to) && parts[..] >= **from) => {
            &["CMD-SHELL", "mysqladmin ping -h 127.0.0.1 --silent"]
        }
        _ => known.health,
    }
}

/// Releases of mariadb without a program for its health: from, and until before.
const MARIADB: [(&[u32], &[u32]); 5] = [
    (&[0], &[10, 4]),
    (&[10, 4, 0], &[10, 4, 23]),
    (&[10, 5, 0], &[10, 5, 14]),
    (&[10, 6, 0], &[10, 6, 6]),
    (&[10, 7, 0], &[10, 7, 2]),
];

/// Whether a service runs what its image is for, and no script or other program of it.
fn runs_itself(service: &Node) -> bool {
    let words = |key: &str| -> Vec<String> {
        let Some(node) = service.get(key) else { return Vec::new() };
        let list = node.list().unwrap_or_default().iter().filter_map(Node::scalar).map(str::to_string);
        node.scalar().unwrap_or_default().split_whitespace().map(str::to_string).chain(list).collect()
    };
    let (entrypoint, command) = (words("entrypoint"), words("command"));
    let begins = entrypoint.iter().chain(&command).any(|word| word.contains("docker-entrypoint"));
    let first = command.first().map(|word| word.rsplit('/').next().unwrap_or(word));
    begins || entrypoint.is_empty() && !matches!(first, Some("sh" | "bash" | "ash"))
}

/// What is known of the image that a service runs. An image that is built here is not known, and neither is one that runs
/// another program than its own.
pub fn known(service: &Node) -> Option<&'static Known> {
    if service.get("build").is_some() || is_cast(service) || !runs_itself(service) {
        return None;
    }
    let image = service.get("image")?.scalar()?;
    let name = image.split('@').next().unwrap_or_default();
    let (folder, last) = name.rsplit_once('/').unwrap_or(("", name));
    let last = last.split(':').next().unwrap_or_default();
    let publisher = folder.rsplit('/').next().unwrap_or_default();
    let is_host = publisher.contains(['.', ':']) || publisher == "localhost";
    let is_official = publisher.is_empty() || is_host || publisher == "library";
    let full = if is_official { last.to_string() } else { format!("{publisher}/{last}") };
    KNOWN.iter().find(|known| known.names.contains(&full.as_str()))
}
