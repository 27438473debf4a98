//! Locks of a session: what becomes of it where nobody can tell whether it has them.

use super::script::{Preparing, Script, deadlock};
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

const MESSAGE: &str = "/* advisory lock x */ SELECT WHERE ";
const QUERY: &str = "SELECT CASE WHEN ";

#[test]
fn a_prepared_query_takes_a_lock_that_is_free_and_a_message_waits() {
    let mut link = Preparing::new(0, []);
    let acquired = ready(session::acquire(&mut link, request(Wait::Inherit)));
    assert!(matches!(acquired, Ok(Attempt::Granted(_))));
    link.assert_sent([QUERY]);

    // It is not free, or nobody can tell whether a transaction is open.
    for code in [1, -5] {
        let mut link = Preparing::new(0, []).with_codes([code]);
        let acquired = ready(session::acquire(&mut link, request(Wait::Inherit)));
        assert!(matches!(acquired, Ok(Attempt::Granted(_))));
        link.assert_sent([QUERY, MESSAGE]);
    }
    let mut link = Preparing::new(0, []).with_codes([-2]);
    let acquired = ready(session::acquire(&mut link, request(Wait::Inherit)));
    assert!(matches!(acquired, Err(Error::Standby)));
    link.assert_sent([QUERY]);

    let mut link = Preparing::new(0, []);
    let acquired = ready(session::acquire(&mut link, Request::new([1, 2])));
    assert!(matches!(acquired, Ok(Attempt::Granted(_))));
    link.assert_sent(["/* advisory lock 1 2 */ SELECT WHERE "]);
}

#[test]
fn a_query_that_fails_has_no_mark_to_be_read() {
    let mut link = Preparing::new(0, [marked("server is a standby")]).with_looks(["0"]);
    let acquired = ready(session::acquire(&mut link, request(Wait::No)));
    assert!(matches!(acquired, Err(Error::Database(_))));
    link.assert_sent([QUERY, "look"]);
}

#[test]
fn a_prepared_query_releases_unless_a_transaction_may_be_open() {
    let held = |count: i64| HeldLocks {
        keys: (1..=count).map(LockKey::BigInt).collect(),
        mode: Mode::Exclusive,
        mark: Mark::new(),
    };
    let message = "SELECT WHERE CASE ";
    let mut link = Preparing::new(0, []);
    ready(session::release(&mut link, &held(1))).unwrap();
    link.assert_sent([QUERY]);

    let mut link = Preparing::new(0, []).with_codes([-5]);
    ready(session::release(&mut link, &held(1))).unwrap();
    link.assert_sent([QUERY, message]);

    let mut link = Preparing::new(0, []);
    ready(session::release(&mut link, &held(2))).unwrap();
    link.assert_sent([message]);

    let mut link = Preparing::new(0, []).with_codes([-6]);
    let released = ready(session::release(&mut link, &held(1)));
    assert!(matches!(released, Err(Error::NotHeld)));
    let mut link = Preparing::new(0, []).with_codes([-3]);
    let released = ready(session::release(&mut link, &held(1)));
    assert!(matches!(released, Err(Error::SharedSession)));

    // After a failure, nothing is prepared.
    let mut link = Preparing::new(0, [cancelled()]);
    let released = ready(session::release(&mut link, &held(1)));
    assert!(matches!(released, Err(Error::Database(_))));
    link.assert_sent([QUERY, "ROLLBACK", message]);
}
