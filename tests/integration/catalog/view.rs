//! The view of all locks.

use std::thread;

use diesel::prelude::*;
use diesel_advisory::inspect::LockName;
use diesel_advisory::{AdvisoryConnection, LockKey, catalog};
use diesel_advisory_sandbox::Sandbox;

use super::installed;
use crate::support::*;

/// The one row of the query, its columns with spaces between.
fn row(conn: &mut PgConnection, columns: &str, condition: &str) -> String {
    let sql = format!(
        "SELECT concat_ws(' ', {columns}) AS value FROM diesel_advisory.locks WHERE {condition}"
    );
    text(conn, &sql)
}

#[test]
fn the_view_shows_every_key_as_it_was_written() {
    let (url, mut conn) = installed();
    let mut holder = Holder::at(&url, 0);
    for key in [
        LockKey::BigInt(-1),
        LockKey::BigInt(i64::MIN),
        LockKey::BigInt(i64::MAX),
        LockKey::BigInt(0x0000_0001_8000_0000),
        LockKey::Pair(0, 0),
        LockKey::Pair(-1, i32::MIN),
        LockKey::Pair(i32::MAX, 1),
        LockKey::from_name("reports.nightly"),
    ] {
        holder.lock(key);
        assert_eq!(
            row(&mut conn, "lock", &format!("key = '{key}'")),
            key.to_string()
        );
    }
    assert_eq!(
        catalog::register(&mut conn, ["reports.nightly"]).unwrap(),
        []
    );
    let named = row(&mut conn, "key", "lock = 'reports.nightly'");
    assert_eq!(named, LockKey::from_name("reports.nightly").to_string());
}

#[test]
fn the_view_shows_who_waits_for_whom() {
    let (url, mut conn) = installed();
    assert_eq!(catalog::register(&mut conn, ["a", "b"]).unwrap(), []);
    let mut holder = Holder::at(&url, "a");
    holder.lock_shared("b");
    holder.execute("SET application_name = 'web-3'");
    let mut waiting = connect_to(&url);
    let (holder_pid, waiting_pid) = (holder.pid(), pid(&mut waiting));
    let waiter = thread::spawn(move || lock_session(&mut waiting, "a"));
    wait_until_queued_at(&url, "a", 1);

    let columns = "mode, status, pid, username, application, state, blocked_by";
    assert_eq!(
        row(&mut conn, columns, "lock = 'a' AND status = 'held'"),
        format!("exclusive held {holder_pid} postgres web-3 idle {{}}")
    );
    assert_eq!(
        row(&mut conn, columns, "lock = 'b'"),
        format!("shared held {holder_pid} postgres web-3 idle {{}}")
    );
    assert_eq!(
        row(&mut conn, columns, "lock = 'a' AND status = 'waiting'"),
        format!("exclusive waiting {waiting_pid} postgres active {{{holder_pid}}}")
    );
    let detail = format!("pid = {waiting_pid} AND since <= clock_timestamp() AND query ~ 'lock'");
    assert_eq!(row(&mut conn, "lock", &detail), "a");
    drop(holder);
    waiter.join().unwrap();
}

#[test]
fn the_view_calls_a_prepared_transaction_what_it_is() {
    let builder = Sandbox::builder().setting("max_prepared_transactions", "1");
    let server = builder.start().unwrap();
    let mut conn = connect_to(server.url());
    catalog::install(&mut conn).unwrap();
    let prepare = "BEGIN; SELECT pg_advisory_xact_lock(7); PREPARE TRANSACTION 'x'";
    execute(&mut conn, prepare);
    let columns = "lock, mode, status, pid, application, state, blocked_by";
    assert_eq!(
        row(&mut conn, columns, "true"),
        "7 exclusive held prepared transaction {}"
    );
}

#[test]
fn the_view_shows_permits_by_number_and_who_waits_for_one() {
    let (url, mut conn) = installed();
    let registered = catalog::register(&mut conn, LockName::permits("render", 3));
    assert_eq!(registered.unwrap(), []);
    let mut holder = Holder::at(&url, permit("render", 1));
    let mut second = connect_to(&url);
    let held = second
        .advisory_session("render")
        .permits(3)
        .acquire()
        .unwrap();
    holder.lock(permit("render", 3));
    let mut waiting = connect_to(&url);
    let waiter = thread::spawn(move || {
        let lock = waiting.advisory_session("render").permits(3);
        lock.acquire().unwrap().release().unwrap();
    });
    wait_until_queued_at(&url, permit("render", 3), 1);
    let locks = "SELECT string_agg(lock, ', ' ORDER BY lock) AS value FROM diesel_advisory.locks \
                 WHERE status = 'held'";
    assert_eq!(
        text(&mut conn, locks),
        "render (1 of 3), render (2 of 3), render (3 of 3), render (gate)"
    );
    held.release().unwrap();
    drop(holder);
    waiter.join().unwrap();
}

/// PostgreSQL goes on showing the activity that it has shown first.
#[test]
fn in_one_transaction_the_view_shows_each_holder_as_it_is_now() {
    let (url, mut conn) = installed();
    begin(&mut conn);
    for name in ["first", "second"] {
        let mut holder = Holder::at(&url, "a");
        holder.execute(&format!("SET application_name = '{name}'"));
        let seen = row(&mut conn, "application, state", "status = 'held'");
        assert_eq!(seen, format!("{name} idle"));
    }
    roll_back(&mut conn);
}
