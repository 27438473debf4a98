//! A lock for the session, asynchronously.

use std::future::Future;
use std::ops::DerefMut;
use std::time::Duration;

use super::func::AsyncFunc;
use super::guard::AsyncAdvisoryGuard;
use super::interval::AsyncAdvisoryInterval;
use super::lease::AsyncAdvisoryLease;
use super::link::{AsyncPgTransactions, Unfinished};
use crate::error::Error;
use crate::lock::interval_options::session_interval;
use crate::lock::options::lock_options;
use crate::lock::request::Request;
use crate::protocol::attempt::Attempt;
use crate::protocol::session;
use crate::trace::{Scope, Trace};

/// A builder for an advisory lock of the session, made by
/// [`AsyncAdvisoryConnection::advisory_session`](crate::AsyncAdvisoryConnection::advisory_session) or
/// [`IntoAsyncAdvisorySession::into_advisory_session`](crate::IntoAsyncAdvisorySession::into_advisory_session).
///
/// `D` is the connection, borrowed or owned. Nothing is sent until a method that takes the lock is called.
/// Unless told otherwise, the lock is exclusive, and the wait for it is limited by the session's
/// `lock_timeout` only.
#[derive(Debug)]
#[must_use = "the lock is not taken until `run`, `try_run`, `acquire` or `try_acquire` is called"]
pub struct AsyncAdvisorySession<'a, D> {
    conn: D,
    request: Request<'a>,
}

impl<'a, D> AsyncAdvisorySession<'a, D> {
    pub(crate) fn new(conn: D, request: Request<'a>) -> Self {
        Self { conn, request }
    }
}

impl<D> AsyncAdvisorySession<'_, D> {
    /// Lets this many sessions hold the lock at once, each with one of its permits.
    ///
    /// For three, at most three sessions of the whole database hold the lock. Sessions that wait are served in
    /// the order of arrival. With `no_wait`, the lock is unavailable if all permits are held.
    ///
    /// Everybody has to ask for the same number. If some do not, all together hold at most as many permits as
    /// the largest number says. `permits(1)` and the lock without permits do not exclude each other. A session
    /// that holds a permit gets the same one again, at once.
    ///
    /// [`acquire`](Self::acquire) takes one round trip if a permit is free, three if it waits, and one more in
    /// a session that holds other locks. While it waits it has a snapshot, which `CREATE INDEX CONCURRENTLY`
    /// waits for, so whoever holds a permit must not run that.
    ///
    /// Default: one session at a time.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`], when the lock is asked for and before anything is sent, for zero or more than
    /// 1,000 permits, for a lock that is not a name, and together with `shared` or `and`.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// use std::time::Duration;
    ///
    /// use diesel_advisory::{AsyncAdvisoryConnection, Error};
    ///
    /// // At most three renders at a time, on all machines together.
    /// conn.advisory_session("render")
    ///     .permits(3)
    ///     .timeout(Duration::from_secs(10))
    ///     .run(async |_conn| Ok::<_, Error>(println!("rendering")))
    ///     .await?;
    /// # });
    /// ```
    pub fn permits(mut self, count: u32) -> Self {
        self.request.permits = Some(count);
        self
    }
}

impl<'a, C, D> AsyncAdvisorySession<'a, D>
where
    C: AsyncPgTransactions,
    D: DerefMut<Target = C> + Send,
{
    /// Makes the lock a lease with this time to live: it is kept alive, and tells its holder when it is lost.
    ///
    /// The connection belongs to the lease: hand one over, a pooled one or a `Box<AsyncPgConnection>`, with
    /// [`into_advisory_session`](crate::IntoAsyncAdvisorySession::into_advisory_session). A time to live under
    /// 200 ms is rounded up to it.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// # let url = diesel_advisory_sandbox::database_url();
    /// # use diesel_async::{AsyncConnection, AsyncPgConnection};
    /// use std::time::Duration;
    /// use diesel_advisory::{Error, IntoAsyncAdvisorySession};
    ///
    /// let conn = Box::new(AsyncPgConnection::establish(&url).await?);
    /// conn.into_advisory_session("scheduler")
    ///     .lease(Duration::from_secs(10))
    ///     .run(async |lease| lease.check())
    ///     .await?;
    /// # });
    /// ```
    pub fn lease(self, time_to_live: Duration) -> AsyncAdvisoryLease<'a, D> {
        AsyncAdvisoryLease::new(self.conn, self.request, time_to_live)
    }
}

