//! What the server answers, told from every other error.

use diesel::result::Error as DieselError;

/// The constraint name that marks an error as raised by a block of ours.
const MARK: &str = "diesel_advisory";

/// What the server answers to an attempt to take or release locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is done.
    Granted,
    /// The lock at this index of the set was not to be had, or not there.
    Missing(usize),
    /// There is a transaction that does not fit: it would keep a snapshot that is older than the
    /// lock, if that is [checked](super::SnapshotCheck), or have lost the lock before its
    /// commit.
    WrongTransaction,
}

impl Answer {
    /// Reads the number that [`try_locks`](super::try_locks) selects: 0, the position of a lock, or
    /// -1.
    pub(crate) fn of_code(code: i32) -> Self {
        match usize::try_from(code) {
            Ok(0) => Self::Granted,
            Ok(position) => Self::Missing(position - 1),
            Err(_) => Self::WrongTransaction,
        }
    }

    /// Tells the error that a block of ours raises from every other one.
    pub(crate) fn of_error(error: DieselError) -> Result<Self, DieselError> {
        let code = match &error {
            DieselError::DatabaseError(_, info) if info.constraint_name() == Some(MARK) => {
                info.column_name().and_then(|code| code.parse().ok())
            }
            _ => None,
        };
        code.map(Self::of_code).ok_or(error)
    }
}

/// Raises the variable `missing` as what [`Answer::of_error`] recognises.
pub(super) fn raise(message: &str) -> String {
    format!(
        "RAISE lock_not_available USING MESSAGE = {message}, CONSTRAINT = '{MARK}', \
         COLUMN = missing::text; "
    )
}
