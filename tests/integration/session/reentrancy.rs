//! A session that takes what it has already: counted as PostgreSQL counts.

use std::time::Duration;

use diesel::PgConnection;
use diesel_advisory::{AdvisoryConnection, Error};

use crate::support::*;

#[test]
fn a_guard_that_is_dropped_counts_as_released() {
    let (mut conn, name) = (connect(), unique("reentrancy.count"));
    for wait in Wait::ALL {
        let mut outer = conn.advisory_session(&name).acquire().unwrap();
        let inner = wait.on(outer.advisory_session(&name)).acquire().unwrap();
        drop(inner);
        assert_taken(name.clone());
        assert!(outer.is_held().unwrap());
        outer.release().unwrap();
        assert_free(name.clone());
    }
}

#[test]
fn a_shared_lock_is_released_as_shared() {
    let (mut conn, name) = (connect(), unique("reentrancy.shared"));
    let mut exclusive = conn.advisory_session(&name).acquire().unwrap();
    let mut shared = exclusive
        .advisory_session(&name)
        .shared()
        .acquire()
        .unwrap();
    assert!(shared.is_held().unwrap());
    assert_eq!(modes(&mut shared, name.clone()), "ExclusiveLock ShareLock");
    shared.release().unwrap();
    assert_eq!(modes(&mut exclusive, name.clone()), "ExclusiveLock");
    assert!(exclusive.is_held().unwrap());
    exclusive.release().unwrap();

    let mut shared = conn.advisory_session(&name).shared().acquire().unwrap();
    let mut exclusive = shared.advisory_session(&name).acquire().unwrap();
    assert_eq!(
        modes(&mut exclusive, name.clone()),
        "ExclusiveLock ShareLock"
    );
    drop(exclusive);
    assert_eq!(modes(&mut shared, name.clone()), "ShareLock");
    assert!(shared.is_held().unwrap());
    shared.release().unwrap();
    assert_free(name);
}

/// What is asked for is what has to be held: the other mode of the same lock does not count.
#[test]
fn a_guard_is_not_held_in_the_mode_of_another() {
    let (mut conn, name) = (connect(), unique("reentrancy.modes"));
    let mut exclusive = conn.advisory_session(&name).acquire().unwrap();
    let mut shared = exclusive
        .advisory_session(&name)
        .shared()
        .acquire()
        .unwrap();
    execute(
        &mut shared,
        &function_call("pg_advisory_unlock", name.clone()),
    );
    assert_eq!(modes(&mut shared, name.clone()), "ShareLock");
    assert!(shared.is_held().unwrap());
    shared.release().unwrap();
    assert!(!exclusive.is_held().unwrap());
    assert!(matches!(exclusive.release(), Err(Error::NotHeld)));
    assert_free(name);
}

/// Holds a lock, has something fail that asks for it once more together with one that another session
/// holds, and asserts that it is held as before.
#[track_caller]
fn assert_outlives(fail: impl Fn(&mut PgConnection, &str, &str)) {
    let (mut conn, name, other) = (connect(), unique("reentrancy.a"), unique("reentrancy.b"));
    let _holder = Holder::of(other.clone());
    let mut held = conn.advisory_session(&name).acquire().unwrap();
    fail(&mut held, &name, &other);
    assert!(held.is_held().unwrap());
    assert_taken(name.clone());
    held.release().unwrap();
    assert_free(name);
}

/// The failed attempt for a set must not take a part of it away that was held before.
#[test]
fn what_was_held_before_outlives_a_set_in_vain() {
    for wait in [Wait::No, Wait::AtMost(Duration::from_millis(5))] {
        assert_outlives(|conn, name, other| {
            let set = wait.on(conn.advisory_session(name).and(other));
            unavailable(set.acquire().map(drop).unwrap_err());
        });
    }
}

/// The same, if the server ended the wait in another way than by its timeout.
#[test]
fn what_was_held_before_outlives_a_set_that_failed() {
    assert_outlives(|conn, name, other| {
        execute(conn, "SET statement_timeout = '200ms'");
        let set = conn.advisory_session(name).and(other);
        assert!(matches!(set.acquire().map(drop), Err(Error::Database(_))));
        execute(conn, "SET statement_timeout = 0");
    });
}

/// An isolated transaction has the locks as those of the session for a moment.
#[test]
fn what_was_held_before_outlives_an_isolated_run_that_failed() {
    assert_outlives(|conn, name, other| {
        execute(conn, "SET statement_timeout = '200ms'");
        let set = conn.advisory(name).and(other).serializable();
        assert!(matches!(set.run(|_| Ok(())), Err(Error::Database(_))));
        execute(conn, "SET statement_timeout = 0");
    });
}
