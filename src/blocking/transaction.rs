//! A lock around a transaction of its own.

use super::link::{Blocking, PgTransactions};
use crate::error::Error;
use crate::lock::interval::Interval;
use crate::lock::interval_options::transaction_interval;
use crate::lock::modes::TransactionModes;
use crate::lock::options::{lock_options, transaction_options};
use crate::lock::request::Request;
use crate::protocol::attempt::Attempt;
use crate::protocol::interval::{DueWork, commit_due, open_due, roll_back_due};
use crate::protocol::link::ready;
use crate::trace::{Scope, Trace};

/// A builder for an advisory lock around a transaction of its own, made by
/// [`AdvisoryConnection::advisory`](crate::AdvisoryConnection::advisory).
///
/// Nothing is sent until [`run`](Self::run) or [`try_run`](Self::try_run). Unless told otherwise, the
/// lock is exclusive, and the wait for it is limited by the session's `lock_timeout` only.
#[derive(Debug)]
#[must_use = "the lock is not taken until `run` or `try_run` is called"]
pub struct AdvisoryTransaction<'c, 'a, C> {
    conn: &'c mut C,
    request: Request<'a>,
    modes: TransactionModes,
    interval: Option<Interval>,
}

impl<'c, 'a, C> AdvisoryTransaction<'c, 'a, C> {
    pub(crate) fn new(conn: &'c mut C, request: Request<'a>) -> Self {
        Self {
            conn,
            request,
            modes: TransactionModes::default(),
            interval: None,
        }
    }
}

impl<C: PgTransactions> AdvisoryTransaction<'_, '_, C> {
    /// Runs the closure in a transaction that holds the lock.
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
    /// If the closure panics, the transaction is rolled back while the panic goes on.
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
    ///     // No other holder of the lock is in here now, on any machine.
    ///     diesel::update(books::table).set(books::closed.eq(true)).execute(conn)
    /// })?;
    /// # Ok::<_, diesel::result::Error>(())
    /// ```
    pub fn run<T, E, F>(self, f: F) -> Result<T, E>
    where
        F: FnOnce(&mut C) -> Result<T, E>,
        E: From<Error>,
    {
        let trace = Trace::begin(&self.request, Scope::Transaction);
        let mut conn = Blocking(self.conn);
        let open = trace.inside(|| {
            let attempt = ready(open_due(&mut conn, self.request, self.modes, self.interval))?;
            ready(attempt.or_unavailable(&mut conn))
        });
        let open = trace.decided(open)?;
        Work::new(conn, open, trace).run(f)
    }

    /// Runs the closure in a transaction that holds the lock, or returns `None` without calling it if
    /// the lock is unavailable.
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
    /// # use diesel_advisory_sandbox::schema::books;
    /// use diesel::prelude::*;
    /// use diesel_advisory::AdvisoryConnection;
    ///
    /// let closed = conn
    ///     .advisory("billing.close_month")
    ///     .no_wait()
    ///     .try_run(|conn| diesel::update(books::table).set(books::closed.eq(true)).execute(conn))?;
    /// if closed.is_none() {
    ///     println!("somebody else closes the month");
    /// }
    /// # Ok::<_, diesel::result::Error>(())
    /// ```
    pub fn try_run<T, E, F>(self, f: F) -> Result<Option<T>, E>
    where
        F: FnOnce(&mut C) -> Result<T, E>,
        E: From<Error>,
    {
        let trace = Trace::begin(&self.request, Scope::Transaction);
        let mut conn = Blocking(self.conn);
        let attempt =
            trace.inside(|| ready(open_due(&mut conn, self.request, self.modes, self.interval)));
        let open = Attempt::told(attempt, &trace)?;
        open.map(|open| Work::new(conn, open, trace).run(f))
            .transpose()
    }
}

lock_options! {
    impl<'c, C> AdvisoryTransaction<'c, 'a, C> {
        setup: "# diesel_advisory_sandbox::doctest!(conn);\n# use diesel_advisory::{AdvisoryConnection, Error};",
        open: "conn.advisory",
        close: ".run(|_conn| Ok::<_, Error>(()))?;",
        end: "# Ok::<_, Error>(())",
    }
}

transaction_options! {
    impl<'c, C> AdvisoryTransaction<'c, 'a, C> {
        setup: "# diesel_advisory_sandbox::doctest!(conn);\n# use diesel_advisory::{AdvisoryConnection, Error};",
        open: "conn.advisory",
        close: ".run(|_conn| Ok::<_, Error>(()))?;",
        end: "# Ok::<_, Error>(())",
    }
}

transaction_interval! {
    impl<'c, C> AdvisoryTransaction<'c, 'a, C> {
        setup: "# diesel_advisory_sandbox::doctest!(conn);\n# diesel_advisory::catalog::install(conn)?;\n# use diesel_advisory::{AdvisoryConnection, Error};",
        open: "conn.advisory",
        close: ".try_run(|_conn| Ok::<_, Error>(()))?;",
        end: "# Ok::<_, Error>(())",
    }
}

/// An open transaction on a connection. Dropped while it is open, which an error and a panic do, it is
/// rolled back.
#[derive(Debug)]
struct Work<'c, C: PgTransactions> {
    conn: Blocking<'c, C>,
    open: Option<DueWork>,
    trace: Trace,
}

impl<'c, C: PgTransactions> Work<'c, C> {
    fn new(conn: Blocking<'c, C>, open: DueWork, trace: Trace) -> Self {
        Self {
            conn,
            open: Some(open),
            trace,
        }
    }

    fn run<T, E>(mut self, f: impl FnOnce(&mut C) -> Result<T, E>) -> Result<T, E>
    where
        E: From<Error>,
    {
        let value = self.trace.inside(|| f(self.conn.0))?;
        if let Some(open) = self.open.take() {
            let conn = &mut self.conn;
            let committed = self.trace.inside(|| ready(commit_due(conn, open)));
            self.trace.checked(committed)?;
        }
        Ok(value)
    }
}

impl<C: PgTransactions> Drop for Work<'_, C> {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            let conn = &mut self.conn;
            self.trace.inside(|| ready(roll_back_due(conn, open)));
        }
    }
}
