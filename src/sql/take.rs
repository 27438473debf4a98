//! The SQL that takes locks.

use super::answer::raise;
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
    /// From one transaction to the next: see [`cross_bridge`].
    Bridge,
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
    let tries = tries(set, "pg_try_advisory_xact_lock");
    let check = match check {
        SnapshotCheck::On => {
            " WHEN pg_catalog.current_setting('transaction_isolation') NOT LIKE 'read %' THEN -1"
        }
        SnapshotCheck::Off => "",
    };
    format!("CASE{check}{tries} ELSE 0 END")
}

fn tries(set: &LockSet<'_>, function: &str) -> String {
    calls(set, function, |position, call| {
        format!(" WHEN NOT {call} THEN {position}")
    })
}

/// Puts a piece of SQL together for each lock, from its position and the call of a function for it.
fn calls(set: &LockSet<'_>, function: &str, piece: impl Fn(usize, String) -> String) -> String {
    let calls = set
        .locks
        .iter()
        .map(|lock| call(function, set.mode, lock.key));
    (1..)
        .zip(calls)
        .map(|(position, call)| piece(position, call))
        .collect()
}

/// A `DO` block that takes all locks, or fails with the mark of an [`Answer`].
///
/// Whatever fails, the transaction around it holds nothing more than before once it has been rolled
/// back (to a savepoint).
///
/// Session locks outlive a rollback, so they are taken last, and only while the same locks are held
/// for the transaction: then they are granted at once. A session lock that is waited for under a
/// timeout can be granted and yet be reported as timed out, and nobody would know that it is held.
/// They are taken by one expression, which PostgreSQL evaluates without looking for interrupts: all
/// of them or none.
///
/// Little is done after the wait, because others wait for this one by then.
pub(crate) fn wait_block(set: &LockSet<'_>, scope: Scope, check: SnapshotCheck) -> String {
    let Timeout {
        declare,
        start,
        renew,
        restore,
    } = Timeout::new(set);
    let tries = try_expression(set, check);
    let locks = calls(set, "pg_advisory_xact_lock", |position, call| {
        format!("missing := {position}; {renew}PERFORM {call}; ")
    });
    let refuse = raise(&refusal(set, check));
    let (done, refuse) = match scope {
        Scope::Transaction => ("RETURN; ", refuse),
        Scope::Session | Scope::Bridge => (
            "missing := 0; ",
            format!("IF missing <> 0 THEN {refuse}END IF; "),
        ),
    };
    let wait = match set.wait {
        Wait::No => String::new(),
        _ => format!(
            "IF missing > 0 THEN BEGIN {start}{locks}{restore}{done}\
             EXCEPTION WHEN lock_not_available THEN NULL; END; END IF; "
        ),
    };
    let keep = match scope {
        Scope::Transaction => String::new(),
        Scope::Session => format!("kept := {}; ", keep(set)),
        Scope::Bridge => format!(
            "kept := pg_catalog.pg_try_advisory_lock({BRIDGE}) AND {}; ",
            keep(set)
        ),
    };
    let declare_kept = if keep.is_empty() { "" } else { "kept bool; " };
    format!(
        "DO $$DECLARE missing int := {tries}; {declare_kept}{declare}\
         BEGIN IF missing <> 0 THEN {wait}{refuse}END IF; {keep}END$$"
    )
}

/// Takes locks for the session that the transaction holds already.
fn keep(set: &LockSet<'_>) -> String {
    calls(set, "pg_try_advisory_lock", |position, call| {
        let and = if position > 1 { " AND " } else { "" };
        format!("{and}{call}")
    })
}

/// The pieces of a [`wait_block`] that limit the wait.
#[derive(Default)]
struct Timeout {
    declare: &'static str,
    start: String,
    /// Comes before each lock.
    renew: &'static str,
    restore: &'static str,
}

