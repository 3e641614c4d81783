#!/usr/bin/env bash
# large.sh INGOT LIMIT [ROUNDS]: cost against size, from 10 MB of wheels to torch with all its CUDA wheels (3 GB): cold, to a
# layout, without bytecode, beside the limit. Writes benches/large.svg, and says the peak memory of the largest.
#
# The wheels are fetched once, by pip, into target/bench-large (3 GB; the runs need 15 GB there).
set -euo pipefail
ingot=$(realpath "${1:?usage: large.sh INGOT LIMIT [ROUNDS]}")
limit=$(realpath "${2:?usage: large.sh INGOT LIMIT [ROUNDS]}")
rounds=${3:-3}
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
work=$root/target/bench-large
. "$here/common.sh"
need python3.11
mkdir -p "$work"
"$root/tests/tools/base/make-base.sh" "$work/base" >&2
export SOURCE_DATE_EPOCH=315532800 INGOT_CACHE=$work/cache
[ -d "$work/wheels" ] || python3.11 -m pip download --quiet --no-cache-dir --no-deps --require-hashes --only-binary :all: \
    -d "$work/wheels" -r "$here/large/requirements.lock" >&2

# Sets of wheels, the smallest first: project SIZE has all wheels up to there.
rm -rf "$work"/project-* "$work/cache"
python3.11 - "$here/large/requirements.lock" "$work" <<'PYTHON'
import os, re, sys
lock, work = sys.argv[1:]
blocks = dict(re.findall(r"^([a-z0-9-]+)(==[^\n]*\n(?:    [^\n]*\n?)+)", open(lock).read(), re.M))
size = {}
for file in os.listdir(f"{work}/wheels"):
    size[re.sub(r"[-_.]+", "-", file.split("-")[0]).lower()] = (os.path.getsize(f"{work}/wheels/{file}"), file)
total, steps, names = 0, [10e6, 40e6, 120e6, 250e6, 600e6, 1000e6, 2000e6, 1e12], []
ordered = sorted(size, key=lambda name: size[name])
for at, name in enumerate(ordered):
    total, names = total + size[name][0], names + [name]
    if total >= steps[0] or at == len(ordered) - 1:
        while total >= steps[0]:
            steps.pop(0)
        folder = f"{work}/project-{round(total / 1e6):05}"
        os.makedirs(folder)
        open(f"{folder}/requirements.lock", "w").writelines(name + blocks[name] for name in sorted(names))
        open(f"{folder}/wheels", "w").writelines(f"{work}/wheels/{size[name][1]}\n" for name in names)
        toml = '[image]\nname = "large"\n[python]\nversion = "3.11"\nlock = "requirements.lock"\nbytecode = "none"\n'
        open(f"{folder}/ingot.toml", "w").write(toml + f'[variants.large]\nbase = "oci:{work}/base"\n')
PYTHON

cases=
for project in "$work"/project-*; do
    size=${project##*-}
    PIP_NO_INDEX=1 PIP_FIND_LINKS=$work/wheels "$ingot" plan -q "$project" >/dev/null
    eval "before_cold_$size() { rm -rf $work/out $work/cache/{layers,pyc}-v*; unblob; sync; }"
    eval "cold_$size() { \"$ingot\" build -q $project -o oci:$work/out; }"
    eval "limit_$size() { xargs \"$limit\" <$project/wheels; }"
    cases="$cases limit_$size cold_$size"
done
ls "$work/cache/blobs/sha256" | sort >"$work/inputs"
# Removes the blobs that a run has made.
unblob() { ls "$work/cache/blobs/sha256" | sort | comm -23 - "$work/inputs" | sed "s|^|$work/cache/blobs/sha256/|" | xargs -r rm; }
rounds "$rounds" $cases

printf '%-12s %12s %12s %8s\n' "wheels" "limit" "ingot" "ratio"
: >"$work/points"
for project in "$work"/project-*; do
    size=${project##*-}
    printf '%9d MB %9d ms %9d ms %8s\n' "$((10#$size))" "$(median "limit_$size")" "$(median "cold_$size")" "$(ratio "cold_$size" "limit_$size")"
    echo "$((10#$size)) $(median "limit_$size") $(median "cold_$size")" >>"$work/points"
done
"before_cold_$size"
/usr/bin/time -f '%M' -o "$work/memory" "$ingot" build -q "$project" -o "oci:$work/out" >/dev/null
echo "peak memory of the largest: $(($(cat "$work/memory") / 1024)) MiB"
python3.11 "$here/plot.py" "$work/points" >"$here/large.svg"
