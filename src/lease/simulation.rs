//! The clock in simulated time, between a client that does not always run, a network that delays and loses,
//! and a server that ends silent sessions.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::clock::{Clock, Moment, TimeToLive};
use crate::error::lost::HowLost;

/// What meets one question and its answer. All times are milliseconds.
#[derive(Debug, Clone, Copy)]
struct Fate {
    /// How long it is under way. `None`: it never arrives.
    there: Option<u64>,
    /// How long the server's process is stopped before it answers.
    stopped: u64,
    /// How long the answer is under way. `None`: it never arrives.
    back: Option<u64>,
}

/// One run of the client's process, and how long it does not run after it.
#[derive(Debug, Clone, Copy)]
struct Turn {
    pause: u64,
    /// By how much the wall clock is set forward or back meanwhile.
    step: i64,
    /// Whether the machine slept: the steady clock stood still.
    slept: bool,
}

#[derive(Debug, Clone)]
struct Schedule {
    ttl: u64,
    turns: Vec<Turn>,
    fates: Vec<Fate>,
    /// When the session is killed.
    killed: Option<u64>,
}

/// What a schedule has led to.
#[derive(Debug, Clone, Copy, Default)]
struct Outcome {
    /// The last time at which the client looked and believed to hold the lease.
    believed: Option<u64>,
    /// The first time at which it looked, after that, and did not.
    told: Option<u64>,
    /// When the server freed the lock.
    freed: Option<u64>,
    /// When the last question was sent whose answer came in time.
    counted: u64,
    renewals: usize,
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Runs the client turn by turn. The server is asked nothing but the questions, so all that it does follows
/// from when they arrive.
fn run(schedule: &Schedule) -> Outcome {
    let mut clock = Clock::new(TimeToLive::new(millis(schedule.ttl)));
    let mut fates = schedule.fates.iter().copied().cycle();
    let mut outcome = Outcome::default();
    let (mut now, mut slept, mut stepped) = (0_u64, 0_u64, 1_000_000_000_i64);
    // The grant: from here on the session is idle.
    let mut ends_at = schedule.ttl;
    let mut under_way: Option<(u64, Option<u64>)> = None;

    for turn in &schedule.turns {
        let wall = stepped.saturating_add_unsigned(now);
        let moment = Moment {
            steady: millis(now - slept),
            wall: millis(u64::try_from(wall).unwrap_or(0)),
        };
        // What arrived while the process did not run is found now.
        if let Some((asked_at, Some(_))) =
            under_way.filter(|(_, back)| back.is_some_and(|at| at <= now))
        {
            clock.answered(moment);
            under_way = None;
            if clock.remaining(moment).is_some() {
                outcome.counted = asked_at;
                outcome.renewals += 1;
            }
        }
        let is_held = clock.remaining(moment).is_some();
        if is_held {
            assert_eq!(outcome.told, None, "what is lost stays lost");
            outcome.believed = Some(now);
        } else if outcome.believed.is_some() && outcome.told.is_none() {
            outcome.told = Some(now);
        }
        let is_lost = clock.check(moment).is_err();
        if !is_lost && under_way.is_none() && clock.ask_in(moment).is_zero() {
            clock.asked(moment);
            let fate = fates.next().expect("they go round");
            let arrives = fate.there.map(|there| now + there);
            let is_alive =
                |at: u64| at < ends_at && schedule.killed.is_none_or(|killed| at < killed);
            let back = match arrives.filter(|at| is_alive(*at)) {
                None => None,
                Some(at) => {
                    // A stopped process keeps its session, and counts again once it has answered.
                    let answers = at + fate.stopped;
                    ends_at = answers + schedule.ttl;
                    let killed = schedule.killed.is_some_and(|killed| answers >= killed);
                    fate.back.filter(|_| !killed).map(|back| answers + back)
                }
            };
            under_way = Some((now, back));
        }
        now += turn.pause;
        stepped += turn.step;
        if turn.slept {
            slept += turn.pause;
        }
    }
    outcome.freed = Some(
        schedule
            .killed
            .map_or(ends_at, |killed| killed.min(ends_at)),
    );
    outcome
}

fn fates(ttl: u64) -> impl Strategy<Value = Fate> {
    let way = move || {
        prop_oneof![
            8 => (0..ttl / 10).prop_map(Some),
            2 => (0..2 * ttl).prop_map(Some),
            1 => Just(None),
        ]
    };
    let stopped = prop_oneof![9 => Just(0), 1 => 0..3 * ttl];
    (way(), stopped, way()).prop_map(|(there, stopped, back)| Fate {
        there,
        stopped,
        back,
    })
}

fn turns(ttl: u64, steps: bool) -> impl Strategy<Value = Turn> {
    let pause = prop_oneof![20 => 1..ttl / 20, 2 => 1..ttl, 1 => ttl..4 * ttl];
    let span = i64::try_from(ttl).unwrap_or(0);
    // Set back, the wall clock counts for nothing; set forward, for too much. Neither lets a lease last.
    let step = prop_oneof![9 => Just(0), 1 => -2 * span..2 * span];
    (pause, step, prop::bool::weighted(0.02)).prop_map(move |(pause, step, slept)| Turn {
        pause,
        step: if steps && !slept { step } else { 0 },
        slept: slept && !steps,
    })
}

fn schedules(steps: bool) -> impl Strategy<Value = Schedule> {
    (200_u64..5_000).prop_flat_map(move |ttl| {
        let killed = prop_oneof![2 => Just(None), 1 => (0..20 * ttl).prop_map(Some)];
        (
            vec(turns(ttl, steps), 1..400),
            vec(fates(ttl), 1..50),
            killed,
        )
            .prop_map(move |(turns, fates, killed)| Schedule {
                ttl,
                turns,
                fates,
                killed,
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// The holder declares the loss before the time is up, so that the work stops before another can begin.
    #[test]
    fn nobody_believes_to_hold_what_the_server_has_freed(
        schedule in prop_oneof![schedules(false), schedules(true)],
    ) {
        let outcome = run(&schedule);
        if let (Some(believed), Some(freed)) = (outcome.believed, outcome.freed) {
            // A session that dies before its time is what the token is for.
            let ends = match schedule.killed {
                Some(killed) if freed == killed => killed + schedule.ttl,
                _ => freed,
            };
            prop_assert!(believed < ends, "{outcome:?}");
        }
    }

    /// A loss is told no later than the time to live after the last answered question was sent.
    #[test]
    fn a_loss_is_told_within_the_time_to_live(schedule in schedules(false)) {
        let outcome = run(&schedule);
        if let Some(believed) = outcome.believed {
            let held = TimeToLive::new(millis(schedule.ttl)).held();
            prop_assert!(millis(believed) < millis(outcome.counted) + held, "{outcome:?}");
        }
    }
}

#[test]
fn a_quiet_network_renews_the_lease_for_ever() {
    let schedule = Schedule {
        ttl: 200,
        turns: vec![
            Turn {
                pause: 1,
                step: 0,
                slept: false
            };
            100_000
        ],
        fates: vec![Fate {
            there: Some(2),
            stopped: 0,
            back: Some(2),
        }],
        killed: None,
    };
    let outcome = run(&schedule);
    assert_eq!(outcome.believed, Some(99_999));
    assert!(outcome.renewals > 1_400, "{outcome:?}");
}

/// Between half and two thirds of the time to live can pass between two looks without a loss; from 500 ms
/// on, where the margin is a tenth.
#[test]
fn a_client_that_does_not_run_for_long_loses_it() {
    for (ttl, pause, is_lost) in [
        (1_000, 550, false),
        (1_000, 910, true),
        (200, 80, false),
        (200, 151, true),
    ] {
        let quick = Turn {
            pause: 1,
            step: 0,
            slept: false,
        };
        let mut turns = vec![quick; 300];
        turns.push(Turn { pause, ..quick });
        turns.extend([quick; 300]);
        let outcome = run(&Schedule {
            ttl,
            turns,
            fates: vec![Fate {
                there: Some(0),
                stopped: 0,
                back: Some(0),
            }],
            killed: None,
        });
        assert_eq!(
            outcome.told.is_some(),
            is_lost,
            "{ttl} {pause}: {outcome:?}"
        );
    }
}

#[test]
fn the_first_thing_found_is_what_is_told() {
    let ttl = TimeToLive::new(millis(1_000));
    let at = |now| Moment {
        steady: millis(now),
        wall: millis(now),
    };
    for how in [
        HowLost::Mark,
        HowLost::Setting,
        HowLost::Answer,
        HowLost::Connection,
    ] {
        let mut clock = Clock::new(ttl);
        assert_eq!(clock.remaining(at(0)), None, "not before the first answer");
        clock.asked(at(0));
        clock.answered(at(10));
        assert_eq!(clock.remaining(at(10)), Some(millis(890)));
        clock.asked(at(343));
        clock.found(how);
        clock.found(HowLost::Time);
        clock.answered(at(344));
        assert_eq!(clock.check(at(5_000)), Err(how));
        assert_eq!(clock.remaining(at(344)), None);
    }
}

#[test]
fn an_answer_that_comes_too_late_does_not_count() {
    let at = |now| Moment {
        steady: millis(now),
        wall: millis(now),
    };
    // The first one, and a later one.
    for answered in [None, Some(100)] {
        let mut clock = Clock::new(TimeToLive::new(millis(1_000)));
        let mut asked = 0;
        if let Some(answered) = answered {
            clock.asked(at(0));
            clock.answered(at(answered));
            asked = 333;
        }
        clock.asked(at(asked));
        clock.answered(at(900));
        assert_eq!(clock.check(at(900)), Err(HowLost::Time), "{answered:?}");
    }
}

#[test]
fn times_to_live_are_rounded_up_to_what_can_be_kept() {
    for (wanted, kept, held) in [
        (Duration::ZERO, 200, 150),
        (millis(200), 200, 150),
        (Duration::from_micros(200_001), 201, 151),
        (millis(500), 500, 450),
        (Duration::from_secs(10), 10_000, 9_000),
        (Duration::MAX, 2_147_483_647, 1_932_735_282),
    ] {
        let ttl = TimeToLive::new(wanted);
        assert_eq!(ttl.get(), millis(kept), "{wanted:?}");
        assert_eq!(ttl.held().as_millis(), held, "{wanted:?}");
    }
}
