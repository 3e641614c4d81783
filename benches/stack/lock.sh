#!/bin/sh
# Writes requirements.lock, and bumped.lock with another version of one small distribution, from requirements.in. The
# index is the one that this machine's uv or pip is configured for; the locks name none.
set -eu
cd "$(dirname "$0")"
command -v uv >/dev/null || { echo "lock.sh: uv is missing: pip install uv" >&2; exit 1; }
compile() {
    lock=$1
    shift
    uv pip compile requirements.in --output-file "$lock" --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
        --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command ./lock.sh --quiet "$@"
}
compile requirements.lock
cp requirements.lock bumped.lock
compile bumped.lock --upgrade-package "click<$(sed -n 's/^click==\([0-9.]*\).*/\1/p' requirements.lock)"
