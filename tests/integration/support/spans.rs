//! What a subscriber of `tracing` has seen of this crate.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{LazyLock, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::set_global_default;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// What all tests of the process have made be seen: each looks for its own lock.
static SEEN: Mutex<Seen> = Mutex::new(Seen {
    spans: Vec::new(),
    events: Vec::new(),
});

struct Seen {
    spans: Vec<SeenSpan>,
    events: Vec<SeenEvent>,
}

#[derive(Debug, Clone)]
pub(crate) struct SeenSpan {
    pub(crate) name: &'static str,
    pub(crate) fields: BTreeMap<&'static str, String>,
    pub(crate) parent: Option<usize>,
    pub(crate) is_closed: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct SeenEvent {
    pub(crate) level: Level,
    pub(crate) fields: BTreeMap<&'static str, String>,
    /// The innermost span that it is in.
    pub(crate) span: Option<usize>,
}

/// Begins to see, if nobody has yet.
pub(crate) fn watch() {
    static WATCHING: LazyLock<()> =
        LazyLock::new(|| set_global_default(Registry::default().with(Watcher)).unwrap());
    *WATCHING;
}

/// The spans of a lock, in the order in which they began.
pub(crate) fn spans_of(lock: &str) -> Vec<SeenSpan> {
    let is_its = |span: &&SeenSpan| is(&span.fields, "lock.name", lock);
    SEEN.lock()
        .unwrap()
        .spans
        .iter()
        .filter(is_its)
        .cloned()
        .collect()
}

/// The one span of a lock, which has ended.
#[track_caller]
pub(crate) fn span_of(lock: &str) -> SeenSpan {
    let spans = spans_of(lock);
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert!(spans[0].is_closed, "{spans:?}");
    spans[0].clone()
}

/// The events inside of a lock's spans, in their order.
pub(crate) fn events_of(lock: &str) -> Vec<SeenEvent> {
    let seen = SEEN.lock().unwrap();
    let is_its = |event: &&SeenEvent| {
        let mut span = event.span.map(|index| &seen.spans[index]);
        while let Some(inner) = span {
            if is(&inner.fields, "lock.name", lock) {
                return true;
            }
            span = inner.parent.map(|index| &seen.spans[index]);
        }
        false
    };
    seen.events.iter().filter(is_its).cloned().collect()
}

/// The events about a lock that are in none of its spans, as those of migrations that wait.
pub(crate) fn events_with(name: &'static str, value: &str) -> Vec<SeenEvent> {
    let has_it = |event: &&SeenEvent| is(&event.fields, name, value);
    SEEN.lock()
        .unwrap()
        .events
        .iter()
        .filter(has_it)
        .cloned()
        .collect()
}

/// The name of the span that the innermost span of this name is in, and the lock of that.
#[track_caller]
pub(crate) fn parent_of(name: &str) -> SeenSpan {
    let seen = SEEN.lock().unwrap();
    let span = seen
        .spans
        .iter()
        .rfind(|span| span.name == name || is(&span.fields, "name", name));
    seen.spans[span.unwrap().parent.expect("it has a parent")].clone()
}

impl SeenSpan {
    #[track_caller]
    pub(crate) fn seconds(&self, name: &str) -> f64 {
        self.fields[name].parse().unwrap()
    }

    /// What was recorded of these fields.
    pub(crate) fn values<const COUNT: usize>(&self, names: [&str; COUNT]) -> [&str; COUNT] {
        names.map(|name| self.fields.get(name).map_or("", String::as_str))
    }
}

impl SeenEvent {
    pub(crate) fn message(&self) -> &str {
        self.fields.get("message").map_or("", String::as_str)
    }
}

fn is(fields: &BTreeMap<&'static str, String>, name: &str, value: &str) -> bool {
    fields.get(name).is_some_and(|field| field == value)
}

/// Where a span of the registry stands among those that were seen.
struct Index(usize);

struct Watcher;

impl<S> Layer<S> for Watcher
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let span = context.span(id).unwrap();
        let parent = span
            .parent()
            .and_then(|parent| Some(parent.extensions().get::<Index>()?.0));
        let mut seen = SEEN.lock().unwrap();
        span.extensions_mut().insert(Index(seen.spans.len()));
        seen.spans.push(SeenSpan {
            name: span.name(),
            fields: fields.0,
            parent,
            is_closed: false,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        change(id, &context, |span| span.fields.extend(fields.0));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let span = context.event_span(event);
        let span = span.and_then(|span| Some(span.extensions().get::<Index>()?.0));
        SEEN.lock().unwrap().events.push(SeenEvent {
            level: *event.metadata().level(),
            fields: fields.0,
            span,
        });
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        change(&id, &context, |span| span.is_closed = true);
    }
}

fn change<S>(id: &Id, context: &Context<'_, S>, change: impl FnOnce(&mut SeenSpan))
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    let span = context.span(id).unwrap();
    let extensions = span.extensions();
    if let Some(Index(index)) = extensions.get::<Index>() {
        change(&mut SEEN.lock().unwrap().spans[*index]);
    }
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}
