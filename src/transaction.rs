//! A lock around a transaction of its own.

use diesel::connection::{AnsiTransactionManager, LoadConnection};
use diesel::pg::Pg;

use crate::connection::Blocking;
use crate::link::ready;
use crate::protocol::{self, Frame};
use crate::transaction_modes::{Isolation, TransactionModes};
use crate::{AdvisoryLock, Error};

/// The scope of [`advisory`](crate::AdvisoryConnection::advisory): a transaction that `run` opens.
#[derive(Debug, Default)]
pub struct OwnTransaction {
    pub(crate) modes: TransactionModes,
}

/// The characteristics of the transaction, as in Diesel's
/// [`TransactionBuilder`](diesel::pg::TransactionBuilder).
///
/// What is not set is left to the session's defaults. They are those of a whole transaction: with
/// any of them set, `run` inside an open transaction fails with
/// [`AlreadyInTransaction`](diesel::result::Error::AlreadyInTransaction), as Diesel's builder does.
///
/// # Above read committed
///
/// A transaction above read committed sees one snapshot of the database from its first statement to
/// its last. `run` makes sure that this snapshot is not older than the lock, so that the closure
/// sees what the last holder has committed. (A transaction that is begun first and locks with
/// [`advisory_xact`](crate::AdvisoryConnection::advisory_xact) then has no such luck: its snapshot
/// was taken before the wait.) That holds for a session whose `default_transaction_isolation` is
/// above read committed too, at the cost of one more round trip: better to say the level here.
///
/// For a moment this takes a session lock: a first transaction waits for the lock and makes it one
/// of the session, and the transaction of the closure takes it over. All that is sent as one query
/// string, and a connection pooler in transaction mode keeps to one server connection for the
/// length of it and of the transactions. So it works behind one, and at the end of the transaction
/// nothing is left to release.
///
/// A serializable transaction can still fail to be serialized, with the closure's work undone:
/// because of others that write the same rows without the lock, and, rarely, because PostgreSQL
/// frees locks a moment before it is done with a transaction that has committed. As always there,
/// be ready to repeat.
impl<C> AdvisoryLock<'_, C, OwnTransaction> {
    /// Makes the transaction `READ COMMITTED`.
    pub fn read_committed(mut self) -> Self {
        self.scope.modes.isolation = Some(Isolation::ReadCommitted);
        self
    }

    /// Makes the transaction `REPEATABLE READ`, with a snapshot that is not older than the lock.
    pub fn repeatable_read(mut self) -> Self {
        self.scope.modes.isolation = Some(Isolation::RepeatableRead);
        self
    }

    /// Makes the transaction `SERIALIZABLE`, with a snapshot that is not older than the lock.
    pub fn serializable(mut self) -> Self {
        self.scope.modes.isolation = Some(Isolation::Serializable);
        self
    }

    /// Makes the transaction `READ ONLY`.
    pub fn read_only(mut self) -> Self {
        self.scope.modes.read_only = Some(true);
        self
    }

    /// Makes the transaction `READ WRITE`.
    pub fn read_write(mut self) -> Self {
        self.scope.modes.read_only = Some(false);
        self
    }

    /// Makes the transaction `DEFERRABLE`. It has no effect unless it is also serializable and read
    /// only; then the wait for a safe snapshot comes after the wait for the lock.
    pub fn deferrable(mut self) -> Self {
        self.scope.modes.deferrable = Some(true);
        self
    }

    /// Makes the transaction `NOT DEFERRABLE`.
    pub fn not_deferrable(mut self) -> Self {
        self.scope.modes.deferrable = Some(false);
        self
    }
}

