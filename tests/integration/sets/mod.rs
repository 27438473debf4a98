//! Several locks at once, taken in one order. That it is all or none is in `scenarios`.

mod large;

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error};
use diesel_advisory_sandbox::Sandbox;

use crate::support::{
    Holder, Wait, assert_clean, assert_free, connect, connect_to, execute, in_order, key, locks_of,
    pid, unique,
};

#[test]
fn opposite_orders_never_deadlock() {
    const ROUNDS: usize = 200;

    for own in [true, false] {
        for wait in Wait::WAITING {
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
fn a_set_waits_for_one_after_the_other() {
    for wait in Wait::WAITING {
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
fn duplicates_in_a_set_are_taken_once() {
    for wait in Wait::ALL {
        let [a, b] = in_order();
        let proxy = Sandbox::shared().proxy();
        let mut conn = connect_to(proxy.url());
        let pid = pid(&mut conn);
        let same_key = key(a.clone());
        proxy.reset();
        let set = conn.advisory(&a).and(&b).and(&a).and(same_key).and(&b);
        let result = wait.on(set).run(|_| {
            assert_eq!(locks_of(pid), 2, "{wait:?}");
            Ok::<_, Error>(())
        });
        result.unwrap();
        let sent = proxy.sent().join(" ");
        let (_, taken) = sent.split_once("'{").unwrap_or_default();
        let taken = taken.split('}').next().unwrap_or_default();
        assert_eq!(taken.split(',').count(), 2, "{wait:?}: {sent}");
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
