//! Several processes that start at once. They are this test program again, as told by its environment.

use std::env;
use std::process::{Child, Command, Stdio};

use diesel_advisory::AdvisoryConnection;
use diesel_advisory::migrations::LockedHarness;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::crashes::hangs_after_the_second;
use super::{FIVE, locks_in_database, ran, recorded};
use crate::support::*;

pub(crate) const INDEX: EmbeddedMigrations =
    embed_migrations!("tests/integration/migrations/sets/index");

/// The variable with the database of a process that is to migrate.
const URL: &str = "DIESEL_ADVISORY_TEST_MIGRATE";
/// The variable with its set of migrations.
const SET: &str = "DIESEL_ADVISORY_TEST_SET";
/// The variable with the lock that holds it back until all have started.
const GATE: &str = "DIESEL_ADVISORY_TEST_GATE";

/// Starts a process that migrates as soon as it gets through the gate.
pub(crate) fn start(url: &str, set: &str, gate: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "migrations::processes::process", "--nocapture"])
        .env(URL, url)
        .env(SET, set)
        .env(GATE, gate)
        .env("PGAPPNAME", gate)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// What such a process does. As a test among the others, it does nothing.
#[test]
fn process() {
    let Ok(url) = env::var(URL) else { return };
    let gate = env::var(GATE).unwrap();
    let mut conn = connect_to(&url);
    let through = conn.advisory_session(gate).shared().acquire().unwrap();
    through.release().unwrap();
    let mut harness = LockedHarness::new(&mut conn);
    let done = match env::var(SET).unwrap().as_str() {
        "five" => harness.run_pending_migrations(FIVE),
        "index" => harness.run_pending_migrations(INDEX),
        "hang" => harness.run_pending_migrations(hangs_after_the_second()),
        other => panic!("no such set: {other}"),
    };
    done.unwrap();
}

/// Starts eight processes that migrate at once, and waits until all have succeeded.
pub(crate) fn eight_at_once(url: &str, set: &str) {
    const PROCESSES: i32 = 8;

    let gate = unique("gate");
    let closed = Holder::at(url, gate.clone());
    let processes: Vec<_> = (0..PROCESSES).map(|_| start(url, set, &gate)).collect();
    wait_until_queued_at(url, gate, PROCESSES);
    drop(closed);
    for mut process in processes {
        assert!(process.wait().unwrap().success());
    }
}

#[test]
fn of_eight_processes_each_migration_is_run_by_one() {
    let url = database();
    eight_at_once(&url, "five");
    let mut conn = connect_to(&url);
    assert_eq!(ran(&mut conn), [1, 2, 3, 4, 5]);
    let five = "20260101000000 20260102000000 20260103000000 20260104000000 20260105000000";
    assert_eq!(recorded(&mut conn), five);
    assert_eq!(locks_in_database(&mut conn), 0);

    eight_at_once(&url, "five");
    assert_eq!(ran(&mut conn), [1, 2, 3, 4, 5]);
}

#[test]
fn processes_go_on_where_others_were_stopped() {
    let url = database();
    let mut conn = connect_to(&url);
    for _ in 0..3 {
        conn.run_next_migration(FIVE).unwrap();
    }
    eight_at_once(&url, "five");
    assert_eq!(ran(&mut conn), [1, 2, 3, 4, 5]);
}
