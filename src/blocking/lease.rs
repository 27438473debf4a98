//! A lock of a session that is kept alive, and tells when it is lost.

use std::ops::DerefMut;
use std::time::Duration;

use super::keeper::{Keeper, Taken, Taking};
use super::link::PgTransactions;
use crate::error::Error;
use crate::lease::clock::TimeToLive;
use crate::lease::handle::Lease;
use crate::lock::request::Request;
use crate::trace::{Scope, Trace};

/// A builder for a lease, made by [`AdvisorySession::lease`](crate::AdvisorySession::lease).
///
/// A lease is a session lock on a connection of its own. The work uses other connections. A thread asks the
/// server a question in every third of the time to live; a session that is asked nothing for that long is ended
/// by the server, and the lock is free. The holder stops to believe in it a tenth earlier (at least 50 ms).
///
/// What it does not promise is in [the guide](crate::guide::leases#what-a-lease-does-not-promise).
#[derive(Debug)]
#[must_use = "the lock is not taken until `run` or `try_run` is called"]
pub struct AdvisoryLease<'a, D> {
    conn: D,
    request: Request<'a>,
    ttl: TimeToLive,
}

impl<'a, D> AdvisoryLease<'a, D>
where
    D: DerefMut<Target: PgTransactions> + Send + 'static,
{
    pub(super) fn new(conn: D, request: Request<'a>, ttl: Duration) -> Self {
        Self {
            conn,
            request,
            ttl: TimeToLive::new(ttl),
        }
    }

    /// Runs the closure while the lease is held.
    ///
    /// 1. In a thread that owns the connection, the session gets its time to live, and acquires the lock.
    /// 2. The closure runs in the thread of the caller, with a [`Lease`] that tells whether it is still held.
    ///    A blocking closure cannot be stopped from outside: it has to look.
    /// 3. The lock is released, the session gets back the `idle_session_timeout` that it had, and the connection
    ///    is dropped; a pooled one goes back to its pool.
    ///
    /// The time counts from a question that is sent after the lock was granted, so that a lease after a long
    /// wait is whole.
    ///
    /// `run` waits for the lock as long as the builder says, and for everything else no longer than the time to
    /// live. If the network is gone by then, the thread ends later, when the driver gives up.
    ///
    /// # Errors
    ///
    /// If the closure fails, you get its error, even when the lease was lost too. Otherwise:
    ///
    /// - [`Error::Lost`] if the lease was lost before the closure returned, or nobody can tell whether it was
    ///   released;
    /// - [`Error::Standby`] if the server is a standby, whatever `allow_standby` says;
    /// - [`Error::SharedSession`] if another lease uses the same session, as behind a pooler in transaction mode;
    /// - those of [`acquire`](crate::AdvisorySession::acquire) and of
    ///   [`release`](crate::AdvisoryGuard::release).
    ///
    /// # Panics
    ///
    /// If the closure panics, the lock is released while the panic goes on.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// use std::time::Duration;
    ///
    /// use diesel::prelude::*;
    /// use diesel::r2d2::{ConnectionManager, Pool};
    /// use diesel_advisory::{Error, IntoAdvisorySession};
    ///
    /// # let url = diesel_advisory_sandbox::database_url();
    /// let pool = Pool::new(ConnectionManager::<PgConnection>::new(url))?;
    /// # let mut steps = 0..3;
    /// # let mut step = |_| -> Result<bool, Error> { Ok(steps.next().is_some()) };
    ///
    /// pool.get()?
    ///     .into_advisory_session("scheduler")
    ///     .lease(Duration::from_secs(10))
    ///     .run(|lease| {
    ///         while lease.is_held() {
    ///             // Each step is much shorter than the time to live, and passes the token along.
    ///             if !step(lease.token()?)? {
    ///                 break;
    ///             }
    ///         }
    ///         Ok::<_, Error>(())
    ///     })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn run<T, E, F>(self, f: F) -> Result<T, E>
    where
        F: FnOnce(Lease) -> Result<T, E>,
        E: From<Error>,
    {
        match self.run_if_taken(f, true)? {
            Some(value) => Ok(value),
            None => unreachable!("an unavailable lock is an error here"),
        }
    }

    /// Runs the closure while the lease is held, or returns `None` without calling it if the lock is
    /// unavailable.
    ///
    /// Otherwise the same as [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// The same as [`run`](Self::run), except [`Error::Unavailable`].
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # let url = diesel_advisory_sandbox::database_url();
    /// # use diesel::prelude::*;
    /// use std::time::Duration;
    /// use diesel_advisory::{Error, IntoAdvisorySession};
    ///
    /// let conn = Box::new(PgConnection::establish(&url)?);
    /// let ran = conn
    ///     .into_advisory_session("scheduler")
    ///     .no_wait()
    ///     .lease(Duration::from_secs(10))
    ///     .try_run(|lease| lease.check())?;
    /// if ran.is_none() {
    ///     println!("another process schedules");
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_run<T, E, F>(self, f: F) -> Result<Option<T>, E>
    where
        F: FnOnce(Lease) -> Result<T, E>,
        E: From<Error>,
    {
        self.run_if_taken(f, false)
    }

    fn run_if_taken<T, E, F>(self, f: F, or_error: bool) -> Result<Option<T>, E>
    where
        F: FnOnce(Lease) -> Result<T, E>,
        E: From<Error>,
    {
        let request = self.request.into_owned();
        let trace = Trace::begin(&request, Scope::Lease);
        let lease = Lease::of(&request, self.ttl, &trace);
        let taking = Taking {
            ttl: self.ttl,
            or_error,
            again: false,
            delayed: false,
            name: None,
        };
        let keeper = Keeper::spawn(self.conn, request, taking);
        let taken = trace.inside(|| keeper.take(&lease));
        if trace.decided_if(taken.map(Taken::held))?.is_none() {
            return Ok(None);
        }
        let worked = trace.inside(|| keeper.work(&lease, f));
        let finished = trace.checked(worked.finished);
        let value = worked.returned?;
        worked.in_time?;
        finished?;
        Ok(Some(value))
    }
}
