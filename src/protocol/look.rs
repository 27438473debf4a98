//! Questions about locks, which take none.

use super::link::Link;
use crate::error::Error;
use crate::lock::id::LockId;
use crate::sql::look::{are_locked as locked, held_here};
use crate::sql::release::HeldLocks;

/// Whether any session holds each of the locks.
pub(crate) async fn are_locked<L: Link>(
    link: &mut L,
    ids: &[LockId<'_>],
) -> Result<Vec<bool>, Error> {
    if ids.iter().any(LockId::is_empty_name) {
        return Err(Error::EmptyName);
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let answer = link.look(locked(ids)).await?;
    Ok(answer.bytes().map(|digit| digit == b'1').collect())
}

/// How many of the locks this session holds.
pub(crate) async fn count_held<L: Link>(link: &mut L, locks: &HeldLocks) -> Result<usize, Error> {
    let answer = link.look(held_here(locks)).await?;
    Ok(answer.trim().parse().unwrap_or(0))
}

/// Whether this session holds all of the locks.
pub(crate) async fn is_held<L: Link>(link: &mut L, locks: &HeldLocks) -> Result<bool, Error> {
    Ok(count_held(link, locks).await? == locks.keys.len())
}
