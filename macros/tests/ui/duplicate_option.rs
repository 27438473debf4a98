use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory("books", shared, timeout = "2s", shared)]
fn close(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

fn main() {
    let _ = close;
}
