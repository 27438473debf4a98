//! The clock of a lease, without I/O: what was asked and answered, and what follows from it.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use crate::error::lost::HowLost;

/// The shortest time to live. Below it, a server that is merely busy would seem to be gone.
const LEAST: Duration = Duration::from_millis(200);

/// The longest time to live: `idle_session_timeout` counts milliseconds in 32 bits.
const MOST: Duration = Duration::from_millis(i32::MAX as u64);

/// The least time before the end at which a lease counts as lost.
const LEAST_MARGIN: Duration = Duration::from_millis(50);

/// How long a lease lasts after the last question that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeToLive(Duration);

impl TimeToLive {
    /// Rounds up to whole milliseconds, in which the server counts.
    pub(crate) fn new(wanted: Duration) -> Self {
        let wanted = wanted.clamp(LEAST, MOST);
        let millis = u64::try_from(wanted.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Self(Duration::from_millis(millis))
    }

    pub(crate) fn get(self) -> Duration {
        self.0
    }

    pub(crate) fn millis(self) -> i32 {
        i32::try_from(self.0.as_millis()).unwrap_or(i32::MAX)
    }

    /// What the holder has of it. It stops a tenth before another can begin.
    pub(crate) fn held(self) -> Duration {
        let margin = (self.0 / 10).max(LEAST_MARGIN);
        self.0.saturating_sub(margin)
    }

    /// How much of it is left at this moment, since an earlier one.
    pub(crate) fn left(self, since: Moment) -> Duration {
        self.0.saturating_sub(Moment::now().since(since))
    }

    /// How long after a question the next one is asked.
    pub(crate) fn pause(self) -> Duration {
        self.0 / 3
    }
}

/// A point in time, on both clocks of this machine.
///
/// The first one may stand still while the machine sleeps; the second one may be set. What has passed
/// between two moments is the larger of what the two say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Since the first moment of this process.
    pub(crate) steady: Duration,
    /// Since 1970.
    pub(crate) wall: Duration,
}

impl Moment {
    pub(crate) fn now() -> Self {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        let first = *FIRST.get_or_init(Instant::now);
        Self {
            steady: first.elapsed(),
            wall: SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default(),
        }
    }

    pub(crate) fn since(self, earlier: Self) -> Duration {
        let steady = self.steady.saturating_sub(earlier.steady);
        steady.max(self.wall.saturating_sub(earlier.wall))
    }
}

/// What a holder knows of its lease.
///
/// The server ends a session that was asked nothing for the time to live. It starts to count after it has
/// answered, so later than the question was sent. The holder counts from there.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    ttl: TimeToLive,
    /// When the last question was sent.
    asked: Option<Moment>,
    /// When the last question that was answered was sent.
    counted: Option<Moment>,
    lost: Option<HowLost>,
}

impl Clock {
    pub(crate) fn new(ttl: TimeToLive) -> Self {
        Self {
            ttl,
            asked: None,
            counted: None,
            lost: None,
        }
    }

    /// A question is about to be sent.
    pub(crate) fn asked(&mut self, now: Moment) {
        self.asked = Some(now);
    }

    /// The question was answered, and all is as it was. An answer that comes after the time was up does not
    /// count.
    pub(crate) fn answered(&mut self, now: Moment) {
        if self.check(now).is_err() {
            return;
        }
        let Some(asked) = self.asked else {
            return;
        };
        self.counted = Some(asked);
        let _ = self.check(now);
    }

    /// The question has shown that the lease is lost, or nothing can be asked any more.
    pub(crate) fn found(&mut self, how: HowLost) {
        self.lost = self.lost.or(Some(how));
    }

    /// Looks at the time. What is lost stays lost, whatever the clocks are set to later.
    pub(crate) fn check(&mut self, now: Moment) -> Result<(), HowLost> {
        let is_over = |from: Moment| now.since(from) >= self.ttl.held();
        if self.lost.is_none() && self.counted.is_some_and(is_over) {
            self.lost = Some(HowLost::Time);
        }
        self.lost.map_or(Ok(()), Err)
    }

    /// How long the lease is still held if nothing is answered, or `None` if it is not held.
    pub(crate) fn remaining(&mut self, now: Moment) -> Option<Duration> {
        self.check(now).ok()?;
        let gone = now.since(self.counted?);
        Some(self.ttl.held().saturating_sub(gone))
    }

    /// How long to wait before the next question is asked.
    pub(crate) fn ask_in(&self, now: Moment) -> Duration {
        self.asked.map_or(Duration::ZERO, |asked| {
            self.ttl.pause().saturating_sub(now.since(asked))
        })
    }
}
