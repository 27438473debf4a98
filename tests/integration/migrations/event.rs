//! The event of the feature `tracing`.

use std::thread;

use diesel_advisory::migrations::LockedHarness;
use diesel_migrations::MigrationHarness;
use tracing::Level;

use super::FIVE;
use crate::support::spans::{events_with, span_of, watch};
use crate::support::*;

#[test]
fn waiting_is_an_event() {
    watch();
    let url = database();
    let lock = unique("event");
    let mut holder = Holder::at(&url, lock.clone());
    holder.execute("SET application_name = 'web-3'");
    let mut conn = connect_to(&url);
    let waiter = thread::spawn({
        let lock = lock.clone();
        move || {
            let mut harness = LockedHarness::new(&mut conn).lock_id(lock);
            harness.run_pending_migrations(FIVE).map(drop).unwrap();
        }
    });
    let pid = holder.pid();
    let told = format!("waiting for pid {pid} (web-3) to finish migrating, 0 s");
    wait_until("the event", || !events_with("message", &told).is_empty());
    let event = events_with("message", &told).remove(0);
    assert_eq!(event.level, Level::INFO);
    assert_eq!(event.fields["lock"], lock);
    assert_eq!(event.fields["pid"], pid.to_string());
    assert_eq!(event.fields["application"], "web-3");
    drop(holder);
    waiter.join().unwrap();
    let fields = ["lock.scope", "lock.outcome"];
    assert_eq!(span_of(&lock).values(fields), ["session", "taken"]);
}
