//! A lock of a session that is kept alive, and tells when it is lost, asynchronously.

use std::future::Future;
use std::ops::DerefMut;
use std::time::Duration;

use super::func::AsyncFunc;
use super::link::AsyncPgTransactions;
use super::term::{Ended, Term};
use crate::error::Error;
use crate::lease::clock::TimeToLive;
use crate::lease::handle::Lease;
use crate::lock::request::Request;
use crate::trace::{Scope, Trace};

/// A builder for a lease, made by [`AsyncAdvisorySession::lease`](crate::AsyncAdvisorySession::lease).
///
/// A lease is a session lock on a connection of its own. The work uses other connections. The server is asked a
/// question in every third of the time to live; a session that is asked nothing for that long is ended by the
/// server, and the lock is free. The holder stops to believe in it a tenth earlier (at least 50 ms).
///
/// Nothing is spawned: the questions are asked in the future of [`run`](Self::run) itself, so work that blocks
/// its thread for more than half of the time to live can lose the lease (more than 42 % of one of 200 ms, where
/// the 50 ms weigh more; more than 56 % from 500 ms on). That includes `block_in_place`; work under
/// `spawn_blocking` does not count.
///
/// What a lease does not promise is in [the guide](crate::guide::leases#what-a-lease-does-not-promise).
#[derive(Debug)]
#[must_use = "the lock is not taken until `run` or `try_run` is called"]
pub struct AsyncAdvisoryLease<'a, D> {
    conn: D,
    request: Request<'a>,
    ttl: TimeToLive,
}

impl<'a, C, D> AsyncAdvisoryLease<'a, D>
where
    C: AsyncPgTransactions,
    D: DerefMut<Target = C> + Send,
{
    pub(super) fn new(conn: D, request: Request<'a>, ttl: Duration) -> Self {
        Self {
            conn,
            request,
            ttl: TimeToLive::new(ttl),
        }
    }

    /// Runs the async closure while the lease is held.
    ///
    /// 1. The session gets its time to live, and acquires the lock.
    /// 2. The closure runs. When the lease is lost, its future is dropped at once.
    /// 3. The lock is released, the session gets back the `idle_session_timeout` that it had, and the connection
    ///    is dropped; a pooled one goes back to its pool.
    ///
    /// The time counts from a question that is sent after the lock was granted, so that a lease after a long
    /// wait is whole.
    ///
    /// The closure gets a [`Lease`], which the tasks that it spawns can have too. They are not dropped with it:
    /// they have to look at [`is_held`](Lease::is_held), or to wait for [`lost`](Lease::lost).
    ///
    /// It needs a Tokio runtime with its time driver. `run` waits for the lock as long as the builder says, and
    /// for everything else no longer than the time to live.
    ///
    /// # Errors
    ///
    /// If the closure fails, you get its error, even when the lease was lost too. Otherwise:
    ///
    /// - [`Error::Lost`] if the lease was lost before the closure was done, or nobody can tell whether it was
    ///   released;
    /// - [`Error::ShutDown`] if the closure was dropped because of [`resign`](Lease::resign);
    /// - [`Error::Standby`] if the server is a standby, whatever `allow_standby` says;
    /// - [`Error::SharedSession`] if another lease uses the same session, as behind a pooler in transaction mode;
    /// - those of [`acquire`](crate::AsyncAdvisorySession::acquire) and of
    ///   [`release`](crate::AsyncAdvisoryGuard::release).
    ///
    /// # Panics
    ///
    /// If the closure panics, the session ends, and the lock is released.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session ends, and the lock is released.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// # let url = diesel_advisory_sandbox::database_url();
    /// use std::time::Duration;
    ///
    /// use diesel_advisory::{Error, IntoAsyncAdvisorySession, Lease};
    /// use diesel_async::{AsyncConnection, AsyncPgConnection};
    ///
    /// async fn schedule(lease: Lease) -> Result<u32, Error> {
    ///     // Passes the token along with all that it writes, on other connections.
    ///     let token = lease.token()?;
    ///     println!("scheduler {token} begins");
    ///     Ok(3)
    /// }
    ///
    /// let conn = Box::new(AsyncPgConnection::establish(&url).await?);
    /// let report = conn
    ///     .into_advisory_session("scheduler")
    ///     .lease(Duration::from_secs(10))
    ///     .run(async |lease| schedule(lease).await)
    ///     .await?;
    /// # assert_eq!(report, 3);
    /// # });
    /// ```
    pub fn run<T, E, F>(self, f: F) -> impl Future<Output = Result<T, E>> + Send
    where
        F: AsyncFunc<Lease, Result<T, E>, Fut: Send> + Send,
        T: Send,
        E: From<Error> + Send,
    {
        async move {
            match self.run_if_taken(f, true).await? {
                Some(value) => Ok(value),
                None => unreachable!("an unavailable lock is an error here"),
            }
        }
    }

    /// Runs the async closure while the lease is held, or returns `None` without calling it if the lock is
    /// unavailable.
    ///
    /// Otherwise the same as [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// The same as [`run`](Self::run), except [`Error::Unavailable`].
    ///
    /// # Cancel safety
    ///
    /// The same as [`run`](Self::run).
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::async_doctest!(conn, {
    /// # let url = diesel_advisory_sandbox::database_url();
    /// # use diesel_async::{AsyncConnection, AsyncPgConnection};
    /// use std::time::Duration;
    /// use diesel_advisory::{Error, IntoAsyncAdvisorySession};
    ///
    /// let conn = Box::new(AsyncPgConnection::establish(&url).await?);
    /// let ran = conn
    ///     .into_advisory_session("scheduler")
    ///     .no_wait()
    ///     .lease(Duration::from_secs(10))
    ///     .try_run(async |lease| lease.check())
    ///     .await?;
    /// if ran.is_none() {
    ///     println!("another process schedules");
    /// }
    /// # });
    /// ```
    pub fn try_run<T, E, F>(self, f: F) -> impl Future<Output = Result<Option<T>, E>> + Send
    where
        F: AsyncFunc<Lease, Result<T, E>, Fut: Send> + Send,
        T: Send,
        E: From<Error> + Send,
    {
        self.run_if_taken(f, false)
    }

    async fn run_if_taken<T, E, F>(mut self, f: F, or_error: bool) -> Result<Option<T>, E>
    where
        F: AsyncFunc<Lease, Result<T, E>, Fut: Send> + Send,
        T: Send,
        E: From<Error> + Send,
    {
        let request = self.request.into_owned();
        let trace = Trace::begin(&request, Scope::Lease);
        let told = trace.clone();
        told.around(async move {
            let lease = Lease::of(&request, self.ttl, &trace);
            let taken = async {
                let taken = Term::take(&mut *self.conn, request, self.ttl, None, or_error).await?;
                match taken {
                    Some(term) => term.begin(&lease, None).await.map(Some),
                    None => Ok(None),
                }
            };
            let Some(mut term) = trace.decided_if(taken.await)? else {
                return Ok(None);
            };
            let (ended, in_time) = term.work(&lease, f).await;
            let finished = trace.checked(term.finish(&lease).await);
            match ended {
                Ended::Returned(done) => {
                    let value = done?;
                    in_time?;
                    finished?;
                    Ok(Some(value))
                }
                Ended::Dropped => {
                    in_time?;
                    finished?;
                    Err(Error::ShutDown.into())
                }
            }
        })
        .await
    }
}
