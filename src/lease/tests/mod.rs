//! What a lease and its clones tell, without a server.

mod leader;
mod shutdown;

use std::time::Duration;

use diesel::QueryResult;
use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::error::Error;
use crate::error::lost::HowLost;
use crate::lease::clock::{Clock, Moment, TimeToLive};
use crate::lease::handle::{GivenUp, Lease};
use crate::lease::keeping::begin;
use crate::lock::request::Request;
use crate::lock::token::FencingToken;
use crate::protocol::link::ready;
use crate::protocol::tests::script::Script;
use crate::sql::lease::LeaseSettings;
use crate::sql::token::TokenRow;
use crate::trace::Trace;

const MINUTE: Duration = Duration::from_secs(60);

fn lease() -> Lease {
    let ttl = TimeToLive::new(MINUTE);
    Lease::of(&Request::new(["x"]), ttl, &Trace::default())
}

fn held_lease() -> Lease {
    let lease = lease();
    lease.asked();
    lease.answered();
    lease
}

#[test]
fn a_lease_is_held_from_its_first_answer_on() {
    let lease = lease();
    assert!(!lease.is_held());
    assert_eq!(lease.ask_in(), Duration::ZERO);
    lease.asked();
    assert_eq!(lease.remaining(), None);
    lease.answered();
    assert!(lease.clone().is_held());
    assert!(lease.check().is_ok() && lease.check_not_lost().is_ok());
    let (least, most) = (MINUTE * 8 / 10, MINUTE * 9 / 10);
    assert!((least..=most).contains(&lease.remaining().unwrap()));
    let pause = lease.ask_in();
    assert!(pause <= MINUTE / 3 && pause > MINUTE / 6, "{pause:?}");
    assert_eq!((lease.given_up(), lease.how_lost()), (None, None));
    let shown = format!("{lease:?}");
    assert!(shown.starts_with("Lease { lock: "), "{shown}");
}

#[test]
fn what_is_lost_is_lost_for_every_clone() {
    for how in [HowLost::Connection, HowLost::Mark, HowLost::Setting] {
        let lease = held_lease();
        lease.clone().found(how);
        assert!(!lease.is_held());
        assert_eq!(lease.how_lost(), Some(how));
        for lost in [lease.check(), lease.check_not_lost()] {
            assert!(matches!(lost, Err(Error::Lost(_))), "{lost:?}");
        }
        // Too late for another reason.
        lease.resign();
        assert!(matches!(lease.check(), Err(Error::Lost(_))));
    }
}

#[test]
fn who_gives_up_in_time_has_not_lost() {
    let lease = held_lease();
    lease.resign();
    assert!(!lease.is_held());
    assert!(matches!(lease.check(), Err(Error::ShutDown)));
    lease.found(HowLost::Connection);
    assert!(matches!(lease.check(), Err(Error::ShutDown)));
    // Nor does it count as in time if it is given up again.
    lease.give_up(GivenUp::ShutDown);
    assert!(matches!(lease.check(), Err(Error::ShutDown)));
}

#[test]
fn the_stronger_reason_counts_until_the_work_is_over() {
    use GivenUp::{Over, Resigned, ShutDown};

    for (reasons, counts) in [
        ([Resigned, ShutDown], ShutDown),
        ([ShutDown, Resigned], ShutDown),
        ([Resigned, Over], Resigned),
        ([ShutDown, Over], ShutDown),
        ([Over, Resigned], Over),
        ([Over, ShutDown], Over),
    ] {
        let lease = held_lease();
        for why in reasons {
            lease.give_up(why);
        }
        assert_eq!(lease.given_up(), Some(counts), "{reasons:?}");
    }
    let lease = held_lease();
    drop(lease.over_when_dropped());
    assert_eq!(lease.given_up(), Some(Over));
}

#[test]
fn a_lease_has_the_token_that_it_was_given() {
    let lease = lease();
    let reason = |lease: &Lease| match lease.token() {
        Err(Error::NoToken(reason)) => reason,
        token => panic!("{token:?}"),
    };
    assert_eq!(reason(&lease), "the lease has not begun");
    lease.set_token(Err("no right"));
    assert_eq!(reason(&lease), "no right");
    let token = FencingToken::new(1, 2, 3);
    lease.set_token(Ok(token));
    assert_eq!(lease.token().unwrap(), token);
}

