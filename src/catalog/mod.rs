//! The lock catalog: an SQL view of all advisory locks by name, for `psql` and dashboards.
//!
//! PostgreSQL stores the keys of advisory locks, not their names. The catalog adds a table of names, and
//! views that use it, in the schema `diesel_advisory`. It also keeps the runs of jobs that run [at most once in
//! a while](crate::AdvisoryTransaction::at_most_every). It is optional: nothing else in this crate needs it.
//!
//! ```text
//! app=# SELECT lock, mode, status, pid, application, since, blocked_by FROM diesel_advisory.locks;
//!         lock         |   mode    | status  | pid  | application |     since     | blocked_by
//! ---------------------+-----------+---------+------+-------------+---------------+------------
//!  billing.close_month | exclusive | held    | 4711 | web-3       | 2026-11-24 ….. | {}
//!  billing.close_month | exclusive | waiting | 4720 | web-1       | 2026-11-24 ….. | {4711}
//! ```
//!
//! | in `diesel_advisory` | |
//! |---|---|
//! | `locks` | every advisory lock of this database, held or waited for: by name, or by key if it has none |
//! | `lock_names` | the known names and their keys |
//! | `name_collisions` | names that share one key |
//! | `runs` | when each job that runs at most once in a while was started last, by whom, and when it was done. [`inspect::runs`](crate::inspect::runs()) reads it, [`forget_runs`] cleans it up |
//! | `lock_key(classid, objid, objsubid)` | the key, as the advisory lock functions take it |
//!
//! Call [`register`] with the names that your program uses when it starts. Leave out names of which there is
//! one for each row, such as `"invoice:42"`. For a lock with permits, add
//! [`LockName::permits`](crate::inspect::LockName::permits), and the view shows `render (2 of 3)`. Names that were
//! registered with another number stay: [`register`] reports them as names of one key until you delete them.
//!
//! With the feature `async`, [`install_async`], [`uninstall_async`], [`register_async`], [`names_async`] and
//! [`forget_runs_async`] are the same for `diesel-async`.
//!
//! # Example
//!
//! ```
//! # diesel_advisory_sandbox::doctest!(conn);
//! use diesel_advisory::{Error, catalog};
//!
//! catalog::install(conn)?;
//! for collision in catalog::register(conn, ["billing.close_month", "reports.nightly"])? {
//!     eprintln!("{collision}");
//! }
//! # Ok::<_, Error>(())
//! ```
//!
//! # Installing it
//!
//! [`install`] creates the catalog or updates it, and [`uninstall`] removes it. They record what they have
//! done in the schema `diesel_advisory`, so that your own migrations are not affected.
//!
//! To have it among your migrations instead, use [`MIGRATIONS`](crate::MIGRATIONS) (feature `migrations`),
//! which has the same steps as a source for `diesel_migrations`. Diesel records them in the same table as
//! your own, and cannot revert a migration that is missing in the source it is given. So merge both into one
//! source, or copy the folders of these migrations to yours.
//!
//! # Rights
//!
//! No privileges are granted. To read the view and register names, a role needs
//!
//! ```sql
//! GRANT USAGE ON SCHEMA diesel_advisory TO app;
//! GRANT SELECT ON ALL TABLES IN SCHEMA diesel_advisory TO app;
//! GRANT INSERT ON diesel_advisory.lock_names TO app;
//! ```
//!
//! For jobs that run at most once in a while, it needs `USAGE` on the schema, and
//!
//! ```sql
//! GRANT SELECT, INSERT, UPDATE, DELETE ON diesel_advisory.runs TO app;
//! ```
//!
//! of which `DELETE` is for `retry_failed` and [`forget_runs`] only.
//!
//! The view hides details of other roles' sessions, as `pg_stat_activity` does: see
//! [`inspect::Lock`](crate::inspect::Lock#what-an-ordinary-role-sees).

mod names;
mod runs;
pub(crate) mod schema;

pub use self::names::{Collision, names, register};
#[cfg(feature = "async")]
pub use self::names::{names_async, register_async};
pub use self::runs::forget_runs;
#[cfg(feature = "async")]
pub use self::runs::forget_runs_async;
pub use self::schema::{install, uninstall};
#[cfg(feature = "async")]
pub use self::schema::{install_async, uninstall_async};
