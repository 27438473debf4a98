//! What is sent where nobody waits, and what is asked where a wait has failed.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use super::script::{Script, deadlock};
use super::{DEFAULT, cancelled, failed, marked, request};
use crate::error::Error;
use crate::lock::modes::{Isolation, TransactionModes};
use crate::lock::request::Request;
use crate::lock::wait::Wait;
use crate::protocol::attempt::Attempt;
use crate::protocol::link::ready;
use crate::protocol::transaction::{OpenWork, commit, open, roll_back};
use crate::protocol::xact;

const SERIALIZABLE: TransactionModes = TransactionModes {
    isolation: Some(Isolation::Serializable),
    ..DEFAULT
};

fn opened(
    link: &mut Script,
    wait: Wait,
    modes: TransactionModes,
) -> Result<Option<OpenWork>, Error> {
    ready(open(link, request(wait), modes)).map(Attempt::granted)
}

#[test]
fn without_waiting_a_transaction_is_kept_if_its_lock_was_free() {
    let read_committed = TransactionModes {
        isolation: Some(Isolation::ReadCommitted),
        ..DEFAULT
    };
    for modes in [DEFAULT, read_committed] {
        let mut link = Script::new(0, []);
        let work = opened(&mut link, Wait::No, modes).unwrap().unwrap();
        ready(roll_back(&mut link, work));
        assert_eq!(link.sent[0], modes.begin());
        link.assert_sent(["BEGIN", "SELECT CASE ", "rollback"]);
        // What was asked for is not checked.
        let is_checked = link.sent[1].contains("transaction_isolation");
        assert_eq!(is_checked, modes == DEFAULT, "{}", link.sent[1]);

        let mut link = Script::new(0, []).with_codes([1]);
        assert!(opened(&mut link, Wait::No, modes).unwrap().is_none());
        link.assert_sent(["BEGIN", "SELECT CASE ", "rollback"]);

        let mut link = Script::new(0, [Ok(()), cancelled(), failed("rollback")]);
        let error = opened(&mut link, Wait::No, modes).unwrap_err();
        assert!(error.to_string().contains("canceling"), "{error}");
        link.assert_sent(["BEGIN", "SELECT CASE ", "rollback"]);

        let mut link = Script::new(0, [Ok(()), Ok(()), failed("rollback")]).with_codes([1]);
        let error = opened(&mut link, Wait::No, modes).unwrap_err();
        assert!(error.to_string().contains("rollback"), "{error}");
    }
}

#[test]
fn without_waiting_a_savepoint_is_kept_if_its_lock_was_free() {
    let undo = "ROLLBACK TO SAVEPOINT diesel_savepoint_2; RELEASE SAVEPOINT diesel_savepoint_2";
    let mut link = Script::new(2, []);
    let work = opened(&mut link, Wait::No, DEFAULT).unwrap().unwrap();
    ready(commit(&mut link, work)).unwrap();
    link.assert_sent([
        "SAVEPOINT diesel_savepoint_2",
        "SELECT CASE ",
        "RELEASE SAVEPOINT diesel_savepoint_2",
    ]);
    let mut link = Script::new(2, []);
    let work = opened(&mut link, Wait::No, DEFAULT).unwrap().unwrap();
    ready(roll_back(&mut link, work));
    assert_eq!(link.sent[2], undo);

    let mut link = Script::new(2, []).with_codes([1]);
    assert!(opened(&mut link, Wait::No, DEFAULT).unwrap().is_none());
    assert_eq!(link.sent[2..], [undo]);
    assert_eq!(link.depth, 2);

    let mut link = Script::new(2, [Ok(()), cancelled(), failed("undo")]);
    let error = opened(&mut link, Wait::No, DEFAULT).unwrap_err();
    assert!(error.to_string().contains("canceling"), "{error}");
    assert_eq!(link.sent[2..], [undo]);

    let mut link = Script::new(2, [Ok(()), Ok(()), failed("undo")]).with_codes([1]);
    let error = opened(&mut link, Wait::No, DEFAULT).unwrap_err();
    assert!(error.to_string().contains("undo"), "{error}");
}

