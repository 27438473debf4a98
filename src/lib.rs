//! PostgreSQL advisory locks for Diesel.

#[cfg(feature = "async")]
mod asynchronous;
mod connection;
mod error;
mod foreign_keys;
pub mod functions;
mod guard;
mod link;
mod lock;
mod lock_id;
mod lock_key;
mod lock_set;
mod protocol;
mod session;
mod sql;
mod transaction;
mod transaction_modes;
mod unavailable;
mod wait;
mod xact;

#[cfg(feature = "async")]
pub use self::asynchronous::{
    Async, AsyncAdvisoryConnection, AsyncAdvisoryGuard, AsyncFunc, IntoAsyncAdvisorySession,
};
pub use self::connection::{AdvisoryConnection, IntoAdvisorySession};
pub use self::error::Error;
pub use self::guard::AdvisoryGuard;
pub use self::lock::AdvisoryLock;
pub use self::lock_id::LockId;
pub use self::lock_key::LockKey;
pub use self::session::Session;
pub use self::transaction::OwnTransaction;
pub use self::unavailable::{Holder, Unavailable};
pub use self::xact::OpenTransaction;
