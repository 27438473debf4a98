//! What is seen of a process that waits until another one has migrated.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use diesel_advisory::Error;
use diesel_advisory::migrations::{LockedHarness, Waiting};
use diesel_advisory_sandbox::Sandbox;
use diesel_migrations::MigrationHarness;

use super::source::Steps;
use super::{FIVE, LOCK};
use crate::support::*;

#[test]
fn it_looks_at_most_four_times_a_second() {
    let (lock, proxy) = (unique("migrations.looks"), Sandbox::shared().proxy());
    let (holder, proxy) = (Holder::of(lock.clone()), Arc::new(proxy));
    let (told, hears) = mpsc::channel();
    let mut conn = connect_to(proxy.url());
    let waiter = thread::spawn(move || {
        let harness = LockedHarness::new(&mut conn).lock_id(lock);
        let tell = move |waiting: &Waiting| {
            let sent = proxy.sent();
            let looks = sent.iter().filter(|sql| sql.contains("pg_try_advisory"));
            told.send((waiting.waited, looks.count())).unwrap();
        };
        harness.on_wait(tell).locked(|_| Ok(())).unwrap();
    });
    // Reported at once, after a second, and after two more.
    hears.recv().unwrap();
    let (first, before) = hears.recv().unwrap();
    let (second, after) = hears.recv().unwrap();
    drop(holder);
    waiter.join().unwrap();
    let (waited, looks) = (second.saturating_sub(first), after - before);
    assert!(looks > 1, "{looks}");
    let least = Duration::from_millis(250) * u32::try_from(looks).unwrap();
    assert!(waited >= least, "{looks} in {waited:?}");
}

#[test]
fn a_prepared_transaction_is_waited_for_by_its_name() {
    let builder = Sandbox::builder().setting("max_prepared_transactions", "1");
    let server = builder.start().unwrap();
    let mut other = connect_to(server.url());
    let lock = function_call("pg_advisory_xact_lock", LOCK);
    execute(
        &mut other,
        &format!("BEGIN; {lock}; PREPARE TRANSACTION 'x'"),
    );
    let (told, hears) = mpsc::channel();
    let mut conn = connect_to(server.url());
    let error = LockedHarness::new(&mut conn)
        .timeout(Duration::from_millis(50))
        .on_wait(move |waiting| told.send(waiting.to_string()).unwrap())
        .run_pending_migrations(FIVE)
        .map(drop)
        .unwrap_err();
    let line = "waiting for a prepared transaction to finish migrating, 0 s";
    assert_eq!(hears.recv().unwrap(), line);
    let message = error.to_string();
    assert!(
        message.contains("held by a prepared transaction"),
        "{message}"
    );
}

/// Every function, operator and type has a double that comes first.
#[test]
fn under_a_hostile_search_path_it_waits_and_runs() {
    let url = hostile_database();
    let mut conn = connect_to(&url);
    execute(&mut conn, HOSTILE);
    let steps = Steps::default().then_sql("CREATE TABLE migrated ()");
    let holder = Holder::at(&url, "diesel_advisory.migrations:hostile");
    let mut harness = LockedHarness::new(&mut conn).timeout(Duration::from_millis(20));
    let refused = harness.run_pending_migrations(steps.clone()).map(drop);
    let refused = refused.unwrap_err();
    let refused = Error::find_in(&*refused);
    assert!(refused.is_some_and(Error::is_unavailable), "{refused:?}");
    drop(holder);
    for expected in [1, 0] {
        let mut harness = LockedHarness::new(&mut conn);
        let ran = harness.run_pending_migrations(steps.clone()).unwrap();
        assert_eq!(ran.len(), expected);
    }
    execute(&mut conn, "TABLE hostile.migrated");
}
