//! The guard of a lock that a session holds.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::connection::Blocking;
use crate::link::ready;
use crate::lock_set::HeldLocks;
use crate::{AdvisoryConnection, Error, protocol};

/// A lock, or a set of them, that this session holds. Derefs to the connection.
///
/// `D` is how the guard has its connection: `&mut PgConnection`, if it borrows it, or the pooled
/// connection itself, if it owns it. An owning guard can be stored, and moved to another thread.
///
/// # Drop
///
/// Dropping the guard releases the lock as well as it can: a transaction that was left open is
/// rolled back first, and if the release fails, the connection is marked as broken, so that a pool
/// closes it, which ends the lock. What it cannot do is tell you: use [`release`](Self::release)
/// for that.
///
/// A guard that is forgotten ([`std::mem::forget`]) releases nothing.
#[must_use = "the lock is released as soon as the guard is dropped"]
pub struct AdvisoryGuard<D>
where
    D: DerefMut<Target: AdvisoryConnection>,
{
    conn: D,
    locks: HeldLocks,
    held: bool,
}

impl<D> AdvisoryGuard<D>
where
    D: DerefMut<Target: AdvisoryConnection>,
{
    pub(crate) fn new(conn: D, locks: HeldLocks) -> Self {
        Self {
            conn,
            locks,
            held: true,
        }
    }

    /// Releases the lock, and tells whether it was held until now.
    ///
    /// PostgreSQL counts: if the same session has taken the lock more often, it holds it still.
    ///
    /// # Errors
    ///
    /// - [`Error::NotHeld`] if there was nothing to release. Somebody else may have had the lock in
    ///   the meantime.
    /// - [`Error::InTransaction`] if a transaction was open. It has been rolled back, as it would
    ///   have been committed without the lock, and the lock has been released.
    /// - [`Error::Database`] if the statement failed or the connection is lost. The connection is
    ///   marked as broken, so that a pool closes it.
    pub fn release(mut self) -> Result<(), Error> {
        self.held = false;
        ready(protocol::release_for_session(
            &mut Blocking(&mut *self.conn),
            &self.locks,
        ))
    }

    /// Asks the server whether this session still holds the lock.
    ///
    /// It does, unless the session was replaced, which a connection pooler in transaction mode
    /// does, or the lock was released in some other way.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if the query fails, which it does when the connection is lost.
    pub fn is_held(&mut self) -> Result<bool, Error> {
        ready(protocol::is_held(
            &mut Blocking(&mut *self.conn),
            &self.locks,
        ))
    }

    pub(crate) fn run<T, E>(
        mut self,
        f: impl FnOnce(&mut D::Target) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<Error>,
    {
        let value = f(&mut self)?;
        self.release()?;
        Ok(value)
    }
}

impl<D> Drop for AdvisoryGuard<D>
where
    D: DerefMut<Target: AdvisoryConnection>,
{
    fn drop(&mut self) {
        if self.held {
            let conn = &mut Blocking(&mut *self.conn);
            let _ = ready(protocol::release_for_session(conn, &self.locks));
        }
    }
}

impl<D> Deref for AdvisoryGuard<D>
where
    D: DerefMut<Target: AdvisoryConnection>,
{
    type Target = D::Target;

    fn deref(&self) -> &Self::Target {
        &self.conn
    }
}

impl<D> DerefMut for AdvisoryGuard<D>
where
    D: DerefMut<Target: AdvisoryConnection>,
{
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.conn
    }
}

impl<D> fmt::Debug for AdvisoryGuard<D>
where
    D: DerefMut<Target: AdvisoryConnection>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdvisoryGuard")
            .field("locks", &self.locks)
            .finish_non_exhaustive()
    }
}
