//! Taking locks and ending what was opened for them, step by step.
//!
//! Blocking and asynchronous connections run the same code, over a [`Link`].

use std::num::NonZeroU32;
use std::time::Instant;

use diesel::result::Error as DieselError;

use crate::link::Link;
use crate::lock_set::{Lock, LockSet};
use crate::sql::{self, Answer, Scope, SnapshotCheck};
use crate::transaction_modes::{Isolation, TransactionModes};
use crate::unavailable::HolderRow;
use crate::wait::Wait;
use crate::{Error, Holder, LockId, Unavailable};

/// Encloses an attempt inside an open transaction, so that its failure can be undone.
///
/// It never outlives the attempt. So rolling back to it cannot hit an older savepoint of this name by
/// mistake, where the transaction had failed before and this one was never set.
const ATTEMPT: &str = "diesel_advisory_attempt";

/// Encloses a `run` inside an open transaction.
const RUN: &str = "diesel_advisory_run";

/// How an attempt ended that the database did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    Granted,
    /// The lock at this index of the set was not to be had. Nothing is held or open that was not
    /// before.
    Missing(usize),
}

/// What was opened around the work of a `run`, and has to be closed after it.
#[derive(Debug, Clone, Copy)]
#[must_use = "a transaction that is not closed keeps its locks"]
pub(crate) struct Frame {
    kind: FrameKind,
    /// How deep Diesel's transactions are inside of the frame.
    depth: Option<NonZeroU32>,
}

impl From<Answer> for Attempt {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Granted => Self::Granted,
            Answer::Missing(index) => Self::Missing(index),
            Answer::SnapshotTooOld => unreachable!("answered only to a snapshot check"),
        }
    }
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
pub(crate) async fn open_frame<L: Link>(
    link: &mut L,
    set: &LockSet<'_>,
    modes: TransactionModes,
) -> Result<(Frame, Attempt), DieselError> {
    let (kind, attempt) = match link.transaction_depth()? {
        None => (FrameKind::Transaction, begin(link, set, modes).await?),
        Some(_) if modes.is_default() => (FrameKind::Savepoint, open_savepoint(link, set).await?),
        Some(_) => return Err(DieselError::AlreadyInTransaction),
    };
    let depth = link.transaction_depth()?;
    Ok((Frame { kind, depth }, attempt))
}

/// Begins a transaction that holds the locks.
async fn begin<L: Link>(
    link: &mut L,
    set: &LockSet<'_>,
    modes: TransactionModes,
) -> Result<Attempt, DieselError> {
    // A session can have another default than read committed, so what was not asked for is checked.
    let check = match modes.isolation {
        Some(Isolation::RepeatableRead | Isolation::Serializable) => {
            return begin_isolated(link, set, modes).await;
        }
        Some(Isolation::ReadCommitted) => SnapshotCheck::Off,
        None => SnapshotCheck::On,
    };
    let answer = if set.wait == Wait::No {
        begin_and_try(link, set, modes, check).await?
    } else {
        begin_and_wait(link, set, modes, check).await?
    };
    match answer {
        Answer::SnapshotTooOld => begin_isolated(link, set, modes).await,
        answer => Ok(answer.into()),
    }
}

