//! The guard of a lock that a session holds.

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::link::{Blocking, PgTransactions};
use crate::error::Error;
use crate::lock::token::FencingToken;
use crate::protocol::link::ready;
use crate::protocol::look::is_held;
use crate::protocol::session::release;
use crate::protocol::token::token;
use crate::sql::release::HeldLocks;
use crate::trace::Trace;

/// A lock, or a set of them, that this session holds. Derefs to the connection.
///
/// `D` is the connection, borrowed or owned. Diesel's queries can be run on the guard itself, as on a
/// pooled connection: `execute(&mut guard)`.
///
/// # Drop
///
/// Dropping the guard releases the lock. A transaction that was left open is rolled back first, and if the
/// release fails, the session is ended, which releases the lock. `Drop` cannot report errors; call
/// [`release`](Self::release) for that.
///
/// A guard that is forgotten ([`std::mem::forget`]) releases nothing. Where it was nested in another one of the
/// same connection, the release of that one is [`Error::SharedSession`].
#[must_use = "the lock is released as soon as the guard is dropped"]
pub struct AdvisoryGuard<D>
where
    D: DerefMut<Target: PgTransactions>,
{
    /// `None` once the connection was given back.
    conn: Option<D>,
    locks: HeldLocks,
    trace: Trace,
}

impl<D> AdvisoryGuard<D>
where
    D: DerefMut<Target: PgTransactions>,
{
    pub(crate) fn new(conn: D, locks: HeldLocks, trace: Trace) -> Self {
        Self {
            conn: Some(conn),
            locks,
            trace,
        }
    }

    /// Releases the lock, and tells whether it was held until now.
    ///
    /// Locks nest: if the same session has acquired the lock more often, it still holds it.
    ///
    /// # Errors
    ///
    /// - [`Error::NotHeld`] if there was nothing to release. Another session may have held the lock in
    ///   the meantime.
    /// - [`Error::SharedSession`] if other clients use the same session, or the work has reset its
    ///   settings.
    /// - [`Error::TransactionLeftOpen`] if a transaction was open. It has been rolled back, and the lock
    ///   has been released.
    /// - [`Error::Database`] if the statement failed or the connection is lost. Unless a second attempt
    ///   released the lock, the session has been ended.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// use diesel_advisory::{AdvisoryConnection, Error};
    ///
    /// let held = conn.advisory_session("reports.nightly").acquire()?;
    /// match held.release() {
    ///     Ok(()) => println!("held until now"),
    ///     Err(Error::NotHeld) => println!("somebody else may have held it meanwhile"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok::<_, Error>(())
    /// ```
    pub fn release(self) -> Result<(), Error> {
        self.release_into().map(drop)
    }

    /// Releases the lock, and gives the connection back.
    ///
    /// # Errors
    ///
    /// The same as [`release`](Self::release). The connection is dropped then.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// use diesel_advisory::{Error, IntoAdvisorySession};
    ///
    /// let held = conn.into_advisory_session("reports.nightly").acquire()?;
    /// let conn = held.release_into()?;
    /// # let _ = conn;
    /// # Ok::<_, Error>(())
    /// ```
    #[expect(
        clippy::missing_panics_doc,
        reason = "the connection is there until then"
    )]
    pub fn release_into(mut self) -> Result<D, Error> {
        let mut conn = self.conn.take().expect(GIVEN_BACK);
        let released = self
            .trace
            .inside(|| ready(release(&mut Blocking(&mut *conn), &self.locks)));
        self.trace.checked(released)?;
        Ok(conn)
    }

    /// Asks the server whether this session still holds the lock.
    ///
    /// It does, unless the session was replaced, or something else has released the lock.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if the query fails, which it does when the connection is lost.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// use diesel_advisory::{AdvisoryConnection, Error};
    ///
    /// let mut held = conn.advisory_session("reports.nightly").acquire()?;
    /// assert!(held.is_held()?);
    /// # held.release()?;
    /// # Ok::<_, Error>(())
    /// ```
    #[expect(
        clippy::missing_panics_doc,
        reason = "the connection is there until then"
    )]
    pub fn is_held(&mut self) -> Result<bool, Error> {
        let conn = self.conn.as_mut().expect(GIVEN_BACK);
        ready(is_held(&mut Blocking(&mut **conn), &self.locks))
    }

    /// Returns a fencing token: larger than every one given before under the same exclusive lock.
    ///
    /// Pass it along with every write, so that what is written to can refuse a holder that is too late: see
    /// [`FencingToken`]. It takes two round trips. Call it once, after the lock was acquired.
    ///
    /// # Errors
    ///
    /// - [`Error::NotHeld`] if this session does not hold the lock any more.
    /// - [`Error::InTransaction`] inside an open transaction, be it Diesel's or a raw `BEGIN`: a token is
    ///   not safe from a crash of the server before it is committed. A raw one has failed then.
    /// - [`Error::Standby`] if the server is a standby.
    /// - [`Error::NoToken`] if the role may not call the functions that make one.
    /// - [`Error::Database`] if a statement failed.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// use diesel_advisory::{AdvisoryConnection, Error};
    ///
    /// let mut held = conn.advisory_session("scheduler").acquire()?;
    /// let token = held.fencing_token()?;
    /// println!("scheduler {token} begins");
    /// held.release()?;
    /// # Ok::<_, Error>(())
    /// ```
    #[expect(
        clippy::missing_panics_doc,
        reason = "the connection is there until then"
    )]
    pub fn fencing_token(&mut self) -> Result<FencingToken, Error> {
        let conn = self.conn.as_mut().expect(GIVEN_BACK);
        ready(token(&mut Blocking(&mut **conn), &self.locks))
    }

    pub(super) fn trace(&self) -> Trace {
        self.trace.clone()
    }

    pub(super) fn run<T, E>(
        mut self,
        f: impl FnOnce(&mut D::Target) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<Error>,
    {
        let trace = self.trace.clone();
        let value = trace.inside(|| f(&mut self))?;
        self.release()?;
        Ok(value)
    }
}

/// Only what consumes the guard takes the connection out of it.
const GIVEN_BACK: &str = "the guard has its connection until it is consumed";

impl<D> Drop for AdvisoryGuard<D>
where
    D: DerefMut<Target: PgTransactions>,
{
    fn drop(&mut self) {
        if let Some(conn) = &mut self.conn {
            let released = self
                .trace
                .inside(|| ready(release(&mut Blocking(&mut **conn), &self.locks)));
            let _ = self.trace.checked(released);
        }
    }
}

impl<D> Deref for AdvisoryGuard<D>
where
    D: DerefMut<Target: PgTransactions>,
{
    type Target = D::Target;

    fn deref(&self) -> &Self::Target {
        self.conn.as_ref().expect(GIVEN_BACK)
    }
}

impl<D> DerefMut for AdvisoryGuard<D>
where
    D: DerefMut<Target: PgTransactions>,
{
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.conn.as_mut().expect(GIVEN_BACK)
    }
}

impl<D> fmt::Debug for AdvisoryGuard<D>
where
    D: DerefMut<Target: PgTransactions>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdvisoryGuard")
            .field("locks", &self.locks)
            .finish_non_exhaustive()
    }
}
