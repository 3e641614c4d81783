#!/bin/sh
# Writes requirements.lock from requirements.in: every version pinned, every file by its hash, for all Pythons and
# platforms that the example supports. The index is the one that this machine's uv or pip is configured for; the
# lock names none.
set -eu
cd "$(dirname "$0")"
command -v uv >/dev/null || { echo "lock.sh: uv is missing: pip install uv" >&2; exit 1; }
uv pip compile requirements.in --output-file requirements.lock --universal --python-version 3.11 \
    --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command ./lock.sh --quiet
