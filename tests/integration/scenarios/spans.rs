//! The spans of the feature `tracing`.

use std::time::{Duration, Instant};

use diesel_advisory::{Error, Lease, catalog};
use diesel_advisory_sandbox::Sandbox;
use tracing::Level;

use super::side::*;
use crate::support::spans::{SeenEvent, SeenSpan, events_of, parent_of, span_of, spans_of, watch};
use crate::support::{self, Failure, Holder, PATIENCE, unique};

const TTL: Duration = Duration::from_secs(3);

const WHAT: [&str; 6] = [
    "lock.scope",
    "lock.mode",
    "lock.timeout",
    "lock.count",
    "lock.outcome",
    "db.operation.name",
];

#[helper]
async fn boxed() -> Box<Conn> {
    Box::new(connect().await)
}

/// A span of the work's own, which is inside of that of the lock.
fn work_on(lock: &str) {
    let name = format!("work on {lock}");
    tracing::info_span!("work", name).in_scope(|| {});
}

#[track_caller]
fn assert_worked_inside(lock: &str) {
    let parent = parent_of(&format!("work on {lock}"));
    assert_eq!(parent.values(["lock.name"]), [lock]);
}

/// The span says that the lock was held for no less than the work took, and for no longer than all of it.
#[track_caller]
fn assert_times(span: &SeenSpan, work: Duration, all: Duration) {
    let (waited, held) = (span.seconds("lock.waited"), span.seconds("lock.held"));
    assert!(held >= work.as_secs_f64(), "{held} {work:?}");
    assert!(
        waited > 0.0 && waited + held <= all.as_secs_f64(),
        "{waited} {held} {all:?}"
    );
}

/// Without those of long waits: on a busy machine any can be.
fn messages(events: &[SeenEvent]) -> Vec<(Level, &str)> {
    let is_long_wait = |event: &&SeenEvent| event.message().starts_with("waited for ");
    events
        .iter()
        .filter(|event| !is_long_wait(event))
        .map(|event| (event.level, event.message()))
        .collect()
}

#[scenario]
async fn a_transaction_is_a_span_with_its_work_inside() {
    watch();
    let lock = unique("spans.transaction");
    let began = Instant::now();
    let mut worked = Duration::ZERO;
    let mut conn = connect().await;
    let builder = conn.advisory(&lock).and("spans.another").shared();
    let ran = builder
        .timeout(Duration::from_millis(2500))
        .run(async |conn| {
            let began = Instant::now();
            work_on(&lock);
            assert_eq!(spans_of(&lock).len(), 1);
            assert!(!spans_of(&lock)[0].is_closed);
            execute(conn, "SELECT").await;
            worked = began.elapsed();
            Ok::<_, Error>(())
        });
    ran.await.unwrap();
    let span = span_of(&lock);
    let expected = [
        "transaction",
        "shared",
        "2.5s",
        "2",
        "taken",
        "pg_advisory_xact_lock_shared",
    ];
    assert_eq!(span.values(WHAT), expected);
    assert_eq!(span.name, "advisory_lock");
    assert_eq!(
        span.values(["db.system.name", "error.type"]),
        ["postgresql", ""]
    );
    assert_worked_inside(&lock);
    assert_times(&span, worked, began.elapsed());
    assert_eq!(messages(&events_of(&lock)), []);
}

#[scenario]
async fn work_that_fails_has_held_the_lock() {
    watch();
    let lock = unique("spans.failure");
    let mut conn = connect().await;
    let failed = conn
        .advisory(&lock)
        .no_wait()
        .try_run(async |_| Err::<(), _>(Failure::OnPurpose));
    assert!(failed.await.is_err());
    let span = span_of(&lock);
    let expected = [
        "transaction",
        "exclusive",
        "no_wait",
        "1",
        "taken",
        "pg_try_advisory_xact_lock",
    ];
    assert_eq!(span.values(WHAT), expected);
    assert!(span.fields.contains_key("lock.held"));
}

