#!/bin/sh
# Checks the environment, then becomes the command (written by ingot; runs as PID 1).
problems=
problem() {
    problems="$problems${problems:+; }$1"
}
@REQUIRED@if [ -n "$problems" ]; then
    printf 'ingot: %s\n' "$problems" >&2
    exit 78
fi
unset problems
if [ "$#" -eq 0 ]; then
    printf 'ingot: there is no command to start\n' >&2
    exit 127
fi
case $1 in
*/*)
    if [ ! -e "$1" ]; then
        printf 'ingot: command "%s" was not found\n' "$1" >&2
        exit 127
    fi
    if [ -d "$1" ] || [ ! -x "$1" ]; then
        printf 'ingot: command "%s" could not be started: it is not an executable file\n' "$1" >&2
        exit 126
    fi
    ;;
*)
    if ! command -v "$1" >/dev/null 2>&1; then
        printf 'ingot: command "%s" was not found on PATH\n' "$1" >&2
        exit 127
    fi
    ;;
esac
exec "$@"
