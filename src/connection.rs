//! The trait that gives a Diesel connection its advisory locks.

use std::future::{Future, ready};
use std::num::NonZeroU32;
use std::ops::DerefMut;

use diesel::connection::{AnsiTransactionManager, LoadConnection, TransactionManager};
use diesel::deserialize::QueryableByName;
use diesel::pg::Pg;
use diesel::{QueryResult, RunQueryDsl, sql_query};

use crate::link::{self, Link, Transact};
use crate::session::Session;
use crate::transaction::OwnTransaction;
use crate::xact::OpenTransaction;
use crate::{AdvisoryLock, Error, LockId, protocol};

/// The advisory locks of a Diesel connection to PostgreSQL.
///
/// Which one?
///
/// | | [`advisory`](Self::advisory) | [`advisory_xact`](Self::advisory_xact) | [`advisory_session`](Self::advisory_session) |
/// |---|---|---|---|
/// | for | a piece of work with a transaction of its own: the usual case | a step inside a transaction that is open anyway | work that must not sit in one long transaction |
/// | ends | with that transaction, after the commit | with the open transaction, after the commit | when it is released, or the session ends |
/// | savepoint rolled back | frees what was locked since it was set | the same | does not matter |
/// | client or server crashes | work and lock are gone together | the same | the lock is gone; what was committed stays |
/// | pooler in transaction mode | works | works | does not work: the next statement can run in another session. [`release`](crate::AdvisoryGuard::release) tells, by [`NotHeld`](Error::NotHeld) |
/// | round trips for a free lock | 2 with the `COMMIT`, 3 with `no_wait()` | 1 | 2 with the release |
///
/// It is there for `PgConnection` and everything that is a connection as it is; a
/// pooled connection reaches it through `DerefMut`.
///
/// PostgreSQL counts how often a session has taken a lock. One that it holds already is granted
/// again at once, in any scope, and is free for others when it has ended as often as it was taken.
pub trait AdvisoryConnection:
    LoadConnection<Backend = Pg, TransactionManager = AnsiTransactionManager>
{
    /// A lock around a transaction of its own: lock and work share one fate.
    ///
    /// See [`run`](AdvisoryLock::run) for what happens when, and [`AdvisoryLock`] for the options.
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// use diesel::prelude::*;
    /// use diesel_advisory::AdvisoryConnection;
    ///
    /// conn.advisory("billing.close_month").run(|conn| {
    ///     diesel::sql_query("SELECT 'the books'").execute(conn)
    /// })?;
    /// # Ok::<_, diesel::result::Error>(())
    /// ```
    fn advisory<'a>(
        &mut self,
        id: impl Into<LockId<'a>>,
    ) -> AdvisoryLock<'a, &mut Self, OwnTransaction> {
        AdvisoryLock::new(self, id.into())
    }

    /// A lock for the transaction that is open already.
    ///
    /// See [`acquire`](AdvisoryLock::acquire) for what happens when, and [`AdvisoryLock`] for the
    /// options.
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// use diesel::prelude::*;
    /// use diesel_advisory::AdvisoryConnection;
    ///
    /// conn.transaction(|conn| {
    ///     conn.advisory_xact("billing.close_month").acquire()?;
    ///     diesel::sql_query("SELECT 'the books'").execute(conn)
    /// })?;
    /// # Ok::<_, diesel::result::Error>(())
    /// ```
    fn advisory_xact<'a>(
        &mut self,
        id: impl Into<LockId<'a>>,
    ) -> AdvisoryLock<'a, &mut Self, OpenTransaction> {
        AdvisoryLock::new(self, id.into())
    }

    /// A lock for the session: it is held across transactions, until it is released.
    ///
    /// It is not taken inside a transaction, because it would be released before the commit, and
    /// the next holder would see the old rows.
    ///
    /// See [`acquire`](AdvisoryLock::acquire) and [`run`](AdvisoryLock::run) for what happens when,
    /// and [`AdvisoryLock`] for the options.
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// use diesel::prelude::*;
    /// use diesel_advisory::AdvisoryConnection;
    ///
    /// conn.advisory_session("reports.nightly").run(|conn| {
    ///     diesel::sql_query("SELECT 'one part'").execute(conn)?;
    ///     diesel::sql_query("SELECT 'the next'").execute(conn)
    /// })?;
    /// # Ok::<_, diesel::result::Error>(())
    /// ```
    fn advisory_session<'a>(
        &mut self,
        id: impl Into<LockId<'a>>,
    ) -> AdvisoryLock<'a, &mut Self, Session> {
        AdvisoryLock::new(self, id.into())
    }

    /// Whether any session holds the lock in this database, shared or exclusive, this session
    /// included.
    ///
    /// It does not take the lock, and the answer can be out of date when it arrives: it is for
    /// people and dashboards. To decide on it, use [`no_wait`](AdvisoryLock::no_wait).
    ///
    /// # Errors
    ///
    /// [`Error::EmptyName`], or [`Error::Database`].
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory::{AdvisoryConnection, Error};
    /// assert!(!conn.is_advisory_locked("reports.nightly")?);
    /// # Ok::<_, Error>(())
    /// ```
    fn is_advisory_locked<'a>(&mut self, id: impl Into<LockId<'a>>) -> Result<bool, Error> {
        link::ready(protocol::is_locked(&mut Blocking(self), id.into()))
    }
}

