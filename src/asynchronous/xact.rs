//! A lock for the transaction that is open, asynchronously.

use std::future::Future;

use super::connection::AsyncLink;
use super::{Async, AsyncAdvisoryConnection};
use crate::xact::OpenTransaction;
use crate::{AdvisoryLock, Error, protocol};

impl<'a, C: AsyncAdvisoryConnection> AdvisoryLock<'a, Async<&'a mut C>, OpenTransaction> {
    /// Takes the lock until the transaction ends, in one round trip.
    ///
    /// What ends it, and what a savepoint or an isolation level does to it, is told at the blocking
    /// `acquire`.
    ///
    /// # Errors
    ///
    /// - [`Error::Unavailable`] if the wait ended without the lock. The transaction goes on.
    /// - [`Error::NotInTransaction`] and [`Error::EmptyName`], before anything is sent.
    /// - [`Error::Database`] if the statement failed. Then the transaction has failed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the transaction cannot be committed any more, and a pool closes
    /// the connection. See [`AsyncAdvisoryConnection`].
    pub fn acquire(self) -> impl Future<Output = Result<(), Error>> + Send {
        async move {
            let mut link = AsyncLink(self.conn.0);
            let attempt = protocol::acquire_in_transaction(&mut link, self.request).await?;
            attempt.or_unavailable(&mut link).await
        }
    }

    /// Takes the lock until the transaction ends, or returns `false` if it is unavailable.
    ///
    /// Otherwise the same as [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire), without [`Error::Unavailable`].
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](Self::acquire).
    pub fn try_acquire(self) -> impl Future<Output = Result<bool, Error>> + Send {
        async move {
            let mut link = AsyncLink(self.conn.0);
            let attempt = protocol::acquire_in_transaction(&mut link, self.request).await?;
            Ok(attempt.granted().is_some())
        }
    }
}
