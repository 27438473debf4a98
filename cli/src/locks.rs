//! The locks of the database, as `who`, `kill` and waits look at them.

use std::time::{Duration, SystemTime};

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Double, Nullable};
use diesel_advisory::inspect::{self, IsLock, Lock, pg_locks};
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

/// Loads all locks, or those that fit: those of a key together, the ones that are held first.
pub(crate) async fn load(
    conn: &mut AsyncPgConnection,
    only: Option<IsLock>,
) -> Result<Vec<Row>, Failure> {
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
    let rows: Vec<(Lock, Option<f64>)> = match only {
        Some(only) => query.filter(only).load(conn).await?,
        None => query.load(conn).await?,
    };
    let rows = rows.into_iter().map(|(lock, age)| {
        let age = age.and_then(|age| Duration::try_from_secs_f64(age.max(0.0)).ok());
        let began = age.and_then(|age| SystemTime::now().checked_sub(age));
        let since = if lock.granted { began } else { lock.since };
        Row { lock, since }
    });
    Ok(rows.collect())
}
