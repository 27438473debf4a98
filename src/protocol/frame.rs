//! A transaction, or a savepoint, around the work of a `run`.

use std::num::NonZeroU32;
use std::time::Instant;

use diesel::QueryResult;
use diesel::result::Error as DieselError;

use super::{
    Attempt, asks_with_query, lock_set, roll_back_to, roll_back_to_depth, wait_in_savepoint,
};
use crate::Error;
use crate::link::Transact;
use crate::lock_set::{LockSet, Request};
use crate::sql::{self, Answer, Scope, SnapshotCheck};
use crate::transaction_modes::{Isolation, TransactionModes};

/// Encloses a `run` inside an open transaction.
const RUN: &str = "diesel_advisory_run";

/// Encloses the attempt to lock inside of [`RUN`].
///
/// Other than that one, it never outlives the attempt. So rolling back to it cannot hit an older
/// savepoint of the same name, where the transaction had failed before and neither of the two was
/// set.
const ATTEMPT: &str = "diesel_advisory_attempt";

/// What was opened around the work of a `run`, and has to be closed after it.
#[derive(Debug, Clone, Copy)]
#[must_use = "a transaction that is not closed keeps its locks"]
pub(crate) struct Frame {
    kind: FrameKind,
    /// How deep Diesel's transactions are inside of the frame.
    depth: Option<NonZeroU32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FrameKind {
    Transaction,
    Savepoint,
}

/// Opens a transaction, or a savepoint if a transaction is open, and takes the locks in it.
///
/// # Errors
///
/// If the database fails. Then nothing is held or open that was not before.
pub(crate) async fn open_frame<'a, L: Transact>(
    link: &mut L,
    request: Request<'a>,
    modes: TransactionModes,
) -> Result<Attempt<'a, Frame>, Error> {
    let began = Instant::now();
    let kind = match link.transaction_depth()? {
        None => FrameKind::Transaction,
        Some(_) if modes.is_default() => FrameKind::Savepoint,
        Some(_) => return Err(DieselError::AlreadyInTransaction.into()),
    };
    let set = lock_set(link, request).await?;
    let answer = match kind {
        FrameKind::Transaction => begin(link, &set, modes).await?,
        FrameKind::Savepoint => open_savepoint(link, &set).await?,
    };
    let depth = link.transaction_depth()?;
    Ok(Attempt::new(answer, began, set, Frame { kind, depth }))
}

/// Begins a transaction that holds the locks.
async fn begin<L: Transact>(
    link: &mut L,
    set: &LockSet<'_>,
    modes: TransactionModes,
) -> QueryResult<Answer> {
    // A session can have another default than read committed, so what was not asked for is checked.
    let check = match modes.isolation {
        Some(Isolation::RepeatableRead | Isolation::Serializable) => {
            return begin_isolated(link, set, modes).await;
        }
        Some(Isolation::ReadCommitted) => SnapshotCheck::Off,
        None => SnapshotCheck::On,
    };
    let answer = if asks_with_query::<L>(set) {
        begin_and_try(link, set, modes, check).await?
    } else {
        begin_and_wait(link, set, modes, check).await?
    };
    match answer {
        Answer::WrongTransaction => begin_isolated(link, set, modes).await,
        answer => Ok(answer),
    }
}

/// Three round trips with the `COMMIT`, but a lock that is not free leaves no error in the server's
/// log.
async fn begin_and_try<L: Transact>(
    link: &mut L,
    set: &LockSet<'_>,
    modes: TransactionModes,
    check: SnapshotCheck,
) -> QueryResult<Answer> {
    link.begin(&modes.begin()).await?;
    let answer = link
        .code(sql::try_locks(set, check))
        .await
        .map(Answer::of_code);
    if !matches!(answer, Ok(Answer::Granted)) {
        let undone = link.rollback().await;
        if answer.is_ok() {
            undone?;
        }
    }
    answer
}

async fn begin_and_wait<L: Transact>(
    link: &mut L,
    set: &LockSet<'_>,
    modes: TransactionModes,
    check: SnapshotCheck,
) -> QueryResult<Answer> {
    let sql = format!(
        "{}{}; {}",
        sql::comment(set),
        modes.begin(),
        sql::wait_block(set, Scope::Transaction, check)
    );
    ask_to_begin(link, &sql, "").await
}

