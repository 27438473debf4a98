use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory]
fn close(conn: PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

#[advisory]
fn shared(conn: &PgConnection, month: i32) -> QueryResult<i32> {
    let _ = conn;
    Ok(month)
}

fn main() {
    let _ = (close, shared);
}
