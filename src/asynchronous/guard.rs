//! The guard of a lock that the session of an asynchronous connection holds.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::func::AsyncFunc;
use super::link::{Async, AsyncPgTransactions, Unfinished, end_session, hand_over};
use crate::error::Error;
use crate::lock::token::FencingToken;
use crate::protocol::link::Link as _;
use crate::protocol::look::is_held;
use crate::protocol::session::release;
use crate::protocol::token::token;
use crate::sql::release::{HeldLocks, release_unheard};
use crate::trace::Trace;

/// A lock, or a set of them, that the session of an asynchronous connection holds. Derefs to the
/// connection.
///
/// `D` is the connection, borrowed or owned. Diesel's queries can be run on the guard itself, as on a
/// pooled connection: `execute(&mut guard)`.
///
/// # Drop
///
/// Nothing can be awaited while the guard is dropped. So it hands the release to the driver, which sends
/// it without anybody waiting for the answer; a transaction that was left open is rolled back first. Where
/// Diesel has a transaction open, or one was cancelled, or the release fails, the session is ended instead.
/// `Drop` cannot report errors; call [`release`](Self::release) for that.
///
/// A guard that is forgotten ([`std::mem::forget`]) releases nothing. Where it was nested in another one of the
/// same connection, the release of that one is [`Error::SharedSession`].
#[must_use = "the lock is released as soon as the guard is dropped"]
pub struct AsyncAdvisoryGuard<D>
where
    D: DerefMut<Target: AsyncPgTransactions>,
{
    /// `None` once the connection was given back.
    conn: Option<D>,
    locks: HeldLocks,
    released: bool,
    trace: Trace,
}

