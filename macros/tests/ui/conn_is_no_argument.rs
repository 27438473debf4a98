use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory("books", conn = database)]
fn close(db: &mut PgConnection, month: i32) -> QueryResult<i32> {
    drop(db);
    Ok(month)
}

#[advisory("books", conn = month)]
fn open(db: &mut PgConnection, month: i32) -> QueryResult<i32> {
    drop(db);
    Ok(month)
}

fn main() {
    let _ = (close, open);
}