#[scenario]
async fn a_commit_that_fails_is_an_error_of_the_span() {
    watch();
    let lock = unique("spans.commit");
    let mut conn = connect().await;
    execute(
        &mut conn,
        "CREATE TEMP TABLE spans_commit (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)",
    )
    .await;
    let failed = conn.advisory(&lock).run(async |conn| {
        execute(conn, "INSERT INTO spans_commit VALUES (1), (1)").await;
        Ok::<_, Error>(())
    });
    assert!(failed.await.is_err());
    let span = span_of(&lock);
    let fields = ["lock.outcome", "error.type", "otel.status_code"];
    assert_eq!(span.values(fields), ["error", "UniqueViolation", "ERROR"]);
}

#[scenario]
async fn a_lock_in_an_open_transaction_is_a_span_until_it_is_acquired() {
    watch();
    let lock = unique("spans.xact");
    let mut conn = connect().await;
    let refused = conn.advisory_xact(&lock).acquire().await;
    assert!(matches!(refused, Err(Error::NotInTransaction)));
    let fields = ["lock.scope", "lock.outcome", "error.type"];
    assert_eq!(
        span_of(&lock).values(fields),
        ["xact", "error", "NotInTransaction"]
    );

    let lock = unique("spans.xact");
    begin(&mut conn).await;
    conn.advisory_xact(&lock).acquire().await.unwrap();
    let expected = [
        "xact",
        "exclusive",
        "lock_timeout",
        "1",
        "taken",
        "pg_advisory_xact_lock",
    ];
    assert_eq!(span_of(&lock).values(WHAT), expected);
    let lock = unique("spans.xact");
    assert!(
        conn.advisory_xact(&lock)
            .timeout(None)
            .try_acquire()
            .await
            .unwrap()
    );
    assert_eq!(
        span_of(&lock).values(["lock.timeout", "lock.outcome"]),
        ["none", "taken"]
    );
    commit(&mut conn).await;
}

#[scenario]
async fn a_session_lock_is_a_span_until_its_release() {
    watch();
    for is_released in [false, true] {
        let lock = unique("spans.guard");
        let mut conn = connect().await;
        let began = Instant::now();
        let mut held = conn.advisory_session(&lock).acquire().await.unwrap();
        let acquired = Instant::now();
        execute(&mut held, "SELECT").await;
        let worked = acquired.elapsed();
        assert!(!spans_of(&lock)[0].is_closed);
        if is_released {
            held.release().await.unwrap();
        } else {
            drop(held);
        }
        let span = span_of(&lock);
        let expected = [
            "session",
            "exclusive",
            "lock_timeout",
            "1",
            "taken",
            "pg_advisory_lock",
        ];
        assert_eq!(span.values(WHAT), expected);
        assert_times(&span, worked, began.elapsed());
    }
    let lock = unique("spans.session");
    let mut conn = connect().await;
    let run = conn
        .advisory_session(&lock)
        .no_wait()
        .shared()
        .try_run(async |_| {
            work_on(&lock);
            Ok::<_, Error>(())
        });
    run.await.unwrap();
    let expected = [
        "session",
        "shared",
        "no_wait",
        "1",
        "taken",
        "pg_try_advisory_lock_shared",
    ];
    assert_eq!(span_of(&lock).values(WHAT), expected);
    assert_worked_inside(&lock);
}

