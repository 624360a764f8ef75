# Claims; read by `run`.
# shellcheck shell=bash

claims=0
part_name=

part() {
    part_name=$1
    printf '\n%s (after %d s)\n' "$part_name" "$SECONDS"
}

# claim TEXT COMMAND…: the command must succeed; what it says is shown only if it does not.
claim() {
    local text=$1
    shift
    if "$@" > "$work/said" 2>&1; then
        printf '  holds  %s\n' "$text"
        claims=$((claims + 1))
    else
        printf '  FAILS  %s\n' "$text"
        sed 's/^/         /' "$work/said" | tail -n 60
        printf '         (%s)\n' "$*"
        exit 1
    fi
}

# not COMMAND…: it must fail.
not() {
    ! "$@"
}

# says TEXT COMMAND…: the command must succeed and say the text.
says() {
    local text=$1 said
    shift
    said=$("$@" 2>&1) || { printf '%s\n' "$said"; return 1; }
    printf '%s\n' "$said"
    grep -qF -- "$text" <<< "$said"
}

# same A B: two values must be equal.
same() {
    printf 'is:        %s\nshould be: %s\n' "$1" "$2"
    [ "$1" = "$2" ]
}

# soon COMMAND…: it must succeed within a minute, which is far longer than it takes.
soon() {
    local end=$((SECONDS + 60))
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.2
    done
}
