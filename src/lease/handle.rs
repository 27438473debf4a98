//! What the work under a lease has of it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::{Clock, Moment, TimeToLive};
use crate::error::Error;
use crate::error::lost::{HowLost, Lost};
use crate::lock::id::LockId;
use crate::lock::request::Request;
use crate::lock::token::FencingToken;
use crate::trace::{Trace, WeakTrace};

/// A lease that work holds: a lock with a time to live, which tells when it is lost.
///
/// The closure of [`AdvisoryLease::run`](crate::AdvisoryLease::run) gets it. It can be cloned, and sent to
/// the threads and tasks of the work; all clones tell the same. No method asks the server: the questions are
/// asked beside the work.
///
/// A lease that is lost stays lost. A process that was paused, between a look at the lease and what it does
/// next, can be late all the same: let what it writes to refuse an old [`token`](Self::token).
#[derive(Clone)]
pub struct Lease {
    term: Arc<Term>,
}

/// What all clones of a lease share.
struct Term {
    lock: LockId<'static>,
    trace: WeakTrace,
    state: Mutex<State>,
    #[cfg(feature = "async")]
    changed: tokio::sync::Notify,
}

struct State {
    clock: Clock,
    token: Option<Result<FencingToken, &'static str>>,
    given_up: Option<GivenUp>,
    /// Whether it was held until it was given up.
    given_up_in_time: bool,
}

/// Why a lease was given up, the weaker reason first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum GivenUp {
    Resigned,
    ShutDown,
    /// The work is over: it has returned, panicked, or was dropped.
    Over,
}

/// Work under a lease. Whoever has a clone, and outlives the work, learns that it is over.
#[derive(Debug)]
pub(crate) struct Over(Lease);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.give_up(GivenUp::Over);
    }
}

impl Lease {
    /// A lease that does not count before the first question was answered.
    fn new(lock: LockId<'static>, ttl: TimeToLive, trace: &Trace) -> Self {
        Self {
            term: Arc::new(Term {
                lock,
                trace: trace.weak(),
                state: Mutex::new(State {
                    clock: Clock::new(ttl),
                    token: None,
                    given_up: None,
                    given_up_in_time: false,
                }),
                #[cfg(feature = "async")]
                changed: tokio::sync::Notify::new(),
            }),
        }
    }

    pub(crate) fn of(request: &Request<'static>, ttl: TimeToLive, trace: &Trace) -> Self {
        let first = request.ids.first().cloned();
        // A request without any lock is refused before anything is said of it.
        Self::new(first.unwrap_or_else(|| LockId::from("")), ttl, trace)
    }

