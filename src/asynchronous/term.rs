//! The connection of a lease, and the questions that are asked beside the work.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tokio::time::{sleep, timeout};

use super::func::AsyncFunc;
use super::link::{AsyncPgTransactions, Unfinished};
use crate::error::Error;
use crate::error::lost::HowLost;
use crate::lease::clock::{Moment, TimeToLive};
use crate::lease::handle::Lease;
use crate::lease::keeping::{ask, begin};
use crate::lock::request::Request;
use crate::protocol::lease::{acquire, finish};
use crate::sql::lease::{LeaseSettings, SessionName};
use crate::sql::release::HeldLocks;

/// A lock that is held for a lease. Dropped before it is over, it ends the session.
#[derive(Debug)]
pub(super) struct Term<'c, C: AsyncPgTransactions> {
    conn: Unfinished<'c, C>,
    locks: HeldLocks,
    settings: LeaseSettings,
    ttl: TimeToLive,
}

/// How the work under a lease ended.
#[derive(Debug)]
pub(super) enum Ended<R> {
    Returned(R),
    /// It was dropped: the lease was lost, or given up.
    Dropped,
}

impl<'c, C: AsyncPgTransactions> Term<'c, C> {
    /// Takes the lock, however long that waits for it. `None`: it is unavailable, unless that is an error.
    pub(super) async fn take(
        conn: &'c mut C,
        request: Request<'_>,
        ttl: TimeToLive,
        name: Option<SessionName>,
        or_error: bool,
    ) -> Result<Option<Self>, Error> {
        let settings = LeaseSettings::new(ttl.millis(), name);
        let mut conn = Unfinished::new(conn);
        let taken = async {
            let link = &mut conn.link();
            let attempt = acquire(link, request, &settings).await?;
            if or_error {
                attempt.or_unavailable(link).await.map(Some)
            } else {
                Ok(attempt.granted())
            }
        };
        let taken = taken.await;
        if let Ok(Some(locks)) = taken {
            return Ok(Some(Self {
                conn,
                locks,
                settings,
                ttl,
            }));
        }
        conn.done();
        taken.map(|_| None)
    }

    /// Begins the lease.
    ///
    /// With `answered`, not before a time to live has passed since then: another may believe to hold the lock
    /// for that long, whose session ended with the server's crash.
    pub(super) async fn begin(
        mut self,
        lease: &Lease,
        answered: Option<Moment>,
    ) -> Result<Self, Error> {
        let ttl = self.ttl.get();
        if let Some(answered) = answered {
            loop {
                let left = self.ttl.left(answered);
                if left.is_zero() {
                    break;
                }
                sleep(left.min(self.ttl.pause())).await;
                let link = &mut self.conn.link();
                let _ = timeout(ttl, ask(link, lease, &self.settings)).await;
                // Dropped, it ends the session.
                lease.check_not_lost()?;
            }
        }
        let link = &mut self.conn.link();
        match timeout(ttl, begin(link, lease, &self.settings)).await {
            Ok(Ok(())) => Ok(self),
            Ok(Err(error)) => {
                let _ = self.finish(lease).await;
                Err(error)
            }
            Err(_) => {
                lease.found(HowLost::Time);
                lease.check_not_lost().map(|()| self)
            }
        }
    }

    /// Does the work, and asks the questions meanwhile. It is dropped when the lease is lost or given up. Tells
    /// too whether the lease was held until then.
    pub(super) async fn work<R, F>(
        &mut self,
        lease: &Lease,
        work: F,
    ) -> (Ended<R>, Result<(), Error>)
    where
        F: AsyncFunc<Lease, R>,
    {
        let _over = lease.over_when_dropped();
        let ended = self.work_until_lost(lease, work).await;
        (ended, lease.check_not_lost())
    }

    async fn work_until_lost<R, F>(&mut self, lease: &Lease, work: F) -> Ended<R>
    where
        F: AsyncFunc<Lease, R>,
    {
        let mut work = pin!(work(lease.clone()));
        let mut keeping = pin!(self.keep(lease));
        // It tells of the time too while an answer is waited for.
        let mut lost = pin!(lease.lost());
        poll_fn(|context| {
            if let Poll::Ready(returned) = work.as_mut().poll(context) {
                return Poll::Ready(Ended::Returned(returned));
            }
            if keeping.as_mut().poll(context).is_ready() || lost.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ended::Dropped);
            }
            Poll::Pending
        })
        .await
    }

    /// Asks questions until the lease is lost.
    async fn keep(&mut self, lease: &Lease) {
        while lease.how_lost().is_none() {
            sleep(lease.ask_in()).await;
            ask(&mut self.conn.link(), lease, &self.settings).await;
        }
    }

    /// Releases the lock. A session that does not answer within the time to live is ended, and so is that of a
    /// lost lease: whatever it holds must not go on being held.
    pub(super) async fn finish(mut self, lease: &Lease) -> Result<(), Error> {
        lease.check_not_lost()?;
        let finished = async {
            let link = &mut self.conn.link();
            finish(link, &self.locks, &self.settings).await
        };
        let Ok(finished) = timeout(self.ttl.get(), finished).await else {
            lease.found(HowLost::Time);
            return lease.check_not_lost();
        };
        self.conn.done();
        finished
    }
}
