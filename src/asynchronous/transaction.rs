//! A lock around a transaction of its own, asynchronously.

use std::future::Future;

use super::func::AsyncFunc;
use super::link::{Async, AsyncPgTransactions, Unfinished};
use crate::error::Error;
use crate::lock::interval::Interval;
use crate::lock::interval_options::transaction_interval;
use crate::lock::modes::TransactionModes;
use crate::lock::options::{lock_options, transaction_options};
use crate::lock::request::Request;
use crate::protocol::attempt::Attempt;
use crate::protocol::interval::{DueWork, commit_due, open_due, roll_back_due};
use crate::trace::{Scope, Trace};

/// A builder for an advisory lock around a transaction of its own, made by
/// [`AsyncAdvisoryConnection::advisory`](crate::AsyncAdvisoryConnection::advisory).
///
/// Nothing is sent until [`run`](Self::run) or [`try_run`](Self::try_run). Unless told otherwise, the
/// lock is exclusive, and the wait for it is limited by the session's `lock_timeout` only.
#[derive(Debug)]
#[must_use = "the lock is not taken until `run` or `try_run` is called"]
pub struct AsyncAdvisoryTransaction<'c, 'a, C> {
    conn: &'c mut C,
    request: Request<'a>,
    modes: TransactionModes,
    interval: Option<Interval>,
}

impl<'c, 'a, C> AsyncAdvisoryTransaction<'c, 'a, C> {
    pub(crate) fn new(conn: &'c mut C, request: Request<'a>) -> Self {
        Self {
            conn,
            request,
            modes: TransactionModes::default(),
            interval: None,
        }
    }
}

impl<C: AsyncPgTransactions> AsyncAdvisoryTransaction<'_, '_, C> {
    /// Runs the async closure in a transaction that holds the lock.
    ///
    /// 1. A transaction begins and the lock is acquired, in one round trip (two with
    ///    [`no_wait`](Self::no_wait)).
    /// 2. The closure runs.
    /// 3. If it returns `Ok`, the transaction commits; if `Err`, it is rolled back. The lock is released
    ///    with it, after the commit: the next holder sees what this one has written.
    ///
    /// Inside an open transaction, `run` sets a savepoint instead, as Diesel's nested transactions do.
    /// The lock is then released when the *outermost* transaction ends. If the closure fails, the
    /// savepoint is rolled back, which releases the lock at once.
    ///
    /// `run` inside `run` on the same connection does not wait for itself, because locks nest.
    ///
    /// # Warning
    ///
    /// If a statement failed and the closure still returns `Ok`, PostgreSQL rolls back, and `run` returns
    /// `Ok` as Diesel's own `transaction` does. Return the error from the closure.
    ///
    /// # Errors
    ///
    /// If the closure fails, you get its error, even when the rollback fails too. Otherwise:
    ///
    /// - [`Error::Unavailable`] if the wait ended without the lock;
    /// - [`Error::Standby`] if the server is a standby;
    /// - [`Error::EmptyName`], [`Error::EmptySet`] and [`Error::Unsupported`], before anything is sent;
    /// - [`Error::TransactionLeftOpen`] if the closure returned `Ok` and left a transaction of its own
    ///   open: everything is rolled back;
    /// - [`Error::Database`] if the lock, the `BEGIN` or the `COMMIT` failed, or if the closure has ended
    ///   the transaction with a raw `COMMIT` or `ROLLBACK`.
    ///
    /// A transaction that was open before is still usable after any of them, unless the connection is
    /// lost.
    ///
    /// # Panics
    ///
    /// If the closure panics, the session ends as if the future had been dropped, while the panic goes on.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session ends: the transaction is rolled back, and the lock is
    /// released. See [`AsyncAdvisoryConnection`](crate::AsyncAdvisoryConnection#cancel-safety).
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
    ///     // No other holder of the lock is in here now, on any machine.
    ///     diesel::update(books::table).set(books::closed.eq(true)).execute(conn).await
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
        async move {
            let trace = Trace::begin(&self.request, Scope::Transaction);
            let told = trace.clone();
            told.around(async move {
                let mut conn = Unfinished::new(self.conn);
                let result = async {
                    let link = &mut conn.link();
                    let open = match open_due(link, self.request, self.modes, self.interval).await {
                        Ok(attempt) => attempt.or_unavailable(link).await,
                        Err(error) => Err(error),
                    };
                    run_in(link, trace.decided(open)?, f, &trace).await
                };
                let result = result.await;
                conn.done();
                result
            })
            .await
        }
    }

    /// Runs the async closure in a transaction that holds the lock, or returns `None` without calling it if
    /// the lock is unavailable.
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
    /// # use diesel_advisory_sandbox::schema::books;
    /// use diesel::prelude::*;
    /// use diesel_async::{AsyncConnection, RunQueryDsl};
    /// use diesel_advisory::AsyncAdvisoryConnection;
    ///
    /// let closed = conn
    ///     .advisory("billing.close_month")
    ///     .no_wait()
    ///     .try_run(async |conn| {
    ///         diesel::update(books::table).set(books::closed.eq(true)).execute(conn).await
    ///     })
    ///     .await?;
    /// if closed.is_none() {
    ///     println!("somebody else closes the month");
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
            let trace = Trace::begin(&self.request, Scope::Transaction);
            let told = trace.clone();
            told.around(async move {
                let mut conn = Unfinished::new(self.conn);
                let result = async {
                    let link = &mut conn.link();
                    let attempt = open_due(link, self.request, self.modes, self.interval).await;
                    match Attempt::told(attempt, &trace)? {
                        Some(open) => run_in(link, open, f, &trace).await.map(Some),
                        None => Ok(None),
                    }
                };
                let result = result.await;
                conn.done();
                result
            })
            .await
        }
    }
}

lock_options! {
    impl<'c, C> AsyncAdvisoryTransaction<'c, 'a, C> {
        setup: "# diesel_advisory_sandbox::async_doctest!(conn, {\n# use diesel_advisory::{AsyncAdvisoryConnection, Error};",
        open: "conn.advisory",
        close: ".run(async |_conn| Ok::<_, Error>(())).await?;",
        end: "# });",
    }
}

transaction_options! {
    impl<'c, C> AsyncAdvisoryTransaction<'c, 'a, C> {
        setup: "# diesel_advisory_sandbox::async_doctest!(conn, {\n# use diesel_advisory::{AsyncAdvisoryConnection, Error};",
        open: "conn.advisory",
        close: ".run(async |_conn| Ok::<_, Error>(())).await?;",
        end: "# });",
    }
}

transaction_interval! {
    impl<'c, C> AsyncAdvisoryTransaction<'c, 'a, C> {
        setup: "# diesel_advisory_sandbox::async_doctest!(conn, {\n# diesel_advisory::catalog::install_async(conn).await?;\n# use diesel_advisory::{AsyncAdvisoryConnection, Error};",
        open: "conn.advisory",
        close: ".try_run(async |_conn| Ok::<_, Error>(())).await?;",
        end: "# });",
    }
}

async fn run_in<C, T, E, F>(
    link: &mut Async<'_, C>,
    open: DueWork,
    f: F,
    trace: &Trace,
) -> Result<T, E>
where
    C: AsyncPgTransactions,
    F: for<'r> AsyncFunc<&'r mut C, Result<T, E>>,
    E: From<Error>,
{
    match f(link.0).await {
        Ok(value) => {
            trace.checked(commit_due(link, open).await)?;
            Ok(value)
        }
        Err(error) => {
            roll_back_due(link, open).await;
            Err(error)
        }
    }
}
