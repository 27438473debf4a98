//! The SQL that takes locks.

use std::fmt::Write as _;

use super::answer::push_raise;
use super::{call, comment, label};
use crate::lock_set::LockSet;
use crate::wait::Wait;

/// Whether to refuse a transaction above read committed, by [`Answer::SnapshotTooOld`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SnapshotCheck {
    On,
    Off,
}

/// Until when a granted lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Transaction,
    Session,
}

/// `SELECT`s the code of an [`Answer`], without waiting.
///
/// Of several locks, those before the missing one stay held.
pub(crate) fn try_locks(set: &LockSet<'_>, check: SnapshotCheck) -> String {
    format!(
        "{}SELECT {} AS code",
        comment(set),
        try_expression(set, check)
    )
}

/// `CASE` is what guarantees that the locks are tried in order, and none after the missing one.
fn try_expression(set: &LockSet<'_>, check: SnapshotCheck) -> String {
    let mut sql = String::from("CASE");
    if check == SnapshotCheck::On {
        sql.push_str(
            " WHEN pg_catalog.current_setting('transaction_isolation') NOT LIKE 'read %' THEN -1",
        );
    }
    push_tries(&mut sql, set, "pg_try_advisory_xact_lock");
    sql.push_str(" ELSE 0 END");
    sql
}

fn push_tries(sql: &mut String, set: &LockSet<'_>, function: &str) {
    for (position, lock) in (1..).zip(&set.locks) {
        let call = call(function, set.mode, lock.key);
        let _ = write!(sql, " WHEN NOT {call} THEN {position}");
    }
}

/// A `DO` block that takes all locks, or fails with the mark of an [`Answer`].
///
/// Whatever fails, the transaction around it holds nothing more than before once it has been rolled
/// back (to a savepoint). Session locks are taken last, and only while the same locks are held for
/// the transaction: then they are granted at once. A session lock that is waited for under a
/// timeout can be granted and yet be reported as timed out, and nobody would know that it is held.
pub(crate) fn wait_block(set: &LockSet<'_>, scope: Scope, check: SnapshotCheck) -> String {
    let mut sql = String::from("DO $$DECLARE missing int := ");
    sql.push_str(&try_expression(set, check));
    sql.push_str("; ");
    if set.wait == Wait::No {
        sql.push_str("BEGIN ");
    } else {
        push_wait(&mut sql, set);
    }
    let label = label(set);
    if check == SnapshotCheck::On {
        push_raise(
            &mut sql,
            "missing < 0",
            &format!("advisory lock {label} begins again, for a newer snapshot"),
        );
    }
    push_raise(
        &mut sql,
        "missing > 0",
        &format!("advisory lock {label} is not available"),
    );
    if scope == Scope::Session {
        push_perform(&mut sql, set, "pg_advisory_lock");
    }
    sql.push_str("END$$");
    sql
}

/// The rest of the declarations, and the wait for those locks that were not free.
fn push_wait(sql: &mut String, set: &LockSet<'_>) {
    const SET: &str = "PERFORM pg_catalog.set_config('lock_timeout', ";
    // `lock_timeout` limits each wait alone. Several locks share one deadline, so that it has to be
    // set anew for each of them, to what is left.
    let deadline = match (set.locks.len(), set.wait) {
        (0 | 1, _) | (_, Wait::Forever | Wait::No) => None,
        (_, Wait::Inherit) => Some(String::from(
            "CASE WHEN before <> '0' THEN pg_catalog.clock_timestamp() + before::interval END",
        )),
        (_, Wait::AtMost(millis)) => Some(format!(
            "pg_catalog.clock_timestamp() + interval '{millis} ms'"
        )),
    };
    let changes_timeout = deadline.is_some() || set.wait != Wait::Inherit;

    if changes_timeout {
        sql.push_str("before text; ");
    }
    if deadline.is_some() {
        sql.push_str("deadline timestamptz; ");
    }
    sql.push_str("BEGIN IF missing > 0 THEN BEGIN ");
    if changes_timeout {
        sql.push_str("before := pg_catalog.current_setting('lock_timeout'); ");
    }
    match (&deadline, set.wait) {
        (Some(deadline), _) => {
            let _ = write!(sql, "deadline := {deadline}; ");
        }
        (None, Wait::AtMost(millis)) => {
            let _ = write!(sql, "{SET}'{millis}', true); ");
        }
        (None, Wait::Forever) => {
            let _ = write!(sql, "{SET}'0', true); ");
        }
        (None, Wait::Inherit | Wait::No) => {}
    }
    for (position, lock) in (1..).zip(&set.locks) {
        if set.locks.len() > 1 {
            let _ = write!(sql, "missing := {position}; ");
        }
        if deadline.is_some() {
            let _ = write!(
                sql,
                "IF deadline IS NOT NULL THEN {SET}greatest(1, pg_catalog.ceil(extract(epoch FROM \
                 deadline - pg_catalog.clock_timestamp()) * 1000))::int::text, true); END IF; "
            );
        }
        let _ = write!(
            sql,
            "PERFORM {}; ",
            call("pg_advisory_xact_lock", set.mode, lock.key)
        );
    }
    if changes_timeout {
        let _ = write!(sql, "{SET}before, true); ");
    }
    sql.push_str("missing := 0; EXCEPTION WHEN lock_not_available THEN NULL; END; END IF; ");
}

fn push_perform(sql: &mut String, set: &LockSet<'_>, function: &str) {
    for lock in &set.locks {
        let _ = write!(sql, "PERFORM {}; ", call(function, set.mode, lock.key));
    }
}

/// Turns held session locks into locks of the present transaction.
///
/// The statements wait for nothing, because the session holds the locks already.
pub(crate) fn session_to_transaction(set: &LockSet<'_>) -> String {
    let calls = |function| {
        let calls = set
            .locks
            .iter()
            .map(|lock| call(function, set.mode, lock.key));
        calls.collect::<Vec<_>>().join(", ")
    };
    format!(
        "SELECT {}; SELECT {}",
        calls("pg_advisory_xact_lock"),
        calls("pg_advisory_unlock")
    )
}

/// `SELECT`s the code of an [`Answer`]: session locks, without waiting.
///
/// The same locks are taken for the transaction of this statement first. So if one is missing,
/// those before it end with the statement.
pub(crate) fn try_session_locks(set: &LockSet<'_>) -> String {
    let mut cases = String::new();
    push_tries(&mut cases, set, "pg_try_advisory_xact_lock");
    push_tries(&mut cases, set, "pg_try_advisory_lock");
    format!("{}SELECT CASE{cases} ELSE 0 END AS code", comment(set))
}
