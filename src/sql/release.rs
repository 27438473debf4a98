//! The SQL that releases session locks.

use super::answer::raise;
use super::{call, granted};
use crate::LockKey;
use crate::lock_set::{HeldLocks, Mode};

/// A `DO` block that releases session locks. It fails with the mark of an [`Answer`] if one of them
/// was not held, or if a transaction was open.
///
/// As the only statement of its query string it has a timestamp of its own; a transaction that has
/// been open before, be it unknown to Diesel, has an older one.
pub(crate) fn release(held: &HeldLocks) -> String {
    let missing = held
        .keys
        .iter()
        .map(|key| format!("(NOT {})::int", call("pg_advisory_unlock", held.mode, *key)));
    let missing = missing.collect::<Vec<_>>().join(" + ");
    let raise = raise(
        "CASE WHEN missing > 0 THEN 'advisory lock was not held when it was released' \
         ELSE 'advisory lock was released inside a transaction' END",
    );
    format!(
        "DO $$DECLARE missing int := {missing}; BEGIN \
         IF missing = 0 AND pg_catalog.now() <> pg_catalog.statement_timestamp() \
         THEN missing := -1; END IF; IF missing <> 0 THEN {raise}END IF; END$$"
    )
}

/// Ends the session from within, and with it all that it holds.
pub(crate) const END_SESSION: &str =
    "SELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())";

/// `SELECT`s how many locks of the set this session holds.
pub(crate) fn held_by_this_session(held: &HeldLocks) -> String {
    let held = held.keys.iter().map(|key| held_here(held.mode, *key));
    format!(
        "SELECT count(*)::int AS code FROM pg_catalog.pg_locks WHERE ({})",
        held.collect::<Vec<_>>().join(") OR (")
    )
}

/// The condition on `pg_locks` that this session holds the lock, in whatever scope.
fn held_here(mode: Mode, key: LockKey) -> String {
    let mode = match mode {
        Mode::Exclusive => "ExclusiveLock",
        Mode::Share => "ShareLock",
    };
    format!(
        "{} AND pid = pg_catalog.pg_backend_pid() AND mode = '{mode}'",
        granted(key)
    )
}
