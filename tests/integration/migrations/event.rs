//! The event of the feature `tracing`.

use std::fmt::Debug;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use diesel_advisory::migrations::LockedHarness;
use diesel_migrations::MigrationHarness;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::set_global_default;
use tracing::{Event, Level, Metadata, Subscriber};

use super::FIVE;
use crate::support::*;

/// Sends the events of this crate, as `name=value` for each field.
struct Listener(Sender<(Level, String)>);

impl Listener {
    fn listen() -> Receiver<(Level, String)> {
        let (told, hears) = channel();
        set_global_default(Self(told)).unwrap();
        hears
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("diesel_advisory")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        // Nobody listens any more when the test is over.
        let _ = self.0.send((*event.metadata().level(), fields.0.join(" ")));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Fields(Vec<String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() != "waited" {
            self.0.push(format!("{}={value:?}", field.name()));
        }
    }
}

#[test]
fn waiting_is_an_event() {
    let events = Listener::listen();
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
    let expected = format!(
        "message=waiting for pid {pid} (web-3) to finish migrating, 0 s lock={lock} pid={pid} \
         application=\"web-3\""
    );
    // Other tests wait as well.
    let mut events = events.iter();
    assert!(events.any(|event| event == (Level::INFO, expected.clone())));
    drop(holder);
    waiter.join().unwrap();
}
