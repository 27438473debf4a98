//! A blocking connection as the protocols see it.

use std::future::{Future, ready as done};
use std::num::NonZeroU32;

use diesel::connection::{
    AnsiTransactionManager, InstrumentationEvent, LoadConnection, TransactionDepthChange,
    TransactionManager, TransactionManagerStatus,
};
use diesel::deserialize::QueryableByName;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_query;

use crate::protocol::link::{End, Link, deeper};
use crate::sql::look::{AnswerRow, Look};
use crate::sql::statement::Statement;

/// A blocking connection to PostgreSQL whose transactions Diesel keeps count of: what the locks of all
/// scopes can be taken on.
pub trait PgTransactions:
    LoadConnection<Backend = Pg, TransactionManager = AnsiTransactionManager>
{
}

impl<C> PgTransactions for C where
    C: LoadConnection<Backend = Pg, TransactionManager = AnsiTransactionManager>
{
}

/// A blocking connection as a [`Link`]: every future is ready at once.
#[derive(Debug)]
pub(crate) struct Blocking<'c, C>(pub(crate) &'c mut C);

impl<C: LoadConnection<Backend = Pg>> Blocking<'_, C> {
    fn status(&mut self) -> &mut TransactionManagerStatus {
        C::TransactionManager::transaction_manager_status_mut(self.0)
    }

    /// Counts a transaction that has begun or ended, unless the connection has noticed it itself.
    fn count(&mut self, change: TransactionDepthChange) {
        if let TransactionManagerStatus::Valid(status) = self.status() {
            let _ = status.change_transaction_depth(change);
        }
    }

    fn tell(&mut self, event: fn(NonZeroU32) -> InstrumentationEvent<'static>, depth: NonZeroU32) {
        self.0.instrumentation().on_connection_event(event(depth));
    }

    fn begin_now(&mut self, sql: &str) -> QueryResult<()> {
        let depth = deeper(self.status().transaction_depth()?);
        self.tell(InstrumentationEvent::begin_transaction, depth);
        let begun = self.0.batch_execute(sql);
        match begun {
            Ok(()) => self.count(TransactionDepthChange::IncreaseDepth),
            Err(_) => self.tell(InstrumentationEvent::rollback_transaction, depth),
        }
        begun
    }

    fn end_now(&mut self, sql: &str, how: End) -> QueryResult<()> {
        if let Some(depth) = self.status().transaction_depth()? {
            self.tell(how.event(), depth);
        }
        self.0.batch_execute(sql)?;
        self.count(TransactionDepthChange::DecreaseDepth);
        Ok(())
    }
}

impl<C: LoadConnection<Backend = Pg>> Link for Blocking<'_, C> {
    const PREPARES: bool = false;

    fn transaction_depth(&mut self) -> QueryResult<Option<NonZeroU32>> {
        self.status().transaction_depth()
    }

    fn is_cut_off(&mut self) -> bool {
        false
    }

    fn set_broken(&mut self) {
        self.status().set_in_error();
    }

    fn batch(&mut self, sql: &str) -> impl Future<Output = QueryResult<()>> + Send {
        done(self.0.batch_execute(sql))
    }

    fn code(&mut self, statement: Statement) -> impl Future<Output = QueryResult<i32>> + Send {
        let row = sql_query(statement.to_string()).get_result::<CodeRow>(self.0);
        done(row.map(|row| row.code))
    }

    fn look(&mut self, look: Look) -> impl Future<Output = QueryResult<String>> + Send {
        let row = sql_query(look.query()).get_result::<AnswerRow>(self.0);
        done(row.map(|row| row.answer))
    }

    fn rows<T>(&mut self, sql: String) -> impl Future<Output = QueryResult<Vec<T>>> + Send
    where
        T: QueryableByName<Pg> + Send + 'static,
    {
        done(sql_query(sql).load(self.0))
    }

    fn begin(&mut self, sql: &str) -> impl Future<Output = QueryResult<()>> + Send {
        done(self.begin_now(sql))
    }

    fn end(&mut self, sql: &str, how: End) -> impl Future<Output = QueryResult<()>> + Send {
        done(self.end_now(sql, how))
    }

    fn commit(&mut self) -> impl Future<Output = QueryResult<()>> + Send {
        // Diesel learns from libpq that a transaction is over, and then says so.
        done(C::TransactionManager::commit_transaction(self.0))
    }

    fn rollback(&mut self) -> impl Future<Output = QueryResult<()>> + Send {
        done(C::TransactionManager::rollback_transaction(self.0))
    }
}

#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(Pg))]
struct CodeRow {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    code: i32,
}
