//! How answers of the server are read.

use std::time::{Duration, SystemTime};

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::error::not_due::NotDue;
use crate::error::unavailable::Holder;
use crate::lock::interval::Interval;
use crate::lock::key::LockKey;
use crate::sql::answer::{Permit, Releasing, Taking};
use crate::sql::lease::Different;
use crate::sql::look::{HashRow, HolderRow};
use crate::sql::runs::{ClaimRow, LastRow};
use crate::sql::verdict::is_free;

/// An error as PostgreSQL words it, in a language whose quotes are others.
fn error(reason: &str) -> DieselError {
    let text = format!("unbekannter Konfigurationsparameter „diesel_advisory: {reason}“");
    DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(text))
}

fn others() -> [DieselError; 3] {
    let unmarked = Box::new(String::from("server is a standby"));
    [
        error("something else"),
        DieselError::DatabaseError(DatabaseErrorKind::Unknown, unmarked),
        DieselError::NotFound,
    ]
}

#[test]
fn numbers_say_what_was_taken() {
    for (code, taking) in [
        (0, Taking::Granted),
        (1, Taking::Missing(0)),
        (17, Taking::Missing(16)),
        (-1, Taking::SnapshotTooOld),
        (-2, Taking::Standby),
        (-3, Taking::SharedSession),
        (-5, Taking::InTransaction),
    ] {
        assert_eq!(Taking::of_code(code), taking, "{code}");
    }
    for (code, permit) in [
        (0, Permit::NotFree),
        (1, Permit::Granted(0)),
        (3, Permit::Granted(2)),
        (-1, Permit::Ended(Taking::SnapshotTooOld)),
        (-2, Permit::Ended(Taking::Standby)),
        (-3, Permit::Ended(Taking::SharedSession)),
        (-4, Permit::Nested),
    ] {
        assert_eq!(Permit::of_code(code), permit, "{code}");
    }
    for (code, releasing) in [
        (0, Releasing::Released),
        (-3, Releasing::SharedSession),
        (-5, Releasing::InTransaction),
        (-6, Releasing::NotHeld),
    ] {
        assert_eq!(Releasing::of_code(code), releasing, "{code}");
    }
}

#[test]
fn errors_say_what_was_refused() {
    for (reason, taking) in [
        ("begins again, for a newer snapshot", Taking::SnapshotTooOld),
        ("server is a standby", Taking::Standby),
        ("transaction is open", Taking::InTransaction),
        ("session is shared", Taking::SharedSession),
        ("no permit in time", Taking::TimedOut),
        ("not free is lock 1", Taking::Missing(0)),
        ("not free is lock 20", Taking::Missing(19)),
    ] {
        assert_eq!(Taking::of_error(&error(reason)), Some(taking), "{reason}");
    }
    assert_eq!(Taking::of_error(&error("not free is lock 0")), None);
    assert_eq!(Taking::of_error(&error("not free is lock")), None);

    for (reason, releasing) in [
        ("lock was not held", Releasing::NotHeld),
        ("transaction is open", Releasing::InTransaction),
        ("session is shared", Releasing::SharedSession),
    ] {
        let read = Releasing::of_error(&error(reason));
        assert_eq!(read, Some(releasing), "{reason}");
    }
    for (reason, different) in [
        ("mark of the lease is missing", Different::Mark),
        ("timeout of the lease was changed", Different::Timeout),
    ] {
        let read = Different::of_error(&error(reason));
        assert_eq!(read, Some(different), "{reason}");
    }
    assert!(is_free(&error("time was up")));

    for other in others() {
        assert_eq!(Taking::of_error(&other), None, "{other:?}");
        assert_eq!(Releasing::of_error(&other), None, "{other:?}");
        assert_eq!(Different::of_error(&other), None, "{other:?}");
        assert!(!is_free(&other), "{other:?}");
    }
}

#[test]
fn a_hash_of_two_numbers_is_a_pair() {
    for (first, second, key) in [
        (7, Some(-1), LockKey::Pair(7, -1)),
        (7, None, LockKey::BigInt(7)),
        (i64::MIN, None, LockKey::BigInt(i64::MIN)),
    ] {
        assert_eq!(LockKey::from(HashRow { first, second }), key);
    }
}

