//! Locks for the session.

use std::time::Instant;

use diesel::QueryResult;

use super::attempt::Attempt;
use super::link::Link;
use super::look::count_held;
use super::verdict::{Undo, UnlessTold};
use super::{close_work, end_session, lock_set, permits};
use crate::error::Error;
use crate::lock::request::Request;
use crate::lock::set::LockSet;
use crate::lock::wait::Wait;
use crate::sql::answer::{Releasing, Taking};
use crate::sql::carry::AT_ONCE;
use crate::sql::marks::{Mark, tell_others};
use crate::sql::release::{HeldLocks, release as release_sql, release_by_query};
use crate::sql::session::{take_for_session, take_if_free, try_take_for_session};

/// Takes the locks for the session.
///
/// # Errors
///
/// [`Error::InTransaction`], or whatever the database fails with. Then nothing is held.
pub(crate) async fn acquire<'a, L: Link>(
    link: &mut L,
    request: Request<'a>,
) -> Result<Attempt<'a, HeldLocks>, Error> {
    acquire_by(link, request, L::PREPARES).await
}

/// The same in a session that is there for this one lock, so that to prepare a query would not pay.
pub(super) async fn acquire_once<'a, L: Link>(
    link: &mut L,
    request: Request<'a>,
) -> Result<Attempt<'a, HeldLocks>, Error> {
    acquire_by(link, request, false).await
}

async fn acquire_by<'a, L: Link>(
    link: &mut L,
    request: Request<'a>,
    prepares: bool,
) -> Result<Attempt<'a, HeldLocks>, Error> {
    let began = Instant::now();
    if link.transaction_depth()?.is_some() {
        return Err(Error::InTransaction);
    }
    if let Some(count) = request.permits {
        return permits::acquire(link, request, count).await;
    }
    let set = lock_set(link, request).await?;
    let held = HeldLocks {
        keys: set.keys(),
        mode: set.mode,
        mark: Mark::new(),
    };
    let answer = match take(link, &set, held.mark, prepares).await {
        Err(error) if set.wait != Wait::No => {
            let undo = Undo {
                checked: false,
                roll_back: "",
                close: "",
                unless_told: UnlessTold::Leave,
            };
            undo.after(link, &set, began, error).await
        }
        answer => answer,
    };
    if answer.is_err() {
        check_after_failure(link, &held).await;
    }
    Attempt::new(answer?, began, set, held)
}

async fn take<L: Link>(
    link: &mut L,
    set: &LockSet<'_>,
    mark: Mark,
    prepares: bool,
) -> QueryResult<Taking> {
    if set.wait == Wait::No {
        let code = link.code(try_take_for_session(set, mark)).await;
        return code.map(Taking::of_code);
    }
    let query = if prepares {
        take_if_free(set, mark)
    } else {
        None
    };
    if let Some(query) = query {
        match link.code(query).await.map(Taking::of_code)? {
            // Only a message for which nothing is prepared can tell that for certain.
            Taking::InTransaction | Taking::Missing(_) => {}
            answer => return Ok(answer),
        }
    }
    link.batch(&take_for_session(set, mark)).await?;
    Ok(Taking::Granted)
}

/// Makes sure that a failed statement has not taken the locks.
///
/// It can have been cancelled in the moment between taking them and being done. Where they are taken
/// together, none has been taken as long as one of them is not held; of a larger set, as long as none is.
/// Otherwise nobody can tell, because the session may have held them before, and may not lose them now
/// without being told. So the session ends, and with it all that it holds.
async fn check_after_failure<L: Link>(link: &mut L, locks: &HeldLocks) {
    let all = locks.keys.len();
    let is_harmless = |held| held == 0 || (all <= AT_ONCE && held < all);
    if !count_held(link, locks).await.is_ok_and(is_harmless) {
        end_session(link).await;
    }
}

