//! Guards: what they hold, and until when.

use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, PooledConnection};
use diesel_advisory::{AdvisoryConnection, AdvisoryGuard, Error, IntoAdvisorySession};
use diesel_advisory_sandbox::Sandbox;

use crate::support::*;

#[test]
fn a_guard_holds_the_lock_until_it_is_released_or_dropped() {
    let (mut conn, name) = (connect(), unique("session.guard"));
    for wait in Wait::ALL {
        let lock = wait.on(conn.advisory_session(&name));
        let mut held = lock.acquire().unwrap();
        assert!(held.is_held().unwrap());
        assert_taken(name.clone());
        held.release().unwrap();
        assert_free(name.clone());

        let lock = wait.on(conn.advisory_session(&name));
        let held = lock.try_acquire().unwrap().unwrap();
        assert_taken(name.clone());
        drop(held);
        assert_free(name.clone());
    }
    assert_clean(&mut conn);
}

#[test]
fn a_guard_that_is_dropped_takes_one_round_trip() {
    let proxy = Sandbox::shared().proxy();
    let (mut conn, name) = (connect_to(proxy.url()), unique("session.dropped"));
    for wait in Wait::ALL {
        let lock = wait.on(conn.advisory_session(&name).shared());
        let held = lock.try_acquire().unwrap().unwrap();
        proxy.reset();
        drop(held);
        assert_eq!(proxy.round_trips(), 1, "{wait:?}: {:?}", proxy.sent());
        assert_free(name.clone());
    }
}

#[test]
fn a_forgotten_guard_releases_nothing() {
    let (mut conn, name) = (connect(), unique("session.forgotten"));
    std::mem::forget(conn.advisory_session(&name).acquire().unwrap());
    assert_taken(name.clone());
    drop(conn);
    wait_until_free(name);
}

#[test]
fn a_release_hands_the_lock_to_the_next() {
    for wait in Wait::WAITING {
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
    assert_taken(name.clone());

    std::thread::spawn(|| drop(leader)).join().unwrap();
    assert_free(name.clone());
    assert_clean(&mut pool.get().unwrap());

    let lock = pool.get().unwrap().into_advisory_session(&name);
    let ran = lock.run(|conn| {
        assert_taken(name.clone());
        Ok::<_, Error>(pid(conn))
    });
    let mut conn = pool.get().unwrap();
    assert_eq!(ran.unwrap(), pid(&mut conn));
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
