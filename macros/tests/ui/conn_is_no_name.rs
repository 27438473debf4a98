use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory("books", conn = "db")]
fn close(db: &mut PgConnection) -> QueryResult<()> {
    drop(db);
    Ok(())
}

fn main() {
    let _ = close;
}
