//! The lock catalog: names for the keys in `pg_locks`, for `psql` and dashboards.
//!
//! PostgreSQL knows the keys of advisory locks, not their names. The catalog is a table of names and
//! the views on it, all in the schema `diesel_advisory`; nothing else in this crate needs it.
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
//! | `lock_key(classid, objid, objsubid)` | the key as the advisory lock functions take it |
//!
//! A program adds the names that it uses when it starts, with [`register`]. Names of many rows, such as
//! `"invoice:42"`, are better left out.
//!
//! # Installing it
//!
//! [`install`] creates the catalog or brings it up to date, and [`uninstall`] removes it. They keep their
//! own record of what has been done in the schema `diesel_advisory`: your migrations stay as they are.
//!
//! With the feature `migrations`, `MIGRATIONS` has the same steps as a source for `diesel_migrations`. Run
//! together with your own, they are recorded together with your own, and Diesel cannot revert what is not
//! in the source it is given: merge both into one source, or copy the migrations' folders to yours.
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
//! Of other roles' sessions the view shows to a role what `pg_stat_activity` shows to it: see
//! [`inspect::Lock`](crate::inspect::Lock#what-an-ordinary-role-sees).

mod names;
pub(crate) mod schema;

pub use self::names::{Collision, names, register};
#[cfg(feature = "async")]
pub use self::names::{names_async, register_async};
pub use self::schema::{install, uninstall};
#[cfg(feature = "async")]
pub use self::schema::{install_async, uninstall_async};
