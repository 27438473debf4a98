//! A lock for the session.

use std::ops::DerefMut;
use std::time::Duration;

use super::guard::AdvisoryGuard;
use super::interval::AdvisoryInterval;
use super::lease::AdvisoryLease;
use super::link::{Blocking, PgTransactions};
use crate::error::Error;
use crate::lock::interval_options::session_interval;
use crate::lock::options::lock_options;
use crate::lock::request::Request;
use crate::protocol::attempt::Attempt;
use crate::protocol::link::ready;
use crate::protocol::session;
use crate::trace::{Scope, Trace};

/// A builder for an advisory lock of the session, made by
/// [`AdvisoryConnection::advisory_session`](crate::AdvisoryConnection::advisory_session) or
/// [`IntoAdvisorySession::into_advisory_session`](crate::IntoAdvisorySession::into_advisory_session).
///
/// `D` is the connection, borrowed or owned. Nothing is sent until a method that takes the lock is called.
/// Unless told otherwise, the lock is exclusive, and the wait for it is limited by the session's
/// `lock_timeout` only.
#[derive(Debug)]
#[must_use = "the lock is not taken until `run`, `try_run`, `acquire` or `try_acquire` is called"]
pub struct AdvisorySession<'a, D> {
    conn: D,
    request: Request<'a>,
}

impl<'a, D> AdvisorySession<'a, D> {
    pub(crate) fn new(conn: D, request: Request<'a>) -> Self {
        Self { conn, request }
    }
}

impl<D> AdvisorySession<'_, D> {
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
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// use std::time::Duration;
    ///
    /// use diesel_advisory::{AdvisoryConnection, Error};
    ///
    /// // At most three renders at a time, on all machines together.
    /// conn.advisory_session("render")
    ///     .permits(3)
    ///     .timeout(Duration::from_secs(10))
    ///     .run(|_conn| Ok::<_, Error>(println!("rendering")))?;
    /// # Ok::<_, Error>(())
    /// ```
    pub fn permits(mut self, count: u32) -> Self {
        self.request.permits = Some(count);
        self
    }
}

impl<'a, D> AdvisorySession<'a, D>
where
    D: DerefMut<Target: PgTransactions> + Send + 'static,
{
    /// Makes the lock a lease with this time to live: it is kept alive, and tells its holder when it is lost.
    ///
    /// The connection belongs to the lease, so it has to be owned: a pooled one, or a
    /// `Box<PgConnection>`, with
    /// [`into_advisory_session`](crate::IntoAdvisorySession::into_advisory_session). A time to live under
    /// 200 ms is rounded up to it.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # let url = diesel_advisory_sandbox::database_url();
    /// # use diesel::prelude::*;
    /// use std::time::Duration;
    /// use diesel_advisory::{Error, IntoAdvisorySession};
    ///
    /// let conn = Box::new(PgConnection::establish(&url)?);
    /// conn.into_advisory_session("scheduler")
    ///     .lease(Duration::from_secs(10))
    ///     .run(|lease| lease.check())?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn lease(self, time_to_live: Duration) -> AdvisoryLease<'a, D> {
        AdvisoryLease::new(self.conn, self.request, time_to_live)
    }
}

