//! Session locks: how they are taken, kept across transactions, and released.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, PooledConnection};
use diesel_advisory::{AdvisoryConnection, AdvisoryGuard, Error, IntoAdvisorySession, LockId};
use diesel_advisory_sandbox::Sandbox;

use crate::support::*;

/// Whether another session gets the lock now.
fn is_free(id: impl Into<LockId<'static>>) -> bool {
    let (id, mut other) = (id.into(), connect());
    let lock = other.advisory_session(id).no_wait();
    lock.try_acquire().unwrap().is_some()
}

#[test]
fn run_holds_the_lock_for_the_closure_and_no_longer() {
    let (mut conn, name) = (connect(), unique("session.run"));
    for wait in Wait::ALL {
        let lock = wait.on(conn.advisory_session(&name));
        let free = lock.run(|_| Ok::<_, Error>(is_free(name.clone())));
        assert!(!free.unwrap(), "{wait:?}");
        assert_free(name.clone());

        let lock = wait.on(conn.advisory_session(&name));
        let free = lock.try_run(|_| Ok::<_, Error>(is_free(name.clone())));
        assert_eq!(free.unwrap(), Some(false), "{wait:?}");
        assert_free(name.clone());
    }
    assert_clean(&mut conn);
}

#[test]
fn a_guard_holds_the_lock_until_it_is_released_or_dropped() {
    let (mut conn, name) = (connect(), unique("session.guard"));
    for wait in Wait::ALL {
        let lock = wait.on(conn.advisory_session(&name));
        let mut held = lock.acquire().unwrap();
        assert!(held.is_held().unwrap());
        assert!(!is_free(name.clone()), "{wait:?}");
        held.release().unwrap();
        assert_free(name.clone());

        let lock = wait.on(conn.advisory_session(&name));
        let held = lock.try_acquire().unwrap().unwrap();
        assert!(!is_free(name.clone()), "{wait:?}");
        drop(held);
        assert_free(name.clone());
    }
    assert_clean(&mut conn);
}

#[test]
fn a_forgotten_guard_releases_nothing() {
    let (mut conn, name) = (connect(), unique("session.forgotten"));
    std::mem::forget(conn.advisory_session(&name).acquire().unwrap());
    assert!(!is_free(name.clone()));
    drop(conn);
    wait_until("the session has ended", || is_free(name.clone()));
}

#[test]
fn a_guard_is_a_connection_whose_statements_commit_on_their_own() {
    let (mut conn, name) = (connect(), unique("session.deref"));
    let rows = table(&mut conn);
    let mut held = conn.advisory_session(&name).acquire().unwrap();
    insert(&mut held, &rows, 1).unwrap();
    assert_eq!(committed(&rows), [1]);

    let undone = held.transaction(|conn| {
        insert(conn, &rows, 2)?;
        Err::<(), _>(diesel::result::Error::RollbackTransaction)
    });
    undone.unwrap_err();
    held.transaction(|conn| insert(conn, &rows, 3)).unwrap();
    assert!(held.is_held().unwrap());
    assert_eq!(committed(&rows), [1, 3]);
    held.release().unwrap();
}

#[test]
fn unavailable_is_an_outcome_that_leaves_nothing_behind() {
    let (mut conn, name) = (connect(), unique("session.unavailable"));
    let mut holder = Holder::of(name.clone());
    let own_pid = pid(&mut conn);
    for timeout in [Duration::ZERO, Duration::from_millis(20)] {
        let error = unavailable(
            conn.advisory_session(&name)
                .timeout(timeout)
                .acquire()
                .unwrap_err(),
        );
        assert_eq!(error.lock, LockId::from(name.clone()));
        assert!(error.waited >= timeout, "{error}");
        let pids: Vec<_> = error.holders.iter().map(|holder| holder.pid).collect();
        assert_eq!(pids, [holder.pid()]);

        let ran = conn
            .advisory_session(&name)
            .timeout(timeout)
            .run(|_| -> Result<(), Error> { panic!("it is not held") });
        unavailable(ran.unwrap_err());
        assert!(
            conn.advisory_session(&name)
                .timeout(timeout)
                .try_acquire()
                .unwrap()
                .is_none()
        );
        let ran = conn
            .advisory_session(&name)
            .timeout(timeout)
            .try_run(|_| -> Result<(), Error> { panic!("it is not held") });
        assert!(ran.unwrap().is_none());
        assert_eq!(locks_of(own_pid), 0);
    }
    drop(holder);
    conn.advisory_session(&name)
        .no_wait()
        .acquire()
        .unwrap()
        .release()
        .unwrap();
}

#[test]
fn a_release_hands_the_lock_to_the_next() {
    for wait in [Wait::Inherit, Wait::AtMost(PATIENCE), Wait::Forever] {
        let (mut conn, name) = (connect(), unique("session.next"));
        let held = conn.advisory_session(&name).acquire().unwrap();
        std::thread::scope(|scope| {
            let next = scope.spawn(|| {
                let mut conn = connect();
                let lock = wait.on(conn.advisory_session(&name));
                lock.acquire().unwrap().release()
            });
            wait_until_queued(name.clone(), 1);
            held.release().unwrap();
            next.join().unwrap().unwrap();
        });
        assert_free(name);
    }
}

