use std::future::Future;
use std::pin::Pin;

use diesel::prelude::*;
use diesel_advisory::advisory;

type Outcome<T> = QueryResult<T>;

#[advisory]
fn option(conn: &mut PgConnection) -> Option<i32> {
    drop(conn);
    None
}

#[advisory]
fn alias(conn: &mut PgConnection) -> Outcome<()> {
    drop(conn);
    Ok(())
}

#[advisory]
async fn later(conn: &mut PgConnection) -> Outcome<()> {
    drop(conn);
    Ok(())
}

#[advisory]
fn future(conn: &mut PgConnection) -> impl Future<Output = ()> {
    async move { drop(conn) }
}

#[advisory]
fn boxed(conn: &mut PgConnection) -> Pin<Box<dyn Future<Output = Outcome<()>> + '_>> {
    Box::pin(async move { Ok(drop(conn)) })
}

fn main() {
    let _ = (option, alias, later);
    let conn = || PgConnection::establish("").unwrap();
    let _ = (future(&mut conn()), boxed(&mut conn()));
}
