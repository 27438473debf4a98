//! What PostgreSQL itself shows of a lock: under which key, and who waits for it.

use std::thread;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, SmallInt};
use diesel_advisory::{AdvisoryConnection, Error, LockId, LockKey};

use crate::support::{
    Holder, Wait, assert_free, connect, connect_to, database, execute, in_order, lock_session, pid,
    text, unique, wait_until_queued,
};

#[test]
fn locks_of_another_database_are_other_locks() {
    let url = database();
    let name = unique("visibility.elsewhere");
    let _holder = Holder::at(&url, name.clone());
    assert!(connect_to(&url).is_advisory_locked(&name).unwrap());
    assert!(!connect().is_advisory_locked(&name).unwrap());
    assert_free(name);
}

#[test]
fn a_forms_bits_are_not_those_of_the_other() {
    let (bigint, pair) = (
        LockKey::BigInt(0x0000_1f47_0000_0007),
        LockKey::Pair(0x1f47, 7),
    );
    let _holder = Holder::of(bigint);
    assert!(connect().is_advisory_locked(bigint).unwrap());
    assert!(!connect().is_advisory_locked(pair).unwrap());
    assert_free(pair);
}

/// The query that a session is at, as `pg_stat_activity` shows it.
fn query_of(pid: i32) -> String {
    let sql = format!("SELECT query AS value FROM pg_stat_activity WHERE pid = {pid}");
    text(&mut connect(), &sql)
}

#[test]
fn a_waiter_shows_which_lock_it_waits_for() {
    let plain = unique("visibility.plain");
    let odd = unique("it's */ an odd -- one");
    let long = format!("visibility.{}", "long".repeat(1_000));
    for (id, label) in [
        (LockId::from(plain.clone()), plain.clone()),
        (
            odd.clone().into(),
            odd.replace(|c: char| "'*/ ".contains(c), "_"),
        ),
        (long.clone().into(), format!("{}...", &long[..100])),
        (("invoice", -8_100).into(), "invoice:-8100".to_owned()),
        ((-8_101, 5).into(), "-8101:5".to_owned()),
        ((-8_102).into(), "-8102".to_owned()),
    ] {
        for wait in Wait::WAITING {
            for scope in ["run", "serializable", "nested run", "xact", "session"] {
                let holder = Holder::of(id.clone());
                let mut conn = connect();
                let pid = pid(&mut conn);
                thread::scope(|threads| {
                    let waiting = threads.spawn(|| match scope {
                        "run" => wait
                            .on(conn.advisory(id.clone()))
                            .run(|_| Ok::<_, Error>(())),
                        "serializable" => wait
                            .on(conn.advisory(id.clone()))
                            .serializable()
                            .run(|_| Ok(())),
                        "nested run" => conn
                            .transaction(|conn| wait.on(conn.advisory(id.clone())).run(|_| Ok(()))),
                        "xact" => conn
                            .transaction(|conn| wait.on(conn.advisory_xact(id.clone())).acquire()),
                        _ => wait.on(conn.advisory_session(id.clone())).run(|_| Ok(())),
                    });
                    wait_until_queued(id.clone(), 1);
                    let query = query_of(pid);
                    let begin = format!("/* advisory lock {label} */ ");
                    assert!(query.contains(&begin), "{scope}, {wait:?}: {query}");
                    drop(holder);
                    waiting.join().unwrap().unwrap();
                });
            }
        }
    }
}

#[test]
fn a_waiter_shows_all_locks_of_a_set() {
    let [first, second] = &in_order();
    let holder = Holder::of(second.clone());
    let mut conn = connect();
    let pid = pid(&mut conn);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| conn.advisory(second).and(first).run(|_| Ok::<_, Error>(())));
        wait_until_queued(second.clone(), 1);
        let query = query_of(pid);
        let begin = format!("/* advisory lock {first} {second} */ ");
        assert!(query.contains(&begin), "{query}");
        drop(holder);
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn keys_are_what_pg_locks_shows() {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        classid: i64,
        #[diesel(sql_type = BigInt)]
        objid: i64,
        #[diesel(sql_type = SmallInt)]
        objsubid: i16,
    }
    // Nobody else has a lock in a database that is made for this.
    let mut conn = connect_to(&database());
    for key in [
        LockKey::BigInt(0),
        LockKey::BigInt(1),
        LockKey::BigInt(-1),
        LockKey::BigInt(i64::MIN),
        LockKey::BigInt(i64::MAX),
        LockKey::BigInt(0x0000_0001_8000_0000),
        LockKey::BigInt(-0x0000_0001_8000_0000),
        LockKey::BigInt(0x8000_0000),
        LockKey::from_name("reports.nightly"),
        LockKey::Pair(0, 0),
        LockKey::Pair(-1, 1),
        LockKey::Pair(1, -1),
        LockKey::Pair(i32::MIN, i32::MAX),
        LockKey::Pair(i32::MAX, i32::MIN),
    ] {
        let rows = diesel::sql_query(
            "SELECT classid::bigint, objid::bigint, objsubid FROM pg_locks \
             WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
        );
        lock_session(&mut conn, key);
        let by_hand = rows.clone().load::<Row>(&mut conn).unwrap();
        execute(&mut conn, "SELECT pg_advisory_unlock_all()");
        let by_us = conn
            .advisory(key)
            .run(|conn| rows.load::<Row>(conn))
            .unwrap();
        for shown in [by_hand, by_us] {
            assert_eq!(shown.len(), 1, "{key}");
            let (classid, objid, objsubid) = key.to_pg_locks();
            assert_eq!(shown[0].classid, i64::from(classid), "{key}");
            assert_eq!(shown[0].objid, i64::from(objid), "{key}");
            assert_eq!(shown[0].objsubid, objsubid, "{key}");
            let halves = (
                u32::try_from(shown[0].classid).unwrap(),
                u32::try_from(shown[0].objid).unwrap(),
            );
            assert_eq!(
                LockKey::from_pg_locks(halves.0, halves.1, shown[0].objsubid),
                Some(key)
            );
        }
    }
}
