//! A lock for the session, asynchronously.

use std::future::Future;
use std::ops::DerefMut;

use super::unfinished::Unfinished;
use super::{Async, AsyncAdvisoryConnection, AsyncAdvisoryGuard, AsyncFunc};
use crate::session::Session;
use crate::{AdvisoryLock, Error, protocol};

impl<C, D> AdvisoryLock<'_, Async<D>, Session>
where
    C: AsyncAdvisoryConnection,
    D: DerefMut<Target = C> + Send,
{
    /// Takes the lock for the session, and returns the guard that holds it.
    ///
    /// This is one round trip, and [`release`](AsyncAdvisoryGuard::release) another one.
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
    /// # Cancel safety
    ///
    /// If the future is dropped, the session ends, and the lock is freed if it had just been
    /// granted. See [`AsyncAdvisoryConnection`].
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// use diesel_advisory::AsyncAdvisoryConnection;
    /// use diesel_async::RunQueryDsl;
    ///
    /// let mut held = conn.advisory_session("reports.nightly").acquire().await?;
    /// for part in ["SELECT 'one part'", "SELECT 'the next'"] {
    ///     // Each part commits on its own.
    ///     diesel::sql_query(part).execute(&mut *held).await?;
    /// }
    /// held.release().await?;
    /// # });
    /// ```
    pub fn acquire(mut self) -> impl Future<Output = Result<AsyncAdvisoryGuard<D>, Error>> + Send {
        async move {
            let mut conn = Unfinished::new(&mut *self.conn.0);
            let held = async {
                let link = &mut conn.link();
                let attempt = protocol::acquire_for_session(link, self.request).await?;
                attempt.or_unavailable(link).await
            };
            let held = held.await;
            conn.done();
            Ok(AsyncAdvisoryGuard::new(self.conn.0, held?))
        }
    }

    /// Takes the lock for the session, or returns `None` if it is unavailable.
    ///
    /// Otherwise the same as [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire), without [`Error::Unavailable`].
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// use diesel_advisory::AsyncAdvisoryConnection;
    ///
    /// match conn.advisory_session("reports.nightly").no_wait().try_acquire().await? {
    ///     Some(held) => held.release().await?,
    ///     None => println!("somebody else is at it"),
    /// }
    /// # });
    /// ```
    pub fn try_acquire(
        mut self,
    ) -> impl Future<Output = Result<Option<AsyncAdvisoryGuard<D>>, Error>> + Send {
        async move {
            let mut conn = Unfinished::new(&mut *self.conn.0);
            let attempt = protocol::acquire_for_session(&mut conn.link(), self.request).await;
            conn.done();
            let held = attempt?.granted();
            Ok(held.map(|held| AsyncAdvisoryGuard::new(self.conn.0, held)))
        }
    }

    /// Runs the async closure while the session holds the lock.
    ///
    /// No transaction is opened: every statement of the closure commits on its own, or in
    /// transactions that the closure opens.
    ///
    /// # Errors
    ///
    /// The closure's own error comes first: a failing release does not hide it. Then those of
    /// [`acquire`](Self::acquire), before the closure has run, and those of
    /// [`release`](AsyncAdvisoryGuard::release), after it has.
    ///
    /// # Panics
    ///
    /// If the closure panics, the guard is dropped: see [`AsyncAdvisoryGuard`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while it waits for the lock or releases it, the session ends; if
    /// the closure is dropped, see [`AsyncAdvisoryGuard`].
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// use diesel_advisory::AsyncAdvisoryConnection;
    /// use diesel_async::RunQueryDsl;
    ///
    /// conn.advisory_session("search index")
    ///     .run(async |conn| {
    ///         diesel::sql_query("SELECT 'one part'").execute(conn).await?;
    ///         diesel::sql_query("SELECT 'the next'").execute(conn).await
    ///     })
    ///     .await?;
    /// # });
    /// ```
    pub fn run<T, E, F>(self, f: F) -> impl Future<Output = Result<T, E>> + Send
    where
        F: for<'r> AsyncFunc<&'r mut C, Result<T, E>, Fut: Send> + Send,
        T: Send,
        E: From<Error> + Send,
    {
        async move { self.acquire().await?.run(f).await }
    }

    /// Runs the async closure while the session holds the lock, or returns `None` without calling
    /// it if the lock is unavailable.
    ///
    /// Otherwise the same as [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), without [`Error::Unavailable`].
    ///
    /// # Cancel safety
    ///
    /// As [`run`](Self::run).
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// use diesel_advisory::AsyncAdvisoryConnection;
    /// use diesel_async::RunQueryDsl;
    ///
    /// let rows = conn
    ///     .advisory_session("reports.nightly")
    ///     .no_wait()
    ///     .try_run(async |conn| diesel::sql_query("SELECT 'the report'").execute(conn).await)
    ///     .await?;
    /// assert_eq!(rows, Some(1));
    /// # });
    /// ```
    pub fn try_run<T, E, F>(self, f: F) -> impl Future<Output = Result<Option<T>, E>> + Send
    where
        F: for<'r> AsyncFunc<&'r mut C, Result<T, E>, Fut: Send> + Send,
        T: Send,
        E: From<Error> + Send,
    {
        async move {
            match self.try_acquire().await? {
                Some(held) => held.run(f).await.map(Some),
                None => Ok(None),
            }
        }
    }
}
