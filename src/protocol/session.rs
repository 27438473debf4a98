//! Locks for the session.

use std::time::Instant;

use super::{Attempt, ask, asks_with_query, lock_set, roll_back_to_depth};
use crate::Error;
use crate::link::Link;
use crate::lock_set::{HeldLocks, Request};
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
    let held = HeldLocks::from(&set);
    let answer = if asks_with_query::<L>(&set) {
        let code = link.code(sql::try_session_locks(&set)).await;
        code.map(Answer::of_code)
    } else {
        let wait = sql::wait_block(&set, Scope::Session, SnapshotCheck::Off);
        ask(link, &format!("{}{wait}", sql::comment(&set))).await
    };
    if answer.is_err() {
        check_after_failure(link, &held).await;
    }
    Ok(Attempt::new(answer?, began, set, held))
}

/// Makes sure that a failed statement has not taken the locks.
///
/// It can have been cancelled in the moment between taking them and being done. They are taken
/// together, so that as long as one of them is not held, none has been taken. Otherwise nobody can
/// tell, because the session may have held them before, and may not lose them now without being
/// told. So the session ends, and with it all that it holds.
async fn check_after_failure<L: Link>(link: &mut L, locks: &HeldLocks) {
    if let Ok(false) = is_held(link, locks).await {
        return;
    }
    // It answers with the end of the connection.
    let _ = link.batch(sql::END_SESSION).await;
    link.set_broken();
}

/// Releases the locks of the session, after rolling back a transaction that was left open.
///
/// # Errors
///
/// - [`Error::NotHeld`] if one of the locks was not held.
/// - [`Error::InTransaction`] if a transaction was open: committed later, it would have been
///   without the lock.
/// - [`Error::Database`] if the statement failed. Unless a second attempt did better, the
///   connection is marked as broken.
pub(crate) async fn release_for_session<L: Link>(
    link: &mut L,
    locks: &HeldLocks,
) -> Result<(), Error> {
    let was_open = roll_back_to_depth(link, None).await;
    let release = sql::release(locks);
    let answer = ask(link, &release).await;
    if let Ok(Answer::Granted) = answer {
        return if was_open {
            Err(Error::InTransaction)
        } else {
            Ok(())
        };
    }
    // There can be a transaction that Diesel does not know of, and it may have failed before.
    let rolled_back = link.batch("ROLLBACK").await.is_ok();
    match answer {
        Ok(Answer::Missing(_)) => Err(Error::NotHeld),
        Ok(_) => Err(Error::InTransaction),
        Err(error) => {
            if !rolled_back || ask(link, &release).await.is_err() {
                link.set_broken();
            }
            Err(error.into())
        }
    }
}

/// Whether this session holds all of the locks.
pub(crate) async fn is_held<L: Link>(link: &mut L, locks: &HeldLocks) -> Result<bool, Error> {
    let held = link.code(sql::held_by_this_session(locks)).await?;
    Ok(usize::try_from(held) == Ok(locks.keys.len()))
}
