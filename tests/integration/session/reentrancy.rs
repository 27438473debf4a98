//! A session that takes what it has already: counted as PostgreSQL counts.

use diesel::prelude::*;
use diesel_advisory::functions::pg_advisory_unlock;
use diesel_advisory::{AdvisoryConnection, Error, LockId, LockKey};

use crate::support::*;

/// The modes in which the session holds the lock, in PostgreSQL's own words.
fn modes(conn: &mut PgConnection, id: impl Into<LockId<'static>>) -> String {
    let (classid, objid, objsubid) = id.into().key().to_pg_locks();
    let sql = format!(
        "SELECT coalesce(string_agg(mode, ' ' ORDER BY mode), '') AS value FROM pg_locks \
         WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid() \
         AND classid = '{classid}' AND objid = '{objid}' AND objsubid = {objsubid}"
    );
    text(conn, &sql)
}

#[track_caller]
fn assert_taken(id: impl Into<LockId<'static>>) {
    let (id, mut other) = (id.into(), connect());
    let lock = other.advisory_session(id).no_wait();
    let taken = lock.try_acquire().unwrap().is_none();
    assert!(taken);
}

#[test]
fn a_lock_is_free_when_it_was_released_as_often_as_taken() {
    let (mut conn, name) = (connect(), unique("reentrancy.count"));
    for wait in Wait::ALL {
        let mut outer = conn.advisory_session(&name).acquire().unwrap();
        let mut middle = wait.on(outer.advisory_session(&name)).acquire().unwrap();
        let inner = wait.on(middle.advisory_session(&name)).acquire().unwrap();
        inner.release().unwrap();
        assert_taken(name.clone());
        assert!(middle.is_held().unwrap());
        drop(middle);
        assert_taken(name.clone());
        assert!(outer.is_held().unwrap());
        outer.release().unwrap();
        assert_free(name.clone());
    }
}

#[test]
fn run_inside_run_does_not_wait_for_itself() {
    let (mut conn, name) = (connect(), unique("reentrancy.run"));
    let lock = conn.advisory_session(&name);
    let innermost = lock.run(|conn| {
        let value = conn.advisory_session(&name).run(|conn| {
            // The other scopes count on their own.
            conn.advisory(&name).run(|_| Ok::<_, Error>(7))
        })?;
        assert_taken(name.clone());
        Ok::<_, Error>(value)
    });
    assert_eq!(innermost.unwrap(), 7);
    assert_free(name);
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
    let LockKey::BigInt(key) = LockKey::from_name(&name) else {
        unreachable!("names have such keys");
    };
    let unlocked = diesel::select(pg_advisory_unlock(key)).get_result(&mut *shared);
    assert_eq!(unlocked, Ok(true));
    assert!(shared.is_held().unwrap());
    shared.release().unwrap();
    assert!(!exclusive.is_held().unwrap());
    assert!(matches!(exclusive.release(), Err(Error::NotHeld)));
    assert_free(name);
}

/// The failed attempt for a set must not take a part of it away that was held before.
#[test]
fn what_was_held_before_outlives_a_set_that_was_not_to_be_had() {
    let (mut conn, name, other) = (connect(), unique("reentrancy.a"), unique("reentrancy.b"));
    let _holder = Holder::of(other.clone());
    let mut held = conn.advisory_session(&name).acquire().unwrap();
    for wait in [Wait::No, Wait::AtMost(std::time::Duration::from_millis(5))] {
        let set = wait.on(held.advisory_session(&name).and(&other));
        unavailable(set.acquire().unwrap_err());
        assert!(held.is_held().unwrap(), "{wait:?}");
        assert_taken(name.clone());
    }
    held.release().unwrap();
    assert_free(name);
}

/// The same, if the server ended the wait in another way than by its timeout.
#[test]
fn what_was_held_before_outlives_a_set_that_failed() {
    let (mut conn, name, other) = (connect(), unique("reentrancy.a"), unique("reentrancy.b"));
    let _holder = Holder::of(other.clone());
    let mut held = conn.advisory_session(&name).acquire().unwrap();
    execute(&mut held, "SET statement_timeout = '200ms'");
    let set = held.advisory_session(&name).and(&other);
    assert!(matches!(set.acquire(), Err(Error::Database(_))));
    execute(&mut held, "SET statement_timeout = 0");
    assert!(held.is_held().unwrap());
    assert_taken(name.clone());
    held.release().unwrap();
    assert_free(name);
}

/// An isolated transaction has the locks as those of the session for a moment.
#[test]
fn what_was_held_before_outlives_an_isolated_run_that_failed() {
    let (mut conn, name, other) = (connect(), unique("reentrancy.a"), unique("reentrancy.b"));
    let _holder = Holder::of(other.clone());
    let mut held = conn.advisory_session(&name).acquire().unwrap();
    execute(&mut held, "SET statement_timeout = '200ms'");
    let set = held.advisory(&name).and(&other).serializable();
    assert!(matches!(set.run(|_| Ok(())), Err(Error::Database(_))));
    execute(&mut held, "SET statement_timeout = 0");
    assert!(held.is_held().unwrap());
    assert_taken(name.clone());
    held.release().unwrap();
    assert_free(name);
}