#[test]
fn a_holder_has_what_its_row_has() {
    let row = |seconds_in_state| HolderRow {
        position: 3,
        pid: 4_711,
        application_name: Some(String::from("web-3")),
        state: Some(String::from("active")),
        seconds_in_state,
    };
    assert_eq!(row(None).index(), 2);

    let mut wanted = Holder::new(4_711);
    wanted.application_name = Some(String::from("web-3"));
    wanted.state = Some(String::from("active"));
    assert_eq!(Holder::from(row(None)), wanted);

    let ago = |seconds| {
        let since = Holder::from(row(Some(seconds))).since.unwrap();
        since.elapsed().unwrap()
    };
    let (zero, ninety) = (Duration::ZERO, Duration::from_secs(90));
    let soon = Duration::from_secs(30);
    // The server's clock may be set back.
    assert!((zero..soon).contains(&ago(-5.0)));
    assert!((ninety..ninety + soon).contains(&ago(90.0)));
    assert_eq!(Holder::from(row(Some(f64::INFINITY))).since, None);
}

/// Times of a server whose clock shows anything.
const NOW: i64 = 1_000_000_000;
const SECOND: i64 = 1_000_000;

fn last(started_at: Option<i64>, finished_at: Option<i64>) -> LastRow {
    LastRow {
        now: NOW,
        started_at,
        started_by: Some(String::from("pid 7 (web-3)")),
        finished_at,
    }
}

/// How much later than now, in seconds, on this machine's clock.
fn in_seconds(time: SystemTime) -> f64 {
    let now = SystemTime::now();
    match time.duration_since(now) {
        Ok(later) => later.as_secs_f64(),
        Err(earlier) => -earlier.duration().as_secs_f64(),
    }
}

#[track_caller]
fn assert_in(time: SystemTime, seconds: f64) {
    let found = in_seconds(time);
    assert!((found - seconds).abs() < 30.0, "{found} is not {seconds}");
}

#[test]
fn a_job_that_is_not_due_has_the_times_of_this_clock() {
    let finished = Some(NOW - 100 * SECOND);
    let run = || last(Some(NOW - 200 * SECOND), finished);
    let NotDue {
        lock,
        started_at,
        started_by,
        finished_at,
        due_at,
    } = run().not_due("job", Interval::AtMostEvery(600 * SECOND));
    assert_eq!(lock.to_string(), "job");
    assert_eq!(started_by.as_deref(), Some("pid 7 (web-3)"));
    assert_in(started_at, -200.0);
    assert_in(finished_at.unwrap(), -100.0);
    assert_in(due_at.unwrap(), 400.0);

    assert_eq!(run().not_due("job", Interval::Once).due_at, None);
    // A start that is ahead of the clock, and one that was taken back meanwhile.
    let ahead = last(Some(NOW + 90 * SECOND), None).not_due("job", Interval::Once);
    assert_in(ahead.started_at, 90.0);
    assert_in(
        last(None, None).not_due("job", Interval::Once).started_at,
        0.0,
    );
}

#[test]
fn a_claim_that_fails_puts_back_what_was_there_before() {
    let row = |claimed, last| ClaimRow {
        claimed,
        once: Some(true),
        last,
        may_delete: true,
    };
    let interval = Interval::AtMostEvery(60 * SECOND);
    let not_due = row(None, last(Some(NOW), None)).claimed("job", interval);
    assert_eq!(not_due.unwrap_err().lock.to_string(), "job");

    let claim = |last| row(Some(17), last).claimed("job", interval).unwrap();
    let first = claim(last(None, None)).put_back_alone();
    assert!(
        first.contains("; DELETE FROM diesel_advisory.runs AS r WHERE "),
        "{first}"
    );

    let time = |micros: i64| {
        format!(
            "('epoch'::pg_catalog.timestamptz OPERATOR(pg_catalog.+) \
             ('1 microsecond'::interval OPERATOR(pg_catalog.*) '{micros}'::double precision))"
        )
    };
    let before = claim(last(Some(11), Some(13))).put_back_alone();
    for part in [
        format!(
            "SET started_at = {}, started_by = pg_catalog.convert_from(",
            time(11)
        ),
        format!(
            "'UTF8'), finished_at = {}, once = true WHERE r.name ",
            time(13)
        ),
        format!("r.started_at OPERATOR(pg_catalog.=) {}", time(17)),
    ] {
        assert!(before.contains(&part), "{before} has no {part}");
    }
    let unfinished = claim(last(Some(11), None)).put_back_alone();
    assert!(
        unfinished.contains(", finished_at = NULL, "),
        "{unfinished}"
    );
}
