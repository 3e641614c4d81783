#!/usr/bin/env bash
# stack.sh INGOT LIMIT [ROUNDS]: the example with numpy, scipy, pandas, scikit-learn and pillow: cold, after a change, and
# unchanged, beside what other tools of this machine take for the same wheels.
#
# One run, the same inputs, cases in turn, medians. Base and wheels are on this machine before; what is cold is
# everything else (layers, bytecode; in one row also what is known of the base). LIMIT is the program of benches/limit.rs. Peers: uv (or pip) with tar and pigz (one
# layer, no image), buildah, and docker or buildctl, as far as they are there.
set -euo pipefail
ingot=$(realpath "${1:?usage: stack.sh INGOT LIMIT [ROUNDS]}")
limit=$(realpath "${2:?usage: stack.sh INGOT LIMIT [ROUNDS]}")
rounds=${3:-5}
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
work=$root/target/bench
. "$here/common.sh"
need python3.11 tar pigz docker-registry
mkdir -p "$work"
"$root/tests/tools/base/make-base.sh" "$work/base" >&2
export SOURCE_DATE_EPOCH=315532800 INGOT_CACHE=$work/cache

# Two projects, which differ in the bytecode of dependencies only, and their wheels.
for bytecode in none alongside; do
    rm -rf "$work/$bytecode"
    cp -r "$root/examples/gameforge" "$work/$bytecode"
    rm -rf "$work/$bytecode/dist"
    cp "$here/stack/requirements.lock" "$work/$bytecode/"
    sed -i "s/^bytecode = \"alongside\"/bytecode = \"$bytecode\"/" "$work/$bytecode/ingot.toml"
done
[ -d "$work/wheels" ] || for lock in requirements bumped; do
    python3.11 -m pip download --quiet --no-deps --require-hashes --only-binary :all: -d "$work/wheels" -r "$here/stack/$lock.lock" >&2
done
build() { local project=$1; shift; "$ingot" build -q "$work/$project" --variant distroless --build-arg "DISTROLESS_BASE=oci:$work/base" "$@"; }
to_layout() { build "$1" -o "oci:$work/out-$1"; }

# The store with inputs alone: wheels, and what is known of the base (its listing, its interpreter); no layer, no bytecode.
rm -rf "$work/cache" "$work/inputs"
for lock in bumped requirements; do
    cp "$here/stack/$lock.lock" "$work/none/requirements.lock"
    "$ingot" plan -q "$work/none" --variant distroless --build-arg "DISTROLESS_BASE=oci:$work/base" >/dev/null
done
ls "$work/cache/blobs/sha256" | sort >"$work/blobs"
to_layout none >/dev/null
ls "$work/cache/blobs/sha256" | sort | comm -23 - "$work/blobs" | sed "s|^|$work/cache/blobs/sha256/|" | xargs -r rm
rm -rf "$work"/cache/{layers,pyc,stamps}-v*
mv "$work/cache" "$work/inputs"
fresh() { rm -rf "$work/cache" "$work"/out-*; cp -a "$work/inputs" "$work/cache"; sync; }

# A registry on loopback.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
rm -rf "$work/registry"
printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: "%s"}}\nhttp: {addr: "127.0.0.1:%s"}\n' \
    "$work/registry" "$port" >"$work/registry.yml"
docker-registry serve "$work/registry.yml" >/dev/null 2>&1 &
trap 'kill %1 2>/dev/null' EXIT
for _ in $(seq 100); do curl -fsS "http://127.0.0.1:$port/v2/" >/dev/null 2>&1 && break; sleep 0.1; done
pushed() { build none -t "127.0.0.1:$port/bench:1" --push; }

before_limit() { sync; }
limit() { "$limit" $(grep -oE '[a-f0-9]{64}' "$work/used" | sed "s|^|$work/inputs/blobs/sha256/|"); }
before_cold_none() { fresh; }
cold_none() { to_layout none; }
before_cold_base() { fresh; rm -rf "$work"/cache/{bases,interpreters}-v*; sync; }
cold_base() { to_layout none; }
before_cold_bytecode() { fresh; }
cold_bytecode() { to_layout alongside; }
line() { echo "# $1" >>"$work/$2/src/gameforge/app.py"; }
line_layout() { to_layout none; }
before_line_layout() { to_layout none >/dev/null; line $RANDOM$RANDOM none; }
before_line_pushed() { pushed >/dev/null; line $RANDOM$RANDOM none; }
line_pushed() { pushed; }
before_bumped() {
    cp "$here/stack/requirements.lock" "$work/alongside/"
    rm -rf "$work/cache" && cp -a "$work/inputs" "$work/cache"
    to_layout alongside >/dev/null
    cp "$here/stack/bumped.lock" "$work/alongside/requirements.lock"
}
bumped() { to_layout alongside; }
before_same_layout() { to_layout none >/dev/null; }
same_layout() { to_layout none; }
before_same_pushed() { pushed >/dev/null; }
same_pushed() { pushed; }

