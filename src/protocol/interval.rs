//! Work that starts at most once in a while.

use diesel::result::Error as DieselError;

use super::attempt::Attempt;
use super::link::Link;
use super::session;
use super::transaction::{OpenWork, commit_with, open, roll_back};
use super::{check_names, close_work};
use crate::error::Error;
use crate::error::not_due::NotDue;
use crate::lock::interval::{Interval, name_of_runs, refused_modes};
use crate::lock::modes::TransactionModes;
use crate::lock::request::Request;
use crate::sql::release::HeldLocks;
use crate::sql::runs::{
    BEGIN_CHANGE, BEGIN_CLAIM, ClaimRow, Claimed, CountRow, GRANTS, GrantsRow, claim, forget,
    is_above_read_committed,
};

/// A job that starts at most once in a while.
#[derive(Debug)]
struct Job {
    name: String,
    interval: Interval,
}

impl Job {
    /// # Errors
    ///
    /// [`Error::EmptyName`], [`Error::EmptySet`] and [`Error::Unsupported`].
    fn new(request: &Request<'_>, interval: Interval) -> Result<Self, Error> {
        check_names(request)?;
        let name = name_of_runs(request)
            .map_err(Error::Unsupported)?
            .to_owned();
        Ok(Self { name, interval })
    }

    /// Claims a run in the transaction that is open. The second value tells whether a first run could be put
    /// back.
    async fn claim<L: Link>(&self, link: &mut L) -> Result<(Result<Claimed, NotDue>, bool), Error> {
        let rows = link
            .rows::<ClaimRow>(claim(&self.name, self.interval))
            .await?;
        let row = rows.into_iter().next().ok_or(DieselError::NotFound)?;
        let may_delete = row.may_delete;
        Ok((row.claimed(&self.name, self.interval), may_delete))
    }
}

/// What was opened around the work of a `run`, with the run that was claimed in it.
#[derive(Debug)]
#[must_use = "a transaction that is not closed keeps its locks"]
pub(crate) struct DueWork {
    open: OpenWork,
    claimed: Option<Claimed>,
}

/// Opens what [`open`] does and, where there is an interval, claims a run in it.
///
/// # Errors
///
/// Those of [`open`], [`Error::Unsupported`], [`Error::NoCatalog`] and [`Error::NoGrants`]. Then nothing is held
/// or open that was not before.
pub(crate) async fn open_due<'a, L: Link>(
    link: &mut L,
    request: Request<'a>,
    modes: TransactionModes,
    interval: Option<Interval>,
) -> Result<Attempt<'a, DueWork>, Error> {
    let job = interval
        .map(|interval| Job::new(&request, interval))
        .transpose()?;
    if job.is_some() {
        refuse(link, modes).await?;
    }
    let open = match open(link, request, modes).await? {
        Attempt::Granted(open) => open,
        Attempt::Missing(missing) => return Ok(Attempt::Missing(missing)),
        Attempt::NotDue(not_due) => return Ok(Attempt::NotDue(not_due)),
    };
    let Some(job) = job else {
        return Ok(Attempt::Granted(DueWork {
            open,
            claimed: None,
        }));
    };
    match job.claim(link).await {
        Ok((Ok(claimed), _)) => Ok(Attempt::Granted(DueWork {
            open,
            claimed: Some(claimed),
        })),
        Ok((Err(not_due), _)) => {
            roll_back(link, open).await;
            Ok(Attempt::NotDue(not_due))
        }
        Err(error) => {
            roll_back(link, open).await;
            Err(explained(link, error, |grants| grants.may_claim).await)
        }
    }
}

/// Refuses transactions that cannot keep a run.
async fn refuse<L: Link>(link: &mut L, modes: TransactionModes) -> Result<(), Error> {
    if let Some(why) = refused_modes(modes) {
        return Err(Error::Unsupported(why));
    }
    let is_nested = link.transaction_depth()?.is_some() && modes.is_default();
    if is_nested && link.look(is_above_read_committed()).await?.trim() != "0" {
        return Err(Error::Unsupported(
            "the transaction that is open is above read committed, so it may not see the last run: call \
             `advisory(…).at_most_every(…)` or `once()` outside of it",
        ));
    }
    Ok(())
}

/// Ends the transaction of work that is done, and commits it together with its run.
///
/// # Errors
///
/// Those of [`commit`](super::transaction::commit).
pub(crate) async fn commit_due<L: Link>(link: &mut L, work: DueWork) -> Result<(), Error> {
    let finish = work.claimed.as_ref().map(Claimed::finish);
    commit_with(link, work.open, finish.as_deref()).await
}

