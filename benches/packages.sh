#!/usr/bin/env bash
# packages.sh INGOT [ROUNDS]: how long does a Python base take that is assembled from packages, and what does
# `mmdebstrap --variant=extract` take for the same ones?
#
# One run, the same packages, rounds interleaved, medians. Every .deb is on this machine before; mmdebstrap reads them
# from a local repository. It unpacks and writes a tar; ingot also configures, writes dpkg's database, compiles the
# standard library and compresses. Its casts of the .debs are there too, as after the build that fetched them, but for
# one row.
set -euo pipefail
ingot=$(realpath "${1:?usage: packages.sh INGOT [ROUNDS]}")
rounds=${2:-5}
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
work=$root/target/bench-packages
. "$here/common.sh"
need mmdebstrap dpkg-scanpackages jq time
rm -rf "$work/app" "$work/out" "$work/repo" "$work/unpacked"
mkdir -p "$work/app" "$work/repo"
. /etc/os-release
python=$(sed -n '/^\[apt\]/,$s/^python = "\(.*\)"/\1/p' "$root/base-manifests/$ID-$VERSION_ID.toml")
# What only maintainer scripts need is asked for, so that both install exactly the same.
cat >"$work/app/ingot.toml" <<TOML
[image]
name = "base"
[os]
packages = ["dpkg", "debconf", "perl-base", "mawk", "openssl", "python3-minimal", "debianutils", "libdebconfclient0"]
[python]
version = "$python"
[variants.base]
base = "$ID:$VERSION_ID/packages"
TOML
mkdir -p "$work/plain"
sed 's/^\[python\]/&\nbytecode = "none"/' "$work/app/ingot.toml" >"$work/plain/ingot.toml"
export INGOT_CACHE=$work/cache SOURCE_DATE_EPOCH=315532800
for project in app plain; do "$ingot" lock -q "$work/$project" >/dev/null; done
build=("$ingot" build -q --locked "$work/app" -o "oci:$work/out" --metadata-file "$work/metadata.json")
"${build[@]}" >/dev/null
jq -r '.images[0].os.packages[] | "\(.name)=\(.version) \(.sha256)"' "$work/metadata.json" >"$work/packages"
while read -r package digest; do
    cp "$work/cache/blobs/sha256/${digest#sha256:}" "$work/repo/$(echo "$package" | tr '=:/' '___').deb"
done <"$work/packages"
(cd "$work/repo" && dpkg-scanpackages --multiversion . 2>/dev/null >Packages)
include=$(cut -d' ' -f1 "$work/packages" | cut -d= -f1 | paste -sd,)
wc -l <"$work/packages" | xargs echo "packages:" >&2

# Leaves the .debs alone, their casts, and what was read of indexes.
cut -d' ' -f2 "$work/packages" | sed 's/^sha256://' | sort >"$work/inputs"
clear() {
    rm -rf "$work"/cache/{layers,pyc,os,interpreters,bases,stamps}-v* "$work/out"
    ls "$work/cache/blobs/sha256" | sort | comm -23 - "$work/inputs" | sed "s|^|$work/cache/blobs/sha256/|" | xargs -r rm
    sync
}
before_anew() { clear; }
anew() { "${build[@]}"; }
# As on a machine where another program fetched the .debs: `ingot build` unpacks them while it fetches.
before_uncast() { clear; rm -rf "$work"/cache/debs-v*; }
uncast() { "$ingot" build -q --locked "$work/plain" -o "oci:$work/out"; }
before_plain() { clear; }
plain() { "$ingot" build -q --locked "$work/plain" -o "oci:$work/out"; }
before_same() { "${build[@]}" >/dev/null; }
same() { "${build[@]}"; }
peer() {
    mmdebstrap --quiet --variant=extract --format=tar --include="$include" --aptopt='APT::Install-Recommends "false"' \
        "$VERSION_CODENAME" "$work/peer.tar" "deb [trusted=yes] copy:$work/repo ./"
}
# The modules that have bytecode in the image, without it.
layers=$(jq -r '.images[0].layers[].digest' "$work/metadata.json" | sed "s|^sha256:|$work/cache/blobs/sha256/|")
mkdir -p "$work/unpacked"
for layer in $layers; do tar -xzf "$layer" -C "$work/unpacked" --wildcards "usr/lib/python$python/*" 2>/dev/null || true; done
(cd "$work/unpacked" && find . -name '*.pyc' | sed 's|/__pycache__/\([^/]*\)\.cpython-[0-9]*\.pyc$|/\1.py|' | sort >"$work/modules" &&
    find . -name '*.py' | sort | comm -23 - "$work/modules" | xargs -r rm)
before_compileall() { find "$work/unpacked" -name __pycache__ -prune -exec rm -rf {} +; sync; }
compileall() { "python$python" -m compileall -q -j2 --invalidation-mode unchecked-hash "$work/unpacked" || true; }

rounds "$rounds" uncast plain anew same compileall peer
clear
/usr/bin/time -f '%M' -o "$work/memory" "${build[@]}" --clean >/dev/null

echo "packages: $(wc -l <"$work/packages"), $rounds rounds, $(nproc) cores"
row uncast "ingot: the packages alone, without bytecode, .debs not cast" peer
row plain "ingot: the packages alone, without bytecode, .debs cast" peer
row anew "ingot: every layer and all bytecode anew" peer
row compileall "python -m compileall -j2 of the same $(wc -l <"$work/modules") modules"
awk -v a="$(micros anew)" -v b="$(micros plain)" -v c="$(micros compileall)" \
    'BEGIN { printf "%-66s %10.2f\n", "  all bytecode, less the packages alone, of compileall", (a - b) / c }'
row same "ingot: nothing changed, locked" peer
row peer "peer: mmdebstrap --variant=extract, to a tar"
jq -r '.images[0] | "compressed: \(.size) bytes in \(.layers | length) layers"' "$work/metadata.json"
echo "peak memory of every layer anew: $(($(cat "$work/memory") / 1024)) MiB"
