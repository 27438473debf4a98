//! Why a wait has failed.

use std::time::Instant;

use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error as DieselError};

use super::end_session;
use super::link::Link;
use crate::lock::set::LockSet;
use crate::lock::wait::Wait;
use crate::sql::answer::Taking;
use crate::sql::verdict::{is_free, verdict};

/// How statements that have failed are undone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Undo<'s> {
    /// Makes the server forget the failed statements.
    pub(super) undo: &'s str,
    /// Ends what that leaves open.
    pub(super) close: &'s str,
    pub(super) unless_told: UnlessTold,
}

/// What becomes of statements that have failed for a reason of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnlessTold {
    /// They are left as they are, as any failed statement of the user's.
    Leave,
    /// They are undone, if they can be.
    Undo,
    /// They are undone, or the session ends.
    UndoOrEnd,
}

impl Undo<'_> {
    /// Tells from the error of statements that take locks how that ended, and undoes them.
    ///
    /// What the statements refuse by themselves carries a mark. A timeout does not: Diesel hides its
    /// SQLSTATE, and its text is in the server's language. So the server is asked to wait for the same
    /// locks for a millisecond, and to compare the text of that timeout with this one's. The question
    /// leaves no lock behind.
    ///
    /// # Errors
    ///
    /// The error itself, if it is none of these.
    pub(super) async fn after<L: Link>(
        self,
        link: &mut L,
        set: &LockSet<'_>,
        began: Instant,
        error: DieselError,
    ) -> QueryResult<Taking> {
        let Self { undo, close, .. } = self;
        if let Some(refusal) = Taking::of_error(&error) {
            link.batch(&format!("{undo}{close}")).await?;
            return Ok(refusal);
        }
        if let Some(text) = timeout_text(set, &error) {
            let question = verdict(set, text, began.elapsed());
            match link.batch(&format!("{undo}{question}{close}")).await {
                Ok(()) => return Ok(Taking::TimedOut),
                Err(answer) if is_free(&answer) => {
                    link.batch(&format!("{undo}{close}")).await?;
                    return Ok(Taking::TimedOut);
                }
                Err(_) => {}
            }
        }
        if self.unless_told != UnlessTold::Leave {
            let undone = link.batch(&format!("{undo}{close}")).await;
            if undone.is_err() && self.unless_told == UnlessTold::UndoOrEnd {
                end_session(link).await;
            }
        }
        Err(error)
    }
}

/// The text of an error that can be a timeout's.
fn timeout_text<'e>(set: &LockSet<'_>, error: &'e DieselError) -> Option<&'e str> {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::Unknown, info)
            // A deadlock has details.
            if info.details().is_none() && !matches!(set.wait, Wait::No | Wait::Forever) =>
        {
            Some(info.message())
        }
        _ => None,
    }
}
