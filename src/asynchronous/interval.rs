//! A lock for the session under which work starts at most once in a while, asynchronously.

use std::future::{Future, poll_fn};
use std::ops::DerefMut;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::task::{Context, Poll};

use super::func::AsyncFunc;
use super::guard::AsyncAdvisoryGuard;
use super::link::{AsyncPgTransactions, Unfinished};
use crate::error::Error;
use crate::lock::interval::Interval;
use crate::lock::interval_options::interval_options;
use crate::lock::request::Request;
use crate::protocol::attempt::Attempt;
use crate::protocol::interval::{acquire_due, finish, put_back};
use crate::sql::runs::Claimed;
use crate::trace::{Scope, Trace};

/// A builder for work under a session lock that starts at most once in a while, made by
/// [`AsyncAdvisorySession::at_most_every`](crate::AsyncAdvisorySession::at_most_every) and
/// [`once`](crate::AsyncAdvisorySession::once).
///
/// `D` is the connection, borrowed or owned. Nothing is sent until [`run`](Self::run) or
/// [`try_run`](Self::try_run).
#[derive(Debug)]
#[must_use = "the work is not run until `run` or `try_run` is called"]
pub struct AsyncAdvisoryInterval<'a, D> {
    conn: D,
    request: Request<'a>,
    interval: Interval,
    retry_failed: bool,
}

impl<'a, D> AsyncAdvisoryInterval<'a, D> {
    pub(super) fn new(conn: D, request: Request<'a>, interval: Interval) -> Self {
        Self {
            conn,
            request,
            interval,
            retry_failed: false,
        }
    }
}

impl<C, D> AsyncAdvisoryInterval<'_, D>
where
    C: AsyncPgTransactions,
    D: DerefMut<Target = C> + Send,
{
    /// Runs the async closure while the session holds the lock, if it is due.
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
    /// - those of [`acquire`](crate::AsyncAdvisorySession::acquire).
    ///
    /// After it has run, those of [`release`](AsyncAdvisoryGuard::release).
    ///
    /// # Panics
    ///
    /// If the closure panics, the lock is released, and then the panic goes on. The run counts, unless
    /// [`retry_failed`](Self::retry_failed) is called.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before the closure runs, the session ends, and either the start was recorded or it
    /// was not. If it is dropped while the closure runs, the guard is dropped, and the run counts, with
    /// [`retry_failed`](Self::retry_failed) too. If it is dropped after that, the session ends.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// # use diesel_advisory_sandbox::schema::invoices;
    /// # diesel_advisory::catalog::install_async(conn).await?;
    /// use std::time::Duration;
    ///
    /// use diesel::prelude::*;
    /// use diesel_advisory::{AsyncAdvisoryConnection, Error};
    /// use diesel_async::RunQueryDsl;
    ///
    /// let deleted = conn
    ///     .advisory_session("invoices.clean_up")
    ///     .at_most_every(Duration::from_secs(20 * 3600))
    ///     .run(async |conn| {
    ///         let paid = invoices::table.filter(invoices::paid);
    ///         Ok::<_, Error>(diesel::delete(paid).execute(conn).await?)
    ///     })
    ///     .await;
    /// match deleted {
    ///     Ok(deleted) => println!("{deleted} deleted"),
    ///     Err(Error::NotDue(not_due)) => println!("{not_due}"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # });
    /// ```
    pub fn run<T, E, F>(mut self, f: F) -> impl Future<Output = Result<T, E>> + Send
    where
        F: for<'r> AsyncFunc<&'r mut C, Result<T, E>, Fut: Send> + Send,
        T: Send,
        E: From<Error> + Send,
    {
        async move {
            let trace = Trace::begin(&self.request, Scope::Session);
            let retry = self.retry_failed;
            let starting = async {
                let mut conn = Unfinished::new(&mut *self.conn);
                let started = async {
                    let link = &mut conn.link();
                    let attempt = acquire_due(link, self.request, self.interval, retry).await?;
                    attempt.or_unavailable(link).await
                };
                let started = started.await;
                conn.done();
                started
            };
            let (held, claimed) = trace.decided(trace.around(starting).await)?;
            let guard = AsyncAdvisoryGuard::new(self.conn, held, trace);
            run(guard, claimed, retry, f).await
        }
    }

    /// Runs the async closure if it is due, or returns `None` without calling it if it is not, or if the lock is
    /// unavailable.
    ///
    /// Otherwise the same as [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// The same as [`run`](Self::run), except [`Error::NotDue`] and [`Error::Unavailable`].
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
    /// # diesel_advisory::catalog::install_async(conn).await?;
    /// use diesel::prelude::*;
    /// use diesel_advisory::AsyncAdvisoryConnection;
    /// use diesel_async::RunQueryDsl;
    ///
    /// let today = "2026-11-25";
    /// let deleted = conn
    ///     .advisory_session(("invoices.clean_up", today))
    ///     .once()
    ///     .no_wait()
    ///     .try_run(async |conn| {
    ///         diesel::delete(invoices::table.filter(invoices::paid)).execute(conn).await
    ///     })
    ///     .await?;
    /// if deleted.is_none() {
    ///     println!("it has been done today, or is being done");
    /// }
    /// # });
    /// ```
    pub fn try_run<T, E, F>(mut self, f: F) -> impl Future<Output = Result<Option<T>, E>> + Send
    where
        F: for<'r> AsyncFunc<&'r mut C, Result<T, E>, Fut: Send> + Send,
        T: Send,
        E: From<Error> + Send,
    {
        async move {
            let trace = Trace::begin(&self.request, Scope::Session);
            let retry = self.retry_failed;
            let starting = async {
                let mut conn = Unfinished::new(&mut *self.conn);
                let link = &mut conn.link();
                let attempt = acquire_due(link, self.request, self.interval, retry).await;
                conn.done();
                attempt
            };
            let attempt = trace.around(starting).await;
            match Attempt::told(attempt, &trace)? {
                Some((held, claimed)) => {
                    let guard = AsyncAdvisoryGuard::new(self.conn, held, trace);
                    run(guard, claimed, retry, f).await.map(Some)
                }
                None => Ok(None),
            }
        }
    }
}

