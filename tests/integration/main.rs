//! Behaviour on a real PostgreSQL, with real contention.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[cfg(feature = "macros")]
mod attribute;
#[cfg(feature = "async")]
mod cancellation;
#[cfg(feature = "migrations")]
mod catalog;
mod connections;
mod errors;
#[cfg(feature = "async")]
mod full;
mod functions;
#[cfg(feature = "migrations")]
mod golden;
mod ids;
mod inspect;
#[cfg(feature = "async")]
mod lease;
#[cfg(feature = "migrations")]
mod migrations;
mod poolers;
mod scenarios;
#[cfg(feature = "async")]
mod send;
mod session;
mod sets;
#[cfg(all(feature = "async", feature = "tracing"))]
mod spans;
mod support;
mod transaction;
mod waiting;
