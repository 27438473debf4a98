//! A throwaway PostgreSQL for tests, examples, doctests and benches.
//!
//! [`Sandbox::start`] makes a server of its own in about half a second: in a private folder, on a
//! Unix socket only, so that any number can run side by side. Server and folder are gone when the
//! `Sandbox` is dropped, and also when the owning process ends without dropping it, be it by
//! `std::process::exit`, a panic or `SIGKILL`.
//!
//! The PostgreSQL that is installed is found by itself; `DIESEL_ADVISORY_PG_BIN` names the folder of
//! another one's programs. There is no database client in here: connect to [`Sandbox::url`] with
//! whatever is to be tested.
//!
//! ```
//! use diesel_advisory_sandbox::Sandbox;
//!
//! # fn main() -> Result<(), diesel_advisory_sandbox::Error> {
//! let sandbox = Sandbox::start()?;
//! let connection = postgres::Client::connect(sandbox.url(), postgres::NoTls);
//! assert!(connection.is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! Tests that can share a server use [`Sandbox::shared`]. Those that count, delay, swallow or cut what
//! goes over the wire put a [`Proxy`] in between. [`Sandbox::standby`] makes a hot standby, and
//! [`PgBouncer`], [`Pgpool`] and [`HaProxy`] stand in front of servers as they do in production.
//!
//! To try something by hand, the package's program runs a command with `DATABASE_URL` set:
//! `cargo run -p diesel-advisory-sandbox -- sh -c 'psql $DATABASE_URL'`.

mod builder;
#[doc(hidden)]
pub mod doctest;
mod error;
mod folder;
mod frontend;
mod full_run;
mod link;
mod listener;
mod poolers;
mod programs;
mod proxy;
pub mod schema;
mod server;
mod signal;
mod supervisor;
mod template;
mod url;

pub use builder::Builder;
pub use error::Error;
pub use full_run::is_full_run;
pub use poolers::{HaProxy, PgBouncer, Pgpool, Pooler};
pub use proxy::{Direction, Proxy};
pub use server::{FrozenBackend, Sandbox};
pub use signal::signal;

/// The database to work on: that of `DATABASE_URL`, if set and not empty, else [`Sandbox::shared`].
///
/// # Panics
///
/// If the shared server cannot be started.
#[must_use]
pub fn database_url() -> String {
    std::env::var("DATABASE_URL")
        .ok()
        .filter(|url| !url.is_empty())
        .unwrap_or_else(|| Sandbox::shared().url().to_owned())
}
