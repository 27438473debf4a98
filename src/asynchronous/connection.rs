//! The trait that gives an asynchronous connection its advisory locks.

use std::future::Future;
use std::ops::DerefMut;

use super::link::{Async, AsyncPgTransactions};
use super::session::AsyncAdvisorySession;
use super::transaction::AsyncAdvisoryTransaction;
use super::xact::AsyncAdvisoryXact;
use crate::error::Error;
use crate::lock::into_id::IntoLockId;
use crate::lock::request::Request;
use crate::protocol::look::are_locked;

/// Advisory locks for an asynchronous connection to PostgreSQL, of `diesel-async`.
///
/// Implemented for `AsyncPgConnection`. Pooled connections reach it through `DerefMut`. The methods
/// are those of [`AdvisoryConnection`](crate::AdvisoryConnection), whose page tells which of the three
/// scopes to use; closures are async, and every future is `Send`.
///
/// # Cancel safety
///
/// Every future that takes or releases a lock can be dropped at any point. One dropped before completion
/// ends the session, and releases whatever it held or was being granted. A pool sees that the connection
/// is closed, and makes a new one; a connection of your own is closed as well.
///
/// - A transaction in which a future was dropped is rolled back, also where the code around it catches
///   that and goes on.
/// - A lock that [`advisory_xact`](Self::advisory_xact) has acquired lives as long as the transaction. If
///   a transaction of `diesel-async` itself is dropped, it is left open, and the connection marked as
///   broken. bb8 closes such a connection. deadpool keeps it, with the transaction and its locks, until
///   it would be handed out again; mobc (as of `diesel-async` 0.9.2) hands it out as it is. Use
///   [`advisory`](Self::advisory) in tasks that may be cancelled: it ends the session.
/// - The server finishes the statement that it executes before it looks at the connection. So a wait for
///   a lock that was dropped keeps its place in the queue, and its server process, until it ends. Prefer
///   `timeout` to dropping the future, or set PostgreSQL's [`client_connection_check_interval`].
/// - A session that ends itself leaves a line in the server's log: `FATAL: unrecognized configuration parameter
///   "diesel_advisory: the session ends, and what it holds is free"`. It takes no privilege to do so.
///
/// [`client_connection_check_interval`]: https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-CLIENT-CONNECTION-CHECK-INTERVAL
pub trait AsyncAdvisoryConnection: AsyncPgTransactions {
    /// Builds a lock around a transaction of its own. The lock is released when the work commits or
    /// rolls back.
    ///
    /// Nothing is sent until [`run`](AsyncAdvisoryTransaction::run) or
    /// [`try_run`](AsyncAdvisoryTransaction::try_run) is called.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// # use diesel_advisory_sandbox::schema::books;
    /// use diesel::prelude::*;
    /// use diesel_async::{AsyncConnection, RunQueryDsl};
    /// use diesel_advisory::AsyncAdvisoryConnection;
    ///
    /// conn.advisory("billing.close_month").run(async |conn| {
    ///     diesel::update(books::table).set(books::closed.eq(true)).execute(conn).await
    /// })
    /// .await?;
    /// # });
    /// ```
    fn advisory<'a>(&mut self, id: impl IntoLockId<'a>) -> AsyncAdvisoryTransaction<'_, 'a, Self> {
        self.advisory_all([id])
    }

    /// Builds a set of locks around a transaction of its own, from an iterator.
    ///
    /// All of them are acquired, or none. An empty iterator is [`Error::EmptySet`].
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
    /// let ids = [42, 7, 12];
    /// conn.advisory_all(ids.map(|id| ("invoice", id))).run(async |conn| {
    ///     let these = invoices::table.filter(invoices::id.eq_any(ids));
    ///     diesel::update(these).set(invoices::paid.eq(true)).execute(conn).await
    /// })
    /// .await?;
    /// # });
    /// ```
    fn advisory_all<'a, I>(&mut self, ids: I) -> AsyncAdvisoryTransaction<'_, 'a, Self>
    where
        I: IntoIterator<Item: IntoLockId<'a>>,
    {
        AsyncAdvisoryTransaction::new(self, Request::new(ids))
    }

    /// Builds a lock for the transaction that is already open.
    ///
    /// Nothing is sent until [`acquire`](AsyncAdvisoryXact::acquire) or
    /// [`try_acquire`](AsyncAdvisoryXact::try_acquire) is called.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// # use diesel_advisory_sandbox::schema::books;
    /// use diesel::prelude::*;
    /// use diesel_async::{AsyncConnection, RunQueryDsl};
    /// use diesel_advisory::AsyncAdvisoryConnection;
    ///
    /// conn.transaction(async |conn| {
    ///     conn.advisory_xact("billing.close_month").acquire().await?;
    ///     diesel::update(books::table).set(books::closed.eq(true)).execute(conn).await
    /// })
    /// .await?;
    /// # });
    /// ```
    fn advisory_xact<'a>(&mut self, id: impl IntoLockId<'a>) -> AsyncAdvisoryXact<'_, 'a, Self> {
        self.advisory_xact_all([id])
    }

    /// Builds a set of locks for the transaction that is already open, from an iterator.
    ///
    /// All of them are acquired, or none. An empty iterator is [`Error::EmptySet`].
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// # use diesel::prelude::*;
    /// use diesel_async::{AsyncConnection, RunQueryDsl};
    /// use diesel_advisory::{AsyncAdvisoryConnection, Error};
    ///
    /// conn.transaction(async |conn| {
    ///     conn.advisory_xact_all([42, 7, 12].map(|id| ("invoice", id))).acquire().await
    /// })
    /// .await?;
    /// # });
    /// ```
    fn advisory_xact_all<'a, I>(&mut self, ids: I) -> AsyncAdvisoryXact<'_, 'a, Self>
    where
        I: IntoIterator<Item: IntoLockId<'a>>,
    {
        AsyncAdvisoryXact::new(self, Request::new(ids))
    }

    /// Builds a lock for the session: it is held across transactions, until it is released.
    ///
    /// Nothing is sent until [`run`](AsyncAdvisorySession::run), [`acquire`](AsyncAdvisorySession::acquire) or one
    /// of their `try_` forms is called. Inside a transaction they return [`Error::InTransaction`], because
    /// the lock would be released before the commit, and the next holder would see the old rows.
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
    /// conn.advisory_session("reports.nightly").run(async |conn| {
    ///     // Each statement commits on its own.
    ///     diesel::delete(invoices::table.filter(invoices::paid)).execute(conn).await?;
    ///     diesel::update(invoices::table).set(invoices::reminded.eq(true)).execute(conn).await
    /// })
    /// .await?;
    /// # });
    /// ```
    fn advisory_session<'a>(
        &mut self,
        id: impl IntoLockId<'a>,
    ) -> AsyncAdvisorySession<'a, &mut Self> {
        self.advisory_session_all([id])
    }

    /// Builds a set of locks for the session, from an iterator.
    ///
    /// All of them are acquired, or none. An empty iterator is [`Error::EmptySet`].
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// use diesel_advisory::{AsyncAdvisoryConnection, Error};
    ///
    /// let held = conn.advisory_session_all([1, 2].map(|id| ("shard", id))).acquire().await?;
    /// held.release().await?;
    /// # });
    /// ```
    fn advisory_session_all<'a, I>(&mut self, ids: I) -> AsyncAdvisorySession<'a, &mut Self>
    where
        I: IntoIterator<Item: IntoLockId<'a>>,
    {
        AsyncAdvisorySession::new(self, Request::new(ids))
    }

    /// Returns whether any session holds the lock in this database, shared or exclusive, this session
    /// included.
    ///
    /// It does not take the lock, and the answer can be out of date when it arrives. Use it for people
    /// and dashboards; to act on it, take the lock with `no_wait()`. For several locks at once see
    /// [`inspect::are_advisory_locked_async`](crate::inspect::are_advisory_locked_async).
    ///
    /// A lock that is held leaves an `ERROR` in the server's log: nothing that can be dropped in the
    /// middle prepares a query here, and the answer comes as an error.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyName`], or [`Error::Database`].
    ///
    /// # Cancel safety
    ///
    /// The future can be dropped at any point.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// # use diesel_advisory::{AsyncAdvisoryConnection, Error};
    /// assert!(!conn.is_advisory_locked("reports.nightly").await?);
    /// # });
    /// ```
    fn is_advisory_locked<'a>(
        &'a mut self,
        id: impl IntoLockId<'a>,
    ) -> impl Future<Output = Result<bool, Error>> + Send {
        let id = id.into_lock_id();
        async move {
            let locked = are_locked(&mut Async(self), &[id]).await?;
            Ok(locked == [true])
        }
    }
}

