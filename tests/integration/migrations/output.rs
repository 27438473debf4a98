//! Together with Diesel's harness that writes what it does.

use std::thread;

use diesel::prelude::*;
use diesel_advisory::migrations::LockedHarness;
use diesel_migrations::{HarnessWithOutput, MigrationHarness};

use super::{FIVE, LOCK, ran};
use crate::support::*;

/// What is written for five migrations.
const FIVE_LINES: &str = "\
    Running migration 2026-01-01-000000_create_ran\n\
    Running migration 2026-01-02-000000_step_2\n\
    Running migration 2026-01-03-000000_step_3\n\
    Running migration 2026-01-04-000000_step_4\n\
    Running migration 2026-01-05-000000_step_5\n";

/// Runs this in two threads at once, which wait for a lock until both are there, and puts together what
/// they return.
fn two_at_once(migrate: fn(&mut PgConnection) -> String) -> String {
    let url = database();
    let held = Holder::at(&url, LOCK);
    let threads = [(); 2].map(|()| {
        let mut conn = connect_to(&url);
        thread::spawn(move || migrate(&mut conn))
    });
    drop(held);
    let written = threads.map(|thread| thread.join().unwrap()).concat();
    assert_eq!(ran(&mut connect_to(&url)), [1, 2, 3, 4, 5]);
    written
}

#[test]
fn around_a_harness_with_output_what_is_written_is_what_is_run() {
    let written = two_at_once(|conn| {
        let mut output = Vec::new();
        let mut with_output = HarnessWithOutput::new(conn, &mut output);
        let mut harness = LockedHarness::new(&mut with_output);
        harness.run_pending_migrations(FIVE).unwrap();
        String::from_utf8(output).unwrap()
    });
    assert_eq!(written, FIVE_LINES);
}

#[test]
fn inside_of_a_harness_with_output_each_is_run_once() {
    two_at_once(|conn| {
        let mut output = Vec::new();
        let mut harness = LockedHarness::new(conn);
        let mut with_output = HarnessWithOutput::new(&mut harness, &mut output);
        with_output.run_pending_migrations(FIVE).unwrap();
        String::from_utf8(output).unwrap()
    });
}

#[test]
fn around_two_harnesses_with_output() {
    let mut conn = connect_to(&database());
    let (mut inner, mut outer) = (Vec::new(), Vec::new());
    let mut with_output = HarnessWithOutput::new(&mut conn, &mut inner);
    let mut with_output = HarnessWithOutput::new(&mut with_output, &mut outer);
    let mut harness = LockedHarness::new(&mut with_output);
    harness.run_pending_migrations(FIVE).unwrap();
    assert_eq!(inner, outer);
    assert_eq!(inner, FIVE_LINES.as_bytes());
    assert_eq!(ran(&mut conn), [1, 2, 3, 4, 5]);
}
