//! The command line. Help, completions and man pages are generated from what stands here.

use std::ffi::OsString;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  A job that every machine starts, and one runs:
    pg-advisory run nightly --no-wait -- /usr/local/bin/nightly

  Who holds which lock:
    pg-advisory who

  Whether this server will do:
    pg-advisory check

The server is found as by psql: -d, -h, -p, -U, DATABASE_URL, PGHOST, PGPORT, PGUSER, PGDATABASE, PGPASSWORD,
PGPASSFILE, PGSERVICE, PGSSLMODE, PGSSLROOTCERT, PGCONNECT_TIMEOUT, PGAPPNAME, PGTARGETSESSIONATTRS.

Exit codes: 0 done, 64 wrong usage, 69 no server, 70 a statement failed, 77 not let in, 78 a file of the
configuration cannot be used. `run` has more: see `pg-advisory run --help`.";

const RUN_EXAMPLES: &str = "\
Examples:
  pg-advisory run nightly --no-wait -- /usr/local/bin/nightly
  pg-advisory run deploy --wait 10m -- sh -c 'migrate && restart'
  pg-advisory run report --shared -- make-report --month 11

The command's environment has PG_ADVISORY_NAME, PG_ADVISORY_TTL (in seconds) and PG_ADVISORY_TOKEN: a fencing
token of 32 hexadecimal digits, larger than every token given before under the same name. It has no password of
the connection unless --keep-password is given.

Exit codes: the command's own; 128+n if signal n has ended it; 126 and 127 if it cannot be executed or found;
75 (or -E) if the lock cannot be had; 74 if the lease was lost; 69 if there is no server that will do;
64 wrong usage; 70 a statement failed; 77 not let in; 78 a file of the configuration cannot be used.";

/// PostgreSQL advisory locks by name: for cron jobs, init containers, deploy scripts and operators.
#[derive(Debug, Parser)]
#[command(
    name = "pg-advisory",
    version,
    disable_help_flag = true,
    disable_help_subcommand = true,
    after_long_help = EXAMPLES,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    help: Help,
}

/// `-h` is the host, as in all programs of PostgreSQL.
#[derive(Debug, Args)]
struct Help {
    /// Print help: short with -?, long with --help
    #[arg(short = '?', action = ArgAction::HelpShort, global = true)]
    short: Option<bool>,
    /// Print help with examples
    #[arg(long = "help", action = ArgAction::HelpLong, global = true)]
    long: Option<bool>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command while a lock is held
    #[command(after_long_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Show who holds which lock, and who waits
    #[command(after_long_help = WHO_EXAMPLES)]
    Who(WhoArgs),
    /// End the sessions that hold a lock
    #[command(after_long_help = KILL_EXAMPLES)]
    Kill(KillArgs),
    /// Print the key of a lock, and how to find it by hand
    #[command(after_long_help = KEY_EXAMPLES)]
    Key(KeyArgs),
    /// Tell whether a server, what stands in between, and a role are fit for locks
    #[command(after_long_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Install the lock catalog, or bring it up to date
    ///
    /// It is a schema `diesel_advisory` with the names of locks, which `who` shows, and the runs of jobs, which
    /// `run --every` and `--once` need. The role needs the right to create a schema.
    Install(InstallArgs),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print a man page
    Man {
        /// The command it is for; the program itself, if left out
        command: Option<String>,
    },
}

/// Where to connect.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectArgs {
    /// The database: its name, a URL, or `host=… dbname=…`
    ///
    /// With it or -h, `DATABASE_URL` is not looked at. A password in it is hidden from `ps`.
    #[arg(short = 'd', long, value_name = "URL|CONNINFO|NAME")]
    pub(crate) dbname: Option<String>,
    /// The server's name or address, or the folder of its socket; several with commas
    #[arg(short = 'h', long)]
    pub(crate) host: Option<String>,
    /// The server's port
    #[arg(short = 'p', long)]
    pub(crate) port: Option<u16>,
    /// The role to connect as
    #[arg(short = 'U', long)]
    pub(crate) username: Option<String>,
    /// Never ask for a password
    #[arg(short = 'w', long, conflicts_with = "password")]
    pub(crate) no_password: bool,
    /// Ask for a password before connecting
    #[arg(short = 'W', long)]
    pub(crate) password: bool,
}

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub(crate) struct RunArgs {
    /// The name of the lock
    #[arg(value_parser = name)]
    pub(crate) name: String,
    /// The command, and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
    /// Wait for the lock no longer than this; without it, for as long as it takes
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) wait: Option<Duration>,
    /// Do not wait
    #[arg(short = 'n', long, conflicts_with = "wait")]
    pub(crate) no_wait: bool,
    /// Share the lock with others that share it
    #[arg(short = 's', long)]
    pub(crate) shared: bool,
    /// Let this many hold the lock at once; all have to say the same number
    #[arg(
        long,
        value_name = "NUMBER",
        value_parser = clap::value_parser!(u32).range(1..=1000),
        conflicts_with_all = ["shared", "every", "once"]
    )]
    pub(crate) permits: Option<u32>,
    /// Run it only if it was not started for this long, under this name, by anybody
    ///
    /// Otherwise the exit code is 75 (or -E). It needs the lock catalog: see `pg-advisory install --help`.
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "shared")]
    pub(crate) every: Option<Duration>,
    /// Run it only if it was never started under this name
    #[arg(long, conflicts_with_all = ["every", "shared"])]
    pub(crate) once: bool,
    /// With --every and --once: a command that fails counts as not started
    #[arg(long)]
    pub(crate) retry_failed: bool,
    /// How long the lock outlives a machine that is gone
    ///
    /// The server is asked in every third of it. If it has not answered after nine tenths, the lease is lost,
    /// and the command is ended.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = time_to_live)]
    pub(crate) ttl: Duration,
    /// How long a command may take to end after SIGTERM, once the lease is lost; then it gets SIGKILL
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(crate) grace: Duration,
    /// The exit code if the lock cannot be had
    #[arg(short = 'E', long, value_name = "CODE", default_value_t = crate::exit::UNAVAILABLE)]
    pub(crate) conflict_exit_code: u8,
    /// Print nothing but errors
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,
    /// Leave the connection's password in the command's environment
    ///
    /// Otherwise PGPASSWORD is taken out of it, and the password out of the `DATABASE_URL` that was used.
    #[arg(long)]
    pub(crate) keep_password: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

