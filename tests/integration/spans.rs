//! What the spans of the feature `tracing` tell beside what both colours have in common.

use std::time::Duration;

use diesel::prelude::*;
use diesel_advisory::trace::warn_above;
use diesel_advisory::{
    AdvisoryConnection as _, AsyncAdvisoryConnection as _, AsyncLeader, Change, Error, Leader,
    Shutdown,
};
use diesel_advisory_sandbox::Sandbox;
use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use tracing::Level;

use crate::support::spans::{events_of, span_of, spans_of, watch};
use crate::support::*;

#[test]
fn a_wait_above_the_threshold_is_a_warning_and_one_below_is_none() {
    watch();
    let wait = |lock: &str| {
        let holder = Holder::of(lock.to_owned());
        let freed = holder.when_queued(lock.to_owned(), |holder| {
            std::thread::sleep(Duration::from_millis(20));
            drop(holder);
        });
        let ran = connect().advisory(lock).run(|_| Ok::<_, Error>(()));
        ran.unwrap();
        freed.join().unwrap();
    };
    let warnings = |lock: &str| {
        let events = events_of(lock).into_iter();
        events.filter(|event| event.level == Level::WARN).count()
    };
    warn_above(Duration::from_millis(10));
    let lock = unique("spans.above");
    wait(&lock);
    assert_eq!(warnings(&lock), 1, "{:?}", events_of(&lock));
    warn_above(PATIENCE);
    let lock = unique("spans.below");
    wait(&lock);
    assert_eq!(warnings(&lock), 0, "{:?}", events_of(&lock));
    warn_above(None);
    let lock = unique("spans.none");
    wait(&lock);
    assert_eq!(warnings(&lock), 0, "{:?}", events_of(&lock));
}

/// A term of a leader is one span, from its first attempt on.
#[track_caller]
fn assert_led(lock: &str) {
    let span = span_of(lock);
    let fields = ["lock.scope", "lock.outcome", "error.type"];
    assert_eq!(span.values(fields), ["lease", "taken", ""]);
    assert!(span.fields.contains_key("lock.held"));
    let events = events_of(lock);
    let refusals = events
        .iter()
        .filter(|event| event.message() == "the lock is unavailable");
    assert_eq!(refusals.count(), 1, "{events:?}");
}

/// Several attempts have been made when it is dropped.
fn in_the_way(lock: &str) -> impl FnOnce() + Send + 'static {
    let holder = Holder::of(lock.to_owned());
    move || {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(holder);
        });
    }
}

#[test]
fn a_leader_has_one_span_for_a_term() {
    watch();
    let lock = unique("spans.leader");
    let mut release = Some(in_the_way(&lock));
    let led = Leader::new(&*lock)
        .retry(Duration::from_millis(10))
        .lock_delay(false)
        .on_change(move |change| {
            if matches!(change, Change::Following(_)) {
                release.take().into_iter().for_each(|release| release());
            }
        })
        .run(
            || PgConnection::establish(Sandbox::shared().url()).map(Box::new),
            &Shutdown::default(),
            |_| Ok::<_, Error>(7),
        );
    assert_eq!(led.unwrap(), Some(7));
    assert_led(&lock);
}

#[tokio::test]
async fn an_asynchronous_leader_has_one_span_for_a_term() {
    watch();
    let lock = unique("spans.async_leader");
    let mut release = Some(in_the_way(&lock));
    let led = AsyncLeader::new(&*lock)
        .retry(Duration::from_millis(10))
        .lock_delay(false)
        .on_change(move |change| {
            if matches!(change, Change::Following(_)) {
                release.take().into_iter().for_each(|release| release());
            }
        })
        .run(
            async || {
                let url = Sandbox::shared().url();
                AsyncPgConnection::establish(url).await.map(Box::new)
            },
            std::future::pending::<()>(),
            async |_| Ok::<_, Error>(7),
        );
    assert_eq!(led.await.unwrap(), Some(7));
    assert_led(&lock);
}

#[tokio::test]
async fn a_future_that_is_dropped_ends_its_span_and_tells_of_the_session() {
    watch();
    let lock = unique("spans.cancelled");
    let holder = Holder::of(lock.clone());
    let url = Sandbox::shared().url();
    let mut conn = AsyncPgConnection::establish(url).await.unwrap();
    let run = conn.advisory(&lock).run(async |_| Ok::<_, Error>(()));
    let waited = tokio::time::timeout(Duration::from_millis(100), run).await;
    assert!(waited.is_err());
    drop(holder);
    assert_eq!(
        span_of(&lock).values(["lock.outcome", "lock.held"]),
        ["cancelled", ""]
    );
    let events = events_of(&lock);
    let told = "ended the session, because a future was dropped in the middle of its work";
    let ended = events.iter().filter(|event| event.message() == told);
    assert_eq!(ended.count(), 1, "{events:?}");
}

#[tokio::test]
async fn a_future_that_is_never_polled_has_no_span() {
    watch();
    let lock = unique("spans.unpolled");
    let url = Sandbox::shared().url();
    let mut conn = AsyncPgConnection::establish(url).await.unwrap();
    drop(conn.advisory(&lock).run(async |_| Ok::<_, Error>(())));
    assert!(spans_of(&lock).is_empty());
}
