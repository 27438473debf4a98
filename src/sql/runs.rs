//! The SQL that keeps when a job was run, in the lock catalog.

use std::time::{Duration, SystemTime};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};

use super::answer::{IN_TRANSACTION, refusal};
use super::look::{Look, text_literal};
use super::session::TRANSACTION_IS_OPEN;
use crate::error::not_due::NotDue;
use crate::lock::id::LockId;
use crate::lock::interval::Interval;

/// Begins the transaction that claims a run for the session. Above read committed, a run that has been claimed
/// meanwhile would be a failure; and what is not on disk when the work starts would be forgotten in a crash.
pub(crate) const BEGIN_CLAIM: &str = "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE; \
     SELECT CASE WHEN pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) 'off' \
     THEN pg_catalog.set_config('synchronous_commit', 'local', true) END";

/// Begins a transaction that looks for the last run of a job.
pub(crate) const BEGIN_LOOK: &str = "BEGIN ISOLATION LEVEL READ COMMITTED, READ ONLY";

/// Begins a transaction that changes runs, whatever the defaults of the session are.
pub(crate) const BEGIN_CHANGE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE";

/// Asks whether the transaction that is open sees no more than one snapshot.
pub(crate) fn is_above_read_committed() -> Look {
    Look::new(
        String::from(
            "(CASE WHEN pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) \
             ANY ('{read committed,read uncommitted}'::pg_catalog.text[]) THEN '0' ELSE '1' END)",
        ),
        String::from("0"),
    )
}

/// The server's clock, as it is while a statement is executed.
const NOW: &str = "pg_catalog.clock_timestamp()";

/// Who this session is.
const BY: &str = "pg_catalog.concat('pid ', pg_catalog.pg_backend_pid(), \
     CASE WHEN pg_catalog.current_setting('application_name') OPERATOR(pg_catalog.<>) '' \
     THEN pg_catalog.concat(' (', pg_catalog.current_setting('application_name'), ')') END)";

/// Claims a run if one is due, and returns when it was started.
///
/// The lock is held, so nobody else claims the same name. One statement does it nevertheless, so that who writes
/// the table without the lock is not overwritten. Who waits for such a row gets the time after the wait:
/// `clock_timestamp()` is asked again in the update, where `EXCLUDED.started_at` is from before it.
///
/// It reads nothing by a snapshot. Of serializable transactions, those that had read a common page of the table
/// would otherwise fail, whatever their jobs are.
fn insert(name: &str, interval: Interval) -> String {
    let (is_due, once) = match interval {
        Interval::Once => (String::from("false"), true),
        // A start further ahead than the period is from a clock that was wrong.
        Interval::AtMostEvery(period) => {
            let period = micros(period);
            let is_due = format!(
                "(r.started_at OPERATOR(pg_catalog.<=) ({NOW} OPERATOR(pg_catalog.-) {period}) \
                 OR r.started_at OPERATOR(pg_catalog.>) ({NOW} OPERATOR(pg_catalog.+) {period}))"
            );
            (is_due, false)
        }
    };
    let name = text_literal(name);
    format!(
        "INSERT INTO diesel_advisory.runs AS r (name, started_at, started_by, once) \
         VALUES ({name}, {NOW}, {BY}, {once}) \
         ON CONFLICT (name) DO UPDATE SET started_at = {NOW}, started_by = EXCLUDED.started_by, \
         finished_at = NULL, once = r.once OR EXCLUDED.once WHERE {is_due} RETURNING "
    )
}

/// Claims a run in the transaction of its work, and returns a [`StampRow`] if one was due.
pub(crate) fn claim(name: &str, interval: Interval) -> String {
    insert(name, interval) + &since_epoch("r.started_at") + " AS stamp"
}

/// The row of [`claim`].
#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub(crate) struct StampRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) stamp: i64,
}

impl StampRow {
    pub(crate) fn claimed(&self, name: &str) -> Claimed {
        Claimed {
            name: name.to_owned(),
            stamp: self.stamp,
            before: None,
        }
    }
}

