//! The trait that gives an asynchronous Diesel connection its advisory locks.

use std::future::Future;
use std::num::NonZeroU32;
use std::ops::DerefMut;

use diesel::QueryResult;
use diesel::connection::TransactionManagerStatus;
use diesel::deserialize::QueryableByName;
use diesel::pg::Pg;
use diesel_async::{AnsiTransactionManager, AsyncConnection, RunQueryDsl, TransactionManager};

use super::Async;
use crate::link::{Link, Transact};
use crate::session::Session;
use crate::transaction::OwnTransaction;
use crate::xact::OpenTransaction;
use crate::{AdvisoryLock, Error, LockId, protocol};

/// The advisory locks of a `diesel-async` connection to PostgreSQL.
///
/// Everything is as in [`AdvisoryConnection`](crate::AdvisoryConnection), whose page also tells
/// which of the three scopes to take; the closures are async, and every future is `Send`.
///
/// It is there for `AsyncPgConnection`, and a pooled connection
/// reaches it through `DerefMut`.
///
/// # Cancel safety
///
/// Every future that takes a lock can be dropped at any point, and nothing leaks: unless it was
/// done, it ends the session, and with it whatever was held or was just being granted. A pool sees
/// that the connection is closed, and makes a new one.
///
/// - A connection of your own, outside of a pool, is closed as well.
/// - A transaction in which a future was dropped is rolled back, also where code around it has
///   caught that and goes on.
/// - A lock that [`advisory_xact`](Self::advisory_xact) has taken is in the hands of the
///   transaction. If that is dropped later on, `diesel-async` marks the connection as broken, and
///   bb8 closes it. Beware of the other pools there: deadpool keeps a broken connection, with the
///   transaction and its locks, until it would give it out the next time, and mobc (as of
///   `diesel-async` 0.9.2) gives it out as it is. [`advisory`](Self::advisory) has no such hole.
/// - The server itself goes on with the statement that it executes, until it looks at the
///   connection. So a wait for a lock that nobody is interested in any more keeps its place, and
///   its server process, until it ends. Prefer [`timeout`](AdvisoryLock::timeout) to dropping the
///   future, or set PostgreSQL's [`client_connection_check_interval`].
/// - The server's log may say `terminating connection due to administrator command`.
///
/// [`client_connection_check_interval`]: https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-CLIENT-CONNECTION-CHECK-INTERVAL
pub trait AsyncAdvisoryConnection:
    AsyncConnection<Backend = Pg, TransactionManager = AnsiTransactionManager>
{
    /// A lock around a transaction of its own: lock and work share one fate.
    ///
    /// As [`AdvisoryConnection::advisory`](crate::AdvisoryConnection::advisory).
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// use diesel_advisory::AsyncAdvisoryConnection;
    /// use diesel_async::RunQueryDsl;
    ///
    /// conn.advisory("billing.close_month")
    ///     .run(async |conn| diesel::sql_query("SELECT 'the books'").execute(conn).await)
    ///     .await?;
    /// # });
    /// ```
    fn advisory<'a>(
        &mut self,
        id: impl Into<LockId<'a>>,
    ) -> AdvisoryLock<'a, Async<&mut Self>, OwnTransaction> {
        AdvisoryLock::new(Async(self), id.into())
    }

    /// A lock for the transaction that is open already.
    ///
    /// As [`AdvisoryConnection::advisory_xact`](crate::AdvisoryConnection::advisory_xact).
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// use diesel_advisory::AsyncAdvisoryConnection;
    /// use diesel_async::{AsyncConnection, RunQueryDsl};
    ///
    /// conn.transaction(async |conn| {
    ///     conn.advisory_xact("billing.close_month").acquire().await?;
    ///     diesel::sql_query("SELECT 'the books'").execute(conn).await
    /// })
    /// .await?;
    /// # });
    /// ```
    fn advisory_xact<'a>(
        &mut self,
        id: impl Into<LockId<'a>>,
    ) -> AdvisoryLock<'a, Async<&mut Self>, OpenTransaction> {
        AdvisoryLock::new(Async(self), id.into())
    }

    /// A lock for the session: it is held across transactions, until it is released.
    ///
    /// As [`AdvisoryConnection::advisory_session`](crate::AdvisoryConnection::advisory_session).
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// use diesel_advisory::AsyncAdvisoryConnection;
    /// use diesel_async::RunQueryDsl;
    ///
    /// conn.advisory_session("reports.nightly")
    ///     .run(async |conn| {
    ///         diesel::sql_query("SELECT 'one part'").execute(conn).await?;
    ///         diesel::sql_query("SELECT 'the next'").execute(conn).await
    ///     })
    ///     .await?;
    /// # });
    /// ```
    fn advisory_session<'a>(
        &mut self,
        id: impl Into<LockId<'a>>,
    ) -> AdvisoryLock<'a, Async<&mut Self>, Session> {
        AdvisoryLock::new(Async(self), id.into())
    }

    /// Whether any session holds the lock in this database, shared or exclusive, this session
    /// included.
    ///
    /// As [`AdvisoryConnection::is_advisory_locked`](crate::AdvisoryConnection::is_advisory_locked).
    ///
    /// # Errors
    ///
    /// [`Error::EmptyName`], or [`Error::Database`].
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// use diesel_advisory::AsyncAdvisoryConnection;
    ///
    /// if conn.is_advisory_locked("reports.nightly").await? {
    ///     println!("it runs right now");
    /// }
    /// # });
    /// ```
    fn is_advisory_locked<'a>(
        &'a mut self,
        id: impl Into<LockId<'a>>,
    ) -> impl Future<Output = Result<bool, Error>> + Send {
        let id = id.into();
        async move { protocol::is_locked(&mut AsyncLink(self), id).await }
    }
}

