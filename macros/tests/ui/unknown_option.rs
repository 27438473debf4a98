use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory("books", time_out = "2s")]
fn close(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

#[advisory(sharde)]
fn read(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

fn main() {
    let _ = (close, read);
}
