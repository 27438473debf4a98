use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory("books")]
const fn close(_conn: &mut PgConnection) -> QueryResult<()> {
    Ok(())
}

fn main() {
    let _ = close;
}
