use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory]
fn close(conn: &mut PgConnection) {
    drop(conn);
}

fn main() {
    let _ = close;
}
