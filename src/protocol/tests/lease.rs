//! Leases and their tokens: what a session is asked, and what its answers mean.

use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error as DieselError};

use super::script::{Preparing, Script};
use super::{cancelled, failed, marked, request};
use crate::error::Error;
use crate::error::lost::HowLost;
use crate::lock::key::LockKey;
use crate::lock::request::{Mode, Request};
use crate::lock::token::FencingToken;
use crate::lock::wait::Wait;
use crate::protocol::attempt::Attempt;
use crate::protocol::lease::{acquire, ask, finish};
use crate::protocol::link::ready;
use crate::protocol::token::{token, token_or_reason};
use crate::sql::lease::LeaseSettings;
use crate::sql::marks::Mark;
use crate::sql::release::{END_SESSION, HeldLocks, release};
use crate::sql::token::TokenRow;

fn settings() -> LeaseSettings {
    LeaseSettings::new(1_000, None)
}

fn held() -> HeldLocks {
    HeldLocks {
        keys: vec![LockKey::BigInt(1)],
        mode: Mode::Exclusive,
        mark: Mark::new(),
    }
}

#[test]
fn a_session_has_its_settings_before_its_lock() {
    let settings = settings();
    let mut on_standby = request(Wait::Inherit);
    on_standby.on_standby = true;
    let mut link = Script::new(0, []);
    let acquired = ready(acquire(&mut link, on_standby, &settings));
    assert!(acquired.unwrap().granted().is_some());
    assert_eq!(link.sent.len(), 2);
    assert_eq!(link.sent[0], settings.set());
    // A lease is never one of a standby.
    assert!(
        link.sent[1].contains("pg_is_in_recovery"),
        "{}",
        link.sent[1]
    );
}

#[test]
fn a_session_without_its_lock_has_the_settings_that_it_had() {
    let settings = settings();
    let mut link = Script::new(0, []).with_codes([1]);
    let acquired = ready(acquire(&mut link, request(Wait::No), &settings));
    assert!(matches!(acquired, Ok(Attempt::Missing(_))));
    assert_eq!(link.sent.last().unwrap(), &settings.put_back());

    let mut link = Script::new(0, [Ok(()), cancelled()]).with_looks(["0"]);
    let acquired = ready(acquire(&mut link, request(Wait::Forever), &settings));
    assert!(matches!(acquired, Err(Error::Database(_))));
    assert_eq!(link.sent.last().unwrap(), &settings.put_back());
    assert!(!link.broken);

    // Or it has none.
    let mut link = Script::new(0, [Ok(()), Ok(()), cancelled()]).with_codes([1]);
    let acquired = ready(acquire(&mut link, request(Wait::No), &settings));
    assert!(matches!(acquired, Ok(Attempt::Missing(_))));
    assert_eq!(link.sent.last().unwrap(), END_SESSION);
    assert!(link.broken);
}

#[test]
fn where_no_lease_can_be_no_lock_is_asked_for() {
    for (answer, is_right) in [
        (
            marked("transaction is open"),
            (|error| matches!(error, Error::InTransaction)) as fn(&Error) -> bool,
        ),
        (marked("server is a standby"), |error| {
            matches!(error, Error::Standby)
        }),
        (marked("session is shared"), |error| {
            matches!(error, Error::SharedSession)
        }),
        (cancelled(), |error| matches!(error, Error::Database(_))),
    ] {
        let mut link = Script::new(0, [answer]);
        let acquired = ready(acquire(&mut link, request(Wait::Forever), &settings()));
        let error = acquired.unwrap_err();
        assert!(is_right(&error), "{error:?}");
        assert_eq!(link.sent.len(), 1);
    }
    let mut link = Script::new(0, []);
    let acquired = ready(acquire(&mut link, Request::new([""]), &settings()));
    assert!(matches!(acquired, Err(Error::EmptyName)));
    link.depth = 1;
    let acquired = ready(acquire(&mut link, request(Wait::Forever), &settings()));
    assert!(matches!(acquired, Err(Error::InTransaction)));
    assert_eq!(link.sent, [""; 0]);
}

