//! How an attempt to take locks ended.

use std::time::Instant;

use diesel::QueryResult;

use super::link::{Link, roll_back_to};
use super::runs::Job;
use crate::error::Error;
use crate::error::not_due::NotDue;
use crate::error::unavailable::{Holder, Unavailable};
use crate::lock::permits::Permits;
use crate::lock::set::LockSet;
use crate::sql::answer::Taking;
use crate::sql::look::{FORGET_ACTIVITY, HolderRow, holders, permit_holders};
use crate::trace::Trace;

/// Encloses a look at the holders inside a transaction of the user's.
const LOOK: &str = "diesel_advisory_look";

/// How an attempt ended that the database did not fail.
#[derive(Debug)]
pub(crate) enum Attempt<'a, T> {
    Granted(T),
    /// Nothing is held or open that was not before.
    Missing(Missing<'a>),
    /// The same, because the work was run too recently.
    NotDue(LastRun),
}

/// Locks that could not all be acquired.
#[derive(Debug)]
pub(crate) struct Missing<'a> {
    set: LockSet<'a>,
    /// The first one missing, where the server told it.
    index: Option<usize>,
    /// Of the one lock that there is then.
    permits: Option<Permits>,
    began: Instant,
}

/// The last run of a job that is not due.
#[derive(Debug)]
pub(crate) enum LastRun {
    Known(NotDue),
    /// To be looked up by who wants to know.
    Of(Job),
}

impl<'a, T> Attempt<'a, T> {
    /// # Errors
    ///
    /// If the server refused to take them.
    pub(super) fn new(
        answer: Taking,
        began: Instant,
        set: LockSet<'a>,
        granted: T,
    ) -> Result<Self, Error> {
        let index = match answer {
            Taking::Granted => return Ok(Self::Granted(granted)),
            Taking::Missing(index) => Some(index),
            Taking::TimedOut => None,
            Taking::Standby => return Err(Error::Standby),
            Taking::InTransaction => return Err(Error::InTransaction),
            Taking::SharedSession => return Err(Error::SharedSession),
            Taking::SnapshotTooOld => unreachable!("the protocol begins anew"),
        };
        Ok(Self::Missing(Missing {
            set,
            index,
            permits: None,
            began,
        }))
    }

    /// No permit of a lock was free.
    pub(super) fn without_permit(set: LockSet<'a>, permits: Permits, began: Instant) -> Self {
        Self::Missing(Missing {
            set,
            index: Some(0),
            permits: Some(permits),
            began,
        })
    }

    /// What was granted, or `None`.
    pub(crate) fn granted(self) -> Option<T> {
        match self {
            Self::Granted(granted) => Some(granted),
            Self::Missing(_) | Self::NotDue(_) => None,
        }
    }

    /// What was granted, or `None`, which the span of the lock is told.
    pub(crate) fn told(attempt: Result<Self, Error>, trace: &Trace) -> Result<Option<T>, Error> {
        if let Ok(Self::NotDue(_)) = attempt {
            trace.not_due();
            return Ok(None);
        }
        trace.decided_if(attempt.map(Self::granted))
    }

    /// What was granted, or [`Error::Unavailable`] or [`Error::NotDue`].
    pub(crate) async fn or_unavailable<L: Link>(self, link: &mut L) -> Result<T, Error> {
        let Missing {
            set,
            index,
            permits,
            began,
        } = match self {
            Self::Granted(granted) => return Ok(granted),
            Self::Missing(missing) => missing,
            Self::NotDue(LastRun::Known(not_due)) => return Err(Error::NotDue(not_due)),
            Self::NotDue(LastRun::Of(job)) => return Err(Error::NotDue(job.not_due(link).await)),
        };
        let waited = began.elapsed();
        let sql = match &permits {
            None => holders(&set, index),
            Some(permits) => permit_holders(permits),
        };
        let mut rows = find_holders(link, sql).await.unwrap_or_default();
        let index = index.or(rows.first().map(HolderRow::index)).unwrap_or(0);
        let waiting = match &permits {
            None => {
                rows.retain(|row| row.index() == index);
                Vec::new()
            }
            Some(permits) => {
                let gate = rows.partition_point(|row| row.index() < permits.keys.len());
                rows.split_off(gate)
            }
        };

        let id = set.locks.into_iter().nth(index).map(|lock| lock.id);
        let mut unavailable = Unavailable::new(id.expect("the index is one of the set's"));
        unavailable.waited = waited;
        unavailable.holders = rows.into_iter().map(Holder::from).collect();
        unavailable.waiting = waiting.into_iter().map(Holder::from).collect();
        Err(Error::Unavailable(unavailable))
    }
}

/// Looks for the holders of locks, without harm to the transaction that is open if it fails.
async fn find_holders<L: Link>(link: &mut L, sql: String) -> QueryResult<Vec<HolderRow>> {
    if link.transaction_depth()?.is_none() {
        return link.rows(sql).await;
    }
    let begin = format!("SAVEPOINT {LOOK}; {FORGET_ACTIVITY}");
    link.batch(&begin).await?;
    let found = link.rows(sql).await;
    link.batch(&roll_back_to(LOOK)).await?;
    found
}