const WHO_EXAMPLES: &str = "\
Examples:
  pg-advisory who
  pg-advisory who nightly deploy --watch
  pg-advisory who --json | jq 'select(.status == \"waiting\")'

PostgreSQL does not record when a lock was granted. For a lock that is held, SINCE is the start of the
transaction, or else of the session: it cannot have been earlier.";

#[derive(Debug, Args)]
pub(crate) struct WhoArgs {
    /// Only these locks; without any, all of them
    #[arg(value_parser = name)]
    pub(crate) names: Vec<String>,
    /// Show it again and again, in place, until a signal or `q`
    #[arg(long, conflicts_with = "json")]
    pub(crate) watch: bool,
    /// How often to look with --watch
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub(crate) interval: Duration,
    /// One JSON object a line for each lock and session
    #[arg(long)]
    pub(crate) json: bool,
    /// Show the statements too
    #[arg(short = 'v', long)]
    pub(crate) verbose: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

const KILL_EXAMPLES: &str = "\
Examples:
  pg-advisory kill nightly
  pg-advisory kill 4711 --yes

Exit code: 0 if all of them are gone, 1 if one is not, there is none, or the answer was no.";

#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    /// Names of locks, or process ids of the server, which are all digits
    #[arg(value_name = "NAME|PID", required_unless_present = "lock", value_parser = name)]
    pub(crate) targets: Vec<String>,
    /// The name of a lock that could be mistaken for a process id
    #[arg(long = "name", value_name = "NAME", id = "lock", value_parser = name)]
    pub(crate) names: Vec<String>,
    /// End those that wait for the locks too
    #[arg(long)]
    pub(crate) waiters: bool,
    /// Do not ask
    #[arg(short = 'y', long)]
    pub(crate) yes: bool,
    /// How long to wait until they are gone
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(crate) wait: Duration,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

const KEY_EXAMPLES: &str = "\
Examples:
  pg-advisory key billing.close_month
  pg-advisory key --django nightly
  pg-advisory key --pair 7 42
  pg-advisory key --hashtext orders 42

Only --hashtext and --hashtextextended connect: it is the server that hashes.";

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// Names of locks
    #[arg(value_parser = name, required_unless_present_any = ["django", "pair", "hashtext", "hashtextextended"])]
    pub(crate) names: Vec<String>,
    /// A name that django-pglock locks
    #[arg(long, value_name = "NAME")]
    pub(crate) django: Vec<String>,
    /// Two numbers, as `pg_advisory_lock(A, B)` takes them
    #[arg(long, num_args = 2, value_names = ["A", "B"], allow_negative_numbers = true)]
    pub(crate) pair: Vec<i32>,
    /// As `pg_advisory_lock(hashtext(A), hashtext(B))` hashes it
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pub(crate) hashtext: Vec<String>,
    /// As `pg_advisory_lock(hashtextextended(TEXT, 0))` hashes it
    #[arg(long, value_name = "TEXT")]
    pub(crate) hashtextextended: Vec<String>,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

const CHECK_EXAMPLES: &str = "\
Examples:
  pg-advisory check
  pg-advisory check --all -d 'host=db1,db2 dbname=app'
  pg-advisory check --json | jq 'select(.status != \"ok\")'

Exit code: 0 if it is fit for `pg-advisory run`, 1 with a reason if not.";

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Show what is as it should be too
    #[arg(long)]
    pub(crate) all: bool,
    /// One JSON object a line for each thing that was checked
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// The name of a lock.
fn name(text: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        return Err("a lock needs a name");
    }
    Ok(text.to_owned())
}

/// `30s`, `1h 30m`; a bare number is of seconds.
fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string());
    }
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

fn time_to_live(text: &str) -> Result<Duration, String> {
    const LEAST: Duration = Duration::from_millis(200);
    let ttl = duration(text)?;
    if ttl < LEAST {
        return Err(String::from("a time to live is at least 200ms"));
    }
    Ok(ttl)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::CommandFactory as _;

    use super::{Cli, duration};

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_read_with_and_without_units() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        for wrong in ["", "-1", "1 fortnight"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
