//! Several locks at once: in one order, all or none, under one deadline.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error, LockId};
use diesel_advisory_sandbox::Sandbox;

use crate::support::{
    Holder, PATIENCE, Wait, assert_clean, assert_free, connect, connect_to, execute, integer,
    locks_of, pid, unavailable, unique, wait_until,
};

/// Names in the order in which their locks are taken.
fn in_order<const COUNT: usize>() -> [String; COUNT] {
    let mut names = [(); COUNT].map(|()| unique("sets"));
    names.sort_by_key(|name| LockId::from(name).key());
    names
}

#[test]
fn opposite_orders_never_deadlock() {
    const ROUNDS: usize = 200;

    for own in [true, false] {
        for wait in [Wait::Inherit, Wait::AtMost(PATIENCE), Wait::Forever] {
            let [a, b, c] = in_order();
            let orders = [[&a, &b, &c], [&c, &b, &a]];
            let start = Barrier::new(orders.len());
            thread::scope(|scope| {
                for [first, second, third] in orders {
                    let start = &start;
                    scope.spawn(move || {
                        let mut conn = connect();
                        execute(&mut conn, "SET deadlock_timeout = '1ms'");
                        start.wait();
                        for _ in 0..ROUNDS {
                            let result = if own {
                                let set = conn.advisory(first).and(second).and(third);
                                wait.on(set).run(|_| Ok(()))
                            } else {
                                conn.transaction(|conn| {
                                    let set = conn.advisory_xact(first).and(second).and(third);
                                    wait.on(set).acquire()
                                })
                            };
                            assert!(result.is_ok(), "own: {own}, {wait:?}: {result:?}");
                        }
                        assert_clean(&mut conn);
                    });
                }
            });
        }
    }
}

#[test]
fn all_or_none() {
    for wait in [
        Wait::No,
        Wait::AtMost(Duration::from_millis(5)),
        Wait::Inherit,
    ] {
        // Whichever of them is missing.
        for missing in 0..3 {
            let names = in_order::<3>();
            let [a, b, c] = &names;
            let holder = Holder::of(names[missing].clone());
            let mut conn = connect();
            execute(&mut conn, "SET lock_timeout = '5ms'");
            let pid = pid(&mut conn);
            let called =
                |_: &mut PgConnection| -> Result<(), Error> { panic!("not all are locked") };

            let error = wait
                .on(conn.advisory(c).and(a).and(b))
                .run(called)
                .unwrap_err();
            assert_eq!(unavailable(error).lock.to_string(), names[missing]);
            assert_clean(&mut conn);

            let result = conn.transaction(|conn| {
                let error = wait
                    .on(conn.advisory(a).and(b).and(c))
                    .run(called)
                    .unwrap_err();
                assert_eq!(unavailable(error).lock.to_string(), names[missing]);
                assert_eq!(locks_of(pid), 0, "{wait:?}");

                let error = wait
                    .on(conn.advisory_xact(b).and(a).and(c))
                    .acquire()
                    .unwrap_err();
                assert_eq!(unavailable(error).lock.to_string(), names[missing]);
                assert_eq!(locks_of(pid), 0, "{wait:?}");
                let acquired = wait.on(conn.advisory_xact(c).and(b).and(a)).try_acquire()?;
                assert!(!acquired);
                assert_eq!(locks_of(pid), 0, "{wait:?}");

                // One that the transaction had before is not lost with them.
                let had = &names[(missing + 1) % 3];
                conn.advisory_xact(had).acquire()?;
                let error = wait
                    .on(conn.advisory_xact(a).and(b).and(c))
                    .acquire()
                    .unwrap_err();
                assert!(error.is_unavailable());
                assert_eq!(locks_of(pid), 1, "{wait:?}");
                Ok::<_, Error>(())
            });
            result.unwrap();

            drop(holder);
            let set = wait.on(conn.advisory(a).and(b).and(c));
            set.run(|_| {
                assert_eq!(locks_of(pid), 3);
                Ok::<_, Error>(())
            })
            .unwrap();
            assert_clean(&mut conn);
            names.into_iter().for_each(assert_free);
        }
    }
}

