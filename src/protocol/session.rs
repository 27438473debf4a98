//! Locks for the session.

use std::time::Instant;

use super::{Attempt, asks_with_query, lock_set, roll_back_to_depth};
use crate::Error;
use crate::link::Link;
use crate::lock_set::{HeldLocks, LockSet, Request};
use crate::sql::{self, Answer, Scope, SnapshotCheck};

/// Takes the locks for the session.
///
/// # Errors
///
/// [`Error::InTransaction`], or whatever the database fails with. Then nothing is held.
pub(crate) async fn acquire_for_session<'a, L: Link>(
    link: &mut L,
    request: Request<'a>,
) -> Result<Attempt<'a, HeldLocks>, Error> {
    let began = Instant::now();
    if link.transaction_depth()?.is_some() {
        return Err(Error::InTransaction);
    }
    let set = lock_set(link, request).await?;
    let answer = if asks_with_query::<L>(&set) {
        let code = link.code(sql::try_session_locks(&set)).await;
        code.map(Answer::of_code)
    } else {
        let wait = sql::wait_block(&set, Scope::Session, SnapshotCheck::Off);
        match link.batch(&format!("{}{wait}", sql::comment(&set))).await {
            Ok(()) => Ok(Answer::Granted),
            Err(error) => Answer::of_error(error),
        }
    };
    if answer.is_err() {
        release_after_failure(link, &set).await;
    }
    let held = HeldLocks::from(&set);
    Ok(Attempt::new(answer?, began, set, held))
}

/// Releases what a failed statement may have left: it can have been cancelled after the session
/// lock had been granted.
///
/// If the session had taken the same lock before, this cannot tell one from the other.
pub(super) async fn release_after_failure<L: Link>(link: &mut L, set: &LockSet<'_>) {
    if link.batch(&sql::release_held(set)).await.is_err() {
        link.set_broken();
    }
}

/// Releases the locks of the session, after rolling back a transaction that was left open.
///
/// # Errors
///
/// - [`Error::NotHeld`] if one of the locks was not held.
/// - [`Error::InTransaction`] if a transaction was open: committed later, it would have been
///   without the lock.
/// - [`Error::Database`] if the statement failed. Then the connection is marked as broken.
pub(crate) async fn release_for_session<L: Link>(
    link: &mut L,
    locks: &HeldLocks,
) -> Result<(), Error> {
    let in_transaction = roll_back_to_depth(link, None).await;
    let answer = if L::PREPARES_QUERIES {
        match link.batch(&sql::release_block(locks)).await {
            Ok(()) => Ok(Answer::Granted),
            Err(error) => Answer::of_error(error),
        }
    } else {
        link.code(sql::release(locks)).await.map(Answer::of_code)
    };
    match answer {
        Ok(Answer::Granted) if in_transaction => Err(Error::InTransaction),
        Ok(Answer::Granted) => Ok(()),
        Ok(Answer::Missing(_) | Answer::SnapshotTooOld) => Err(Error::NotHeld),
        Err(error) => {
            link.set_broken();
            Err(error.into())
        }
    }
}

/// Whether this session holds all of the locks.
pub(crate) async fn is_held<L: Link>(link: &mut L, locks: &HeldLocks) -> Result<bool, Error> {
    let held = link.code(sql::held_by_this_session(locks)).await?;
    Ok(usize::try_from(held) == Ok(locks.keys.len()))
}