#[scenario]
async fn an_unavailable_lock_is_an_event_with_its_holders() {
    watch();
    let work = "the work is not run";
    for scope in ["transaction", "xact", "session", "lease"] {
        let lock = unique("spans.unavailable");
        let mut holder = Holder::of(lock.clone());
        let mut conn = boxed().await;
        let refused = match scope {
            "transaction" => {
                let run = conn.advisory(&lock).no_wait();
                run.run(async |_| -> Result<(), Error> { panic!("{work}") })
                    .await
            }
            "xact" => {
                begin(&mut conn).await;
                let refused = conn.advisory_xact(&lock).no_wait().acquire().await;
                commit(&mut conn).await;
                refused
            }
            "session" => {
                let run = conn.into_advisory_session(&lock).no_wait();
                run.run(async |_| -> Result<(), Error> { panic!("{work}") })
                    .await
            }
            _ => {
                let run = conn.into_advisory_session(&lock).no_wait().lease(TTL);
                run.run(async |_| -> Result<(), Error> { panic!("{work}") })
                    .await
            }
        };
        assert!(refused.unwrap_err().is_unavailable(), "{scope}");
        let span = span_of(&lock);
        let fields = ["lock.scope", "lock.outcome", "error.type", "lock.held"];
        assert_eq!(span.values(fields), [scope, "unavailable", "", ""]);
        let events = events_of(&lock);
        assert_eq!(
            messages(&events),
            [(Level::DEBUG, "the lock is unavailable")],
            "{scope}"
        );
        let holders = &events[0].fields["lock.holders"];
        assert!(
            holders.contains(&format!("pid {}", holder.pid())),
            "{scope} {holders}"
        );
    }
}

#[scenario]
async fn an_unavailable_lock_that_is_no_error_is_an_event_too() {
    watch();
    for scope in ["transaction", "xact", "session", "lease"] {
        let lock = unique("spans.try_unavailable");
        let holder = Holder::of(lock.clone());
        let mut conn = boxed().await;
        let is_none = match scope {
            "transaction" => {
                let run = conn.advisory(&lock).no_wait();
                run.try_run(async |_| Ok::<_, Error>(()))
                    .await
                    .unwrap()
                    .is_none()
            }
            "xact" => {
                begin(&mut conn).await;
                let acquired = conn.advisory_xact(&lock).no_wait().try_acquire().await;
                commit(&mut conn).await;
                !acquired.unwrap()
            }
            "session" => {
                let run = conn.into_advisory_session(&lock).no_wait();
                run.try_acquire().await.unwrap().is_none()
            }
            _ => {
                let run = conn.into_advisory_session(&lock).no_wait().lease(TTL);
                run.try_run(async |_| Ok::<_, Error>(()))
                    .await
                    .unwrap()
                    .is_none()
            }
        };
        assert!(is_none, "{scope}");
        drop(holder);
        let fields = ["lock.scope", "lock.outcome", "error.type"];
        assert_eq!(span_of(&lock).values(fields), [scope, "unavailable", ""]);
        let events = events_of(&lock);
        assert_eq!(
            messages(&events),
            [(Level::DEBUG, "the lock is unavailable")],
            "{scope}"
        );
        assert!(!events[0].fields.contains_key("lock.holders"), "{scope}");
    }
}

#[scenario]
async fn a_wait_of_more_than_a_second_is_an_event() {
    watch();
    let lock = unique("spans.long");
    let holder = Holder::of(lock.clone());
    let freed = holder.when_queued(lock.clone(), |holder| {
        std::thread::sleep(Duration::from_millis(1100));
        drop(holder);
    });
    let ran = connect()
        .await
        .advisory(&lock)
        .run(async |_| Ok::<_, Error>(()))
        .await;
    ran.unwrap();
    freed.join().unwrap();
    let events = events_of(&lock);
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(
        events[0].message().starts_with("waited for 1."),
        "{events:?}"
    );
    let waited: f64 = events[0].fields["lock.waited"].parse().unwrap();
    assert!(waited > 1.1, "{waited}");
    assert_eq!(
        events[0].fields["lock.waited"],
        span_of(&lock).fields["lock.waited"]
    );
}

#[scenario]
async fn a_lease_is_a_span_with_its_work_inside() {
    watch();
    let lock = unique("spans.lease");
    let began = Instant::now();
    let lease = boxed().await.into_advisory_session(&lock).lease(TTL);
    let kept = lease.run(async |lease: Lease| {
        work_on(&lock);
        Ok::<_, Error>(lease)
    });
    // A clone that outlives its lock does not keep the span from ending.
    let kept = kept.await.unwrap();
    let span = span_of(&lock);
    let expected = [
        "lease",
        "exclusive",
        "lock_timeout",
        "1",
        "taken",
        "pg_advisory_lock",
    ];
    assert_eq!(span.values(WHAT), expected);
    assert_worked_inside(&lock);
    assert_times(&span, Duration::ZERO, began.elapsed());
    assert!(!kept.is_held());
}

