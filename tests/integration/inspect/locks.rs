//! Queries on who holds what.

use std::thread;
use std::time::{Duration, SystemTime};

use diesel::prelude::*;
use diesel_advisory::inspect::{self, Lock, Names, pg_locks, pg_stat_activity};
use diesel_advisory::{AdvisoryConnection, Error, LockId, LockKey};
use diesel_advisory_sandbox::Sandbox;

use crate::support::*;

/// Keys that are easily confused with others.
const KEYS: [LockKey; 10] = [
    LockKey::BigInt(1),
    LockKey::Pair(0, 1),
    LockKey::BigInt(-1),
    LockKey::Pair(-1, -1),
    LockKey::BigInt(i64::MIN),
    LockKey::Pair(i32::MIN, 0),
    LockKey::BigInt(0x0000_0001_8000_0000),
    LockKey::Pair(1, i32::MIN),
    LockKey::BigInt(i64::MAX),
    LockKey::Pair(i32::MAX, -1),
];

#[test]
fn every_key_is_told_from_its_likeness() {
    let url = database();
    let mut conn = connect_to(&url);
    for key in KEYS {
        let _held = Holder::at(&url, key);
        let locks: Vec<Lock> = inspect::locks().load(&mut conn).unwrap();
        assert_eq!(locks.len(), 1);
        assert_eq!(locks[0].key, key);
        for other in KEYS {
            let found: Vec<Lock> = inspect::locks()
                .filter(inspect::is_lock(other))
                .load(&mut conn)
                .unwrap();
            assert_eq!(found.len(), usize::from(other == key), "{other} for {key}");
            assert_eq!(conn.is_advisory_locked(other).unwrap(), other == key);
        }
        let locked = inspect::are_advisory_locked(&mut conn, KEYS).unwrap();
        assert_eq!(locked, KEYS.map(|other| other == key), "{key}");
    }
}

#[test]
fn locks_of_other_databases_are_others() {
    let (url, other) = (database(), database());
    let mut conn = connect_to(&url);
    let _held = Holder::at(&other, "a");
    assert_eq!(inspect::locks().load::<Lock>(&mut conn).unwrap(), []);
    let locked = inspect::are_advisory_locked(&mut conn, ["a"]).unwrap();
    assert_eq!(locked, [false]);
}

#[test]
fn holders_and_waiters_can_be_filtered_and_ordered() {
    let url = database();
    let mut conn = connect_to(&url);
    let mut holder = Holder::at(&url, "a");
    holder.lock_shared("b");
    holder.execute("SET application_name = 'web-3'");
    let mut waiting = connect_to(&url);
    let waiting_pid = pid(&mut waiting);
    let before = SystemTime::now();
    let waiter = thread::spawn(move || lock_session(&mut waiting, "a"));
    wait_until_queued_at(&url, "a", 1);

    let waiters: Vec<Lock> = inspect::locks()
        .filter(inspect::is_waiting())
        .load(&mut conn)
        .unwrap();
    let [waiter_row] = waiters.as_slice() else {
        panic!("{waiters:?}");
    };
    assert_eq!(waiter_row.key, LockKey::from_name("a"));
    assert!(!waiter_row.granted && !waiter_row.shared && !waiter_row.is_hidden());
    assert_eq!(waiter_row.pid, Some(waiting_pid));
    assert_eq!(waiter_row.blocked_by, [holder.pid()]);
    assert_eq!(waiter_row.state.as_deref(), Some("active"));
    assert_eq!(waiter_row.user.as_deref(), Some("postgres"));
    assert_eq!(waiter_row.client, None);
    assert!(
        waiter_row
            .query
            .as_ref()
            .unwrap()
            .contains("pg_advisory_lock")
    );
    let since = waiter_row.since.unwrap();
    assert!(since >= before - Duration::from_millis(10) && since <= SystemTime::now());

    let held: Vec<Lock> = inspect::locks()
        .filter(pg_stat_activity::application_name.eq("web-3"))
        .filter(pg_locks::granted)
        .order(pg_locks::mode)
        .load(&mut conn)
        .unwrap();
    let names = Names::from_iter(["b"]);
    let shown: Vec<_> = held
        .iter()
        .map(|lock| (lock.name(&names), lock.shared, lock.pid))
        .collect();
    let key = LockKey::from_name("a").to_string();
    let pid = Some(holder.pid());
    assert_eq!(shown, [(key, false, pid), ("b".into(), true, pid)]);
    assert!(held.iter().all(|lock| lock.blocked_by.is_empty()));

    let selected: Vec<(bool, Option<i32>)> = inspect::locks()
        .filter(inspect::is_lock("a"))
        .order(pg_locks::granted.desc())
        .select((pg_locks::granted, pg_locks::pid))
        .load(&mut conn)
        .unwrap();
    assert_eq!(selected, [(true, pid), (false, Some(waiting_pid))]);

    // Waited for is not locked, but by the one who holds it.
    let locked = inspect::are_advisory_locked(&mut conn, ["a", "b", "c"]).unwrap();
    assert_eq!(locked, [true, true, false]);
    drop(holder);
    waiter.join().unwrap();
}

