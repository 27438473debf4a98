//! Taking locks and ending what was opened for them, step by step.
//!
//! Blocking and asynchronous connections run the same code, over a [`Link`].

mod frame;
mod open_transaction;
mod session;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::time::Instant;

use diesel::QueryResult;

pub(crate) use self::frame::{Frame, commit_frame, open_frame, roll_back_frame};
pub(crate) use self::open_transaction::acquire_in_transaction;
pub(crate) use self::session::{acquire_for_session, is_held, release_for_session};
use crate::link::Link;
use crate::lock_set::{Lock, LockSet, Request};
use crate::sql::{self, Answer, Scope, SnapshotCheck};
use crate::unavailable::HolderRow;
use crate::wait::Wait;
use crate::{Error, Holder, LockId, LockKey, Unavailable};

/// Encloses what is done inside a transaction of the user's and may have to be undone.
const STEP: &str = "diesel_advisory_step";

/// How an attempt ended that the database did not fail.
#[derive(Debug)]
pub(crate) enum Attempt<'a, T> {
    Granted(T),
    /// Nothing is held or open that was not before.
    Missing(Missing<'a>),
}

/// A lock that was not to be had.
#[derive(Debug)]
pub(crate) struct Missing<'a> {
    lock: Lock<'a>,
    began: Instant,
}

impl<'a, T> Attempt<'a, T> {
    fn new(answer: Answer, began: Instant, mut set: LockSet<'a>, granted: T) -> Self {
        match answer {
            Answer::Granted => Self::Granted(granted),
            Answer::Missing(index) => Self::Missing(Missing {
                lock: set.locks.swap_remove(index),
                began,
            }),
            Answer::WrongTransaction => unreachable!("answered only to a snapshot check"),
        }
    }

    /// What was granted, or `None`.
    pub(crate) fn granted(self) -> Option<T> {
        match self {
            Self::Granted(granted) => Some(granted),
            Self::Missing(_) => None,
        }
    }

    /// What was granted, or [`Error::Unavailable`].
    pub(crate) async fn or_unavailable<L: Link>(self, link: &mut L) -> Result<T, Error> {
        match self {
            Self::Granted(granted) => Ok(granted),
            Self::Missing(Missing { lock, began }) => {
                let waited = began.elapsed();
                let holders = holders(link, lock.key).await.unwrap_or_default();
                Err(Error::Unavailable(Unavailable {
                    lock: lock.id.into_owned(),
                    waited,
                    holders: holders.into_iter().map(Holder::from).collect(),
                }))
            }
        }
    }
}

/// Whether anybody holds the lock.
pub(crate) async fn is_locked<L: Link>(link: &mut L, id: LockId<'_>) -> Result<bool, Error> {
    let set = lock_set(link, Request::new(id)).await?;
    Ok(link.code(sql::is_locked(set.locks[0].key)).await? == 1)
}

/// Finds the keys of the locks, and their order.
///
/// # Errors
///
/// [`Error::EmptyName`] before anything is sent, or [`Error::Database`] if the server was asked for
/// a hash.
async fn lock_set<'a, L: Link>(link: &mut L, request: Request<'a>) -> Result<LockSet<'a>, Error> {
    if request.ids.iter().any(LockId::is_empty_name) {
        return Err(Error::EmptyName);
    }
    let mut hashed = Vec::new();
    if let Some(sql) = sql::server_hashes(&request) {
        hashed = link.rows::<sql::HashRow>(sql).await?;
    }
    Ok(request.into_lock_set(hashed.into_iter().map(LockKey::from)))
}

/// Whether to ask for free locks with a query. It leaves no error in the server's log when one of
/// them is not free; a batch can only tell by an error.
fn asks_with_query<L: Link>(set: &LockSet<'_>) -> bool {
    set.wait == Wait::No && !L::PREPARES_QUERIES
}

/// Looks for the holders of a lock, without harm to the transaction that is open if it fails.
async fn holders<L: Link>(link: &mut L, key: LockKey) -> QueryResult<Vec<HolderRow>> {
    let in_transaction = link.transaction_depth()?.is_some();
    if in_transaction {
        link.batch(&format!("SAVEPOINT {STEP}")).await?;
    }
    let holders = link.rows(sql::holders(key)).await;
    if in_transaction {
        link.batch(&roll_back_to(STEP)).await?;
    }
    holders
}

/// Takes the locks in the open transaction, in one round trip, after the statements in `before`.
///
/// Unless they are granted, the savepoint is left to be rolled back to.
async fn wait_in_savepoint<L: Link>(
    link: &mut L,
    set: &LockSet<'_>,
    before: &str,
    savepoint: &str,
) -> QueryResult<Answer> {
    let sql = format!(
        "{}{before}SAVEPOINT {savepoint}; {}; RELEASE SAVEPOINT {savepoint}",
        sql::comment(set),
        sql::wait_block(set, Scope::Transaction, SnapshotCheck::Off)
    );
    ask(link, &sql).await
}

/// Sends statements that end with an [`Answer`].
async fn ask<L: Link>(link: &mut L, sql: &str) -> QueryResult<Answer> {
    match link.batch(sql).await {
        Ok(()) => Ok(Answer::Granted),
        Err(error) => Answer::of_error(error),
    }
}

fn roll_back_to(savepoint: &str) -> String {
    format!("ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}")
}

/// Rolls back what Diesel has open deeper than that, and tells whether there was anything.
async fn roll_back_to_depth<L: Link>(link: &mut L, depth: Option<NonZeroU32>) -> bool {
    let mut any = false;
    while matches!(link.transaction_depth(), Ok(present) if present > depth) {
        any = true;
        if link.rollback().await.is_err() {
            break;
        }
    }
    any
}
