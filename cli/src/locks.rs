//! The locks of the database, as `who`, `kill` and waits look at them.

use std::time::{Duration, SystemTime};

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Double, Nullable};
use diesel_advisory::LockKey;
use diesel_advisory::inspect::{self, Lock, LockName, pg_locks};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::exit::Failure;

/// A lock and the session that holds it or waits for it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) lock: Lock,
    /// When the wait began, or the earliest time at which the lock can have been granted: the start of the
    /// transaction, or else of the session.
    pub(crate) since: Option<SystemTime>,
}

/// Loads all locks: those of a key together, the ones that are held first.
pub(crate) async fn load(conn: &mut AsyncPgConnection) -> Result<Vec<Row>, Failure> {
    /// Seconds, because the clocks of two machines differ.
    const AGE: &str = "extract(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) \
         coalesce(pg_stat_activity.xact_start, pg_stat_activity.backend_start))::pg_catalog.float8";

    let query = inspect::locks()
        .select((Lock::as_select(), sql::<Nullable<Double>>(AGE)))
        .order((
            pg_locks::classid,
            pg_locks::objid,
            pg_locks::objsubid,
            pg_locks::granted.desc(),
            pg_locks::waitstart,
            pg_locks::pid,
        ));
    let rows: Vec<(Lock, Option<f64>)> = query.load(conn).await?;
    let rows = rows.into_iter().map(|(lock, age)| {
        let age = age.and_then(|age| Duration::try_from_secs_f64(age.max(0.0)).ok());
        let began = age.and_then(|age| SystemTime::now().checked_sub(age));
        let since = if lock.granted { began } else { lock.since };
        Row { lock, since }
    });
    Ok(rows.collect())
}

/// The most permits that a lock can have.
pub(crate) const PERMITS: u32 = 1_000;

/// The keys of this many permits, from the first on.
pub(crate) fn permits(name: &str, count: u32) -> impl Iterator<Item = LockKey> {
    let count_of = usize::try_from(count).unwrap_or(usize::MAX);
    LockName::permits(name, count)
        .take(count_of)
        .map(|permit| permit.key())
}

/// The key of the gate where sessions wait for a permit.
pub(crate) fn gate(name: &str) -> Option<LockKey> {
    let last = LockName::permits(name, 1).last();
    last.map(|gate| gate.key())
}

/// Every key that a lock of this name can have.
pub(crate) fn keys(name: &str) -> Vec<LockKey> {
    let mut keys = vec![LockKey::from_name(name)];
    keys.extend(permits(name, PERMITS));
    keys.extend(gate(name));
    keys
}

#[cfg(test)]
mod tests {
    use diesel_advisory::LockKey;

    use super::{gate, keys, permits};

    #[test]
    fn permits_are_counted_and_have_a_gate() {
        let key = LockKey::from_name;
        let all: Vec<_> = permits("render", 2).collect();
        assert_eq!(all, [key("render\0#1"), key("render\0#2")]);
        assert_eq!(gate("render"), Some(key("render\0#0")));
        assert_eq!(keys("render").len(), 1_002);
    }
}
