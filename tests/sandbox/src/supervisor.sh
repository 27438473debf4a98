# Runs the server whose folder is "$1" with the programs in "$2", for the process at the other end
# of standard input.
#
# However that process ends, its end of the pipe closes, and then server and folder go. Its orders
# come over the same pipe, so that none of them can still be under way at that moment.

dir=$1
bin=$2
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

initialize() {
    # Systems without C.UTF-8 exist.
    make_cluster --locale=C.UTF-8 || make_cluster --no-locale
}

# From what "initialize" has made in the folder "$1".
create() {
    cp -Rp "$1" "$data" 2>>"$log" && configure
}

configure() {
    cat "$dir/settings" >>"$data/postgresql.conf"
}

# A standby of the server that "$1" connects to. The slot keeps for it what it has yet to read,
# however long it is away.
follow() {
    name=$(basename "$dir" | tr - _)
    "$bin/pg_basebackup" -D "$data" -d "$1 user=postgres application_name=$name" \
        -R -X stream -C -S "$name" -c fast --no-sync </dev/null >>"$log" 2>&1 && configure
}

promote() {
    "$bin/pg_ctl" promote -s -w -t 60 -D "$data" </dev/null >>"$log" 2>&1
}

# Gives the data to the server whose programs are in "$1".
upgrade() {
    stop && mv "$data" "$dir/before" && before=$bin && bin=$1 || return
    same=
    # The newer server's default is not the older one's, and both have to be the same.
    if "$bin/initdb" --help | grep -q no-data-checksums &&
        "$before/pg_controldata" "$dir/before" | grep -q 'checksum version: *0$'; then
        same=--no-data-checksums
    fi
    { make_cluster --locale=C.UTF-8 $same || make_cluster --no-locale $same; } && configure &&
        (cd "$dir" && "$bin/pg_upgrade" -U postgres -s "$dir" -b "$before" -B "$bin" \
            -d "$dir/before" -D "$data" </dev/null >>"$log" 2>&1) && rm -rf "$dir/before"
}

# A standby writes down what it follows in the words of its own libpq, and has to read it with that one.
libraries() {
    if [ -e "$bin/../lib/libpq.so.5" ]; then
        echo "$bin/../lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
    else
        echo "${LD_LIBRARY_PATH-}"
    fi
}

start() {
    [ -n "$(postmaster)" ] ||
        LD_LIBRARY_PATH=$(libraries) "$bin/pg_ctl" start -s -w -t 60 -D "$data" -l "$log" </dev/null >>"$log" 2>&1
}

stop() {
    [ -z "$(postmaster)" ] ||
        "$bin/pg_ctl" stop -s -w -t 60 -m "${1:-fast}" -D "$data" </dev/null >>"$log" 2>&1
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
    end_backend TERM "$1"
}

crash_backend() {
    end_backend KILL "$1"
}

end_backend() {
    signal_backend "$1" "$2" && wait_while is_server_process "$2"
}

freeze_backend() {
    signal_backend STOP "$1"
}

thaw_backend() {
    signal_backend CONT "$1"
}

signal_backend() {
    [ "$2" != "$(postmaster)" ] && is_server_process "$2" && kill "-$1" "$2"
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
        initialize | start | crash | promote) "$order" ;;
        create | follow | stop | upgrade) "$order" "$argument" ;;
        kill_backend | crash_backend | freeze_backend | thaw_backend) "$order" "$argument" ;;
        *) false ;;
    esac && echo done || echo failed
done
