//! Advisory locks of blocking connections.

pub(crate) mod connection;
pub(crate) mod guard;
mod guard_connection;
pub(crate) mod interval;
mod keeper;
pub(crate) mod leader;
pub(crate) mod lease;
pub(crate) mod link;
pub(crate) mod session;
pub(crate) mod transaction;
pub(crate) mod xact;
