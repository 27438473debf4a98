//! Behaviour on a real PostgreSQL, with real contention.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod contention;
mod errors;
mod frames;
mod functions;
mod isolation;
mod lock_timeout;
mod lost;
mod names;
mod outcomes;
mod pools;
mod round_trips;
mod sets;
mod support;
mod timeouts;
mod visibility;
