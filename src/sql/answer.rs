//! What the server answers, told from every other error.

use diesel::result::Error as DieselError;

/// The constraint name that marks an error as raised by [`wait_block`].
const MARK: &str = "diesel_advisory";

/// What the server answers to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// All locks are held.
    Granted,
    /// The lock at this index of the set was not to be had.
    Missing(usize),
    /// The transaction keeps the snapshot that the attempt itself has taken: it would be older than
    /// the lock. Only after [`SnapshotCheck::On`].
    SnapshotTooOld,
}

impl Answer {
    /// Reads the number that [`try_locks`] selects: 0, the position of a lock, or -1.
    pub(crate) fn of_code(code: i32) -> Self {
        match usize::try_from(code) {
            Ok(0) => Self::Granted,
            Ok(position) => Self::Missing(position - 1),
            Err(_) => Self::SnapshotTooOld,
        }
    }

    /// Tells the error that [`wait_block`] raises from every other one.
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
