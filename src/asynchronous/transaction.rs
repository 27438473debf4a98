//! A lock around a transaction of its own, asynchronously.

use std::future::Future;

use super::connection::AsyncLink;
use super::unfinished::Unfinished;
use super::{Async, AsyncAdvisoryConnection, AsyncFunc};
use crate::protocol::{self, Frame};
use crate::transaction::OwnTransaction;
use crate::{AdvisoryLock, Error};

impl<'a, C: AsyncAdvisoryConnection> AdvisoryLock<'a, Async<&'a mut C>, OwnTransaction> {
    /// Runs the async closure in a transaction that holds the lock.
    ///
    /// Order of events, nesting and errors are those of the blocking `run`.
    ///
    /// # Errors
    ///
    /// The closure's own error comes first: a failing rollback does not hide it. Then:
    ///
    /// - [`Error::Unavailable`] if the wait ended without the lock;
    /// - [`Error::EmptyName`], before anything is sent;
    /// - [`Error::Database`] if the lock, the `BEGIN` or the `COMMIT` failed.
    ///
    /// # Panics
    ///
    /// If the closure panics, the same happens as if the future was dropped, while the panic goes
    /// on.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session ends: the transaction is rolled back, and the lock is
    /// freed. See [`AsyncAdvisoryConnection`].
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// use diesel_advisory::AsyncAdvisoryConnection;
    /// use diesel_async::RunQueryDsl;
    ///
    /// conn.advisory(("invoice", 42))
    ///     .run(async |conn| {
    ///         // Nobody else is in here now, on any machine.
    ///         diesel::sql_query("SELECT 'the invoice'").execute(conn).await
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
        async move {
            let mut conn = Unfinished::new(self.conn.0);
            let result = async {
                let link = &mut conn.link();
                let attempt = protocol::open_frame(link, self.request, self.scope.modes).await?;
                let frame = attempt.or_unavailable(link).await?;
                run_in_frame(link, frame, f).await
            };
            let result = result.await;
            conn.done();
            result
        }
    }

    /// Runs the async closure in a transaction that holds the lock, or returns `None` without
    /// calling it if the lock is unavailable.
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
    ///     .advisory("reports.nightly")
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
            let mut conn = Unfinished::new(self.conn.0);
            let result = async {
                let link = &mut conn.link();
                let attempt = protocol::open_frame(link, self.request, self.scope.modes).await?;
                match attempt.granted() {
                    Some(frame) => run_in_frame(link, frame, f).await.map(Some),
                    None => Ok(None),
                }
            };
            let result = result.await;
            conn.done();
            result
        }
    }
}

async fn run_in_frame<C, T, E, F>(link: &mut AsyncLink<'_, C>, frame: Frame, f: F) -> Result<T, E>
where
    C: AsyncAdvisoryConnection,
    F: for<'r> AsyncFunc<&'r mut C, Result<T, E>>,
    E: From<Error>,
{
    match f(link.0).await {
        Ok(value) => {
            let committed = protocol::commit_frame(link, frame).await;
            committed.map_err(Error::from)?;
            Ok(value)
        }
        Err(error) => {
            protocol::roll_back_frame(link, frame).await;
            Err(error)
        }
    }
}
