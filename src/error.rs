//! What can go wrong, and the way to and from Diesel's own errors.

use std::error::Error as StdError;
use std::fmt;

use crate::Unavailable;

/// Why a lock was not taken, or not released.
///
/// # In your own error type
///
/// [`run`](crate::AdvisoryLock::run) wants `E: From<diesel_advisory::Error>`. That holds for
/// `anyhow::Error` and for `Box<dyn std::error::Error + Send + Sync>`, for an enum with a
/// `#[from] diesel_advisory::Error` variant, and for [`diesel::result::Error`] too, so that a
/// closure which returns plain Diesel errors works as it is. [`Error::find_in`] gets this error
/// back out of any of these.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The wait ended without the lock. Nothing is held, and an open transaction is still usable.
    ///
    /// This is an outcome, not a failure of the database: a deadlock that the server broke, a
    /// cancelled statement, and a lost connection are [`Database`](Error::Database).
    #[error("{0}")]
    Unavailable(Unavailable),

    /// A transaction-scoped lock was asked for outside of a transaction.
    ///
    /// PostgreSQL would take it and drop it at once.
    #[error(
        "a transaction-scoped advisory lock needs an open transaction: call `advisory_xact` inside \
         `conn.transaction(…)`, or use `advisory(…).run(…)`, which opens one"
    )]
    NotInTransaction,

    /// A session-scoped lock was asked for inside an open transaction.
    ///
    /// It would be released before the transaction commits, and the next holder would see the old
    /// rows.
    #[error(
        "a session-scoped advisory lock would be released before the open transaction commits: use \
         `advisory_xact(…)` inside a transaction, or take the session lock before it begins"
    )]
    InTransaction,

    /// A release found nothing to release: the lock was lost some time before.
    ///
    /// The session ended and was replaced, or a connection pooler in transaction mode switched it.
    #[error(
        "the advisory lock was not held any more when it was released: the session that took it has \
         ended, or a connection pooler in transaction mode has switched it"
    )]
    NotHeld,

    /// The name of the lock is empty. Nothing was sent to the server.
    #[error("an advisory lock needs a name: the one given is empty")]
    EmptyName,

    /// The database or the connection failed, as Diesel reports it.
    #[error(transparent)]
    Database(diesel::result::Error),
}

impl Error {
    /// Whether this is [`Error::Unavailable`].
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Finds this crate's error in an error of any type, by walking its chain of
    /// [`source`](StdError::source)s.
    ///
    /// It goes through [`diesel::result::Error`] as well. What it cannot see is a variant of your
    /// own that is `#[error(transparent)]` over `diesel_advisory::Error`, because that leaves
    /// this error out of the chain: match on your variant there.
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// use diesel::prelude::*;
    /// use diesel_advisory::{AdvisoryConnection, Error};
    ///
    /// let result = conn.advisory("").run(|conn| diesel::sql_query("SELECT 1").execute(conn));
    /// let diesel_error: diesel::result::Error = result.unwrap_err();
    /// assert!(matches!(Error::find_in(&diesel_error), Some(Error::EmptyName)));
    /// ```
    #[must_use]
    pub fn find_in<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            cause = error.source();
        }
        None
    }
}

impl From<diesel::result::Error> for Error {
    /// Gives back the error of this crate that a Diesel error carries, if it carries one.
    fn from(error: diesel::result::Error) -> Self {
        match error {
            diesel::result::Error::QueryBuilderError(inner) => match inner.downcast::<Carrier>() {
                Ok(carrier) => carrier.0,
                Err(inner) => Self::Database(diesel::result::Error::QueryBuilderError(inner)),
            },
            error => Self::Database(error),
        }
    }
}

impl From<Error> for diesel::result::Error {
    /// A [`Database`](Error::Database) error is Diesel's own again. Every other one travels inside
    /// [`QueryBuilderError`](diesel::result::Error::QueryBuilderError), where [`Error::find_in`]
    /// finds it.
    fn from(error: Error) -> Self {
        match error {
            Error::Database(error) => error,
            error => Self::QueryBuilderError(Box::new(Carrier(error))),
        }
    }
}

/// Carries an [`Error`] inside one of Diesel's.
///
/// Diesel's error has the source of what it holds as its own source. Held directly, ours would be
/// missing from the chain; it is there as the source of this carrier.
#[derive(Debug)]
struct Carrier(Error);

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Carrier {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}
