//! One of several permits, for the session.

use std::time::Instant;

use diesel::QueryResult;

use super::attempt::Attempt;
use super::link::Link;
use super::look::count_held;
use super::{end_session, lock_set};
use crate::error::Error;
use crate::lock::permits::{MOST, Permits};
use crate::lock::request::{Mode, Request};
use crate::lock::set::LockSet;
use crate::lock::wait::Wait;
use crate::sql::answer::{Permit, Taking};
use crate::sql::marks::Mark;
use crate::sql::permits::{Own, take_free, wait, waited_for};
use crate::sql::release::HeldLocks;

/// Refuses a request whose permits nobody could have.
pub(super) fn check(request: &Request<'_>) -> Result<(), Error> {
    let Some(count) = request.permits else {
        return Ok(());
    };
    let refused = match count {
        0 => "`permits(0)` would let nobody have the lock: ask for at least one permit",
        _ if count > MOST => "a lock has at most 1,000 permits",
        _ if request.mode == Mode::Share => {
            "permits are held exclusively: remove `shared()` or `permits(…)`"
        }
        _ if request.ids.len() > 1 => "permits belong to one lock: remove `and(…)` or `permits(…)`",
        _ if request.ids.iter().any(|id| id.name().is_none()) => {
            "permits need the name of a lock: a number or a pair of numbers has none"
        }
        _ => return Ok(()),
    };
    Err(Error::Unsupported(refused))
}

/// Takes one of the permits of the lock.
///
/// A session that has one gets the same one again: locks nest.
///
/// # Errors
///
/// The same as [`session::acquire`](super::session::acquire).
pub(super) async fn acquire<'a, L: Link>(
    link: &mut L,
    request: Request<'a>,
    count: u32,
) -> Result<Attempt<'a, HeldLocks>, Error> {
    let began = Instant::now();
    let set = lock_set(link, request).await?;
    let name = set.locks.first().and_then(|lock| lock.id.name());
    let permits = Permits::of(name.unwrap_or_default(), count);
    let mark = Mark::new();
    let held = |keys| HeldLocks {
        keys,
        mode: Mode::Exclusive,
        mark,
    };
    match take(link, &set, &permits, mark, began).await {
        Ok(Permit::Granted(index)) if index < permits.keys.len() => {
            let held = held(vec![permits.keys[index]]);
            Ok(Attempt::Granted(held))
        }
        Ok(Permit::NotFree | Permit::Ended(Taking::TimedOut)) => {
            Ok(Attempt::without_permit(set, permits, began))
        }
        Ok(Permit::Ended(refusal)) => Attempt::new(refusal, began, set, held(Vec::new())),
        answer => {
            // It can have been cancelled in the moment between taking one and being done, and nobody can
            // tell whether the session has held that one before.
            let all = held(permits.keys);
            if !count_held(link, &all).await.is_ok_and(|held| held == 0) {
                end_session(link).await;
            }
            match answer {
                Err(error) => Err(error.into()),
                Ok(_) => Err(Error::SharedSession),
            }
        }
    }
}

async fn take<L: Link>(
    link: &mut L,
    set: &LockSet<'_>,
    permits: &Permits,
    mark: Mark,
    began: Instant,
) -> QueryResult<Permit> {
    let ask = take_free(set, permits, mark, Own::Ask);
    let mut answer = Permit::of_code(link.code(ask).await?);
    if answer == Permit::Nested {
        let again = take_free(set, permits, mark, Own::Again);
        answer = Permit::of_code(link.code(again).await?);
    }
    if answer != Permit::NotFree || set.wait == Wait::No {
        return Ok(answer);
    }
    let left = match set.wait {
        Wait::AtMost(millis) => {
            let gone = i32::try_from(began.elapsed().as_millis()).unwrap_or(i32::MAX);
            millis.saturating_sub(gone).max(1)
        }
        _ => 0,
    };
    match link.batch(&wait(set, permits, mark, left)).await {
        Ok(()) => link.code(waited_for(mark)).await.map(Permit::of_code),
        Err(error) => Taking::of_error(&error).map(Permit::Ended).ok_or(error),
    }
}
