use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory]
fn close(conn: &mut PgConnection) -> Option<i32> {
    drop(conn);
    None
}

fn main() {
    let _ = close;
}