/// Claims a run in a transaction of its own, and `SELECT`s a [`ClaimRow`].
pub(crate) fn claim_for_session(name: &str, interval: Interval) -> String {
    format!(
        "WITH seen AS (\
             SELECT s.started_at, s.started_by, s.finished_at, s.once FROM diesel_advisory.runs AS s \
             WHERE s.name OPERATOR(pg_catalog.=) {}\
         ), claimed AS ({}r.started_at) \
         SELECT {} AS claimed, s.once, {LAST}, \
         pg_catalog.has_table_privilege('diesel_advisory.runs', 'DELETE') AS may_delete \
         FROM (SELECT) AS one LEFT JOIN claimed AS c ON true LEFT JOIN seen AS s ON true",
        text_literal(name),
        insert(name, interval),
        since_epoch("c.started_at"),
        LAST = last("s"),
    )
}

/// `SELECT`s the [`LastRow`] of a job.
pub(crate) fn last_run(name: &str) -> String {
    format!(
        "SELECT {} FROM diesel_advisory.runs AS s WHERE s.name OPERATOR(pg_catalog.=) {}",
        last("s"),
        text_literal(name)
    )
}

/// The columns of a [`LastRow`].
fn last(table: &str) -> String {
    format!(
        "{} AS now, {} AS started_at, {table}.started_by, {} AS finished_at",
        since_epoch(NOW),
        since_epoch(&format!("{table}.started_at")),
        since_epoch(&format!("{table}.finished_at")),
    )
}

/// The row of [`claim_for_session`].
#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub(crate) struct ClaimRow {
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) claimed: Option<i64>,
    #[diesel(sql_type = Nullable<Bool>)]
    pub(crate) once: Option<bool>,
    #[diesel(embed)]
    pub(crate) last: LastRow,
    /// Whether a first run could be put back.
    #[diesel(sql_type = Bool)]
    pub(crate) may_delete: bool,
}

impl ClaimRow {
    /// What has been claimed, or why nothing was.
    pub(crate) fn claimed(self, name: &str, interval: Interval) -> Result<Claimed, NotDue> {
        let Some(stamp) = self.claimed else {
            return Err(self.last.not_due(name, interval));
        };
        let before = self.last.started_at.map(|started_at| Before {
            started_at,
            started_by: self.last.started_by,
            finished_at: self.last.finished_at,
            once: self.once.unwrap_or_default(),
        });
        Ok(Claimed {
            name: name.to_owned(),
            stamp,
            before,
        })
    }
}

/// The last run of a job, if there was one. Times are microseconds since 1970 on the server's clock.
#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub(crate) struct LastRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) now: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) started_at: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) started_by: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) finished_at: Option<i64>,
}

impl LastRow {
    pub(crate) fn not_due(self, name: &str, interval: Interval) -> NotDue {
        let here = SystemTime::now();
        let on_this_clock = |time: i64| {
            let distance = Duration::from_micros(time.abs_diff(self.now));
            let moved = if time < self.now {
                here.checked_sub(distance)
            } else {
                here.checked_add(distance)
            };
            moved.unwrap_or(here)
        };
        // Whoever holds no lock may have claimed it after the statement began to look.
        let started_at = self.started_at.unwrap_or(self.now);
        let mut not_due = NotDue::new(LockId::from(name), on_this_clock(started_at));
        not_due.started_by = self.started_by;
        not_due.finished_at = self.finished_at.map(on_this_clock);
        not_due.due_at = match interval {
            Interval::Once => None,
            Interval::AtMostEvery(period) => Some(on_this_clock(started_at.saturating_add(period))),
        };
        not_due
    }
}

/// A run that has been claimed.
#[derive(Debug, Clone)]
pub(crate) struct Claimed {
    name: String,
    /// When it was started.
    stamp: i64,
    /// The run before it.
    before: Option<Before>,
}

#[derive(Debug, Clone)]
struct Before {
    started_at: i64,
    started_by: Option<String>,
    finished_at: Option<i64>,
    once: bool,
}

impl Claimed {
    /// A statement that says that the run is done, for the transaction of its work. It reads nothing by a
    /// snapshot, as [`insert`].
    pub(crate) fn finish(&self) -> String {
        let stamp = time(self.stamp);
        format!(
            "INSERT INTO diesel_advisory.runs AS r (name, started_at, started_by, finished_at) \
             VALUES ({}, {stamp}, {BY}, {NOW}) ON CONFLICT (name) DO UPDATE SET finished_at = {NOW} \
             WHERE r.started_at OPERATOR(pg_catalog.=) {stamp}",
            text_literal(&self.name),
        )
    }

