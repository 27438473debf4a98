//! The same for functions that return a future.

#![deny(warnings, unfulfilled_lint_expectations)]

use std::future::Future;
use std::pin::Pin;

use async_trait::async_trait;
use diesel::QueryResult;
use diesel_advisory::{AsyncAdvisoryConnection, advisory};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

#[async_trait]
pub trait Job {
    async fn run(&self, conn: &mut AsyncPgConnection, month: i32) -> QueryResult<usize>;

    #[advisory("books:{name}", no_wait, skip)]
    async fn id_alone_uses_the_argument(
        &self,
        _conn: &mut AsyncPgConnection,
        name: &str,
    ) -> QueryResult<Option<()>> {
        Ok(None)
    }
}

pub struct Books;

#[async_trait]
impl Job for Books {
    #[advisory("books")]
    async fn run(&self, conn: &mut AsyncPgConnection, mut month: i32) -> QueryResult<usize> {
        month += 1;
        diesel::sql_query(format!("SELECT {month}"))
            .execute(conn)
            .await
    }
}

#[advisory("books", session)]
pub fn import(conn: &mut AsyncPgConnection) -> impl Future<Output = QueryResult<()>> + Send {
    async move { Ok(conn.advisory_xact("more books").acquire().await?) }
}

#[advisory("books")]
pub fn reborrows(conn: &mut AsyncPgConnection) -> impl Future<Output = QueryResult<usize>> + Send {
    async { diesel::sql_query("SELECT 1").execute(conn).await }
}

#[advisory("books")]
pub fn unused<'a>(
    #[expect(unused_variables)] conn: &'a mut AsyncPgConnection,
    #[expect(unused_variables)] month: i32,
) -> Pin<Box<dyn Future<Output = QueryResult<()>> + Send + 'a>> {
    Box::pin(async move {
        #[expect(unused_variables)]
        let open = 1;
        Ok(())
    })
}

#[advisory("books")]
pub fn needed_mut<'a>(
    mut conn: &'a mut AsyncPgConnection,
) -> Pin<Box<dyn Future<Output = QueryResult<usize>> + Send + 'a>> {
    Box::pin(async move {
        let conn = &mut conn;
        diesel::sql_query("SELECT 1").execute(*conn).await
    })
}

#[advisory("books")]
pub fn inner_attributes(_conn: &mut AsyncPgConnection) -> impl Future<Output = QueryResult<()>> {
    #![expect(unreachable_code)]
    async {
        return Ok(());
        Ok(())
    }
}

fn main() {}
