//! The SQL that takes one of several permits for the session.
//!
//! Permits are plain locks, one for each number. A further lock, the gate, keeps the order of those who
//! wait:
//!
//! - Where a permit is free and nobody waits, one query takes it. It takes the gate too, shared, without
//!   waiting and for itself alone. That is refused while anybody holds the gate or queues for it, so nobody
//!   is overtaken, and those who come at the same time do not get in each other's way.
//! - Otherwise one statement waits. It takes the gate for its own transaction, so the gate is free again
//!   when it ends, whatever becomes of the client. Whoever is at the gate tries all permits, then waits in
//!   the queue of one permit for a while, then in that of the next: no function waits for any of several
//!   locks. The while is an eighth of the time waited, from 1 to 50 ms. A short one keeps the server busy; in
//!   a long one, another permit can be free and not be used.
//!
//! What was tried instead, with 32 clients and 3 permits that are held for 2 to 20 ms, in parts of the rate
//! at which no permit is ever free (this one has 0.95, a hand-over of 0.45 ms, and one client overtaken):
//!
//! - A client that polls while it holds the gate: 0.66, 5.3 ms, and nobody is served while that client is
//!   stopped.
//! - Waiting in the queue of a random permit, without a gate: 0.99, and 57 overtaken, because the queue of
//!   one permit can be long while another permit is free.
//! - `LISTEN` and `NOTIFY`: 0.98, six statements for each grant, and a holder that dies tells nobody.

use super::answer::{IN_TRANSACTION, MARK, NESTED_CODE, SHARED, SHARED_CODE, TIMED_OUT};
use super::guards::{Condition, Guards};
use super::marks::Mark;
use super::push_label;
use super::session::TRANSACTION_IS_OPEN;
use super::statement::{Statement, Value};
use crate::lock::key::LockKey;
use crate::lock::permits::Permits;
use crate::lock::set::LockSet;
use crate::lock::wait::Wait;

/// Which permits of its own a session can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {
    /// If it has any lock, the answer says so, and nothing is taken.
    Ask,
    /// If it has one, it gets that one again.
    Again,
}

/// `SELECT`s the [code](super::answer::Permit::of_code) of taking a free permit.
///
/// Without waiting for the gate, or, where nobody wants to wait, without any look at it.
pub(crate) fn take_free(set: &LockSet<'_>, permits: &Permits, mark: Mark, own: Own) -> Statement {
    let guards = Guards::of(set).and(Condition::Foreign(mark), SHARED_CODE, SHARED);
    let guards = match own {
        Own::Ask => guards.and(Condition::Marked, NESTED_CODE, ""),
        Own::Again => guards,
    };
    let mut statement = guards.select().sql(" ELSE COALESCE(");
    if own == Own::Again {
        statement = statement
            .add(first_taken(permits, mark, Some(IS_OWN)))
            .sql(", ");
    }
    if set.wait != Wait::No {
        statement = statement
            .sql("CASE WHEN NOT pg_catalog.pg_try_advisory_xact_lock_shared(")
            .value(Value::BigInt(number(permits.gate)))
            .sql(") THEN 0 END, ");
    }
    statement
        .add(first_taken(permits, mark, None))
        .sql(", 0) END AS code FOR UPDATE")
}

/// The condition that the session holds the permit `l.k` already.
const IS_OWN: &str = "EXISTS (SELECT FROM pg_catalog.pg_locks AS p \
     WHERE p.locktype OPERATOR(pg_catalog.=) 'advisory' AND p.granted \
     AND p.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() \
     AND p.objsubid OPERATOR(pg_catalog.=) 1 \
     AND p.mode OPERATOR(pg_catalog.=) 'ExclusiveLock' \
     AND pg_catalog.int8or(pg_catalog.int8shl(p.classid::bigint, 32), p.objid::bigint) \
     OPERATOR(pg_catalog.=) l.k)";

/// The number of the first permit that can be taken at once, and under the condition, with its mark on top;
/// or null.
fn first_taken(permits: &Permits, mark: Mark, condition: Option<&str>) -> Statement {
    // `CASE` keeps to its order: the planner may not try the lock first.
    let (open, close) = match condition {
        None => (String::new(), ""),
        Some(condition) => (format!("CASE WHEN {condition} THEN "), " END"),
    };
    Statement::default()
        .sql("(SELECT CASE WHEN ")
        .add(mark.push())
        .sql(" IS NOT NULL THEN l.i::int END FROM pg_catalog.unnest(")
        .value(Value::BigInts(numbers(permits)))
        .sql(") WITH ORDINALITY AS l (k, i) WHERE ")
        .sql(&open)
        .sql("pg_catalog.pg_try_advisory_lock(l.k)")
        .sql(close)
        .sql(" LIMIT 1)")
}

/// A message that waits for a permit, and takes it for the session. [`waited_for`] selects which it is.
///
/// `left` is what is left of the time, in milliseconds, where the lock has a limit of its own.
///
/// The permit is waited for as a lock of the message's transaction, and taken for the session in a statement
/// of its own, as [any session lock](super::session::take_for_session). A timeout that fires in the moment
/// of the grant is noticed before the next statement of the block, and so inside of the `EXCEPTION` clause that
/// gives the permit back.
pub(crate) fn wait(set: &LockSet<'_>, permits: &Permits, mark: Mark, left: i32) -> String {
    let guards = Guards::of(set)
        .and(Condition::Sql(TRANSACTION_IS_OPEN), 0, IN_TRANSACTION)
        .and(Condition::Foreign(mark), SHARED_CODE, SHARED);
    let mut label = String::new();
    push_label(&mut label, set);
    let limit = match set.wait {
        Wait::AtMost(_) => left.into(),
        Wait::Inherit => -1,
        Wait::Forever | Wait::No => 0,
    };
    let mut asked = vec![limit, number(permits.gate)];
    asked.extend(numbers(permits));
    let all = permits.keys.len();
    let push = mark.push();
    format!(
        "/* advisory lock {label} ({all} permits) */ {check}SELECT \
         pg_catalog.set_config('diesel_advisory.permits', {asked}::pg_catalog.text, true); \
         {block}; SELECT pg_catalog.pg_advisory_lock(({ASKED})[2 OPERATOR(pg_catalog.+) {GOT}]), {push}",
        block = block(),
        check = guards.statement(),
        asked = Value::BigInts(asked),
    )
}