    /// Returns whether the lease is held. Asks nobody, and costs nothing.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # let url = diesel_advisory_sandbox::database_url();
    /// # use diesel::prelude::*;
    /// use std::time::Duration;
    /// use diesel_advisory::{Error, IntoAdvisorySession};
    ///
    /// let conn = Box::new(PgConnection::establish(&url)?);
    /// conn.into_advisory_session("scheduler").lease(Duration::from_secs(10)).run(|lease| {
    ///     let mut steps = 0;
    ///     while lease.is_held() && steps < 3 {
    ///         steps += 1; // One step of the work, much shorter than the time to live.
    ///     }
    ///     Ok::<_, Error>(steps)
    /// })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.remaining().is_some()
    }

    /// Returns an error unless the lease is held. Asks nobody, and costs nothing.
    ///
    /// # Errors
    ///
    /// - [`Error::Lost`] if the lease was lost.
    /// - [`Error::ShutDown`] if it was given up: its leader is shutting down,
    ///   [`resign`](Self::resign) was called, or the work is over.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # let url = diesel_advisory_sandbox::database_url();
    /// # use diesel::prelude::*;
    /// use std::time::Duration;
    /// use diesel_advisory::{Error, IntoAdvisorySession};
    ///
    /// let conn = Box::new(PgConnection::establish(&url)?);
    /// conn.into_advisory_session("scheduler").lease(Duration::from_secs(10)).run(|lease| {
    ///     for _step in 0..3 {
    ///         lease.check()?;
    ///     }
    ///     Ok::<_, Error>(())
    /// })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn check(&self) -> Result<(), Error> {
        let mut state = self.state();
        let lost = state.clock.check(Moment::now());
        match (state.given_up, lost) {
            (None, Ok(())) => Ok(()),
            (None, Err(how)) => Err(self.lost_error(how)),
            (Some(_), Err(how)) if !state.given_up_in_time => Err(self.lost_error(how)),
            (Some(_), _) => Err(Error::ShutDown),
        }
    }

    /// Returns how long the lease is still held if the server answers no further question, or `None` if it
    /// is not held. Asks nobody, and costs nothing.
    ///
    /// It is at most nine tenths of the time to live, so that the work stops before another can begin. To
    /// start a step of known length, compare it with this.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # let url = diesel_advisory_sandbox::database_url();
    /// # use diesel::prelude::*;
    /// use std::time::Duration;
    /// use diesel_advisory::{Error, IntoAdvisorySession};
    ///
    /// let conn = Box::new(PgConnection::establish(&url)?);
    /// conn.into_advisory_session("scheduler").lease(Duration::from_secs(10)).run(|lease| {
    ///     assert!(lease.remaining() <= Some(Duration::from_secs(9)));
    ///     Ok::<_, Error>(())
    /// })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let mut state = self.state();
        let remaining = state.clock.remaining(Moment::now());
        remaining.filter(|_| state.given_up.is_none())
    }

    /// Returns the fencing token of this term: larger than each one before under the same exclusive lock.
    ///
    /// It is given whether or not the lease is still held: a resource that knows a newer one refuses it. See
    /// [`FencingToken`].
    ///
    /// # Errors
    ///
    /// [`Error::NoToken`] if the server cannot give one, and why. The lease works without it.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # let url = diesel_advisory_sandbox::database_url();
    /// # use diesel::prelude::*;
    /// use std::time::Duration;
    /// use diesel_advisory::{Error, IntoAdvisorySession};
    ///
    /// let conn = Box::new(PgConnection::establish(&url)?);
    /// let token = conn
    ///     .into_advisory_session("scheduler")
    ///     .lease(Duration::from_secs(10))
    ///     .run(|lease| lease.token())?;
    /// assert_eq!(token.to_string().len(), 32);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn token(&self) -> Result<FencingToken, Error> {
        let token = self.state().token;
        token
            .unwrap_or(Err("the lease has not begun"))
            .map_err(Error::NoToken)
    }

    /// Gives the lease up: [`is_held`](Self::is_held) turns false for every clone.
    ///
    /// An async `run` drops the work at once; a blocking one waits until the closure has returned. Then the
    /// lock is released. A leader campaigns again.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # let url = diesel_advisory_sandbox::database_url();
    /// # use diesel::prelude::*;
    /// use std::time::Duration;
    /// use diesel_advisory::{Error, IntoAdvisorySession};
    ///
    /// let conn = Box::new(PgConnection::establish(&url)?);
    /// let lease = conn.into_advisory_session("scheduler").lease(Duration::from_secs(10));
    /// let ran = lease.run(|lease| {
    ///     lease.resign();
    ///     lease.check()
    /// });
    /// assert!(matches!(ran, Err(Error::ShutDown)));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn resign(&self) {
        self.give_up(GivenUp::Resigned);
    }

    /// Resolves when the lease is not held any more: it was lost, or given up.
    ///
    /// It tells at the time at which [`is_held`](Self::is_held) turns false, also while the thread that asks
    /// the questions hangs. It needs a Tokio runtime with its time driver.
    ///
    /// # Cancel safety
    ///
    /// The future can be dropped at any point, and called for again.
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
    /// let lease = conn.into_advisory_session("scheduler").lease(Duration::from_secs(10));
    /// lease.run(async |lease| {
    ///     // A task is not dropped with the work, so it looks by itself.
    ///     let task = tokio::spawn(async move {
    ///         tokio::select! {
    ///             () = lease.lost() => "stopped",
    ///             () = tokio::task::yield_now() => "done",
    ///         }
    ///     });
    ///     assert_eq!(task.await.unwrap(), "done");
    ///     Ok::<_, Error>(())
    /// })
    /// .await?;
    /// # });
    /// ```
    #[cfg(feature = "async")]
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let lease = self.clone();
        async move {
            loop {
                let mut changed = std::pin::pin!(lease.term.changed.notified());
                // What changes from here on wakes it.
                changed.as_mut().enable();
                let Some(remaining) = lease.remaining() else {
                    return;
                };
                let _ = tokio::time::timeout(remaining, changed).await;
            }
        }
    }

    /// It turns false for every clone.
    pub(crate) fn give_up(&self, why: GivenUp) {
        let mut state = self.state();
        let is_held = state.clock.check(Moment::now()).is_ok();
        if state.given_up.is_none() {
            state.given_up_in_time = is_held;
        }
        state.given_up = match (state.given_up, why) {
            // What was told while it worked says what follows.
            (Some(before), GivenUp::Over) => Some(before),
            (Some(GivenUp::Over), _) => Some(GivenUp::Over),
            // A leader that shuts down does not begin again, whatever the work has said before.
            (before, why) => before.max(Some(why)),
        };
        drop(state);
        self.wake();
    }

    /// Ends the lease for every clone when this is dropped: before the lock is released.
    pub(crate) fn over_when_dropped(&self) -> Over {
        Over(self.clone())
    }

    pub(crate) fn given_up(&self) -> Option<GivenUp> {
        self.state().given_up
    }

    /// How it was lost, if it was.
    pub(crate) fn how_lost(&self) -> Option<HowLost> {
        self.state().clock.check(Moment::now()).err()
    }

    pub(crate) fn lost_error(&self, how: HowLost) -> Error {
        let error = Error::Lost(Lost::new(self.term.lock.clone(), how));
        self.trace().failed(&error);
        error
    }

    /// What a work that says that it is done has to be told.
    pub(crate) fn check_not_lost(&self) -> Result<(), Error> {
        self.how_lost()
            .map_or(Ok(()), |how| Err(self.lost_error(how)))
    }

    /// The span of the lock, until it is released.
    pub(crate) fn trace(&self) -> &WeakTrace {
        &self.term.trace
    }

    pub(crate) fn set_token(&self, token: Result<FencingToken, &'static str>) {
        self.state().token = Some(token);
    }

    pub(crate) fn asked(&self) {
        self.state().clock.asked(Moment::now());
    }

    pub(crate) fn answered(&self) {
        self.state().clock.answered(Moment::now());
    }

    pub(crate) fn found(&self, how: HowLost) {
        self.state().clock.found(how);
        self.wake();
    }

    /// How long to wait before the next question.
    pub(crate) fn ask_in(&self) -> Duration {
        self.state().clock.ask_in(Moment::now())
    }

    #[cfg_attr(
        not(feature = "async"),
        expect(clippy::unused_self, reason = "only futures wait for it")
    )]
    fn wake(&self) {
        #[cfg(feature = "async")]
        self.term.changed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.term
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("lock", &self.term.lock)
            .field("remaining", &self.remaining())
            .finish_non_exhaustive()
    }
}
