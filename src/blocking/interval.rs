//! A lock for the session under which work starts at most once in a while.

use std::ops::DerefMut;

use super::guard::AdvisoryGuard;
use super::link::{Blocking, PgTransactions};
use crate::error::Error;
use crate::lock::interval::Interval;
use crate::lock::interval_options::interval_options;
use crate::lock::request::Request;
use crate::protocol::attempt::Attempt;
use crate::protocol::interval::{acquire_due, finish, put_back};
use crate::protocol::link::ready;
use crate::sql::runs::Claimed;
use crate::trace::{Scope, Trace};

/// A builder for work under a session lock that starts at most once in a while, made by
/// [`AdvisorySession::at_most_every`](crate::AdvisorySession::at_most_every) and
/// [`once`](crate::AdvisorySession::once).
///
/// `D` is the connection, borrowed or owned. Nothing is sent until [`run`](Self::run) or
/// [`try_run`](Self::try_run).
#[derive(Debug)]
#[must_use = "the work is not run until `run` or `try_run` is called"]
pub struct AdvisoryInterval<'a, D> {
    conn: D,
    request: Request<'a>,
    interval: Interval,
    retry_failed: bool,
}

impl<'a, D> AdvisoryInterval<'a, D> {
    pub(super) fn new(conn: D, request: Request<'a>, interval: Interval) -> Self {
        Self {
            conn,
            request,
            interval,
            retry_failed: false,
        }
    }
}

impl<'a, D> AdvisoryInterval<'a, D>
where
    D: DerefMut<Target: PgTransactions>,
{
    /// Runs the closure while the session holds the lock, if it is due.
    ///
    /// 1. The session acquires the lock.
    /// 2. If the job is due, its start is recorded and committed. Otherwise, the lock is released, and the closure
    ///    is not called.
    /// 3. The closure runs. No transaction is opened: every statement commits on its own.
    /// 4. The end is recorded, as far as the connection still works, and the lock is released.
    ///
    /// # Errors
    ///
    /// If the closure fails, you get its error, even when the release fails too. Before it has run:
    ///
    /// - [`Error::NotDue`] if it was started too recently;
    /// - [`Error::NoCatalog`] if the [catalog](crate::catalog) is not installed, or too old;
    /// - [`Error::NoGrants`] if the role may not use its table; with [`retry_failed`](Self::retry_failed) it needs
    ///   `DELETE` as well;
    /// - [`Error::Unsupported`] with `shared`, `and` or `allow_standby`, for a lock that has a key instead of a
    ///   name, and for a name over 2,000 bytes or with a NUL in it;
    /// - those of [`acquire`](crate::AdvisorySession::acquire).
    ///
    /// After it has run, those of [`release`](AdvisoryGuard::release).
    ///
    /// # Panics
    ///
    /// If the closure panics, the lock is released while the panic goes on. The run counts, unless
    /// [`retry_failed`](Self::retry_failed) is called.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory_sandbox::schema::invoices;
    /// # diesel_advisory::catalog::install(conn)?;
    /// use std::time::Duration;
    ///
    /// use diesel::prelude::*;
    /// use diesel_advisory::{AdvisoryConnection, Error};
    ///
    /// let deleted = conn
    ///     .advisory_session("invoices.clean_up")
    ///     .at_most_every(Duration::from_secs(20 * 3600))
    ///     .run(|conn| {
    ///         let deleted = diesel::delete(invoices::table.filter(invoices::paid)).execute(conn)?;
    ///         Ok::<_, Error>(deleted)
    ///     });
    /// match deleted {
    ///     Ok(deleted) => println!("{deleted} deleted"),
    ///     Err(Error::NotDue(not_due)) => println!("{not_due}"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok::<_, Error>(())
    /// ```
    pub fn run<T, E, F>(mut self, f: F) -> Result<T, E>
    where
        F: FnOnce(&mut D::Target) -> Result<T, E>,
        E: From<Error>,
    {
        let trace = Trace::begin(&self.request, Scope::Session);
        let mut conn = Blocking(&mut *self.conn);
        let retry = self.retry_failed;
        let acquired = trace.inside(|| {
            let attempt = ready(acquire_due(&mut conn, self.request, self.interval, retry))?;
            ready(attempt.or_unavailable(&mut conn))
        });
        let (held, claimed) = trace.decided(acquired)?;
        let guard = AdvisoryGuard::new(self.conn, held, trace);
        Run::new(guard, claimed, retry).run(f)
    }

    /// Runs the closure if it is due, or returns `None` without calling it if it is not, or if the lock is
    /// unavailable.
    ///
    /// Otherwise the same as [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// The same as [`run`](Self::run), except [`Error::NotDue`] and [`Error::Unavailable`].
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory_sandbox::schema::invoices;
    /// # diesel_advisory::catalog::install(conn)?;
    /// use diesel::prelude::*;
    /// use diesel_advisory::{AdvisoryConnection, Error};
    ///
    /// let today = "2026-11-25";
    /// let deleted = conn
    ///     .advisory_session(("invoices.clean_up", today))
    ///     .once()
    ///     .no_wait()
    ///     .try_run(|conn| diesel::delete(invoices::table.filter(invoices::paid)).execute(conn))?;
    /// if deleted.is_none() {
    ///     println!("it has been done today, or is being done");
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_run<T, E, F>(mut self, f: F) -> Result<Option<T>, E>
    where
        F: FnOnce(&mut D::Target) -> Result<T, E>,
        E: From<Error>,
    {
        let trace = Trace::begin(&self.request, Scope::Session);
        let mut conn = Blocking(&mut *self.conn);
        let retry = self.retry_failed;
        let attempt: Result<Attempt<'a, _>, _> =
            trace.inside(|| ready(acquire_due(&mut conn, self.request, self.interval, retry)));
        let Some((held, claimed)) = Attempt::told(attempt, &trace)? else {
            return Ok(None);
        };
        let guard = AdvisoryGuard::new(self.conn, held, trace);
        Run::new(guard, claimed, retry).run(f).map(Some)
    }
}

