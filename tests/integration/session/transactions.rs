//! Session locks and transactions, which must not overlap: the lock would end before the commit.

use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error};

use crate::support::*;

fn begin(conn: &mut PgConnection) {
    AnsiTransactionManager::begin_transaction(conn).unwrap();
}

#[track_caller]
fn assert_in_transaction<T>(result: Result<T, Error>) {
    match result {
        Err(Error::InTransaction) => {}
        Err(other) => panic!("in a transaction is what it should be: {other:?}"),
        Ok(_) => panic!("in a transaction is what it should be"),
    }
}

#[test]
fn inside_a_transaction_they_are_refused() {
    let (mut conn, name) = (connect(), unique("session.refused"));
    let rows = table(&mut conn);
    let kept = conn.transaction(|conn| {
        insert(conn, &rows, 1)?;
        for wait in Wait::ALL {
            assert_in_transaction(wait.on(conn.advisory_session(&name)).acquire());
            assert_in_transaction(wait.on(conn.advisory_session(&name)).try_acquire());
            assert_in_transaction(
                wait.on(conn.advisory_session(&name))
                    .run(|_| -> Result<(), Error> { unreachable!() }),
            );
            assert_in_transaction(
                wait.on(conn.advisory_session(&name))
                    .try_run(|_| -> Result<(), Error> { unreachable!() }),
            );
        }
        // A savepoint is as much of a transaction.
        conn.transaction(|conn| {
            assert_in_transaction(conn.advisory_session(&name).acquire());
            insert(conn, &rows, 2)
        })
    });
    kept.unwrap();
    assert_eq!(committed(&rows), [1, 2]);
    assert_clean(&mut conn);
}

#[test]
fn one_that_the_closure_leaves_open_is_rolled_back() {
    let (mut conn, name) = (connect(), unique("session.left_open"));
    let rows = table(&mut conn);
    for depth in 1..=3 {
        let result = conn.advisory_session(&name).run(|conn| {
            for _ in 0..depth {
                begin(conn);
            }
            insert(conn, &rows, 1)?;
            Ok(())
        });
        assert_in_transaction(result);
        assert_clean(&mut conn);
        assert_free(name.clone());
    }
    assert_eq!(committed(&rows), [] as [i32; 0]);
    conn.transaction(|conn| insert(conn, &rows, 2)).unwrap();
    assert_eq!(committed(&rows), [2]);
}

#[test]
fn one_that_is_open_at_the_release_is_rolled_back() {
    let (mut conn, name) = (connect(), unique("session.open_at_release"));
    let rows = table(&mut conn);

    let mut held = conn.advisory_session(&name).acquire().unwrap();
    begin(&mut held);
    insert(&mut held, &rows, 1).unwrap();
    assert!(held.is_held().unwrap());
    assert_in_transaction(held.release());
    assert_clean(&mut conn);

    let mut held = conn.advisory_session(&name).acquire().unwrap();
    begin(&mut held);
    insert(&mut held, &rows, 2).unwrap();
    drop(held);
    assert_clean(&mut conn);

    assert_free(name);
    assert_eq!(committed(&rows), [] as [i32; 0]);
}

#[test]
fn a_failed_one_that_is_left_open_is_rolled_back() {
    let (mut conn, name) = (connect(), unique("session.left_failed"));
    let result = conn.advisory_session(&name).run(|conn| {
        begin(conn);
        diesel::sql_query("SELECT 1 / 0").execute(conn).unwrap_err();
        Ok(())
    });
    assert_in_transaction(result);
    assert_clean(&mut conn);
    assert_free(name);
}

/// Diesel does not know of it, so that only the server can tell.
#[test]
fn one_that_was_begun_behind_diesels_back_is_rolled_back() {
    let (mut conn, name) = (connect(), unique("session.raw"));
    let rows = table(&mut conn);
    let result = conn.advisory_session(&name).run(|conn| {
        execute(conn, "BEGIN");
        insert(conn, &rows, 1)?;
        Ok(())
    });
    assert_in_transaction(result);
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
