//! A wait that ended without the lock: which lock, how long, and who holds it.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::lock::id::LockId;
use crate::lock::into_id::IntoLockId;

/// The wait for a lock ended without it.
///
/// `Display` prints `advisory lock "import" is not available after 2.0s: held by pid 4711 (web-3), idle
/// in transaction for 12.3s`. The pid is that of the server process, as in `pg_stat_activity`, and the
/// name in parentheses the session's [`application_name`], which a program sets in its connection URL.
///
/// [`application_name`]: https://www.postgresql.org/docs/current/runtime-config-logging.html#GUC-APPLICATION-NAME
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Unavailable {
    /// The lock that could not be acquired. For a set, the first one missing.
    pub lock: LockId<'static>,
    /// How long the client waited.
    pub waited: Duration,
    /// The sessions that held the lock just after the wait had ended, as far as the server tells.
    ///
    /// Empty if it has been released since. Looked up only for this error: `try_run` and `try_acquire`
    /// do not, and so are cheaper where a lock is often unavailable.
    pub holders: Vec<Holder>,
    /// The sessions that waited for one of the lock's permits just after the wait had ended, in the order
    /// in which they are served. Only for a lock with [permits](crate::AdvisorySession::permits).
    pub waiting: Vec<Holder>,
}

impl Unavailable {
    /// Makes the outcome of a wait for this lock, for tests of how your code handles it.
    ///
    /// ```
    /// use diesel_advisory::{Error, Holder, Unavailable};
    ///
    /// let mut unavailable = Unavailable::new(("invoice", 42));
    /// unavailable.holders.push(Holder::new(4711));
    /// assert_eq!(
    ///     Error::Unavailable(unavailable).to_string(),
    ///     r#"advisory lock "invoice:42" is not available after 0.0ns: held by pid 4711"#,
    /// );
    /// ```
    #[must_use]
    pub fn new<'a>(lock: impl IntoLockId<'a>) -> Self {
        Self {
            lock: lock.into_lock_id().into_owned(),
            waited: Duration::ZERO,
            holders: Vec::new(),
            waiting: Vec::new(),
        }
    }
}

/// A session that holds a lock, as [`pg_stat_activity`] describes it.
///
/// The server tells the state of another role's session only to a role with the rights of
/// `pg_read_all_stats`.
///
/// [`pg_stat_activity`]: https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Holder {
    /// The process id of the server process; 0 if a prepared transaction holds the lock.
    pub pid: i32,
    /// The session's `application_name`, if set.
    pub application_name: Option<String>,
    /// What the session is doing: `active`, `idle`, `idle in transaction`, …
    pub state: Option<String>,
    /// Since when the session has been in this state, on this machine's clock.
    pub since: Option<SystemTime>,
}

impl Holder {
    /// Makes a holder of which only the server process is known, for tests of how your code handles it.
    ///
    /// ```
    /// use diesel_advisory::Holder;
    ///
    /// let mut holder = Holder::new(4711);
    /// holder.application_name = Some("web-3".into());
    /// assert_eq!(holder.to_string(), "pid 4711 (web-3)");
    /// ```
    #[must_use]
    pub const fn new(pid: i32) -> Self {
        Self {
            pid,
            application_name: None,
            state: None,
            since: None,
        }
    }

    /// Returns whether a [prepared transaction] holds the lock. It belongs to no session, and ends by
    /// `COMMIT PREPARED` or `ROLLBACK PREPARED`.
    ///
    /// ```
    /// use diesel_advisory::Holder;
    ///
    /// assert!(Holder::new(0).is_prepared_transaction());
    /// assert!(!Holder::new(4711).is_prepared_transaction());
    /// ```
    ///
    /// [prepared transaction]: https://www.postgresql.org/docs/current/sql-prepare-transaction.html
    #[must_use]
    pub const fn is_prepared_transaction(&self) -> bool {
        self.pid == 0
    }

    /// Prints who it is, without what it does.
    pub(crate) fn fmt_name(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_prepared_transaction() {
            return f.write_str("a prepared transaction");
        }
        write!(f, "pid {}", self.pid)?;
        if let Some(name) = &self.application_name {
            write!(f, " ({name})")?;
        }
        Ok(())
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
        for (index, holder) in self.waiting.iter().enumerate() {
            f.write_str(if index == 0 {
                "; waited for by "
            } else {
                "; by "
            })?;
            holder.fmt_name(f)?;
        }
        Ok(())
    }
}

/// Prints `pid 4711 (web-3), idle in transaction for 12.3s`, or as much of it as is known.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_name(f)?;
        if let Some(state) = &self.state {
            write!(f, ", {state}")?;
        }
        if let Some(in_state) = self.since.and_then(|since| since.elapsed().ok()) {
            write!(f, " for {in_state:.1?}")?;
        }
        Ok(())
    }
}
