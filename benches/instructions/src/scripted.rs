//! A connection without a server: every statement succeeds, and every query answers with a zero.

use std::num::NonZeroU32;
use std::ops::Range;

use diesel::QueryResult;
use diesel::connection::{
    AnsiTransactionManager, CacheSize, Connection, ConnectionSealed, DefaultLoadingMode,
    Instrumentation, LoadConnection, SimpleConnection,
};
use diesel::expression::QueryMetadata;
use diesel::pg::{Pg, PgQueryBuilder, PgValue};
use diesel::query_builder::{Query, QueryBuilder, QueryFragment, QueryId};
use diesel::result::ConnectionResult;
use diesel::row::{Field, PartialRow, Row, RowIndex, RowSealed};

#[derive(Default)]
pub(crate) struct Scripted {
    transactions: AnsiTransactionManager,
    instrumentation: Option<Box<dyn Instrumentation>>,
    /// What was sent, in bytes, so that nobody can leave out the text of a statement.
    sent: usize,
}

impl SimpleConnection for Scripted {
    fn batch_execute(&mut self, query: &str) -> QueryResult<()> {
        self.sent += query.len();
        Ok(())
    }
}

impl ConnectionSealed for Scripted {}

impl Connection for Scripted {
    type Backend = Pg;
    type TransactionManager = AnsiTransactionManager;

    fn establish(_: &str) -> ConnectionResult<Self> {
        Ok(Self::default())
    }

    fn execute_returning_count<T>(&mut self, source: &T) -> QueryResult<usize>
    where
        T: QueryFragment<Pg> + QueryId,
    {
        self.send(source)?;
        Ok(1)
    }

    fn transaction_state(&mut self) -> &mut AnsiTransactionManager {
        &mut self.transactions
    }

    fn instrumentation(&mut self) -> &mut dyn Instrumentation {
        &mut self.instrumentation
    }

    fn set_instrumentation(&mut self, instrumentation: impl Instrumentation) {
        self.instrumentation = Some(Box::new(instrumentation));
    }

    fn set_prepared_statement_cache_size(&mut self, _: CacheSize) {}
}

impl LoadConnection<DefaultLoadingMode> for Scripted {
    type Cursor<'conn, 'query> = std::iter::Once<QueryResult<Zero>>;
    type Row<'conn, 'query> = Zero;

    fn load<'conn, 'query, T>(
        &'conn mut self,
        source: T,
    ) -> QueryResult<Self::Cursor<'conn, 'query>>
    where
        T: Query + QueryFragment<Pg> + QueryId + 'query,
        Pg: QueryMetadata<T::SqlType>,
    {
        self.send(&source)?;
        Ok(std::iter::once(Ok(Zero)))
    }
}

impl Scripted {
    fn send(&mut self, query: &impl QueryFragment<Pg>) -> QueryResult<()> {
        let mut builder = PgQueryBuilder::default();
        query.to_sql(&mut builder, &Pg)?;
        self.sent += builder.finish().len();
        Ok(())
    }

    pub(crate) fn sent(&self) -> usize {
        self.sent
    }
}

/// A row with one column, by whatever name.
#[derive(Debug)]
pub(crate) struct Zero;

impl RowSealed for Zero {}

impl RowIndex<usize> for Zero {
    fn idx(&self, index: usize) -> Option<usize> {
        (index == 0).then_some(0)
    }
}

impl RowIndex<&str> for Zero {
    fn idx(&self, _: &str) -> Option<usize> {
        Some(0)
    }
}

impl<'a> Row<'a, Pg> for Zero {
    type Field<'f>
        = Zero
    where
        'a: 'f,
        Self: 'f;
    type InnerPartialRow = Self;

    fn field_count(&self) -> usize {
        1
    }

    fn get<'b, I>(&'b self, index: I) -> Option<Self::Field<'b>>
    where
        'a: 'b,
        Self: RowIndex<I>,
    {
        self.idx(index).map(|_| Zero)
    }

    fn partial_row(&self, range: Range<usize>) -> PartialRow<'_, Self> {
        PartialRow::new(self, range)
    }
}

impl Field<'_, Pg> for Zero {
    fn field_name(&self) -> Option<&str> {
        None
    }

    fn value(&self) -> Option<PgValue<'_>> {
        const INTEGER: NonZeroU32 = NonZeroU32::new(23).unwrap();

        Some(PgValue::new(&[0; 4], &INTEGER))
    }
}
