use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory("invoice:{invoce_id}")]
fn bill(conn: &mut PgConnection, invoice_id: i32, (x, y): (i32, i32)) -> QueryResult<i32> {
    drop(conn);
    Ok(invoice_id + x + y)
}

#[advisory("on:{conn}")]
fn connection(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

fn main() {
    let _ = (bill, connection);
}
