#!/bin/sh
# demo.sh INGOT [ARGUMENT...]: builds the four images, brings the stack up, plays a game in a browser, shows how all is, and takes it
# down, whatever happened. The data stays: `INGOT stack down --volumes` removes it. Further arguments, such as `--engine docker`, go to
# every `INGOT stack`.
set -eu
ingot=$(realpath "$1")
shift
cd "$(dirname "$0")"
export GATEWAY_PORT="${GATEWAY_PORT:-8080}"

./secrets.sh
"$ingot" stack check "$@"
"$ingot" stack build "$@"

trap '"$ingot" stack down "$@"' EXIT
trap 'exit 130' INT TERM
"$ingot" stack up "$@"
./play.py "http://127.0.0.1:$GATEWAY_PORT/"
"$ingot" stack health "$@"
