#!/usr/bin/env bash
# cast.sh INGOT [ROUNDS]: how long does casting the example take, and what do pip and gzip take for the same wheels?
#
# One run, the same inputs, rounds interleaved, medians. Nothing is fetched inside a timed command: the base and the
# wheels are there before. The peer makes one layer only: `pip install` of the same wheels into a folder (with
# bytecode, as ingot's default), then tar and `gzip -6` (`pigz -6` on all cores, where it is installed).
set -euo pipefail
ingot=$(realpath "${1:?usage: cast.sh INGOT [ROUNDS]}")
rounds=${2:-5}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$root/target/bench
mkdir -p "$work"
"$root/tests/tools/base/make-base.sh" "$work/base" >&2
rm -rf "$work/app" "$work/cache" "$work/out"
cp -r "$root/examples/gameforge" "$work/app"
export INGOT_CACHE=$work/cache SOURCE_DATE_EPOCH=315532800
build=("$ingot" build -q "$work/app" --variant distroless --build-arg "DISTROLESS_BASE=oci:$work/base" -o "oci:$work/out")
"${build[@]}" >/dev/null

# The peer's wheels are those of the same lock: fetched once, by pip, from the same index.
python=${PYTHON:-python3.11}
"$python" -m pip download --quiet --no-deps --require-hashes --only-binary :all: -d "$work/wheels" \
    -r "$work/app/requirements.lock" >&2
gzip=$(command -v pigz || command -v gzip)

peer() {
    rm -rf "$work/target"
    "$python" -m pip install --quiet --no-index --no-deps --find-links "$work/wheels" --require-hashes \
        --target "$work/target" -r "$work/app/requirements.lock" >&2
    tar -C "$work" -cf - target | "$gzip" -6 >"$work/layer.tar.gz"
}
anew() { rm -rf "$work/cache/pyc-v1"; "${build[@]}" --clean >/dev/null; }
changed() { echo "# $RANDOM $round" >>"$work/app/src/gameforge/app.py"; "${build[@]}" >/dev/null; }
same() { "${build[@]}" >/dev/null; }

for round in $(seq "$rounds"); do
    for case in anew changed same peer; do
        begin=$(date +%s%N)
        "$case"
        echo "$case $((($(date +%s%N) - begin) / 1000000))"
    done
done >"$work/times"

median() { awk -v c="$1" '$1 == c { print $2 }' "$work/times" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
of_peer() { awk -v a="$1" -v b="$(median peer)" 'BEGIN { printf "%.2f", a / b }'; }
row() { local ms; ms=$(median "$1"); printf '%-62s %6d ms %8s\n' "$2" "$ms" "$(of_peer "$ms")"; }
printf '%-62s %9s %8s\n' "case ($rounds rounds)" "median" "of peer"
row anew "ingot: every layer and all bytecode anew, to a layout"
row changed "ingot: one line of the application changed"
row same "ingot: nothing changed"
row peer "peer: pip install --target, tar, $(basename "$gzip") -6 (one layer)"
