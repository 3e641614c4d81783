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
root=$(cd "$(dirname "$0")/.." && pwd)
work=$root/target/bench-packages
for tool in mmdebstrap dpkg-scanpackages jq; do
    command -v $tool >/dev/null || { echo "packages.sh: $tool is missing: apt-get install mmdebstrap dpkg-dev jq" >&2; exit 1; }
done
rm -rf "$work/app" "$work/out" "$work/repo"
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

clear() { rm -rf "$work"/cache/{layers,pyc,os,interpreters,bases}-v*; }
anew() { clear; "${build[@]}" >/dev/null; }
# As on a machine where another program fetched the .debs: `ingot build` unpacks them while it fetches.
uncast() { rm -rf "$work"/cache/debs-v*; plain; }
plain() { clear; "$ingot" build -q --locked "$work/plain" -o "oci:$work/out" >/dev/null; }
same() { "${build[@]}" >/dev/null; }
peer() {
    mmdebstrap --quiet --variant=extract --format=tar --include="$include" --aptopt='APT::Install-Recommends "false"' \
        "$VERSION_CODENAME" "$work/peer.tar" "deb [trusted=yes] copy:$work/repo ./" >/dev/null
}
for round in $(seq "$rounds"); do
    for case in uncast plain anew same peer; do
        begin=$(date +%s%N)
        "$case"
        echo "$case $((($(date +%s%N) - begin) / 1000000))"
    done
done >"$work/times"
/usr/bin/time -f '%M' -o "$work/memory" "${build[@]}" --clean >/dev/null

median() { awk -v c="$1" '$1 == c { print $2 }' "$work/times" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
of_peer() { awk -v a="$1" -v b="$(median peer)" 'BEGIN { printf "%.2f", a / b }'; }
row() { local ms; ms=$(median "$1"); printf '%-62s %6d ms %8s\n' "$2" "$ms" "$(of_peer "$ms")"; }
printf '%-62s %9s %8s\n' "case ($rounds rounds)" "median" "of peer"
row uncast "ingot: the packages alone, without bytecode, .debs not cast"
row plain "ingot: the packages alone, without bytecode, .debs cast"
row anew "ingot: every layer and all bytecode anew, to a layout"
row same "ingot: nothing changed"
row peer "peer: mmdebstrap --variant=extract, to a tar"
jq -r '.images[0] | "compressed: \(.size) bytes in \(.layers | length) layers"' "$work/metadata.json"
echo "peak memory of every layer anew: $(($(cat "$work/memory") / 1024)) MiB"
