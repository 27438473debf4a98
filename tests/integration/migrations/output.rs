//! Together with Diesel's harness that writes what it does.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
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

/// What several writers have written.
#[derive(Debug, Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_is_written_is_what_is_run() {
    let written = two_at_once(|conn| {
        let output = Output::default();
        let mut harness = LockedHarness::new(conn).output(output.clone());
        harness.run_pending_migrations(FIVE).unwrap();
        output.text()
    });
    assert_eq!(written, FIVE_LINES);
}

#[test]
fn what_is_reverted_and_run_again_is_written_too() {
    let mut conn = connect_to(&database());
    let output = Output::default();
    let mut harness = LockedHarness::new(&mut conn).output(output.clone());
    harness.run_pending_migrations(FIVE).unwrap();
    harness.redo_last_migration(FIVE).unwrap();
    harness.revert_last_migration(FIVE).unwrap();
    let last = "migration 2026-01-05-000000_step_5\n";
    let lines = format!("{FIVE_LINES}Rolling back {last}Running {last}Rolling back {last}");
    assert_eq!(output.text(), lines);
    assert_eq!(ran(&mut conn), [1, 2, 3, 4]);
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
