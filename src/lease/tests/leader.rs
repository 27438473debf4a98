//! What a leader decides, and what it tells of it.

use std::sync::mpsc;
use std::time::Duration;

use self::builder::Builder;
use super::held_lease;
use crate::error::Error;
use crate::error::unavailable::Holder;
use crate::lease::clock::TimeToLive;
use crate::lease::handle::{GivenUp, Lease};
use crate::lease::leader::{Campaign, Change, Next, Plan, after, is_final};
use crate::lock::request::Request;
use crate::lock::token::FencingToken;
use crate::lock::wait::Wait;
use crate::sql::lease::SessionName;
use crate::trace::Trace;

#[test]
fn a_leader_asks_for_its_own_lock_by_its_own_name() {
    let mut plan = Plan::new("scheduler".into());
    let request = plan.request();
    assert_eq!(request.ids, ["scheduler".into()]);
    assert_eq!(request.wait, Wait::No);
    match plan.name() {
        SessionName::IfUnset(name) => {
            let (host, process) = name.rsplit_once(':').unwrap();
            assert!(!host.is_empty() && host.trim() == host, "{name:?}");
            assert_eq!(process, std::process::id().to_string());
        }
        name @ SessionName::Always(_) => panic!("{name:?}"),
    }
    plan.identity = Some(String::from("web-3"));
    assert!(matches!(plan.name(), SessionName::Always(name) if name == "web-3"));
}

#[test]
fn what_follows_a_term_is_how_it_ended() {
    let lost = || Err(Error::ShutDown);
    let next = |given_up: Option<GivenUp>, in_time: Result<(), Error>, returned| {
        let lease = held_lease();
        if let Some(why) = given_up {
            lease.give_up(why);
        }
        match after(&lease, &in_time, returned) {
            Next::Return(returned) => format!("returns {returned}"),
            Next::Again(change) => change.to_string(),
            Next::ShutDown => String::from("is over"),
        }
    };
    for (given_up, in_time, returned, told) in [
        (None, Ok(()), Some(7), "returns 7"),
        (Some(GivenUp::Over), Ok(()), Some(7), "returns 7"),
        (None, Ok(()), None, "lost the lead"),
        (None, lost(), Some(7), "lost the lead"),
        (Some(GivenUp::Resigned), Ok(()), Some(7), "resigned"),
        (Some(GivenUp::Resigned), lost(), Some(7), "lost the lead"),
        (Some(GivenUp::ShutDown), Ok(()), Some(7), "is over"),
    ] {
        assert_eq!(next(given_up, in_time, returned), told);
    }
    assert!(is_final(&Error::EmptyName) && is_final(&Error::EmptySet));
    assert!(!is_final(&Error::Standby));
}

#[test]
fn a_campaign_tells_each_change_once() {
    let retry = Duration::from_secs(2);
    let (told, changes) = mpsc::channel();
    let on_change = move |change: Change<'_>| {
        let _ = told.send(change.to_string());
    };
    let mut campaign = Campaign::begin(retry, Box::new(on_change));
    let told = move || changes.try_iter().collect::<Vec<_>>();
    assert_eq!(told(), ["campaigning"]);

    let holder = Holder::new(7);
    let pauses = [(); 100].map(|()| campaign.follows(Some(&holder)));
    assert_eq!(told(), ["following pid 7"]);
    let (least, most) = (retry * 3 / 4, retry);
    assert!(pauses.iter().all(|pause| (least..=most).contains(pause)));
    // Not all at the same time.
    let middle = retry * 7 / 8;
    assert!(pauses.iter().any(|pause| *pause < middle), "{pauses:?}");
    assert!(pauses.iter().any(|pause| *pause > middle), "{pauses:?}");

    campaign.follows(None);
    campaign.follows(Some(&holder));
    assert_eq!(told(), [""; 0]);
    // Whom it has followed before is news after a failure, and after a term of its own.
    campaign.failed(&Error::Standby);
    campaign.follows(Some(&holder));
    assert_eq!(told().last().unwrap(), "following pid 7");
    let lease = held_lease();
    lease.set_token(Ok(FencingToken::new(1, 2, 3)));
    campaign.failed(&Error::Standby);
    campaign.failed(&Error::Standby);
    campaign.leads(&lease);
    campaign.follows(Some(&holder));
    let token = "leading with token 00000001000000020000000000000003";
    assert_eq!(told()[2..], [token, "following pid 7"]);
    // Failures are counted anew after either.
    assert!(campaign.failed(&Error::Standby) <= retry);
    campaign.leads(&lease);
    assert!(campaign.failed(&Error::Standby) <= retry);
    told();

    let again = campaign.after::<()>(Next::Again(Change::Lost));
    assert!(matches!(again, Next::Again(Duration::ZERO)));
    assert_eq!(told(), ["lost the lead", "campaigning"]);
    assert!(matches!(campaign.after(Next::Return(7)), Next::Return(7)));
    assert!(matches!(
        campaign.after::<()>(Next::ShutDown),
        Next::ShutDown
    ));
    assert_eq!(told(), [""; 0]);
}

