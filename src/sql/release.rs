//! The SQL that releases session locks.

use std::fmt::Write as _;

use super::answer::{
    IN_TRANSACTION, IN_TRANSACTION_CODE, NOT_HELD, NOT_HELD_CODE, SHARED, SHARED_CODE,
    push_refusal, refusal,
};
use super::keys::{Keys, push_call};
use super::marks::Mark;
use super::push;
use super::session::{TRANSACTION_IS_OPEN, TRANSACTION_MAY_BE_OPEN};
use super::statement::Statement;
use crate::lock::key::LockKey;
use crate::lock::request::Mode;

/// What is left of a set when its locks are held for the session.
#[derive(Debug, Clone)]
pub(crate) struct HeldLocks {
    pub(crate) keys: Vec<LockKey>,
    pub(crate) mode: Mode,
    pub(crate) mark: Mark,
}

/// A message that releases session locks and takes off their mark, or fails with the mark of a
/// [`Releasing`](super::answer::Releasing).
///
/// Where a transaction is open, it fails before anything is released.
pub(crate) fn release(held: &HeldLocks) -> String {
    let mut sql = String::with_capacity(1024);
    push(
        &mut sql,
        &["SELECT WHERE CASE WHEN ", TRANSACTION_IS_OPEN, " THEN "],
    );
    push_refusal(&mut sql, IN_TRANSACTION);
    // All of them are released, even where one was not held.
    if let [key] = held.keys[..] {
        sql.push_str(" WHEN NOT ");
        push_call(&mut sql, key, "pg_advisory_unlock", held.mode);
        sql.push_str(" THEN ");
        push_refusal(&mut sql, NOT_HELD);
    } else {
        for keys in Keys::of(&held.keys) {
            let call = keys.call("pg_advisory_unlock", held.mode);
            let from = keys.from();
            let refusal = refusal(NOT_HELD);
            let _ = write!(
                sql,
                " WHEN (SELECT pg_catalog.count(*){from} WHERE NOT {call}) OPERATOR(pg_catalog.>) 0 \
                 THEN {refusal}"
            );
        }
    }
    sql.push_str(" WHEN ");
    held.mark.push_is_on_top(&mut sql);
    sql.push_str(" THEN ");
    Mark::push_pop(&mut sql);
    sql.push_str(" IS NULL ELSE ");
    push_refusal(&mut sql, SHARED);
    sql.push_str(" END FOR UPDATE");
    sql
}

/// `SELECT`s the [code](super::answer::Releasing::of_code) of releasing a session lock. `None` for several.
///
/// It is prepared once, and costs half of what [`release`] does.
pub(crate) fn release_by_query(held: &HeldLocks) -> Option<Statement> {
    let keys = Keys::of(&held.keys);
    let [key @ Keys::One(_)] = &keys[..] else {
        return None;
    };
    let mut pop = String::new();
    Mark::push_pop(&mut pop);
    let query = Statement::default()
        .sql(&format!(
            "SELECT CASE WHEN {TRANSACTION_MAY_BE_OPEN} THEN {IN_TRANSACTION_CODE} WHEN NOT "
        ))
        .add(key.call("pg_advisory_unlock", held.mode))
        .sql(&format!(" THEN {NOT_HELD_CODE} WHEN "))
        .add(held.mark.is_seen_on_top())
        .sql(&format!(
            " THEN CASE WHEN {pop} IS NOT NULL THEN 0 END ELSE {SHARED_CODE} END AS code FOR UPDATE"
        ));
    Some(query)
}

/// Fails with a text that nobody reads but an operator, in the server's log.
macro_rules! fail_for_good {
    () => {
        "pg_catalog.current_setting('diesel_advisory: the session ends, and what it holds is free')"
    };
}

/// Two messages that release session locks and take off their mark, where nobody waits for an answer.
///
/// The first can fail, or be cancelled, and nobody would know that the locks are still held. Then the mark is
/// still there, and the second ends the session.
///
/// A transaction may be open that Diesel does not know of. Where none is, the `ROLLBACK` leaves a warning in
/// the server's log.
#[cfg_attr(
    not(feature = "async"),
    allow(dead_code, reason = "for asynchronous connections")
)]
pub(crate) fn release_unheard(held: &HeldLocks) -> [String; 2] {
    let mut release = String::from("ROLLBACK");
    for keys in Keys::of(&held.keys) {
        let call = keys.call("pg_advisory_unlock", held.mode);
        let from = keys.from();
        let _ = write!(release, "; SELECT pg_catalog.count({call}){from}");
    }
    let mut is_on_top = String::new();
    held.mark.push_is_on_top(&mut is_on_top);
    let _ = write!(release, "; SELECT CASE WHEN {is_on_top} THEN ");
    Mark::push_pop(&mut release);
    release.push_str(" END");
    let end = format!(
        "SELECT WHERE CASE WHEN {is_on_top} THEN \
         pg_catalog.set_config('exit_on_error', 'on', 't') IS NULL OR {} IS NULL END FOR UPDATE",
        fail_for_good!()
    );
    [release, end]
}

/// Ends the session from within, and with it all that it holds.
///
/// Every role may, which is not so of `pg_terminate_backend`. Once the first two statements are done, a cancel
/// ends it as well. One that strikes before that saves it: by a session's `statement_timeout`, or meant for
/// what was sent before. So this is sent twice; a session that has ended does not hear the second.
pub(crate) const END_SESSION: &str = concat!(
    "ROLLBACK; SET exit_on_error TO on; SELECT ",
    fail_for_good!()
);
