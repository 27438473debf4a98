//! An asynchronous connection as the protocols see it.

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::pin;
use std::task::{Context, Waker};

use diesel::QueryResult;
use diesel::connection::{InstrumentationEvent, TransactionDepthChange, TransactionManagerStatus};
use diesel::deserialize::QueryableByName;
use diesel::pg::Pg;
use diesel::result::Error as DieselError;
use diesel_async::{AnsiTransactionManager, AsyncConnection, RunQueryDsl, TransactionManager};

use crate::protocol::link::{End, Link, deeper, roll_back_to};
use crate::sql::answer::marked;
use crate::sql::look::Look;
use crate::sql::release::END_SESSION;
use crate::sql::statement::Statement;
use crate::trace::{Ending, session_ended};

/// An asynchronous connection to PostgreSQL whose transactions Diesel keeps count of: what the locks of
/// all scopes can be taken on.
pub trait AsyncPgTransactions:
    AsyncConnection<Backend = Pg, TransactionManager = AnsiTransactionManager>
{
}

impl<C> AsyncPgTransactions for C where
    C: AsyncConnection<Backend = Pg, TransactionManager = AnsiTransactionManager>
{
}

/// Encloses a question inside a transaction, whose answer may be an error.
const LOOK: &str = "diesel_advisory_look";

/// Fails outside of a transaction.
const COMMITTING: &str = "SAVEPOINT diesel_advisory_commit";

/// An asynchronous connection as a [`Link`].
#[derive(Debug)]
pub(crate) struct Async<'c, C>(pub(crate) &'c mut C);

impl<C: AsyncPgTransactions> Async<'_, C> {
    fn status(&mut self) -> &mut TransactionManagerStatus {
        AnsiTransactionManager::transaction_manager_status_mut(self.0)
    }

    fn count(&mut self, change: TransactionDepthChange) {
        if let TransactionManagerStatus::Valid(status) = self.status() {
            let _ = status.change_transaction_depth(change);
        }
    }

    fn tell(&mut self, event: fn(NonZeroU32) -> InstrumentationEvent<'static>, depth: NonZeroU32) {
        self.0.instrumentation().on_connection_event(event(depth));
    }

    /// Waits until the server is ready again. The driver reports an error as soon as the server does,
    /// which is before it has undone what has failed.
    async fn settle<T: Send>(&mut self, result: QueryResult<T>) -> QueryResult<T> {
        if result.is_err() {
            let _ = self.0.batch_execute("").await;
        }
        result
    }
}