#[test]
fn many_locks_are_one_query() {
    let proxy = Sandbox::shared().proxy();
    let mut conn = connect_to(proxy.url());
    let name = unique("many");
    let ids = || (0..500).map(|row| LockId::from((name.as_str(), row)));
    let _held = Holder::of(format!("{name}:7"));
    proxy.reset();
    let locked = inspect::are_advisory_locked(&mut conn, ids()).unwrap();
    // What is sent once for each connection, Diesel prepares.
    assert!(proxy.round_trips() <= 2, "{:?}", proxy.sent());
    let locked: Vec<_> = (0..).zip(locked).filter(|(_, locked)| *locked).collect();
    assert_eq!(locked, [(7, true)]);

    let none = inspect::are_advisory_locked(&mut conn, [] as [&str; 0]).unwrap();
    assert_eq!(none, [false; 0]);
    let empty = inspect::are_advisory_locked(&mut conn, ["a", ""]).unwrap_err();
    assert!(matches!(empty, Error::EmptyName));
}

#[test]
fn keys_that_the_server_hashes_are_looked_up_too() {
    let mut conn = connect();
    let text = unique("hashed");
    execute(
        &mut conn,
        &format!("SELECT pg_advisory_lock(hashtextextended('{text}', 0))"),
    );
    let ids = || {
        [
            LockId::hashtext_pair("ns", &text),
            LockId::from("free"),
            LockId::hashtextextended(&text),
            LockId::from("free"),
        ]
    };
    let locked = inspect::are_advisory_locked(&mut conn, ids()).unwrap();
    assert_eq!(locked, [false, false, true, false]);
}

#[test]
fn an_ordinary_role_sees_the_locks_and_not_the_details() {
    let url = database();
    let role = unique("ordinary").replace('.', "_");
    let mut holder = Holder::at(&url, "a");
    holder.execute(&format!(
        "CREATE ROLE {role}; SET application_name = 'web-3'"
    ));
    let mut conn = connect_to(&url);
    execute(&mut conn, &format!("SET ROLE {role}"));

    let seen: Lock = inspect::locks().get_result(&mut conn).unwrap();
    assert!(seen.is_hidden());
    assert_eq!(seen.key, LockKey::from_name("a"));
    assert!(seen.granted);
    assert_eq!(seen.pid, Some(holder.pid()));
    assert_eq!(seen.user.as_deref(), Some("postgres"));
    assert_eq!(seen.application.as_deref(), Some("web-3"));
    assert_eq!((seen.state, seen.since, seen.query), (None, None, None));
    let locked = inspect::are_advisory_locked(&mut conn, ["a", "b"]).unwrap();
    assert_eq!(locked, [true, false]);

    holder.execute(&format!("GRANT pg_read_all_stats TO {role}"));
    let seen: Lock = inspect::locks().get_result(&mut conn).unwrap();
    assert!(!seen.is_hidden());
    assert_eq!(seen.state.as_deref(), Some("idle"));
    assert!(seen.since.is_some() && seen.query.is_some());
}

#[test]
fn a_prepared_transaction_has_no_process() {
    let server = Sandbox::builder()
        .setting("max_prepared_transactions", "1")
        .start()
        .unwrap();
    let mut conn = connect_to(server.url());
    execute(
        &mut conn,
        "BEGIN; SELECT pg_advisory_xact_lock(7); PREPARE TRANSACTION 'x'",
    );
    let lock: Lock = inspect::locks().get_result(&mut conn).unwrap();
    assert_eq!(
        (lock.key, lock.pid, lock.granted),
        (LockKey::BigInt(7), None, true)
    );
    assert_eq!((lock.user, lock.state, lock.since), (None, None, None));
}

/// PostgreSQL goes on showing the activity that it has shown first.
#[test]
fn in_one_transaction_inspect_shows_each_holder_as_it_is_now() {
    let url = database();
    let mut conn = connect_to(&url);
    begin(&mut conn);
    for name in ["first", "second"] {
        let mut holder = Holder::at(&url, "a");
        holder.execute(&format!("SET application_name = '{name}'"));
        let seen: Lock = inspect::locks().get_result(&mut conn).unwrap();
        assert_eq!(seen.application.as_deref(), Some(name));
        assert_eq!(seen.state.as_deref(), Some("idle"));
        assert_eq!(seen.pid, Some(holder.pid()));
    }
    roll_back(&mut conn);
}
