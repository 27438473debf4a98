use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory("books", session, permits = 0)]
fn close(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

fn main() {
    let _ = close;
}
