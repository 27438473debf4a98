//! What the server answers, told from every other error.

use diesel::result::Error as DieselError;

use super::push;

/// Begins the text of an error by which a statement of ours says why it refuses.
///
/// It leaves an `ERROR` in the server's log, so it is for what is rare, and never for a lock that is merely
/// held by another session.
pub(super) const MARK: &str = "diesel_advisory: ";

/// A condition that fails with the mark and a text.
///
/// No setting has such a name, and the error says so with the name in it, in every language. Diesel shows
/// the text of an error and nothing else of it. No PL/pgSQL is needed, and of what fails with a text of ours
/// it is the cheapest: a cast of the text costs 4 % of a session lock more.
pub(super) fn refusal(text: &str) -> String {
    let mut sql = String::new();
    push_refusal(&mut sql, text);
    sql
}

/// Adds a [`refusal`].
pub(super) fn push_refusal(sql: &mut String, text: &str) {
    push(
        sql,
        &["pg_catalog.current_setting('", MARK, text, "') IS NULL"],
    );
}

/// The same with a text that is joined from expressions.
pub(super) fn refusal_of(texts: &str) -> String {
    format!("pg_catalog.current_setting(pg_catalog.concat('{MARK}', {texts})) IS NULL")
}

pub(super) const SNAPSHOT: &str = "begins again, for a newer snapshot";
pub(super) const STANDBY: &str = "server is a standby";
pub(super) const IN_TRANSACTION: &str = "transaction is open";
pub(super) const SHARED: &str = "session is shared";
pub(super) const TIMED_OUT: &str = "no permit in time";
pub(super) const NOT_FREE: &str = "not free is lock ";
pub(super) const NOT_HELD: &str = "lock was not held";

/// What the server answers to an attempt to take locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taking {
    Granted,
    /// The lock at this index of the set was not free.
    Missing(usize),
    /// A lock of the set, the server has not told which, could not be acquired in time.
    TimedOut,
    /// The transaction would keep a snapshot that is older than the lock.
    SnapshotTooOld,
    Standby,
    /// A transaction is open, where a session lock does not belong.
    InTransaction,
    SharedSession,
}

/// What the server answers to an attempt to release locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Releasing {
    Released,
    NotHeld,
    /// A transaction is open. The locks are still held.
    InTransaction,
    SharedSession,
}

/// The numbers that a query answers with in place of a text.
pub(super) const SNAPSHOT_CODE: i32 = -1;
pub(super) const STANDBY_CODE: i32 = -2;
pub(super) const SHARED_CODE: i32 = -3;
pub(super) const NESTED_CODE: i32 = -4;
pub(super) const IN_TRANSACTION_CODE: i32 = -5;
pub(super) const NOT_HELD_CODE: i32 = -6;

/// What the server answers to an attempt to take a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    /// The one with this index is held.
    Granted(usize),
    /// None is free, or others wait.
    NotFree,
    /// The session holds other locks, and maybe one of the permits.
    Nested,
    /// It was not tried, or waited for in vain.
    Ended(Taking),
}

impl Permit {
    /// Reads the number that a query has selected: that of a permit, 0, or a negative one.
    pub(crate) fn of_code(code: i32) -> Self {
        match (code, usize::try_from(code)) {
            (0, _) => Self::NotFree,
            (NESTED_CODE, _) => Self::Nested,
            (_, Ok(number)) => Self::Granted(number - 1),
            (code, Err(_)) => Self::Ended(Taking::of_code(code)),
        }
    }
}

impl Taking {
    /// Reads the number that a query has selected: 0, the position of a lock, or a negative one.
    pub(crate) fn of_code(code: i32) -> Self {
        match code {
            0 => Self::Granted,
            SNAPSHOT_CODE => Self::SnapshotTooOld,
            STANDBY_CODE => Self::Standby,
            SHARED_CODE => Self::SharedSession,
            IN_TRANSACTION_CODE => Self::InTransaction,
            position => Self::Missing(usize::try_from(position - 1).unwrap_or(0)),
        }
    }

    /// Reads the mark of an error, if it has one.
    pub(crate) fn of_error(error: &DieselError) -> Option<Self> {
        let refusals = [
            (SNAPSHOT, Self::SnapshotTooOld),
            (STANDBY, Self::Standby),
            (IN_TRANSACTION, Self::InTransaction),
            (SHARED, Self::SharedSession),
            (TIMED_OUT, Self::TimedOut),
        ];
        let position = || {
            let digits = marked(error)?.strip_prefix(NOT_FREE)?;
            let end = digits
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(digits.len());
            digits[..end].parse::<usize>().ok()
        };
        find(error, &refusals).or_else(|| Some(Self::Missing(position()?.checked_sub(1)?)))
    }
}

impl Releasing {
    /// Reads the number that a query has selected: 0, or a negative one.
    pub(crate) fn of_code(code: i32) -> Self {
        match code {
            0 => Self::Released,
            SHARED_CODE => Self::SharedSession,
            IN_TRANSACTION_CODE => Self::InTransaction,
            _ => Self::NotHeld,
        }
    }

    /// Reads the mark of an error, if it has one.
    pub(crate) fn of_error(error: &DieselError) -> Option<Self> {
        let refusals = [
            (NOT_HELD, Self::NotHeld),
            (IN_TRANSACTION, Self::InTransaction),
            (SHARED, Self::SharedSession),
        ];
        find(error, &refusals)
    }
}

fn find<T: Copy>(error: &DieselError, refusals: &[(&str, T)]) -> Option<T> {
    let reason = marked(error)?;
    let refusal = refusals.iter().find(|(text, _)| reason.starts_with(text));
    refusal.map(|(_, refusal)| *refusal)
}

/// What stands after the mark in the text of an error.
pub(crate) fn marked(error: &DieselError) -> Option<&str> {
    match error {
        DieselError::DatabaseError(_, info) => {
            info.message().split_once(MARK).map(|(_, reason)| reason)
        }
        _ => None,
    }
}
