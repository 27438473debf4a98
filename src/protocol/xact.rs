//! Locks for the transaction that is open.

use std::time::Instant;

use super::attempt::Attempt;
use super::link::Link;
use super::lock_set;
use super::verdict::{Undo, UnlessTold};
use crate::error::Error;
use crate::lock::request::Request;
use crate::lock::wait::Wait;
use crate::sql::answer::Taking;
use crate::sql::take::{Checks, take, try_take, try_take_or_fail};

/// Encloses what may have to be undone without harm to the transaction.
const STEP: &str = "diesel_advisory_step";

/// Takes the locks inside the transaction that is open.
///
/// # Errors
///
/// [`Error::NotInTransaction`], or whatever the database fails with. Then the transaction has
/// failed, as after any other statement.
pub(crate) async fn acquire<'a, L: Link>(
    link: &mut L,
    request: Request<'a>,
) -> Result<Attempt<'a, ()>, Error> {
    let began = Instant::now();
    if link.transaction_depth()?.is_none() {
        return Err(Error::NotInTransaction);
    }
    let set = lock_set(link, request).await?;
    let undo = format!("ROLLBACK TO SAVEPOINT {STEP}; ");
    let close = format!("RELEASE SAVEPOINT {STEP}");
    let answer = if set.wait == Wait::No && set.locks.len() == 1 {
        Taking::of_code(link.code(try_take(&set, Checks::Standby)).await?)
    } else {
        // Of several locks, those before the missing one would stay held.
        let take = match set.wait {
            Wait::No => try_take_or_fail(&set),
            _ => take(&set, Checks::Standby),
        };
        match link
            .batch(&format!("SAVEPOINT {STEP}; {take}; {close}"))
            .await
        {
            Ok(()) => Taking::Granted,
            Err(error) => {
                let undo = Undo {
                    checked: false,
                    roll_back: &undo,
                    close: &close,
                    unless_told: UnlessTold::Leave,
                };
                undo.after(link, &set, began, error).await?
            }
        }
    };
    Attempt::new(answer, began, set, ())
}
