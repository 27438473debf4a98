//! Locks for the transaction that is open.

use std::time::Instant;

use super::{Attempt, STEP, asks_with_query, lock_set, roll_back_to, wait_in_savepoint};
use crate::Error;
use crate::link::Link;
use crate::lock_set::Request;
use crate::sql::{self, Answer, SnapshotCheck};

/// Takes the locks inside the transaction that is open.
///
/// # Errors
///
/// [`Error::NotInTransaction`], or whatever the database fails with. Then the transaction has
/// failed, as after any other statement.
pub(crate) async fn acquire_in_transaction<'a, L: Link>(
    link: &mut L,
    request: Request<'a>,
) -> Result<Attempt<'a, ()>, Error> {
    let began = Instant::now();
    if link.transaction_depth()?.is_none() {
        return Err(Error::NotInTransaction);
    }
    let set = lock_set(link, request).await?;
    // Of several locks, those before the missing one would stay held.
    let answer = if asks_with_query::<L>(&set) && set.locks.len() == 1 {
        Answer::of_code(link.code(sql::try_locks(&set, SnapshotCheck::Off)).await?)
    } else {
        let answer = wait_in_savepoint(link, &set, "", STEP).await?;
        if answer != Answer::Granted {
            link.batch(&roll_back_to(STEP)).await?;
        }
        answer
    };
    Ok(Attempt::new(answer, began, set, ()))
}
