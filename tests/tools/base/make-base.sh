#!/bin/sh
# make-base.sh [LAYOUT]: makes a small Debian base image with Python, without an image registry.
#
# mmdebstrap assembles it from the packages of this machine's own apt sources; layout.py makes an OCI layout of it.
# Until `ingot` installs OS packages itself this stands in for a base from a registry. Runs as root, or as a user
# with subordinate ids. Does nothing if LAYOUT (dist/base) is there already.
set -eu
export LC_ALL=C.UTF-8 SOURCE_DATE_EPOCH=315532800
here=$(cd "$(dirname "$0")" && pwd)
layout=${1:-dist/base}

if [ -s "$layout/index.json" ]; then
    echo "base: $layout is there already" >&2
    exit 0
fi
for tool in mmdebstrap python3; do
    command -v $tool >/dev/null || { echo "make-base.sh: $tool is missing: apt-get install $tool" >&2; exit 1; }
done

parent=$(dirname "$layout")
mkdir -p "$parent"
# In mode unshare other users than the caller must get at the folder, so it cannot be a private one in /tmp.
work=$(mktemp -d "$parent/.base-XXXXXX")
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# The machine's own sources, and how its apt reaches them; both are asked of apt, none is written here.
. /etc/os-release
set -- /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list
sources=
for file in "$@"; do
    if [ -f "$file" ] && grep -Eq "(^|[[:space:]])$VERSION_CODENAME([[:space:]]|$)" "$file"; then
        sources="$sources $file"
    fi
done
[ -n "$sources" ] || { echo "make-base.sh: no apt source for $VERSION_CODENAME is configured in /etc/apt" >&2; exit 1; }
apt-config dump Acquire | grep -E '^Acquire::(https?|Retries|Check-(Valid-Until|Date))[: ]' > "$work/apt.conf" || true

echo "base: assembling $PRETTY_NAME with mmdebstrap" >&2
# shellcheck disable=SC2086 # the sources are a list of paths without spaces
mmdebstrap --quiet --variant=essential --format=tar \
    --include=python3-minimal,libpython3-stdlib,libstdc++6,ca-certificates,media-types,netbase,tzdata \
    --aptopt="$work/apt.conf" --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --customize-hook='rm -f "$1/etc/hostname" "$1/etc/resolv.conf" "$1/etc/machine-id"' \
    --customize-hook='rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap" "$1/etc/dpkg/dpkg.cfg.d/99mmdebstrap"' \
    --customize-hook='rm -f "$1/var/log/dpkg.log" "$1/var/log/alternatives.log" "$1/var/cache/ldconfig/aux-cache"' \
    --customize-hook='find "$1/usr/lib" -name __pycache__ -prune -exec rm -rf {} +' \
    "$VERSION_CODENAME" "$work/base.tar" $sources
python3 "$here/layout.py" "$work/base.tar" "$work/layout" "$VERSION_CODENAME"
mv "$work/layout" "$layout"
echo "base: $layout" >&2
