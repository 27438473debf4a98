use diesel::prelude::*;
use diesel_advisory::advisory;

#[advisory("books", timeout = "2 parsecs")]
fn unit(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

#[advisory("books", timeout = 250)]
fn number(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

#[advisory("books", timeout = "0s")]
fn zero(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

#[advisory("books", timeout = "18446744073709551615h")]
fn ages(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

#[advisory("books", timeout)]
fn none(conn: &mut PgConnection) -> QueryResult<()> {
    drop(conn);
    Ok(())
}

fn main() {
    let _ = (unit, number, zero, ages, none);
}
