//! Each lock as a span of [`tracing`](https://docs.rs/tracing), from asking to release (feature `tracing`).
//!
//! There is nothing to call: with the feature, every lock is a span `advisory_lock` at the level `INFO`, inside of
//! whatever span is current, on blocking and asynchronous connections alike. The closure of `run` runs inside of
//! it, so that a trace shows what was waited for, and what was done under the lock:
//!
#![cfg_attr(feature = "tracing", doc = include_str!("../guide/pictures/trace.svg"))]
//!
//! # The span
//!
//! | field | |
//! |---|---|
//! | `lock.name` | the lock, as you wrote it; of a set, the first one |
//! | `lock.count` | how many locks were asked for |
//! | `lock.permits` | how many can hold it at once, if it has permits |
//! | `lock.scope` | `transaction` for `advisory`, `xact` for `advisory_xact`, `session`, or `lease` |
//! | `lock.mode` | `exclusive` or `shared` |
//! | `lock.timeout` | the wait that was asked for: `2s`, `no_wait`, `none` for one without end, or `lock_timeout` for the session's own |
//! | `lock.waited` | how long was waited, in seconds |
//! | `lock.held` | how long the lock was held, in seconds |
//! | `lock.outcome` | `taken`, `unavailable`, `not_due`, `error`, `lost`, or `cancelled` if the future was dropped before |
//! | `db.system.name` | `postgresql` |
//! | `db.operation.name` | PostgreSQL's function, such as `pg_advisory_xact_lock` |
//! | `error.type` | what the lock, its commit or its release failed with: the variant of [`Error`](crate::Error), or the kind of the database's error |
//! | `otel.status_code` | `ERROR` beside `error.type`, for tracing-opentelemetry |
//!
//! The last three groups have [OpenTelemetry's names]. An error that your closure returns is not an error of the
//! lock: the outcome is `taken`.
//!
//! The span of `advisory_xact` ends when the lock is acquired, because the transaction is yours. That of a guard
//! ends with its release; what is done meanwhile is not inside of it, because a guard can go from thread to thread.
//! A leader has one span for a term, which begins with its first attempt on a connection. Migrations have one too.
//!
//! [OpenTelemetry's names]: https://opentelemetry.io/docs/specs/semconv/database/
//!
//! # Events
//!
//! All have the target `diesel_advisory` and are inside of the lock's span.
//!
//! | when | level |
//! |---|---|
//! | the lock is unavailable: `lock.holders` says who has it, where that was asked, which `try_run` and `try_acquire` do not | `DEBUG` |
//! | a wait of more than a second is over, whether the lock was acquired or not | `DEBUG` |
//! | the same, above the threshold that [`warn_above`] sets | `WARN` |
//! | a lease is lost, or a lock was not held any more when it was released | `WARN` |
//! | the session was ended, because nobody could tell what it held | `WARN` |
//! | the session was ended, because a future was dropped in the middle | `INFO` |
//!
//! # Traces and metrics
//!
//! The example `trace` (`cargo run -p trace`, in the repository) exports traces with tracing-opentelemetry, and
//! makes two histograms of the spans: how long locks were waited for, and how long they were held. The layer that
//! does it is [50 lines] that you can take. A name that has a row's id in it is a time series for each row, so
//! leave it out of theirs.
//!
//! [50 lines]: https://github.com/OWNER/diesel-advisory/blob/main/examples/trace/src/histograms.rs
//!
//! # What it costs
//!
//! Without the feature nothing: the number of instructions that a lock takes is compared with committed counts.
//! With it, an allocation for each lock, and what your subscriber does.

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

/// Makes a warning of every wait for a lock that is longer than `threshold`, in the whole process.
///
/// Without it, a wait of more than a second is an event at the level `DEBUG`, once it is over. A wait above the
/// threshold is one at `WARN`, also where the threshold is below a second. `None` goes back to the default.
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
