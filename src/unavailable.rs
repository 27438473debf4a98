//! A wait that ended without the lock: which lock, how long, and who holds it.

use std::fmt;
use std::time::{Duration, SystemTime};

use diesel::prelude::*;
use diesel::sql_types::{Double, Integer, Nullable, Text};

use crate::LockId;

/// The wait for a lock ended without it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Unavailable {
    /// The lock. Of several that were asked for together, the one that was not to be had.
    pub lock: LockId<'static>,
    /// How long was waited, as the client saw it.
    pub waited: Duration,
    /// Who held the lock just after the wait had ended, as far as the server tells.
    ///
    /// Empty if it has been released since. Looked up only when this error is made:
    /// [`try_run`](crate::AdvisoryLock::try_run) and
    /// [`try_acquire`](crate::AdvisoryLock::try_acquire) do not.
    pub holders: Vec<Holder>,
}

/// A session that holds a lock, as [`pg_stat_activity`] describes it.
///
/// Of another role's session the server tells the state only to a role with the rights of
/// `pg_read_all_stats`.
///
/// [`pg_stat_activity`]: https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Holder {
    /// The process id of the server process; 0 if a prepared transaction holds the lock.
    pub pid: i32,
    /// What the session calls itself, if it does.
    pub application_name: Option<String>,
    /// What the session is doing: `active`, `idle`, `idle in transaction`, …
    pub state: Option<String>,
    /// Since when the session has been in this state, on this machine's clock.
    pub since: Option<SystemTime>,
}

/// A row of [`holders`](crate::sql::holders).
#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub(crate) struct HolderRow {
    #[diesel(sql_type = Integer)]
    pid: i32,
    #[diesel(sql_type = Nullable<Text>)]
    application_name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    state: Option<String>,
    #[diesel(sql_type = Nullable<Double>)]
    seconds_in_state: Option<f64>,
}

impl From<HolderRow> for Holder {
    fn from(row: HolderRow) -> Self {
        let since = row
            .seconds_in_state
            .and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok())
            .and_then(|in_state| SystemTime::now().checked_sub(in_state));
        Self {
            pid: row.pid,
            application_name: row.application_name,
            state: row.state,
            since,
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "advisory lock {:?} is not available after {:.1?}",
            self.lock.to_string(),
            self.waited
        )?;
        for (index, holder) in self.holders.iter().enumerate() {
            f.write_str(if index == 0 { ": held by " } else { "; by " })?;
            holder.fmt(f)?;
        }
        Ok(())
    }
}

/// Prints `pid 4711 (web-3), idle in transaction for 12.3s`, or as much of it as is known.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}", self.pid)?;
        if let Some(name) = &self.application_name {
            write!(f, " ({name})")?;
        }
        if let Some(state) = &self.state {
            write!(f, ", {state}")?;
        }
        if let Some(in_state) = self.since.and_then(|since| since.elapsed().ok()) {
            write!(f, " for {in_state:.1?}")?;
        }
        Ok(())
    }
}