interval_options! {
    impl<D> AsyncAdvisoryInterval<'a, D> {
        setup: "# diesel_advisory_sandbox::async_doctest!(conn, {\n# diesel_advisory::catalog::install_async(conn).await?;\n# use diesel_advisory::{AsyncAdvisoryConnection, Error};",
        open: "conn.advisory_session(\"nightly\").once()",
        close: ".try_run(async |_conn| Ok::<_, Error>(())).await?;",
        end: "# });",
    }
}

/// Does the work of a run whose start is recorded, under the lock that is held for it.
///
/// A panic is caught and goes on at the end, because a connection that is dropped by it sends nothing more.
async fn run<C, D, T, E, F>(
    mut guard: AsyncAdvisoryGuard<D>,
    claimed: Claimed,
    retry_failed: bool,
    f: F,
) -> Result<T, E>
where
    C: AsyncPgTransactions,
    D: DerefMut<Target = C> + Send,
    F: for<'r> AsyncFunc<&'r mut C, Result<T, E>>,
    E: From<Error>,
{
    let trace = guard.trace();
    let worked = {
        let mut work = pin!(trace.around(f(&mut guard)));
        let poll = |context: &mut Context<'_>| {
            let poll = AssertUnwindSafe(|| work.as_mut().poll(context));
            match catch_unwind(poll) {
                Ok(poll) => poll.map(Ok),
                Err(panic) => Poll::Ready(Err(panic)),
            }
        };
        poll_fn(poll).await
    };
    let is_done = matches!(worked, Ok(Ok(_)));
    let telling = async {
        let mut conn = Unfinished::new(&mut *guard);
        let finished = if is_done {
            finish(&mut conn.link(), &claimed).await
        } else {
            if retry_failed {
                put_back(&mut conn.link(), &claimed).await;
            }
            Ok(())
        };
        conn.done();
        finished
    };
    let finished = trace.checked(trace.around(telling).await);
    let released = guard.release().await;
    let value = worked.unwrap_or_else(|panic| resume_unwind(panic))?;
    released?;
    finished?;
    Ok(value)
}
