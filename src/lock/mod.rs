//! What is asked for: which locks, in which mode, how long to wait, in what kind of transaction.

pub(crate) mod id;
pub(crate) mod interop;
pub(crate) mod interval;
pub(crate) mod interval_options;
pub(crate) mod into_id;
pub(crate) mod key;
pub(crate) mod modes;
pub(crate) mod options;
pub(crate) mod permits;
pub(crate) mod request;
pub(crate) mod set;
pub(crate) mod token;
pub(crate) mod wait;
