//! `skip`: what the function returns where the lock is unavailable, and where it is free.

use std::cell::Cell;

use super::*;

#[advisory("attribute.skip:{table}", no_wait, skip)]
fn import(conn: &mut PgConnection, table: &str, row: Option<i32>) -> QueryResult<Option<i32>> {
    assert_locked(format!("attribute.skip:{table}"));
    insert(conn, table, row.unwrap_or(3))?;
    Ok(row)
}

#[test]
fn an_option_tells_skipped_from_done() {
    let conn = &mut connect();
    let table = &table(conn);
    assert_eq!(import(conn, table, Some(1)), Ok(Some(1)));

    let holder = Holder::of(format!("attribute.skip:{table}"));
    assert_eq!(import(conn, table, Some(2)), Ok(None));
    drop(holder);
    assert_eq!(committed(table), [1]);

    // The body's own `None` is its result: what it wrote is committed.
    assert_eq!(import(conn, table, None), Ok(None));
    assert_eq!(committed(table), [1, 3]);
    assert_clean(conn);
}

#[advisory("attribute.skip, nested", no_wait, skip)]
#[expect(
    clippy::option_option,
    reason = "skipped, not found and found are told apart"
)]
fn find(_conn: &mut PgConnection, found: Option<i32>) -> QueryResult<Option<Option<i32>>> {
    Ok(Some(found))
}

#[test]
fn options_can_be_nested() {
    let conn = &mut connect();
    assert_eq!(find(conn, Some(1)), Ok(Some(Some(1))));
    assert_eq!(find(conn, None), Ok(Some(None)));
    let holder = Holder::of("attribute.skip, nested");
    assert_eq!(find(conn, Some(1)), Ok(None));
    drop(holder);
}

const HELD: &str = "attribute.skip, held by another";

#[advisory(HELD, skip, no_wait)]
fn nothing(_conn: &mut PgConnection, ran: &Cell<bool>) -> Result<(), Error> {
    ran.set(true);
    Ok(())
}

#[advisory(HELD, timeout = "1ms", skip)]
fn option(_conn: &mut PgConnection, ran: &Cell<bool>) -> QueryResult<Option<String>> {
    ran.set(true);
    Ok(Some("ran".to_owned()))
}

#[advisory(HELD, session, timeout = "1ms", skip)]
fn default(_conn: &mut PgConnection, ran: &Cell<bool>) -> QueryResult<Vec<i32>> {
    ran.set(true);
    Ok(vec![1])
}

#[advisory(HELD, no_wait, skip)]
fn failing(_conn: &mut PgConnection) -> QueryResult<()> {
    Err(DieselError::NotFound)
}

#[test]
fn other_types_have_their_default() {
    let (holder, mut conn, ran) = (Holder::of(HELD), connect(), Cell::new(false));
    nothing(&mut conn, &ran).unwrap();
    assert_eq!(option(&mut conn, &ran), Ok(None));
    assert_eq!(default(&mut conn, &ran), Ok(Vec::new()));
    assert_eq!(failing(&mut conn), Ok(()));
    assert!(!ran.get());
    assert_clean(&mut conn);
    drop(holder);
}

#[advisory("attribute.skip, free", no_wait, skip)]
fn failed(_conn: &mut PgConnection, value: QueryResult<i32>) -> QueryResult<Option<i32>> {
    assert_locked("attribute.skip, free");
    value.map(Some)
}

#[test]
fn errors_of_the_body_are_not_skipped() {
    let mut conn = connect();
    assert_eq!(failed(&mut conn, Ok(1)), Ok(Some(1)));
    let error = failed(&mut conn, Err(DieselError::NotFound));
    assert_eq!(error, Err(DieselError::NotFound));
    assert_clean(&mut conn);
}
