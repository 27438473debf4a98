use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory("books")]
unsafe fn close(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

fn main() {
    let _ = unsafe { close(&mut PgConnection::establish("").unwrap()) };
}
