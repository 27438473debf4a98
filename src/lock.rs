//! The builder that all scopes share: which locks, in which mode, and how long to wait.

use std::time::Duration;

use crate::LockId;
use crate::lock_set::{Mode, Request};
use crate::wait::Wait;

/// An advisory lock, or a set of them, that is described and not yet taken.
///
/// `S` says when the lock ends; which methods take it depends on that:
///
/// | made by | ends with | takes it |
/// |---|---|---|
/// | [`advisory`](crate::AdvisoryConnection::advisory) | the transaction that it opens | [`run`](AdvisoryLock::run), [`try_run`](AdvisoryLock::try_run) |
/// | [`advisory_xact`](crate::AdvisoryConnection::advisory_xact) | the transaction that is open | [`acquire`](AdvisoryLock::acquire), [`try_acquire`](AdvisoryLock::try_acquire) |
/// | [`advisory_session`](crate::AdvisoryConnection::advisory_session) | its release | [`run`](AdvisoryLock::run), [`try_run`](AdvisoryLock::try_run), [`acquire`](AdvisoryLock::acquire), [`try_acquire`](AdvisoryLock::try_acquire) |
///
/// Unless told otherwise, the lock is exclusive, and the wait for it is as long as the session's
/// [`lock_timeout`] lets it: without end, by PostgreSQL's default.
///
/// [`lock_timeout`]: https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-LOCK-TIMEOUT
#[derive(Debug)]
#[must_use = "the lock is only described here and not taken: call `run`, `try_run`, `acquire` or \
              `try_acquire`"]
pub struct AdvisoryLock<'a, C, S> {
    pub(crate) conn: C,
    pub(crate) request: Request<'a>,
    pub(crate) scope: S,
}

impl<'a, C, S: Default> AdvisoryLock<'a, C, S> {
    pub(crate) fn new(conn: C, id: LockId<'a>) -> Self {
        Self {
            conn,
            request: Request::new(id),
            scope: S::default(),
        }
    }
}

impl<'a, C, S> AdvisoryLock<'a, C, S> {
    /// Takes the lock as a shared one: it excludes exclusive locks, and not other shared ones.
    ///
    /// Default: exclusive. Of several locks, all are shared.
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn, other);
    /// # use diesel_advisory::{AdvisoryConnection, Error};
    /// conn.advisory("price list").shared().run(|_| {
    ///     // Another reader is let in, a writer is not.
    ///     assert!(other.advisory("price list").shared().try_run(|_| Ok::<_, Error>(()))?.is_some());
    ///     assert!(other.advisory("price list").no_wait().try_run(|_| Ok::<_, Error>(()))?.is_none());
    ///     Ok::<_, Error>(())
    /// })
    /// # ?; Ok::<_, Error>(())
    /// ```
    pub fn shared(mut self) -> Self {
        self.request.mode = Mode::Share;
        self
    }

    /// Waits for the lock no longer than `timeout`; `None` waits without end.
    ///
    /// Whatever the session's `lock_timeout` is, it does not count for this lock, and it is the
    /// same as before when the lock has been taken or the wait has ended. Row locks that are
    /// waited for after that are not under this timeout. Of several locks, all have to be there
    /// within it.
    ///
    /// Default: the session's `lock_timeout`.
    ///
    /// PostgreSQL counts whole milliseconds in 32 bits, so a timeout is rounded up to the next one,
    /// and one of more than some 24 days is no limit. Zero is the same as
    /// [`no_wait`](Self::no_wait).
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory::{AdvisoryConnection, Error};
    /// use std::time::Duration;
    ///
    /// conn.advisory(("invoice", 42))
    ///     .timeout(Duration::from_secs(2))
    ///     .run(|_conn| Ok::<_, Error>(()))
    /// # ?; Ok::<_, Error>(())
    /// ```
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.request.wait = Wait::from(timeout.into());
        self
    }

    /// Does not wait at all: the lock is free now, or it is unavailable.
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory::{AdvisoryConnection, Error};
    /// let done = conn.advisory("reports.nightly").no_wait().try_run(|_conn| Ok::<_, Error>(()))?;
    /// if done.is_none() {
    ///     println!("somebody else is at it");
    /// }
    /// # Ok::<_, Error>(())
    /// ```
    pub fn no_wait(mut self) -> Self {
        self.request.wait = Wait::No;
        self
    }

    /// Adds a lock: all of them are taken, or none.
    ///
    /// Sets are always taken in the same order, whatever the order in which they were written, so
    /// that two of them cannot deadlock. A lock that is named twice is taken once.
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory::{AdvisoryConnection, Error};
    /// let (from, to) = (7, 3);
    /// conn.advisory(("account", from))
    ///     .and(("account", to))
    ///     .run(|_conn| Ok::<_, Error>(()))
    /// # ?; Ok::<_, Error>(())
    /// ```
    pub fn and(mut self, id: impl Into<LockId<'a>>) -> Self {
        self.request.ids.push(id.into());
        self
    }
}
