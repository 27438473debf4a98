//! What is done without the lock: looking, if nothing is to be done.

use diesel::prelude::*;
use diesel_advisory::migrations::LockedHarness;
use diesel_advisory_sandbox::Sandbox;
use diesel_migrations::{HarnessWithOutput, MigrationHarness};

use super::{FIVE, LOCK};
use crate::support::*;

/// Everything that has nothing to do if nothing is pending.
fn look(conn: &mut PgConnection) {
    let mut harness = LockedHarness::new(conn);
    assert_eq!(harness.run_pending_migrations(FIVE).unwrap(), []);
    assert!(!harness.has_pending_migration(FIVE).unwrap());
    assert_eq!(harness.applied_migrations().unwrap().len(), 5);
    let nothing = harness.run_next_migration(FIVE).unwrap_err();
    assert!(nothing.to_string().contains("No migrations have been run"));

    let mut harness = LockedHarness::new(conn).output(std::io::sink());
    assert_eq!(harness.run_pending_migrations(FIVE).unwrap(), []);
    let mut harness = LockedHarness::new(conn);
    let mut inside = HarnessWithOutput::new(&mut harness, Vec::new());
    assert_eq!(inside.run_pending_migrations(FIVE).unwrap(), []);
}

#[test]
fn nothing_pending_takes_no_lock() {
    let url = database();
    let mut conn = connect_to(&url);
    conn.run_pending_migrations(FIVE).unwrap();
    let _held = Holder::at(&url, LOCK);
    look(&mut conn);
}

#[test]
fn nothing_pending_writes_nothing() {
    let url = database();
    let mut conn = connect_to(&url);
    conn.run_pending_migrations(FIVE).unwrap();
    execute(&mut conn, "SET default_transaction_read_only = on");
    look(&mut conn);
    let in_the_way = conn.run_pending_migrations(FIVE).unwrap_err().to_string();
    assert!(
        in_the_way.contains("read-only"),
        "Diesel alone: {in_the_way}"
    );
}

#[test]
fn a_role_that_may_only_read_can_verify() {
    let url = database();
    let mut conn = connect_to(&url);
    conn.run_pending_migrations(FIVE).unwrap();
    let role = unique("reader").replace('.', "_");
    execute(
        &mut conn,
        &format!(
            "CREATE ROLE {role}; REVOKE CREATE ON SCHEMA public FROM PUBLIC; \
             GRANT SELECT ON __diesel_schema_migrations TO {role}; SET ROLE {role}"
        ),
    );
    look(&mut conn);
    let in_the_way = conn.run_pending_migrations(FIVE).unwrap_err().to_string();
    assert!(
        in_the_way.contains("permission denied"),
        "Diesel alone: {in_the_way}"
    );
}

#[test]
fn nothing_pending_is_two_round_trips() {
    let proxy = Sandbox::shared().proxy();
    let mut conn = connect_to(proxy.url());
    let schema = unique("looked_at").replace('.', "_");
    execute(
        &mut conn,
        &format!("CREATE SCHEMA {schema}; SET search_path = {schema}"),
    );
    conn.run_pending_migrations(FIVE).unwrap();
    proxy.reset();
    LockedHarness::new(&mut conn)
        .run_pending_migrations(FIVE)
        .unwrap();
    assert_eq!(proxy.round_trips(), 2, "{:#?}", proxy.sent());
    assert!(proxy.sent().iter().all(|sql| sql.starts_with("SELECT")));
    assert!(!proxy.sent().iter().any(|sql| sql.contains("lock")));
}

#[test]
fn an_empty_database_is_looked_at_without_writing() {
    let mut conn = connect_to(&database());
    let mut harness = LockedHarness::new(&mut conn);
    assert_eq!(harness.pending_migrations(FIVE).unwrap().len(), 5);
    assert_eq!(harness.applied_migrations().unwrap(), []);
    assert_eq!(harness.revert_all_migrations(FIVE).unwrap(), []);
    assert!(harness.revert_last_migration(FIVE).is_err());
    let tables = "SELECT count(*)::int AS value FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(integer(&mut conn, tables), 0);
}