#[test]
fn without_waiting_an_isolated_transaction_is_told_what_the_one_before_it_got() {
    let begin = "BEGIN NOT DEFERRABLE; ";
    let mut link = Script::new(0, []);
    assert!(opened(&mut link, Wait::No, SERIALIZABLE).unwrap().is_some());
    link.assert_sent([begin, "SELECT pg_catalog.current_setting("]);
    let second = "; COMMIT; BEGIN ISOLATION LEVEL SERIALIZABLE NOT DEFERRABLE; ";
    assert!(link.sent[0].contains(second), "{}", link.sent[0]);

    let mut link = Script::new(0, []).with_codes([1]);
    assert!(opened(&mut link, Wait::No, SERIALIZABLE).unwrap().is_none());
    assert_eq!(link.sent[2..], ["rollback"]);

    let mut link = Script::new(0, [marked("server is a standby")]);
    let error = opened(&mut link, Wait::No, SERIALIZABLE).unwrap_err();
    assert!(matches!(error, Error::Standby), "{error:?}");
    assert_eq!(link.sent.len(), 2);

    // One that turns out to be isolated begins again.
    let mut link = Script::new(0, []).with_codes([-1]);
    assert!(opened(&mut link, Wait::No, DEFAULT).unwrap().is_some());
    link.assert_sent(["BEGIN", "SELECT CASE ", "rollback", begin, "SELECT "]);
}

#[test]
fn only_a_wait_with_an_end_is_kept_from_waiting_for_a_snapshot() {
    for (wait, is_bounded) in [
        (Wait::Inherit, false),
        (Wait::Forever, false),
        (Wait::AtMost(5), true),
        (Wait::No, true),
    ] {
        let mut link = Script::new(0, []);
        assert!(opened(&mut link, wait, SERIALIZABLE).unwrap().is_some());
        let begin = "; BEGIN ISOLATION LEVEL SERIALIZABLE NOT DEFERRABLE; ";
        assert_eq!(link.sent[0].contains(begin), is_bounded, "{wait:?}");

        let safe = TransactionModes {
            read_only: Some(true),
            deferrable: Some(true),
            ..SERIALIZABLE
        };
        let mut link = Script::new(0, []);
        let opened = opened(&mut link, wait, safe);
        assert_eq!(matches!(opened, Err(Error::Unsupported(_))), is_bounded);
        assert_eq!(link.sent.is_empty(), is_bounded, "{wait:?}");
    }
}

#[test]
fn modes_are_those_of_a_transaction_and_not_of_a_savepoint() {
    let mut link = Script::new(1, []);
    let error = opened(&mut link, Wait::Inherit, SERIALIZABLE).unwrap_err();
    let already = DieselError::AlreadyInTransaction;
    assert_eq!(error.to_string(), Error::Database(already).to_string());
    assert_eq!(link.sent, [""; 0]);

    let read_write = TransactionModes {
        read_only: Some(false),
        ..DEFAULT
    };
    let mut link = Script::new(0, []);
    assert!(
        opened(&mut link, Wait::Inherit, read_write)
            .unwrap()
            .is_some()
    );
    link.assert_sent(["BEGIN READ WRITE; "]);
}

#[test]
fn work_that_has_ended_too_much_is_not_committed() {
    let mut link = Script::new(1, []);
    let work = opened(&mut link, Wait::Inherit, DEFAULT).unwrap().unwrap();
    link.depth = 1;
    let error = ready(commit(&mut link, work)).unwrap_err();
    assert!(matches!(
        error,
        Error::Database(DieselError::NotInTransaction)
    ));
    ready(roll_back(&mut link, work));
    assert_eq!(link.sent.len(), 1, "{:#?}", link.sent);
}

