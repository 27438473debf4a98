//! The SQL that releases session locks.

use super::answer::raise;
use super::{call, granted};
use crate::LockKey;
use crate::lock_set::{HeldLocks, LockSet, Mode};

/// Releases session locks, and `SELECT`s how many of them were not held.
pub(crate) fn release(held: &HeldLocks) -> String {
    format!("SELECT {} AS code", release_expression(held))
}

/// A `DO` block that releases session locks, and raises how many of them were not held, if any.
pub(crate) fn release_block(held: &HeldLocks) -> String {
    format!(
        "DO $$DECLARE missing int := {}; BEGIN IF missing > 0 THEN {}END IF; END$$",
        release_expression(held),
        raise("'advisory lock was not held when it was released'"),
    )
}

fn release_expression(held: &HeldLocks) -> String {
    let missed = held
        .keys
        .iter()
        .map(|key| format!("(NOT {})::int", call("pg_advisory_unlock", held.mode, *key)));
    missed.collect::<Vec<_>>().join(" + ")
}

/// `SELECT`s how many locks of the set this session holds.
pub(crate) fn held_by_this_session(held: &HeldLocks) -> String {
    let held = held.keys.iter().map(|key| held_here(held.mode, *key));
    format!(
        "SELECT count(*)::int AS code FROM pg_catalog.pg_locks WHERE ({})",
        held.collect::<Vec<_>>().join(") OR (")
    )
}

/// Releases the session locks of the set that are held, and is silent about the others.
pub(crate) fn release_held(set: &LockSet<'_>) -> String {
    let releases = set.locks.iter().map(|lock| {
        format!(
            "SELECT {} FROM pg_catalog.pg_locks WHERE {}",
            call("pg_advisory_unlock", set.mode, lock.key),
            held_here(set.mode, lock.key),
        )
    });
    releases.collect::<Vec<_>>().join("; ")
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
