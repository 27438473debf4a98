#![deny(unused)]

use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory("books")]
pub fn unused(conn: &mut PgConnection, month: i32) -> QueryResult<()> {
    let open = 1;
    Ok(())
}

#[advisory("books")]
pub fn mismatched(conn: &mut PgConnection) -> QueryResult<i32> {
    let month: i32 = "May";
    diesel::sql_query("SELECT 1").execute(conn)?;
    Ok(month)
}

fn main() {}
