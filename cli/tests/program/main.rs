//! The program as a process, on a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod check;
mod compete;
mod connect;
mod exit_codes;
mod generated;
mod kill;
mod lost;
mod runs;
mod signals;
mod support;
mod terminal;
mod tls;
mod who;
