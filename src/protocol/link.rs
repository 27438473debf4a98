//! The only things that the protocols of this crate do with a connection.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use diesel::QueryResult;
use diesel::connection::InstrumentationEvent;
use diesel::deserialize::QueryableByName;
use diesel::pg::Pg;

use crate::sql::look::Look;
use crate::sql::statement::Statement;

/// A connection, reduced to what the [protocols](super) need of it.
///
/// They are written once, as `async fn`s over this trait. A blocking connection implements it with
/// futures that are ready at once.
pub(crate) trait Link: Send {
    /// Whether a [`code`](Self::code) is prepared once for the connection, so that it is the cheapest form
    /// of all.
    const PREPARES: bool;

    /// How many transactions and savepoints Diesel has open. An error if it has lost track of them.
    fn transaction_depth(&mut self) -> QueryResult<Option<NonZeroU32>>;

    /// Whether a `BEGIN` or `COMMIT` of the user's was dropped before its answer: nobody knows what
    /// state the session is in.
    fn is_cut_off(&mut self) -> bool;

    /// Tells the transaction manager that the state of the session is not known any more, so that a
    /// pool throws the connection away.
    ///
    /// A blocking connection forgets that after its next statement that succeeds. So the session is
    /// [ended](super::end_session) first.
    fn set_broken(&mut self);

    /// Sends statements that answer nothing. When it returns, the server is done with them: what has
    /// failed is undone.
    fn batch(&mut self, sql: &str) -> impl Future<Output = QueryResult<()>> + Send;

    /// Sends a query and reads the number in its one row.
    ///
    /// It may be prepared, and so must not be dropped in the middle unless that ends the session.
    fn code(&mut self, statement: Statement) -> impl Future<Output = QueryResult<i32>> + Send;

    /// Asks a question that can be dropped in the middle and leaves nothing behind.
    fn look(&mut self, look: Look) -> impl Future<Output = QueryResult<String>> + Send;

    /// Sends a query and reads its rows.
    ///
    /// It may be prepared, as in [`code`](Self::code).
    fn rows<T>(&mut self, sql: String) -> impl Future<Output = QueryResult<Vec<T>>> + Send
    where
        T: QueryableByName<Pg> + Send + 'static;

    /// Sends statements that begin a transaction, or set the savepoint of a nested one, and counts it
    /// as Diesel would.
    ///
    /// Instrumentation sees its begin, and its end if the statements fail.
    fn begin(&mut self, sql: &str) -> impl Future<Output = QueryResult<()>> + Send;

    /// Sends statements that end the innermost transaction or savepoint that Diesel has open, and
    /// counts that.
    ///
    /// If they fail, nothing is counted.
    fn end(&mut self, sql: &str, how: End) -> impl Future<Output = QueryResult<()>> + Send;

    /// Commits the transaction that Diesel has open at the top.
    ///
    /// # Errors
    ///
    /// If it cannot be committed, or if there is none any more: the work has ended it with a raw
    /// `COMMIT` or `ROLLBACK`.
    fn commit(&mut self) -> impl Future<Output = QueryResult<()>> + Send;

    /// Rolls back the innermost transaction or savepoint that Diesel has open.
    fn rollback(&mut self) -> impl Future<Output = QueryResult<()>> + Send;
}

/// How a transaction ends, for instrumentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Commit,
    Rollback,
}

impl End {
    /// What instrumentation is told, at a depth.
    pub(crate) fn event(self) -> fn(NonZeroU32) -> InstrumentationEvent<'static> {
        match self {
            Self::Commit => InstrumentationEvent::commit_transaction,
            Self::Rollback => InstrumentationEvent::rollback_transaction,
        }
    }
}

/// The depth of a transaction that begins at this one.
pub(crate) fn deeper(depth: Option<NonZeroU32>) -> NonZeroU32 {
    depth.map_or(NonZeroU32::MIN, |depth| depth.saturating_add(1))
}

/// Undoes what was done since a savepoint, and the savepoint.
pub(crate) fn roll_back_to(savepoint: &str) -> String {
    format!("ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}")
}

/// Runs a protocol over a link whose futures are ready at once, as those of a blocking connection are.
///
/// # Panics
///
/// If the future waits.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a blocking connection answers before it returns"),
    }
}
