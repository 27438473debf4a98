//! How often work may start.

use std::time::Duration;

use super::modes::TransactionModes;
use super::request::{Mode, Request};

/// How often the work under a lock may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interval {
    /// Once in so many microseconds, which is how exactly PostgreSQL keeps time.
    AtMostEvery(i64),
    Once,
}

impl From<Duration> for Interval {
    fn from(period: Duration) -> Self {
        /// Beyond this, dates would leave the range of PostgreSQL's.
        const LONGEST: Duration = Duration::from_secs(1_000 * 365 * 24 * 60 * 60);

        match i64::try_from(period.as_nanos().div_ceil(1_000)) {
            Ok(micros) if period <= LONGEST => Self::AtMostEvery(micros),
            _ => Self::Once,
        }
    }
}

/// Finds the name that the runs of a request are kept under, or says why there can be none.
pub(crate) fn name_of_runs<'r>(request: &'r Request<'_>) -> Result<&'r str, &'static str> {
    /// An index takes values of up to 2,704 bytes.
    const LONGEST: usize = 2_000;

    let [id] = &request.ids[..] else {
        return Err(
            "`at_most_every` and `once` keep the runs of one name: leave out `and(…)`, and take the \
             other locks in the work",
        );
    };
    if request.mode == Mode::Share {
        return Err(
            "a job that runs at most once in a while cannot share its lock: leave out `shared()`",
        );
    }
    if request.permits.is_some() {
        return Err(
            "a job that runs at most once in a while holds its lock alone: leave out `permits(…)`",
        );
    }
    if request.on_standby {
        return Err("a standby cannot keep when a job was run: leave out `allow_standby()`");
    }
    match id.name() {
        None => Err(
            "`at_most_every` and `once` keep runs by name: give the lock a name instead of a key",
        ),
        Some(name) if name.len() > LONGEST => Err("the name of a job can have up to 2,000 bytes"),
        Some(name) if name.contains('\0') => {
            Err("the name of a job cannot contain a NUL character")
        }
        Some(name) => Ok(name),
    }
}

/// Says why a transaction with these modes cannot keep a run, if it cannot.
pub(crate) fn refused_modes(modes: TransactionModes) -> Option<&'static str> {
    (modes.read_only == Some(true)).then_some(
        "a read only transaction cannot keep when a job was run: leave out `read_only()`, or \
         `at_most_every(…)` and `once()`",
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Interval, name_of_runs};
    use crate::lock::id::LockId;
    use crate::lock::request::Request;

    #[test]
    fn a_period_is_rounded_up_and_the_longest_are_for_ever() {
        for (period, interval) in [
            (Duration::ZERO, Interval::AtMostEvery(0)),
            (Duration::from_nanos(1), Interval::AtMostEvery(1)),
            (Duration::from_secs(20), Interval::AtMostEvery(20_000_000)),
            (Duration::from_secs(u64::MAX / 2), Interval::Once),
            (Duration::MAX, Interval::Once),
        ] {
            assert_eq!(Interval::from(period), interval, "{period:?}");
        }
    }

    #[test]
    fn only_names_that_the_table_takes_have_runs() {
        let name = |ids: Vec<LockId<'static>>| name_of_runs(&Request::new(ids)).map(str::to_owned);
        assert_eq!(
            name(vec![("invoice", 42).into()]),
            Ok("invoice:42".to_owned())
        );
        assert!(name(vec!["x".repeat(2_000).into()]).is_ok());
        for ids in [
            vec!["a".into(), "b".into()],
            vec![42.into()],
            vec![(1, 2).into()],
            vec![LockId::hashtextextended("a")],
            vec!["x".repeat(2_001).into()],
            vec!["a\0b".into()],
        ] {
            assert!(name(ids.clone()).is_err(), "{ids:?}");
        }
    }
}
