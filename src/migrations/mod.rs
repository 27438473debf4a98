//! Migrations that run once, whoever else starts.
//!
//! Every process migrates when it starts; one of them does it, and the others wait until it is
//! done:
//!
//! ```no_run
//! use diesel::prelude::*;
//! use diesel_advisory::migrations::LockedHarness;
//! use diesel_migrations::MigrationHarness;
//! # use diesel_advisory::MIGRATIONS;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! // const MIGRATIONS: EmbeddedMigrations = embed_migrations!();
//! let mut conn = PgConnection::establish("postgres://…")?;
//! LockedHarness::new(&mut conn)
//!     .on_wait(|waiting| eprintln!("{waiting}"))
//!     .run_pending_migrations(MIGRATIONS)?;
//! # Ok(())
//! # }
//! ```
//!
//! [`LockedHarness`] is a [`MigrationHarness`](diesel_migrations::MigrationHarness): it goes where
//! a connection goes.
//!
//! # What it does
//!
//! 1. It reads which migrations are pending. If none are pending, it returns: nothing is locked or
//!    written, so that a role that may only read can check the schema, on a standby too.
//! 2. It takes a lock for the session.
//! 3. It reads **again** which migrations are pending, because another process may have run them
//!    meanwhile, and runs those.
//! 4. It releases the lock, also after a migration has failed or panicked. If the process dies,
//!    PostgreSQL releases it, and the next process continues. In the middle of a statement PostgreSQL
//!    notices that only when the statement is done, unless [`client_connection_check_interval`] is set.
//!
//! Reverting is done under the same lock.
//!
//! # Why it polls
//!
//! A session that waits inside `SELECT pg_advisory_lock(…)` has an open snapshot for as long as it
//! waits. `CREATE INDEX CONCURRENTLY` waits until all older snapshots are gone. So a holder that
//! builds an index and a waiter that is blocked wait for each other, until PostgreSQL finds the
//! deadlock and fails one of them: the migration, or the start of the other process.
//! `LockedHarness` asks again and again instead, at most four times a second once it has waited for a
//! second, and has no statement open in between.
//!
//! # Which lock
//!
//! That of the name `diesel_advisory.migrations:` with the schema of Diesel's table of migrations
//! after it: `diesel_advisory.migrations:public`. The [key](crate::LockKey::from_name) of this name
//! is a wire format, as all keys are: old and new processes exclude each other during a deployment.
//! The schema is the first one in the `search_path` that exists, which is where Diesel creates the
//! table; so tenants with a schema each do not wait for each other. Locks of different databases
//! are different ones anyway. [`lock_id`](LockedHarness::lock_id) sets another one, for example
//! that of another tool that migrates the same schema.
//!
//! # With `diesel-async`
//!
//! Diesel's migrations are blocking code. `diesel-async` wraps one of its connections for them, and
//! the wrapper can be locked like any other connection. It must not block a thread that runs async
//! tasks, so this goes to a thread that may be blocked, on a runtime with many threads and on one
//! with one alike:
//!
//! ```
//! # diesel_advisory_sandbox::async_doctest!(_conn, {
//! # use diesel_advisory::MIGRATIONS;
//! use diesel_advisory::migrations::LockedHarness;
//! use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
//! use diesel_async::{AsyncConnection, AsyncPgConnection};
//! use diesel_migrations::MigrationHarness;
//!
//! # let url = diesel_advisory_sandbox::database_url();
//! let conn = AsyncPgConnection::establish(&url).await?;
//! let migrated = tokio::task::spawn_blocking(move || {
//!     let mut conn = AsyncConnectionWrapper::<AsyncPgConnection>::from(conn);
//!     LockedHarness::new(&mut conn).run_pending_migrations(MIGRATIONS)?;
//! #   conn.revert_all_migrations(MIGRATIONS)?;
//!     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
//! });
//! migrated.await?.map_err(|error| error.to_string())?;
//! # });
//! ```
//!
//! `AsyncMigrationHarness` keeps its connection to itself, and cannot be locked.
//!
//! # Behind a connection pooler
//!
//! A lock of a session does not work through a pooler in transaction mode, such as PgBouncer's: the
//! next statement can run in another session. Migrate over a direct connection; some statements of
//! migrations, `SET` for one, want that anyway. If the migrations have to go through the pooler,
//! let a second, direct connection hold the lock: [`LockedHarness::with_lock_on`].
//!
//! Diesel also prepares statements for the session, which the pooler has to know about
//! (`max_prepared_statements`, in PgBouncer), or Diesel not to do:
//!
//! ```no_run
//! use diesel::connection::CacheSize;
//! use diesel::prelude::*;
//! use diesel_advisory::migrations::LockedHarness;
//! use diesel_migrations::MigrationHarness;
//! # use diesel_advisory::MIGRATIONS;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let mut pooled = PgConnection::establish("postgres://pooler/…")?;
//! pooled.set_prepared_statement_cache_size(CacheSize::Disabled);
//! let mut direct = PgConnection::establish("postgres://server/…")?;
//! LockedHarness::with_lock_on(&mut pooled, &mut direct).run_pending_migrations(MIGRATIONS)?;
//! # Ok(())
//! # }
//! ```
//!
//! The lock connection sits idle while the migrations run. Something in between that closes idle
//! connections frees the lock, and the release then reports
//! [`Error::Database`](crate::Error::Database) or [`Error::NotHeld`](crate::Error::NotHeld).
//!
//! [`client_connection_check_interval`]: https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-CLIENT-CONNECTION-CHECK-INTERVAL

mod applied;
mod harness;
mod runs;
mod waiting;

pub use self::harness::LockedHarness;
pub use self::waiting::Waiting;