impl<D> AdvisorySession<'_, D>
where
    D: DerefMut<Target: PgTransactions>,
{
    /// Runs the closure while the session holds the lock.
    ///
    /// No transaction is opened: every statement of the closure commits on its own, or in transactions
    /// that the closure opens.
    ///
    /// # Errors
    ///
    /// If the closure fails, you get its error, even when the release fails too. Otherwise those of
    /// [`acquire`](Self::acquire), before the closure has run, and those of
    /// [`release`](AdvisoryGuard::release), after it.
    ///
    /// # Panics
    ///
    /// If the closure panics, the lock is released while the panic goes on.
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
    pub fn run<T, E, F>(self, f: F) -> Result<T, E>
    where
        F: FnOnce(&mut D::Target) -> Result<T, E>,
        E: From<Error>,
    {
        self.acquire()?.run(f)
    }

    /// Runs the closure while the session holds the lock, or returns `None` without calling it if the
    /// lock is unavailable.
    ///
    /// Otherwise the same as [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// The same as [`run`](Self::run), except [`Error::Unavailable`].
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory_sandbox::schema::invoices;
    /// use diesel::prelude::*;
    /// use diesel_advisory::AdvisoryConnection;
    ///
    /// let deleted = conn
    ///     .advisory_session("reports.nightly")
    ///     .no_wait()
    ///     .try_run(|conn| diesel::delete(invoices::table.filter(invoices::paid)).execute(conn))?;
    /// if deleted.is_none() {
    ///     println!("the job is running already");
    /// }
    /// # Ok::<_, diesel::result::Error>(())
    /// ```
    pub fn try_run<T, E, F>(self, f: F) -> Result<Option<T>, E>
    where
        F: FnOnce(&mut D::Target) -> Result<T, E>,
        E: From<Error>,
    {
        self.try_acquire()?.map(|held| held.run(f)).transpose()
    }

    /// Acquires the lock for the session, and returns the guard that holds it.
    ///
    /// This is one round trip, and the release another one. The guard derefs to the connection. It
    /// releases the lock when it is dropped; call [`release`](AdvisoryGuard::release) to hear of errors.
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
    /// [`into_advisory_session`](crate::IntoAdvisorySession::into_advisory_session) is dropped
    /// then; a pooled one goes back to its pool.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory_sandbox::schema::invoices;
    /// use diesel::prelude::*;
    /// use diesel_advisory::AdvisoryConnection;
    ///
    /// let mut held = conn.advisory_session("reports.nightly").acquire()?;
    /// // Each statement commits on its own.
    /// diesel::delete(invoices::table.filter(invoices::paid)).execute(&mut held)?;
    /// held.release()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn acquire(mut self) -> Result<AdvisoryGuard<D>, Error> {
        let trace = Trace::begin(&self.request, Scope::Session);
        let mut conn = Blocking(&mut *self.conn);
        let held = trace.inside(|| {
            let attempt = ready(session::acquire(&mut conn, self.request))?;
            ready(attempt.or_unavailable(&mut conn))
        });
        let held = trace.decided(held)?;
        Ok(AdvisoryGuard::new(self.conn, held, trace))
    }

    /// Acquires the lock for the session, or returns `None` if it is unavailable.
    ///
    /// Otherwise the same as [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// The same as [`acquire`](Self::acquire), except [`Error::Unavailable`].
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory::{AdvisoryConnection, Error};
    /// match conn.advisory_session("reports.nightly").no_wait().try_acquire()? {
    ///     Some(held) => held.release()?,
    ///     None => println!("the job is running already"),
    /// }
    /// # Ok::<_, Error>(())
    /// ```
    pub fn try_acquire(mut self) -> Result<Option<AdvisoryGuard<D>>, Error> {
        let trace = Trace::begin(&self.request, Scope::Session);
        let mut conn = Blocking(&mut *self.conn);
        let attempt = trace.inside(|| ready(session::acquire(&mut conn, self.request)));
        let held = Attempt::told(attempt, &trace)?;
        Ok(held.map(|held| AdvisoryGuard::new(self.conn, held, trace)))
    }
}

lock_options! {
    impl<D> AdvisorySession<'a, D> {
        setup: "# diesel_advisory_sandbox::doctest!(conn);\n# use diesel_advisory::{AdvisoryConnection, Error};",
        open: "conn.advisory_session",
        close: ".run(|_conn| Ok::<_, Error>(()))?;",
        end: "# Ok::<_, Error>(())",
    }
}

session_interval! {
    impl<D> AdvisorySession<'a, D> => AdvisoryInterval<'a, D> {
        setup: "# diesel_advisory_sandbox::doctest!(conn);\n# diesel_advisory::catalog::install(conn)?;\n# use diesel_advisory::{AdvisoryConnection, Error};",
        open: "conn.advisory_session",
        close: ".try_run(|_conn| Ok::<_, Error>(()))?;",
        end: "# Ok::<_, Error>(())",
    }
}
