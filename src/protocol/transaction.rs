//! A transaction, or a savepoint, around the work of a `run`.

use std::num::NonZeroU32;
use std::time::Instant;

use diesel::QueryResult;
use diesel::result::Error as DieselError;

use super::attempt::Attempt;
use super::link::{End, Link, roll_back_to};
use super::verdict::{Undo, UnlessTold};
use super::{close_work, lock_set};
use crate::error::Error;
use crate::lock::modes::{Isolation, TransactionModes};
use crate::lock::request::Request;
use crate::lock::set::LockSet;
use crate::lock::wait::Wait;
use crate::sql::answer::Taking;
use crate::sql::carry::{
    carried_code, carry_in, carry_out, drop_carried, try_carry_in, try_carry_out,
};
use crate::sql::guards::Checks;
use crate::sql::take::{begin_checked, late_timeout, push_take, take, try_take};

/// Encloses the attempt to lock inside of a savepoint that Diesel knows of.
///
/// Other than that one, it never outlives the attempt. So rolling back to it cannot hit an older
/// savepoint of the same name, where the transaction had failed before and neither of the two was set.
const ATTEMPT: &str = "diesel_advisory_attempt";

/// What was opened around the work of a `run`, and has to be closed after it.
#[derive(Debug, Clone, Copy)]
#[must_use = "a transaction that is not closed keeps its locks"]
pub(crate) struct OpenWork {
    /// How deep Diesel's transactions are inside of it.
    depth: Option<NonZeroU32>,
}

/// Opens a transaction, or a savepoint if a transaction is open, and takes the locks in it.
///
/// # Errors
///
/// If the database fails. Then nothing is held or open that was not before.
pub(crate) async fn open<'a, L: Link>(
    link: &mut L,
    request: Request<'a>,
    modes: TransactionModes,
) -> Result<Attempt<'a, OpenWork>, Error> {
    let began = Instant::now();
    let outer = link.transaction_depth()?;
    if outer.is_some() && !modes.is_default() {
        return Err(DieselError::AlreadyInTransaction.into());
    }
    if modes.may_wait_for_a_safe_snapshot() && is_bounded(request.wait) {
        return Err(Error::Unsupported(
            "a serializable, read only, deferrable transaction waits for a safe snapshot as long as \
             it takes: leave out `deferrable()`, or `timeout(…)` and `no_wait()`",
        ));
    }
    let set = lock_set(link, request).await?;
    let answer = match outer {
        None => begin(link, &set, modes, began).await?,
        Some(outer) => nest(link, &set, outer, began).await?,
    };
    let depth = link.transaction_depth()?;
    Attempt::new(answer, began, set, OpenWork { depth })
}

/// Whether the lock is to be had in a certain time, or not at all.
fn is_bounded(wait: Wait) -> bool {
    matches!(wait, Wait::No | Wait::AtMost(_))
}

/// Begins a transaction that holds the locks.
async fn begin<L: Link>(
    link: &mut L,
    set: &LockSet<'_>,
    modes: TransactionModes,
    began: Instant,
) -> QueryResult<Taking> {
    // A session can have another default than read committed, so what was not asked for is checked.
    let checks = match modes.isolation {
        Some(Isolation::RepeatableRead | Isolation::Serializable) => {
            return begin_isolated(link, set, modes, began).await;
        }
        Some(Isolation::ReadCommitted) => Checks::Standby,
        None => Checks::Snapshot,
    };
    let answer = if set.wait == Wait::No {
        link.begin(&modes.begin()).await?;
        let code = link.code(try_take(set, checks)).await;
        keep_if_granted(link, code).await?
    } else if modes.is_default() {
        let mut sql = String::with_capacity(512);
        sql.push_str(begin_checked(set));
        sql.push_str("; ");
        push_take(&mut sql, set, Checks::None);
        sql.push_str(late_timeout(set));
        begin_with(link, &sql, set, began, Begin::Checked).await?
    } else {
        let mut sql = modes.begin();
        sql.push_str("; ");
        push_take(&mut sql, set, checks);
        sql.push_str(late_timeout(set));
        begin_with(link, &sql, set, began, Begin::AsAsked).await?
    };
    match answer {
        Taking::SnapshotTooOld => begin_isolated(link, set, modes, began).await,
        answer => Ok(answer),
    }
}

/// Begins a transaction whose snapshot is not older than its locks.
///
/// Above read committed, the statement that waits for a lock would itself fix the snapshot of its
/// transaction, before the wait. So a first transaction waits, and leaves the locks to the next one
/// as session locks, all in one message: at its end no session lock is left, and a connection pooler in
/// transaction mode keeps to one session for the length of it. Whatever fails in between fails inside of a
/// transaction, so that the pooler sends what undoes it to the same session.
async fn begin_isolated<L: Link>(
    link: &mut L,
    set: &LockSet<'_>,
    modes: TransactionModes,
    began: Instant,
) -> QueryResult<Taking> {
    /// Begins the transaction that waits for the locks, and for nothing else.
    const WAIT: &str = "BEGIN NOT DEFERRABLE";

    // A session whose default is `DEFERRABLE` would wait for its snapshot without any limit.
    let begin = if is_bounded(set.wait) {
        modes.not_waiting().begin()
    } else {
        modes.begin()
    };
    if set.wait == Wait::No {
        // What the first transaction was told is asked for in the second.
        let (first, second) = (try_carry_out(set), try_carry_in(set));
        let sql = format!("{WAIT}; {first}; COMMIT; {begin}; {second}");
        match begin_with(link, &sql, set, began, Begin::Carrying).await? {
            Taking::Granted => {}
            refusal => return Ok(refusal),
        }
        let code = link.code(carried_code()).await;
        return keep_if_granted(link, code).await;
    }
    let (first, second) = (take(set, Checks::Standby), carry_in(set));
    let sql = format!(
        "{WAIT}; {first}; {}; COMMIT; {begin}; {second}",
        carry_out(set)
    );
    begin_with(link, &sql, set, began, Begin::Carrying).await
}

