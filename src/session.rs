//! A lock for the session, for work that must not sit in one long transaction.

use std::ops::DerefMut;

use crate::connection::Blocking;
use crate::link::ready;
use crate::{AdvisoryConnection, AdvisoryGuard, AdvisoryLock, Error, protocol};

/// The scope of [`advisory_session`](AdvisoryConnection::advisory_session): until the lock is
/// released, or the session ends.
#[derive(Debug, Default)]
pub struct Session(());

impl<D> AdvisoryLock<'_, D, Session>
where
    D: DerefMut<Target: AdvisoryConnection>,
{
    /// Takes the lock for the session, and returns the guard that holds it.
    ///
    /// This is one round trip, and the release another one. The guard derefs to the connection. It
    /// releases the lock when it is dropped; [`release`](AdvisoryGuard::release) also tells whether
    /// that went well.
    ///
    /// # Errors
    ///
    /// After any of these the session holds nothing:
    ///
    /// - [`Error::Unavailable`] if the wait ended without the lock;
    /// - [`Error::InTransaction`] inside an open transaction, and [`Error::EmptyName`], before
    ///   anything is sent;
    /// - [`Error::Database`] if the statement failed.
    ///
    /// A connection that was handed over with
    /// [`into_advisory_session`](crate::IntoAdvisorySession::into_advisory_session) is dropped
    /// then; a pooled one goes back to its pool.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// use diesel::prelude::*;
    /// use diesel_advisory::{AdvisoryConnection, Error};
    ///
    /// let mut held = conn.advisory_session("reports.nightly").acquire()?;
    /// for part in ["SELECT 'one part'", "SELECT 'the next'"] {
    ///     // Each part commits on its own.
    ///     diesel::sql_query(part).execute(&mut *held)?;
    /// }
    /// held.release()?;
    /// # Ok::<_, Error>(())
    /// ```
    pub fn acquire(mut self) -> Result<AdvisoryGuard<D>, Error> {
        let mut conn = Blocking(&mut *self.conn);
        let attempt = ready(protocol::acquire_for_session(&mut conn, self.request))?;
        let held = ready(attempt.or_unavailable(&mut conn))?;
        Ok(AdvisoryGuard::new(self.conn, held))
    }

    /// Takes the lock for the session, or returns `None` if it is unavailable.
    ///
    /// Otherwise the same as [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire), without [`Error::Unavailable`].
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory::{AdvisoryConnection, Error};
    /// match conn.advisory_session("reports.nightly").no_wait().try_acquire()? {
    ///     Some(held) => held.release()?,
    ///     None => println!("somebody else is at it"),
    /// }
    /// # Ok::<_, Error>(())
    /// ```
    pub fn try_acquire(mut self) -> Result<Option<AdvisoryGuard<D>>, Error> {
        let mut conn = Blocking(&mut *self.conn);
        let attempt = ready(protocol::acquire_for_session(&mut conn, self.request))?;
        let held = attempt.granted();
        Ok(held.map(|held| AdvisoryGuard::new(self.conn, held)))
    }

    /// Runs the closure while the session holds the lock.
    ///
    /// No transaction is opened: every statement of the closure commits on its own, or in
    /// transactions that the closure opens.
    ///
    /// # Errors
    ///
    /// The closure's own error comes first: a failing release does not hide it. Then those of
    /// [`acquire`](Self::acquire), before the closure has run, and those of
    /// [`release`](AdvisoryGuard::release), after it has.
    ///
    /// # Panics
    ///
    /// If the closure panics, the lock is released while the panic goes on.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// use diesel::prelude::*;
    /// use diesel_advisory::AdvisoryConnection;
    ///
    /// conn.advisory_session("search index").run(|conn| {
    ///     diesel::sql_query("SELECT 'one part'").execute(conn)?;
    ///     diesel::sql_query("SELECT 'the next'").execute(conn)
    /// })?;
    /// # Ok::<_, diesel::result::Error>(())
    /// ```
    pub fn run<T, E, F>(self, f: F) -> Result<T, E>
    where
        F: FnOnce(&mut D::Target) -> Result<T, E>,
        E: From<Error>,
    {
        self.acquire()?.run(f)
    }

    /// Runs the closure while the session holds the lock, or returns `None` without calling it if
    /// the lock is unavailable.
    ///
    /// Otherwise the same as [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), without [`Error::Unavailable`].
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// use diesel::prelude::*;
    /// use diesel_advisory::AdvisoryConnection;
    ///
    /// let rows = conn
    ///     .advisory_session("reports.nightly")
    ///     .no_wait()
    ///     .try_run(|conn| diesel::sql_query("SELECT 'the report'").execute(conn))?;
    /// assert_eq!(rows, Some(1));
    /// # Ok::<_, diesel::result::Error>(())
    /// ```
    pub fn try_run<T, E, F>(self, f: F) -> Result<Option<T>, E>
    where
        F: FnOnce(&mut D::Target) -> Result<T, E>,
        E: From<Error>,
    {
        self.try_acquire()?.map(|held| held.run(f)).transpose()
    }
}