#[test]
fn a_leader_that_shuts_down_does_not_begin_again() {
    let ttl = TimeToLive::new(Duration::from_secs(1));
    let lease = Lease::of(&Request::new(["x"]), ttl, &Trace::default());
    lease.resign();
    lease.give_up(GivenUp::ShutDown);
    let next = after(&lease, &Err(Error::ShutDown), Some(()));
    assert!(matches!(next, Next::ShutDown));
}

#[test]
fn failures_pause_longer_each_time_and_followers_do_not() {
    let retry = Duration::from_millis(100);
    let mut told = Vec::new();
    let on_change = |change: Change<'_>| told.push(change.to_string());
    let mut campaign = Campaign::begin(retry, Box::new(on_change));
    let pauses = [(); 8].map(|()| campaign.failed(&Error::Standby));
    for pair in pauses.windows(2) {
        assert!(pair[0] < pair[1], "{pauses:?}");
    }
    for _ in 0..100 {
        assert!(campaign.failed(&Error::Standby) <= Duration::from_secs(30));
    }
    for pid in [7, 7, 8] {
        let pause = campaign.follows(Some(&Holder::new(pid)));
        assert!(pause <= retry && pause >= retry * 3 / 4, "{pause:?}");
    }
    assert!(campaign.failed(&Error::Standby) <= retry);
    assert!(campaign.begins_again(Change::Resigned) > retry);
    assert_eq!(campaign.begins_again(Change::Lost), Duration::ZERO);
    drop(campaign);
    told.retain(|change| !change.starts_with("failed"));
    assert_eq!(
        told,
        [
            "campaigning",
            "following pid 7",
            "following pid 8",
            "resigned",
            "campaigning",
            "lost the lead",
            "campaigning"
        ]
    );
}

/// A leader as far as its options go.
#[allow(unreachable_pub, reason = "they are public where a leader is")]
mod builder {
    use crate::lease::leader::{OnChange, Plan};
    use crate::lease::options::leader_options;

    pub(super) struct Builder<'a> {
        pub(super) plan: Plan<'a>,
        pub(super) on_change: OnChange<'a>,
    }

    leader_options!(Builder);
}

#[test]
fn options_end_in_the_plan() {
    let (told, changes) = mpsc::channel();
    let builder = Builder::new("scheduler");
    let defaults = &builder.plan;
    assert_eq!(defaults.ttl.get(), Duration::from_secs(15));
    assert_eq!(defaults.retry, Duration::from_secs(2));
    assert_eq!((&defaults.identity, defaults.lock_delay), (&None, true));

    let mut builder = builder
        .time_to_live(Duration::from_secs(30))
        .retry(Duration::from_secs(5))
        .identity("web-3")
        .lock_delay(false)
        .on_change(move |change| told.send(change.to_string()).unwrap());
    (builder.on_change)(Change::Lost);
    assert_eq!(changes.recv().unwrap(), "lost the lead");
    assert_eq!(builder.plan.ttl.get(), Duration::from_secs(30));
    assert_eq!(builder.plan.retry, Duration::from_secs(5));
    assert_eq!(builder.plan.identity.as_deref(), Some("web-3"));
    assert!(!builder.plan.lock_delay);
    let shown = format!("{builder:?}");
    assert!(shown.starts_with("Builder { plan: Plan { id: "), "{shown}");
    // A pause of nothing would keep the server busy.
    let restless = builder.retry(Duration::ZERO);
    assert_eq!(restless.plan.retry, Duration::from_millis(1));
}
