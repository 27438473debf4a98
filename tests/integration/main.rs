//! Behaviour on a real PostgreSQL, with real contention.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[cfg(feature = "async")]
mod asynchronous;
#[cfg(feature = "macros")]
mod attribute;
#[cfg(feature = "migrations")]
mod catalog;
mod contention;
#[cfg(feature = "django-pglock")]
mod django;
mod errors;
mod foreign_keys;
mod frames;
mod functions;
mod inspect;
mod isolation;
mod lock_timeout;
mod lost;
#[cfg(feature = "migrations")]
mod migrations;
mod names;
mod outcomes;
mod poolers;
mod pools;
mod round_trips;
#[cfg(feature = "async")]
mod scenarios;
mod session;
mod session_loss;
mod session_outcomes;
mod session_pools;
mod session_races;
mod session_reentrancy;
mod session_round_trips;
mod session_transactions;
mod sets;
mod support;
mod timeouts;
mod visibility;