#[test]
fn a_step_without_waiting_takes_all_or_nothing() {
    let undo = "ROLLBACK TO SAVEPOINT diesel_advisory_step; RELEASE SAVEPOINT diesel_advisory_step";
    for (code, missing) in [(0, false), (1, true)] {
        let mut link = Script::new(1, []).with_codes([code]);
        let acquired = ready(xact::acquire(&mut link, request(Wait::No)));
        assert_eq!(matches!(acquired, Ok(Attempt::Missing(_))), missing);
        link.assert_sent(["SELECT CASE "]);
    }
    let mut two = Request::new([1, 2]);
    two.wait = Wait::No;
    let mut link = Script::new(1, []);
    let acquired = ready(xact::acquire(&mut link, two.clone()));
    assert!(matches!(acquired, Ok(Attempt::Granted(()))));
    link.assert_sent(["SAVEPOINT diesel_advisory_step; SELECT "]);
    assert!(link.sent[0].contains("pg_try_advisory_xact_lock"));

    let mut link = Script::new(1, [marked("not free is lock 2")]);
    let acquired = ready(xact::acquire(&mut link, two));
    assert!(matches!(acquired, Ok(Attempt::Missing(_))));
    assert_eq!(link.sent[1..], [undo]);

    let mut link = Script::new(1, []);
    let acquired = ready(xact::acquire(&mut link, request(Wait::Inherit)));
    assert!(matches!(acquired, Ok(Attempt::Granted(()))));
    link.assert_sent(["SAVEPOINT diesel_advisory_step; /* advisory lock x */ "]);
    assert!(
        !link.sent[0].contains("pg_try_advisory"),
        "{}",
        link.sent[0]
    );
}

#[test]
fn only_what_can_be_a_timeout_is_asked_for() {
    let unknown = || {
        let text = Box::new(String::from("relation does not exist"));
        Err(DieselError::DatabaseError(
            DatabaseErrorKind::UnableToSendCommand,
            text,
        ))
    };
    for wait in [Wait::AtMost(5), Wait::Inherit] {
        for error in [deadlock(), unknown(), Err(DieselError::NotFound)] {
            let mut link = Script::new(0, [error]);
            assert!(opened(&mut link, wait, DEFAULT).is_err());
            assert_eq!(link.sent[1..], ["ROLLBACK; "], "{wait:?}");
        }
        let mut link = Script::new(0, [cancelled()]);
        assert!(opened(&mut link, wait, DEFAULT).unwrap().is_none());
        assert!(link.sent[1].contains("DO $$"), "{}", link.sent[1]);
        // The text that is compared is that of the error.
        let hex = "canceling statement"
            .bytes()
            .map(|byte| format!("{byte:02x}"));
        assert!(link.sent[1].contains(&hex.collect::<String>()));
    }
    // Without a limit there is no timeout, but a refusal without a mark.
    let mut link = Script::new(0, [cancelled()]);
    assert!(opened(&mut link, Wait::Forever, DEFAULT).is_err());
    link.assert_sent([
        "SELECT; BEGIN ",
        "ROLLBACK; SELECT WHERE CASE ",
        "ROLLBACK; ",
    ]);
    assert!(!link.sent[1].contains("DO $$"), "{}", link.sent[1]);
    // Nor that, where all is checked in the statement.
    let mut link = Script::new(1, [cancelled()]);
    assert!(opened(&mut link, Wait::Forever, DEFAULT).is_err());
    assert_eq!(link.sent.len(), 2, "{:#?}", link.sent);
}

#[test]
fn a_lock_that_was_free_when_it_was_asked_for_again_has_timed_out() {
    let mut link = Script::new(0, [cancelled(), marked("time was up")]);
    assert!(
        opened(&mut link, Wait::AtMost(5), DEFAULT)
            .unwrap()
            .is_none()
    );
    assert_eq!(link.sent[2..], ["ROLLBACK; "]);

    for other in [marked("other error"), cancelled()] {
        let mut link = Script::new(0, [cancelled(), other]);
        let error = opened(&mut link, Wait::AtMost(5), DEFAULT).unwrap_err();
        assert!(error.to_string().contains("canceling"), "{error}");
        assert_eq!(link.sent[2..], ["ROLLBACK; "]);
    }
    let mut link = Script::new(0, [cancelled(), marked("server is a standby")]);
    let error = opened(&mut link, Wait::AtMost(5), DEFAULT).unwrap_err();
    assert!(matches!(error, Error::Standby), "{error:?}");
}

#[test]
fn a_savepoint_that_cannot_be_undone_leaves_its_transaction_to_the_user() {
    let mut link = Script::new(1, [deadlock(), cancelled()]);
    assert!(opened(&mut link, Wait::AtMost(5), DEFAULT).is_err());
    let undo =
        "ROLLBACK TO SAVEPOINT diesel_advisory_attempt; RELEASE SAVEPOINT diesel_savepoint_1";
    assert_eq!(link.sent[1..], [undo]);
    assert!(!link.broken);
}
