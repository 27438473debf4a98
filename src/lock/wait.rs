//! How long to wait for a lock.

use std::time::Duration;

/// How long to wait for a lock that somebody else holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Wait {
    /// As long as the session's own `lock_timeout` lets it.
    #[default]
    Inherit,
    /// At most this many milliseconds, at least one.
    AtMost(i32),
    /// Without end, whatever `lock_timeout` says.
    Forever,
    /// Not at all.
    No,
}

impl From<Option<Duration>> for Wait {
    /// `lock_timeout` counts whole milliseconds in 32 bits and reads 0 as "no limit". So a duration
    /// is rounded up, lest a short one become "forever", and one that does not fit (some 24
    /// days) is forever.
    fn from(timeout: Option<Duration>) -> Self {
        match timeout {
            None => Self::Forever,
            Some(Duration::ZERO) => Self::No,
            Some(timeout) => {
                let millis = timeout.as_nanos().div_ceil(1_000_000);
                i32::try_from(millis).map_or(Self::Forever, Self::AtMost)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::Wait;

    #[test]
    fn durations_round_up_and_never_turn_into_their_opposite() {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        for (timeout, wait) in [
            (None, Wait::Forever),
            (Some(Duration::ZERO), Wait::No),
            (Some(Duration::from_nanos(1)), Wait::AtMost(1)),
            (Some(Duration::from_millis(1)), Wait::AtMost(1)),
            (Some(Duration::from_micros(1_001)), Wait::AtMost(2)),
            (Some(Duration::from_secs(2)), Wait::AtMost(2_000)),
            (
                Some(Duration::from_millis(2_147_483_647)),
                Wait::AtMost(i32::MAX),
            ),
            (Some(Duration::from_millis(2_147_483_648)), Wait::Forever),
            (Some(60 * DAY), Wait::Forever),
            (Some(Duration::MAX), Wait::Forever),
        ] {
            assert_eq!(Wait::from(timeout), wait, "{timeout:?}");
        }
    }

    proptest! {
        #[test]
        fn every_duration_is_waited_for_whole_and_less_than_a_millisecond_more(timeout: Duration) {
            match Wait::from(Some(timeout)) {
                Wait::No => prop_assert_eq!(timeout, Duration::ZERO),
                Wait::AtMost(millis) => {
                    let wait = Duration::from_millis(millis.unsigned_abs().into());
                    let more = wait.checked_sub(timeout);
                    prop_assert!(millis > 0 && more.is_some_and(|more| more.as_millis() == 0));
                }
                Wait::Forever => prop_assert!(timeout > Duration::from_millis(2_147_483_647)),
                Wait::Inherit => prop_assert!(false, "nobody asked for it"),
            }
        }

        #[test]
        fn every_short_duration_is_a_limit(micros in 1_u64..=2_147_483_647_000) {
            let wait = Wait::from(Some(Duration::from_micros(micros)));
            prop_assert!(matches!(wait, Wait::AtMost(_)), "{:?}", wait);
        }
    }
}
