use super::*;
use crate::project::RulesSpec;
use crate::stack::{Request, rules};

/// A service that passes every rule.
const GOOD: &str = "services:
  a:
    image: registry.example/a:1@sha256:0000000000000000000000000000000000000000000000000000000000000000
    user: \"1001:1001\"
    read_only: true
    tmpfs: [\"/tmp:size=16m\"]
    cap_drop: [ALL]
    security_opt: [\"no-new-privileges:true\"]
    mem_limit: 256m
    cpus: 0.5
    pids_limit: 100
    ports: [\"127.0.0.1:8080:80\"]
    healthcheck: {test: [CMD, x]}
    restart: on-failure:5
";

fn findings(text: &str, production: bool) -> Vec<Finding> {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
    std::fs::create_dir(folder.path().join("src")).unwrap();
    std::fs::create_dir_all(folder.path().join("front/lib")).unwrap();
    std::fs::create_dir(folder.path().join("closed")).unwrap();
    std::fs::set_permissions(folder.path().join("closed"), std::fs::Permissions::from_mode(0o700)).unwrap();
    for (name, text, mode) in [
        ("app.py", "", 0o600),
        ("src/app.py", "", 0o600),
        ("weak.env", "# c\nDB_PASSWORD=postgres\n", 0o600),
        ("good.env", "DB_PASSWORD=k2J9xQ7vRt4Wm8Zs\n", 0o600),
        ("weak.txt", "changeme\n", 0o600),
        ("empty.txt", "\n", 0o600),
        ("open.txt", "k2J9xQ7vRt4Wm8Zs\n", 0o644),
        ("closed/open.txt", "k2J9xQ7vRt4Wm8Zs\n", 0o644),
        ("good.txt", "k2J9xQ7vRt4Wm8Zs\n", 0o600),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    std::os::unix::fs::symlink("/var/run", folder.path().join("innocent")).unwrap();
    std::os::unix::fs::symlink("/var/run/user/4711", folder.path().join("broken")).unwrap();
    let environment = [("FROM_OUTSIDE", "k2J9xQ7vRt4Wm8Zs"), ("HOME", "/srv/people/bob")];
    let environment = environment.map(|(name, value)| (name.to_string(), value.to_string())).into();
    let request = Request { folder: Some(folder.path().into()), environment, ..Request::default() };
    let stack = Stack::load(&request).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let policy = Policy::new(rules(), &RulesSpec::default(), &[], "docs/stack.md").unwrap();
    check(&stack, &policy, production).findings
}

fn fired(text: &str, production: bool) -> Vec<String> {
    findings(text, production).into_iter().map(|finding| finding.rule).collect()
}

/// The good service with a line more, or without one.
fn changed(change: &str) -> String {
    match change.strip_prefix("- ") {
        Some(key) => {
            GOOD.lines().filter(|line| !line.trim_start().starts_with(key)).map(|line| format!("{line}\n")).collect()
        }
        None => format!("{GOOD}    {change}\n"),
    }
}

#[test]
fn the_good_service_passes() {
    assert_eq!(findings(GOOD, true), []);
}

#[test]
fn every_rule_fires_and_only_where_it_should() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        (
            "capability-added",
            &["cap_add: [SYS_ADMIN]", "cap_add: [cap_sys_ptrace]"],
            &["cap_add: [NET_BIND_SERVICE, cap_chown, NET_RAW]"],
        ),
        ("capabilities-kept", &["- cap_drop"], &[]),
        ("cgroup-parent", &["cgroup_parent: x"], &[]),
        (
            "cpu-limit",
            &["- cpus", "cpus: '0.0'", "cpus: 0", "cpus: -1", "- cpus\n    cpu_quota: -1"],
            &["deploy: {resources: {limits: {cpus: '1'}}}", "- cpus\n    cpu_quota: 50000", "cpus: .5"],
        ),
        (
            "development",
            &[
                "environment: {FLASK_DEBUG: 1}",
                "environment: [NODE_ENV=development]",
                "environment: {debug: 'True'}",
                "command: flask run --host 0.0.0.0",
                "command: [python, -m, flask, run]",
                "command: ['sh', '-c', 'npm ci && ./node_modules/.bin/nodemon app.js']",
                "command: uvicorn app:app --reload",
                "entrypoint: [node, '--inspect=0.0.0.0', app.js]",
                "ports: ['127.0.0.1:9229:9229']",
                "volumes: ['.:/srv']",
                "volumes: ['./src:/app']",
                "build: ./src\n    volumes: ['./src:/x']",
                "build: ./front\n    volumes: ['./front/lib:/code/lib']",
                "build: {context: ., target: dev}",
                "build: {context: ., args: {NODE_ENV: development}}",
                "build: {context: ., args: [DEBUG=1]}",
                "command: npm run start-watch",
                "ports: ['127.0.0.1:9230:9230']",
                "ports: ['127.0.0.1:5678:5678']",
                "develop: {watch: [{path: ., action: rebuild}]}",
            ],
            &[
                "environment: {FLASK_DEBUG: 0, NODE_ENV: production, DEBUG: ''}",
                "command: [gunicorn, 'app:app']",
                "command: echo air is fine",
                "volumes: ['./nginx.conf:/etc/nginx/nginx.conf:ro', 'data:/app']\nvolumes: {data: }",
                "volumes: ['./data:/data']",
                "build: {context: ., target: production, args: {NODE_ENV: production}}\n    volumes: ['./data:/data']",
                "build: ./front\n    volumes: ['./front/nginx.conf:/etc/nginx/nginx.conf:ro']",
                "volumes: ['./wordpress_data:/var/www/html']",
                "image: n8nio/n8n\n    ports: ['127.0.0.1:5678:5678']",
            ],
        ),
        ("device", &["devices: ['/dev/sda:/dev/sda']", "device_cgroup_rules: ['c 1:3 mr']"], &["devices: []"]),
        (
            "engine-socket",
            &[
                "volumes: ['/var/run/docker.sock:/x']",
                "volumes: ['/run:/x:ro']",
                "volumes: ['/var/../run/./podman:/x']",
                "volumes: ['./innocent:/x']",
                "use_api_socket: true",
                "volumes: ['/:/host:ro']",
                "volumes: ['/var:/x']",
                "volumes: ['/run/user/1000:/x']",
                "volumes: ['/run/user/1000/podman:/x']",
                "volumes: ['/srv/docker.sock:/x']",
                "volumes: ['v:/x']\nvolumes: {v: {driver_opts: {type: none, o: 'bind,ro', device: /var/run}}}",
                "volumes: ['v:/x']\nvolumes: {v: {driver_opts: {type: none, o: bind, device: ./innocent}}}",
                "volumes_from: [b]\n  b: {image: i, volumes: ['/var/run/docker.sock:/x']}",
                // c has it from b, which has it from d.
                "volumes_from: [b]\n  b: {image: i, volumes_from: ['d:ro', a]}\n  d: {image: i, volumes: ['/run:/x']}",
                "volumes_from: ['container:its']\n  b: {image: i, container_name: its, volumes: ['/run:/x']}",
                "volumes_from: [b]\n  b: {image: i, volumes: ['v:/x']}\nvolumes: {v: {driver_opts: {type: overlay, device: overlay, o: 'lowerdir=/var/run'}}}",
                "volumes: ['/run/cri-dockerd.sock:/x']",
                "volumes: ['/var/run/cri-dockerd.sock:/x']",
                "volumes: ['/run/dockershim.sock:/x']",
                "volumes: ['/run/containerd/containerd.sock.ttrpc:/x']",
                "volumes: ['~/.colima:/x']",
                "volumes: ['/home/bob/.colima/default:/x']",
                "volumes: ['/home/bob/.colima/default/docker.sock:/x']",
                "volumes: ['~/.lima/docker/sock:/x']",
                "volumes: ['~/.orbstack/run:/x']",
                "volumes: ['/Users/bob/.rd:/x']",
                "volumes: ['~/.docker/run:/x']",
                "volumes: ['${HOME}/.docker/desktop:/x']",
                "volumes: ['/var/run/user/1000/podman:/x']",
                "volumes: ['/var/run/user/1000:/x']",
                "volumes: ['/var/run/user:/x']",
                "volumes: ['./broken/podman:/x']",
                "volumes: ['v:/x']\nvolumes: {v: {driver_opts: {type: None, o: ' bind', device: './innocent'}}}",
                "environment: {DOCKER_HOST: 'tcp://proxy:2375'}",
                "environment: [\"CONTAINER_HOST=unix://@abstract\"]",
                "secrets: [k]\nsecrets: {k: {file: /var/run/docker.sock}}",
            ],
            &[
                "volumes: ['./data:/run']",
                "volumes: ['./docker:/x']",
                "environment: {DOCKER_HOST: ''}",
                "volumes_from: [b]\n  b: {image: i, volumes: ['./x:/x']}",
                "volumes_from: [b]\n  b: {image: i, volumes_from: [d]}\n  d: {image: i, volumes_from: [b]}",
                "volumes: ['./.docker/run:/x', './.colima:/y']",
                "volumes: ['/run/udev:/x:ro', '/run/user/1000/pulse:/y', '/var/runner:/z']",
                "volumes: ['~/.docker/config.json:/x', '~:/y', '~/.local/share:/z']",
                "build: {context: /}",
            ],
        ),
        (
            "gpu-ignored",
            &[
                "deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 1}]}}}",
                "deploy: {resources: {reservations: {devices: [{count: 1, device_ids: ['0'], capabilities: [gpu]}]}}}",
                "environment: {NVIDIA_VISIBLE_DEVICES: all}",
                "runtime: nvidia",
                "gpus: []",
                "deploy: {resources: {reservations: {devices: [{driver: nvidia, capabilities: [tpu]}]}}}",
                "deploy: {resources: {reservations: {devices: [{count: 0, capabilities: [gpu]}]}}}",
                "deploy: {resources: {reservations: {generic_resources: [{discrete_resource_spec: {kind: gpu, value: 1}}]}}}",
                "deploy: {resources: {limits: {devices: [{count: 1, capabilities: [gpu]}]}}}",
            ],
            &[
                "deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 1, capabilities: [gpu]}]}}}",
                "deploy: {resources: {reservations: {devices: [{driver: cdi, device_ids: [nvidia.com/gpu=all], capabilities: [gpu]}]}}}",
                "gpus: all",
                "gpus: [{count: 2}]",
                "environment: {NVIDIA_VISIBLE_DEVICES: none}",
            ],
        ),
        (
            "healthcheck-missing",
            &["- healthcheck", "- healthcheck\n  b: {image: i, healthcheck: {test: [CMD, x]}, depends_on: [a]}"],
            &[
                "- healthcheck\n  b: {image: i, healthcheck: {test: [CMD, x]}, depends_on: {a: {condition: service_completed_successfully}}}",
            ],
        ),
        (
            "host-mount",
            &[
                "volumes: ['/:/host']",
                "volumes: ['/etc/passwd:/x:ro']",
                "volumes: ['/etc/ssl/certs:/x']",
                "volumes: ['/var/run/dbus/system_bus_socket:/x:ro']",
                "volumes: ['/var/run/systemd:/x']",
                "volumes: ['/run/systemd/private:/x']",
                "volumes: ['~:/x']",
                "volumes: ['~/:/x']",
                "volumes: ['${HOME}:/x']",
                "volumes: ['/home/../home/bob/:/x']",
                "volumes: ['/root:/x']",
                "volumes: ['/Users/bob:/x']",
                "volumes: ['/home:/x']",
                "volumes: ['/var/spool:/x']",
                "volumes: ['/bin:/x:ro']",
                "volumes: ['/sbin:/x']",
                "volumes: ['/lib/systemd:/x']",
                "volumes: ['/lib64:/x']",
                "volumes: ['/opt:/x']",
                "volumes: ['/var/lib:/x']",
                "volumes: ['/var/lib/docker/containers:/x:ro']",
                "volumes: ['/var/lib/systemd:/x']",
                "volumes: ['/var/lib/etcd:/x:ro']",
                "volumes: ['/usr/share/python3:/x']",
                "volumes: ['/usr/src:/x']",
                "volumes: ['/etc/shop/private/k.pem:/x:ro']",
                "volumes: ['/home/bob2/.netrc:/x:ro']",
                "volumes: ['/run/libvirt/libvirt-sock:/x']",
                "volumes: ['/usr:/x:ro']",
                "volumes: ['/usr/local/bin:/x']",
                "volumes: ['/usr/share/polkit-1/rules.d:/x']",
                "volumes: ['/lib/modules:/lib/modules']",
                "volumes: ['/etc/nginx/conf.d:/x']",
                "volumes: ['/etc/cron.d:/x']",
                "volumes: ['/etc/ssh/ssh_host_rsa_key:/x:ro']",
                "volumes: ['/etc/shadow:/x:ro']",
                "volumes: ['/etc/localtime:/etc/localtime']",
                "build: {context: /etc}",
                "build: {context: ., additional_contexts: {keys: ~/.ssh}}",
                "build: {context: ., additional_contexts: ['all=/']}",
                "volumes: ['/run/dbus/system_bus_socket:/x:ro']",
                "volumes: ['/home/bob:/x']",
                "volumes: ['/var/spool/cron:/x']",
                "logging: {driver: k8s-file, options: {path: /etc/cron.d/x}}",
                "volumes: ['v:/x']\nvolumes: {v: {driver_opts: {type: overlay, device: overlay, o: 'lowerdir=/,upperdir=/tmp/u,workdir=/tmp/w'}}}",
                "volumes: ['v:/x']\nvolumes: {v: {driver_opts: {type: ext4, device: /dev/sda1}}}",
                "volumes: ['v:/x']\nvolumes: {v: {driver_opts: {type: proc, device: proc}}}",
                "volumes: ['/etc/localtime/../shadow:/x:ro']",
                "secrets: [k]\nsecrets: {k: {file: /etc/ssl/private/key.pem}}",
                "secrets: [k]\nsecrets: {k: {file: /etc/shadow}}",
                "volumes: ['~/.ssh:/x']",
                "volumes: [{type: bind, source: //proc/, target: /x}]",
                "volumes: ['v:/x']\nvolumes: {v: {driver_opts: {type: none, o: bind, device: /}}}",
                "secrets: [k]\nsecrets: {k: {file: /root/.ssh/id_rsa}}",
                "volumes_from: ['container:other']",
                "build: {context: /}",
            ],
            &[
                "volumes: ['./etc:/x']",
                "volumes: ['/srv/data:/x']",
                "volumes: ['/etc/localtime:/etc/localtime:ro', '/etc/timezone:/etc/timezone:ro', '/usr/share/zoneinfo:/z:ro']",
                "volumes: ['/etc/ssl/certs:/etc/ssl/certs:ro', '/etc/hosts:/etc/hosts:ro', '/lib/modules:/lib/modules:ro']",
                "volumes: ['./config/.config/app:/x', './.docker/php.ini:/y', './.aws:/z']",
                "volumes: ['/opt/app/data:/x', '/home/bob/app/data:/y', '/library:/z', '/var/runner:/a']",
                "volumes: ['/var/lib/grafana:/x', '/var/lib/postgresql/data:/y', '/usr/share/appdata/x:/z', '/usr/local/share/x:/a']",
                "volumes: ['/etc/nginx/conf.d:/x:ro', '/etc/letsencrypt/live/x/fullchain.pem:/y:ro', '/etc/letsencrypt:/z:ro']",
                "volumes: ['/etc/resolv.conf:/x:ro', '/etc/os-release:/y:ro', '/proc/meminfo:/z:ro', '/sys/class/thermal:/a:ro']",
                "build: {context: /usr/src/app}",
                "build: {context: ., additional_contexts: {src: ../lib, base: 'docker-image://x', other: 'service:a'}}",
                "build: {context: 'https://git.example/x.git#main:etc'}",
                "secrets: [k]\nsecrets: {k: {file: /etc/shop/secrets/password}}",
            ],
        ),
        (
            "host-namespace",
            &[
                "pid: 'ns:/proc/1/ns/pid'",
                "pid: host",
                "ipc: host",
                "uts: host",
                "userns_mode: host",
                "pid: 'container:x'",
                "cgroup: host",
            ],
            &["ipc: private"],
        ),
        (
            "host-network",
            &["network_mode: host", "network_mode: 'container:x'", "network_mode: 'ns:/proc/1/ns/net'"],
            &["network_mode: none", "network_mode: bridge"],
        ),
        ("image-moves", &["image: postgres:16"], &["image: postgres@sha256:1"]),
        (
            "memory-limit",
            &["- mem_limit", "mem_limit: 0m", "mem_limit: '0'", "mem_limit: 0.0g", "mem_limit: -1"],
            &["deploy: {resources: {limits: {memory: 1g}}}", "mem_limit: 100000000", "mem_limit: 0.5GB"],
        ),
        ("new-privileges", &["- security_opt"], &[]),
        ("pids-limit", &["- pids_limit", "pids_limit: -1", "pids_limit: 0"], &["pids_limit: 10"]),
        ("port-low", &["ports: ['127.0.0.1:80:80']"], &["ports: ['127.0.0.1:8080:80']"]),
        (
            "port-public",
            &[
                "ports: ['8080:80']",
                "ports: [80]",
                "ports: ['0.0.0.0:8080:80']",
                "ports: ['[::0]:8080:80']",
                "ports: [{target: 80, host_ip: '0'}]",
                "ports: [{target: 80, host_ip: '[::]'}]",
                "ports: [{target: 80, host_ip: '::ffff:0.0.0.0'}]",
                "ports: [{target: 80, published: 8080, host_ip: '${UNSET_ONE}'}]",
            ],
            &["ports: ['[::1]:8080:80']", "ports: ['192.168.1.5:8080:80']"],
        ),
        (
            "privileged",
            &[
                "privileged: true",
                "post_start: [{command: x, privileged: true}]",
                "build: {context: ., entitlements: [security.insecure]}",
            ],
            &["privileged: false", "build: ."],
        ),
        (
            "provider",
            &[
                "provider: {type: x}",
                "runtime: ./evil.sh",
                "runtime: /bin/sh",
                "runtime: io.containerd./../x",
                "runtime: evil",
            ],
            &[
                "runtime: runsc",
                "runtime: io.containerd.wasmedge.v1",
                "runtime: io.containerd.kata.v2",
                "runtime: kata-qemu",
            ],
        ),
        (
            "propagation",
            &["volumes: [{type: bind, source: ./x, target: /x, bind: {propagation: rshared}}]"],
            &["volumes: ['./x:/x']"],
        ),
        ("restart-always", &["restart: always"], &["restart: 'no'"]),
        (
            "root-user",
            &[
                "- user",
                "user: root",
                "user: '0:0'",
                "user: '00:1'",
                "user: ':1'",
                "user: ':0'",
                "user: ''",
                "user: '${UNSET_ONE}'",
                "group_add: ['0']",
            ],
            &["user: app"],
        ),
        (
            "secret-file",
            &[
                "tty: true\nsecrets: {k: {file: ./weak.txt}}",
                "tty: true\nsecrets: {k: {file: ./empty.txt}}",
                "tty: true\nsecrets: {k: {file: ./open.txt}}",
                "tty: true\nsecrets: {k: {file: ./none.txt}}",
                "tty: true\nsecrets: {k: {file: ./src}}",
            ],
            &[
                "tty: true\nsecrets: {k: {file: ./good.txt}, l: {file: /somewhere/else}, m: {environment: FROM_OUTSIDE}}",
                "tty: true\nsecrets: {k: {external: true}}",
                "tty: true\nsecrets: {k: {file: ./closed/open.txt}}",
            ],
        ),
        (
            "secret-missing",
            &[
                "image: postgres:16",
                "image: docker.io/library/postgres:16@sha256:1\n    environment: {POSTGRES_HOST_AUTH_METHOD: trust}",
                "image: mysql\n    environment: {MYSQL_ALLOW_EMPTY_PASSWORD: 'yes'}",
                "image: rabbitmq:3-management",
                "image: quay.io/minio/minio\n    environment: {MINIO_ROOT_USER: me}",
                "image: mongo",
                "image: postgres\n    environment: [POSTGRES_PASSWORD]",
                "image: ghcr.io/immich-app/postgres:14",
                "image: grafana/grafana-enterprise",
                "image: postgres\n    command: [docker-entrypoint.sh, postgres]",
                "image: mongo:7\n    entrypoint: [/usr/bin/mongod, --bind_ip_all]",
                "image: mongo:7\n    command: [sh, -c, 'exec mongod --bind_ip_all']",
                "image: grafana/grafana\n    entrypoint: [/run.sh]",
                "image: redis:7\n    ports: ['6379:6379']",
                "image: valkey/valkey\n    command: valkey-server --save 60 1\n    ports: ['192.168.1.5:7000:6379']",
                "image: elasticsearch:8\n    environment: [xpack.security.enabled=false]\n    ports: ['9200:9200']",
            ],
            &[
                "image: postgres\n    environment: {POSTGRES_PASSWORD_FILE: /run/secrets/x}",
                "image: postgres\n    environment: {POSTGRES_PASSWORD: '${FROM_OUTSIDE}'}",
                "image: mysql\n    environment: {MYSQL_RANDOM_ROOT_PASSWORD: 'yes'}",
                "image: bitnami/postgresql",
                "image: postgres\n    build: .",
                "image: redis",
                "image: redis\n    ports: ['127.0.0.1:6379:6379', '80:80']",
                "image: redis\n    command: redis-server --requirepass x\n    ports: ['6379:6379']",
                "image: redis\n    volumes: ['./r.conf:/etc/redis.conf:ro']\n    ports: ['6379:6379']",
                "image: elasticsearch:8\n    ports: ['9200:9200']",
                "image: mongo:3\n    entrypoint: [bash, /setup.sh]",
                "image: postgres\n    command: [sh, -c, 'psql -h db']",
            ],
        ),
        (
            "secret-value",
            &[
                "environment: {DB_PASSWORD: hunter2x9}",
                "environment: [POSTGRES_PASSWORD=postgres]",
                "environment: {JWT_SECRET: ''}",
                "environment: {API_KEY: k2J9xQ7vRt4Wm8ZsX}",
                "environment: {A_SECRET: change-me-please-1}",
                "environment: {URL: 'postgres://u:k2J9xQ7vRt4Wm8Zs@db/x'}",
                "environment: {FLASK_SECRET_KEY: '${UNSET_ONE:-dev}'}",
                "environment: {JWT_SECRET: '${UNSET_ONE}'}",
                "environment: {JWT_SECRET: '${UNSET_ONE:-k2J9xQ7vRt4Wm8ZsX}'}",
                "environment: {JWT_SECRET: aaaaaaaaaaaaaaaa}",
                // What looks like a number, a name, a switch or a published key, and is a secret.
                "environment: {DB_PASSWORD: 123456}",
                "environment: {MAX_PASSWORD: hunter2x9}",
                "environment: {API_TOKEN: '100'}",
                "environment: {MAX_TOKEN: k2J9xQ7vRt4Wm8ZsX}",
                "environment: {DB_PASSWORD: '1'}",
                "environment: {DB_PASSWORD: ''}",
                "environment: {DASHBOARD_PASSWORD: '${UNSET_ONE}'}",
                "environment: {DBPASS: changeme1}",
                "environment: {SVC_JWTSECRET: changeme1}",
                "environment: {DB_KEY_BASE: long-and-random-alphanumeric-string}",
                "environment: {apiKey: k2J9xQ7vRt4Wm8ZsX}",
                "environment: {DATABASE_URL: 'postgres://postgres:postgres@db/x'}",
                "environment: {CONN: 'postgresql+psycopg2://airflow:${UNSET_ONE:-airflow}@db/a'}",
                "environment: {FERNET_KEY: ''}",
                "environment: {MYSQL_ROOT_PASSWORD: '${UNSET_ONE:-}'}",
                "environment: {DB_PASSWORD: '$$ecretPass99'}",
                "environment: {DB_PASSWORD: '$$2b$$10$$k2J9xQ7vRt4Wm8ZsX'}",
                "environment: {NEXT_PUBLIC_DB_PASSWORD: k2J9xQ7vRt4Wm8ZsX}",
                "environment: {NEXT_PUBLIC_API_KEY: 'postgres://u:k2J9xQ7vRt4Wm8Zs@db/x'}",
                "environment: {REPUBLIC_API_KEY: k2J9xQ7vRt4Wm8ZsX}",
                "env_file: weak.env",
            ],
            &[
                "environment: {DB_PASSWORD: '${FROM_OUTSIDE}'}",
                "environment: [DB_PASSWORD]",
                "environment: {DB_PASSWORD_FILE: /run/secrets/x}",
                "environment: {TOKENS: 3, MAX_TOKEN: '100', COST_PER_TOKEN: 0.002, SECONDS_TO_RESET_PASSWORD: 3600, TTL_OF_TOKEN: 15m}",
                "environment: {NEXT_PUBLIC_API_KEY: k2J9xQ7vRt4Wm8ZsX, VITE_MAP_TOKEN: k2J9xQ7vRt4Wm8ZsX, PUBLIC_ACCESS_KEY: x}",
                "environment: {TOKEN: '', GITHUB_TOKEN: , API_KEY: '${UNSET_ONE:-}', OPENAI_API_KEY: '${UNSET_ONE}'}",
                "environment: {MINIO_ACCESS_KEY: k2J9xQ7vRt4Wm8ZsX}",
                "environment: {OAUTH_GITHUB_APP_SECRET: '', SMTP_PASSWORD: '', DOVECOT_MASTER_PASS: '${UNSET_ONE:-}'}",
                "environment: {DATABASE_URL: 'postgres://me:${FROM_OUTSIDE}@db/x', REDIS_URL: 'redis://:$$PASS@r'}",
                "environment: {DB_PASSWORD: '$$DB_PASS', JWT_SECRET: '$${JWT}', API_KEY: '$$(cat /run/x)'}",
                "environment: {SEND_TOKEN: true, FORCE_CHANGE_PASSWORD: 'no', CSRF_TOKEN: off}",
                "environment: {MYSQL_ALLOW_EMPTY_PASSWORD: 'no', MYSQL_RANDOM_ROOT_PASSWORD: 1}",
                "environment: {DB_PASSWORD: /run/secrets/db}",
                "env_file: good.env",
            ],
        ),
        (
            "security-off",
            &[
                "security_opt: ['no-new-privileges:true', 'seccomp=unconfined']",
                "security_opt: ['apparmor:unconfined']",
                "security_opt: ['label=disable']",
                "security_opt: ['unmask=ALL']",
                "security_opt: ['label=type:spc_t']",
            ],
            &["security_opt: ['no-new-privileges']"],
        ),
        (
            "variable-unset",
            &["hostname: $NOWHERE", "environment: {OPENAI_API_KEY: $NOWHERE}"],
            // A secret that is empty is told as that.
            &["hostname: ${NOWHERE:-x}", "environment: {DASHBOARD_PASSWORD: $NOWHERE}"],
        ),
        ("writable-root", &["- read_only", "read_only: false"], &[]),
    ];
    let told: Vec<&str> = cases.iter().map(|(rule, ..)| *rule).collect();
    let known: Vec<&str> = rules().iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(
        {
            let mut told = told.clone();
            told.sort();
            told
        },
        known,
        "every rule has its case"
    );
    let mut wrong = Vec::new();
    for (rule, breaking, passing) in cases {
        // A key that is changed stands for the good one.
        let with = |change: &str| {
            let changed_keys = change.lines().enumerate().filter(|(at, line)| {
                *at == 0 && !line.starts_with("- ") || line.starts_with("    ") && !line.starts_with("     ")
            });
            let keys: Vec<&str> = changed_keys.map(|(_, line)| line.trim().split(':').next().unwrap()).collect();
            let removed = change.strip_prefix("- ").map(|rest| rest.lines().next().unwrap());
            // Limits stand in one table: those of `deploy`, if it has some.
            let limits: &[&str] = if change.contains("limits") { &["mem_limit", "cpus", "pids_limit"] } else { &[] };
            let gone: Vec<&str> = keys.iter().chain(&removed).chain(limits).copied().collect();
            let is_kept = |line: &&str| !gone.iter().any(|key| line.trim_start().starts_with(&format!("{key}:")));
            let base: String = GOOD.lines().filter(is_kept).map(|line| format!("{line}\n")).collect();
            match (removed, change.split_once('\n')) {
                (Some(_), more) => format!("{base}{}\n", more.map_or("", |(_, more)| more)),
                (None, _) => format!("{base}    {change}\n"),
            }
        };
        let production = *rule == "development";
        for change in *breaking {
            let fired = fired(&with(change), production);
            if !fired.contains(&rule.to_string()) {
                wrong.push(format!("{rule} does not fire: {change}: {fired:?}"));
            }
        }
        for change in *passing {
            if fired(&with(change), production).contains(&rule.to_string()) {
                wrong.push(format!("{rule} fires: {change}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn findings_have_their_line_and_no_secret() {
    let text = changed("environment: {DB_PASSWORD: k2J9xQ7vRt4Wm8ZsX}");
    for (production, severity) in [(false, Severity::Warning), (true, Severity::Error)] {
        let found = findings(&text, production);
        assert_eq!((found.len(), found[0].severity, found[0].place().as_str()), (1, severity, "compose.yaml:15"));
        assert_eq!(found[0].told(), "`DB_PASSWORD` of `a` stands in the file: `k2J9...`, 17 characters");
    }
}

#[test]
fn production_is_strict_and_development_is_not_asked_for_more() {
    let missing = changed("environment: [DB_PASSWORD]");
    assert_eq!(findings(&missing, false), []);
    let found = findings(&missing, true);
    assert_eq!(
        (found.len(), found[0].severity, found[0].told().as_str()),
        (1, Severity::Error, "`DB_PASSWORD` of `a` has no value")
    );
    let secret = changed("tty: true\nsecrets: {k: {environment: NOT_THERE}}");
    assert_eq!(findings(&secret, false), []);
    assert_eq!(findings(&secret, true)[0].told(), "`NOT_THERE` of the secret `k` is empty");
    assert_eq!(fired(&changed("command: flask run"), false), [""; 0]);
    let weak = findings(&changed("env_file: weak.env"), true);
    assert_eq!((weak[0].place().as_str(), weak[0].severity), ("weak.env:2", Severity::Error));
}

#[test]
fn the_rule_of_the_socket_cannot_be_switched_off() {
    let error = policy(&["engine-socket".into()]).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.class().code()),
        ("the rule `engine-socket` cannot be switched off", 2)
    );
    assert!(policy(&["image-moves".into()]).is_ok() && policy(&["nothing".into()]).is_err());
}

#[test]
fn podman_hears_of_gpus_by_cdi_only() {
    let text = changed("gpus: all");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("compose.yaml"), text).unwrap();
    let told = |engine| {
        let request = Request { folder: Some(folder.path().into()), engine, ..Request::default() };
        check(&Stack::load(&request).unwrap(), &policy(&[]).unwrap(), false).findings.len()
    };
    let is_described = std::path::Path::new("/etc/cdi").exists() || std::path::Path::new("/var/run/cdi").exists();
    assert_eq!((told(None), told(Some(crate::engine::Kind::Docker))), (0, 0));
    assert_eq!(told(Some(crate::engine::Kind::Podman)), usize::from(!is_described));
}

#[test]
fn the_page_of_stack_lists_every_rule() {
    crate::project::page::holds("stack.md", "src/stack/rule.rs", &crate::stack::markdown());
}

mod homes;
mod spoken;
