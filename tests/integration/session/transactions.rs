//! Transactions that are open when a session lock is released: the lock would end before the commit.

use diesel_advisory::{AdvisoryConnection, Error};

use crate::support::*;

#[track_caller]
fn assert_left_open(result: &Result<(), Error>) {
    assert!(
        matches!(result, Err(Error::TransactionLeftOpen)),
        "{result:?}"
    );
}

#[test]
fn a_transaction_that_is_open_when_the_guard_is_dropped_is_rolled_back() {
    let (mut conn, name) = (connect(), unique("session.open_at_release"));
    let rows = table(&mut conn);

    let mut held = conn.advisory_session(&name).acquire().unwrap();
    begin(&mut held);
    insert(&mut held, &rows, 2).unwrap();
    drop(held);
    assert_clean(&mut conn);

    assert_free(name);
    assert_eq!(committed(&rows), [] as [i32; 0]);
}

/// Diesel does not know of it, so that only the server can tell.
#[test]
fn a_transaction_begun_behind_diesels_back_is_rolled_back() {
    let (mut conn, name) = (connect(), unique("session.raw"));
    let rows = table(&mut conn);
    let result = conn.advisory_session(&name).run(|conn| {
        execute(conn, "BEGIN");
        insert(conn, &rows, 1)?;
        Ok(())
    });
    assert_left_open(&result);
    assert_clean(&mut conn);
    assert_free(name.clone());
    assert_eq!(committed(&rows), [] as [i32; 0]);

    let mut held = conn.advisory_session(&name).acquire().unwrap();
    execute(&mut held, "BEGIN");
    insert(&mut held, &rows, 2).unwrap();
    drop(held);
    assert_clean(&mut conn);
    assert_free(name);
    assert_eq!(committed(&rows), [] as [i32; 0]);
}
