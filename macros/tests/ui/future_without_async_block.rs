use std::future::{Future, ready};
use std::pin::Pin;

use diesel::prelude::*;
use diesel_advisory::advisory;

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

async fn work(_month: i32) -> QueryResult<()> {
    Ok(())
}

#[advisory("books")]
fn delegate(_conn: &mut PgConnection, month: i32) -> impl Future<Output = QueryResult<()>> {
    work(month)
}

#[advisory("books")]
fn ends_early(_conn: &mut PgConnection, month: i32) -> BoxFuture<'_, QueryResult<()>> {
    if month == 0 {
        return Box::pin(ready(Ok(())));
    }
    let future = async move { work(month).await };
    Box::pin(future)
}

#[advisory("books")]
fn unwritten(_conn: &mut PgConnection) -> BoxFuture<'_, QueryResult<()>> {
    todo!()
}

fn main() {}
