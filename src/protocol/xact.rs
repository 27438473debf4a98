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
use crate::sql::guards::Checks;
use crate::sql::take::{push_take, try_take, try_take_or_fail};

/// Begins what may have to be undone without harm to the transaction.
const BEGIN: &str = "SAVEPOINT diesel_advisory_step; ";
const UNDO: &str = "ROLLBACK TO SAVEPOINT diesel_advisory_step; ";
const END: &str = "RELEASE SAVEPOINT diesel_advisory_step";

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
    let answer = if set.wait == Wait::No && set.locks.len() == 1 {
        Taking::of_code(link.code(try_take(&set, Checks::Standby)).await?)
    } else {
        // Of several locks, those before the missing one would stay held.
        let mut sql = String::with_capacity(512);
        sql.push_str(BEGIN);
        match set.wait {
            Wait::No => sql.push_str(&try_take_or_fail(&set)),
            _ => push_take(&mut sql, &set, Checks::Standby),
        }
        sql.push_str("; ");
        sql.push_str(END);
        match link.batch(&sql).await {
            Ok(()) => Taking::Granted,
            Err(error) => {
                let undo = Undo {
                    checked: false,
                    roll_back: UNDO,
                    close: END,
                    unless_told: UnlessTold::Leave,
                };
                undo.after(link, &set, began, error).await?
            }
        }
    };
    Attempt::new(answer, began, set, ())
}
