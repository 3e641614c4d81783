#!/bin/sh
# count.sh COMMAND...: runs `cargo test` and closes with the sum of what all its test programs counted.
set -u
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{ "$@" 2>&1; echo "exit=$?"; } | tee "$log" | grep -v '^exit=[0-9]*$'
code=$(sed -n 's/^exit=\([0-9]*\)$/\1/p' "$log" | tail -n 1)
awk '/^test result:/ { for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) p += $(i-1); if ($i ~ /^failed/) f += $(i-1) } }
     END { printf "total: %d passed, %d failed\n", p, f; exit p == 0 }' "$log" || { [ "${code:-1}" -ne 0 ] || code=1; }
exit "${code:-1}"
