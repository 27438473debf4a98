# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_pg_advisory_global_optspecs
    string join \n ? help V/version
end

function __fish_pg_advisory_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_pg_advisory_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_pg_advisory_using_subcommand
    set -l cmd (__fish_pg_advisory_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c pg-advisory -n "__fish_pg_advisory_needs_command" -s ? -d 'Print help: short with -?, long with --help'
complete -c pg-advisory -n "__fish_pg_advisory_needs_command" -l help -d 'Print help with examples'
complete -c pg-advisory -n "__fish_pg_advisory_needs_command" -s V -l version -d 'Print version'
complete -c pg-advisory -n "__fish_pg_advisory_needs_command" -f -a "run" -d 'Run a command while a lock is held'
complete -c pg-advisory -n "__fish_pg_advisory_needs_command" -f -a "who" -d 'Show who holds which lock, and who waits'
complete -c pg-advisory -n "__fish_pg_advisory_needs_command" -f -a "kill" -d 'End the sessions that hold a lock'
complete -c pg-advisory -n "__fish_pg_advisory_needs_command" -f -a "key" -d 'Print the key of a lock, and how to find it by hand'
complete -c pg-advisory -n "__fish_pg_advisory_needs_command" -f -a "check" -d 'Tell whether a server, what stands in between, and a role are fit for locks'
complete -c pg-advisory -n "__fish_pg_advisory_needs_command" -f -a "install" -d 'Install the lock catalog, or bring it up to date'
complete -c pg-advisory -n "__fish_pg_advisory_needs_command" -f -a "completions" -d 'Print the completions of a shell'
complete -c pg-advisory -n "__fish_pg_advisory_needs_command" -f -a "man" -d 'Print a man page'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand run" -l wait -d 'Wait for the lock no longer than this; without it, for as long as it takes' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand run" -l permits -d 'Let this many hold the lock at once; all have to say the same number' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand run" -l every -d 'Run it only if it was not started for this long, under this name, by anybody' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand run" -l ttl -d 'How long the lock outlives a machine that is gone' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand run" -l grace -d 'How long a command may take to end after SIGTERM, once the lease is lost; then it gets SIGKILL' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand run" -s E -l conflict-exit-code -d 'The exit code if the lock cannot be had' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand run" -s d -l dbname -d 'The database: its name, a URL, or `host=… dbname=…`' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand run" -s h -l host -d 'The server\'s name or address, or the folder of its socket; several with commas' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand run" -s p -l port -d 'The server\'s port' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand run" -s U -l username -d 'The role to connect as' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand run" -s n -l no-wait -d 'Do not wait'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand run" -s s -l shared -d 'Share the lock with others that share it'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand run" -l once -d 'Run it only if it was never started under this name'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand run" -l retry-failed -d 'With --every and --once: a command that fails counts as not started'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand run" -s q -l quiet -d 'Print nothing but errors'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand run" -l keep-password -d 'Leave the connection\'s password in the command\'s environment'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand run" -s w -l no-password -d 'Never ask for a password'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand run" -s W -l password -d 'Ask for a password before connecting'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand run" -s ? -d 'Print help: short with -?, long with --help'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand run" -l help -d 'Print help with examples'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand who" -l interval -d 'How often to look with --watch' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand who" -s d -l dbname -d 'The database: its name, a URL, or `host=… dbname=…`' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand who" -s h -l host -d 'The server\'s name or address, or the folder of its socket; several with commas' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand who" -s p -l port -d 'The server\'s port' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand who" -s U -l username -d 'The role to connect as' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand who" -l watch -d 'Show it again and again, in place, until a signal or `q`'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand who" -l json -d 'One JSON object a line for each lock and session'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand who" -s v -l verbose -d 'Show the statements too'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand who" -s w -l no-password -d 'Never ask for a password'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand who" -s W -l password -d 'Ask for a password before connecting'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand who" -s ? -d 'Print help: short with -?, long with --help'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand who" -l help -d 'Print help with examples'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand kill" -l name -d 'The name of a lock that could be mistaken for a process id' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand kill" -l wait -d 'How long to wait until they are gone' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand kill" -s d -l dbname -d 'The database: its name, a URL, or `host=… dbname=…`' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand kill" -s h -l host -d 'The server\'s name or address, or the folder of its socket; several with commas' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand kill" -s p -l port -d 'The server\'s port' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand kill" -s U -l username -d 'The role to connect as' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand kill" -l waiters -d 'End those that wait for the locks too'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand kill" -s y -l yes -d 'Do not ask'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand kill" -s w -l no-password -d 'Never ask for a password'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand kill" -s W -l password -d 'Ask for a password before connecting'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand kill" -s ? -d 'Print help: short with -?, long with --help'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand kill" -l help -d 'Print help with examples'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand key" -l django -d 'A name that django-pglock locks' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand key" -l pair -d 'Two numbers, as `pg_advisory_lock(A, B)` takes them' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand key" -l hashtext -d 'As `pg_advisory_lock(hashtext(A), hashtext(B))` hashes it' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand key" -l hashtextextended -d 'As `pg_advisory_lock(hashtextextended(TEXT, 0))` hashes it' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand key" -s d -l dbname -d 'The database: its name, a URL, or `host=… dbname=…`' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand key" -s h -l host -d 'The server\'s name or address, or the folder of its socket; several with commas' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand key" -s p -l port -d 'The server\'s port' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand key" -s U -l username -d 'The role to connect as' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand key" -s w -l no-password -d 'Never ask for a password'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand key" -s W -l password -d 'Ask for a password before connecting'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand key" -s ? -d 'Print help: short with -?, long with --help'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand key" -l help -d 'Print help with examples'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand check" -s d -l dbname -d 'The database: its name, a URL, or `host=… dbname=…`' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand check" -s h -l host -d 'The server\'s name or address, or the folder of its socket; several with commas' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand check" -s p -l port -d 'The server\'s port' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand check" -s U -l username -d 'The role to connect as' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand check" -l all -d 'Show what is as it should be too'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand check" -l json -d 'One JSON object a line for each thing that was checked'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand check" -s w -l no-password -d 'Never ask for a password'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand check" -s W -l password -d 'Ask for a password before connecting'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand check" -s ? -d 'Print help: short with -?, long with --help'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand check" -l help -d 'Print help with examples'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand install" -s d -l dbname -d 'The database: its name, a URL, or `host=… dbname=…`' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand install" -s h -l host -d 'The server\'s name or address, or the folder of its socket; several with commas' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand install" -s p -l port -d 'The server\'s port' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand install" -s U -l username -d 'The role to connect as' -r
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand install" -s w -l no-password -d 'Never ask for a password'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand install" -s W -l password -d 'Ask for a password before connecting'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand install" -s ? -d 'Print help: short with -?, long with --help'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand install" -l help -d 'Print help with examples'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand completions" -s ? -d 'Print help: short with -?, long with --help'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand completions" -l help -d 'Print help with examples'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand man" -s ? -d 'Print help: short with -?, long with --help'
complete -c pg-advisory -n "__fish_pg_advisory_using_subcommand man" -l help -d 'Print help with examples'
