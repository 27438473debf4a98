//! What only asynchronous connections do: futures that are dropped, tasks, pools, runtimes.

#[cfg(feature = "macros")]
#[cfg(feature = "macros")]
mod attribute;
mod cancellation;
mod lost;
mod pools;
mod round_trips;
mod send;
pub(crate) mod support;
