//! `pg-advisory run`: a command under a lease.

mod child;
mod exec;
mod hold;
pub(crate) mod signals;
mod supervise;
mod terminal;
mod waiting;

use diesel::sql_types::Integer;
use diesel::{QueryableByName, sql_query};
use diesel_advisory::{Error, Lease};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use tokio::sync::oneshot;

pub(crate) use self::exec::become_command;
use self::signals::{Signals, code_of};
use self::supervise::{Job, Outcome};
use crate::args::RunArgs;
use crate::connect::{self, Settings};
use crate::exit::{Failure, say};
use crate::secrets;

pub(crate) async fn run(args: &RunArgs) -> Result<u8, Failure> {
    let settings = Settings::of(&args.connect)?;
    let mut signals = Signals::that_end()?;
    let label = connect::label(&args.name);
    let mut conn = tokio::select! {
        conn = connect::open(&settings, &label) => conn?,
        signal = signals.next() => return Ok(code_of(signal)),
    };
    // For who is told what goes on during the wait.
    let pid = if args.quiet || args.no_wait {
        0
    } else {
        own_pid(&mut conn).await?
    };
    let canceller = connect::Canceller::of(&settings, &conn)?;
    let (granted, is_granted) = oneshot::channel();
    let (done, is_done) = oneshot::channel();
    let mut lease = hold::hold(args, conn, hold::Work::new(granted, is_done));

    let granted = tokio::select! {
        biased;
        granted = is_granted => granted.ok(),
        ended = &mut lease => {
            waiting::clear(args.quiet);
            return not_begun(args, ended);
        }
        signal = signals.next() => {
            waiting::clear(args.quiet);
            // The server would notice only at the end of the wait.
            canceller.cancel().await;
            return Ok(code_of(signal));
        }
        () = waiting::tell(&settings, args, pid) => None,
    };
    waiting::clear(args.quiet);
    let Some(granted) = granted else {
        return not_begun(args, lease.await);
    };

    let mut job = Job::start(args, &granted, &environment(args, &granted), signals)?;
    let outcome = job.supervise(&mut lease).await;
    match outcome {
        Outcome::Exited(code) => {
            let _ = done.send(code);
            // Parts of it wait for the server as long as the network lets them.
            match tokio::time::timeout(args.ttl, lease).await {
                Ok(Ok(())) => Ok(code),
                // Whatever it is: another holder may have begun before the command was done.
                Ok(Err(error)) => Err(Failure::new(
                    crate::exit::LOST,
                    Failure::from(error).message,
                )),
                Err(_) => Err(Failure::new(
                    crate::exit::LOST,
                    format!(
                        "nobody can tell whether {:?} was released: the server does not answer",
                        args.name
                    ),
                )),
            }
        }
        Outcome::Lost(failure) => {
            say!("{failure}; the command is ended");
            job.end(args.grace).await;
            Ok(failure.code)
        }
    }
}

/// The lease has ended before it has begun.
fn not_begun(args: &RunArgs, ended: Result<(), Error>) -> Result<u8, Failure> {
    let Err(error) = ended else {
        return Ok(0);
    };
    let mut failure = match &error {
        Error::Database(error) if was_cut_short(error) => {
            let message = format!(
                "advisory lock {:?} is not available: the server has ended the wait: {error}",
                args.name
            );
            Failure::new(crate::exit::UNAVAILABLE, message)
        }
        // It speaks of methods of the library.
        Error::NoCatalog => Failure::config(
            "there is no table `diesel_advisory.runs`, which --every and --once keep runs in: \
             `pg-advisory install` makes it, or brings it up to date",
        ),
        _ => Failure::from(error),
    };
    if failure.code == crate::exit::UNAVAILABLE {
        failure.code = args.conflict_exit_code;
        if args.quiet {
            return Ok(failure.code);
        }
    }
    Err(failure)
}

/// By the role's `statement_timeout`, or by an administrator.
fn was_cut_short(error: &diesel::result::Error) -> bool {
    matches!(error, diesel::result::Error::DatabaseError(_, info)
        if info.message().starts_with("canceling statement"))
}

fn environment(args: &RunArgs, lease: &Lease) -> Vec<(&'static str, Option<String>)> {
    let token = lease.token();
    if let Err(error) = &token {
        if !args.quiet {
            say!("PG_ADVISORY_TOKEN is not set: {error}");
        }
    }
    let mut environment = vec![
        ("PG_ADVISORY_NAME", Some(args.name.clone())),
        ("PG_ADVISORY_TTL", Some(args.ttl.as_secs_f64().to_string())),
        (
            "PG_ADVISORY_TOKEN",
            token.ok().map(|token| token.to_string()),
        ),
    ];
    if !args.keep_password {
        environment.extend(secrets::changes(&args.connect));
    }
    environment
}

#[derive(QueryableByName)]
struct Pid {
    #[diesel(sql_type = Integer)]
    pid: i32,
}

async fn own_pid(conn: &mut AsyncPgConnection) -> Result<i32, Failure> {
    let query = sql_query("SELECT pg_catalog.pg_backend_pid() AS pid");
    Ok(query.get_result::<Pid>(conn).await?.pid)
}
