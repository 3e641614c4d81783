#!/bin/sh
# Makes the secrets of a developer's machine on first use: random ones, in ./secrets, which git ignores. On the host only
# their owner gets into the folder; in a container the service's user, who is somebody else, reads the one file it is given.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
for name in postgres_password database_password session_secret; do
    [ ! -s "secrets/$name" ] || continue
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"secrets/$name.new"
    chmod 444 "secrets/$name.new"
    mv "secrets/$name.new" "secrets/$name"
done
