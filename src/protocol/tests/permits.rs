//! Permits: what is refused, what is asked, and what an answer means.

use super::script::Script;
use super::{cancelled, marked, request};
use crate::error::Error;
use crate::lock::id::LockId;
use crate::lock::permits::Permits;
use crate::lock::request::{Mode, Request};
use crate::lock::wait::Wait;
use crate::protocol::attempt::Attempt;
use crate::protocol::link::ready;
use crate::protocol::session::acquire;
use crate::sql::release::END_SESSION;

/// A permit that can be taken without waiting.
const FREE: &str = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN ";

fn permits(wait: Wait, count: u32) -> Request<'static> {
    let mut request = request(wait);
    request.permits = Some(count);
    request
}

#[test]
fn permits_that_nobody_could_have_are_refused() {
    let refused = |request| {
        let mut link = Script::new(0, []);
        let refused = match ready(acquire(&mut link, request)) {
            Err(Error::Unsupported(why)) => Some(why),
            Ok(_) => None,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(refused.is_some(), link.sent.is_empty());
        refused.unwrap_or_default()
    };
    let of = |ids: Vec<LockId<'static>>| {
        let mut request = Request::new(ids);
        request.permits = Some(2);
        request
    };
    let mut shared = permits(Wait::No, 2);
    shared.mode = Mode::Share;
    for (request, why) in [
        (permits(Wait::No, 0), "permits(0)"),
        (permits(Wait::No, 1), ""),
        (permits(Wait::No, 1_000), ""),
        (permits(Wait::No, 1_001), "at most 1,000"),
        (shared, "held exclusively"),
        (of(vec!["a".into(), "b".into()]), "belong to one lock"),
        (of(vec![7.into()]), "need the name"),
    ] {
        let refused = refused(request);
        assert!(refused.contains(why), "{refused} is not {why}");
        assert_eq!(refused.is_empty(), why.is_empty(), "{refused}");
    }
}

#[test]
fn the_number_of_a_permit_is_that_of_its_lock() {
    for (codes, index) in [([1, 0], 0), ([3, 0], 2), ([-4, 2], 1)] {
        let mut link = Script::new(0, []).with_codes(codes);
        let acquired = ready(acquire(&mut link, permits(Wait::Inherit, 3)));
        let held = acquired.unwrap().granted().unwrap();
        assert_eq!(held.keys, [Permits::of("x", 3).keys[index]]);
        // A session that holds other locks is asked which permit it has.
        let again = usize::from(codes[0] == -4);
        assert_eq!(link.sent.len(), 1 + again);
        assert!(link.sent[again].starts_with(FREE));
        let asks_for_own = link.sent[again].contains("pg_catalog.pg_locks");
        assert_eq!(asks_for_own, again == 1, "{}", link.sent[again]);
    }
}

#[test]
fn who_does_not_wait_is_told_after_one_question() {
    let mut link = Script::new(0, []).with_codes([0]);
    let acquired = ready(acquire(&mut link, permits(Wait::No, 3)));
    assert!(matches!(acquired, Ok(Attempt::Missing(_))));
    link.assert_sent([FREE]);

    let mut link = Script::new(0, []).with_codes([-3]);
    let acquired = ready(acquire(&mut link, permits(Wait::Forever, 3)));
    assert!(matches!(acquired, Err(Error::SharedSession)));
    link.assert_sent([FREE]);
}

#[test]
fn a_wait_has_the_limit_that_is_left() {
    for (wait, limits) in [
        (Wait::Forever, 0..=0),
        (Wait::Inherit, -1..=-1),
        (Wait::AtMost(60_000), 30_000..=60_000),
        (Wait::AtMost(1), 1..=1),
    ] {
        let mut link = Script::new(0, []).with_codes([0, 2]);
        let acquired = ready(acquire(&mut link, permits(wait, 3)));
        let held = acquired.unwrap().granted().unwrap();
        assert_eq!(held.keys, [Permits::of("x", 3).keys[1]]);
        link.assert_sent([FREE, "/* advisory lock x (3 permits) */ ", "SELECT CASE "]);
        let asked = link.sent[1].split_once("'{").unwrap().1;
        let limit: i32 = asked.split_once(',').unwrap().0.parse().unwrap();
        assert!(limits.contains(&limit), "{wait:?} has {limit}");
    }
}

#[test]
fn a_permit_that_does_not_exist_is_that_of_another_client() {
    for (code, held, ends) in [(3, "0", false), (3, "1", true), (4, "0", false)] {
        let mut link = Script::new(0, []).with_codes([code]).with_looks([held]);
        let acquired = ready(acquire(&mut link, permits(Wait::Forever, 2)));
        assert!(matches!(acquired, Err(Error::SharedSession)));
        assert_eq!(link.broken, ends);
        assert_eq!(link.sent.last().unwrap() == END_SESSION, ends);
    }
}

#[test]
fn a_wait_for_a_permit_that_fails_ends_the_session_unless_none_is_held() {
    for (held, ends) in [("0", false), ("1", true)] {
        let mut link = Script::new(0, [Ok(()), cancelled()]).with_looks([held]);
        let acquired = ready(acquire(&mut link, permits(Wait::Forever, 2)));
        assert!(matches!(acquired, Err(Error::Database(_))));
        assert_eq!(link.broken, ends);
    }
    let mut link = Script::new(0, [Ok(()), marked("transaction is open")]);
    let acquired = ready(acquire(&mut link, permits(Wait::Forever, 2)));
    assert!(matches!(acquired, Err(Error::InTransaction)));
    assert!(!link.broken);
}
