//! Behaviour on a real PostgreSQL, with real contention.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;
