//! Two histograms, made of the spans of locks: how long they were waited for, and how long they were held.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// A layer of a subscriber, which records both for every lock that ends.
pub(crate) struct LockHistograms {
    waits: Histogram<f64>,
    holds: Histogram<f64>,
}

impl LockHistograms {
    pub(crate) fn new(meter: &Meter) -> Self {
        let histogram = |name, what| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(what)
                .build()
        };
        Self {
            waits: histogram("advisory_lock.wait", "How long a lock was waited for"),
            holds: histogram("advisory_lock.hold", "How long a lock was held"),
        }
    }
}

impl<S> Layer<S> for LockHistograms
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != "advisory_lock" {
            return;
        }
        if let Some(span) = context.span(id) {
            let mut lock = Lock::default();
            attributes.record(&mut lock);
            span.extensions_mut().insert(lock);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            if let Some(lock) = span.extensions_mut().get_mut::<Lock>() {
                values.record(lock);
            }
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let extensions = span.extensions();
        let Some(lock) = extensions.get::<Lock>() else {
            return;
        };
        // Names with a row's id in them are one time series for each row: leave the name out of theirs.
        let name = KeyValue::new("lock.name", lock.name.clone());
        if let Some(waited) = lock.waited {
            let outcome = KeyValue::new("lock.outcome", lock.outcome.clone());
            self.waits.record(waited, &[name.clone(), outcome]);
        }
        if let Some(held) = lock.held {
            self.holds.record(held, &[name]);
        }
    }
}

/// What a span tells of its lock.
#[derive(Default)]
struct Lock {
    name: String,
    outcome: String,
    waited: Option<f64>,
    held: Option<f64>,
}

impl Visit for Lock {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match field.name() {
            "lock.waited" => self.waited = Some(value),
            "lock.held" => self.held = Some(value),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "lock.outcome" {
            value.clone_into(&mut self.outcome);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "lock.name" {
            self.name = format!("{value:?}");
        }
    }
}
