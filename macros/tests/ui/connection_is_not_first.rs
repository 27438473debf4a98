use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory]
fn close(month: i32, conn: &mut PgConnection) -> QueryResult<i32> {
    drop(conn);
    Ok(month)
}

#[advisory]
fn copy(month: i32, from: &mut PgConnection, to: &mut PgConnection) -> QueryResult<i32> {
    drop((from, to));
    Ok(month)
}

fn main() {
    let _ = (close, copy);
}
