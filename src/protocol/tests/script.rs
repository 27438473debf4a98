//! A link with a script in the place of a server.

use std::any::Any;
use std::collections::VecDeque;
use std::num::NonZeroU32;

use diesel::QueryResult;
use diesel::deserialize::QueryableByName;
use diesel::pg::Pg;
use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error as DieselError};

use crate::protocol::link::{End, Link};
use crate::sql::look::Look;
use crate::sql::statement::Statement;

/// One that prepares nothing, as a blocking connection.
pub(crate) type Script = Scripted<false>;

/// One that prepares its queries, as an asynchronous connection.
pub(crate) type Preparing = Scripted<true>;

/// A link that answers what was laid down for it, and remembers what was asked.
#[derive(Default)]
pub(crate) struct Scripted<const PREPARES: bool> {
    answers: VecDeque<QueryResult<()>>,
    /// What those say that succeed. Else it is 0, what is usual, and no row.
    codes: VecDeque<i32>,
    looks: VecDeque<String>,
    rows: VecDeque<Box<dyn Any + Send>>,
    pub(crate) sent: Vec<String>,
    pub(crate) depth: u32,
    pub(crate) broken: bool,
    pub(crate) cut_off: bool,
}

impl<const PREPARES: bool> Scripted<PREPARES> {
    pub(crate) fn new<const N: usize>(depth: u32, answers: [QueryResult<()>; N]) -> Self {
        Self {
            answers: answers.into(),
            depth,
            ..Self::default()
        }
    }

    pub(crate) fn with_codes<const N: usize>(mut self, codes: [i32; N]) -> Self {
        self.codes = codes.into();
        self
    }

    pub(crate) fn with_looks<const N: usize>(mut self, looks: [&str; N]) -> Self {
        self.looks = looks.map(str::to_owned).into();
        self
    }

    /// Adds the rows of one query.
    pub(crate) fn with_rows<T: Send + 'static>(mut self, rows: Vec<T>) -> Self {
        self.rows.push_back(Box::new(rows));
        self
    }

    fn answer(&mut self, sql: &str) -> QueryResult<()> {
        self.sent.push(sql.to_owned());
        self.answers.pop_front().unwrap_or(Ok(()))
    }

    #[track_caller]
    pub(crate) fn assert_sent<const N: usize>(&self, beginnings: [&str; N]) {
        assert_eq!(self.sent.len(), N, "{:#?}", self.sent);
        for (sent, beginning) in self.sent.iter().zip(beginnings) {
            assert!(sent.starts_with(beginning), "{sent}");
        }
    }
}

impl<const PREPARES: bool> Link for Scripted<PREPARES> {
    const PREPARES: bool = PREPARES;

    fn transaction_depth(&mut self) -> QueryResult<Option<NonZeroU32>> {
        Ok(NonZeroU32::new(self.depth))
    }

    fn is_cut_off(&mut self) -> bool {
        self.cut_off
    }

    fn set_broken(&mut self) {
        self.broken = true;
    }

    async fn batch(&mut self, sql: &str) -> QueryResult<()> {
        self.answer(sql)
    }

    async fn code(&mut self, statement: Statement) -> QueryResult<i32> {
        self.answer(&statement.to_string())?;
        Ok(self.codes.pop_front().unwrap_or(0))
    }

    async fn look(&mut self, look: Look) -> QueryResult<String> {
        self.answer("look")?;
        let answer = self.looks.pop_front();
        Ok(answer.unwrap_or_else(|| look.usual().to_owned()))
    }

    async fn rows<T>(&mut self, sql: String) -> QueryResult<Vec<T>>
    where
        T: QueryableByName<Pg> + Send + 'static,
    {
        self.answer(&sql)?;
        let rows = self.rows.pop_front();
        Ok(rows.map_or_else(Vec::new, |rows| *rows.downcast().unwrap()))
    }

    async fn begin(&mut self, sql: &str) -> QueryResult<()> {
        self.answer(sql)?;
        self.depth += 1;
        Ok(())
    }

    async fn end(&mut self, sql: &str, _: End) -> QueryResult<()> {
        self.answer(sql)?;
        self.depth -= 1;
        Ok(())
    }

    async fn commit(&mut self) -> QueryResult<()> {
        self.answer("commit")?;
        self.depth -= 1;
        Ok(())
    }

    async fn rollback(&mut self) -> QueryResult<()> {
        self.answer("rollback")?;
        self.depth -= 1;
        Ok(())
    }
}

/// A deadlock, which has details.
#[derive(Debug)]
struct Deadlock;

impl DatabaseErrorInformation for Deadlock {
    fn message(&self) -> &'static str {
        "deadlock detected"
    }

    fn details(&self) -> Option<&str> {
        Some("Process 1 waits for ShareLock")
    }

    fn hint(&self) -> Option<&str> {
        None
    }

    fn table_name(&self) -> Option<&str> {
        None
    }

    fn column_name(&self) -> Option<&str> {
        None
    }

    fn constraint_name(&self) -> Option<&str> {
        None
    }

    fn statement_position(&self) -> Option<i32> {
        None
    }
}

pub(super) fn deadlock() -> QueryResult<()> {
    let kind = DatabaseErrorKind::Unknown;
    Err(DieselError::DatabaseError(kind, Box::new(Deadlock)))
}
