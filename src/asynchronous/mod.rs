//! The same locks for `diesel-async`.
//!
//! Only sending and receiving is written here: everything else is the [protocol](crate::protocol)
//! that blocking connections run as well.

#![expect(clippy::manual_async_fn, reason = "`Send` is part of the signatures")]

pub(crate) mod connection;
pub(crate) mod func;
pub(crate) mod guard;
pub(crate) mod interval;
pub(crate) mod leader;
pub(crate) mod lease;
pub(crate) mod link;
pub(crate) mod session;
mod term;
pub(crate) mod transaction;
pub(crate) mod xact;
