use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory("books", session, serializable)]
fn close(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

#[advisory("books", read_only, session)]
fn read(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

fn main() {
    let _ = (close, read);
}
