//! Work that starts at most once in a while.

use diesel::result::Error as DieselError;

use super::attempt::{Attempt, LastRun};
use super::link::Link;
use super::runs::Job;
use super::session;
use super::transaction::{OpenWork, commit_with, open, roll_back};
use super::{check_names, close_work};
use crate::error::Error;
use crate::error::not_due::NotDue;
use crate::lock::interval::{Interval, name_of_runs, refused_modes};
use crate::lock::modes::TransactionModes;
use crate::lock::request::Request;
use crate::sql::answer::Taking;
use crate::sql::release::HeldLocks;
use crate::sql::runs::{
    BEGIN_CHANGE, BEGIN_CLAIM, ClaimRow, Claimed, CountRow, GRANTS, GrantsRow, StampRow, claim,
    claim_for_session, forget, is_above_read_committed,
};

/// # Errors
///
/// [`Error::EmptyName`], [`Error::EmptySet`] and [`Error::Unsupported`].
fn job(request: &Request<'_>, interval: Interval) -> Result<Job, Error> {
    check_names(request)?;
    let name = name_of_runs(request)
        .map_err(Error::Unsupported)?
        .to_owned();
    Ok(Job { name, interval })
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
        .map(|interval| job(&request, interval))
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
    let stamps = link.rows::<StampRow>(claim(&job.name, job.interval)).await;
    match stamps.map(|stamps| stamps.into_iter().next()) {
        Ok(Some(stamp)) => Ok(Attempt::Granted(DueWork {
            open,
            claimed: Some(stamp.claimed(&job.name)),
        })),
        Ok(None) => {
            roll_back(link, open).await;
            Ok(Attempt::NotDue(LastRun::Of(job)))
        }
        Err(error) => {
            roll_back(link, open).await;
            Err(explained(link, error.into(), |grants| grants.may_claim).await)
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
    let job = job(&request, interval)?;
    let held = match session::acquire(link, request).await? {
        Attempt::Granted(held) => held,
        Attempt::Missing(missing) => return Ok(Attempt::Missing(missing)),
        Attempt::NotDue(not_due) => return Ok(Attempt::NotDue(not_due)),
    };
    match claim_and_commit(link, &job, retry_failed).await {
        Ok(Ok(claimed)) => Ok(Attempt::Granted((held, claimed))),
        Ok(Err(not_due)) => {
            session::release(link, &held).await?;
            Ok(Attempt::NotDue(LastRun::Known(not_due)))
        }
        Err(error) => {
            let _ = session::release(link, &held).await;
            Err(explained(link, error, |grants| grants.may_claim).await)
        }
    }
}

async fn claim_and_commit<L: Link>(
    link: &mut L,
    Job { name, interval }: &Job,
    retry_failed: bool,
) -> Result<Result<Claimed, NotDue>, Error> {
    link.begin(BEGIN_CLAIM).await?;
    let rows = link
        .rows::<ClaimRow>(claim_for_session(name, *interval))
        .await;
    let claimed = match rows.map(|rows| rows.into_iter().next()) {
        Ok(Some(row)) if retry_failed && !row.may_delete => Err(Error::NoGrants),
        Ok(Some(row)) => Ok(row.claimed(name, *interval)),
        Ok(None) => Err(DieselError::NotFound.into()),
        Err(error) => Err(error.into()),
    };
    if matches!(claimed, Ok(Ok(_))) {
        link.commit().await?;
    } else {
        let _ = link.rollback().await;
    }
    claimed
}

/// Says that the run is done. If that fails, nobody is told: the work is.
///
/// # Errors
///
/// [`Error::TransactionLeftOpen`] if the work has left a transaction open that Diesel does not know of, which has
/// been rolled back.
pub(crate) async fn finish<L: Link>(link: &mut L, claimed: &Claimed) -> Result<(), Error> {
    if !matches!(link.transaction_depth(), Ok(None)) {
        // The release of the lock finds it.
        return Ok(());
    }
    match link.batch(&claimed.finish_alone()).await {
        Err(error) if Taking::of_error(&error) == Some(Taking::InTransaction) => {
            link.batch("ROLLBACK").await?;
            Err(Error::TransactionLeftOpen)
        }
        _ => Ok(()),
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
