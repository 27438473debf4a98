//! Pooled connections: whatever happens under a session lock, the next borrower finds no lock and no
//! transaction.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, PooledConnection};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_advisory::{AdvisoryConnection, Error, IntoAdvisorySession};
use diesel_advisory_sandbox::Sandbox;

use crate::support::*;

type Pooled = PooledConnection<ConnectionManager<PgConnection>>;

/// What the pool did with the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Replaced,
    /// As long as it is one of both.
    KeptOrReplaced,
}

/// Lends the one connection to `misuse`, and asserts that the next borrower is none the wiser.
#[track_caller]
fn lend<T>(fate: Fate, misuse: impl FnOnce(Pooled, &str) -> T) -> T {
    let pool = pool_of_one(Sandbox::shared().url());
    let name = unique("pools.lent");
    let before = pid(&mut pool.get().unwrap());
    let value = misuse(pool.get().unwrap(), &name);
    let mut next = pool.get().unwrap();
    assert_clean(&mut next);
    if pid(&mut next) == before {
        assert_ne!(fate, Fate::Replaced);
        assert_free(name);
    } else {
        assert_ne!(fate, Fate::Kept);
        wait_until_free(name);
    }
    value
}

/// An error that leaves a transaction in which nothing more can be done.
fn fail(conn: &mut PgConnection) -> Result<(), DieselError> {
    diesel::sql_query("SELECT 'x'::int").execute(conn)?;
    Ok(())
}

/// The error is that of [`fail`], and not one that came of it.
#[track_caller]
fn assert_own_error<T: std::fmt::Debug>(result: Result<T, DieselError>) {
    let error = result.unwrap_err();
    assert!(error.to_string().contains("\"x\""), "{error}");
}

/// Panics as `panic!` does, but says nothing.
fn panic_quietly() -> ! {
    resume_unwind(Box::new("on purpose"))
}

#[test]
fn after_the_closures_error() {
    assert_own_error(lend(Fate::Kept, |mut conn, name| {
        conn.advisory_session(name).run(fail)
    }));
    assert_own_error(lend(Fate::Kept, |mut conn, name| {
        conn.advisory_session(name).no_wait().try_run(fail)
    }));
    assert_own_error(lend(Fate::Kept, |conn, name| {
        conn.into_advisory_session(name).run(fail)
    }));
}

#[test]
fn after_an_error_beside_a_guard() {
    assert_own_error(lend(Fate::Kept, |mut conn, name| {
        let mut held = conn.advisory_session(name).acquire()?;
        fail(&mut held)?;
        held.release().map_err(DieselError::from)
    }));
    assert_own_error(lend(Fate::Kept, |conn, name| {
        let mut held = conn.into_advisory_session(name).acquire()?;
        fail(&mut held)?;
        held.release().map_err(DieselError::from)
    }));
}

#[test]
fn after_a_panic_in_the_closure() {
    lend(Fate::Kept, |mut conn, name| {
        let run = || {
            let lock = conn.advisory_session(name);
            lock.run(|_| -> Result<(), Error> { panic_quietly() })
        };
        catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        // Released while the panic went on, and not only when the pool had it again.
        assert_free(name.to_owned());
    });
    lend(Fate::Kept, |mut conn, name| {
        let run = || {
            conn.advisory_session(name)
                .run(|conn| -> Result<(), Error> {
                    begin(conn);
                    begin(conn);
                    panic_quietly()
                })
        };
        catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    });
}

/// The pool replaces every connection that is given back in a panic.
#[test]
fn after_a_panic_that_took_the_connection_with_it() {
    lend(Fate::Replaced, |conn, name| {
        let run = || {
            let lock = conn.into_advisory_session(name);
            lock.run(|_| -> Result<(), Error> { panic_quietly() })
        };
        catch_unwind(AssertUnwindSafe(run)).unwrap_err();
    });
    lend(Fate::Replaced, |conn, name| {
        let hold = || {
            let _held = conn.into_advisory_session(name).acquire().unwrap();
            panic_quietly()
        };
        catch_unwind(AssertUnwindSafe(hold)).unwrap_err();
    });
}

