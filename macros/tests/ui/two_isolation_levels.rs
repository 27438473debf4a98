use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory("books", serializable, read_committed)]
fn close(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

fn main() {
    let _ = close;
}
