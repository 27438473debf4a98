//! Spans of locks, for [`tracing`](https://docs.rs/tracing) (feature `tracing`).

#[cfg(not(feature = "tracing"))]
mod off;
#[cfg(feature = "tracing")]
mod on;

#[cfg(feature = "tracing")]
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(feature = "tracing")]
use std::time::Duration;

#[cfg(not(feature = "tracing"))]
pub(crate) use off::{Trace, WeakTrace, session_ended};
#[cfg(feature = "tracing")]
pub(crate) use on::{Trace, WeakTrace, session_ended};

/// What a span says of how a lock ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Transaction,
    Xact,
    Session,
    Lease,
}

/// Why a session was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nobody could tell what state it was in.
    Failed,
    /// A future was dropped in the middle.
    #[cfg(feature = "async")]
    Cancelled,
}

/// In nanoseconds. The largest number: no wait is above it.
#[cfg(feature = "tracing")]
static WARN_ABOVE: AtomicU64 = AtomicU64::new(u64::MAX);

/// Makes the events of waits that are longer than `threshold` warnings, in this process. `None` makes none.
///
/// Every wait for a lock that is longer than a second is an event at the level `DEBUG`, once it is over,
/// whether the lock was acquired or not. A wait above the threshold is one at `WARN`, also where the threshold
/// is below a second.
///
/// Default: none.
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// diesel_advisory::trace::warn_above(Duration::from_secs(5));
/// ```
#[cfg(feature = "tracing")]
pub fn warn_above(threshold: impl Into<Option<Duration>>) {
    let threshold = threshold.into().map_or(u64::MAX, nanos);
    WARN_ABOVE.store(threshold, Ordering::Relaxed);
}

#[cfg(feature = "tracing")]
fn is_worth_a_warning(waited: Duration) -> bool {
    nanos(waited) > WARN_ABOVE.load(Ordering::Relaxed)
}

#[cfg(feature = "tracing")]
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