#[test]
fn after_a_panic_while_a_guard_is_alive() {
    lend(Fate::Kept, |mut conn, name| {
        let hold = || {
            let _held = conn.advisory_session(name).acquire().unwrap();
            panic_quietly()
        };
        catch_unwind(AssertUnwindSafe(hold)).unwrap_err();
        assert_free(name.to_owned());
    });
    lend(Fate::Kept, |mut conn, name| {
        let hold = || {
            let mut held = conn.advisory_session(name).acquire().unwrap();
            begin(&mut held);
            fail(&mut held).unwrap_err();
            panic_quietly()
        };
        catch_unwind(AssertUnwindSafe(hold)).unwrap_err();
    });
}

#[test]
fn after_a_failed_statement_in_a_transaction_left_open() {
    for depth in 1..=2 {
        assert_own_error(lend(Fate::Kept, |mut conn, name| {
            conn.advisory_session(name).run(|conn| {
                (0..depth).for_each(|_| begin(conn));
                fail(conn)
            })
        }));
    }
    let left_open = lend(Fate::Kept, |mut conn, name| {
        conn.advisory_session(name).run(|conn| {
            begin(conn);
            fail(conn).unwrap_err();
            Ok::<_, Error>(())
        })
    });
    assert!(
        matches!(left_open, Err(Error::TransactionLeftOpen)),
        "{left_open:?}"
    );
}

#[test]
fn after_a_guard_was_dropped_in_a_failed_transaction() {
    lend(Fate::Kept, |mut conn, name| {
        let mut held = conn.advisory_session(name).acquire().unwrap();
        begin(&mut held);
        begin(&mut held);
        fail(&mut held).unwrap_err();
    });
    lend(Fate::Kept, |conn, name| {
        let mut held = conn.into_advisory_session(name).acquire().unwrap();
        begin(&mut held);
        fail(&mut held).unwrap_err();
    });
}

/// Diesel knows nothing of it: only the server does.
#[test]
fn after_a_raw_begin() {
    let left_open = lend(Fate::KeptOrReplaced, |mut conn, name| {
        let lock = conn.advisory_session(name);
        lock.run(|conn| {
            execute(conn, "BEGIN");
            Ok::<_, Error>(())
        })
    });
    assert!(
        matches!(left_open, Err(Error::TransactionLeftOpen)),
        "{left_open:?}"
    );
}

#[test]
fn after_a_raw_begin_and_an_error() {
    let failed = lend(Fate::KeptOrReplaced, |mut conn, name| {
        conn.advisory_session(name).run(|conn| {
            execute(conn, "BEGIN");
            Err::<(), _>(DieselError::NotFound)
        })
    });
    assert_eq!(failed, Err(DieselError::NotFound));
}

#[test]
fn after_a_raw_begin_beside_a_guard() {
    lend(Fate::KeptOrReplaced, |mut conn, name| {
        let mut held = conn.advisory_session(name).acquire().unwrap();
        execute(&mut held, "BEGIN");
    });
}

#[test]
fn after_a_raw_begin_that_failed() {
    assert_own_error(lend(Fate::KeptOrReplaced, |mut conn, name| {
        conn.advisory_session(name).run(|conn| {
            execute(conn, "BEGIN");
            fail(conn)
        })
    }));
    lend(Fate::KeptOrReplaced, |conn, name| {
        let mut held = conn.into_advisory_session(name).acquire().unwrap();
        execute(&mut held, "BEGIN");
        fail(&mut held).unwrap_err();
    });
}

#[test]
fn after_a_commit_that_failed() {
    let result = lend(Fate::Kept, |mut conn, name| {
        let rows = table(&mut conn);
        let deferred =
            format!("ALTER TABLE {rows} ADD UNIQUE (value) DEFERRABLE INITIALLY DEFERRED");
        execute(&mut conn, &deferred);
        conn.advisory_session(name).run(|conn| {
            conn.transaction(|conn| {
                insert(conn, &rows, 1)?;
                insert(conn, &rows, 1)
            })
        })
    });
    let unique_violation = matches!(
        result,
        Err(DieselError::DatabaseError(
            DatabaseErrorKind::UniqueViolation,
            _
        ))
    );
    assert!(unique_violation, "{result:?}");
}