impl Timeout {
    fn new(set: &LockSet<'_>) -> Self {
        // `lock_timeout` limits each wait alone. Several locks share one deadline, so that it has
        // to be set anew for each of them, to what is left.
        let deadline = match (set.wait, set.locks.len()) {
            (Wait::No, _) | (Wait::Inherit, 0 | 1) => return Self::default(),
            (Wait::Forever, _) => return Self::fixed(0),
            (Wait::AtMost(millis), 0 | 1) => return Self::fixed(millis),
            (Wait::AtMost(millis), _) => {
                format!("pg_catalog.clock_timestamp() + interval '{millis} ms'")
            }
            (Wait::Inherit, _) => String::from(
                "CASE WHEN before <> '0' THEN pg_catalog.clock_timestamp() + before::interval END",
            ),
        };
        Self {
            declare: "before text; deadline timestamptz; ",
            start: format!(
                "before := pg_catalog.current_setting('lock_timeout'); deadline := {deadline}; "
            ),
            renew: "IF deadline IS NOT NULL THEN PERFORM pg_catalog.set_config('lock_timeout', \
                    greatest(1, pg_catalog.ceil(extract(epoch FROM \
                    deadline - pg_catalog.clock_timestamp()) * 1000))::int::text, true); END IF; ",
            restore: Self::RESTORE,
        }
    }

    const RESTORE: &'static str = "PERFORM pg_catalog.set_config('lock_timeout', before, true); ";

    fn fixed(millis: i32) -> Self {
        Self {
            declare: "before text; ",
            start: format!(
                "before := pg_catalog.current_setting('lock_timeout'); \
                 PERFORM pg_catalog.set_config('lock_timeout', '{millis}', true); "
            ),
            renew: "",
            restore: Self::RESTORE,
        }
    }
}

/// What the server's log says about a lock that was not taken, as an SQL expression.
fn refusal(set: &LockSet<'_>, check: SnapshotCheck) -> String {
    let label = label(set);
    let unavailable = format!("'advisory lock {label} is not available'");
    match check {
        SnapshotCheck::Off => unavailable,
        SnapshotCheck::On => format!(
            "CASE WHEN missing > 0 THEN {unavailable} \
             ELSE 'advisory lock {label} begins again, for a newer snapshot' END"
        ),
    }
}

/// The key of a session lock that says: this session has taken others for [`Scope::Bridge`].
///
/// A session may have held the same locks before, and PostgreSQL does not tell how often it holds
/// them. This one it holds only for that, and its own process id keeps other sessions off.
const BRIDGE: &str = "'1685283442'::int, pg_catalog.pg_backend_pid()";

/// The condition on `pg_locks` that this session holds [`BRIDGE`].
const BRIDGE_IS_HELD: &str = "\
    locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid() AND classid = '1685283442'::oid \
    AND objid = pg_catalog.pg_backend_pid()::oid AND objsubid = 2";

/// Turns the session locks of [`Scope::Bridge`] into locks of the present transaction.
///
/// The statements wait for nothing, because the session holds the locks already.
pub(crate) fn cross_bridge(set: &LockSet<'_>) -> String {
    let locks = calls(set, "pg_advisory_xact_lock", |_, call| {
        format!("SELECT {call}; ")
    });
    format!("{locks}SELECT {}", release_bridge(set))
}

/// Releases the session locks of [`Scope::Bridge`], if they are there.
pub(crate) fn break_bridge(set: &LockSet<'_>) -> String {
    format!(
        "SELECT {} FROM pg_catalog.pg_locks WHERE {BRIDGE_IS_HELD}",
        release_bridge(set)
    )
}

/// They are released together, so that there is never a part of them left.
fn release_bridge(set: &LockSet<'_>) -> String {
    let locks = calls(set, "pg_advisory_unlock", |_, call| format!("{call}, "));
    format!("{locks}pg_catalog.pg_advisory_unlock({BRIDGE})")
}

/// `SELECT`s the code of an [`Answer`]: session locks, without waiting.
///
/// The same locks are taken for the transaction of this statement first. So if one is missing,
/// those before it end with the statement.
pub(crate) fn try_session_locks(set: &LockSet<'_>) -> String {
    let transaction = tries(set, "pg_try_advisory_xact_lock");
    let session = tries(set, "pg_try_advisory_lock");
    format!(
        "{}SELECT CASE{transaction}{session} ELSE 0 END AS code",
        comment(set)
    )
}
