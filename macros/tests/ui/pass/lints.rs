//! What is expected of the body is reported there, and nothing else is reported.

#![deny(warnings, unfulfilled_lint_expectations)]

use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, advisory};

#[advisory("books")]
pub fn nothing(conn: &mut PgConnection) -> QueryResult<usize> {
    diesel::sql_query("SELECT 1").execute(conn)
}

// `mut` is needed by the body alone.
#[advisory("books", timeout = "2s", shared, read_only)]
pub fn needed_mut<'c>(mut conn: &'c mut PgConnection, mut month: i32) -> QueryResult<i32> {
    let conn = &mut conn;
    month += 1;
    diesel::sql_query("SELECT 1").execute(*conn)?;
    Ok(month)
}

// The import is used here alone.
#[advisory("books", session)]
pub fn import(conn: &mut PgConnection) -> QueryResult<()> {
    Ok(conn.transaction(|conn| conn.advisory_xact("more books").acquire())?)
}

#[advisory("books:{month}", no_wait, skip)]
pub fn id_alone_uses_the_argument(_conn: &mut PgConnection, month: i32) -> QueryResult<()> {
    Ok(())
}

#[advisory("books")]
pub fn unused_arguments(
    #[expect(unused_variables)] conn: &mut PgConnection,
    #[expect(unused_variables)] month: i32,
) -> QueryResult<()> {
    Ok(())
}

#[advisory("books")]
pub fn unused_variable(_conn: &mut PgConnection) -> QueryResult<()> {
    #[expect(unused_variables)]
    let open = 1;
    Ok(())
}

#[advisory("books")]
pub fn unused_mut(#[expect(unused_mut)] mut conn: &mut PgConnection) -> QueryResult<usize> {
    #[expect(unused_mut)]
    let mut sql = "SELECT 1";
    diesel::sql_query(sql).execute(conn)
}

#[advisory("books")]
pub fn unreachable(_conn: &mut PgConnection) -> QueryResult<()> {
    #![expect(unreachable_code)]
    return Ok(());
    Ok(())
}

#[advisory("books")]
#[expect(unused_must_use)]
pub fn must_use(conn: &mut PgConnection) -> QueryResult<()> {
    diesel::sql_query("SELECT 1").execute(conn);
    Ok(())
}

#[advisory("books")]
#[expect(dead_code)]
fn never_called(_conn: &mut PgConnection) -> QueryResult<()> {
    Ok(())
}

fn main() {}
