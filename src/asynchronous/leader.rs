//! Leading again and again, asynchronously.

use std::future::{Future, poll_fn};
use std::ops::DerefMut;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::func::AsyncFunc;
use super::link::AsyncPgTransactions;
use super::term::{Ended, Term};
use crate::error::Error;
use crate::error::lost::HowLost;
use crate::lease::clock::Moment;
use crate::lease::handle::{GivenUp, Lease};
use crate::lease::leader::{Campaign, Change, Next, OnChange, Plan, after, is_final};
use crate::lease::options::leader_options;
use crate::trace::{Scope, Trace};

/// Runs work in one process at a time, for as long as it takes: a candidate that leads whenever it gets the lock.
///
/// It [leases](crate::AsyncAdvisoryLease) the lock, does the work, and campaigns again when the lease is lost, when
/// the server is away, or when the work [resigns](Lease::resign). Candidates do not wait in the server: they ask, and
/// ask again.
///
/// [`Leader`](crate::Leader) is the same for blocking connections. See [the
/// guide](crate::guide::leases#leaders) for what happens when.
#[must_use = "nothing happens until `run` is called"]
pub struct AsyncLeader<'a> {
    plan: Plan<'a>,
    on_change: OnChange<'a>,
}

leader_options!(AsyncLeader);

impl AsyncLeader<'_> {
    /// Leads, again and again, until the work is done or `shutdown` resolves.
    ///
    /// 1. `connect` makes a connection, which the leader keeps for the lock. If it fails, it is called again, with
    ///    growing pauses, for as long as it takes.
    /// 2. The lock is asked for in every [`retry`](Self::retry), until it is free.
    /// 3. The work runs. If it returns, the lock is released, and `run` returns what it has returned.
    /// 4. If the lease is lost, the work is dropped, and all begins anew. The same if it
    ///    [resigns](Lease::resign), after a pause in which others can get the lock.
    ///
    /// When `shutdown` resolves, every [`Lease`] of the term is not held any more ([`Error::ShutDown`]), the
    /// work is dropped, and the lock is released, so that the next one leads within its `retry`. `run` returns
    /// `None`.
    ///
    /// `connect` and the work are cloned for each term.
    ///
    /// # Errors
    ///
    /// What the work returns, and [`Error::EmptyName`]. All other errors are a [`Change::Failed`], and it tries
    /// again.
    ///
    /// # Panics
    ///
    /// If the work panics, the session ends, and the lock is released.
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
    /// use diesel_advisory::{AsyncLeader, Error};
    /// use diesel_async::{AsyncConnection, AsyncPgConnection};
    ///
    /// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    /// let leader = AsyncLeader::new("scheduler")
    ///     .time_to_live(Duration::from_secs(1))
    ///     .identity("web-3")
    ///     .on_change(|change| println!("{change}"))
    ///     .run(
    ///         async move || AsyncPgConnection::establish(&url).await.map(Box::new),
    ///         stopped,
    ///         async move |lease| {
    ///             let token = lease.token()?;
    ///             println!("all that is written has {token}");
    ///             Ok::<_, Error>("done")
    ///         },
    ///     );
    /// let outcome = tokio::spawn(leader).await??;
    /// assert_eq!(outcome, Some("done"));
    /// # drop(stop);
    /// # });
    /// ```
    pub fn run<C, D, T, E, X, K, Connecting, S, F>(
        self,
        connect: K,
        shutdown: S,
        work: F,
    ) -> impl Future<Output = Result<Option<T>, E>> + Send
    where
        C: AsyncPgTransactions,
        D: DerefMut<Target = C> + Send,
        K: FnOnce() -> Connecting + Clone + Send,
        Connecting: Future<Output = Result<D, X>> + Send,
        X: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
        S: Future + Send,
        F: AsyncFunc<Lease, Result<T, E>, Fut: Send> + Clone + Send,
        T: Send,
        E: From<Error> + Send,
    {
        async move {
            let Self { plan, on_change } = self;
            let mut shutdown = pin!(shutdown);
            let mut campaign = Campaign::begin(plan.retry, on_change);
            loop {
                let connecting = connect.clone()();
                let pause = match unless(shutdown.as_mut(), connecting).await {
                    None => return Ok(None),
                    Some(Err(error)) => campaign.failed(&*error.into()),
                    Some(Ok(mut conn)) => {
                        let led = {
                            let trace = Trace::begin(&plan.request(), Scope::Lease);
                            let (shutdown, work) = (shutdown.as_mut(), work.clone());
                            let leading =
                                lead(&plan, &mut campaign, &mut *conn, shutdown, work, &trace);
                            trace.around(leading).await
                        };
                        // Back to its pool, before anything is paused for.
                        drop(conn);
                        match led? {
                            Next::Return(returned) => return returned.map(Some),
                            Next::ShutDown => return Ok(None),
                            Next::Again(pause) => pause,
                        }
                    }
                };
                if unless(shutdown.as_mut(), sleep(pause)).await.is_none() {
                    return Ok(None);
                }
            }
        }
    }
}

