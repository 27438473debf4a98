//! `CREATE INDEX CONCURRENTLY`, which waits for every older snapshot in the database.

use std::thread;

use diesel::prelude::*;
use diesel_migrations::MigrationHarness;

use super::processes::{INDEX, eight_at_once};
use super::{LOCK, locks_in_database};
use crate::support::*;

fn valid_indexes(conn: &mut PgConnection) -> i32 {
    integer(
        conn,
        "SELECT count(*)::int AS value FROM pg_index \
         WHERE indrelid = 'words'::regclass AND indisvalid AND indisready",
    )
}

#[test]
fn an_index_is_built_while_others_wait() {
    const ROUNDS: usize = 20;

    let url = database();
    let mut conn = connect_to(&url);
    for round in 0..ROUNDS {
        eight_at_once(&url, "index");
        assert_eq!(valid_indexes(&mut conn), 1, "in round {round}");
        conn.revert_last_migration(INDEX).unwrap();
        assert_eq!(valid_indexes(&mut conn), 0);
    }
    assert_eq!(locks_in_database(&mut conn), 0);
}

/// Why the harness polls.
#[test]
fn a_waiter_that_is_blocked_in_a_statement_would_hang_both() {
    let url = database();
    let mut migrating = connect_to(&url);
    let mut waiting = connect_to(&url);
    let (migrating_pid, waiting_pid) = (pid(&mut migrating), pid(&mut waiting));
    for conn in [&mut migrating, &mut waiting] {
        // By default, PostgreSQL would find the circle after a second, and fail one of them.
        execute(conn, "SET deadlock_timeout = '1h'");
    }
    migrating.run_next_migration(INDEX).unwrap();

    lock_session(&mut migrating, LOCK);
    let waiter = thread::spawn(move || lock_session(&mut waiting, LOCK));
    wait_until_queued_at(&url, LOCK, 1);
    let migration = thread::spawn(move || {
        migrating.run_next_migration(INDEX).unwrap();
        migrating
    });

    let mut conn = connect_to(&url);
    let mut is_blocked_by = |blocked: i32, by: i32| {
        let sql = format!("SELECT ({by} = ANY (pg_blocking_pids({blocked})))::int AS value");
        integer(&mut conn, &sql) == 1
    };
    wait_until("both wait for each other", || {
        is_blocked_by(migrating_pid, waiting_pid) && is_blocked_by(waiting_pid, migrating_pid)
    });
    assert!(!migration.is_finished());

    execute(
        &mut conn,
        &format!("SELECT pg_terminate_backend({waiting_pid})"),
    );
    assert!(waiter.join().is_err(), "the waiter has lost its session");
    drop(migration.join().unwrap());
    assert_eq!(valid_indexes(&mut conn), 1);
}