/// Begins a transaction whose snapshot is not older than its locks.
///
/// Above read committed, the statement that waits for a lock would itself fix the snapshot of its
/// transaction, before the wait. So a first transaction waits, and leaves the locks to the next one
/// as session locks, all in one round trip: at its end no session lock is left. The transactions
/// are chained, so that whatever fails in between fails inside of one, and a connection pooler in
/// transaction mode sends what follows to the same session.
async fn begin_isolated<L: Transact>(
    link: &mut L,
    set: &LockSet<'_>,
    modes: TransactionModes,
) -> QueryResult<Answer> {
    let sql = format!(
        "{}{}; {}; COMMIT AND CHAIN; {}",
        sql::comment(set),
        modes.begin(),
        sql::wait_block(set, Scope::Bridge, SnapshotCheck::Off),
        sql::cross_bridge(set),
    );
    ask_to_begin(link, &sql, &sql::break_bridge(set)).await
}

/// Sends statements that begin a transaction and end with an [`Answer`].
///
/// If they fail, the server is left in a transaction that Diesel does not know of. It is rolled
/// back, and `then` follows in the same message.
async fn ask_to_begin<L: Transact>(link: &mut L, sql: &str, then: &str) -> QueryResult<Answer> {
    let Err(error) = link.begin(sql).await else {
        return Ok(Answer::Granted);
    };
    if link.batch(&format!("ROLLBACK; {then}")).await.is_err() {
        link.set_broken();
    }
    Answer::of_error(error)
}

/// Sets a savepoint that holds the locks.
async fn open_savepoint<L: Transact>(link: &mut L, set: &LockSet<'_>) -> QueryResult<Answer> {
    let (answer, undo) = if asks_with_query::<L>(set) {
        link.batch(&format!("SAVEPOINT {RUN}")).await?;
        let code = link.code(sql::try_locks(set, SnapshotCheck::Off)).await;
        (code.map(Answer::of_code), roll_back_to(RUN))
    } else {
        let set_run = format!("SAVEPOINT {RUN}; ");
        let answer = wait_in_savepoint(link, set, &set_run, ATTEMPT).await;
        (
            answer,
            format!("ROLLBACK TO SAVEPOINT {ATTEMPT}; RELEASE SAVEPOINT {RUN}"),
        )
    };
    if !matches!(answer, Ok(Answer::Granted)) {
        let undone = link.batch(&undo).await;
        if answer.is_ok() {
            undone?;
        }
    }
    answer
}

/// Ends a frame whose work is done, and commits it.
///
/// # Errors
///
/// If it cannot be committed. Then it has been rolled back, or the connection is marked as broken.
pub(crate) async fn commit_frame<L: Transact>(link: &mut L, frame: Frame) -> QueryResult<()> {
    let committed = try_commit_frame(link, frame).await;
    if committed.is_err() {
        roll_back_frame(link, frame).await;
    }
    committed
}

async fn try_commit_frame<L: Transact>(link: &mut L, frame: Frame) -> QueryResult<()> {
    while link.transaction_depth()? > frame.depth {
        link.commit().await?;
    }
    match frame.kind {
        FrameKind::Transaction => link.commit().await,
        FrameKind::Savepoint => link.batch(&format!("RELEASE SAVEPOINT {RUN}")).await,
    }
}

/// Ends a frame whose work has failed, and rolls it back, with all transactions that the work has
/// left open inside of it.
///
/// It reports nothing: the error of the work is what the caller wants to see. Where it fails,
/// Diesel's transaction manager knows, and a pool throws the connection away.
pub(crate) async fn roll_back_frame<L: Transact>(link: &mut L, frame: Frame) {
    roll_back_to_depth(link, frame.depth).await;
    let _ = match frame.kind {
        FrameKind::Transaction => link.rollback().await,
        FrameKind::Savepoint => link.batch(&roll_back_to(RUN)).await,
    };
}
