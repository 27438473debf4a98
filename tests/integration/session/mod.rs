//! `conn.advisory_session(…)`: a lock of the session, which lasts until it is released.

mod guards;
mod lost;
mod outcomes;
mod permits;
mod pools;
mod reentrancy;
mod shared;
mod tokens;
mod transactions;
mod unreleased;
#[cfg(feature = "async")]
mod watched;
