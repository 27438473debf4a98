//! A lock for the transaction that is open.

use diesel::connection::{AnsiTransactionManager, LoadConnection};
use diesel::pg::Pg;

use crate::connection::Blocking;
use crate::link::ready;
use crate::{AdvisoryLock, Error, protocol};

/// The scope of [`advisory_xact`](crate::AdvisoryConnection::advisory_xact): the transaction that
/// is open already.
#[derive(Debug, Default)]
pub struct OpenTransaction(());

impl<C> AdvisoryLock<'_, &mut C, OpenTransaction>
where
    C: LoadConnection<Backend = Pg, TransactionManager = AnsiTransactionManager>,
{
    /// Takes the lock until the transaction ends, in one round trip.
    ///
    /// There is nothing to release: the lock ends with the commit or the rollback. A savepoint that
    /// is rolled back frees the locks that were taken since it was set, and in Diesel that is
    /// every nested [`transaction`](diesel::Connection::transaction) that returns an error.
    ///
    /// Above read committed the transaction's snapshot is older than the lock: it may not show what
    /// the last holder has committed. See [`serializable`](AdvisoryLock::serializable) for how
    /// to have the lock first.
    ///
    /// # Errors
    ///
    /// - [`Error::Unavailable`] if the wait ended without the lock. The transaction goes on: what
    ///   it has written is still there, and it can be committed.
    /// - [`Error::NotInTransaction`] and [`Error::EmptyName`], before anything is sent.
    /// - [`Error::Database`] if the statement failed, be it by a deadlock, a `statement_timeout` or
    ///   a lost connection. Then the transaction has failed, as after any other statement.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// use diesel::prelude::*;
    /// use diesel_advisory::AdvisoryConnection;
    ///
    /// conn.transaction(|conn| {
    ///     conn.advisory_xact(("invoice", 42)).acquire()?;
    ///     diesel::sql_query("SELECT 'the invoice'").execute(conn)
    /// })?;
    /// # Ok::<_, diesel::result::Error>(())
    /// ```
    pub fn acquire(self) -> Result<(), Error> {
        let mut conn = Blocking(self.conn);
        let attempt = ready(protocol::acquire_in_transaction(&mut conn, self.request))?;
        ready(attempt.or_unavailable(&mut conn))
    }

    /// Takes the lock until the transaction ends, or returns `false` if it is unavailable.
    ///
    /// Otherwise the same as [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire), without [`Error::Unavailable`].
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// use diesel::prelude::*;
    /// use diesel_advisory::{AdvisoryConnection, Error};
    ///
    /// conn.transaction(|conn| {
    ///     if !conn.advisory_xact("search index").no_wait().try_acquire()? {
    ///         println!("somebody else rebuilds it");
    ///     }
    ///     Ok::<_, Error>(())
    /// })?;
    /// # Ok::<_, Error>(())
    /// ```
    pub fn try_acquire(self) -> Result<bool, Error> {
        let mut conn = Blocking(self.conn);
        let attempt = ready(protocol::acquire_in_transaction(&mut conn, self.request))?;
        Ok(attempt.granted().is_some())
    }
}
