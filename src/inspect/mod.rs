//! Who holds which lock, and who waits for whom.
//!
//! [`locks`] is a query like any other: filter and order it by the columns of [`pg_locks`] and
//! [`pg_stat_activity`], and load it into [`Lock`]s.
//!
//! ```
//! # diesel_advisory_sandbox::doctest!(conn);
//! use diesel::prelude::*;
//! use diesel_advisory::inspect::{self, Lock, Names, pg_locks};
//! use diesel_advisory::{AdvisoryConnection, LockKey};
//!
//! let mut held = conn.advisory_session("reports.nightly").acquire()?;
//!
//! let locks: Vec<Lock> = inspect::locks()
//!     .filter(inspect::is_lock("reports.nightly"))
//!     .order((pg_locks::granted.desc(), pg_locks::waitstart))
//!     .load(&mut *held)?;
//! let waiting: Vec<Lock> = inspect::locks().filter(inspect::is_waiting()).load(&mut *held)?;
//!
//! let names = Names::from_iter(["reports.nightly", "billing.close_month"]);
//! for lock in &locks {
//!     println!("{} is held by {:?} since {:?}", lock.name(&names), lock.application, lock.since);
//! }
//! assert_eq!(locks[0].key, LockKey::from_name("reports.nightly"));
//! assert_eq!(locks[0].name(&names), "reports.nightly");
//! # held.release()?;
//! # Ok::<_, diesel_advisory::Error>(())
//! ```
//!
//! - Only the locks of this database are shown. Those of other databases in the cluster have nothing to
//!   do with them, even under the same key.
//! - What is seen can be out of date when it arrives. It is for people and dashboards; to decide on it,
//!   take the lock.
//! - `pg_locks` is read under locks that every session needs, if only for a moment. Once in a few
//!   seconds is fine; hundreds of times in one are not.
//! - An ordinary role sees every lock, but not everything about the sessions of others: see [`Lock`].
//! - `psql` and dashboards have the same, with names, in the view of the [`catalog`](crate::catalog).
//! - PostgreSQL 14 is the oldest that tells since when a lock is waited for.

mod lock;
mod names;
mod tables;

use diesel::dsl::{AsSelect, Filter, LeftJoinOn, Select, sql};
use diesel::expression::SqlLiteral;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Bool;

pub use self::lock::Lock;
pub use self::names::{LockName, Names};
pub use self::tables::{pg_locks, pg_stat_activity};
use crate::blocking::link::{Blocking, PgTransactions, ready};
use crate::error::Error;
use crate::lock::into_id::IntoLockId;
use crate::protocol::look::are_locked;
use crate::sql::look::is_key_of;

/// What [`locks`] returns.
pub type Locks = Select<
    Filter<
        LeftJoinOn<pg_locks::table, pg_stat_activity::table, SqlLiteral<Bool>>,
        SqlLiteral<Bool>,
    >,
    AsSelect<Lock, Pg>,
>;

/// What [`is_lock`] returns.
pub type IsLock = SqlLiteral<Bool>;

/// What [`is_waiting`] returns.
pub type IsWaiting = SqlLiteral<Bool>;

/// Every advisory lock in this database that is held or waited for, as a query.
///
/// It joins [`pg_locks`] with [`pg_stat_activity`], and selects a [`Lock`].
///
/// Locks of extensions, which use a form of key that no advisory lock function has, are left out.
#[must_use = "a query does nothing until it is loaded"]
pub fn locks() -> Locks {
    // In a transaction, PostgreSQL goes on showing the activity that it has shown first. The subquery is
    // evaluated before anything else of the query, and makes it look again.
    const ADVISORY: &str = "(SELECT pg_catalog.pg_stat_clear_snapshot()::pg_catalog.text) IS NOT NULL \
         AND pg_locks.locktype OPERATOR(pg_catalog.=) 'advisory' \
         AND pg_locks.objsubid OPERATOR(pg_catalog.=) ANY ('{1,2}'::smallint[]) \
         AND pg_locks.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database AS d \
         WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())";

    pg_locks::table
        .left_join(pg_stat_activity::table.on(sql(
            "pg_locks.pid OPERATOR(pg_catalog.=) pg_stat_activity.pid",
        )))
        .filter(sql(ADVISORY))
        .select(Lock::as_select())
}

/// The condition that it is this lock.
#[must_use = "a condition does nothing until it filters a query"]
pub fn is_lock<'a>(id: impl IntoLockId<'a>) -> IsLock {
    sql(&is_key_of("pg_locks", &id.into_lock_id()))
}

/// The condition that the lock is waited for.
#[must_use = "a condition does nothing until it filters a query"]
pub fn is_waiting() -> IsWaiting {
    sql("(NOT pg_locks.granted)")
}

/// Returns whether any session holds each of the locks, in the order of the ids, with one query.
///
/// Otherwise the same as
/// [`is_advisory_locked`](crate::AdvisoryConnection::is_advisory_locked) for one.
///
/// # Errors
///
/// [`Error::EmptyName`], or [`Error::Database`].
///
/// # Example
///
/// ```
/// # diesel_advisory_sandbox::doctest!(conn);
/// use diesel_advisory::{AdvisoryConnection, Error, inspect};
///
/// let mut held = conn.advisory_session("report:7").acquire()?;
/// let ids = (6..9).map(|id| ("report", id));
/// assert_eq!(inspect::are_advisory_locked(&mut *held, ids)?, [false, true, false]);
/// # held.release()?;
/// # Ok::<_, Error>(())
/// ```
pub fn are_advisory_locked<'a, C, I>(conn: &mut C, ids: I) -> Result<Vec<bool>, Error>
where
    C: PgTransactions,
    I: IntoIterator<Item: IntoLockId<'a>>,
{
    let ids: Vec<_> = ids.into_iter().map(IntoLockId::into_lock_id).collect();
    ready(are_locked(&mut Blocking(conn), &ids))
}

/// Does the same as [`are_advisory_locked`], asynchronously.
///
/// Unless all of the locks are free, it leaves an `ERROR` in the server's log, as
/// [`is_advisory_locked`](crate::AsyncAdvisoryConnection::is_advisory_locked) does.
///
/// # Errors
///
/// [`Error::EmptyName`], or [`Error::Database`].
///
/// # Cancel safety
///
/// The future can be dropped at any point.
///
/// # Example
///
/// ```
/// # diesel_advisory_sandbox::async_doctest!(conn, {
/// use diesel_advisory::{AsyncAdvisoryConnection, inspect};
///
/// let mut held = conn.advisory_session("report:7").acquire().await?;
/// let ids = (6..9).map(|id| ("report", id));
/// let locked = inspect::are_advisory_locked_async(&mut *held, ids).await?;
/// assert_eq!(locked, [false, true, false]);
/// # held.release().await?;
/// # });
/// ```
#[cfg(feature = "async")]
pub fn are_advisory_locked_async<'a, C, I>(
    conn: &'a mut C,
    ids: I,
) -> impl Future<Output = Result<Vec<bool>, Error>> + Send
where
    C: crate::asynchronous::link::AsyncPgTransactions,
    I: IntoIterator<Item: IntoLockId<'a>>,
{
    let ids: Vec<_> = ids.into_iter().map(IntoLockId::into_lock_id).collect();
    async move { are_locked(&mut crate::asynchronous::link::Async(conn), &ids).await }
}
