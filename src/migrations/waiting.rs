//! What is reported of a wait, and how often to try and to report.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::error::unavailable::{Holder, Unavailable};
use crate::lock::id::LockId;

/// A wait for another process that migrates.
///
/// `Display` prints a line for the log: `waiting for pid 4711 (web-3) to finish migrating, 12 s`. The pid is
/// that of the server process, and the name in parentheses the session's `application_name`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Waiting {
    /// The lock that is waited for.
    pub lock: LockId<'static>,
    /// How long this process has waited.
    pub waited: Duration,
    /// The sessions that hold the lock.
    ///
    /// For one that is `active`, [`since`](Holder::since) is when its current statement began.
    pub holders: Vec<Holder>,
}

impl Waiting {
    pub(super) fn new(unavailable: Unavailable, waited: Duration) -> Self {
        Self {
            lock: unavailable.lock,
            waited,
            holders: unavailable.holders,
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("waiting for ")?;
        for (index, holder) in self.holders.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { " and " })?;
            holder.fmt_name(f)?;
        }
        write!(f, " to finish migrating, {} s", self.waited.as_secs())
    }
}

/// When to try again.
///
/// The delay doubles from 10 ms up to half a second. Up to half of it is taken off at random, so that
/// processes that start together do not try together.
#[derive(Debug)]
pub(super) struct Pace(Duration);

impl Pace {
    const FIRST: Duration = Duration::from_millis(10);
    const LAST: Duration = Duration::from_millis(500);

    pub(super) const fn new() -> Self {
        Self(Self::FIRST)
    }

    /// How long to sleep before the next attempt.
    pub(super) fn next_delay(&mut self) -> Duration {
        self.next_delay_with(RandomState::new().hash_one(()))
    }

    fn next_delay_with(&mut self, random: u64) -> Duration {
        let [random, ..] = random.to_ne_bytes();
        let delay = self.0;
        self.0 = (delay * 2).min(Self::LAST);
        delay.saturating_sub((delay / 2) * u32::from(random) / u32::from(u8::MAX))
    }
}

/// When to report: at once, after a second, then at intervals that double up to 10 seconds.
#[derive(Debug)]
pub(super) struct Reports {
    next: Duration,
    interval: Duration,
}

impl Reports {
    const FIRST: Duration = Duration::from_secs(1);
    const LAST: Duration = Duration::from_secs(10);

    pub(super) const fn new() -> Self {
        Self {
            next: Duration::ZERO,
            interval: Self::FIRST,
        }
    }

    pub(super) fn is_due(&self, waited: Duration) -> bool {
        waited >= self.next
    }

    pub(super) fn told(&mut self, waited: Duration) {
        self.next = waited + self.interval;
        self.interval = (self.interval * 2).min(Self::LAST);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Pace, Reports, Waiting};
    use crate::error::unavailable::Holder;
    use crate::lock::id::LockId;

    #[test]
    fn the_line_for_the_log() {
        let holder = |pid, name: Option<&str>| {
            let mut holder = Holder::new(pid);
            holder.application_name = name.map(String::from);
            holder.state = Some("active".into());
            holder
        };
        for (holders, line) in [
            (
                vec![holder(4711, Some("web-3"))],
                "waiting for pid 4711 (web-3) to finish migrating, 12 s",
            ),
            (
                vec![holder(4711, None)],
                "waiting for pid 4711 to finish migrating, 12 s",
            ),
            (
                vec![holder(0, None)],
                "waiting for a prepared transaction to finish migrating, 12 s",
            ),
            (
                vec![holder(1, Some("a")), holder(2, None)],
                "waiting for pid 1 (a) and pid 2 to finish migrating, 12 s",
            ),
        ] {
            let waiting = Waiting {
                lock: LockId::from("x"),
                waited: Duration::from_millis(12_900),
                holders,
            };
            assert_eq!(waiting.to_string(), line);
        }
    }

    #[test]
    fn attempts_slow_down_and_differ() {
        for (random, most_of) in [(0, 1), (u64::MAX, 2)] {
            let mut pace = Pace::new();
            let delays: Vec<_> = (0..7)
                .map(|_| pace.next_delay_with(random).as_millis())
                .collect();
            let whole = [10, 20, 40, 80, 160, 320, 500];
            assert_eq!(delays, whole.map(|delay: u128| delay / most_of));
        }
    }

    #[test]
    fn reports_become_rare() {
        let mut reports = Reports::new();
        let mut told = Vec::new();
        for second in 0..40 {
            let waited = Duration::from_secs(second);
            if reports.is_due(waited) {
                reports.told(waited);
                told.push(second);
            }
        }
        assert_eq!(told, [0, 1, 3, 7, 15, 25, 35]);
    }
}