/// Three round trips with the `COMMIT`, but a lock that is not free leaves no error in the server's log.
async fn begin_and_try<L: Link>(
    link: &mut L,
    set: &LockSet<'_>,
    modes: TransactionModes,
    check: SnapshotCheck,
) -> Result<Answer, DieselError> {
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

async fn begin_and_wait<L: Link>(
    link: &mut L,
    set: &LockSet<'_>,
    modes: TransactionModes,
    check: SnapshotCheck,
) -> Result<Answer, DieselError> {
    let sql = format!(
        "{}{}; {}",
        sql::comment(set),
        modes.begin(),
        sql::wait_block(set, Scope::Transaction, check)
    );
    match link.begin(&sql).await {
        Ok(()) => Ok(Answer::Granted),
        Err(error) => {
            abandon_begin(link).await;
            Answer::of_error(error)
        }
    }
}

/// Begins a transaction whose snapshot is not older than its locks.
///
/// Above read committed, the statement that waits for a lock would itself fix the snapshot of its
/// transaction, before the wait. So a transaction of its own waits and ends with session locks, and the
/// isolated transaction takes them over, all in one round trip: at its end no session lock is left.
async fn begin_isolated<L: Link>(
    link: &mut L,
    set: &LockSet<'_>,
    modes: TransactionModes,
) -> Result<Attempt, DieselError> {
    let sql = format!(
        "{}BEGIN ISOLATION LEVEL READ COMMITTED; {}; COMMIT; {}; {}",
        sql::comment(set),
        sql::wait_block(set, Scope::Session, SnapshotCheck::Off),
        modes.begin(),
        sql::session_to_transaction(set),
    );
    let Err(error) = link.begin(&sql).await else {
        return Ok(Attempt::Granted);
    };
    abandon_begin(link).await;
    let answer = Answer::of_error(error);
    if answer.is_err() {
        release_after_failure(link, set).await;
    }
    answer.map(Attempt::from)
}

/// Rolls back the transaction that a failed `BEGIN; …` has left on the server, unknown to Diesel.
async fn abandon_begin<L: Link>(link: &mut L) {
    if link.batch("ROLLBACK").await.is_err() {
        link.set_broken();
    }
}

/// Sets a savepoint that holds the locks.
async fn open_savepoint<L: Link>(link: &mut L, set: &LockSet<'_>) -> Result<Attempt, DieselError> {
    let (answer, undo) = if set.wait == Wait::No {
        link.batch(&format!("SAVEPOINT {RUN}")).await?;
        let code = link.code(sql::try_locks(set, SnapshotCheck::Off)).await;
        (code.map(Answer::of_code), roll_back_to(RUN))
    } else {
        let answer = wait_in_savepoint(link, set, &format!("SAVEPOINT {RUN}; ")).await;
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
    answer.map(Attempt::from)
}

/// Takes the locks inside the transaction that is open.
///
/// # Errors
///
/// [`Error::NotInTransaction`], or whatever the database fails with. Then the transaction has failed, as
/// after any other statement.
pub(crate) async fn acquire_in_transaction<L: Link>(
    link: &mut L,
    set: &LockSet<'_>,
) -> Result<Attempt, Error> {
    if link.transaction_depth()?.is_none() {
        return Err(Error::NotInTransaction);
    }
    // Of several locks, those before the missing one would stay held.
    if set.wait == Wait::No && set.locks.len() == 1 {
        let code = link.code(sql::try_locks(set, SnapshotCheck::Off)).await?;
        return Ok(Answer::of_code(code).into());
    }
    let attempt = wait_in_savepoint(link, set, "").await?.into();
    if attempt != Attempt::Granted {
        link.batch(&roll_back_to(ATTEMPT)).await?;
    }
    Ok(attempt)
}

/// Takes the locks in one round trip. Unless they are granted, the savepoint [`ATTEMPT`] is left to be
/// rolled back to.
async fn wait_in_savepoint<L: Link>(
    link: &mut L,
    set: &LockSet<'_>,
    before: &str,
) -> Result<Answer, DieselError> {
    let sql = format!(
        "{}{before}SAVEPOINT {ATTEMPT}; {}; RELEASE SAVEPOINT {ATTEMPT}",
        sql::comment(set),
        sql::wait_block(set, Scope::Transaction, SnapshotCheck::Off)
    );
    match link.batch(&sql).await {
        Ok(()) => Ok(Answer::Granted),
        Err(error) => Answer::of_error(error),
    }
}

fn roll_back_to(savepoint: &str) -> String {
    format!("ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}")
}

/// Ends a frame whose work is done, and commits it.
///
/// # Errors
///
/// If it cannot be committed. Then it has been rolled back, or the connection is marked as broken.
pub(crate) async fn commit_frame<L: Link>(link: &mut L, frame: Frame) -> Result<(), DieselError> {
    while link.transaction_depth()? > frame.depth {
        link.commit().await?;
    }
    match frame.kind {
        FrameKind::Transaction => link.commit().await,
        FrameKind::Savepoint => {
            let released = link.batch(&format!("RELEASE SAVEPOINT {RUN}")).await;
            if released.is_err() {
                // The transaction around it answers for itself if this fails as well.
                let _ = link.batch(&roll_back_to(RUN)).await;
            }
            released
        }
    }
}

/// Ends a frame whose work has failed, and rolls it back, with all transactions that the work has left
/// open inside of it.
///
/// It reports nothing: the error of the work is what the caller wants to see. Where it fails, Diesel's
/// transaction manager knows, and a pool throws the connection away.
pub(crate) async fn roll_back_frame<L: Link>(link: &mut L, frame: Frame) {
    roll_back_to_depth(link, frame.depth).await;
    let _ = match frame.kind {
        FrameKind::Transaction => link.rollback().await,
        FrameKind::Savepoint => link.batch(&roll_back_to(RUN)).await,
    };
}

/// Takes the locks for the session.
///
/// # Errors
///
/// [`Error::InTransaction`], or whatever the database fails with. Then nothing is held.
pub(crate) async fn acquire_for_session<L: Link>(
    link: &mut L,
    set: &LockSet<'_>,
) -> Result<Attempt, Error> {
    if link.transaction_depth()?.is_some() {
        return Err(Error::InTransaction);
    }
    let answer = if set.wait == Wait::No {
        link.code(sql::try_session_locks(set))
            .await
            .map(Answer::of_code)
    } else {
        let wait = sql::wait_block(set, Scope::Session, SnapshotCheck::Off);
        match link.batch(&format!("{}{wait}", sql::comment(set))).await {
            Ok(()) => Ok(Answer::Granted),
            Err(error) => Answer::of_error(error),
        }
    };
    if answer.is_err() {
        release_after_failure(link, set).await;
    }
    Ok(answer.map(Attempt::from)?)
}

/// Releases what a failed statement may have left: it can have been cancelled after the session lock
/// had been granted.
async fn release_after_failure<L: Link>(link: &mut L, set: &LockSet<'_>) {
    if link.batch(&sql::release_held(set)).await.is_err() {
        link.set_broken();
    }
}

/// Releases the locks of the session, after rolling back a transaction that was left open.
///
/// # Errors
///
/// - [`Error::NotHeld`] if one of the locks was not held.
/// - [`Error::InTransaction`] if a transaction was open: committed later, it would have been without the
///   lock.
/// - [`Error::Database`] if the statement failed. Then the connection is marked as broken.
pub(crate) async fn release_for_session<L: Link>(
    link: &mut L,
    set: &LockSet<'_>,
) -> Result<(), Error> {
    let in_transaction = roll_back_to_depth(link, None).await;
    match link.code(sql::release(set)).await {
        Ok(0) if in_transaction => Err(Error::InTransaction),
        Ok(0) => Ok(()),
        Ok(_) => Err(Error::NotHeld),
        Err(error) => {
            link.set_broken();
            Err(error.into())
        }
    }
}

/// Rolls back what is open in Diesel below a depth, and tells whether there was anything.
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

/// Whether this session holds all of the locks.
pub(crate) async fn is_held<L: Link>(link: &mut L, set: &LockSet<'_>) -> Result<bool, Error> {
    let held = link.code(sql::held_by_this_session(set)).await?;
    Ok(usize::try_from(held) == Ok(set.locks.len()))
}

/// Whether anybody holds the lock.
pub(crate) async fn is_locked<L: Link>(link: &mut L, id: &LockId<'_>) -> Result<bool, Error> {
    Ok(link.code(sql::is_locked(id.checked_key()?)).await? == 1)
}

/// Describes an attempt that failed, with those who hold the missing lock.
pub(crate) async fn unavailable<L: Link>(
    link: &mut L,
    set: &LockSet<'_>,
    missing: usize,
    began: Instant,
) -> Unavailable {
    let waited = began.elapsed();
    let lock = &set.locks[missing];
    let holders = holders(link, lock).await.unwrap_or_default();
    Unavailable {
        lock: lock.id.clone().into_owned(),
        waited,
        holders: holders.into_iter().map(Holder::from).collect(),
    }
}

/// Looks for the holders of a lock, without harm to the transaction that is open if it fails.
async fn holders<L: Link>(link: &mut L, lock: &Lock<'_>) -> Result<Vec<HolderRow>, DieselError> {
    let in_transaction = link.transaction_depth()?.is_some();
    if in_transaction {
        link.batch(&format!("SAVEPOINT {ATTEMPT}")).await?;
    }
    let holders = link.rows(sql::holders(lock)).await;
    if in_transaction {
        link.batch(&roll_back_to(ATTEMPT)).await?;
    }
    holders
}
