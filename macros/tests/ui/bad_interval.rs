use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory("books", every)]
fn none(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

#[advisory("books", every = 20)]
fn number(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

#[advisory("books", every = "0h")]
fn zero(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

#[advisory("books", every = "1 night")]
fn unit(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

#[advisory("books", every = "20h", once)]
fn both(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

#[advisory("books", once = true)]
fn value(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

#[advisory("books", once, read_only)]
fn reads(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

#[advisory("books", shared, every = "20h")]
fn shared(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

fn main() {
    let _ = (none, number, zero, unit, both, value, reads, shared);
}
