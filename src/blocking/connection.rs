//! The trait that gives a blocking connection its advisory locks.

use std::ops::DerefMut;

use super::link::{Blocking, PgTransactions};
use super::session::AdvisorySession;
use super::transaction::AdvisoryTransaction;
use super::xact::AdvisoryXact;
use crate::error::Error;
use crate::lock::into_id::IntoLockId;
use crate::lock::request::Request;
use crate::protocol::link::ready;
use crate::protocol::look::are_locked;

/// Advisory locks for a blocking connection to PostgreSQL.
///
/// Implemented for [`PgConnection`] and every other blocking PostgreSQL connection of Diesel's. Pooled
/// connections reach it through `DerefMut`: call the methods on them directly, and pass `&mut *pooled` to a
/// function that takes `&mut impl AdvisoryConnection`.
///
/// # Which scope
///
/// | | [`advisory`](Self::advisory) | [`advisory_xact`](Self::advisory_xact) | [`advisory_session`](Self::advisory_session) |
/// |---|---|---|---|
/// | use it for | work with a transaction of its own: the usual case | a step inside a transaction that is already open | work that must not sit in one long transaction |
/// | the lock ends | with that transaction, after the commit | with the open transaction, after the commit | when it is released, or when the session ends |
/// | a savepoint is rolled back | locks acquired since the savepoint are released | the same | the lock is kept |
/// | the client or the server crashes | the work is rolled back, and the lock is released | the same | the lock is released; what was committed stays |
/// | pooler in transaction mode | works | works | does not exclude anybody: [`Error::SharedSession`] |
/// | round trips for a free lock | 2 with the `COMMIT`, 3 with `no_wait()` | 1 | 2 with the release |
///
/// Locks nest. A session that holds a lock acquires it again at once, in any scope, and has to release it
/// as often as it acquired it.
///
/// [`PgConnection`]: https://docs.rs/diesel/2.3/diesel/pg/struct.PgConnection.html
pub trait AdvisoryConnection: PgTransactions {
    /// Builds a lock around a transaction of its own. The lock is released when the work commits or
    /// rolls back.
    ///
    /// Nothing is sent until [`run`](AdvisoryTransaction::run) or
    /// [`try_run`](AdvisoryTransaction::try_run) is called.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory_sandbox::schema::books;
    /// use diesel::prelude::*;
    /// use diesel_advisory::AdvisoryConnection;
    ///
    /// conn.advisory("billing.close_month").run(|conn| {
    ///     diesel::update(books::table).set(books::closed.eq(true)).execute(conn)
    /// })?;
    /// # Ok::<_, diesel::result::Error>(())
    /// ```
    fn advisory<'a>(&mut self, id: impl IntoLockId<'a>) -> AdvisoryTransaction<'_, 'a, Self> {
        self.advisory_all([id])
    }

    /// Builds a set of locks around a transaction of its own, from an iterator.
    ///
    /// All of them are acquired, or none. An empty iterator is [`Error::EmptySet`].
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory_sandbox::schema::invoices;
    /// use diesel::prelude::*;
    /// use diesel_advisory::AdvisoryConnection;
    ///
    /// let ids = [42, 7, 12];
    /// conn.advisory_all(ids.map(|id| ("invoice", id))).run(|conn| {
    ///     let these = invoices::table.filter(invoices::id.eq_any(ids));
    ///     diesel::update(these).set(invoices::paid.eq(true)).execute(conn)
    /// })?;
    /// # Ok::<_, diesel::result::Error>(())
    /// ```
    fn advisory_all<'a, I>(&mut self, ids: I) -> AdvisoryTransaction<'_, 'a, Self>
    where
        I: IntoIterator<Item: IntoLockId<'a>>,
    {
        AdvisoryTransaction::new(self, Request::new(ids))
    }

    /// Builds a lock for the transaction that is already open.
    ///
    /// Nothing is sent until [`acquire`](AdvisoryXact::acquire) or
    /// [`try_acquire`](AdvisoryXact::try_acquire) is called.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory_sandbox::schema::books;
    /// use diesel::prelude::*;
    /// use diesel_advisory::AdvisoryConnection;
    ///
    /// conn.transaction(|conn| {
    ///     conn.advisory_xact("billing.close_month").acquire()?;
    ///     diesel::update(books::table).set(books::closed.eq(true)).execute(conn)
    /// })?;
    /// # Ok::<_, diesel::result::Error>(())
    /// ```
    fn advisory_xact<'a>(&mut self, id: impl IntoLockId<'a>) -> AdvisoryXact<'_, 'a, Self> {
        self.advisory_xact_all([id])
    }

    /// Builds a set of locks for the transaction that is already open, from an iterator.
    ///
    /// All of them are acquired, or none. An empty iterator is [`Error::EmptySet`].
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel::prelude::*;
    /// use diesel_advisory::{AdvisoryConnection, Error};
    ///
    /// conn.transaction(|conn| {
    ///     conn.advisory_xact_all([42, 7, 12].map(|id| ("invoice", id))).acquire()
    /// })?;
    /// # Ok::<_, Error>(())
    /// ```
    fn advisory_xact_all<'a, I>(&mut self, ids: I) -> AdvisoryXact<'_, 'a, Self>
    where
        I: IntoIterator<Item: IntoLockId<'a>>,
    {
        AdvisoryXact::new(self, Request::new(ids))
    }

    /// Builds a lock for the session: it is held across transactions, until it is released.
    ///
    /// Nothing is sent until [`run`](AdvisorySession::run), [`acquire`](AdvisorySession::acquire) or one
    /// of their `try_` forms is called. Inside a transaction they return [`Error::InTransaction`], because
    /// the lock would be released before the commit, and the next holder would see the old rows.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory_sandbox::schema::invoices;
    /// use diesel::prelude::*;
    /// use diesel_advisory::AdvisoryConnection;
    ///
    /// conn.advisory_session("reports.nightly").run(|conn| {
    ///     // Each statement commits on its own.
    ///     diesel::delete(invoices::table.filter(invoices::paid)).execute(conn)?;
    ///     diesel::update(invoices::table).set(invoices::reminded.eq(true)).execute(conn)
    /// })?;
    /// # Ok::<_, diesel::result::Error>(())
    /// ```
    fn advisory_session<'a>(&mut self, id: impl IntoLockId<'a>) -> AdvisorySession<'a, &mut Self> {
        self.advisory_session_all([id])
    }

    /// Builds a set of locks for the session, from an iterator.
    ///
    /// All of them are acquired, or none. An empty iterator is [`Error::EmptySet`].
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// use diesel_advisory::{AdvisoryConnection, Error};
    ///
    /// let held = conn.advisory_session_all([1, 2].map(|id| ("shard", id))).acquire()?;
    /// held.release()?;
    /// # Ok::<_, Error>(())
    /// ```
    fn advisory_session_all<'a, I>(&mut self, ids: I) -> AdvisorySession<'a, &mut Self>
    where
        I: IntoIterator<Item: IntoLockId<'a>>,
    {
        AdvisorySession::new(self, Request::new(ids))
    }

    /// Returns whether any session holds the lock in this database, shared or exclusive, this session
    /// included.
    ///
    /// It does not take the lock, and the answer can be out of date when it arrives. Use it for people
    /// and dashboards; to act on it, take the lock with `no_wait()`. For several locks at once see
    /// [`inspect::are_advisory_locked`](crate::inspect::are_advisory_locked).
    ///
    /// # Errors
    ///
    /// [`Error::EmptyName`], or [`Error::Database`].
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory::{AdvisoryConnection, Error};
    /// assert!(!conn.is_advisory_locked("reports.nightly")?);
    /// # Ok::<_, Error>(())
    /// ```
    fn is_advisory_locked<'a>(&mut self, id: impl IntoLockId<'a>) -> Result<bool, Error> {
        let locked = ready(are_locked(&mut Blocking(self), &[id.into_lock_id()]))?;
        Ok(locked == [true])
    }
}

