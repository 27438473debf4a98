//! Transactions, their modes, and sessions.

use super::*;

#[advisory("attribute.rolled back")]
fn write(conn: &mut PgConnection, table: &str, fail: bool) -> QueryResult<()> {
    insert(conn, table, 1)?;
    if fail {
        return Err(DieselError::RollbackTransaction);
    }
    Ok(())
}

#[test]
fn lock_and_work_share_one_fate() {
    let mut conn = connect();
    let table = table(&mut conn);
    let failed = write(&mut conn, &table, true);
    assert_eq!(failed, Err(DieselError::RollbackTransaction));
    assert_eq!(committed(&table), []);
    assert_held_by("attribute.rolled back", |conn| write(conn, &table, false));
    assert_eq!(committed(&table), [1]);
}

#[advisory("attribute.session", session)]
fn report(conn: &mut PgConnection, result: QueryResult<()>) -> QueryResult<()> {
    assert_eq!(depth(conn), None);
    conn.transaction(|_| QueryResult::Ok(()))?;
    assert_locked("attribute.session");
    result
}

#[test]
fn session_opens_no_transaction() {
    assert_held_by("attribute.session", |conn| report(conn, Ok(())));
    let mut conn = connect();
    let failed = report(&mut conn, Err(DieselError::NotFound));
    assert_eq!(failed, Err(DieselError::NotFound));
    assert_clean(&mut conn);
}

/// Isolation level, read only, deferrable.
fn modes(conn: &mut PgConnection) -> String {
    text(
        conn,
        "SELECT concat_ws(' ', current_setting('transaction_isolation'), \
         current_setting('transaction_read_only'), \
         current_setting('transaction_deferrable')) AS value",
    )
}

#[advisory("attribute.modes", read_committed, read_only)]
fn read_committed(conn: &mut PgConnection) -> QueryResult<String> {
    Ok(modes(conn))
}

#[advisory("attribute.modes", repeatable_read, read_write)]
fn repeatable_read(conn: &mut PgConnection) -> QueryResult<String> {
    Ok(modes(conn))
}

#[advisory("attribute.modes", deferrable, serializable, read_only)]
fn deferrable(conn: &mut PgConnection) -> QueryResult<String> {
    Ok(modes(conn))
}

#[advisory("attribute.modes", serializable, not_deferrable)]
fn serializable(conn: &mut PgConnection) -> QueryResult<String> {
    Ok(modes(conn))
}

#[test]
fn the_transaction_has_the_modes_of_the_keys() {
    let mut conn = connect();
    let sql = "SET default_transaction_deferrable = on";
    diesel::sql_query(sql).execute(&mut conn).unwrap();
    for (function, expected) in [
        (read_committed as fn(&mut _) -> _, "read committed on on"),
        (repeatable_read, "repeatable read off on"),
        (deferrable, "serializable on on"),
        (serializable, "serializable off off"),
    ] {
        assert_eq!(function(&mut conn).as_deref(), Ok(expected));
    }
}
