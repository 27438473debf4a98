//! `run` and what it opens: what is committed, what is undone, and when the lock is free again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel_advisory::{AdvisoryConnection, Error};

use crate::support::{
    Wait, assert_clean, assert_free, committed, connect, insert, locks_of, pid, table, unique,
    values,
};

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("on purpose")]
    OnPurpose,
    #[error(transparent)]
    Diesel(#[from] DieselError),
    #[error("the lock: {0}")]
    Lock(#[from] Error),
}

/// A statement that the server refuses, wherever it is sent.
fn fail(conn: &mut PgConnection) -> DieselError {
    diesel::sql_query("SELECT 1 / 0").execute(conn).unwrap_err()
}

fn is_aborted(conn: &mut PgConnection) -> bool {
    let error = diesel::sql_query("SELECT 1").execute(conn).unwrap_err();
    error.to_string().contains("current transaction is aborted")
}

#[test]
fn a_run_commits_and_frees_the_lock_after_that() {
    let lock = unique("frames.commit");
    let mut conn = connect();
    let (table, pid) = (table(&mut conn), pid(&mut conn));
    let value = conn.advisory(&lock).run(|conn| {
        insert(conn, &table, 1)?;
        assert_eq!(locks_of(pid), 1);
        assert_eq!(committed(&table), []);
        Ok::<_, DieselError>("done")
    });
    assert_eq!(value, Ok("done"));
    assert_eq!(committed(&table), [1]);
    assert_clean(&mut conn);
    assert_free(lock);
}

#[test]
fn a_closure_that_fails_is_rolled_back_and_its_error_returned() {
    for wait in Wait::ALL {
        let lock = unique("frames.fail");
        let mut conn = connect();
        let table = table(&mut conn);
        for broken in [false, true] {
            let result = wait.on(conn.advisory(&lock)).run(|conn| {
                insert(conn, &table, 1)?;
                if broken {
                    fail(conn);
                }
                Err::<(), _>(Failure::OnPurpose)
            });
            assert!(
                matches!(result, Err(Failure::OnPurpose)),
                "{wait:?}: {result:?}"
            );
            assert_eq!(committed(&table), []);
            assert_clean(&mut conn);
            assert_free(lock.clone());
        }
    }
}

#[test]
fn a_panic_goes_on_after_the_rollback() {
    for nested in [false, true] {
        let lock = unique("frames.panic");
        let mut conn = connect();
        let table = table(&mut conn);
        if nested {
            AnsiTransactionManager::begin_transaction(&mut conn).unwrap();
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
            AnsiTransactionManager::commit_transaction(&mut conn).unwrap();
        }
        assert_eq!(committed(&table), if nested { vec![1] } else { vec![] });
        assert_clean(&mut conn);
    }
}

#[test]
fn inside_a_transaction_the_lock_lasts_as_long_as_that() {
    for wait in Wait::ALL {
        let lock = unique("frames.open");
        let mut conn = connect();
        let (table, pid) = (table(&mut conn), pid(&mut conn));
        let result = conn.transaction(|conn| {
            insert(conn, &table, 1)?;
            wait.on(conn.advisory(&lock))
                .run(|conn| insert(conn, &table, 2))?;
            assert_eq!(locks_of(pid), 1, "{wait:?}");
            assert_eq!(committed(&table), []);
            QueryResult::Ok(())
        });
        assert_eq!(result, Ok(()));
        assert_eq!(committed(&table), [1, 2]);
        assert_free(lock);
        assert_clean(&mut conn);
    }
}

#[test]
fn inside_a_transaction_a_closure_that_fails_frees_the_lock_at_once() {
    for wait in Wait::ALL {
        let lock = unique("frames.open");
        let mut conn = connect();
        let table = table(&mut conn);
        let result = conn.transaction(|conn| {
            insert(conn, &table, 1)?;
            let result = wait.on(conn.advisory(&lock)).run(|conn| {
                insert(conn, &table, 2)?;
                Err::<(), _>(Failure::Diesel(fail(conn)))
            });
            assert!(
                matches!(result, Err(Failure::Diesel(_))),
                "{wait:?}: {result:?}"
            );
            assert_free(lock.clone());
            insert(conn, &table, 3)
        });
        assert_eq!(result, Ok(1));
        assert_eq!(committed(&table), [1, 3]);
        assert_clean(&mut conn);
    }
}

#[test]
fn runs_nest() {
    for wait in Wait::ALL {
        let (outer, inner) = (unique("frames.outer"), unique("frames.inner"));
        let mut conn = connect();
        let (table, pid) = (table(&mut conn), pid(&mut conn));
        let result = conn.advisory(&outer).run(|conn| {
            insert(conn, &table, 1)?;
            wait.on(conn.advisory(&inner))
                .run(|conn| insert(conn, &table, 2))?;
            let failed = wait.on(conn.advisory(&inner)).run(|conn| {
                insert(conn, &table, 3)?;
                wait.on(conn.advisory(&inner))
                    .run(|conn| insert(conn, &table, 4))?;
                Err::<(), _>(Failure::OnPurpose)
            });
            assert!(failed.is_err());
            assert_eq!(locks_of(pid), 2, "{wait:?}");
            insert(conn, &table, 5)
        });
        assert_eq!(result, Ok(1));
        assert_eq!(committed(&table), [1, 2, 5]);
        assert_clean(&mut conn);
        assert_free(outer);
        assert_free(inner);
    }
}

#[test]
fn the_same_lock_twice_ends_with_the_outermost() {
    for wait in Wait::ALL {
        let lock = unique("frames.twice");
        let mut conn = connect();
        let pid = pid(&mut conn);
        let result = wait.on(conn.advisory(&lock)).run(|conn| {
            wait.on(conn.advisory(&lock))
                .run(|_| Ok::<_, Failure>(()))?;
            let failed = wait.on(conn.advisory(&lock)).run(|conn| {
                conn.advisory_xact(&lock).acquire()?;
                Err::<(), _>(Failure::OnPurpose)
            });
            assert!(failed.is_err());
            assert_eq!(locks_of(pid), 1, "{wait:?}");
            Ok::<_, Failure>(())
        });
        assert!(result.is_ok(), "{wait:?}: {result:?}");
        assert_clean(&mut conn);
        assert_free(lock);
    }
}

#[test]
fn a_savepoint_rolled_back_frees_the_locks_taken_since() {
    for wait in Wait::ALL {
        let (before, since) = (unique("frames.before"), unique("frames.since"));
        let mut conn = connect();
        let pid = pid(&mut conn);
        let result = conn.transaction(|conn| {
            wait.on(conn.advisory_xact(&before)).acquire()?;
            let failed = conn.transaction(|conn| {
                wait.on(conn.advisory_xact(&before)).acquire()?;
                wait.on(conn.advisory_xact(&since)).acquire()?;
                wait.on(conn.advisory(&since)).run(|_| Ok::<_, Error>(()))?;
                assert_eq!(locks_of(pid), 2);
                Err::<(), _>(Failure::OnPurpose)
            });
            assert!(matches!(failed, Err(Failure::OnPurpose)), "{failed:?}");
            assert_eq!(locks_of(pid), 1, "{wait:?}");
            assert_free(since);
            Ok::<_, Failure>(())
        });
        assert!(result.is_ok(), "{wait:?}: {result:?}");
        assert_free(before);
    }
}

#[test]
fn transactions_that_the_closure_leaves_open_share_its_fate() {
    for nested in [false, true] {
        for fails in [false, true] {
            let lock = unique("frames.left");
            let mut conn = connect();
            let table = table(&mut conn);
            if nested {
                AnsiTransactionManager::begin_transaction(&mut conn).unwrap();
            }
            let result = conn.advisory(&lock).run(|conn| {
                AnsiTransactionManager::begin_transaction(conn)?;
                insert(conn, &table, 1)?;
                AnsiTransactionManager::begin_transaction(conn)?;
                insert(conn, &table, 2)?;
                if fails {
                    Err(Failure::OnPurpose)
                } else {
                    Ok(())
                }
            });
            assert_eq!(result.is_err(), fails, "{result:?}");
            let kept = if fails { vec![] } else { vec![1, 2] };
            assert_eq!(values(&mut conn, &table), kept);
            if nested {
                AnsiTransactionManager::commit_transaction(&mut conn).unwrap();
            }
            assert_eq!(committed(&table), kept);
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
    let (outer, inner) = (unique("frames.outer"), unique("frames.inner"));
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
