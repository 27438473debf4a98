//! A lock for the transaction that is already open.

use super::link::{Blocking, PgTransactions};
use crate::error::Error;
use crate::lock::options::lock_options;
use crate::lock::request::Request;
use crate::protocol::attempt::Attempt;
use crate::protocol::link::ready;
use crate::protocol::xact;
use crate::trace::{Scope, Trace};

/// A builder for an advisory lock in the open transaction, made by
/// [`AdvisoryConnection::advisory_xact`](crate::AdvisoryConnection::advisory_xact).
///
/// Nothing is sent until [`acquire`](Self::acquire) or [`try_acquire`](Self::try_acquire). Unless told
/// otherwise, the lock is exclusive, and the wait for it is limited by the session's `lock_timeout` only.
#[derive(Debug)]
#[must_use = "the lock is not taken until `acquire` or `try_acquire` is called"]
pub struct AdvisoryXact<'c, 'a, C> {
    conn: &'c mut C,
    request: Request<'a>,
}

impl<'c, 'a, C> AdvisoryXact<'c, 'a, C> {
    pub(crate) fn new(conn: &'c mut C, request: Request<'a>) -> Self {
        Self { conn, request }
    }
}

impl<C: PgTransactions> AdvisoryXact<'_, '_, C> {
    /// Acquires the lock until the transaction ends, in one round trip.
    ///
    /// The lock is released by the commit or the rollback. A savepoint that is rolled back releases the
    /// locks acquired since it was set; in Diesel, that is every nested
    /// [`transaction`](diesel::Connection::transaction) that returns an error.
    ///
    /// Above read committed, the transaction's snapshot predates the wait: it may not show what the last
    /// holder has committed. To acquire the lock first, use
    /// [`advisory(…).serializable()`](super::transaction::AdvisoryTransaction::serializable).
    ///
    /// # Errors
    ///
    /// - [`Error::Unavailable`] if the wait ended without the lock. The transaction is still usable, with
    ///   all that it has written.
    /// - [`Error::Standby`] if the server is a standby.
    /// - [`Error::NotInTransaction`], [`Error::EmptyName`] and [`Error::EmptySet`], before anything is
    ///   sent.
    /// - [`Error::Database`] if the statement failed, as by a deadlock, a `statement_timeout` or a lost
    ///   connection. The transaction has then failed, as after any other statement.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory_sandbox::schema::invoices;
    /// use diesel::prelude::*;
    /// use diesel_advisory::AdvisoryConnection;
    ///
    /// conn.transaction(|conn| {
    ///     conn.advisory_xact(("invoice", 42)).acquire()?;
    ///     diesel::update(invoices::table.find(42)).set(invoices::paid.eq(true)).execute(conn)
    /// })?;
    /// # Ok::<_, diesel::result::Error>(())
    /// ```
    pub fn acquire(self) -> Result<(), Error> {
        let trace = Trace::begin(&self.request, Scope::Xact);
        let mut conn = Blocking(self.conn);
        let acquired = trace.inside(|| {
            let attempt = ready(xact::acquire(&mut conn, self.request))?;
            ready(attempt.or_unavailable(&mut conn))
        });
        trace.decided(acquired)
    }

    /// Acquires the lock until the transaction ends, or returns `false` if it is unavailable.
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
    /// use diesel::prelude::*;
    /// use diesel_advisory::{AdvisoryConnection, Error};
    ///
    /// conn.transaction(|conn| {
    ///     if !conn.advisory_xact("search.rebuild").no_wait().try_acquire()? {
    ///         println!("somebody else rebuilds the index");
    ///     }
    ///     Ok::<_, Error>(())
    /// })?;
    /// # Ok::<_, Error>(())
    /// ```
    pub fn try_acquire(self) -> Result<bool, Error> {
        let trace = Trace::begin(&self.request, Scope::Xact);
        let mut conn = Blocking(self.conn);
        let attempt = trace.inside(|| ready(xact::acquire(&mut conn, self.request)));
        let acquired = Attempt::told(attempt, &trace)?;
        Ok(acquired.is_some())
    }
}

lock_options! {
    impl<'c, C> AdvisoryXact<'c, 'a, C> {
        setup: "# diesel_advisory_sandbox::doctest!(conn);\n# use diesel::prelude::*;\n# use diesel_advisory::{AdvisoryConnection, Error};",
        open: "conn.transaction(|conn| conn.advisory_xact",
        close: ".acquire())?;",
        end: "# Ok::<_, Error>(())",
    }
}