impl<C> AdvisoryConnection for C where
    C: LoadConnection<Backend = Pg, TransactionManager = AnsiTransactionManager>
{
}

/// A session lock whose guard owns the connection.
///
/// It is there for everything that derefs to a connection: a pooled connection, a `Box`, and a
/// `&mut` too.
pub trait IntoAdvisorySession: DerefMut<Target: AdvisoryConnection> + Sized {
    /// Like [`advisory_session`](AdvisoryConnection::advisory_session), with a guard that owns the
    /// connection: it can be stored, and moved to another thread.
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// use diesel::r2d2::{ConnectionManager, Pool};
    /// use diesel::prelude::*;
    /// use diesel_advisory::IntoAdvisorySession;
    ///
    /// # let url = diesel_advisory_sandbox::database_url();
    /// let pool = Pool::new(ConnectionManager::<PgConnection>::new(url))?;
    ///
    /// let leader = pool.get()?.into_advisory_session("leader").acquire()?;
    /// std::thread::spawn(move || {
    ///     // Leads until the guard is dropped.
    ///     drop(leader);
    /// });
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    fn into_advisory_session<'a>(
        self,
        id: impl Into<LockId<'a>>,
    ) -> AdvisoryLock<'a, Self, Session> {
        AdvisoryLock::new(self, id.into())
    }
}

impl<D> IntoAdvisorySession for D where D: DerefMut<Target: AdvisoryConnection> {}

/// A blocking connection as a [`Link`]: every future is ready at once.
#[derive(Debug)]
pub(crate) struct Blocking<'c, C>(pub(crate) &'c mut C);

impl<C> Link for Blocking<'_, C>
where
    C: LoadConnection<Backend = Pg>,
{
    const PREPARES_QUERIES: bool = false;

    fn transaction_depth(&mut self) -> QueryResult<Option<NonZeroU32>> {
        C::TransactionManager::transaction_manager_status_mut(self.0).transaction_depth()
    }

    fn set_broken(&mut self) {
        C::TransactionManager::transaction_manager_status_mut(self.0).set_in_error();
    }

    fn batch(&mut self, sql: &str) -> impl Future<Output = QueryResult<()>> + Send {
        ready(self.0.batch_execute(sql))
    }

    fn rollback(&mut self) -> impl Future<Output = QueryResult<()>> + Send {
        ready(C::TransactionManager::rollback_transaction(self.0))
    }

    fn rows<T>(&mut self, sql: String) -> impl Future<Output = QueryResult<Vec<T>>> + Send
    where
        T: QueryableByName<Pg> + Send + 'static,
    {
        ready(sql_query(sql).load(self.0))
    }
}

impl<C> Transact for Blocking<'_, C>
where
    C: LoadConnection<Backend = Pg, TransactionManager = AnsiTransactionManager>,
{
    fn begin(&mut self, sql: &str) -> impl Future<Output = QueryResult<()>> + Send {
        ready(AnsiTransactionManager::begin_transaction_sql(self.0, sql))
    }

    fn commit(&mut self) -> impl Future<Output = QueryResult<()>> + Send {
        ready(AnsiTransactionManager::commit_transaction(self.0))
    }
}