/// Releases the locks of the session, after rolling back a transaction that was left open.
///
/// # Errors
///
/// - [`Error::NotHeld`] if one of the locks was not held.
/// - [`Error::SharedSession`] if the session bears another client's mark, or none.
/// - [`Error::TransactionLeftOpen`] if a transaction was open: committed later, it would have been
///   without the lock.
/// - [`Error::Database`] if the statement failed. Unless a second attempt did better, the session has
///   been ended.
pub(crate) async fn release<L: Link>(link: &mut L, locks: &HeldLocks) -> Result<(), Error> {
    release_by(link, locks, L::PREPARES).await
}

/// The same after [`acquire_once`].
pub(super) async fn release_once<L: Link>(link: &mut L, locks: &HeldLocks) -> Result<(), Error> {
    release_by(link, locks, false).await
}

async fn release_by<L: Link>(link: &mut L, locks: &HeldLocks, prepares: bool) -> Result<(), Error> {
    let closed = match close_work(link, None).await {
        Err(Error::Database(error)) => {
            end_session(link).await;
            return Err(error.into());
        }
        closed => closed,
    };
    let answer = match try_release(link, locks, prepares).await {
        Ok(Releasing::Released) => return closed,
        // There is a transaction that Diesel does not know of, or one that has failed.
        Ok(Releasing::InTransaction) => Ok(Releasing::InTransaction),
        Err(error) => Err(error),
        Ok(answer) => return refused(link, locks, answer).await,
    };
    let released = match link.batch("ROLLBACK").await {
        Ok(()) => release_by_message(link, locks).await,
        Err(error) => Err(error),
    };
    match (answer, released) {
        (Ok(_), Ok(Releasing::Released)) => Err(Error::TransactionLeftOpen),
        (Err(error), Ok(Releasing::Released)) => Err(error.into()),
        // It had released them before it failed, and only the mark was left; or they were taken in the
        // transaction, whose rollback has taken the mark off.
        (Err(error), Ok(Releasing::NotHeld | Releasing::SharedSession)) => {
            link.batch(&locks.mark.forget()).await?;
            Err(error.into())
        }
        (Ok(Releasing::InTransaction), Ok(Releasing::SharedSession)) => {
            link.batch(&locks.mark.forget()).await?;
            Err(Error::TransactionLeftOpen)
        }
        (_, Ok(answer)) => refused(link, locks, answer).await,
        (first, Err(error)) => {
            end_session(link).await;
            Err(first.err().unwrap_or(error).into())
        }
    }
}

async fn try_release<L: Link>(
    link: &mut L,
    locks: &HeldLocks,
    prepares: bool,
) -> QueryResult<Releasing> {
    let query = if prepares {
        release_by_query(locks)
    } else {
        None
    };
    if let Some(query) = query {
        let releasing = link.code(query).await.map(Releasing::of_code)?;
        if releasing != Releasing::InTransaction {
            return Ok(releasing);
        }
    }
    release_by_message(link, locks).await
}

/// Releases the locks by statements for which nothing is prepared.
async fn release_by_message<L: Link>(link: &mut L, locks: &HeldLocks) -> QueryResult<Releasing> {
    match link.batch(&release_sql(locks)).await {
        Ok(()) => Ok(Releasing::Released),
        Err(error) => Releasing::of_error(&error).ok_or(error),
    }
}

/// Leaves the marks of the session as they have to be after a refused release.
async fn refused<L: Link>(link: &mut L, locks: &HeldLocks, answer: Releasing) -> Result<(), Error> {
    match answer {
        Releasing::Released => Ok(()),
        Releasing::InTransaction => Err(Error::TransactionLeftOpen),
        Releasing::NotHeld => {
            link.batch(&locks.mark.forget()).await?;
            Err(Error::NotHeld)
        }
        Releasing::SharedSession => {
            link.batch(&tell_others()).await?;
            Err(Error::SharedSession)
        }
    }
}
