# Starts PostgreSQL. The first time it makes the cluster: passwords from the secrets, roles and tables from init.sql.
# A cluster gets its name when it is complete: what an interrupted start has left is thrown away.
set -eu
umask 077

PATH=/usr/lib/postgresql/$POSTGRES/bin:/usr/bin:/bin
store=/var/lib/postgresql/data
cluster=$store/$POSTGRES
new=$store/.new

fail() {
    echo "postgres: $1" >&2
    exit 78
}

make_cluster() {
    for name in postgres_password database_password; do
        [ -s "/run/secrets/$name" ] || fail "the secret $name is missing or empty: /run/secrets/$name"
    done
    [ -w "$store" ] || fail "user $(id -u) cannot write to $store: give it a volume of its own"
    for other in "$store"/[0-9]*; do
        [ ! -d "$other" ] || fail "the volume has a cluster of version ${other##*/}, this is $POSTGRES: dump and restore it"
    done
    rm -rf "$new"
    initdb --pgdata="$new" --username=postgres --pwfile=/run/secrets/postgres_password \
        --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --data-checksums >/dev/null
    # Only this script can reach it: no TCP, a socket in a folder of its own. A statement that fails is not logged,
    # for it may have a password.
    mkdir -p /tmp/init
    pg_ctl --pgdata="$new" --wait --silent --options="-c listen_addresses= -c unix_socket_directories=/tmp/init \
        -c log_min_error_statement=panic -c logging_collector=off" start
    PGPASSWORD=$(cat /run/secrets/postgres_password) psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 \
        --host=/tmp/init --username=postgres --dbname=postgres --file=/app/init.sql
    pg_ctl --pgdata="$new" --wait --silent --mode=fast stop
    mv "$new" "$cluster"
    sync "$store"
}

[ -d "$cluster" ] || make_cluster
exec postgres -D "$cluster" -c config_file=/app/postgresql.conf
