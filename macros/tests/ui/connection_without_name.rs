use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory]
fn close(_: &mut PgConnection) -> QueryResult<()> {
    Ok(())
}

fn main() {
    let _ = close;
}
