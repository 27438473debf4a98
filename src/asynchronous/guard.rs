//! The guard of a lock that the session of an asynchronous connection holds.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use diesel_async::{AnsiTransactionManager, TransactionManager};

use super::connection::AsyncLink;
use super::unfinished::{Unfinished, end_session, hand_over};
use super::{AsyncAdvisoryConnection, AsyncFunc};
use crate::lock_set::HeldLocks;
use crate::{Error, protocol, sql};

/// A lock, or a set of them, that the session of an asynchronous connection holds. Derefs to the
/// connection.
///
/// `D` is how the guard has its connection: `&mut AsyncPgConnection`, if it borrows it, or the
/// pooled connection itself, if it owns it. An owning guard can be stored, and moved to another
/// task.
///
/// # Drop
///
/// Nothing can be awaited while the guard is dropped. So it hands the release to the driver, which
/// sends it without anybody waiting for the answer. Inside a transaction, or where one was
/// cancelled, it ends the session instead. What it cannot do is tell you how that went: use
/// [`release`](Self::release) for that.
///
/// A guard that is forgotten ([`std::mem::forget`]) releases nothing.
#[must_use = "the lock is released as soon as the guard is dropped"]
pub struct AsyncAdvisoryGuard<D>
where
    D: DerefMut<Target: AsyncAdvisoryConnection>,
{
    conn: D,
    locks: HeldLocks,
    held: bool,
}

impl<C, D> AsyncAdvisoryGuard<D>
where
    C: AsyncAdvisoryConnection,
    D: DerefMut<Target = C> + Send,
{
    pub(super) fn new(conn: D, locks: HeldLocks) -> Self {
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
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session ends, and the lock is freed.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// use diesel_advisory::{AsyncAdvisoryConnection, Error};
    ///
    /// let held = conn.advisory_session("leader").acquire().await?;
    /// match held.release().await {
    ///     Ok(()) => println!("held until now"),
    ///     Err(Error::NotHeld) => println!("somebody else may have been at it meanwhile"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # });
    /// ```
    pub fn release(mut self) -> impl Future<Output = Result<(), Error>> + Send {
        async move {
            self.held = false;
            let mut conn = Unfinished::new(&mut *self.conn);
            let released = protocol::release_for_session(&mut conn.link(), &self.locks).await;
            conn.done();
            released
        }
    }

    /// Asks the server whether this session still holds the lock.
    ///
    /// It does, unless the session was replaced, which a connection pooler in transaction mode
    /// does, or the lock was released in some other way.
    ///
    /// # Errors
    ///
    /// [`Error::Database`] if the query fails, which it does when the connection is lost.
    ///
    /// # Cancel safety
    ///
    /// The future can be dropped at any point.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// use diesel_advisory::AsyncAdvisoryConnection;
    ///
    /// let mut held = conn.advisory_session("leader").acquire().await?;
    /// assert!(held.is_held().await?);
    /// held.release().await?;
    /// # });
    /// ```
    pub fn is_held(&mut self) -> impl Future<Output = Result<bool, Error>> + Send {
        async move { protocol::is_held(&mut AsyncLink(&mut *self.conn), &self.locks).await }
    }

    /// Resolves when the session has lost the lock: its server process was ended, the server is
    /// gone, or the network is cut. Use it to stop work that must not go on without the lock.
    ///
    /// It asks the server over and over, and takes an answer that fails to come as a loss: a loss
    /// is told within `bound`. Only this session is looked at, so the work in the other branch
    /// of a `select!` uses connections of its own.
    ///
    /// It needs a Tokio runtime with its time driver.
    ///
    /// # Cancel safety
    ///
    /// The future can be dropped at any point, and called for again.
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// # use diesel_advisory::AsyncAdvisoryConnection;
    /// use std::time::Duration;
    ///
    /// # async fn lead() {}
    /// let mut held = conn.advisory_session("leader").acquire().await?;
    /// tokio::select! {
    ///     () = held.lost(Duration::from_secs(5)) => println!("no longer the leader"),
    ///     () = lead() => held.release().await?,
    /// }
    /// # });
    /// ```
    pub fn lost(&mut self, bound: Duration) -> impl Future<Output = ()> + Send {
        async move {
            // A question is asked in every half of the bound, and has the other half to be
            // answered.
            let half = bound / 2;
            loop {
                match tokio::time::timeout(half, self.is_held()).await {
                    Ok(Ok(true)) => tokio::time::sleep(half).await,
                    Ok(Ok(false) | Err(_)) | Err(_) => return,
                }
            }
        }
    }

    pub(super) async fn run<T, E, F>(mut self, f: F) -> Result<T, E>
    where
        F: for<'r> AsyncFunc<&'r mut C, Result<T, E>>,
        E: From<Error>,
    {
        match f(&mut *self.conn).await {
            Ok(value) => {
                self.release().await?;
                Ok(value)
            }
            Err(error) => {
                let _ = self.release().await;
                Err(error)
            }
        }
    }
}

impl<D> Drop for AsyncAdvisoryGuard<D>
where
    D: DerefMut<Target: AsyncAdvisoryConnection>,
{
    fn drop(&mut self) {
        if self.held {
            // A failed transaction would refuse the release.
            if AnsiTransactionManager::is_broken_transaction_manager(&mut *self.conn) {
                end_session(&mut *self.conn);
            } else {
                hand_over(&mut *self.conn, &sql::release(&self.locks));
            }
        }
    }
}

impl<D> Deref for AsyncAdvisoryGuard<D>
where
    D: DerefMut<Target: AsyncAdvisoryConnection>,
{
    type Target = D::Target;

    fn deref(&self) -> &Self::Target {
        &self.conn
    }
}

impl<D> DerefMut for AsyncAdvisoryGuard<D>
where
    D: DerefMut<Target: AsyncAdvisoryConnection>,
{
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.conn
    }
}

impl<D> fmt::Debug for AsyncAdvisoryGuard<D>
where
    D: DerefMut<Target: AsyncAdvisoryConnection>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncAdvisoryGuard")
            .field("locks", &self.locks)
            .finish_non_exhaustive()
    }
}
