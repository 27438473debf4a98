use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory("invoice:{}")]
fn next(conn: &mut PgConnection, invoice_id: i32) -> QueryResult<i32> {
    drop(conn);
    Ok(invoice_id)
}

#[advisory("invoice:{0}")]
fn number(conn: &mut PgConnection, invoice_id: i32) -> QueryResult<i32> {
    drop(conn);
    Ok(invoice_id)
}

fn main() {
    let _ = (next, number);
}
