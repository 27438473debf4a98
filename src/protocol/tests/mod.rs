//! The protocols over a scripted link: what is sent in which order, and what is undone.

mod interval;
mod lease;
mod looks;
mod permits;
pub(crate) mod script;
mod sessions;
mod waits;

use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error as DieselError};

use self::script::Script;
use crate::error::Error;
use crate::lock::key::LockKey;
use crate::lock::modes::{Isolation, TransactionModes};
use crate::lock::request::{Mode, Request};
use crate::lock::wait::Wait;
use crate::protocol::attempt::Attempt;
use crate::protocol::link::ready;
use crate::protocol::transaction::{commit, open, roll_back};
use crate::protocol::{session, xact};
use crate::sql::marks::Mark;
use crate::sql::release::{END_SESSION, HeldLocks};

fn failed(message: &str) -> QueryResult<()> {
    let message = Box::new(message.to_owned());
    Err(DieselError::DatabaseError(
        DatabaseErrorKind::Unknown,
        message,
    ))
}

fn marked(reason: &str) -> QueryResult<()> {
    failed(&format!(
        "invalid input syntax for type integer: \"diesel_advisory: {reason}\""
    ))
}

fn cancelled() -> QueryResult<()> {
    failed("canceling statement")
}

fn request(wait: Wait) -> Request<'static> {
    let mut request = Request::new(["x"]);
    request.wait = wait;
    request
}

const DEFAULT: TransactionModes = TransactionModes {
    isolation: None,
    read_only: None,
    deferrable: None,
};

#[test]
fn a_transaction_begins_with_its_lock() {
    let mut link = Script::new(0, []);
    let opened = ready(open(&mut link, request(Wait::Inherit), DEFAULT));
    let work = opened.unwrap().granted().unwrap();
    ready(commit(&mut link, work)).unwrap();
    link.assert_sent([
        "SELECT; BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; /* advisory lock x */ SELECT WHERE ",
        "commit",
    ]);
}

#[test]
fn a_timeout_is_told_by_asking_once_more() {
    for (answer, timed_out) in [(Ok(()), true), (cancelled(), false)] {
        let mut link = Script::new(0, [cancelled(), answer]);
        let opened = ready(open(&mut link, request(Wait::AtMost(5)), DEFAULT));
        assert_eq!(matches!(opened, Ok(Attempt::Missing(_))), timed_out);
        assert!(link.sent[1].starts_with("ROLLBACK; "), "{}", link.sent[1]);
        assert!(link.sent[1].contains("DO $$"), "{}", link.sent[1]);
        assert_eq!((link.depth, link.broken), (0, false));
    }
}

#[test]
fn a_rollback_that_fails_ends_the_session() {
    let mut link = Script::new(0, [cancelled(), cancelled(), cancelled()]);
    let opened = ready(open(&mut link, request(Wait::Inherit), DEFAULT));
    assert!(matches!(opened, Err(Error::Database(_))));
    assert_eq!(link.sent.last().unwrap(), END_SESSION);
    assert!(link.broken);
}

#[test]
fn a_snapshot_that_is_too_old_is_taken_anew() {
    let snapshot = marked("begins again, for a newer snapshot");
    let mut link = Script::new(0, [failed("isolation"), snapshot]);
    let opened = ready(open(&mut link, request(Wait::Inherit), DEFAULT));
    assert!(opened.unwrap().granted().is_some());
    let isolated = link.sent.last().unwrap();
    assert!(isolated.contains("; COMMIT; BEGIN; SELECT"), "{isolated}");
}

#[test]
fn an_isolated_transaction_that_fails_leaves_no_session_lock() {
    let mut link = Script::new(0, [cancelled()]);
    let modes = TransactionModes {
        isolation: Some(Isolation::Serializable),
        ..DEFAULT
    };
    let opened = ready(open(&mut link, request(Wait::Forever), modes));
    assert!(matches!(opened, Err(Error::Database(_))));
    // One message: a connection pooler may send the next one to another session.
    assert_eq!(link.sent.len(), 2, "{:#?}", link.sent);
    assert!(link.sent[1].starts_with("ROLLBACK; "), "{}", link.sent[1]);
    assert!(link.sent[1].contains("pg_advisory_unlock("));
}

#[test]
fn inside_a_transaction_the_work_has_the_savepoint_that_diesel_would_set() {
    let mut link = Script::new(1, []);
    let opened = ready(open(&mut link, request(Wait::Inherit), DEFAULT));
    let work = opened.unwrap().granted().unwrap();
    ready(commit(&mut link, work)).unwrap();
    link.assert_sent([
        "SAVEPOINT diesel_savepoint_1; SAVEPOINT diesel_advisory_attempt; /* advisory lock x */ ",
        "RELEASE SAVEPOINT diesel_savepoint_1",
    ]);
    assert_eq!(link.depth, 1);
}

#[test]
fn what_the_work_has_left_open_is_never_committed() {
    for outcome in [true, false] {
        let mut link = Script::new(0, []);
        let opened = ready(open(&mut link, request(Wait::Inherit), DEFAULT));
        let work = opened.unwrap().granted().unwrap();
        link.depth += 2;
        if outcome {
            let committed = ready(commit(&mut link, work));
            assert!(matches!(committed, Err(Error::TransactionLeftOpen)));
        } else {
            ready(roll_back(&mut link, work));
        }
        assert_eq!(link.sent[1..], ["rollback"; 3]);
        assert_eq!(link.depth, 0);
    }
}

