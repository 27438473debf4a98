# Runs the pooler whose folder is "$1", for the process at the other end of standard input. "$2" is
# the signal that ends it at once, and the rest is its command.
#
# However that process ends, its end of the pipe closes, and then pooler and folder go.

dir=$1
signal=$2
shift 2
pooler=

runs() {
    [ -n "$pooler" ] && kill -0 "$pooler" 2>/dev/null
}

start() {
    runs && return
    # Otherwise a shell that waits for its orders would be mistaken for the pooler.
    "$@" </dev/null >>"$dir/log" 2>&1 &
    pooler=$!
}

stop() {
    [ -n "$pooler" ] || return 0
    kill "-$signal" "$pooler" 2>/dev/null
    # For one that does not obey. It sleeps for moments only, because the last of them outlives it.
    (
        tries=100
        while [ "$tries" -gt 0 ]; do
            tries=$((tries - 1))
            sleep 0.1 || sleep 1
        done
        kill -KILL "$pooler"
    ) </dev/null >/dev/null 2>&1 &
    wait "$pooler"
    # Other signals are ignored while this program ends.
    kill -KILL "$!" 2>/dev/null
    pooler=
}

finish() {
    trap '' HUP INT TERM
    stop
    rm -rf "$dir"
}

trap finish EXIT
trap 'exit 1' HUP INT TERM
# Killed by an answer that nobody reads any more, it could not clean up.
trap : PIPE

while read -r order; do
    case $order in
        start) start "$@" ;;
        stop) stop ;;
        runs) runs ;;
        *) false ;;
    esac && echo done || echo failed
done