/// What a [`wait`] is for: its limit in milliseconds (-1 for the session's own), the gate, the permits.
///
/// It stands in a setting of the transaction, so that the block has one text for all locks:
/// `pg_stat_statements` would keep a row for each of them.
const ASKED: &str = "pg_catalog.current_setting('diesel_advisory.permits')::bigint[]";

/// Which permit [`wait`] has taken.
const GOT: &str = "pg_catalog.current_setting('diesel_advisory.permit')::int";

/// Waits for a permit, and keeps its number in a setting. A `lock_timeout` of 0 is none, and so is a `total`.
///
/// A `statement_timeout` that fires in the moment in which a while ends is reported as the end of that, so the
/// block looks at the time too. A `pg_cancel_backend` in that moment is lost.
fn block() -> String {
    let millis = |setting: &str| {
        format!(
            "pg_catalog.date_part('epoch', pg_catalog.current_setting('{setting}')::interval) \
             OPERATOR(pg_catalog.*) 1000"
        )
    };
    let since = |begin: &str| {
        format!(
            "pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() \
             OPERATOR(pg_catalog.-) {begin}) OPERATOR(pg_catalog.*) 1000"
        )
    };
    let (lock_timeout, statement_timeout) = (millis("lock_timeout"), millis("statement_timeout"));
    let (at_front, in_all) = (since("front"), since("pg_catalog.statement_timestamp()"));
    format!(
        "DO $$DECLARE \
           asked bigint[] := {ASKED}; \
           permits bigint[] := asked[3:]; \
           total double precision := asked[1]; \
           most double precision := {statement_timeout}; \
           front timestamp with time zone; \
           gone double precision; \
           slice double precision; \
           i int := 1; \
           got int; \
         BEGIN \
           IF total OPERATOR(pg_catalog.<) 0 THEN total := {lock_timeout}; END IF; \
           BEGIN \
             PERFORM pg_catalog.set_config('lock_timeout', total::int::pg_catalog.text, true); \
             PERFORM pg_catalog.pg_advisory_xact_lock(asked[2]); \
             front := pg_catalog.clock_timestamp(); \
             <<at_gate>> LOOP \
               FOR k IN 1..pg_catalog.cardinality(permits) LOOP \
                 IF pg_catalog.pg_try_advisory_xact_lock(permits[k]) THEN \
                   got := k; \
                   EXIT at_gate; \
                 END IF; \
               END LOOP; \
               gone := {in_all}; \
               IF most OPERATOR(pg_catalog.>) 0 AND gone OPERATOR(pg_catalog.>) most THEN \
                 RAISE query_canceled; \
               END IF; \
               slice := GREATEST(1, LEAST(50, ({at_front}) OPERATOR(pg_catalog./) 8)); \
               IF total OPERATOR(pg_catalog.>) 0 THEN \
                 IF gone OPERATOR(pg_catalog.>=) total THEN RAISE lock_not_available; END IF; \
                 slice := GREATEST(1, LEAST(slice, total OPERATOR(pg_catalog.-) gone)); \
               END IF; \
               BEGIN \
                 PERFORM pg_catalog.set_config('lock_timeout', \
                   pg_catalog.ceil(slice)::int::pg_catalog.text, true); \
                 PERFORM pg_catalog.pg_advisory_xact_lock(permits[i]); \
                 got := i; \
                 EXIT at_gate; \
               EXCEPTION WHEN lock_not_available THEN \
                 i := CASE WHEN i OPERATOR(pg_catalog.<) pg_catalog.cardinality(permits) \
                   THEN i OPERATOR(pg_catalog.+) 1 ELSE 1 END; \
               END; \
             END LOOP; \
           EXCEPTION WHEN lock_not_available THEN \
             RAISE EXCEPTION '{MARK}{TIMED_OUT}'; \
           END; \
           PERFORM pg_catalog.set_config('diesel_advisory.permit', got::pg_catalog.text, false); \
         END$$"
    )
}

/// `SELECT`s the [code](super::answer::Permit::of_code) of a [`wait`] that was granted, where it is asked in the
/// same session.
pub(crate) fn waited_for(mark: Mark) -> Statement {
    Statement::default()
        .sql("SELECT CASE WHEN ")
        .add(mark.is_seen_on_top())
        .sql(" THEN ")
        .sql(GOT)
        .sql(" ELSE ")
        .sql(&SHARED_CODE.to_string())
        .sql(" END AS code FOR UPDATE")
}

fn numbers(permits: &Permits) -> Vec<i64> {
    permits.keys.iter().copied().map(number).collect()
}

/// Names have keys of one number.
fn number(key: LockKey) -> i64 {
    match key {
        LockKey::BigInt(number) => number,
        LockKey::Pair(..) => unreachable!("the key of a name is one number"),
    }
}