#[test]
fn work_that_was_cut_off_in_a_commit_ends_the_session() {
    let mut link = Script::new(0, []);
    let opened = ready(open(&mut link, request(Wait::Inherit), DEFAULT));
    let work = opened.unwrap().granted().unwrap();
    link.cut_off = true;
    assert!(matches!(
        ready(commit(&mut link, work)),
        Err(Error::Database(DieselError::BrokenTransactionManager))
    ));
    assert_eq!(link.sent[1], END_SESSION);
    assert!(link.broken);
}

#[test]
fn a_step_that_was_refused_leaves_the_transaction_usable_and_one_that_failed_does_not() {
    let undo = "ROLLBACK TO SAVEPOINT diesel_advisory_step; RELEASE SAVEPOINT diesel_advisory_step";

    let mut link = Script::new(1, [marked("server is a standby")]);
    let acquired = ready(xact::acquire(&mut link, request(Wait::Inherit)));
    assert!(matches!(acquired, Err(Error::Standby)));
    assert_eq!(link.sent[1..], [undo]);

    let mut link = Script::new(1, [cancelled()]);
    let acquired = ready(xact::acquire(&mut link, request(Wait::Forever)));
    assert!(matches!(acquired, Err(Error::Database(_))));
    assert_eq!(link.sent.len(), 1);
}

#[test]
fn what_is_wrong_before_is_told_before_anything_is_sent() {
    let mut link = Script::new(0, []);
    for (request, is_right) in [
        (Request::new([""]), matches_empty_name as fn(&Error) -> bool),
        (Request::new([""; 0]), |error| {
            matches!(error, Error::EmptySet)
        }),
    ] {
        let opened = ready(open(&mut link, request.clone(), DEFAULT));
        assert!(is_right(&opened.unwrap_err()));
        let acquired = ready(session::acquire(&mut link, request));
        assert!(is_right(&acquired.unwrap_err()));
    }
    let acquired = ready(xact::acquire(&mut link, request(Wait::Inherit)));
    assert!(matches!(acquired, Err(Error::NotInTransaction)));
    link.depth = 1;
    let acquired = ready(session::acquire(&mut link, request(Wait::Inherit)));
    assert!(matches!(acquired, Err(Error::InTransaction)));
    assert_eq!(link.sent, [""; 0]);
}

fn matches_empty_name(error: &Error) -> bool {
    matches!(error, Error::EmptyName)
}

#[test]
fn a_session_that_may_have_a_lock_nobody_knows_of_is_ended() {
    // The question whether it is held fails as well.
    let mut link = Script::new(0, [cancelled(), cancelled()]);
    let acquired = ready(session::acquire(&mut link, request(Wait::Forever)));
    assert!(matches!(acquired, Err(Error::Database(_))));
    assert_eq!(link.sent[2], END_SESSION);
    assert!(link.broken);
}

#[test]
fn a_permit_is_waited_for_once_and_one_that_nobody_knows_of_ends_the_session() {
    let permits = || {
        let mut request = request(Wait::Forever);
        request.permits = Some(2);
        request
    };
    // Which one it is, the last message should have told.
    let mut link = Script::new(0, [Ok(()), Ok(()), cancelled(), cancelled()]);
    let acquired = ready(session::acquire(&mut link, permits()));
    assert!(matches!(acquired, Err(Error::Database(_))));
    link.assert_sent([
        "SELECT CASE ",
        "/* advisory lock x (2 permits) */ SELECT ",
        "SELECT CASE WHEN pg_catalog.starts_with(",
        "look",
        END_SESSION,
        END_SESSION,
    ]);
    assert!(link.broken);

    let mut link = Script::new(0, [Ok(()), marked("no permit in time")]);
    let acquired = ready(session::acquire(&mut link, permits()));
    assert!(matches!(acquired, Ok(Attempt::Missing(_))));
    assert_eq!(link.sent.len(), 2);
}

#[test]
fn a_release_tells_what_it_found() {
    let mut link = Script::new(0, []);
    assert!(matches!(release(&mut link), Ok(())));
    assert_eq!(link.sent.len(), 1);

    let mut link = Script::new(0, [marked("lock was not held")]);
    assert!(matches!(release(&mut link), Err(Error::NotHeld)));
    assert!(!link.broken);

    let mut link = Script::new(0, [marked("session is shared")]);
    assert!(matches!(release(&mut link), Err(Error::SharedSession)));
    assert!(!link.broken);

    let mut link = Script::new(2, []);
    assert!(matches!(
        release(&mut link),
        Err(Error::TransactionLeftOpen)
    ));
    assert_eq!(link.sent[..2], ["rollback"; 2]);
}

#[test]
fn a_release_ends_a_transaction_that_diesel_does_not_know() {
    let mut link = Script::new(0, [marked("transaction is open")]);
    assert!(matches!(
        release(&mut link),
        Err(Error::TransactionLeftOpen)
    ));
    link.assert_sent(["SELECT ", "ROLLBACK", "SELECT "]);

    let mut link = Script::new(0, [cancelled()]);
    assert!(matches!(release(&mut link), Err(Error::Database(_))));
    link.assert_sent(["SELECT ", "ROLLBACK", "SELECT "]);
    assert!(!link.broken);
}

#[test]
fn a_release_that_fails_ends_the_session() {
    for answers in [
        [cancelled(), cancelled(), Ok(())],
        [cancelled(), Ok(()), cancelled()],
    ] {
        let mut link = Script::new(0, answers);
        assert!(matches!(release(&mut link), Err(Error::Database(_))));
        assert_eq!(link.sent.last().unwrap(), END_SESSION);
        assert!(link.broken);
    }
}

fn release(link: &mut Script) -> Result<(), Error> {
    let held = HeldLocks {
        keys: vec![LockKey::BigInt(1)],
        mode: Mode::Exclusive,
        mark: Mark::new(),
    };
    ready(session::release(link, &held))
}