impl<C: AsyncPgTransactions> AsyncAdvisoryConnection for C {}

/// Session locks whose guard owns the connection.
///
/// Implemented for whatever derefs to a connection: pooled connections, `Box<AsyncPgConnection>`, and
/// `&mut AsyncPgConnection`.
pub trait IntoAsyncAdvisorySession: DerefMut<Target: AsyncPgTransactions> + Sized + Send {
    /// Builds a lock for the session whose guard owns the connection, so that it can be stored in a
    /// struct and moved to another task.
    ///
    /// Otherwise the same as [`advisory_session`](AsyncAdvisoryConnection::advisory_session).
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// use diesel_advisory::IntoAsyncAdvisorySession;
    /// use diesel_async::{AsyncConnection, AsyncPgConnection};
    ///
    /// # let url = diesel_advisory_sandbox::database_url();
    /// let conn = Box::new(AsyncPgConnection::establish(&url).await?);
    /// let leader = conn.into_advisory_session("leader").acquire().await?;
    /// let task = tokio::spawn(async move {
    ///     // Leads until the lock is released.
    ///     leader.release().await
    /// });
    /// task.await??;
    /// # });
    /// ```
    fn into_advisory_session<'a>(self, id: impl IntoLockId<'a>) -> AsyncAdvisorySession<'a, Self> {
        self.into_advisory_session_all([id])
    }

    /// Builds a set of locks from an iterator, for a guard that owns the connection.
    ///
    /// Otherwise the same as [`advisory_session_all`](AsyncAdvisoryConnection::advisory_session_all).
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// use diesel_advisory::{Error, IntoAsyncAdvisorySession};
    ///
    /// let held = conn.into_advisory_session_all([("shard", 1), ("shard", 2)]).acquire().await?;
    /// held.release().await?;
    /// # });
    /// ```
    fn into_advisory_session_all<'a, I>(self, ids: I) -> AsyncAdvisorySession<'a, Self>
    where
        I: IntoIterator<Item: IntoLockId<'a>>,
    {
        AsyncAdvisorySession::new(self, Request::new(ids))
    }
}

impl<D> IntoAsyncAdvisorySession for D where D: DerefMut<Target: AsyncPgTransactions> + Send {}
