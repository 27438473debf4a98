//! A lock for the transaction that is open, asynchronously.

use std::future::Future;

use super::unfinished::Unfinished;
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
    /// If the future is dropped, the session ends, and the transaction is rolled back. See
    /// [`AsyncAdvisoryConnection`].
    pub fn acquire(self) -> impl Future<Output = Result<(), Error>> + Send {
        async move {
            let mut conn = Unfinished::new(self.conn.0);
            let result = async {
                let link = &mut conn.link();
                let attempt = protocol::acquire_in_transaction(link, self.request).await?;
                attempt.or_unavailable(link).await
            };
            let result = result.await;
            conn.done();
            result
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
            let mut conn = Unfinished::new(self.conn.0);
            let attempt = protocol::acquire_in_transaction(&mut conn.link(), self.request).await;
            conn.done();
            Ok(attempt?.granted().is_some())
        }
    }
}
