//! Who holds a lock, and who has it instead.

use super::script::Script;
use super::{cancelled, request};
use crate::error::Error;
use crate::error::unavailable::Unavailable;
use crate::lock::id::LockId;
use crate::lock::interval::Interval;
use crate::lock::key::LockKey;
use crate::lock::request::{Mode, Request};
use crate::lock::wait::Wait;
use crate::protocol::attempt::Attempt;
use crate::protocol::link::{deeper, ready};
use crate::protocol::look::{are_locked, count_held, is_held};
use crate::protocol::{interval, session, xact};
use crate::sql::look::HolderRow;
use crate::sql::marks::Mark;
use crate::sql::release::HeldLocks;
use crate::sql::runs::LastRow;
use crate::trace::Trace;

fn row(position: i64, pid: i32) -> HolderRow {
    HolderRow {
        position,
        pid,
        application_name: None,
        state: None,
        seconds_in_state: None,
    }
}

fn pids(holders: &[crate::Holder]) -> Vec<i32> {
    holders.iter().map(|holder| holder.pid).collect()
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, Error>) -> Unavailable {
    match result {
        Err(Error::Unavailable(unavailable)) => unavailable,
        result => panic!("{result:?}"),
    }
}

#[test]
fn each_lock_has_its_digit() {
    let ids: [LockId<'_>; 3] = ["a".into(), "b".into(), "c".into()];
    let mut link = Script::new(0, []).with_looks(["010"]);
    assert_eq!(
        ready(are_locked(&mut link, &ids)).unwrap(),
        [false, true, false]
    );

    let mut link = Script::new(0, []);
    assert_eq!(ready(are_locked(&mut link, &[])).unwrap(), [false; 0]);
    let empty = ready(are_locked(&mut link, &["a".into(), "".into()]));
    assert!(matches!(empty, Err(Error::EmptyName)));
    assert_eq!(link.sent, [""; 0]);
}

#[test]
fn a_set_is_held_if_all_of_it_is() {
    let held = HeldLocks {
        keys: vec![LockKey::BigInt(1), LockKey::BigInt(2)],
        mode: Mode::Exclusive,
        mark: Mark::new(),
    };
    for (answer, count) in [("0", 0), ("1", 1), (" 2\n", 2)] {
        let mut link = Script::new(0, []).with_looks([answer, answer]);
        assert_eq!(ready(count_held(&mut link, &held)).unwrap(), count);
        assert_eq!(ready(is_held(&mut link, &held)).unwrap(), count == 2);
    }
}

#[test]
fn the_holders_of_a_missing_lock_are_those_of_the_first_one_missing() {
    // Of keys alone the order is known.
    let two = || {
        let mut request = Request::new([1, 2]);
        request.wait = Wait::No;
        request
    };
    let mut link = Script::new(0, [])
        .with_codes([2])
        .with_rows(vec![row(2, 7), row(2, 8)]);
    let attempt = ready(session::acquire(&mut link, two())).unwrap();
    let missing = unavailable(ready(attempt.or_unavailable(&mut link)));
    assert_eq!(missing.lock.to_string(), "2");
    assert_eq!(pids(&missing.holders), [7, 8]);
    assert!(missing.waiting.is_empty());
    assert!(link.sent[1].starts_with("SELECT k.i OPERATOR(pg_catalog.+) 1 AS position"));

    // A timeout does not tell which one it was.
    let mut link = Script::new(0, [cancelled()]).with_rows(vec![row(1, 7), row(2, 8)]);
    let mut in_time = two();
    in_time.wait = Wait::AtMost(5);
    let attempt = ready(session::acquire(&mut link, in_time)).unwrap();
    let missing = unavailable(ready(attempt.or_unavailable(&mut link)));
    assert_eq!(missing.lock.to_string(), "1");
    assert_eq!(pids(&missing.holders), [7]);

    // Nobody holds it any more.
    let mut link = Script::new(0, []).with_codes([2]);
    let attempt = ready(session::acquire(&mut link, two())).unwrap();
    let missing = unavailable(ready(attempt.or_unavailable(&mut link)));
    assert_eq!(missing.lock.to_string(), "2");
    assert!(missing.holders.is_empty());
}

#[test]
fn a_look_leaves_the_transaction_that_is_open_as_it_is() {
    for answer in [Ok(()), cancelled()] {
        let mut link = Script::new(1, [Ok(()), Ok(()), answer])
            .with_codes([1])
            .with_rows(vec![row(1, 7)]);
        let attempt = ready(xact::acquire(&mut link, request(Wait::No))).unwrap();
        unavailable(ready(attempt.or_unavailable(&mut link)));
        link.assert_sent([
            "SELECT CASE ",
            "SAVEPOINT diesel_advisory_look; SELECT pg_catalog.pg_stat_clear_snapshot()",
            "SELECT k.i ",
            "ROLLBACK TO SAVEPOINT diesel_advisory_look; RELEASE SAVEPOINT diesel_advisory_look",
        ]);
    }
}

#[test]
fn those_who_wait_for_a_permit_come_behind_those_who_have_one() {
    let mut permits = request(Wait::No);
    permits.permits = Some(2);
    let rows = vec![row(1, 7), row(2, 8), row(3, 9), row(3, 10)];
    let mut link = Script::new(0, []).with_rows(rows);
    let attempt = ready(session::acquire(&mut link, permits)).unwrap();
    let missing = unavailable(ready(attempt.or_unavailable(&mut link)));
    assert_eq!(missing.lock.to_string(), "x");
    assert_eq!(pids(&missing.holders), [7, 8]);
    assert_eq!(pids(&missing.waiting), [9, 10]);
}

#[test]
fn why_a_job_is_not_due_is_looked_up_afterwards() {
    const HOUR: i64 = 3_600_000_000;
    let look = "SELECT CASE WHEN pg_catalog.isfinite(";
    let last = || LastRow {
        now: 10 * HOUR,
        started_at: Some(9 * HOUR),
        started_by: Some(String::from("pid 7")),
        finished_at: None,
    };
    let not_due = |mut link: Script, depth| {
        link.depth = depth;
        let opened = ready(interval::open_due(
            &mut link,
            request(Wait::Inherit),
            super::DEFAULT,
            Some(Interval::AtMostEvery(2 * HOUR)),
        ));
        match ready(opened.unwrap().or_unavailable(&mut link)) {
            Err(Error::NotDue(not_due)) => (link, not_due),
            other => panic!("{other:?}"),
        }
    };
    let none = Vec::<crate::sql::runs::StampRow>::new;
    let minutes = |time: std::time::SystemTime| {
        let left = time.duration_since(std::time::SystemTime::now()).unwrap();
        left.as_secs_f64() / 60.0
    };

    let script = Script::new(0, []).with_rows(none()).with_rows(vec![last()]);
    let (link, found) = not_due(script, 0);
    assert_eq!(found.started_by.as_deref(), Some("pid 7"));
    assert!((minutes(found.due_at.unwrap()) - 60.0).abs() < 1.0);
    let begin = "BEGIN ISOLATION LEVEL READ COMMITTED, READ ONLY";
    assert_eq!(link.sent[3], begin);
    assert!(link.sent[4].starts_with(look), "{}", link.sent[4]);
    assert_eq!(link.sent[5..], ["rollback"]);

    let script = Script::new(0, []).with_rows(none()).with_rows(vec![last()]);
    let (link, found) = not_due(script, 1);
    assert_eq!(found.started_by.as_deref(), Some("pid 7"));
    let sent = &link.sent[link.sent.len() - 3..];
    assert_eq!(sent[0], "SAVEPOINT diesel_advisory_look");
    assert!(sent[1].starts_with(look), "{}", sent[1]);
    let undo = "ROLLBACK TO SAVEPOINT diesel_advisory_look; RELEASE SAVEPOINT diesel_advisory_look";
    assert_eq!(sent[2], undo);

    // Nobody can tell: it is due at the latest when the interval has passed.
    let (_, found) = not_due(Script::new(0, []), 0);
    assert_eq!(found.lock.to_string(), "x");
    assert_eq!(found.started_by, None);
    assert!((minutes(found.due_at.unwrap()) - 120.0).abs() < 1.0);
}

#[test]
fn a_transaction_is_one_deeper_than_where_it_begins() {
    let depth = std::num::NonZeroU32::new;
    assert_eq!(deeper(None), depth(1).unwrap());
    assert_eq!(deeper(depth(3)), depth(4).unwrap());
}

#[test]
fn only_what_was_granted_is_there_to_be_used() {
    let told = |code| {
        let mut link = Script::new(0, []).with_codes([code]);
        let attempt = ready(session::acquire(&mut link, request(Wait::No)));
        Attempt::told(attempt, &Trace::default()).map(|held| held.is_some())
    };
    assert!(told(0).unwrap());
    assert!(!told(1).unwrap());
    assert!(matches!(told(-2), Err(Error::Standby)));
}