impl<C> AsyncAdvisoryConnection for C where
    C: AsyncConnection<Backend = Pg, TransactionManager = AnsiTransactionManager>
{
}

/// A session lock whose guard owns the asynchronous connection.
///
/// It is there for everything that derefs to a connection: a pooled connection, a `Box`, and a
/// `&mut` too.
pub trait IntoAsyncAdvisorySession:
    DerefMut<Target: AsyncAdvisoryConnection> + Sized + Send
{
    /// Like [`advisory_session`](AsyncAdvisoryConnection::advisory_session), with a guard that owns
    /// the connection: it can be stored, and moved to another task.
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
    /// let mut held = conn.into_advisory_session("leader").acquire().await?;
    /// let task = tokio::spawn(async move {
    ///     assert!(held.is_held().await?);
    ///     held.release().await
    /// });
    /// task.await??;
    /// # });
    /// ```
    fn into_advisory_session<'a>(
        self,
        id: impl Into<LockId<'a>>,
    ) -> AdvisoryLock<'a, Async<Self>, Session> {
        AdvisoryLock::new(Async(self), id.into())
    }
}

impl<D> IntoAsyncAdvisorySession for D where D: DerefMut<Target: AsyncAdvisoryConnection> + Send {}

/// An asynchronous connection as a [`Link`].
#[derive(Debug)]
pub(super) struct AsyncLink<'c, C>(pub(super) &'c mut C);

impl<C: AsyncAdvisoryConnection> AsyncLink<'_, C> {
    fn status(&mut self) -> &mut TransactionManagerStatus {
        AnsiTransactionManager::transaction_manager_status_mut(self.0)
    }
}

impl<C: AsyncAdvisoryConnection> Link for AsyncLink<'_, C> {
    const PREPARES_QUERIES: bool = true;

    fn transaction_depth(&mut self) -> QueryResult<Option<NonZeroU32>> {
        self.status().transaction_depth()
    }

    fn set_broken(&mut self) {
        self.status().set_in_error();
    }

    async fn batch(&mut self, sql: &str) -> QueryResult<()> {
        self.0.batch_execute(sql).await
    }

    async fn rollback(&mut self) -> QueryResult<()> {
        AnsiTransactionManager::rollback_transaction(self.0).await
    }

    async fn rows<T>(&mut self, sql: String) -> QueryResult<Vec<T>>
    where
        T: QueryableByName<Pg> + Send + 'static,
    {
        diesel::sql_query(sql).load(self.0).await
    }
}

impl<C: AsyncAdvisoryConnection> Transact for AsyncLink<'_, C> {
    async fn begin(&mut self, sql: &str) -> QueryResult<()> {
        AnsiTransactionManager::begin_transaction_sql(self.0, sql).await
    }

    async fn commit(&mut self) -> QueryResult<()> {
        AnsiTransactionManager::commit_transaction(self.0).await
    }
}
