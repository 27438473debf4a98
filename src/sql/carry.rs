//! The SQL that hands locks from one transaction to the next, as locks of the session.

use super::guards::Guards;
use super::keys::{Keys, push_calls};
use super::marks::process;
use super::statement::Statement;
use super::take::code_expression;
use crate::lock::set::LockSet;

/// Up to how many locks are taken for the session by one row of calls, which nothing interrupts: all of
/// them are held, or none. PostgreSQL limits a row to 1,664 columns.
pub(crate) const AT_ONCE: usize = 1_000;

/// `SELECT`s that take locks for the session.
pub(super) fn push_keep(sql: &mut String, set: &LockSet<'_>) {
    if set.locks.len() > AT_ONCE {
        sql.push_str(&for_all(set, "pg_advisory_lock", None));
        return;
    }
    sql.push_str("SELECT ");
    push_calls(sql, set, "pg_advisory_lock", ", ");
}

/// Statements that take locks for the session which the transaction holds already: they are granted at
/// once, and outlive the transaction.
pub(crate) fn carry_out(set: &LockSet<'_>) -> String {
    let mut sql = format!("SELECT pg_catalog.pg_advisory_lock({}); ", carried());
    push_keep(&mut sql, set);
    sql
}

/// Statements that turn the locks of [`carry_out`] into locks of the present transaction. They wait for
/// nothing, because the session holds the locks already.
pub(crate) fn carry_in(set: &LockSet<'_>) -> String {
    carry_in_if(set, None)
}

/// The same as [`carry_out`] without waiting for locks: it keeps in a setting of the session what
/// [`try_take`](super::take::try_take) selects, and takes the locks for the session if all were free.
pub(crate) fn try_carry_out(set: &LockSet<'_>) -> String {
    let code = code_expression(set);
    let mark = when(
        Some(GRANTED),
        &format!("pg_catalog.pg_advisory_lock({})", carried()),
    );
    format!(
        "{}SELECT pg_catalog.set_config('diesel_advisory.code', ({code})::pg_catalog.text, false); \
         SELECT {mark}; {}",
        Guards::of(set).statement(),
        for_all(set, "pg_advisory_lock", Some(GRANTED))
    )
}

/// The same as [`carry_in`], if [`try_carry_out`] has taken the locks.
pub(crate) fn try_carry_in(set: &LockSet<'_>) -> String {
    carry_in_if(set, Some(GRANTED))
}

/// `SELECT`s what [`try_carry_out`] has kept.
pub(crate) fn carried_code() -> Statement {
    Statement::default()
        .sql("SELECT pg_catalog.current_setting('diesel_advisory.code')::int AS code FOR UPDATE")
}

/// The condition that [`try_carry_out`] has taken the locks.
const GRANTED: &str =
    "pg_catalog.current_setting('diesel_advisory.code') OPERATOR(pg_catalog.=) '0'";

/// The key of a session lock that says: this session has taken others in [`carry_out`].
///
/// A session may have held the same locks before, and PostgreSQL does not tell how often it holds
/// them. This one it holds only for that. It is a random number of this process and the id of the
/// session's, so that nobody else holds it, and it is granted at once.
fn carried() -> String {
    format!(
        "'{}'::int, pg_catalog.pg_backend_pid()",
        i32::from_ne_bytes(process().to_ne_bytes())
    )
}

/// The condition that the session holds [`carried`].
fn is_carried() -> String {
    format!(
        "EXISTS (SELECT FROM pg_catalog.pg_locks AS c \
         WHERE c.locktype OPERATOR(pg_catalog.=) 'advisory' \
         AND c.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() \
         AND c.classid OPERATOR(pg_catalog.=) '{}'::pg_catalog.oid \
         AND c.objid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()::pg_catalog.oid \
         AND c.objsubid OPERATOR(pg_catalog.=) 2)",
        process()
    )
}

/// Statements that release the session locks of [`carry_out`], if they are still there.
pub(crate) fn drop_carried(set: &LockSet<'_>) -> String {
    put_down(set, Some(&is_carried()))
}

fn carry_in_if(set: &LockSet<'_>, condition: Option<&str>) -> String {
    let take = for_all(set, "pg_advisory_xact_lock", condition);
    format!("{take}; {}", put_down(set, condition))
}

/// Releases the locks that were carried, and at last the one that says so.
fn put_down(set: &LockSet<'_>, condition: Option<&str>) -> String {
    let last = format!("pg_catalog.pg_advisory_unlock({})", carried());
    format!(
        "{}; SELECT {}",
        for_all(set, "pg_advisory_unlock", condition),
        when(condition, &last)
    )
}

/// `SELECT`s that call a function for all locks, where the condition is true.
fn for_all(set: &LockSet<'_>, function: &str, condition: Option<&str>) -> String {
    let selects = Keys::of(&set.keys())
        .iter()
        .map(|keys| {
            let call = keys.call(function, set.mode).to_string();
            format!("SELECT {}{}", when(condition, &call), keys.from())
        })
        .collect::<Vec<_>>();
    selects.join("; ")
}

fn when(condition: Option<&str>, call: &str) -> String {
    match condition {
        None => call.to_owned(),
        Some(condition) => format!("CASE WHEN {condition} THEN {call} END"),
    }
}