#[scenario]
async fn a_lease_that_is_lost_is_an_event() {
    watch();
    let lock = unique("spans.lost");
    let mut conn = boxed().await;
    let pid = pid(&mut conn).await;
    let lease = conn.into_advisory_session(&lock).lease(TTL);
    let lost = lease.run(async |lease: Lease| {
        support::execute(
            &mut support::connect(),
            &format!("SELECT pg_terminate_backend({pid})"),
        );
        let until = Instant::now() + PATIENCE;
        while lease.is_held() {
            assert!(Instant::now() < until);
            pause(5).await;
        }
        Ok::<_, Error>(())
    });
    let lost = lost.await.unwrap_err();
    assert!(matches!(lost, Error::Lost(_)), "{lost:?}");
    let fields = ["lock.outcome", "error.type", "otel.status_code"];
    assert_eq!(span_of(&lock).values(fields), ["lost", "Lost", "ERROR"]);
    let told = lost.to_string();
    let events = events_of(&lock);
    let losses: Vec<_> = events
        .iter()
        .filter(|event| event.message() == told)
        .collect();
    assert_eq!(losses.len(), 1, "{events:?}");
    assert_eq!(losses[0].level, Level::WARN);
}

#[scenario]
async fn a_session_that_is_ended_is_an_event() {
    watch();
    let lock = unique("spans.ended");
    let mut conn = connect_to(Sandbox::shared().url()).await;
    let pid = pid(&mut conn).await;
    let held = conn.advisory_session(&lock).acquire().await.unwrap();
    support::execute(
        &mut support::connect(),
        &format!("SELECT pg_terminate_backend({pid}, 60000)"),
    );
    held.release().await.unwrap_err();
    let events = events_of(&lock);
    let ended = "ended the session, because nobody can tell what it holds";
    assert!(
        messages(&events).contains(&(Level::WARN, ended)),
        "{events:?}"
    );
    assert_eq!(span_of(&lock).values(["lock.outcome"]), ["error"]);
}

#[scenario]
async fn a_permit_and_an_interval_are_spans_too() {
    watch();
    let lock = unique("spans.permit");
    let mut conn = connect().await;
    let run = conn.advisory_session(&lock).permits(3).run(async |_| {
        work_on(&lock);
        Ok::<_, Error>(())
    });
    run.await.unwrap();
    let fields = ["lock.scope", "lock.permits", "lock.outcome"];
    assert_eq!(span_of(&lock).values(fields), ["session", "3", "taken"]);
    assert_worked_inside(&lock);

    let url = support::database();
    catalog::install(&mut support::connect_to(&url)).unwrap();
    let mut conn = connect_to(&url).await;
    for in_session in [false, true] {
        let lock = unique("spans.once");
        for is_due in [true, false] {
            let ran = if in_session {
                let run = conn.advisory_session(&lock).once().try_run(async |_| {
                    work_on(&lock);
                    Ok::<_, Error>(())
                });
                run.await.unwrap()
            } else {
                let run = conn.advisory(&lock).once().try_run(async |_| {
                    work_on(&lock);
                    Ok::<_, Error>(())
                });
                run.await.unwrap()
            };
            assert_eq!(ran.is_some(), is_due);
        }
        let spans = spans_of(&lock);
        let outcome = |span: &SeenSpan| span.values(["lock.outcome", "error.type"]).join(" ");
        let outcomes: Vec<_> = spans.iter().map(outcome).collect();
        assert_eq!(outcomes, ["taken ", "not_due "]);
        assert!(spans.iter().all(|span| span.is_closed));
        assert_worked_inside(&lock);
    }
}