#[cfg(feature = "async")]
#[test]
fn whoever_waits_for_the_end_is_woken() {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Poll, Wake};

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().build().unwrap();
    let _entered = runtime.enter();
    let ends: [fn(&Lease); 2] = [Lease::resign, |lease| lease.found(HowLost::Answer)];
    for end in ends {
        let lease = held_lease();
        let woken = Arc::new(Woken::default());
        let waker = Arc::clone(&woken).into();
        let mut context = Context::from_waker(&waker);
        let mut lost = pin!(lease.lost());
        assert_eq!(lost.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        end(&lease);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(lost.as_mut().poll(&mut context), Poll::Ready(()));
    }
}

#[test]
fn a_time_to_live_is_told_in_all_its_parts() {
    let ttl = TimeToLive::new(MINUTE);
    assert_eq!(ttl.millis(), 60_000);
    assert_eq!(ttl.pause(), MINUTE / 3);
    assert!((MINUTE * 9 / 10..=MINUTE).contains(&ttl.left(Moment::now())));
    let ago = |age| {
        let now = Moment::now();
        Moment {
            steady: now.steady,
            wall: now.wall.checked_sub(age).unwrap(),
        }
    };
    let left = ttl.left(ago(MINUTE / 2));
    assert!((MINUTE / 3..=MINUTE / 2).contains(&left), "{left:?}");
    assert_eq!(ttl.left(ago(2 * MINUTE)), Duration::ZERO);
}

#[test]
fn the_next_question_is_a_third_after_the_last() {
    let at = |millis| Moment {
        steady: Duration::from_millis(millis),
        wall: Duration::from_millis(millis),
    };
    let mut clock = Clock::new(TimeToLive::new(Duration::from_secs(3)));
    assert_eq!(clock.ask_in(at(0)), Duration::ZERO);
    clock.asked(at(100));
    assert_eq!(clock.ask_in(at(100)), Duration::from_secs(1));
    assert_eq!(clock.ask_in(at(500)), Duration::from_millis(600));
    assert_eq!(clock.ask_in(at(2_000)), Duration::ZERO);
}

fn token_row() -> TokenRow {
    TokenRow {
        birth: 1,
        timeline: String::from("00000002"),
        position: String::from("0/3"),
    }
}

fn lost_connection() -> QueryResult<()> {
    let text = Box::new(String::from("server closed the connection"));
    Err(DieselError::DatabaseError(
        DatabaseErrorKind::ClosedConnection,
        text,
    ))
}

#[test]
fn a_lease_begins_with_a_token_and_an_answer() {
    let settings = LeaseSettings::new(60_000, None);
    let lease = lease();
    let mut link = Script::new(0, []).with_rows(vec![token_row()]);
    ready(begin(&mut link, &lease, &settings)).unwrap();
    assert!(lease.is_held());
    assert_eq!(lease.token().unwrap(), FencingToken::new(1, 2, 3));
    link.assert_sent(["look", "SELECT ", "SELECT "]);
    assert_eq!(link.sent[2], settings.question());
}

#[test]
fn a_lease_that_is_lost_before_it_begins_says_so() {
    let settings = LeaseSettings::new(60_000, None);
    let lease = lease();
    let mut link = Script::new(0, [Ok(()), lost_connection()]).with_looks(["0"]);
    let began = ready(begin(&mut link, &lease, &settings));
    assert!(matches!(began, Err(Error::Lost(_))), "{began:?}");
    assert_eq!(lease.how_lost(), Some(HowLost::Connection));
    assert!(matches!(lease.token(), Err(Error::NoToken(_))));
}

#[cfg(feature = "tracing")]
#[test]
fn the_work_is_inside_of_the_span_of_its_lock() {
    use tracing_subscriber::util::SubscriberInitExt as _;

    let _collected = tracing_subscriber::registry().set_default();
    let request = Request::new(["x"]);
    let trace = Trace::begin(&request, crate::trace::Scope::Lease);
    let lease = Lease::of(&request, TimeToLive::new(MINUTE), &trace);
    let name = || {
        let span = lease.trace().inside(tracing::Span::current);
        span.metadata().map(tracing::Metadata::name)
    };
    assert_eq!(name(), Some("advisory_lock"));
    // A clone of the lease does not keep it open.
    drop(trace);
    assert_eq!(name(), None);
}