#[test]
fn one_deadline_for_all() {
    for inherit in [false, true] {
        for own in [false, true] {
            let [first, second] = in_order();
            let (first_holder, _second_holder) =
                (Holder::of(first.clone()), Holder::of(second.clone()));
            let mut conn = connect();
            let wait = if inherit {
                execute(&mut conn, "SET lock_timeout = '2s'");
                Wait::Inherit
            } else {
                Wait::AtMost(Duration::from_secs(2))
            };
            let long_enough = format!(
                "SELECT count(*)::int AS value FROM pg_stat_activity WHERE pid = {} AND \
                 wait_event = 'advisory' AND clock_timestamp() - query_start > interval '1500 ms'",
                pid(&mut conn)
            );
            let releasing = thread::spawn(move || {
                let mut conn = connect();
                wait_until("most of the time is over", || {
                    integer(&mut conn, &long_enough) == 1
                });
                drop(first_holder);
            });
            let error = if own {
                wait.on(conn.advisory(&second).and(&first)).run(|_| Ok(()))
            } else {
                conn.transaction(|conn| wait.on(conn.advisory_xact(&second).and(&first)).acquire())
            };
            let unavailable = unavailable(error.unwrap_err());
            releasing.join().unwrap();
            // It is the second that was missing, and the wait for it was no longer than what was left.
            assert_eq!(unavailable.lock.to_string(), second);
            assert!(
                unavailable.waited >= Duration::from_secs(2),
                "{unavailable}"
            );
            assert!(
                unavailable.waited < Duration::from_millis(3_400),
                "{unavailable}"
            );
            assert_clean(&mut conn);
        }
    }
}

#[test]
fn waits_for_one_after_the_other() {
    for wait in [Wait::Inherit, Wait::AtMost(PATIENCE), Wait::Forever] {
        let names = in_order::<3>();
        let [a, b, c] = &names;
        let released = names
            .clone()
            .map(|name| Holder::of(name.clone()).until_queued(name));
        let mut conn = connect();
        wait.on(conn.advisory(c).and(b).and(a))
            .run(|_| Ok::<_, Error>(()))
            .unwrap();
        for released in released {
            released.join().unwrap();
        }
        assert_clean(&mut conn);
    }
}

#[test]
fn duplicates_are_taken_once() {
    for wait in Wait::ALL {
        let [a, b] = in_order();
        let proxy = Sandbox::shared().proxy();
        let mut conn = connect_to(proxy.url());
        let pid = pid(&mut conn);
        let same_key = LockId::from(&a).key();
        proxy.reset();
        let set = conn.advisory(&a).and(&b).and(&a).and(same_key).and(&b);
        let result = wait.on(set).run(|_| {
            assert_eq!(locks_of(pid), 2, "{wait:?}");
            Ok::<_, Error>(())
        });
        result.unwrap();
        let tries = proxy
            .sent()
            .join(" ")
            .matches("pg_try_advisory_xact_lock(")
            .count();
        assert_eq!(tries, 2, "{wait:?}");
        assert_clean(&mut conn);
        assert_free(a);
        assert_free(b);
    }
}

#[test]
fn shared_sets_exclude_only_exclusive_ones() {
    for wait in [Wait::No, Wait::AtMost(Duration::from_millis(5))] {
        let [a, b] = in_order();
        let (mut conn, mut other) = (connect(), connect());
        let result = wait.on(conn.advisory(&a).and(&b).shared()).run(|_| {
            let reader = other.advisory(&b).and(&a).shared();
            assert!(wait.on(reader).try_run(|_| Ok::<_, Error>(()))?.is_some());
            let writer = other.advisory(&b).and(&a);
            assert!(wait.on(writer).try_run(|_| Ok::<_, Error>(()))?.is_none());
            Ok::<_, Error>(())
        });
        result.unwrap();
        assert_clean(&mut other);
    }
}

#[test]
fn pairs_numbers_and_names_go_together() {
    let name = unique("sets.mixed");
    let mut conn = connect();
    let pid = pid(&mut conn);
    let result = conn
        .advisory((7, -7))
        .and(&name)
        .and(-7_007)
        .and((&*name, 1))
        .run(|_| {
            assert_eq!(locks_of(pid), 4);
            Ok::<_, Error>(())
        });
    result.unwrap();
    assert_clean(&mut conn);
}
