//! Migrations that do not come to their end: the next process goes on at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use diesel::prelude::*;
use diesel_advisory::migrations::LockedHarness;
use diesel_migrations::MigrationHarness;

use super::processes::start;
use super::source::Steps;
use super::{LOCK, locks_in_database, ran, recorded};
use crate::support::*;

/// The first two of three.
fn first_two() -> Steps {
    Steps::default()
        .then_sql("CREATE TABLE ran (migration int)")
        .then_sql("INSERT INTO ran VALUES (2)")
}

fn all_three() -> Steps {
    first_two().then_sql("INSERT INTO ran VALUES (3)")
}

/// Its third is never done.
pub(crate) fn hangs_after_the_second() -> Steps {
    first_two().then(|conn| {
        diesel::sql_query("INSERT INTO ran VALUES (3)").execute(conn)?;
        loop {
            thread::park();
        }
    })
}

/// Runs all three without waiting, and finds each of them run once.
#[track_caller]
fn assert_goes_on_at_once(url: &str) {
    let mut conn = connect_to(url);
    assert_eq!(recorded(&mut conn), "00000000000001 00000000000002");
    assert_eq!(locks_in_database(&mut conn), 0);
    let mut harness = LockedHarness::new(&mut conn).timeout(std::time::Duration::ZERO);
    assert_eq!(
        harness.run_pending_migrations(all_three()).unwrap().len(),
        1
    );
    assert_eq!(ran(&mut conn), [2, 3]);
}

#[test]
fn after_one_that_fails() {
    for outside_of_transactions in [false, true] {
        let url = database();
        let mut failing = first_two().then_sql("SELECT 1 / 0");
        if outside_of_transactions {
            failing = failing.outside_of_transactions();
        }
        let mut conn = connect_to(&url);
        let error = LockedHarness::new(&mut conn)
            .run_pending_migrations(failing)
            .unwrap_err();
        assert_eq!(error.to_string(), "division by zero");
        assert_goes_on_at_once(&url);
        assert_eq!(ran(&mut conn), [2, 3], "the connection is still good");
    }
}

#[test]
fn after_one_that_panics() {
    for outside_of_transactions in [false, true] {
        let url = database();
        let mut panicking = first_two().then(|_| panic!("in a migration"));
        if outside_of_transactions {
            panicking = panicking.outside_of_transactions();
        }
        let mut conn = connect_to(&url);
        let mut harness = LockedHarness::new(&mut conn);
        let run = AssertUnwindSafe(|| drop(harness.run_pending_migrations(panicking)));
        assert!(catch_unwind(run).is_err());
        assert_goes_on_at_once(&url);
        assert_eq!(ran(&mut conn), [2, 3], "the connection is still good");
    }
}

#[test]
fn after_one_that_was_killed() {
    let url = database();
    let name = unique("killed");
    let mut killed = start(&url, "hang", &name);
    let in_the_middle = format!(
        "SELECT count(*)::int AS value FROM pg_stat_activity JOIN pg_locks USING (pid) \
         WHERE application_name = '{name}' AND state = 'idle in transaction' AND query ~ 'VALUES .3' \
         AND locktype = 'advisory'"
    );
    let mut conn = connect_to(&url);
    wait_until("it is in the middle of a migration", || {
        integer(&mut conn, &in_the_middle) == 1
    });

    let (told, hears) = mpsc::channel();
    let waiter = thread::spawn(move || {
        LockedHarness::new(&mut conn)
            .on_wait(move |waiting| drop(told.send(waiting.clone())))
            .run_pending_migrations(all_three())
            .unwrap();
        conn
    });
    let waiting = hears.recv().unwrap();
    assert_eq!(waiting.lock.to_string(), LOCK);
    assert_eq!(waiting.holders[0].application_name, Some(name));
    killed.kill().unwrap();
    killed.wait().unwrap();
    let mut conn = waiter.join().unwrap();
    assert_eq!(ran(&mut conn), [2, 3]);
}

#[test]
fn after_one_whose_session_was_ended() {
    let url = database();
    let mut conn = connect_to(&url);
    let ended = first_two().then_sql("SELECT pg_terminate_backend(pg_backend_pid())");
    let run = LockedHarness::new(&mut conn)
        .run_pending_migrations(ended)
        .map(drop);
    run.unwrap_err();
    let mut looking = connect_to(&url);
    wait_until("the session has gone", || {
        locks_in_database(&mut looking) == 0
    });
    assert_goes_on_at_once(&url);
}
