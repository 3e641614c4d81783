# What the benches share; to be sourced. Cases are shell functions; `rounds N CASE...` runs each once a round, in turn,
# and `median CASE` is what they took in the middle, in milliseconds. Nothing outside of a case is timed.
need() {
    for program in "$@"; do
        command -v "$program" >/dev/null || { echo "$(basename "$0"): $program is missing" >&2; exit 1; }
    done
}

# A case may have a function `before_CASE`, which is not timed.
rounds() {
    local count=$1 round case begin
    shift
    : >"$work/times"
    for round in $(seq "$count"); do
        for case in "$@"; do
            if declare -F "before_$case" >/dev/null; then "before_$case" >&2; fi
            begin=$(date +%s%N)
            "$case" >/dev/null
            echo "$case $((($(date +%s%N) - begin) / 1000))" >>"$work/times"
        done
    done
}

micros() { awk -v c="$1" '$1 == c { print $2 }' "$work/times" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
median() { awk -v us="$(micros "$1")" 'BEGIN { printf "%.0f", us / 1000 }'; }
ran() { grep -q "^$1 " "$work/times"; }
ratio() { awk -v a="$(micros "$1")" -v b="$(micros "$2")" 'BEGIN { printf "%.2f", a / b }'; }

# row CASE TEXT [OF]...: a line of the table, with the ratio to other cases.
row() {
    local case=$1 text=$2
    shift 2
    ran "$case" || return 0
    printf '%-66s %7d ms' "$text" "$(median "$case")"
    for of in "$@"; do printf ' %7s of %s' "$(ratio "$case" "$of")" "$of"; done
    printf '\n'
}
