//! Leading again and again.

use std::ops::DerefMut;
use std::time::Duration;

use super::keeper::{Keeper, Taken, Taking};
use super::link::PgTransactions;
use crate::error::Error;
use crate::lease::handle::{GivenUp, Lease};
use crate::lease::leader::{Campaign, Change, Next, OnChange, Plan, after, is_final};
use crate::lease::options::leader_options;
use crate::lease::shutdown::Shutdown;
use crate::trace::{Scope, Trace};

/// Runs work in one process at a time, for as long as it takes: a candidate that leads whenever it gets the lock.
///
/// It [leases](crate::AdvisoryLease) the lock, does the work, and campaigns again when the lease is lost, when the
/// server is away, or when the work [resigns](Lease::resign). Candidates do not wait in the server: they ask, and ask
/// again.
///
/// See [the guide](crate::guide::leases#leaders) for what happens when.
#[must_use = "nothing happens until `run` is called"]
pub struct Leader<'a> {
    plan: Plan<'a>,
    on_change: OnChange<'a>,
}

leader_options!(Leader);

impl Leader<'_> {
    /// Leads, again and again, until the work is done or it is shut down.
    ///
    /// 1. `connect` makes a connection, which the leader keeps for the lock. If it fails, it is called again, with
    ///    growing pauses, for as long as it takes.
    /// 2. The lock is asked for in every [`retry`](Self::retry), until it is free.
    /// 3. The work runs, in the thread of the caller. If it returns, the lock is released, and `run` returns what it
    ///    has returned.
    /// 4. If the lease was lost meanwhile, what the work has returned is dropped, and all begins anew. The same if
    ///    it [resigned](Lease::resign), after a pause in which others can get the lock.
    ///
    /// After [`shut_down`](Shutdown::shut_down), every [`Lease`] of the term is not held any more
    /// ([`Error::ShutDown`]). The lock is kept until the work has returned, so that nobody leads beside it, and is
    /// released then: the next one leads within its `retry`. `run` returns `None`.
    ///
    /// # Errors
    ///
    /// What the work returns, and [`Error::EmptyName`]. All other errors are a [`Change::Failed`], and it tries
    /// again.
    ///
    /// # Panics
    ///
    /// If the work panics, the lock is released while the panic goes on.
    ///
    /// # Example
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # let url = diesel_advisory_sandbox::database_url();
    /// use std::time::Duration;
    ///
    /// use diesel::prelude::*;
    /// use diesel_advisory::{Error, Leader, Shutdown};
    ///
    /// let shutdown = Shutdown::default();
    /// let outcome = Leader::new("scheduler")
    ///     .time_to_live(Duration::from_secs(1))
    ///     .identity("web-3")
    ///     .on_change(|change| println!("{change}"))
    ///     .run(
    ///         || PgConnection::establish(&url).map(Box::new),
    ///         &shutdown,
    ///         |lease| {
    ///             let token = lease.token()?;
    ///             println!("all that is written has {token}");
    ///             Ok::<_, Error>("done")
    ///         },
    ///     )?;
    /// assert_eq!(outcome, Some("done"));
    /// # Ok::<_, Error>(())
    /// ```
    pub fn run<D, X, T, E>(
        self,
        mut connect: impl FnMut() -> Result<D, X>,
        shutdown: &Shutdown,
        mut work: impl FnMut(Lease) -> Result<T, E>,
    ) -> Result<Option<T>, E>
    where
        D: DerefMut<Target: PgTransactions> + Send + 'static,
        X: Into<Box<dyn std::error::Error + Send + Sync>>,
        E: From<Error>,
    {
        let Self { plan, on_change } = self;
        let mut campaign = Campaign::begin(plan.retry, on_change);
        while !shutdown.is_shut_down() {
            let pause = match connect() {
                Err(error) => campaign.failed(&*error.into()),
                Ok(conn) => {
                    let taking = Taking {
                        ttl: plan.ttl,
                        or_error: true,
                        again: true,
                        delayed: plan.lock_delay,
                        name: Some(plan.name()),
                    };
                    let keeper = Keeper::spawn(conn, plan.request(), taking);
                    match lead(&plan, &mut campaign, &keeper, shutdown, &mut work)? {
                        Next::Return(returned) => return returned.map(Some),
                        Next::ShutDown => return Ok(None),
                        Next::Again(pause) => pause,
                    }
                }
            };
            if shutdown.pause(pause) {
                break;
            }
        }
        Ok(None)
    }
}

/// Campaigns on one connection, and leads for at most one term. If all begins anew, it is after a pause.
fn lead<R>(
    plan: &Plan<'_>,
    campaign: &mut Campaign<'_>,
    keeper: &Keeper,
    shutdown: &Shutdown,
    work: &mut impl FnMut(Lease) -> R,
) -> Result<Next<R, Duration>, Error> {
    let request = plan.request();
    let trace = Trace::begin(&request, Scope::Lease);
    loop {
        let lease = Lease::of(&request, plan.ttl, &trace);
        let stop = keeper.stop();
        let taken =
            trace.inside(|| shutdown.during(move || stop.stop(), || keeper.try_take(&lease)));
        let pause = match taken {
            Err(Error::Unavailable(unavailable)) => {
                trace.refused(&unavailable);
                campaign.follows(unavailable.holders.first())
            }
            Err(Error::ShutDown) => return Ok(Next::ShutDown),
            Err(error) => {
                trace.failed(&error);
                if is_final(&error) {
                    return Err(error);
                }
                return Ok(Next::Again(campaign.failed(&error)));
            }
            Ok(Taken::Unavailable) => campaign.follows(None),
            Ok(Taken::Held) => {
                trace.taken();
                campaign.leads(&lease);
                let served = trace.inside(|| serve(keeper, &lease, shutdown, work));
                return Ok(campaign.after(served));
            }
        };
        if shutdown.pause(pause) {
            return Ok(Next::ShutDown);
        }
    }
}

/// Does the work of one term, and releases the lock.
fn serve<R>(
    keeper: &Keeper,
    lease: &Lease,
    shutdown: &Shutdown,
    work: &mut impl FnMut(Lease) -> R,
) -> Next<R, Change<'static>> {
    let given_up = lease.clone();
    let worked = shutdown.during(
        move || given_up.give_up(GivenUp::ShutDown),
        || keeper.work(lease, work),
    );
    // If the release has failed, the session was ended, or the server ends it.
    let _ = worked.finished;
    after(lease, &worked.in_time, Some(worked.returned))
}
