//! Migrations that run once, however many processes start at the same time.
//!
//! Let every process migrate when it starts. One of them runs the migrations, and the others wait until it is
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
//! [`LockedHarness`] implements [`MigrationHarness`](diesel_migrations::MigrationHarness), as a connection
//! does.
//!
//! # What it does
//!
//! 1. It reads which migrations are pending. If none are pending, it returns. Nothing is locked or written,
//!    so this works with a role that may only read, and on a standby.
//! 2. It acquires a session lock.
//! 3. It reads **again** which migrations are pending, because another process may have run them in the
//!    meantime, and runs those.
//! 4. It releases the lock, also if a migration fails or panics. If the process dies, PostgreSQL releases it,
//!    and the next process continues. If a statement is being executed, PostgreSQL notices when it is done,
//!    or earlier if [`client_connection_check_interval`] is set.
//!
//! Migrations are reverted under the same lock.
//!
//! # Why it polls
//!
//! A session that waits in `SELECT pg_advisory_lock(…)` has an open snapshot for as long as it waits, and
//! `CREATE INDEX CONCURRENTLY` waits until all older snapshots are gone. So a holder that builds an index and
//! a session that waits for the lock would wait for each other, until PostgreSQL detects the deadlock and
//! fails one of them: the migration, or the start of the other process. `LockedHarness` tries again and again
//! instead, at most four times a second once it has waited for a second, and has no statement open in
//! between.
//!
//! # Which lock
//!
//! The lock is named after the schema of Diesel's table of migrations: `diesel_advisory.migrations:public`.
//! The schema is the first one in the `search_path` that exists, because Diesel creates the table there. So
//! tenants with a schema each do not wait for each other. In another database, the same name is another lock.
//!
//! The name and its [key](crate::LockKey::from_name) never change, so that old and new processes exclude each
//! other during a deployment. Use [`lock_id`](LockedHarness::lock_id) for another lock, such as that of
//! another tool that migrates the same schema.
//!
//! # With `diesel-async`
//!
//! Diesel's migrations are blocking code. Wrap a connection in `diesel-async`'s `AsyncConnectionWrapper`, and
//! migrate on a thread that may block. This works on every tokio runtime:
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
//! `AsyncMigrationHarness` does not give access to its connection, so it cannot be locked.
//!
//! # Behind a connection pooler
//!
//! Session locks do not work through a pooler in transaction mode, such as PgBouncer's: the next statement
//! can run in another session. Migrate over a direct connection, which some statements of migrations need
//! anyway, such as `SET`. If the migrations have to go through the pooler, let a second, direct connection
//! hold the lock: [`LockedHarness::with_lock_on`].
//!
//! Diesel also prepares statements. Either the pooler supports that (PgBouncer's `max_prepared_statements`),
//! or disable it:
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
//! The lock connection is idle while the migrations run. If a proxy closes idle connections, the lock is
//! released too early, and the run then returns [`Error::Database`](crate::Error::Database) or
//! [`Error::NotHeld`](crate::Error::NotHeld).
//!
//! [`client_connection_check_interval`]: https://www.postgresql.org/docs/current/runtime-config-connection.html#GUC-CLIENT-CONNECTION-CHECK-INTERVAL

mod applied;
mod harness;
mod runs;
mod waiting;

pub use self::harness::LockedHarness;
pub use self::waiting::Waiting;
