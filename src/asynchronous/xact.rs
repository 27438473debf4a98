//! A lock for the transaction that is already open, asynchronously.

use std::future::Future;

use super::link::{AsyncPgTransactions, Unfinished};
use crate::error::Error;
use crate::lock::options::lock_options;
use crate::lock::request::Request;
use crate::protocol::attempt::Attempt;
use crate::protocol::xact;
use crate::trace::{Scope, Trace};

/// A builder for an advisory lock in the open transaction, made by
/// [`AsyncAdvisoryConnection::advisory_xact`](crate::AsyncAdvisoryConnection::advisory_xact).
///
/// Nothing is sent until [`acquire`](Self::acquire) or [`try_acquire`](Self::try_acquire). Unless told
/// otherwise, the lock is exclusive, and the wait for it is limited by the session's `lock_timeout` only.
#[derive(Debug)]
#[must_use = "the lock is not taken until `acquire` or `try_acquire` is called"]
pub struct AsyncAdvisoryXact<'c, 'a, C> {
    conn: &'c mut C,
    request: Request<'a>,
}

impl<'c, 'a, C> AsyncAdvisoryXact<'c, 'a, C> {
    pub(crate) fn new(conn: &'c mut C, request: Request<'a>) -> Self {
        Self { conn, request }
    }
}

impl<C: AsyncPgTransactions> AsyncAdvisoryXact<'_, '_, C> {
    /// Acquires the lock until the transaction ends, in one round trip.
    ///
    /// The lock is released by the commit or the rollback. A savepoint that is rolled back releases the
    /// locks acquired since it was set; in Diesel, that is every nested
    /// [`transaction`](diesel_async::AsyncConnection::transaction) that returns an error.
    ///
    /// Above read committed, the transaction's snapshot predates the wait: it may not show what the last
    /// holder has committed. To acquire the lock first, use
    /// [`advisory(…).serializable()`](super::transaction::AsyncAdvisoryTransaction::serializable).
    ///
    /// # Errors
    ///
    /// - [`Error::Unavailable`] if the wait ended without the lock. The transaction is still usable, with
    ///   all that it has written.
    /// - [`Error::Standby`] if the server is a standby.
    /// - [`Error::NotInTransaction`], [`Error::EmptyName`] and [`Error::EmptySet`], before anything is
    ///   sent.
    /// - [`Error::Database`] if the statement failed, as by a deadlock, a `statement_timeout` or a lost
    ///   connection. The transaction has then failed, as after any other statement.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session ends, and the transaction is rolled back. Once it has
    /// completed, the lock lives as long as the transaction: see
    /// [`AsyncAdvisoryConnection`](crate::AsyncAdvisoryConnection#cancel-safety).
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// # use diesel_advisory_sandbox::schema::invoices;
    /// use diesel::prelude::*;
    /// use diesel_async::{AsyncConnection, RunQueryDsl};
    /// use diesel_advisory::AsyncAdvisoryConnection;
    ///
    /// conn.transaction(async |conn| {
    ///     conn.advisory_xact(("invoice", 42)).acquire().await?;
    ///     diesel::update(invoices::table.find(42)).set(invoices::paid.eq(true)).execute(conn).await
    /// })
    /// .await?;
    /// # });
    /// ```
    pub fn acquire(self) -> impl Future<Output = Result<(), Error>> + Send {
        async move {
            let trace = Trace::begin(&self.request, Scope::Xact);
            let told = trace.clone();
            told.around(async move {
                let mut conn = Unfinished::new(self.conn);
                let result = async {
                    let link = &mut conn.link();
                    let attempt = xact::acquire(link, self.request).await?;
                    attempt.or_unavailable(link).await
                };
                let result = result.await;
                conn.done();
                trace.decided(result)
            })
            .await
        }
    }

    /// Acquires the lock until the transaction ends, or returns `false` if it is unavailable.
    ///
    /// Otherwise the same as [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// The same as [`acquire`](Self::acquire), except [`Error::Unavailable`].
    ///
    /// # Cancel safety
    ///
    /// The same as [`acquire`](Self::acquire).
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// use diesel::prelude::*;
    /// use diesel_async::{AsyncConnection, RunQueryDsl};
    /// use diesel_advisory::{AsyncAdvisoryConnection, Error};
    ///
    /// conn.transaction(async |conn| {
    ///     if !conn.advisory_xact("search.rebuild").no_wait().try_acquire().await? {
    ///         println!("somebody else rebuilds the index");
    ///     }
    ///     Ok::<_, Error>(())
    /// })
    /// .await?;
    /// # });
    /// ```
    pub fn try_acquire(self) -> impl Future<Output = Result<bool, Error>> + Send {
        async move {
            let trace = Trace::begin(&self.request, Scope::Xact);
            let told = trace.clone();
            told.around(async move {
                let mut conn = Unfinished::new(self.conn);
                let attempt = xact::acquire(&mut conn.link(), self.request).await;
                conn.done();
                let acquired = Attempt::told(attempt, &trace)?;
                Ok(acquired.is_some())
            })
            .await
        }
    }
}

lock_options! {
    impl<'c, C> AsyncAdvisoryXact<'c, 'a, C> {
        setup: "# diesel_advisory_sandbox::async_doctest!(conn, {\n# use diesel_advisory::{AsyncAdvisoryConnection, Error};\n# use diesel_async::AsyncConnection;",
        open: "conn.transaction(async |conn| conn.advisory_xact",
        close: ".acquire().await).await?;",
        end: "# });",
    }
}