#[test]
fn an_answer_says_how_a_lease_was_lost() {
    let closed = || {
        let text = Box::new(String::from("server closed the connection"));
        Err(DieselError::DatabaseError(
            DatabaseErrorKind::ClosedConnection,
            text,
        ))
    };
    for (answer, found) in [
        (Ok(()), Ok(())),
        (marked("mark of the lease is missing"), Err(HowLost::Mark)),
        (
            marked("timeout of the lease was changed"),
            Err(HowLost::Setting),
        ),
        (closed(), Err(HowLost::Connection)),
        (failed("something else"), Err(HowLost::Answer)),
        (
            Err(DieselError::BrokenTransactionManager),
            Err(HowLost::Connection),
        ),
    ] {
        let settings = settings();
        let mut link = Script::new(0, [answer]);
        assert_eq!(ready(ask(&mut link, &settings)), found);
        assert_eq!(link.sent, [settings.question()]);
    }
}

#[test]
fn a_lease_ends_with_its_lock_and_its_settings() {
    let (settings, held) = (settings(), held());
    for (answer, is_ok) in [(Ok(()), true), (marked("session is shared"), false)] {
        let mut link = Script::new(0, [answer]);
        assert_eq!(ready(finish(&mut link, &held, &settings)).is_ok(), is_ok);
        assert_eq!(link.sent[0], release(&held));
        assert_eq!(link.sent.last().unwrap(), &settings.put_back());
    }
}

fn row() -> TokenRow {
    TokenRow {
        birth: 1,
        timeline: String::from("00000002"),
        position: String::from("0/3"),
    }
}

#[test]
fn a_token_is_given_to_who_holds_the_lock() {
    let mut link = Script::new(0, []).with_rows(vec![row()]);
    assert_eq!(
        ready(token(&mut link, &held())).unwrap(),
        FencingToken::new(1, 2, 3)
    );
    link.assert_sent(["SELECT WHERE CASE ", "SELECT pg_catalog.int8shr("]);

    for (answer, is_right) in [
        (
            marked("transaction is open"),
            (|error| matches!(error, Error::InTransaction)) as fn(&Error) -> bool,
        ),
        (marked("server is a standby"), |error| {
            matches!(error, Error::Standby)
        }),
        (marked("lock was not held"), |error| {
            matches!(error, Error::NotHeld)
        }),
        (cancelled(), |error| matches!(error, Error::Database(_))),
    ] {
        let mut link = Script::new(0, [answer]);
        let error = ready(token(&mut link, &held())).unwrap_err();
        assert!(is_right(&error), "{error:?}");
        assert_eq!(link.sent.len(), 1);
    }
    let mut link = Script::new(1, []);
    assert!(matches!(
        ready(token(&mut link, &held())),
        Err(Error::InTransaction)
    ));
    assert_eq!(link.sent, [""; 0]);
}

#[test]
fn a_right_that_is_missing_is_told_from_a_failure() {
    let unable = |answers: [QueryResult<()>; 3], look| {
        let mut link = Script::new(0, answers).with_looks([look]);
        ready(token(&mut link, &held())).unwrap_err()
    };
    let error = unable([Ok(()), cancelled(), Ok(())], "0");
    assert!(matches!(error, Error::NoToken(_)), "{error:?}");
    for answers in [
        ([Ok(()), cancelled(), Ok(())], "1"),
        ([Ok(()), cancelled(), cancelled()], "0"),
        // No row, where there has to be one.
        ([Ok(()), Ok(()), Ok(())], "1"),
    ] {
        let error = unable(answers.0, answers.1);
        assert!(matches!(error, Error::Database(_)), "{error:?}");
    }
}

#[test]
fn a_new_lease_asks_for_the_right_first() {
    let mut link = Script::new(0, []).with_looks(["0"]);
    assert!(ready(token_or_reason(&mut link)).unwrap().is_err());
    link.assert_sent(["look"]);

    let mut link = Script::new(0, []).with_looks(["1"]).with_rows(vec![row()]);
    let given = ready(token_or_reason(&mut link)).unwrap();
    assert_eq!(given, Ok(FencingToken::new(1, 2, 3)));
    link.assert_sent(["look", "SELECT "]);
}

#[test]
fn a_session_of_one_lock_prepares_nothing_for_it() {
    let settings = settings();
    let mut link = Preparing::new(0, []);
    let acquired = ready(acquire(&mut link, request(Wait::Inherit), &settings));
    let held = acquired.unwrap().granted().unwrap();
    link.assert_sent(["SELECT WHERE ", "/* advisory lock x */ SELECT WHERE "]);
    ready(finish(&mut link, &held, &settings)).unwrap();
    assert_eq!(link.sent[2], release(&held));
}
