//! What can go wrong, and the way to and from Diesel's own errors.

use std::error::Error as StdError;
use std::fmt;

use self::lost::Lost;
use self::not_due::NotDue;
use self::unavailable::Unavailable;

pub(crate) mod lost;
pub(crate) mod not_due;
pub(crate) mod unavailable;

/// Why a lock was not acquired, or not released.
///
/// # In your own error type
///
/// Closures return any error that implements `From<diesel_advisory::Error>`. That holds for
/// `anyhow::Error`, for `Box<dyn std::error::Error + Send + Sync>`, for an enum with a
/// `#[from] diesel_advisory::Error` variant, and for [`diesel::result::Error`], so that closures
/// which return plain Diesel errors work as they are.
///
/// An error of this crate that passes through a function returning
/// [`QueryResult`](diesel::QueryResult) travels inside Diesel's error, as a `QueryBuilderError`. An
/// enum with a variant for Diesel's error and one for this crate's would then hold it in the wrong one.
/// Two calls get it back: [`Error::find_in`] from a reference to any error, and
/// `Error::from(diesel_error)` from one of Diesel's. Look for it in one place, where errors become
/// answers:
///
/// ```
/// # diesel_advisory_sandbox::doctest!(conn, other);
/// # use diesel_advisory_sandbox::schema::books;
/// use diesel::prelude::*;
/// use diesel_advisory::{AdvisoryConnection, Error};
///
/// #[derive(Debug, thiserror::Error)]
/// enum AppError {
///     #[error(transparent)]
///     Database(#[from] diesel::result::Error),
/// }
///
/// fn status(error: &AppError) -> u16 {
///     match Error::find_in(error) {
///         Some(Error::Unavailable(_)) => 409,
///         _ => 500,
///     }
/// }
///
/// fn close_month(conn: &mut PgConnection) -> QueryResult<usize> {
///     conn.advisory("billing.close_month")
///         .no_wait()
///         .run(|conn| diesel::update(books::table).set(books::closed.eq(true)).execute(conn))
/// }
///
/// let held = other.advisory_session("billing.close_month").acquire()?;
/// let error = AppError::from(close_month(conn).unwrap_err());
/// assert_eq!(status(&error), 409);
/// # held.release()?;
/// # Ok::<_, Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The wait ended without the lock. Nothing is held, and an open transaction is still usable.
    ///
    /// A deadlock that the server broke, a cancelled statement and a lost connection are
    /// [`Database`](Error::Database), never this.
    #[error("{0}")]
    Unavailable(Unavailable),

    /// [`advisory_xact`] was called outside of a transaction. Nothing was sent to the server.
    ///
    /// PostgreSQL would release the lock at the end of the statement that acquires it.
    ///
    /// [`advisory_xact`]: crate::AdvisoryConnection::advisory_xact
    #[error(
        "a transaction-scoped advisory lock needs an open transaction: call `advisory_xact` inside \
         `conn.transaction(…)`, or use `advisory(…).run(…)`, which opens one"
    )]
    NotInTransaction,

    /// A session lock was asked for inside an open transaction, whether Diesel opened it or a raw
    /// `BEGIN`. Nothing is held.
    ///
    /// The lock would be released before the transaction commits, and the next holder would see the old
    /// rows.
    #[error(
        "a session-scoped advisory lock would be released before the open transaction commits: use \
         `advisory_xact(…)` inside a transaction, or take the session lock before it begins"
    )]
    InTransaction,

    /// The work under the lock left a transaction open. It was rolled back, and the lock was released.
    ///
    /// It would otherwise have been committed without the lock, or not at all.
    #[error(
        "the work under the advisory lock left a transaction open, which was rolled back: commit it \
         before the work ends, or use `transaction(…)`"
    )]
    TransactionLeftOpen,

    /// The session did not hold the lock any more when it was released. Another session may have held it
    /// in the meantime.
    ///
    /// The session ended and was replaced, or the work has called one of PostgreSQL's unlock functions.
    #[error(
        "the advisory lock was not held any more when it was released: the session that took it has \
         ended, or something else has released the lock"
    )]
    NotHeld,

    /// Several clients use this database session, so a session lock does not keep them apart.
    ///
    /// See [poolers](crate#poolers) for what causes this. Two clients of one process whose locks happen
    /// to nest are not found out.
    #[error(
        "the database session of this advisory lock is used by other clients too, or has lost its \
         settings. Causes: a connection pooler in transaction mode, a pooler in session mode without \
         a reset query, or a `RESET ALL` in the work. Connect directly or through a pooler in session \
         mode with `DISCARD ALL`, or use `advisory(…)`, whose lock ends with its transaction"
    )]
    SharedSession,

    /// The server is a standby. Nothing is held.
    ///
    /// A standby keeps locks of its own, which exclude nobody on the primary. To take one nevertheless,
    /// use `allow_standby()`.
    #[error(
        "the server is a standby, whose advisory locks exclude nobody on the primary: connect to the \
         primary (`target_session_attrs=read-write`), or call `allow_standby()` if that is meant"
    )]
    Standby,

    /// The name of the lock is empty. Nothing was sent to the server.
    #[error("an advisory lock needs a name: the one given is empty")]
    EmptyName,

    /// The set of locks is empty. Nothing was sent to the server.
    #[error("a set of advisory locks needs at least one lock: the iterator yielded none")]
    EmptySet,

    /// Options that exclude each other. Nothing was sent to the server.
    #[error("{0}")]
    Unsupported(&'static str),

    /// A lease was lost before the work was done. Another holder may have begun.
    #[error("{0}")]
    Lost(Lost),

    /// A lease was given up by its own process: its leader is shutting down,
    /// [`resign`](crate::Lease::resign) was called, or the work under it is over.
    #[error(
        "the lease was given up: its leader is shutting down, it has resigned, or its work is over"
    )]
    ShutDown,

    /// The server cannot give a [fencing token](crate::FencingToken). The lock is held without it.
    #[error("there is no fencing token: {0}")]
    NoToken(&'static str),

    /// The work was not started: [`at_most_every`] or [`once`] found that it was run too recently. Nothing is
    /// held.
    ///
    /// [`at_most_every`]: crate::AdvisoryTransaction::at_most_every
    /// [`once`]: crate::AdvisoryTransaction::once
    #[error("{0}")]
    NotDue(NotDue),

    /// There is no [catalog](crate::catalog), or an older one, so nobody knows when a job was run. The work was
    /// not started.
    #[error(
        "there is no table `diesel_advisory.runs`, which `at_most_every` and `once` keep runs in: install \
         the lock catalog, or bring it up to date, with `diesel_advisory::catalog::install(conn)` or the \
         migrations in `diesel_advisory::MIGRATIONS`"
    )]
    NoCatalog,

    /// The role may not keep runs in the [catalog](crate::catalog#rights). The work was not started.
    #[error(
        "the role may not keep runs in the lock catalog: `GRANT USAGE ON SCHEMA diesel_advisory TO …`, and \
         `GRANT SELECT, INSERT, UPDATE, DELETE ON diesel_advisory.runs TO …`"
    )]
    NoGrants,

    /// The database or the connection failed, as Diesel reports it.
    #[error(transparent)]
    Database(diesel::result::Error),
}

impl Error {
    /// Returns whether this is [`Error::Unavailable`].
    ///
    /// ```
    /// use diesel_advisory::{Error, Unavailable};
    ///
    /// assert!(Error::Unavailable(Unavailable::new("import")).is_unavailable());
    /// assert!(!Error::NotHeld.is_unavailable());
    /// ```
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Finds this crate's error in an error of any type, by walking its chain of
    /// [`source`](StdError::source)s.
    ///
    /// It looks through Diesel's errors, `anyhow::Error`, boxed errors, and variants of your own,
    /// `#[error(transparent)]` over Diesel's error included. A variant that is
    /// `#[error(transparent)]` over `diesel_advisory::Error` itself hides it from the chain: match on
    /// the variant there.
    ///
    /// ```
    /// # diesel_advisory_sandbox::doctest!(conn);
    /// # use diesel_advisory_sandbox::schema::books;
    /// use diesel::prelude::*;
    /// use diesel_advisory::{AdvisoryConnection, Error};
    ///
    /// let result = conn
    ///     .advisory("")
    ///     .run(|conn| diesel::update(books::table).set(books::closed.eq(true)).execute(conn));
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
