//! The only things that the protocols of this crate do with a connection.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use diesel::deserialize::QueryableByName;
use diesel::pg::Pg;
use diesel::{QueryResult, sql_types};

/// A connection, reduced to what the protocols in [`protocol`](crate::protocol) need of it.
///
/// They are written once, as `async fn`s over this trait. A blocking connection implements it with
/// futures that are ready at once, and [`ready`] runs the protocol to its end.
pub(crate) trait Link: Send {
    /// Whether a query costs one round trip more than a batch, to be prepared. Then the protocols
    /// use batches where round trips count, and have the server raise what they would have
    /// selected.
    const PREPARES_QUERIES: bool;

    /// How many transactions and savepoints Diesel has open. An error if it has lost track of them.
    fn transaction_depth(&mut self) -> QueryResult<Option<NonZeroU32>>;

    /// Tells the transaction manager that the state of the session is not known any more, so that a
    /// pool throws the connection away.
    fn set_broken(&mut self);

    /// Sends statements that answer nothing.
    fn batch(&mut self, sql: &str) -> impl Future<Output = QueryResult<()>> + Send;

    /// Rolls back the innermost transaction or savepoint that Diesel has open.
    fn rollback(&mut self) -> impl Future<Output = QueryResult<()>> + Send;

    /// Sends a query and reads its rows.
    fn rows<T>(&mut self, sql: String) -> impl Future<Output = QueryResult<Vec<T>>> + Send
    where
        T: QueryableByName<Pg> + Send + 'static;

    /// Sends a query and reads the column `code` of its one row.
    fn code(&mut self, sql: String) -> impl Future<Output = QueryResult<i32>> + Send {
        async {
            let rows = self.rows::<CodeRow>(sql).await?;
            rows.first().map(|row| row.code).ok_or(diesel::NotFound)
        }
    }
}

/// A [`Link`] that can begin a transaction in its own way, and end it.
pub(crate) trait Transact: Link {
    /// Sends statements the last of which begins a transaction, and counts it.
    fn begin(&mut self, sql: &str) -> impl Future<Output = QueryResult<()>> + Send;

    /// Commits the innermost transaction or savepoint that Diesel has open.
    fn commit(&mut self) -> impl Future<Output = QueryResult<()>> + Send;
}

#[derive(Debug, diesel::QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct CodeRow {
    #[diesel(sql_type = sql_types::Integer)]
    code: i32,
}

/// Runs a protocol over a blocking connection.
///
/// # Panics
///
/// If the future waits, which one over a blocking connection cannot.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a blocking connection answers before it returns"),
    }
}