# The files of the environment, for what compiles them without ingot.
before_compileall() {
    rm -rf "$work/site"
    mkdir "$work/site"
    for wheel in $(cat "$work/used-wheels"); do python3.11 -m zipfile -e "$wheel" "$work/site"; done
    find "$work/site" -type d \( -name test -o -name tests \) -prune -exec rm -rf {} +
    sync
}
compileall() { python3.11 -m compileall -q -j2 --invalidation-mode unchecked-hash "$work/site" || true; }

installer() {
    local python=$1
    shift
    if command -v uv >/dev/null; then
        uv pip install --quiet --offline --no-index --no-deps --require-hashes --find-links "$work/wheels" --link-mode copy --no-cache \
            --python "$(command -v "$python")" "$@" -r "$here/stack/requirements.lock"
    else
        "$python" -m pip install --quiet --no-index --no-deps --require-hashes --no-compile --find-links "$work/wheels" "$@" -r "$here/stack/requirements.lock"
    fi
}
before_peer() { rm -rf "$work/target"; sync; }
peer() { installer python3.11 --target "$work/target" >&2; tar -C "$work" -cf - target | pigz -6 >"$work/layer.tar.gz"; }

# An image by buildah: the same base, wheels by uv or pip from a bind mount, the app copied.
containerfile() {
    cat >"$work/context/Containerfile" <<FILE
FROM $1
RUN --mount=type=bind,target=/ctx PIP_ROOT_USER_ACTION=ignore python3 /ctx/pip.whl/pip install --quiet --no-index --no-deps --require-hashes --no-compile --find-links /ctx/wheels --target /opt/site -r /ctx/requirements.lock
COPY src /app
ENV PYTHONPATH=/opt/site:/app
USER 1001
FILE
}
context() {
    rm -rf "$work/context"
    mkdir "$work/context"
    cp -r "$work/wheels" "$work/none/src" "$here/stack/requirements.lock" "$work/context/"
    PIP_ROOT_USER_ACTION=ignore python3.11 -m pip download --quiet --no-deps -d "$work/context" pip >&2
    mv "$work"/context/pip-*.whl "$work/context/pip.whl"
}
before_buildah_cold() { context; containerfile "oci:$work/base"; buildah rmi bench >/dev/null 2>&1 || true; rm -rf "$work/out-buildah"; sync; }
buildah_cold() {
    buildah build --quiet --isolation chroot --layers=false --pull=never --no-cache -t bench -f "$work/context/Containerfile" "$work/context" &&
        buildah push --quiet bench "oci:$work/out-buildah:latest"
}

# Warm every file, and learn which wheels are used.
fresh
to_layout none >/dev/null
"$ingot" lock -q "$work/none" --variant distroless --build-arg "DISTROLESS_BASE=oci:$work/base" >/dev/null
sed -n 's/^sha256 = "\(.*\)"/\1/p' "$work/none/ingot.lock" >"$work/all-hashes"
: >"$work/used"
: >"$work/used-wheels"
for wheel in "$work"/wheels/*.whl; do
    hash=$(sha256sum "$wheel" | cut -d' ' -f1)
    if grep -q "$hash" "$work/all-hashes"; then echo "$hash" >>"$work/used"; echo "$wheel" >>"$work/used-wheels"; fi
done
rm "$work/none/ingot.lock"
echo "wheels: $(wc -l <"$work/used"), $(cat $(cat "$work/used-wheels") | wc -c | awk '{ printf "%.1f MB", $1 / 1e6 }')" >&2

cases="limit cold_none cold_base cold_bytecode compileall bumped line_layout line_pushed same_layout same_pushed peer"
if command -v buildah >/dev/null; then cases="$cases buildah_cold"; fi
rounds "$rounds" $cases

echo "stack: $(wc -l <"$work/used") wheels, $rounds rounds, $(nproc) cores"
row limit "the limit: inflate and hash the wheels"
row cold_none "ingot: cold, without bytecode, to a layout" limit peer
row cold_base "ingot: the same on a base that was never seen" limit
row compileall "python -m compileall -j2 of the compiled files"
row cold_bytecode "ingot: cold, with bytecode, to a layout" compileall peer
awk -v a="$(micros cold_bytecode)" -v b="$(micros compileall)" -v c="$(micros cold_none)" \
    'BEGIN { printf "%-66s %10.2f\n", "  of compileall and the cold row together", a / (b + c) }'
row bumped "ingot: one small dependency changed, to a layout"
row line_layout "ingot: one line of the app changed, to a layout"
row line_pushed "ingot: one line of the app changed, pushed"
row same_layout "ingot: nothing changed, to a layout"
row same_pushed "ingot: nothing changed, pushed"
row peer "peer: $(command -v uv >/dev/null && echo uv || echo pip) install, tar, pigz -6 (one layer, no image, no bytecode)" limit
row buildah_cold "peer: buildah (without bytecode), to a layout" limit
