//! Locks of a session: what becomes of it where nobody can tell whether it has them.

use super::script::{Script, deadlock};
use super::{cancelled, marked, request};
use crate::error::Error;
use crate::lock::key::LockKey;
use crate::lock::request::{Mode, Request};
use crate::lock::wait::Wait;
use crate::protocol::attempt::Attempt;
use crate::protocol::link::ready;
use crate::protocol::session;
use crate::sql::marks::Mark;
use crate::sql::release::{END_SESSION, HeldLocks};

#[test]
fn a_session_that_waits_for_nothing_asks_once() {
    for (code, missing) in [(0, false), (1, true)] {
        let mut link = Script::new(0, []).with_codes([code]);
        let acquired = ready(session::acquire(&mut link, request(Wait::No)));
        assert_eq!(matches!(acquired, Ok(Attempt::Missing(_))), missing);
        link.assert_sent(["SELECT CASE "]);
    }
}

#[test]
fn after_a_failure_a_session_ends_unless_it_cannot_have_been_granted() {
    for (count, held, ends) in [
        (1, "0", false),
        (1, "1", true),
        (2, "1", false),
        (2, "2", true),
        (1_000, "999", false),
        (1_000, "1000", true),
        // These are not taken in one step.
        (1_001, "0", false),
        (1_001, "1", true),
    ] {
        let mut request = Request::new(1_i64..=count);
        request.wait = Wait::Forever;
        let mut link = Script::new(0, [deadlock()]).with_looks([held]);
        let acquired = ready(session::acquire(&mut link, request));
        assert!(matches!(acquired, Err(Error::Database(_))));
        assert_eq!(link.sent[1], "look");
        assert_eq!(link.broken, ends, "{held} of {count}");
    }
}

#[test]
fn a_second_release_tells_what_the_first_one_could_not() {
    let held = HeldLocks {
        keys: vec![LockKey::BigInt(1)],
        mode: Mode::Exclusive,
        mark: Mark::new(),
    };
    let forget = held.mark.forget();
    let open = || marked("transaction is open");
    for (first, second, is_right, last) in [
        (
            cancelled(),
            marked("lock was not held"),
            (|error| matches!(error, Error::Database(_))) as fn(&Error) -> bool,
            &*forget,
        ),
        (
            cancelled(),
            marked("session is shared"),
            |error| matches!(error, Error::Database(_)),
            &forget,
        ),
        (
            open(),
            marked("session is shared"),
            |error| matches!(error, Error::TransactionLeftOpen),
            &forget,
        ),
        (
            open(),
            marked("lock was not held"),
            |error| matches!(error, Error::NotHeld),
            &forget,
        ),
        (
            open(),
            open(),
            |error| matches!(error, Error::TransactionLeftOpen),
            "SELECT WHERE ",
        ),
        (
            open(),
            cancelled(),
            |error| matches!(error, Error::Database(_)),
            END_SESSION,
        ),
    ] {
        let mut link = Script::new(0, [first, Ok(()), second]);
        let error = ready(session::release(&mut link, &held)).unwrap_err();
        assert!(is_right(&error), "{error:?}");
        assert_eq!(link.sent[1], "ROLLBACK");
        assert!(
            link.sent.last().unwrap().starts_with(last),
            "{:#?}",
            link.sent
        );
    }
}
