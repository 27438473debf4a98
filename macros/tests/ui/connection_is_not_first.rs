use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory]
fn close(month: i32, conn: &mut PgConnection) -> QueryResult<i32> {
    drop(conn);
    Ok(month)
}

fn main() {
    let _ = close;
}
