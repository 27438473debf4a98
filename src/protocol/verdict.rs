//! Why a wait has failed.

use std::time::Instant;

use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error as DieselError};

use super::end_session;
use super::link::Link;
use crate::lock::set::LockSet;
use crate::lock::wait::Wait;
use crate::sql::answer::Taking;
use crate::sql::take::why_refused;
use crate::sql::verdict::{is_free, verdict};

/// How statements that have failed are undone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Undo<'s> {
    /// Whether the statements were [checked](crate::sql::take::begin_checked) at their begin. Their error does not tell why
    /// they were refused then.
    pub(super) checked: bool,
    /// Makes the server forget the failed statements.
    pub(super) roll_back: &'s str,
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
        let Self {
            checked,
            roll_back,
            close,
            ..
        } = self;
        if let Some(refusal) = Taking::of_error(&error) {
            send(link, &format!("{roll_back}{close}")).await?;
            return Ok(refusal);
        }
        let text = timeout_text(set, &error);
        let question = text.map(|text| verdict(set, text, began.elapsed()));
        if question.is_some() || (is_untold(&error) && checked) {
            let why_refused = if checked {
                why_refused(set)
            } else {
                String::new()
            };
            let asked = question.as_deref().unwrap_or_default();
            let answer = link
                .batch(&format!("{roll_back}{why_refused}{asked}{close}"))
                .await;
            let taking = match &answer {
                Ok(()) => question.map(|_| Taking::TimedOut),
                Err(answer) if is_free(answer) => Some(Taking::TimedOut),
                Err(answer) => Taking::of_error(answer),
            };
            if let Some(taking) = taking {
                if answer.is_err() {
                    send(link, &format!("{roll_back}{close}")).await?;
                }
                return Ok(taking);
            }
        }
        if self.unless_told != UnlessTold::Leave {
            let undone = send(link, &format!("{roll_back}{close}")).await;
            if undone.is_err() && self.unless_told == UnlessTold::UndoOrEnd {
                end_session(link).await;
            }
        }
        Err(error)
    }
}

/// Sends statements, if there are any: Diesel takes an empty query for a mistake.
async fn send<L: Link>(link: &mut L, sql: &str) -> QueryResult<()> {
    if sql.is_empty() {
        return Ok(());
    }
    link.batch(sql).await
}

/// The text of an error that can be a timeout's.
fn timeout_text<'e>(set: &LockSet<'_>, error: &'e DieselError) -> Option<&'e str> {
    match error {
        DieselError::DatabaseError(_, info)
            if is_untold(error) && !matches!(set.wait, Wait::No | Wait::Forever) =>
        {
            Some(info.message())
        }
        _ => None,
    }
}

/// Whether Diesel tells nothing of an error but its text. A deadlock has details.
fn is_untold(error: &DieselError) -> bool {
    matches!(
        error,
        DieselError::DatabaseError(DatabaseErrorKind::Unknown, info) if info.details().is_none()
    )
}