/// Campaigns on one connection, and leads for at most one term. If all begins anew, it is after a pause.
async fn lead<C, R, S, F>(
    plan: &Plan<'_>,
    campaign: &mut Campaign<'_>,
    conn: &mut C,
    mut shutdown: Pin<&mut S>,
    work: F,
    trace: &Trace,
) -> Result<Next<R, Duration>, Error>
where
    C: AsyncPgTransactions,
    S: Future,
    F: AsyncFunc<Lease, R>,
{
    let ttl = plan.ttl;
    let mut answered = None;
    loop {
        let request = plan.request();
        let lease = Lease::of(&request, ttl, trace);
        let taking = Term::take(&mut *conn, request, ttl, Some(plan.name()), true);
        let taken = match unless(shutdown.as_mut(), timeout(ttl.get(), taking)).await {
            None => return Ok(Next::ShutDown),
            Some(Err(_)) => Err(lease.lost_error(HowLost::Time)),
            Some(Ok(taken)) => taken,
        };
        let pause = match taken {
            Err(Error::Unavailable(unavailable)) => {
                answered = answered.or(Some(Moment::now()));
                trace.refused(&unavailable);
                campaign.follows(unavailable.holders.first())
            }
            Err(error) => {
                trace.failed(&error);
                if is_final(&error) {
                    return Err(error);
                }
                return Ok(Next::Again(campaign.failed(&error)));
            }
            Ok(None) => campaign.follows(None),
            Ok(Some(term)) => {
                let answered = answered.unwrap_or_else(Moment::now);
                let delay = plan.lock_delay.then_some(answered);
                let begun = unless(shutdown.as_mut(), term.begin(&lease, delay)).await;
                return Ok(match begun {
                    None => Next::ShutDown,
                    Some(Err(error)) => {
                        trace.failed(&error);
                        Next::Again(campaign.failed(&error))
                    }
                    Some(Ok(term)) => {
                        trace.taken();
                        campaign.leads(&lease);
                        campaign.after(serve(term, &lease, shutdown, work).await)
                    }
                });
            }
        };
        if unless(shutdown.as_mut(), sleep(pause)).await.is_none() {
            return Ok(Next::ShutDown);
        }
    }
}

/// Does the work of one term, and releases the lock.
async fn serve<C, R, S, F>(
    mut term: Term<'_, C>,
    lease: &Lease,
    mut shutdown: Pin<&mut S>,
    work: F,
) -> Next<R, Change<'static>>
where
    C: AsyncPgTransactions,
    S: Future,
    F: AsyncFunc<Lease, R>,
{
    let (ended, in_time) = {
        let mut working = pin!(term.work(lease, work));
        poll_fn(|context| {
            if let Poll::Ready(ended) = working.as_mut().poll(context) {
                return Poll::Ready(ended);
            }
            if shutdown.as_mut().poll(context).is_ready() {
                // Told before the work is dropped.
                lease.give_up(GivenUp::ShutDown);
                return Poll::Ready((Ended::Dropped, lease.check_not_lost()));
            }
            Poll::Pending
        })
        .await
    };
    // If that fails, the session is ended, or the server ends it.
    let _ = term.finish(lease).await;
    match ended {
        Ended::Returned(returned) => after(lease, &in_time, Some(returned)),
        Ended::Dropped => after(lease, &in_time, None),
    }
}

/// Waits for the future, or gives `None` if the other one is ready first.
async fn unless<S: Future, T>(
    mut other: Pin<&mut S>,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| {
        if other.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        future.as_mut().poll(context).map(Some)
    })
    .await
}
