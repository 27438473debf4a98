//! What is done under the lock, and which lock it is.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use diesel::migration::{MigrationSource, Result};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_advisory::migrations::LockedHarness;
use diesel_advisory::{AdvisoryConnection, Error};
use diesel_migrations::MigrationHarness;

use super::source::Steps;
use super::{FIVE, LOCK, locks_in_database, ran, recorded};
use crate::support::*;

type Change = fn(&mut LockedHarness<'_, PgConnection>, Steps) -> Result<()>;

/// Everything that runs or reverts something, when the first of the steps has been applied already.
const CHANGES: &[(&str, Change)] = &[
    ("run pending", |harness, steps| {
        harness.run_pending_migrations(steps).map(drop)
    }),
    ("run next", |harness, steps| {
        harness.run_next_migration(steps).map(drop)
    }),
    ("run one", |harness, steps| {
        let migrations: Vec<Box<dyn diesel::migration::Migration<Pg>>> = steps.migrations()?;
        harness.run_migration(&migrations[1]).map(drop)
    }),
    ("run these", |harness, steps| {
        harness.run_migrations(&steps.migrations()?).map(drop)
    }),
    ("revert last", |harness, steps| {
        harness.revert_last_migration(steps).map(drop)
    }),
    ("revert all", |harness, steps| {
        harness.revert_all_migrations(steps).map(drop)
    }),
    ("revert one", |harness, steps| {
        let migrations: Vec<Box<dyn diesel::migration::Migration<Pg>>> = steps.migrations()?;
        harness.revert_migration(&migrations[0]).map(drop)
    }),
    ("redo", |harness, steps| {
        harness.redo_last_migration(steps).map(drop)
    }),
    ("locked", |harness, steps| {
        harness.locked(|conn| conn.run_pending_migrations(steps).map(drop))
    }),
];

/// Migrations that fail if the lock is not held by the session that runs them.
fn watching() -> Steps {
    fn is_held(conn: &mut PgConnection) -> Result<()> {
        diesel::sql_query("CREATE TABLE IF NOT EXISTS seen (pid int)").execute(conn)?;
        diesel::sql_query("INSERT INTO seen SELECT pg_backend_pid()").execute(conn)?;
        let held = conn.is_advisory_locked(LOCK)? && locks_of(pid(conn)) == 1;
        held.then_some(())
            .ok_or_else(|| "it does not hold the lock".into())
    }
    Steps::of(is_held).then(is_held)
}

#[test]
fn every_run_and_revert_is_done_under_the_lock() {
    for (what, change) in CHANGES {
        let url = database();
        let mut conn = connect_to(&url);
        LockedHarness::new(&mut conn)
            .run_next_migration(watching())
            .unwrap();
        let seen = "SELECT count(*)::int AS value FROM seen";
        assert_eq!(integer(&mut conn, seen), 1);

        let held = Holder::at(&url, LOCK);
        let mut harness = LockedHarness::new(&mut conn).timeout(Duration::ZERO);
        let error = change(&mut harness, watching()).unwrap_err();
        let ours = Error::find_in(&*error).unwrap_or_else(|| panic!("{what}: {error}"));
        assert!(ours.is_unavailable(), "{what}: {error}");
        assert_eq!(integer(&mut conn, seen), 1, "{what}");
        drop(held);

        let mut harness = LockedHarness::new(&mut conn).timeout(Duration::ZERO);
        change(&mut harness, watching()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(integer(&mut conn, seen) > 1, "{what}");
        assert_eq!(locks_in_database(&mut conn), 0, "{what}");
    }
}

#[test]
fn what_has_been_done_already_is_not_done_again() {
    let mut conn = connect_to(&database());
    let migrations: Vec<Box<dyn diesel::migration::Migration<Pg>>> = FIVE.migrations().unwrap();
    let mut harness = LockedHarness::new(&mut conn);
    for _ in 0..2 {
        harness.run_migration(&migrations[0]).unwrap();
        harness.run_migrations(&migrations[..2]).unwrap();
    }
    for _ in 0..2 {
        harness.revert_migration(&migrations[1]).unwrap();
    }
    assert_eq!(ran(&mut conn), [1]);
    let mut harness = LockedHarness::new(&mut conn);
    harness.run_next_migration(FIVE).unwrap();
    harness.redo_last_migration(FIVE).unwrap();
    assert_eq!(ran(&mut conn), [1, 2]);
    let mut harness = LockedHarness::new(&mut conn);
    harness.run_pending_migrations(FIVE).unwrap();
    harness.revert_last_migration(FIVE).unwrap();
    assert_eq!(ran(&mut conn), [1, 2, 3, 4]);
    LockedHarness::new(&mut conn)
        .revert_all_migrations(FIVE)
        .unwrap();
    assert_eq!(recorded(&mut conn), "");
}

#[test]
fn schemas_do_not_wait_for_each_other_and_one_does() {
    let url = database();
    let mut conn = connect_to(&url);
    execute(
        &mut conn,
        "CREATE SCHEMA \"tenant 1\"; CREATE SCHEMA tenant2",
    );
    execute(&mut conn, "SET search_path = \"tenant 1\", public");

    let others = Steps::of(move |_| {
        let mut conn = connect_to(&url);
        for (search_path, is_free) in [
            ("tenant2, public", true),
            ("public", true),
            ("missing, tenant2", true),
            ("\"tenant 1\"", false),
            ("missing, \"tenant 1\", public", false),
        ] {
            execute(&mut conn, &format!("SET search_path = {search_path}"));
            let mut harness = LockedHarness::new(&mut conn).timeout(Duration::ZERO);
            let ran = harness.locked(|_| Ok(()));
            assert_eq!(ran.is_ok(), is_free, "{search_path}: {ran:?}");
        }
        Ok(())
    });
    LockedHarness::new(&mut conn)
        .run_pending_migrations(others)
        .unwrap();
}

/// The wire format.
#[test]
fn the_lock_has_the_name_of_the_schema() {
    let mut conn = connect_to(&database());
    let is_held = |id: &'static str| {
        move |conn: &mut PgConnection| {
            assert!(conn.is_advisory_locked(id)?, "{id}");
            Ok(())
        }
    };
    LockedHarness::new(&mut conn)
        .locked(is_held("diesel_advisory.migrations:public"))
        .unwrap();
    LockedHarness::new(&mut conn)
        .lock_id("another one")
        .locked(is_held("another one"))
        .unwrap();
    execute(
        &mut conn,
        "CREATE SCHEMA \"Tenant's\"; SET search_path = \"Tenant's\"",
    );
    LockedHarness::new(&mut conn)
        .locked(is_held("diesel_advisory.migrations:Tenant's"))
        .unwrap();
}

#[test]
fn a_timeout_tells_who_was_waited_for() {
    const TIMEOUT: Duration = Duration::from_millis(50);

    let url = database();
    let mut holder = Holder::at(&url, LOCK);
    holder.execute("SET application_name = 'web-3'");
    let mut conn = connect_to(&url);
    let error = LockedHarness::new(&mut conn)
        .timeout(TIMEOUT)
        .run_pending_migrations(FIVE)
        .unwrap_err();
    let Some(Error::Unavailable(unavailable)) = Error::find_in(&*error) else {
        panic!("{error:?}");
    };
    assert_eq!(unavailable.lock.to_string(), LOCK);
    assert!(unavailable.waited >= TIMEOUT, "{unavailable:?}");
    assert_eq!(unavailable.holders.len(), 1);
    assert_eq!(unavailable.holders[0].pid, holder.pid());
    assert_eq!(
        unavailable.holders[0].application_name.as_deref(),
        Some("web-3")
    );
    assert_clean(&mut conn);
}

#[test]
fn a_waiter_tells_about_it_and_has_no_statement_open() {
    let url = database();
    let mut holder = Holder::at(&url, LOCK);
    holder.execute("SET application_name = 'web-3'");
    let mut conn = connect_to(&url);
    // Does not count, as nothing is waited for in a statement.
    execute(
        &mut conn,
        "SET lock_timeout = '1ms'; SET statement_timeout = '10s'",
    );
    let waiting_pid = pid(&mut conn);
    let (told, hears) = mpsc::channel();
    let waiter = thread::spawn(move || {
        LockedHarness::new(&mut conn)
            .on_wait(move |waiting| told.send(waiting.clone()).unwrap())
            .run_pending_migrations(FIVE)
            .map(drop)
            .unwrap();
    });

    let first = hears.recv().unwrap();
    let line = format!(
        "waiting for pid {} (web-3) to finish migrating, 0 s",
        holder.pid()
    );
    assert_eq!(first.to_string(), line);
    let mut conn = connect_to(&url);
    let idle = format!(
        "SELECT count(*)::int AS value FROM pg_stat_activity \
         WHERE pid = {waiting_pid} AND state = 'idle' AND backend_xmin IS NULL"
    );
    wait_until("it is idle", || integer(&mut conn, &idle) == 1);
    let second = hears.recv().unwrap();
    assert!(second.waited >= first.waited + Duration::from_secs(1));
    assert_eq!(second.holders[0].pid, holder.pid());

    drop(holder);
    waiter.join().unwrap();
    assert_eq!(ran(&mut conn), [1, 2, 3, 4, 5]);
}

#[test]
fn another_connection_can_hold_the_lock() {
    let url = database();
    let mut conn = connect_to(&url);
    let mut direct = connect_to(&url);
    let holder = pid(&mut direct);
    let steps = Steps::of(move |conn| {
        assert_eq!(locks_of(pid(conn)), 0);
        assert_eq!(locks_of(holder), 1);
        Ok(())
    });
    LockedHarness::with_lock_on(&mut conn, &mut direct)
        .run_pending_migrations(steps)
        .unwrap();
    assert_clean(&mut direct);
}

#[test]
fn inside_a_transaction_it_refuses() {
    let mut conn = connect_to(&database());
    conn.begin_test_transaction().unwrap();
    let error = LockedHarness::new(&mut conn)
        .run_pending_migrations(FIVE)
        .unwrap_err();
    assert!(matches!(
        Error::find_in(&*error),
        Some(Error::InTransaction)
    ));
}

#[test]
fn a_lock_that_was_lost_is_reported() {
    let url = database();
    let mut conn = connect_to(&url);
    let loses = Steps::default().then_sql("SELECT pg_advisory_unlock_all()");
    let error = LockedHarness::new(&mut conn)
        .run_pending_migrations(loses)
        .unwrap_err();
    assert!(matches!(Error::find_in(&*error), Some(Error::NotHeld)));
}
