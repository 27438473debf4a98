//! A lock for the transaction that is open, asynchronously.

use std::future::Future;

use super::unfinished::Unfinished;
use super::{Async, AsyncAdvisoryConnection};
use crate::xact::OpenTransaction;
use crate::{AdvisoryLock, Error, protocol};

impl<'a, C: AsyncAdvisoryConnection> AdvisoryLock<'a, Async<&'a mut C>, OpenTransaction> {
    /// Takes the lock until the transaction ends, in one round trip.
    ///
    /// What ends it, and what a savepoint or an isolation level does to it, is told at the blocking
    /// `acquire`.
    ///
    /// # Errors
    ///
    /// - [`Error::Unavailable`] if the wait ended without the lock. The transaction goes on.
    /// - [`Error::NotInTransaction`] and [`Error::EmptyName`], before anything is sent.
    /// - [`Error::Database`] if the statement failed. Then the transaction has failed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session ends, and the transaction is rolled back. See
    /// [`AsyncAdvisoryConnection`].
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// use diesel_advisory::AsyncAdvisoryConnection;
    /// use diesel_async::{AsyncConnection, RunQueryDsl};
    ///
    /// conn.transaction(async |conn| {
    ///     conn.advisory_xact(("invoice", 42)).acquire().await?;
    ///     diesel::sql_query("SELECT 'the invoice'").execute(conn).await
    /// })
    /// .await?;
    /// # });
    /// ```
    pub fn acquire(self) -> impl Future<Output = Result<(), Error>> + Send {
        async move {
            let mut conn = Unfinished::new(self.conn.0);
            let result = async {
                let link = &mut conn.link();
                let attempt = protocol::acquire_in_transaction(link, self.request).await?;
                attempt.or_unavailable(link).await
            };
            let result = result.await;
            conn.done();
            result
        }
    }

    /// Takes the lock until the transaction ends, or returns `false` if it is unavailable.
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
    /// use diesel_advisory::{AsyncAdvisoryConnection, Error};
    /// use diesel_async::AsyncConnection;
    ///
    /// conn.transaction(async |conn| {
    ///     if !conn.advisory_xact("search index").no_wait().try_acquire().await? {
    ///         println!("somebody else rebuilds it");
    ///     }
    ///     Ok::<_, Error>(())
    /// })
    /// .await?;
    /// # });
    /// ```
    pub fn try_acquire(self) -> impl Future<Output = Result<bool, Error>> + Send {
        async move {
            let mut conn = Unfinished::new(self.conn.0);
            let attempt = protocol::acquire_in_transaction(&mut conn.link(), self.request).await;
            conn.done();
            Ok(attempt?.granted().is_some())
        }
    }
}
