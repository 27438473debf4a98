//! Closures that panic, leave transactions open, or go on after an error.

use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel_advisory::{AdvisoryConnection, Error};

use crate::support::{
    Failure, Wait, assert_clean, assert_free, begin, commit, committed, connect, insert, table,
    unique, values,
};

/// A statement that the server refuses, wherever it is sent.
fn fail(conn: &mut PgConnection) -> DieselError {
    diesel::sql_query("SELECT 1 / 0").execute(conn).unwrap_err()
}

fn is_aborted(conn: &mut PgConnection) -> bool {
    let error = diesel::sql_query("SELECT 1").execute(conn).unwrap_err();
    error.to_string().contains("current transaction is aborted")
}

#[test]
fn a_panic_goes_on_after_the_rollback() {
    for nested in [false, true] {
        let lock = unique("closures.panic");
        let mut conn = connect();
        let table = table(&mut conn);
        if nested {
            begin(&mut conn);
            insert(&mut conn, &table, 1).unwrap();
        }
        let panic = catch_unwind(AssertUnwindSafe(|| {
            conn.advisory(&lock).run(|conn| -> Result<(), Error> {
                insert(conn, &table, 2)?;
                std::panic::panic_any("on purpose");
            })
        }));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"on purpose"));
        assert_free(lock);
        if nested {
            commit(&mut conn);
        }
        assert_eq!(committed(&table), if nested { vec![1] } else { vec![] });
        assert_clean(&mut conn);
    }
}

#[test]
fn transactions_that_the_closure_leaves_open_are_rolled_back() {
    for nested in [false, true] {
        for fails in [false, true] {
            let lock = unique("closures.left");
            let mut conn = connect();
            let table = table(&mut conn);
            if nested {
                begin(&mut conn);
            }
            let result = conn.advisory(&lock).run(|conn| {
                begin(conn);
                insert(conn, &table, 1)?;
                begin(conn);
                insert(conn, &table, 2)?;
                if fails {
                    Err(Failure::OnPurpose)
                } else {
                    Ok(())
                }
            });
            assert!(
                match result {
                    Err(Failure::OnPurpose) => fails,
                    Err(Failure::Lock(Error::TransactionLeftOpen)) => !fails,
                    _ => false,
                },
                "{fails}"
            );
            assert_eq!(values(&mut conn, &table), []);
            if nested {
                commit(&mut conn);
            }
            assert_eq!(committed(&table), []);
            assert_clean(&mut conn);
            assert_free(lock);
        }
    }
}

/// The savepoints of nested runs have the same name. In an aborted transaction a new one is not set, and
/// so the one of the outer run must not be rolled back to in its place.
#[test]
fn in_an_aborted_transaction_no_savepoint_of_an_outer_run_is_hit() {
    for outer in Wait::ALL {
        for inner in Wait::ALL {
            for swallowed in [false, true] {
                check_aborted(outer, inner, swallowed);
            }
        }
    }
}

fn check_aborted(outer_wait: Wait, inner_wait: Wait, swallowed: bool) {
    let case = format!("{outer_wait:?}, {inner_wait:?}, swallowed: {swallowed}");
    let (outer, inner) = (unique("closures.outer"), unique("closures.inner"));
    let mut conn = connect();
    let table = table(&mut conn);
    let result = conn.transaction(|conn| {
        insert(conn, &table, 1)?;
        let result = outer_wait.on(conn.advisory(&outer)).run(|conn| {
            insert(conn, &table, 2)?;
            fail(conn);
            let called = |_: &mut PgConnection| -> Result<(), Error> { panic!("not locked") };
            let error = inner_wait
                .on(conn.advisory(&inner))
                .run(called)
                .unwrap_err();
            assert!(matches!(error, Error::Database(_)), "{case}: {error:?}");
            assert!(is_aborted(conn), "{case}");
            let error = inner_wait
                .on(conn.advisory_xact(&inner))
                .acquire()
                .unwrap_err();
            assert!(matches!(error, Error::Database(_)), "{case}: {error:?}");
            assert!(is_aborted(conn), "{case}");
            if swallowed {
                Ok(())
            } else {
                Err(Failure::OnPurpose)
            }
        });
        match result {
            Err(Failure::OnPurpose) => assert!(!swallowed),
            // What cannot be committed is not reported as done.
            Err(Failure::Lock(Error::Database(_))) => assert!(swallowed),
            result => panic!("{case}: {result:?}"),
        }
        assert_free(outer.clone());
        assert_eq!(values(conn, &table), [1], "{case}");
        insert(conn, &table, 3)
    });
    assert_eq!(result, Ok(1), "{case}");
    assert_eq!(committed(&table), [1, 3], "{case}");
    assert_clean(&mut conn);
    assert_free(inner);
}