    /// A statement that takes the run back, unless another one has been started since.
    fn put_back(&self) -> String {
        let is_own = self.is_own();
        let Some(before) = &self.before else {
            return format!("DELETE FROM diesel_advisory.runs AS r WHERE {is_own}");
        };
        let null = || String::from("NULL");
        format!(
            "UPDATE diesel_advisory.runs AS r SET started_at = {}, started_by = {}, finished_at = {}, \
             once = {} WHERE {is_own}",
            time(before.started_at),
            before.started_by.as_deref().map_or_else(null, text_literal),
            before.finished_at.map_or_else(null, time),
            before.once,
        )
    }

    fn is_own(&self) -> String {
        format!(
            "r.name OPERATOR(pg_catalog.=) {} AND r.started_at OPERATOR(pg_catalog.=) {}",
            text_literal(&self.name),
            time(self.stamp)
        )
    }

    /// A message that says that the run is done, outside of a transaction.
    pub(crate) fn finish_alone(&self) -> String {
        let is_own = self.is_own();
        alone(&format!(
            "UPDATE diesel_advisory.runs AS r SET finished_at = {NOW} WHERE {is_own}"
        ))
    }

    /// A message that takes the run back, outside of a transaction.
    pub(crate) fn put_back_alone(&self) -> String {
        alone(&self.put_back())
    }
}

/// A message of one transaction with the statement, which fails where a transaction is open: nobody would
/// commit it there.
fn alone(statement: &str) -> String {
    format!(
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; \
         SELECT WHERE CASE WHEN {TRANSACTION_IS_OPEN} THEN {in_transaction} END; {statement}",
        in_transaction = refusal(IN_TRANSACTION),
    )
}

/// `SELECT`s a [`GrantsRow`], or nothing where there is no table of runs.
pub(crate) const GRANTS: &str = "SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
     AND pg_catalog.has_table_privilege(c.oid, 'SELECT') \
     AND pg_catalog.has_table_privilege(c.oid, 'INSERT') \
     AND pg_catalog.has_table_privilege(c.oid, 'UPDATE') AS may_claim, \
     pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
     AND pg_catalog.has_table_privilege(c.oid, 'SELECT') \
     AND pg_catalog.has_table_privilege(c.oid, 'DELETE') AS may_forget \
     FROM pg_catalog.pg_class AS c \
     JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
     WHERE n.nspname OPERATOR(pg_catalog.=) 'diesel_advisory' \
     AND c.relname OPERATOR(pg_catalog.=) 'runs'";

/// The row of [`GRANTS`].
#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub(crate) struct GrantsRow {
    #[diesel(sql_type = Bool)]
    pub(crate) may_claim: bool,
    #[diesel(sql_type = Bool)]
    pub(crate) may_forget: bool,
}

/// Deletes the runs that were started so long ago, and `SELECT`s a [`CountRow`].
pub(crate) fn forget(older_than: Interval) -> String {
    let is_old = match older_than {
        Interval::Once => String::from("false"),
        Interval::AtMostEvery(age) => format!(
            "r.started_at OPERATOR(pg_catalog.<) \
             (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) {})",
            micros(age)
        ),
    };
    format!(
        "WITH gone AS (DELETE FROM diesel_advisory.runs AS r WHERE NOT r.once AND {is_old} RETURNING 1) \
         SELECT pg_catalog.count(*)::int AS count FROM gone"
    )
}

/// The row of [`forget`].
#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub(crate) struct CountRow {
    #[diesel(sql_type = Integer)]
    pub(crate) count: i32,
}

/// An interval as an expression. PostgreSQL 14 reads a number of microseconds of up to 32 bits.
fn micros(count: i64) -> String {
    format!("('1 microsecond'::interval OPERATOR(pg_catalog.*) '{count}'::double precision)")
}

/// A time as an expression.
fn time(micros_since_epoch: i64) -> String {
    let since = micros(micros_since_epoch);
    format!("('epoch'::pg_catalog.timestamptz OPERATOR(pg_catalog.+) {since})")
}

/// Microseconds since 1970 of an expression of type `timestamptz`; null for an infinite one.
fn since_epoch(time: &str) -> String {
    format!(
        "CASE WHEN pg_catalog.isfinite({time}) \
         THEN (EXTRACT(epoch FROM {time}) OPERATOR(pg_catalog.*) 1000000)::bigint END"
    )
}