impl<C, D> AsyncAdvisoryGuard<D>
where
    C: AsyncPgTransactions,
    D: DerefMut<Target = C> + Send,
{
    pub(super) fn new(conn: D, locks: HeldLocks, trace: Trace) -> Self {
        Self {
            conn: Some(conn),
            locks,
            released: false,
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
    /// # Cancel safety
    ///
    /// If the future is dropped, the session ends, and the lock is released.
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
    ///     Err(Error::NotHeld) => println!("somebody else may have held it meanwhile"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # });
    /// ```
    pub fn release(self) -> impl Future<Output = Result<(), Error>> + Send {
        async move { self.release_into().await.map(drop) }
    }

    /// Releases the lock, and gives the connection back.
    ///
    /// # Errors
    ///
    /// The same as [`release`](Self::release). The connection is dropped then.
    ///
    /// # Cancel safety
    ///
    /// The same as [`release`](Self::release).
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// use diesel_advisory::IntoAsyncAdvisorySession;
    ///
    /// let held = conn.into_advisory_session("leader").acquire().await?;
    /// let conn = held.release_into().await?;
    /// # let _ = conn;
    /// # });
    /// ```
    #[expect(
        clippy::missing_panics_doc,
        reason = "the connection is there until then"
    )]
    pub fn release_into(mut self) -> impl Future<Output = Result<D, Error>> + Send {
        async move {
            self.released = true;
            let conn = &mut **self.conn.as_mut().expect(GIVEN_BACK);
            let releasing = async {
                let mut conn = Unfinished::new(conn);
                let released = release(&mut conn.link(), &self.locks).await;
                conn.done();
                released
            };
            let released = self.trace.around(releasing).await;
            self.trace.checked(released)?;
            Ok(self.conn.take().expect(GIVEN_BACK))
        }
    }

    /// Asks the server whether this session still holds the lock.
    ///
    /// It does, unless the session was replaced, or something else has released the lock.
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
    #[expect(
        clippy::missing_panics_doc,
        reason = "the connection is there until then"
    )]
    pub fn is_held(&mut self) -> impl Future<Output = Result<bool, Error>> + Send {
        async move {
            let conn = self.conn.as_mut().expect(GIVEN_BACK);
            is_held(&mut Async(&mut **conn), &self.locks).await
        }
    }

    /// Returns a fencing token: larger than every one given before under the same exclusive lock.
    ///
    /// Pass it along with every write, so that what is written to can refuse a holder that is too late: see
    /// [`FencingToken`]. It takes three round trips, one of them because the driver prepares. Call it once, after
    /// the lock was acquired.
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
    /// # Cancel safety
    ///
    /// If the future is dropped, the session ends, and the lock is released.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// use diesel_advisory::AsyncAdvisoryConnection;
    ///
    /// let mut held = conn.advisory_session("scheduler").acquire().await?;
    /// let token = held.fencing_token().await?;
    /// println!("scheduler {token} begins");
    /// held.release().await?;
    /// # });
    /// ```
    #[expect(
        clippy::missing_panics_doc,
        reason = "the connection is there until then"
    )]
    pub fn fencing_token(&mut self) -> impl Future<Output = Result<FencingToken, Error>> + Send {
        async move {
            let mut conn = Unfinished::new(&mut **self.conn.as_mut().expect(GIVEN_BACK));
            let token = token(&mut conn.link(), &self.locks).await;
            conn.done();
            token
        }
    }

    /// Resolves when the session has lost the lock: its server process was ended, the server is gone, or
    /// the network is cut. Use it to stop work that must not go on without the lock.
    ///
    /// It asks the server in every third of `bound`, and takes an answer that fails to come as a loss. A
    /// loss is told no later than `bound` after the last question that was answered was sent. A bound
    /// under 200 ms is rounded up to it, and one under three of the round trips that it has seen to those;
    /// the first answer may take a second. Only this session is looked at, so the work in the other branch
    /// of a `select!` uses connections of its own.
    ///
    /// The session gets no time to live, so the server keeps the lock for a client that is cut off. A
    /// [lease](crate::AsyncAdvisorySession::lease) has one, and its loss is told before another can have the lock. Use
    /// this where the work needs the guard's own connection: see [the
    /// guide](crate::guide::leases#a-lease-or-lost).
    ///
    /// It needs a Tokio runtime with its time driver.
    ///
    /// # Cancel safety
    ///
    /// The future can be dropped at any point, and called for again.
    ///
    /// # Example
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
        /// Below it, a server that is merely busy would seem to be gone.
        const LEAST: Duration = Duration::from_millis(200);

        /// What the first answer may take, when nothing is known of the network.
        const FIRST: Duration = Duration::from_secs(1);

        async move {
            let mut bound = bound.max(LEAST);
            let mut until = Instant::now() + bound.max(FIRST);
            loop {
                let asked = Instant::now();
                let Ok(Ok(true)) = timeout_at(until, self.is_held()).await else {
                    return;
                };
                // Whatever the network needs, the next question has time for its answer.
                bound = bound.max(asked.elapsed() * 3);
                until = asked + bound;
                sleep_until(asked + bound / 3).await;
            }
        }
    }

    pub(super) fn trace(&self) -> Trace {
        self.trace.clone()
    }

    pub(super) async fn run<T, E, F>(mut self, f: F) -> Result<T, E>
    where
        F: for<'r> AsyncFunc<&'r mut C, Result<T, E>>,
        E: From<Error>,
    {
        let work = f(&mut **self.conn.as_mut().expect(GIVEN_BACK));
        match self.trace.around(work).await {
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

/// Only what consumes the guard takes the connection out of it.
const GIVEN_BACK: &str = "the guard has its connection until it is consumed";

impl<D> Drop for AsyncAdvisoryGuard<D>
where
    D: DerefMut<Target: AsyncPgTransactions>,
{
    fn drop(&mut self) {
        let Some(conn) = self.conn.as_mut().filter(|_| !self.released) else {
            return;
        };
        self.trace.inside(|| {
            let mut link = Async(&mut **conn);
            if link.is_cut_off() || !matches!(link.transaction_depth(), Ok(None)) {
                end_session(&mut **conn);
            } else {
                for message in release_unheard(&self.locks) {
                    hand_over(&mut **conn, &message);
                }
            }
        });
    }
}

impl<D> Deref for AsyncAdvisoryGuard<D>
where
    D: DerefMut<Target: AsyncPgTransactions>,
{
    type Target = D::Target;

    fn deref(&self) -> &Self::Target {
        self.conn.as_ref().expect(GIVEN_BACK)
    }
}

impl<D> DerefMut for AsyncAdvisoryGuard<D>
where
    D: DerefMut<Target: AsyncPgTransactions>,
{
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.conn.as_mut().expect(GIVEN_BACK)
    }
}

impl<D> fmt::Debug for AsyncAdvisoryGuard<D>
where
    D: DerefMut<Target: AsyncPgTransactions>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncAdvisoryGuard")
            .field("locks", &self.locks)
            .finish_non_exhaustive()
    }
}
