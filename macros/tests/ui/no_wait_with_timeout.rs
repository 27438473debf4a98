use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory("books", no_wait, timeout = "2s")]
fn close(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

fn main() {
    let _ = close;
}