/// Ends the transaction of work that has failed. The run is undone with it.
pub(crate) async fn roll_back_due<L: Link>(link: &mut L, work: DueWork) {
    roll_back(link, work.open).await;
}

/// Takes the locks for the session, claims a run, and commits that.
///
/// # Errors
///
/// Those of [`session::acquire`], [`Error::Unsupported`], [`Error::NoCatalog`] and [`Error::NoGrants`]. Then
/// nothing is held.
pub(crate) async fn acquire_due<'a, L: Link>(
    link: &mut L,
    request: Request<'a>,
    interval: Interval,
    retry_failed: bool,
) -> Result<Attempt<'a, (HeldLocks, Claimed)>, Error> {
    let job = Job::new(&request, interval)?;
    let held = match session::acquire(link, request).await? {
        Attempt::Granted(held) => held,
        Attempt::Missing(missing) => return Ok(Attempt::Missing(missing)),
        Attempt::NotDue(not_due) => return Ok(Attempt::NotDue(not_due)),
    };
    match claim_for_session(link, &job, retry_failed).await {
        Ok(Ok(claimed)) => Ok(Attempt::Granted((held, claimed))),
        Ok(Err(not_due)) => {
            session::release(link, &held).await?;
            Ok(Attempt::NotDue(not_due))
        }
        Err(error) => {
            let _ = session::release(link, &held).await;
            Err(explained(link, error, |grants| grants.may_claim).await)
        }
    }
}

async fn claim_for_session<L: Link>(
    link: &mut L,
    job: &Job,
    retry_failed: bool,
) -> Result<Result<Claimed, NotDue>, Error> {
    link.begin(BEGIN_CLAIM).await?;
    let claimed = match job.claim(link).await {
        Ok((Ok(_), false)) if retry_failed => Err(Error::NoGrants),
        Ok((claimed, _)) => Ok(claimed),
        Err(error) => Err(error),
    };
    if matches!(claimed, Ok(Ok(_))) {
        link.commit().await?;
    } else {
        let _ = link.rollback().await;
    }
    claimed
}

/// Says that the run is done. If that fails, nobody is told: the work is.
pub(crate) async fn finish<L: Link>(link: &mut L, claimed: &Claimed) {
    // What the work has left open is for the release of the lock to report.
    if matches!(link.transaction_depth(), Ok(None)) {
        let _ = link.batch(&claimed.finish_alone()).await;
    }
}

/// Takes back a run whose work has failed, with all that the work has left open. If that fails, the run counts.
pub(crate) async fn put_back<L: Link>(link: &mut L, claimed: &Claimed) {
    if let Err(Error::Database(_)) = close_work(link, None).await {
        return;
    }
    let message = claimed.put_back_alone();
    if link.batch(&message).await.is_err() && link.batch("ROLLBACK").await.is_ok() {
        let _ = link.batch(&message).await;
    }
}

/// Deletes the runs that are older, and returns how many there were.
///
/// # Errors
///
/// [`Error::NoCatalog`], [`Error::NoGrants`], or [`Error::Database`].
pub(crate) async fn forget_runs<L: Link>(
    link: &mut L,
    older_than: Interval,
) -> Result<usize, Error> {
    if link.transaction_depth()?.is_some() {
        return Err(DieselError::AlreadyInTransaction.into());
    }
    link.begin(BEGIN_CHANGE).await?;
    match link.rows::<CountRow>(forget(older_than)).await {
        Ok(rows) => {
            link.commit().await?;
            let count = rows.first().map_or(0, |row| row.count);
            Ok(usize::try_from(count).unwrap_or(0))
        }
        Err(error) => {
            let _ = link.rollback().await;
            Err(explained(link, error.into(), |grants| grants.may_forget).await)
        }
    }
}

/// Looks whether the catalog or a right is why a statement has failed, which the error says in the server's
/// language only.
async fn explained<L: Link>(link: &mut L, error: Error, may: fn(&GrantsRow) -> bool) -> Error {
    if !matches!(error, Error::Database(_)) {
        return error;
    }
    match link.rows::<GrantsRow>(GRANTS.to_owned()).await {
        Ok(rows) if rows.is_empty() => Error::NoCatalog,
        Ok(rows) if !rows.iter().all(may) => Error::NoGrants,
        _ => error,
    }
}
