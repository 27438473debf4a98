//! Taking locks and ending what was opened for them, step by step.
//!
//! Blocking and asynchronous connections run the same code, over a [`Link`].

pub(crate) mod attempt;
pub(crate) mod interval;
pub(crate) mod lease;
pub(crate) mod link;
pub(crate) mod look;
mod permits;
mod runs;
pub(crate) mod session;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod token;
pub(crate) mod transaction;
mod verdict;
pub(crate) mod xact;

use std::num::NonZeroU32;

use self::link::Link;
use crate::error::Error;
use crate::lock::id::LockId;
use crate::lock::key::LockKey;
use crate::lock::request::Request;
use crate::lock::set::LockSet;
use crate::sql::look::{HashRow, server_hashes};
use crate::sql::release::END_SESSION;
use crate::trace::{Ending, session_ended};

/// Finds the keys of the locks, and their order.
///
/// # Errors
///
/// [`Error::EmptySet`] and [`Error::EmptyName`] before anything is sent, or [`Error::Database`] if the
/// server was asked for a hash.
async fn lock_set<'a, L: Link>(link: &mut L, request: Request<'a>) -> Result<LockSet<'a>, Error> {
    check_names(&request)?;
    let mut hashed = Vec::new();
    if let Some(sql) = server_hashes(&request.ids) {
        hashed = link.rows::<HashRow>(sql).await?;
    }
    Ok(LockSet::new(request, hashed.into_iter().map(LockKey::from)))
}

/// Refuses a request that names no lock.
fn check_names(request: &Request<'_>) -> Result<(), Error> {
    if request.ids.is_empty() {
        return Err(Error::EmptySet);
    }
    if request.ids.iter().any(LockId::is_empty_name) {
        return Err(Error::EmptyName);
    }
    permits::check(request)
}

/// Ends the session, and with it all that it holds, and marks the connection as broken.
///
/// The mark alone does not last.
pub(crate) async fn end_session<L: Link>(link: &mut L) {
    // It answers with the end of the connection.
    for _ in 0..2 {
        let _ = link.batch(END_SESSION).await;
    }
    link.set_broken();
    session_ended(Ending::Failed);
}

/// Makes sure that the work has left no transaction open that is deeper than it found.
///
/// # Errors
///
/// - [`Error::TransactionLeftOpen`] if it had, which has been rolled back.
/// - [`Error::Database`] if nobody can tell. Then the session has been ended.
async fn close_work<L: Link>(link: &mut L, depth: Option<NonZeroU32>) -> Result<(), Error> {
    if link.is_cut_off() {
        end_session(link).await;
        return Err(diesel::result::Error::BrokenTransactionManager.into());
    }
    let mut left_open = false;
    while link.transaction_depth()? > depth {
        left_open = true;
        link.rollback().await?;
    }
    if left_open {
        return Err(Error::TransactionLeftOpen);
    }
    Ok(())
}
