//! The SQL that takes locks for the session.

use super::answer::{IN_TRANSACTION, IN_TRANSACTION_CODE, SHARED, SHARED_CODE};
use super::carry::{AT_ONCE, push_keep};
use super::guards::{Condition, Guards};
use super::keys::{Keys, first_refused, push_call};
use super::marks::Mark;
use super::statement::Statement;
use super::take::{SAVE, Timeout, are_few, push_take_few, wait_for_each};
use super::{push, push_label_comment};
use crate::lock::key::LockKey;
use crate::lock::set::LockSet;

/// The condition that a transaction was open before this message.
///
/// What stands alone in its message has a transaction whose time is that of the message. It is true of
/// messages in the simple protocol only: in the extended one, each step has a time of its own.
pub(super) const TRANSACTION_IS_OPEN: &str =
    "pg_catalog.timestamptz_ne(CURRENT_TIMESTAMP, pg_catalog.statement_timestamp())";

/// A message that takes all locks for the session, waiting for them as long as they may.
///
/// A session lock that is waited for under a timeout can be granted and yet be reported as timed out,
/// and nobody would know that it is held. So the locks are waited for as locks of the message's
/// transaction, and taken for the session once it holds them, when they are granted at once.
///
/// That is a statement of its own. A timeout can fire in the moment of the grant, and the server cancels at
/// its next look for that, which is between two statements. In one statement the session lock was kept in
/// 1 of 16,923 timeouts, in two in none of 17,054.
pub(crate) fn take_for_session(set: &LockSet<'_>, mark: Mark) -> String {
    let guards = Guards::of(set)
        .and(Condition::Sql(TRANSACTION_IS_OPEN), 0, IN_TRANSACTION)
        .and(Condition::LandsOnForeign(mark), SHARED_CODE, SHARED);
    let mut sql = String::with_capacity(1024);
    if !are_few(set) {
        push(&mut sql, &[&guards.statement(), "SELECT ", SAVE, "; "]);
        push_label_comment(&mut sql, set);
        let waits = wait_for_each(&Keys::of(&set.keys()), set).join("; ");
        push(&mut sql, &[&waits, "; "]);
        push_keep(&mut sql, set);
        return sql;
    }
    push_label_comment(&mut sql, set);
    sql.push_str("SELECT WHERE ");
    guards.push_open(&mut sql);
    if let [lock] = &set.locks[..] {
        push_wait_for_one(&mut sql, lock.key, set);
        guards.push_close(&mut sql);
        sql.push_str("; SELECT WHERE ");
        push_call(&mut sql, lock.key, "pg_advisory_lock", set.mode);
        sql.push_str(" IS NULL");
    } else {
        push_take_few(&mut sql, set);
        guards.push_close(&mut sql);
        sql.push_str("; ");
        push_keep(&mut sql, set);
    }
    sql
}

/// Adds a condition that waits for a lock as long as the message's transaction may. It is not true.
fn push_wait_for_one(sql: &mut String, key: LockKey, set: &LockSet<'_>) {
    if let Some(timeout) = Timeout::of_one(set) {
        timeout.push_start(sql);
        // What stands first is evaluated first.
        sql.push_str(" IS NULL OR ");
    }
    push_call(sql, key, "pg_advisory_xact_lock", set.mode);
    sql.push_str(" IS NULL");
}

/// The condition that a transaction was open before this query, or that a pooler has prepared the query in
/// the same moment.
///
/// It is for the extended protocol. The portal that a query runs in is made when its parameters arrive, and
/// alone that begins the transaction too.
pub(super) const TRANSACTION_MAY_BE_OPEN: &str = "NOT EXISTS (SELECT FROM pg_catalog.pg_cursor() AS c \
     WHERE c.name OPERATOR(pg_catalog.=) '' \
     AND c.creation_time OPERATOR(pg_catalog.=) CURRENT_TIMESTAMP)";

/// `SELECT`s the [code](super::answer::Taking::of_code) of taking a lock for the session if it is free.
///
/// What is prepared once need not be parsed for each lock, which is half of what [`take_for_session`] costs.
/// Nothing is waited for, so that who waits does it in a statement with the lock's name. `None` for a set.
pub(crate) fn take_if_free(set: &LockSet<'_>, mark: Mark) -> Option<Statement> {
    let [lock] = &set.locks[..] else {
        return None;
    };
    let maybe_open = Condition::Sql(TRANSACTION_MAY_BE_OPEN);
    let guards = Guards::of(set).and(maybe_open, IN_TRANSACTION_CODE, "");
    Some(try_take_one(guards, lock.key, set, mark))
}

/// `SELECT`s the [code](super::answer::Taking::of_code) of taking locks for the session without waiting.
///
/// Of several, the same locks are taken for the transaction of this statement first. So if one is missing,
/// those before it end with the statement.
pub(crate) fn try_take_for_session(set: &LockSet<'_>, mark: Mark) -> Statement {
    let guards = Guards::of(set);
    if let [lock] = &set.locks[..] {
        return try_take_one(guards, lock.key, set, mark);
    }
    let guards = guards.and(Condition::Foreign(mark), SHARED_CODE, SHARED);
    let all = Keys::of(&set.keys());
    let mut keep = Statement::default();
    if set.locks.len() > AT_ONCE {
        for keys in &all {
            keep = keep
                .add(keys.first_refused("pg_try_advisory_lock", set.mode, 0))
                .sql(", ");
        }
    } else {
        keep = keep.sql("CASE WHEN NOT (true");
        for lock in &set.locks {
            let call = Keys::One(lock.key).call("pg_try_advisory_lock", set.mode);
            keep = keep.sql(" AND ").add(call);
        }
        keep = keep.sql(") THEN 1 END, ");
    }
    let keep = keep
        .sql("CASE WHEN ")
        .add(mark.push())
        .sql(" IS NULL THEN 1 END");
    guards
        .select()
        .sql(" ELSE ")
        .add(first_refused(
            &all,
            "pg_try_advisory_xact_lock",
            set.mode,
            Some(keep),
        ))
        .sql(" END AS code FOR UPDATE")
}

fn try_take_one(guards: Guards, key: LockKey, set: &LockSet<'_>, mark: Mark) -> Statement {
    let guards = guards.and(Condition::Foreign(mark), SHARED_CODE, SHARED);
    guards
        .select()
        .sql(" WHEN NOT ")
        .add(Keys::One(key).call("pg_try_advisory_lock", set.mode))
        .sql(" THEN 1 WHEN ")
        .add(mark.push())
        .sql(" IS NOT NULL THEN 0 END AS code FOR UPDATE")
}
