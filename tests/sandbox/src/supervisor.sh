# Runs the server whose folder is "$2" with the programs in "$1", for the process at the other end
# of standard input.
#
# However that process ends, its end of the pipe closes, and then server and folder go. Its orders
# come over the same pipe, so that none of them can still be under way at that moment.

bin=$1
dir=$2
data=$dir/data
log=$dir/log

# The postmaster and its children, orphaned ones too. Other processes can have been given the
# number in postmaster.pid since; what runs this program in this folder is ours.
server_processes() {
    if [ -e /proc/self/exe ]; then
        for process in /proc/[0-9]*; do
            if [ "$process/cwd" -ef "$data" ] && [ "$process/exe" -ef "$bin/postgres" ]; then
                echo "${process#/proc/}"
            fi
        done
    elif { read -r first <"$data/postmaster.pid"; } 2>/dev/null; then
        case $(ps -o command= -p "$first") in
            *"$data"*) ;;
            *) return ;;
        esac
        ps -A -o pid= -o ppid= | while read -r process parent; do
            if [ "$process" = "$first" ] || [ "$parent" = "$first" ]; then
                echo "$process"
            fi
        done
    fi
}

is_server_process() {
    server_processes | grep -qx "$1"
}

postmaster() {
    { read -r leader <"$data/postmaster.pid"; } 2>/dev/null &&
        is_server_process "$leader" && echo "$leader"
}

# Waits until a command fails, for some ten seconds at most.
wait_while() {
    tries=500
    while "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.01 || sleep 1
    done
}

any_server_process() {
    [ -n "$(server_processes)" ]
}

make_cluster() {
    # Small WAL segments, because the folder may be in memory.
    "$bin/initdb" -D "$data" -U postgres -A trust -E UTF8 --no-sync --wal-segsize=1 "$@" \
        </dev/null >>"$log" 2>&1
}

create() {
    # Systems without C.UTF-8 exist.
    { make_cluster --locale=C.UTF-8 || make_cluster --no-locale; } &&
        cat "$dir/settings" >>"$data/postgresql.conf"
}

start() {
    [ -n "$(postmaster)" ] ||
        "$bin/pg_ctl" start -s -w -t 60 -D "$data" -l "$log" </dev/null >>"$log" 2>&1
}

stop() {
    [ -z "$(postmaster)" ] ||
        "$bin/pg_ctl" stop -s -w -t 60 -m fast -D "$data" </dev/null >>"$log" 2>&1
}

kill_all() {
    # The postmaster first: it would restart what is killed under it.
    kill -KILL $(postmaster) $(server_processes) 2>/dev/null
    any_server_process
}

# What a killed postmaster leaves behind is gone after a power cut too, or could be mistaken for a
# server that runs: the System V segment, whose id ends line 7, and the lock files.
crash() {
    wait_while kill_all || return
    segment=$(sed -n '7s/.* //p' "$data/postmaster.pid" 2>/dev/null)
    [ -z "$segment" ] || ipcrm -m "$segment" >>"$log" 2>&1
    rm -f "$data/postmaster.pid" "$dir"/.s.PGSQL.*
}

kill_backend() {
    [ "$1" != "$(postmaster)" ] && is_server_process "$1" &&
        kill -TERM "$1" && wait_while is_server_process "$1"
}

finish() {
    trap '' HUP INT TERM
    leader=$(postmaster) && kill -QUIT "$leader" && wait_while any_server_process
    crash
    rm -rf "$dir"
}

trap finish EXIT
trap 'exit 1' HUP INT TERM
# Killed by an answer that nobody reads any more, it could not clean up.
trap : PIPE

while read -r order argument; do
    case $order in
        create | start | stop | crash) "$order" ;;
        kill_backend) kill_backend "$argument" ;;
        *) false ;;
    esac && echo done || echo failed
done
