//! The SQL that takes locks in a transaction.

use std::fmt::Write as _;

use super::answer::{NOT_FREE, SNAPSHOT, SNAPSHOT_CODE, refusal_of};
use super::guards::{Checks, Condition, Guards};
use super::keys::{Keys, first_refused, push_call, push_calls};
use super::statement::Statement;
use super::{push, push_label_comment};
use crate::lock::key::LockKey;
use crate::lock::set::LockSet;
use crate::lock::wait::Wait;

/// Statements that begin a transaction, and fail unless it is one at read committed on a primary.
///
/// The options say what is the default, and are a check: after a query in the same transaction, which
/// the empty one before is, PostgreSQL accepts no isolation level but the present one, and no `READ WRITE`
/// in a transaction that is read only, as every one on a standby is. It costs half of asking for the
/// settings in the query that takes the lock. Why it fails, [`why_refused`] tells.
pub(crate) fn begin_checked(set: &LockSet<'_>) -> &'static str {
    if set.on_standby {
        "SELECT; BEGIN ISOLATION LEVEL READ COMMITTED"
    } else {
        "SELECT; BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
    }
}

/// A statement that fails with a mark if [`begin_checked`] cannot succeed in this session.
pub(crate) fn why_refused(set: &LockSet<'_>) -> String {
    let other = "pg_catalog.current_setting('default_transaction_isolation') \
                 OPERATOR(pg_catalog.<>) 'read committed' \
                 OR pg_catalog.current_setting('default_transaction_read_only') \
                 OPERATOR(pg_catalog.=) 'on'";
    let guards = Guards::of(set).and(Condition::Sql(other), SNAPSHOT_CODE, SNAPSHOT);
    guards.statement()
}

/// Statements that take all locks in the open transaction, waiting for them as long as they may.
///
/// Whatever fails, the transaction holds nothing more than before once it has been rolled back (to a
/// savepoint). Behind them, `lock_timeout` is what it was.
pub(crate) fn take(set: &LockSet<'_>, checks: Checks) -> String {
    let mut sql = String::with_capacity(512);
    push_take(&mut sql, set, checks);
    sql
}

/// Adds the statements of [`take`] to those that stand before them in their message.
pub(crate) fn push_take(sql: &mut String, set: &LockSet<'_>, checks: Checks) {
    let guards = Guards::with(set, checks);
    if !are_few(set) {
        push(sql, &[&guards.statement(), "SELECT ", SAVE, "; "]);
        push_label_comment(sql, set);
        let waits = wait_for_each(&Keys::of(&set.keys()), set).join("; ");
        push(sql, &[&waits, "; SELECT ", RESTORE]);
        return;
    }
    push_label_comment(sql, set);
    sql.push_str("SELECT WHERE ");
    guards.push_open(sql);
    if let [lock] = &set.locks[..] {
        push_wait_for_one(sql, lock.key, set);
    } else {
        push_take_few(sql, set);
    }
    guards.push_close(sql);
}

/// Adds a condition that waits for a lock as long as it may, and gives `lock_timeout` its value back. It is
/// not true.
///
/// The arguments of a function are evaluated in their order: the old value is read, the timeout is set, the
/// lock is waited for, and at last the function puts the old value back.
fn push_wait_for_one(sql: &mut String, key: LockKey, set: &LockSet<'_>) {
    let timeout = Timeout::of_one(set);
    if let Some(timeout) = &timeout {
        sql.push_str(
            "pg_catalog.set_config('lock_timeout', pg_catalog.current_setting('lock_timeout'), ",
        );
        timeout.push_start(sql);
        sql.push_str(" IS NOT NULL AND ");
    }
    push_call(sql, key, "pg_advisory_xact_lock", set.mode);
    if timeout.is_some() {
        sql.push_str(" IS NOT NULL)");
    }
    sql.push_str(" IS NULL");
}

/// What has to stand behind [`take`] where nothing else does, in the same message.
///
/// A timeout can fire in the moment of the grant. The server cancels at its next look for that, which is
/// between two statements. Without a further one it would be the first statement of the work.
pub(crate) fn late_timeout(set: &LockSet<'_>) -> &'static str {
    match (set.wait, set.locks.len()) {
        (Wait::AtMost(_), 1) => "; SELECT",
        (Wait::AtMost(_) | Wait::Inherit, 2..) if are_few(set) => "; SELECT",
        // Behind a large set stands what gives `lock_timeout` its value back.
        _ => "",
    }
}

/// Whether the locks of a set are [tried one by one](push_take_few) before any of them is waited for.
pub(super) fn are_few(set: &LockSet<'_>) -> bool {
    set.locks.len() <= 16
}

/// Adds a condition that takes all locks of a small set, waiting for them as long as they may. It is not true.
///
/// What only a wait needs stands in a string, which is not parsed as long as all are free: then three locks
/// cost half of what [`wait_for_each`] alone costs. `query_to_xml` executes a string without PL/pgSQL. This
/// one yields no rows, so there is no XML.
pub(super) fn push_take_few(sql: &mut String, set: &LockSet<'_>) {
    sql.push_str("CASE WHEN NOT (");
    push_calls(sql, set, "pg_try_advisory_xact_lock", " AND ");
    let waits = wait_for_each(&Keys::of(&set.keys()), set).join(") OR EXISTS (");
    push(
        sql,
        &[
            ") THEN pg_catalog.query_to_xml($wait$SELECT WHERE ",
            SAVE,
            " IS NULL OR EXISTS (",
            &waits,
            ") OR ",
            RESTORE,
            " IS NULL$wait$, 't', 't', '') IS NULL END",
        ],
    );
}

/// `SELECT`s that wait for all locks of a set, in order. They answer with no rows: `void` is never null.
pub(super) fn wait_for_each(all: &[Keys], set: &LockSet<'_>) -> Vec<String> {
    let timeout = Timeout::of_set(set);
    let selects = all.iter().map(|keys| {
        let call = keys.call("pg_advisory_xact_lock", set.mode);
        // `CASE` keeps to its order, so the timeout is set before the lock is waited for.
        format!(
            "SELECT{} WHERE CASE WHEN {} THEN {call} IS NULL END",
            keys.from(),
            timeout.renew()
        )
    });
    selects.collect()
}

/// Keeps the value of `lock_timeout` in a setting of the transaction.
pub(super) const SAVE: &str = "pg_catalog.set_config('diesel_advisory.lock_timeout', \
                               pg_catalog.current_setting('lock_timeout'), true)";

/// Gives `lock_timeout` its value back.
const RESTORE: &str = "pg_catalog.set_config('lock_timeout', \
                       pg_catalog.current_setting('diesel_advisory.lock_timeout'), true)";

/// A limit that has to be set for the wait.
#[derive(Debug)]
pub(super) enum Timeout {
    Forever,
    Millis(i32),
    /// `lock_timeout` limits each wait alone. A set has one deadline, so that even the session's own
    /// timeout has to be set anew for each lock.
    Session,
}

impl Timeout {
    /// What has to be set for a single lock: nothing, where the session's own timeout limits it.
    pub(super) fn of_one(set: &LockSet<'_>) -> Option<Self> {
        match set.wait {
            Wait::No | Wait::Inherit => None,
            Wait::Forever | Wait::AtMost(_) => Some(Self::of_set(set)),
        }
    }

    fn of_set(set: &LockSet<'_>) -> Self {
        match set.wait {
            Wait::No | Wait::Inherit => Self::Session,
            Wait::Forever => Self::Forever,
            Wait::AtMost(millis) => Self::Millis(millis),
        }
    }

    /// Adds what sets the timeout of a single lock.
    pub(super) fn push_start(&self, sql: &mut String) {
        let millis = match self {
            Self::Forever | Self::Session => 0,
            Self::Millis(millis) => *millis,
        };
        let _ = write!(
            sql,
            "pg_catalog.set_config('lock_timeout', '{millis}', true)"
        );
    }

    /// Sets, before each lock of a set, the timeout to what is left of it. A condition that is true.
    fn renew(&self) -> String {
        /// Milliseconds since the server received the message.
        const GONE: &str = "pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() \
                            OPERATOR(pg_catalog.-) pg_catalog.statement_timestamp()) \
                            OPERATOR(pg_catalog.*) 1000";
        const SAVED: &str = "pg_catalog.current_setting('diesel_advisory.lock_timeout')";
        let left = |millis: &str| {
            set_timeout(&format!(
                "GREATEST(1, pg_catalog.ceil({millis} OPERATOR(pg_catalog.-) ({GONE})))\
                 ::int::pg_catalog.text"
            ))
        };
        match self {
            Self::Forever => format!("{} IS NOT NULL", set_timeout("'0'")),
            Self::Millis(millis) => format!("{} IS NOT NULL", left(&millis.to_string())),
            Self::Session => format!(
                "CASE WHEN {SAVED} OPERATOR(pg_catalog.<>) '0' THEN {} IS NOT NULL ELSE true END",
                left(&format!(
                    "pg_catalog.date_part('epoch', {SAVED}::interval) OPERATOR(pg_catalog.*) 1000"
                ))
            ),
        }
    }
}

fn set_timeout(value: &str) -> String {
    ["pg_catalog.set_config('lock_timeout', ", value, ", true)"].concat()
}

/// `SELECT`s the [code](super::answer::Taking::of_code) of taking locks without waiting for them.
///
/// Of several locks, those before the missing one stay held.
pub(crate) fn try_take(set: &LockSet<'_>, checks: Checks) -> Statement {
    let guards = Guards::with(set, checks);
    guards
        .select()
        .add(match &Keys::of(&set.keys())[..] {
            [key @ Keys::One(_)] => Statement::default()
                .sql(" WHEN ")
                .add(key.call("pg_try_advisory_xact_lock", set.mode))
                .sql(" THEN 0 ELSE 1"),
            _ => Statement::default()
                .sql(" WHEN true THEN ")
                .add(code_expression(set)),
        })
        .sql(" END AS code FOR UPDATE")
}

/// The same as [`try_take`], as a statement that fails with the position of the lock that is not free.
pub(crate) fn try_take_or_fail(set: &LockSet<'_>) -> String {
    format!(
        "{guards}SELECT FROM (SELECT {code} AS code OFFSET 0) AS s \
         WHERE CASE WHEN s.code OPERATOR(pg_catalog.<>) 0 THEN {refusal} END",
        guards = Guards::of(set).statement(),
        code = code_expression(set),
        refusal = refusal_of(&format!("'{NOT_FREE}', s.code")),
    )
}

/// What [`try_take`] selects where nothing is looked at, as an expression.
pub(super) fn code_expression(set: &LockSet<'_>) -> Statement {
    first_refused(
        &Keys::of(&set.keys()),
        "pg_try_advisory_xact_lock",
        set.mode,
        None,
    )
}
