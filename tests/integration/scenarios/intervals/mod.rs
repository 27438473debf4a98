//! Work that starts at most once in a while.

mod due;
mod failures;
mod keeping;
mod refused;

use std::panic::resume_unwind;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use diesel::result::Error as DieselError;
use diesel_advisory::{AdvisoryConnection, Error, LockId, NotDue, catalog};
use diesel_advisory_sandbox::Sandbox;

use super::side::*;
use crate::support::{
    self, Failure, HOSTILE, Holder, LEVELS, Level, PATIENCE, assert_free, assert_taken, at_level,
    committed, hostile_database, unique, wait_until,
};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Where the work runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Run(Option<Level>),
    Session,
    /// With `retry_failed`.
    Retry,
}

const SCOPES: [Scope; 6] = [
    Scope::Run(None),
    Scope::Run(Some(Level::ReadCommitted)),
    Scope::Run(Some(Level::RepeatableRead)),
    Scope::Run(Some(Level::Serializable)),
    Scope::Session,
    Scope::Retry,
];

/// What the work does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Succeeds,
    Fails,
    Panics,
    /// Fails in a transaction that it has begun with Diesel.
    FailsInside,
    /// Fails in one that Diesel does not know of, and which has failed.
    FailsInRaw,
}

impl Work {
    #[helper]
    async fn do_it(self, conn: &mut Conn, started: &AtomicU32) -> Result<(), Failure> {
        started.fetch_add(1, Ordering::SeqCst);
        match self {
            Self::Succeeds => Ok(()),
            Self::Fails => Err(Failure::OnPurpose),
            Self::Panics => resume_unwind(Box::new(())),
            Self::FailsInside => {
                begin(conn).await;
                Err(Failure::OnPurpose)
            }
            Self::FailsInRaw => {
                let failed = conn.batch_execute("BEGIN; SELECT 1 / 0").await;
                Err(failed.unwrap_err().into())
            }
        }
    }
}

impl Scope {
    /// Whether the work was done, or why it was not started.
    #[helper]
    async fn run(
        self,
        conn: &mut Conn,
        job: &str,
        period: Duration,
        work: Work,
        started: &AtomicU32,
    ) -> Result<Option<()>, Failure> {
        let work = async |conn: &mut Conn| work.do_it(conn, started).await;
        match self {
            Self::Run(level) => {
                let run = at_level!(level, conn.advisory(job)).at_most_every(period);
                run.try_run(work).await
            }
            Self::Session => {
                let run = conn.advisory_session(job).at_most_every(period);
                run.try_run(work).await
            }
            Self::Retry => {
                let run = conn.advisory_session(job).at_most_every(period);
                run.retry_failed().try_run(work).await
            }
        }
    }

    /// Whether the work, which succeeds, was due.
    #[helper]
    async fn is_due(self, conn: &mut Conn, job: &str, period: Duration) -> bool {
        let started = AtomicU32::new(0);
        let ran = self.run(conn, job, period, Work::Succeeds, &started).await;
        let ran = ran.unwrap().is_some();
        assert_eq!(started.into_inner(), u32::from(ran), "{self:?}");
        ran
    }
}

/// A connection to a database with the catalog.
#[helper]
async fn prepared() -> Conn {
    catalog::install(&mut support::connect()).unwrap();
    connect().await
}

/// What is kept of a job, or nothing.
fn row(job: &str) -> String {
    let sql = format!(
        "SELECT coalesce((SELECT concat_ws('|', started_at, started_by, finished_at, once) \
         FROM diesel_advisory.runs WHERE name = '{job}'), '') AS value"
    );
    support::text(&mut support::connect(), &sql)
}

/// Whether a condition is true of what is kept of a job.
fn is(job: &str, condition: &str) -> bool {
    let sql = format!(
        "SELECT count(*)::int AS value FROM diesel_advisory.runs WHERE name = '{job}' AND {condition}"
    );
    support::integer(&mut support::connect(), &sql) == 1
}

fn is_free(job: &str) -> bool {
    !AdvisoryConnection::is_advisory_locked(&mut support::connect(), job).unwrap()
}

fn edit(job: &str, set: &str) {
    let sql = format!("UPDATE diesel_advisory.runs SET {set} WHERE name = '{job}'");
    support::execute(&mut support::connect(), &sql);
}

/// How the work of a job that is not due is refused.
#[track_caller]
fn not_due<T: std::fmt::Debug>(ran: Result<T, Error>) -> NotDue {
    match ran {
        Err(Error::NotDue(not_due)) => not_due,
        other => panic!("not due is what it should be: {other:?}"),
    }
}