#[test]
fn shared_locks_exclude_exclusive_ones_only() {
    let (mut conn, mut other, name) = (connect(), connect(), unique("session.shared"));
    let mut held = conn.advisory_session(&name).shared().acquire().unwrap();
    assert!(held.is_held().unwrap());
    for wait in Wait::ALL {
        let also = wait.on(other.advisory_session(&name).shared()).acquire();
        also.unwrap().release().unwrap();
    }
    assert!(!is_free(name.clone()));
    held.release().unwrap();

    let _held = conn.advisory_session(&name).acquire().unwrap();
    let reader = other.advisory_session(&name).shared().no_wait();
    assert!(reader.try_acquire().unwrap().is_none());
}

#[test]
fn an_owning_guard_can_be_stored_and_moved() {
    struct Leader {
        held: AdvisoryGuard<PooledConnection<ConnectionManager<PgConnection>>>,
    }

    let (pool, name) = (
        pool_of_one(Sandbox::shared().url()),
        unique("session.owned"),
    );
    let lock = pool.get().unwrap().into_advisory_session(&name);
    let leader = Leader {
        held: lock.acquire().unwrap(),
    };
    assert!(pool.try_get().is_none(), "the guard has the connection");
    let leader = std::thread::spawn(|| {
        let mut leader = leader;
        assert!(leader.held.is_held().unwrap());
        leader
    });
    let leader = leader.join().unwrap();
    assert!(!is_free(name.clone()));

    std::thread::spawn(|| drop(leader)).join().unwrap();
    assert_free(name.clone());
    assert_clean(&mut pool.get().unwrap());

    let lock = pool.get().unwrap().into_advisory_session(&name);
    let ran = lock.run(|conn| Ok::<_, Error>((pid(conn), is_free(name.clone()))));
    let mut conn = pool.get().unwrap();
    assert_eq!(ran.unwrap(), (pid(&mut conn), false));
}

#[test]
fn everything_that_derefs_to_a_connection_can_be_owned() {
    let name = unique("session.box");
    let boxed = Box::new(connect()).into_advisory_session(&name);
    let held = boxed.acquire().unwrap();
    assert!(!is_free(name.clone()));
    held.release().unwrap();

    let mut conn = connect();
    let borrowed = (&mut conn).into_advisory_session(&name).no_wait();
    let held = borrowed.try_acquire().unwrap().unwrap();
    assert!(!is_free(name.clone()));
    held.release().unwrap();
    assert_free(name);
}

#[test]
fn a_connection_handed_over_in_vain_goes_back_to_its_pool() {
    let (pool, name) = (pool_of_one(Sandbox::shared().url()), unique("session.vain"));
    let _holder = Holder::of(name.clone());
    let before = pid(&mut pool.get().unwrap());
    let lock = || pool.get().unwrap().into_advisory_session(&name).no_wait();
    unavailable(lock().acquire().unwrap_err());
    assert!(lock().try_acquire().unwrap().is_none());
    let mut conn = pool.get().unwrap();
    assert_eq!(pid(&mut conn), before);
    assert_clean(&mut conn);
}

#[test]
fn a_set_is_taken_as_a_whole_or_not_at_all() {
    let (mut conn, names) = (connect(), [(); 3].map(|()| unique("session.set")));
    let own_pid = pid(&mut conn);
    for wait in Wait::ALL {
        let [a, b, c] = &names;
        // Whatever the order, and as often as they are named.
        let lock = wait.on(conn.advisory_session(c).and(a).and(b).and(c));
        let mut held = lock.acquire().unwrap();
        assert!(held.is_held().unwrap());
        assert_eq!(locks_of(own_pid), 3);
        held.release().unwrap();
        assert_clean(&mut conn);
    }
    for missing in &names {
        let _holder = Holder::of(missing.clone());
        for wait in [Wait::No, Wait::AtMost(Duration::from_millis(10))] {
            let [a, b, c] = &names;
            let lock = wait.on(conn.advisory_session(a).and(b).and(c));
            let error = unavailable(lock.acquire().unwrap_err());
            assert_eq!(error.lock.to_string(), *missing);
            let lock = wait.on(conn.advisory_session(a).and(b).and(c));
            assert!(lock.try_acquire().unwrap().is_none());
            assert_clean(&mut conn);
        }
    }
}

#[test]
fn a_set_waits_for_all_of_it_under_one_deadline() {
    let (mut conn, names) = (connect(), [(); 2].map(|()| unique("session.deadline")));
    let timeout = Duration::from_secs(2);
    let mut in_order = names.clone();
    in_order.sort_by_key(|name| LockId::from(name.as_str()).key());
    let [first, last] = in_order.map(|name| (name.clone(), Holder::of(name)));
    let deadline = Instant::now() + timeout;
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let [a, b] = &names;
            let lock = conn.advisory_session(a).and(b).timeout(timeout);
            unavailable(lock.acquire().unwrap_err())
        });
        // Late in the wait for the first, which does not prolong the wait for the other.
        wait_until("much of the time is over", || {
            Instant::now() + timeout / 3 > deadline
        });
        drop(first.1);
        let error = waiting.join().unwrap();
        let late = error.waited.saturating_sub(timeout);
        assert!(error.waited >= timeout && late < timeout / 2, "{error}");
        assert_eq!(error.lock.to_string(), last.0);
    });
    assert_clean(&mut conn);
}

#[test]
fn an_empty_name_is_refused() {
    let mut conn = connect();
    for error in [
        conn.advisory_session("").acquire().unwrap_err(),
        conn.advisory_session("")
            .no_wait()
            .try_acquire()
            .unwrap_err(),
        conn.advisory_session("x").and("").acquire().unwrap_err(),
        conn.advisory_session("")
            .run(|_| Ok::<_, Error>(()))
            .unwrap_err(),
    ] {
        assert!(matches!(error, Error::EmptyName), "{error:?}");
    }
    assert_clean(&mut conn);
}