impl<C, D> AsyncAdvisorySession<'_, D>
where
    C: AsyncPgTransactions,
    D: DerefMut<Target = C> + Send,
{
    /// Runs the async closure while the session holds the lock.
    ///
    /// No transaction is opened: every statement of the closure commits on its own, or in transactions
    /// that the closure opens.
    ///
    /// # Errors
    ///
    /// If the closure fails, you get its error, even when the release fails too. Otherwise those of
    /// [`acquire`](Self::acquire), before the closure has run, and those of
    /// [`release`](AsyncAdvisoryGuard::release), after it.
    ///
    /// # Panics
    ///
    /// If the closure panics, the guard is dropped: see [`AsyncAdvisoryGuard`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while it acquires or releases the lock, the session ends; if it is
    /// dropped while the closure runs, the guard is dropped: see [`AsyncAdvisoryGuard`].
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
    pub fn run<T, E, F>(self, f: F) -> impl Future<Output = Result<T, E>> + Send
    where
        F: for<'r> AsyncFunc<&'r mut C, Result<T, E>, Fut: Send> + Send,
        T: Send,
        E: From<Error> + Send,
    {
        async move { self.acquire().await?.run(f).await }
    }

    /// Runs the async closure while the session holds the lock, or returns `None` without calling it if the
    /// lock is unavailable.
    ///
    /// Otherwise the same as [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// The same as [`run`](Self::run), except [`Error::Unavailable`].
    ///
    /// # Cancel safety
    ///
    /// The same as [`run`](Self::run).
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
    /// let deleted = conn
    ///     .advisory_session("reports.nightly")
    ///     .no_wait()
    ///     .try_run(async |conn| {
    ///         diesel::delete(invoices::table.filter(invoices::paid)).execute(conn).await
    ///     })
    ///     .await?;
    /// if deleted.is_none() {
    ///     println!("the job is running already");
    /// }
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

    /// Acquires the lock for the session, and returns the guard that holds it.
    ///
    /// This is one round trip, two if the lock is not free, and the release another one. Both take one more
    /// the first time on a connection, because the driver prepares their queries. The guard derefs to the
    /// connection. It releases the lock when it is dropped; call [`release`](AsyncAdvisoryGuard::release) to
    /// hear of errors.
    ///
    /// # Errors
    ///
    /// After any of these the session holds nothing:
    ///
    /// - [`Error::Unavailable`] if the wait ended without the lock;
    /// - [`Error::InTransaction`] inside an open transaction. Nothing is sent if Diesel knows of it. A raw
    ///   `BEGIN` is refused by the server, which fails that transaction; with `no_wait`, and where a permit
    ///   is free, it is found at the release;
    /// - [`Error::SharedSession`] if another process uses the same session;
    /// - [`Error::Standby`] if the server is a standby;
    /// - [`Error::EmptyName`], [`Error::EmptySet`], and the [`Error::Unsupported`] of
    ///   [`permits`](Self::permits), before anything is sent;
    /// - [`Error::Database`] if the statement failed.
    ///
    /// A connection that was handed over with
    /// [`into_advisory_session`](crate::IntoAsyncAdvisorySession::into_advisory_session) is dropped
    /// then; a pooled one goes back to its pool.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session ends, and the lock is released if it had just been granted.
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
    /// let mut held = conn.advisory_session("reports.nightly").acquire().await?;
    /// // Each statement commits on its own.
    /// diesel::delete(invoices::table.filter(invoices::paid)).execute(&mut held).await?;
    /// held.release().await?;
    /// # });
    /// ```
    pub fn acquire(mut self) -> impl Future<Output = Result<AsyncAdvisoryGuard<D>, Error>> + Send {
        async move {
            let trace = Trace::begin(&self.request, Scope::Session);
            let told = trace.clone();
            told.around(async move {
                let mut conn = Unfinished::new(&mut *self.conn);
                let held = async {
                    let link = &mut conn.link();
                    let attempt = session::acquire(link, self.request).await?;
                    attempt.or_unavailable(link).await
                };
                let held = held.await;
                conn.done();
                let held = trace.decided(held)?;
                Ok(AsyncAdvisoryGuard::new(self.conn, held, trace))
            })
            .await
        }
    }

    /// Acquires the lock for the session, or returns `None` if it is unavailable.
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
    /// # use diesel_advisory::{AsyncAdvisoryConnection, Error};
    /// match conn.advisory_session("reports.nightly").no_wait().try_acquire().await? {
    ///     Some(held) => held.release().await?,
    ///     None => println!("the job is running already"),
    /// }
    /// # });
    /// ```
    pub fn try_acquire(
        mut self,
    ) -> impl Future<Output = Result<Option<AsyncAdvisoryGuard<D>>, Error>> + Send {
        async move {
            let trace = Trace::begin(&self.request, Scope::Session);
            let told = trace.clone();
            told.around(async move {
                let mut conn = Unfinished::new(&mut *self.conn);
                let attempt = session::acquire(&mut conn.link(), self.request).await;
                conn.done();
                let held = Attempt::told(attempt, &trace)?;
                Ok(held.map(|held| AsyncAdvisoryGuard::new(self.conn, held, trace)))
            })
            .await
        }
    }
}

lock_options! {
    impl<D> AsyncAdvisorySession<'a, D> {
        setup: "# diesel_advisory_sandbox::async_doctest!(conn, {\n# use diesel_advisory::{AsyncAdvisoryConnection, Error};",
        open: "conn.advisory_session",
        close: ".run(async |_conn| Ok::<_, Error>(())).await?;",
        end: "# });",
    }
}

session_interval! {
    impl<D> AsyncAdvisorySession<'a, D> => AsyncAdvisoryInterval<'a, D> {
        setup: "# diesel_advisory_sandbox::async_doctest!(conn, {\n# diesel_advisory::catalog::install_async(conn).await?;\n# use diesel_advisory::{AsyncAdvisoryConnection, Error};",
        open: "conn.advisory_session",
        close: ".try_run(async |_conn| Ok::<_, Error>(())).await?;",
        end: "# });",
    }
}