interval_options! {
    impl<D> AdvisoryInterval<'a, D> {
        setup: "# diesel_advisory_sandbox::doctest!(conn);\n# diesel_advisory::catalog::install(conn)?;\n# use diesel_advisory::{AdvisoryConnection, Error};",
        open: "conn.advisory_session(\"nightly\").once()",
        close: ".try_run(|_conn| Ok::<_, Error>(()))?;",
        end: "# Ok::<_, Error>(())",
    }
}

/// A run whose start is recorded, and the lock that is held for it. Dropped before it is done, which an error and
/// a panic do, it is put back if that is wanted.
#[derive(Debug)]
struct Run<D>
where
    D: DerefMut<Target: PgTransactions>,
{
    /// `None` once it is done.
    guard: Option<AdvisoryGuard<D>>,
    claimed: Claimed,
    retry_failed: bool,
}

impl<D> Run<D>
where
    D: DerefMut<Target: PgTransactions>,
{
    fn new(guard: AdvisoryGuard<D>, claimed: Claimed, retry_failed: bool) -> Self {
        Self {
            guard: Some(guard),
            claimed,
            retry_failed,
        }
    }

    fn run<T, E>(mut self, f: impl FnOnce(&mut D::Target) -> Result<T, E>) -> Result<T, E>
    where
        E: From<Error>,
    {
        let guard = self.guard.as_mut().expect("nothing has taken it yet");
        let trace = guard.trace();
        let value = trace.inside(|| f(guard))?;
        if let Some(mut guard) = self.guard.take() {
            let finished =
                trace.inside(|| ready(finish(&mut Blocking(&mut *guard), &self.claimed)));
            let finished = trace.checked(finished);
            guard.release()?;
            finished?;
        }
        Ok(value)
    }
}

impl<D> Drop for Run<D>
where
    D: DerefMut<Target: PgTransactions>,
{
    fn drop(&mut self) {
        if let Some(guard) = self.guard.as_mut().filter(|_| self.retry_failed) {
            let trace = guard.trace();
            trace.inside(|| ready(put_back(&mut Blocking(&mut **guard), &self.claimed)));
        }
    }
}
