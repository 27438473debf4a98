//! What session locks cost: round trips, counted on the wire.

use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error, LockKey};
use diesel_advisory_sandbox::{Proxy, Sandbox};

use crate::support::*;

fn connect_through_proxy() -> (Proxy, PgConnection) {
    let proxy = Sandbox::shared().proxy();
    let conn = connect_to(proxy.url());
    (proxy, conn)
}

/// The round trips that something takes, and its value.
fn count<T>(proxy: &Proxy, act: impl FnOnce() -> T) -> (usize, T) {
    proxy.reset();
    let value = act();
    (proxy.round_trips(), value)
}

#[test]
fn one_to_acquire_and_one_to_release() {
    let (proxy, mut conn) = connect_through_proxy();
    let name = unique("trips.one");
    // More than once, as the first could have prepared something.
    for wait in [Wait::ALL, Wait::ALL].concat() {
        let (trips, held) = count(&proxy, || wait.on(conn.advisory_session(&name)).acquire());
        assert_eq!(trips, 1, "{wait:?}");
        let (trips, released) = count(&proxy, || held.unwrap().release());
        assert_eq!((trips, released.is_ok()), (1, true), "{wait:?}");

        let lock = wait.on(conn.advisory_session(&name).shared());
        let (trips, ()) = count(&proxy, || drop(lock.try_acquire().unwrap().unwrap()));
        assert_eq!(trips, 2, "{wait:?}");
    }
}

#[test]
fn two_and_its_own_to_run_a_closure() {
    let (proxy, mut conn) = connect_through_proxy();
    let name = unique("trips.run");
    for wait in [Wait::ALL, Wait::ALL].concat() {
        let lock = wait.on(conn.advisory_session(&name));
        let (trips, ran) = count(&proxy, || lock.run(|_| Ok::<_, Error>(())));
        assert_eq!((trips, ran.is_ok()), (2, true), "{wait:?}");

        let lock = wait.on(conn.advisory_session(&name));
        let (trips, ran) = count(&proxy, || {
            lock.try_run(|conn| {
                execute(conn, "SELECT 'one part'");
                execute(conn, "SELECT 'the next'");
                Ok::<_, Error>(())
            })
        });
        assert_eq!((trips, ran.unwrap()), (4, Some(())), "{wait:?}");

        let lock = wait.on(conn.advisory_session(&name));
        let (trips, ran) = count(&proxy, || lock.run(|_| Err::<(), _>(Error::NotHeld)));
        assert_eq!((trips, ran.is_err()), (2, true), "{wait:?}");
    }
}

#[test]
fn a_set_is_no_dearer_than_one_lock() {
    let (proxy, mut conn) = connect_through_proxy();
    let [a, b, c] = [(); 3].map(|()| unique("trips.set"));
    for wait in [Wait::ALL, Wait::ALL].concat() {
        let lock = wait.on(conn.advisory_session(&a).and(&b).and(&c));
        let (trips, ran) = count(&proxy, || lock.acquire()?.release());
        assert_eq!((trips, ran.is_ok()), (2, true), "{wait:?}");
    }
}

#[test]
fn a_lock_that_is_waited_for_is_no_dearer_than_a_free_one() {
    let (proxy, mut conn) = connect_through_proxy();
    for wait in [Wait::Inherit, Wait::AtMost(PATIENCE), Wait::Forever] {
        let name = unique("trips.waited");
        let released = Holder::of(name.clone()).until_queued(name.clone());
        let lock = wait.on(conn.advisory_session(&name));
        let (trips, ran) = count(&proxy, || lock.acquire()?.release());
        assert_eq!((trips, ran.is_ok()), (2, true), "{wait:?}");
        released.join().unwrap();
    }
}

/// The hand-over is what limits a hot lock.
#[test]
fn while_it_is_held_only_the_users_statements_are_sent() {
    let (proxy, mut conn) = connect_through_proxy();
    let name = unique("trips.sent");
    for wait in Wait::ALL {
        proxy.reset();
        let lock = wait.on(conn.advisory_session(&name));
        let ran = lock.run(|conn| {
            proxy.reset();
            execute(conn, "SELECT 'mine'");
            Ok::<_, Error>(())
        });
        ran.unwrap();
        let sent = proxy.sent();
        assert_eq!(sent.len(), 2, "{sent:?}");
        assert_eq!(sent[0], "SELECT 'mine'");
        assert!(sent[1].contains("pg_advisory_unlock"), "{sent:?}");
    }
}

#[test]
fn one_in_vain_and_one_more_to_say_who_holds_it() {
    let (proxy, mut conn) = connect_through_proxy();
    let name = unique("trips.vain");
    let _holder = Holder::of(name.clone());
    for wait in [Wait::No, Wait::AtMost(std::time::Duration::from_millis(2))] {
        let lock = wait.on(conn.advisory_session(&name));
        let (trips, held) = count(&proxy, || lock.try_acquire().unwrap().is_some());
        assert_eq!((trips, held), (1, false), "{wait:?}");
        let lock = wait.on(conn.advisory_session(&name));
        let (trips, error) = count(&proxy, || lock.acquire().unwrap_err());
        assert_eq!((trips, error.is_unavailable()), (2, true), "{wait:?}");
    }
}

#[test]
fn one_to_ask_whether_it_is_held() {
    let (proxy, mut conn) = connect_through_proxy();
    let name = unique("trips.is_held");
    let mut held = conn.advisory_session(&name).acquire().unwrap();
    for _ in 0..2 {
        let (trips, is_held) = count(&proxy, || held.is_held());
        assert_eq!((trips, is_held.unwrap()), (1, true));
    }
    held.release().unwrap();
}

#[test]
fn one_more_for_keys_that_the_server_hashes() {
    let (proxy, mut conn) = connect_through_proxy();
    let name = unique("trips.hashed");
    for wait in [Wait::ALL, Wait::ALL].concat() {
        let lock = wait.on(conn.advisory_session(LockKey::hashtextextended(&name)));
        let (trips, ran) = count(&proxy, || lock.acquire()?.release());
        assert_eq!((trips, ran.is_ok()), (3, true), "{wait:?}");

        let several = conn
            .advisory_session(LockKey::hashtextextended(&name))
            .and(LockKey::hashtext_pair(&name, "one"))
            .and(&name)
            .and(LockKey::hashtext_pair(&name, "two"));
        let lock = wait.on(several);
        let (trips, ran) = count(&proxy, || lock.acquire()?.release());
        assert_eq!((trips, ran.is_ok()), (3, true), "{wait:?}");
    }
}

#[test]
fn none_for_what_is_refused() {
    let (proxy, mut conn) = connect_through_proxy();
    for wait in Wait::ALL {
        let lock = wait.on(conn.advisory_session("x").and(""));
        let (trips, error) = count(&proxy, || lock.acquire().unwrap_err());
        assert_eq!((trips, proxy.sent().len()), (0, 0), "{wait:?}");
        assert!(matches!(error, Error::EmptyName), "{error:?}");
    }
    let outcome = conn.transaction(|conn| {
        for wait in Wait::ALL {
            let hashed = LockKey::hashtextextended("x");
            let lock = wait.on(conn.advisory_session("x").and(hashed));
            let (trips, error) = count(&proxy, || lock.acquire().unwrap_err());
            assert_eq!((trips, proxy.sent().len()), (0, 0), "{wait:?}");
            assert!(matches!(error, Error::InTransaction), "{error:?}");
        }
        Ok::<_, Error>(())
    });
    outcome.unwrap();
}