impl<C: PgTransactions> AdvisoryConnection for C {}

/// Session locks whose guard owns the connection.
///
/// Implemented for whatever derefs to a connection: pooled connections, `Box<PgConnection>`, and
/// `&mut PgConnection`.
pub trait IntoAdvisorySession: DerefMut<Target: PgTransactions> + Sized {
    /// Builds a lock for the session whose guard owns the connection, so that it can be stored in a
    /// struct and moved to another thread.
    ///
    /// Otherwise the same as [`advisory_session`](AdvisoryConnection::advisory_session).
    ///
    /// # Example
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
    /// let thread = std::thread::spawn(move || {
    ///     // Leads until the lock is released.
    ///     leader.release()
    /// });
    /// # thread.join().unwrap()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    fn into_advisory_session<'a>(self, id: impl IntoLockId<'a>) -> AdvisorySession<'a, Self> {
        self.into_advisory_session_all([id])
    }

    /// Builds a set of locks from an iterator, for a guard that owns the connection.
    ///
    /// Otherwise the same as [`advisory_session_all`](AdvisoryConnection::advisory_session_all).
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// use diesel_advisory::{Error, IntoAdvisorySession};
    ///
    /// let held = conn.into_advisory_session_all([("shard", 1), ("shard", 2)]).acquire()?;
    /// held.release()?;
    /// # Ok::<_, Error>(())
    /// ```
    fn into_advisory_session_all<'a, I>(self, ids: I) -> AdvisorySession<'a, Self>
    where
        I: IntoIterator<Item: IntoLockId<'a>>,
    {
        AdvisorySession::new(self, Request::new(ids))
    }
}

impl<D> IntoAdvisorySession for D where D: DerefMut<Target: PgTransactions> {}