impl<C: AsyncPgTransactions> Link for Async<'_, C> {
    const PREPARES: bool = true;

    fn transaction_depth(&mut self) -> QueryResult<Option<NonZeroU32>> {
        self.status().transaction_depth()
    }

    fn is_cut_off(&mut self) -> bool {
        // The manager calls itself broken for an open transaction too, so that is hidden from it.
        let TransactionManagerStatus::Valid(status) = self.status() else {
            return true;
        };
        let open = status.in_transaction.take();
        let is_cut_off = AnsiTransactionManager::is_broken_transaction_manager(self.0);
        if let TransactionManagerStatus::Valid(status) = self.status() {
            status.in_transaction = open;
        }
        is_cut_off
    }

    fn set_broken(&mut self) {
        self.status().set_in_error();
    }

    async fn batch(&mut self, sql: &str) -> QueryResult<()> {
        let sent = self.0.batch_execute(sql).await;
        self.settle(sent).await
    }

    async fn code(&mut self, statement: Statement) -> QueryResult<i32> {
        // To the end: a row comes before the commit of the query that has selected it, which can fail.
        let codes: QueryResult<Vec<i32>> = statement.load(self.0).await;
        let code = codes.and_then(|codes| codes.into_iter().next().ok_or(DieselError::NotFound));
        self.settle(code).await
    }

    /// A query would have to be prepared, and a statement that is dropped in the middle of that stays on
    /// the server. So the answer comes as an error.
    async fn look(&mut self, look: Look) -> QueryResult<String> {
        let statement = look.statement();
        let in_transaction = self.transaction_depth()?.is_some();
        let asked = if in_transaction {
            let enclosed = format!("SAVEPOINT {LOOK}; {statement}; RELEASE SAVEPOINT {LOOK}");
            self.batch(&enclosed).await
        } else {
            self.batch(&statement).await
        };
        let Err(error) = asked else {
            return Ok(look.usual().to_owned());
        };
        let Some(answer) = marked(&error) else {
            return Err(error);
        };
        if in_transaction {
            self.batch(&roll_back_to(LOOK)).await?;
        }
        // Behind the answer comes the quotation mark of the server's language.
        Ok(answer.chars().take_while(char::is_ascii_digit).collect())
    }

    async fn rows<T>(&mut self, sql: String) -> QueryResult<Vec<T>>
    where
        T: QueryableByName<Pg> + Send + 'static,
    {
        let rows = diesel::sql_query(sql).load(self.0).await;
        self.settle(rows).await
    }

    async fn begin(&mut self, sql: &str) -> QueryResult<()> {
        let depth = deeper(self.status().transaction_depth()?);
        self.tell(InstrumentationEvent::begin_transaction, depth);
        let begun = self.batch(sql).await;
        match begun {
            Ok(()) => self.count(TransactionDepthChange::IncreaseDepth),
            Err(_) => self.tell(InstrumentationEvent::rollback_transaction, depth),
        }
        begun
    }

    async fn end(&mut self, sql: &str, how: End) -> QueryResult<()> {
        if let Some(depth) = self.status().transaction_depth()? {
            self.tell(how.event(), depth);
        }
        self.batch(sql).await?;
        self.count(TransactionDepthChange::DecreaseDepth);
        Ok(())
    }

    /// Nothing in the driver tells whether a transaction is open, and a `COMMIT` outside of one succeeds.
    /// A savepoint outside of one fails.
    async fn commit(&mut self) -> QueryResult<()> {
        let commit = format!("{COMMITTING}; COMMIT");
        let Err(error) = self.end(&commit, End::Commit).await else {
            return Ok(());
        };
        // In a failed transaction nothing but its end is accepted; outside of one, anything is.
        if self.batch("SELECT").await.is_ok() {
            self.count(TransactionDepthChange::DecreaseDepth);
            // Either the commit has failed, or there was none. The server's language is not known, and
            // Diesel does not tell the code of an error, so the second is made to happen once more.
            return match self.batch(COMMITTING).await {
                Err(outside) if outside.to_string() == error.to_string() => {
                    Err(DieselError::NotInTransaction)
                }
                _ => Err(error),
            };
        }
        if self.batch("ROLLBACK").await.is_err() {
            return Err(error);
        }
        self.count(TransactionDepthChange::DecreaseDepth);
        Ok(())
    }

    async fn rollback(&mut self) -> QueryResult<()> {
        let rolled_back = AnsiTransactionManager::rollback_transaction(self.0).await;
        self.settle(rolled_back).await
    }
}

/// A connection that something is being done with.
///
/// Dropped before that is [`done`](Self::done), as by a cancelled future or a panic, it ends the
/// session.
#[derive(Debug)]
pub(crate) struct Unfinished<'c, C: AsyncPgTransactions> {
    conn: &'c mut C,
    done: bool,
}

impl<'c, C: AsyncPgTransactions> Unfinished<'c, C> {
    pub(crate) fn new(conn: &'c mut C) -> Self {
        Self { conn, done: false }
    }

    pub(crate) fn link(&mut self) -> Async<'_, C> {
        Async(self.conn)
    }

    pub(crate) fn done(mut self) {
        self.done = true;
    }
}

impl<C: AsyncPgTransactions> Drop for Unfinished<'_, C> {
    fn drop(&mut self) {
        if !self.done {
            end_session(self.conn);
        }
    }
}

/// Ends the session, whatever it is in the middle of, and marks the connection as broken.
///
/// To roll back would be gentler, and not enough. Code that has dropped a future inside of its
/// transaction goes on, and believes that it is in there still: what it sends must fail, and not be
/// committed statement by statement. And a pool may keep what is broken: deadpool does until it
/// would give it out, and `diesel-async` tells mobc the opposite of what it should. To all of them
/// a closed connection is one to throw away.
pub(crate) fn end_session<C: AsyncPgTransactions>(conn: &mut C) {
    for _ in 0..2 {
        hand_over(conn, END_SESSION);
    }
    Async(conn).set_broken();
    session_ended(Ending::Cancelled);
}

/// Hands statements to the driver, which sends them after all others whether or not somebody waits
/// for the answer.
pub(crate) fn hand_over<C: AsyncPgTransactions>(conn: &mut C, sql: &str) {
    // The first poll is what hands them over.
    let _ = pin!(conn.batch_execute(sql)).poll(&mut Context::from_waker(Waker::noop()));
}