/// How a message begins a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// By [`begin_checked`].
    Checked,
    /// With the modes that the user asked for.
    AsAsked,
    /// After another one, which leaves its locks to it.
    Carrying,
}

/// Sends statements that begin a transaction and wait for locks.
///
/// If they fail, the server is left in a transaction that Diesel does not know of. It is rolled back.
async fn begin_with<L: Link>(
    link: &mut L,
    sql: &str,
    set: &LockSet<'_>,
    began: Instant,
    how: Begin,
) -> QueryResult<Taking> {
    let Err(error) = link.begin(sql).await else {
        return Ok(Taking::Granted);
    };
    let roll_back = match how {
        Begin::Checked | Begin::AsAsked => "ROLLBACK; ".to_owned(),
        Begin::Carrying => format!("ROLLBACK; {}; ", drop_carried(set)),
    };
    let undo = Undo {
        checked: how == Begin::Checked,
        roll_back: &roll_back,
        close: "",
        unless_told: UnlessTold::UndoOrEnd,
    };
    undo.after(link, set, began, error).await
}

/// Rolls back what has been begun, unless the locks were granted in it.
async fn keep_if_granted<L: Link>(link: &mut L, code: QueryResult<i32>) -> QueryResult<Taking> {
    let answer = code.map(Taking::of_code);
    if !matches!(answer, Ok(Taking::Granted)) {
        let undone = link.rollback().await;
        if answer.is_ok() {
            undone?;
        }
    }
    answer
}

/// Sets a savepoint, as Diesel does for a nested transaction, that holds the locks.
async fn nest<L: Link>(
    link: &mut L,
    set: &LockSet<'_>,
    outer: NonZeroU32,
    began: Instant,
) -> QueryResult<Taking> {
    let savepoint = format!("diesel_savepoint_{outer}");
    if set.wait == Wait::No {
        link.begin(&format!("SAVEPOINT {savepoint}")).await?;
        let code = link.code(try_take(set, Checks::Standby)).await;
        let answer = code.map(Taking::of_code);
        if !matches!(answer, Ok(Taking::Granted)) {
            let undo = roll_back_to(&savepoint);
            let undone = link.end(&undo, End::Rollback).await;
            if answer.is_ok() {
                undone?;
            }
        }
        return answer;
    }
    let take = take(set, Checks::Standby);
    let sql =
        format!("SAVEPOINT {savepoint}; SAVEPOINT {ATTEMPT}; {take}; RELEASE SAVEPOINT {ATTEMPT}");
    let Err(error) = link.begin(&sql).await else {
        return Ok(Taking::Granted);
    };
    let undo = Undo {
        checked: false,
        roll_back: &format!("ROLLBACK TO SAVEPOINT {ATTEMPT}; "),
        close: &format!("RELEASE SAVEPOINT {savepoint}"),
        unless_told: UnlessTold::Undo,
    };
    undo.after(link, set, began, error).await
}

/// Ends a transaction whose work is done, and commits it.
///
/// # Errors
///
/// If it cannot be committed, or the work has left a transaction of its own open. Then it has been
/// rolled back, or the session has been ended.
pub(crate) async fn commit<L: Link>(link: &mut L, open: OpenWork) -> Result<(), Error> {
    commit_with(link, open, None).await
}

/// The same, after a last statement in the transaction.
pub(super) async fn commit_with<L: Link>(
    link: &mut L,
    open: OpenWork,
    last: Option<&str>,
) -> Result<(), Error> {
    let commit = async {
        close_work(link, open.depth).await?;
        if let Some(sql) = last {
            link.batch(sql).await?;
        }
        Ok(commit_innermost(link, open).await?)
    };
    let committed = commit.await;
    if committed.is_err() {
        roll_back(link, open).await;
    }
    committed
}

async fn commit_innermost<L: Link>(link: &mut L, open: OpenWork) -> QueryResult<()> {
    let depth = link.transaction_depth()?;
    if depth != open.depth {
        // The work has ended more than it has begun.
        return Err(DieselError::NotInTransaction);
    }
    match open.outer() {
        None => link.commit().await,
        Some(outer) => {
            let release = format!("RELEASE SAVEPOINT diesel_savepoint_{outer}");
            link.end(&release, End::Commit).await
        }
    }
}

/// Ends a transaction whose work has failed, and rolls it back, with all that the work has left open
/// inside of it.
///
/// It reports nothing: the error of the work is what the caller wants to see. Where it fails, the
/// session has been ended, or Diesel's transaction manager knows, and a pool throws the connection away.
pub(crate) async fn roll_back<L: Link>(link: &mut L, open: OpenWork) {
    if let Err(Error::Database(_)) = close_work(link, open.depth).await {
        return;
    }
    if !matches!(link.transaction_depth(), Ok(depth) if depth == open.depth) {
        return;
    }
    let _ = match open.outer() {
        None => link.rollback().await,
        Some(outer) => {
            let undo = roll_back_to(&format!("diesel_savepoint_{outer}"));
            link.end(&undo, End::Rollback).await
        }
    };
}

impl OpenWork {
    /// How deep Diesel's transactions are around it.
    fn outer(self) -> Option<NonZeroU32> {
        self.depth
            .and_then(|depth| NonZeroU32::new(depth.get() - 1))
    }
}