impl<C> AdvisoryLock<'_, &mut C, OwnTransaction>
where
    C: LoadConnection<Backend = Pg, TransactionManager = AnsiTransactionManager>,
{
    /// Runs the closure in a transaction that holds the lock.
    ///
    /// 1. A transaction begins and the lock is taken, in one round trip (two with
    ///    [`no_wait`](Self::no_wait)).
    /// 2. The closure runs.
    /// 3. `Ok` commits the transaction, `Err` rolls it back. Either way the lock ends with it,
    ///    after the commit: the next holder sees what this one has written.
    ///
    /// Inside an open transaction, `run` sets a savepoint instead. Then the lock ends when the
    /// *outermost* transaction does; only if the closure fails, the savepoint is rolled back and
    /// the lock freed at once.
    ///
    /// A lock that the session holds already is granted again: `run` inside `run` does not wait for
    /// itself.
    ///
    /// `Ok` commits what there is to commit. If a statement has failed and the closure returns `Ok`
    /// nevertheless, that is nothing: PostgreSQL answers the `COMMIT` of a failed transaction with a
    /// rollback, and Diesel does not report it. A savepoint that has failed so is an error.
    ///
    /// # Errors
    ///
    /// The closure's own error comes first: a failing rollback does not hide it. Then:
    ///
    /// - [`Error::Unavailable`] if the wait ended without the lock;
    /// - [`Error::EmptyName`], before anything is sent;
    /// - [`Error::Database`] if the lock, the `BEGIN` or the `COMMIT` failed.
    ///
    /// After any of them the transaction, if there was one already, is still usable, unless the
    /// connection is lost.
    ///
    /// # Panics
    ///
    /// If the closure panics, the transaction is rolled back while the panic goes on.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// use diesel::prelude::*;
    /// use diesel_advisory::AdvisoryConnection;
    ///
    /// conn.advisory("billing.close_month").run(|conn| {
    ///     // Nobody else is in here now, on any machine.
    ///     diesel::sql_query("SELECT 'the books'").execute(conn)
    /// })?;
    /// # Ok::<_, diesel::result::Error>(())
    /// ```
    pub fn run<T, E, F>(self, f: F) -> Result<T, E>
    where
        F: FnOnce(&mut C) -> Result<T, E>,
        E: From<Error>,
    {
        let mut conn = Blocking(self.conn);
        let attempt = ready(protocol::open_frame(
            &mut conn,
            self.request,
            self.scope.modes,
        ))?;
        let frame = ready(attempt.or_unavailable(&mut conn))?;
        OpenFrame::new(conn, frame).run(f)
    }

    /// Runs the closure in a transaction that holds the lock, or returns `None` without calling it
    /// if the lock is unavailable.
    ///
    /// Otherwise the same as [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), without [`Error::Unavailable`].
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// use diesel::prelude::*;
    /// use diesel_advisory::AdvisoryConnection;
    ///
    /// let rows = conn
    ///     .advisory("reports.nightly")
    ///     .no_wait()
    ///     .try_run(|conn| diesel::sql_query("SELECT 'the report'").execute(conn))?;
    /// assert_eq!(rows, Some(1));
    /// # Ok::<_, diesel::result::Error>(())
    /// ```
    pub fn try_run<T, E, F>(self, f: F) -> Result<Option<T>, E>
    where
        F: FnOnce(&mut C) -> Result<T, E>,
        E: From<Error>,
    {
        let mut conn = Blocking(self.conn);
        let attempt = ready(protocol::open_frame(
            &mut conn,
            self.request,
            self.scope.modes,
        ))?;
        let frame = attempt.granted();
        frame
            .map(|frame| OpenFrame::new(conn, frame).run(f))
            .transpose()
    }
}

/// A frame on a connection. Dropped while it is open, which a panic does, it is rolled back.
#[derive(Debug)]
struct OpenFrame<'c, C>
where
    C: LoadConnection<Backend = Pg, TransactionManager = AnsiTransactionManager>,
{
    conn: Blocking<'c, C>,
    frame: Option<Frame>,
}

impl<'c, C> OpenFrame<'c, C>
where
    C: LoadConnection<Backend = Pg, TransactionManager = AnsiTransactionManager>,
{
    fn new(conn: Blocking<'c, C>, frame: Frame) -> Self {
        Self {
            conn,
            frame: Some(frame),
        }
    }

    fn run<T, E>(mut self, f: impl FnOnce(&mut C) -> Result<T, E>) -> Result<T, E>
    where
        E: From<Error>,
    {
        let value = f(self.conn.0)?;
        if let Some(frame) = self.frame.take() {
            ready(protocol::commit_frame(&mut self.conn, frame)).map_err(Error::from)?;
        }
        Ok(value)
    }
}

impl<C> Drop for OpenFrame<'_, C>
where
    C: LoadConnection<Backend = Pg, TransactionManager = AnsiTransactionManager>,
{
    fn drop(&mut self) {
        if let Some(frame) = self.frame.take() {
            ready(protocol::roll_back_frame(&mut self.conn, frame));
        }
    }
}
