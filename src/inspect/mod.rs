//! Lists advisory locks, the sessions that hold them, and the sessions that wait.
//!
//! [`locks`] is a Diesel query: filter and order it by the columns of [`pg_locks`] and
//! [`pg_stat_activity`], and load it into [`Lock`]s.
//!
//! # Example
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
//! # What it shows
//!
//! - Only locks of this database. The same key in another database is another lock.
//! - A moment that may be over when the answer arrives. Use it for people and dashboards; to act on it, take
//!   the lock with `no_wait()`.
//! - Every lock, to every role; but not all details of other roles' sessions: see [`Lock`].
//!
//! Reading `pg_locks` briefly blocks every session that takes or releases a lock. Once every few seconds is
//! fine; hundreds of times a second is not.
//!
//! The [catalog](crate::catalog) is the same as an SQL view, with names, for `psql` and dashboards.

mod lock;
mod names;
mod runs;
mod tables;

use diesel::dsl::{AsSelect, Filter, LeftJoinOn, Select, sql};
use diesel::expression::SqlLiteral;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Bool;

pub use self::lock::Lock;
pub use self::names::{LockName, Names};
pub use self::runs::Run;
pub use self::tables::{advisory_runs, pg_locks, pg_stat_activity};
use crate::blocking::link::{Blocking, PgTransactions};
use crate::error::Error;
use crate::lock::into_id::IntoLockId;
use crate::protocol::link::ready;
use crate::protocol::look::are_locked;
use crate::sql::look::is_key_of;

/// The return type of [`locks`].
pub type Locks = Select<
    Filter<
        LeftJoinOn<pg_locks::table, pg_stat_activity::table, SqlLiteral<Bool>>,
        SqlLiteral<Bool>,
    >,
    AsSelect<Lock, Pg>,
>;

/// The return type of [`runs()`].
pub type Runs = Select<advisory_runs::table, AsSelect<Run, Pg>>;

/// The return type of [`is_lock`].
pub type IsLock = SqlLiteral<Bool>;

/// The return type of [`is_waiting`].
pub type IsWaiting = SqlLiteral<Bool>;

/// The return type of [`leader`].
pub type Leaders = Filter<Filter<Locks, IsLock>, SqlLiteral<Bool>>;

/// Builds the query for the session that leads: the one that holds the lock alone.
///
/// For a [`Leader`](crate::Leader), [`Lock::application`] is its identity. It shows a session that
/// waits for the lock delay too: it is the one that will lead.
///
/// # Example
///
/// ```
/// # diesel_advisory_sandbox::doctest!(conn);
/// use diesel::prelude::*;
/// use diesel_advisory::inspect::{self, Lock};
///
/// let leader: Option<Lock> = inspect::leader("scheduler").first(conn).optional()?;
/// match leader {
///     Some(lock) => println!("{:?} leads", lock.application),
///     None => println!("nobody leads"),
/// }
/// # Ok::<_, diesel::result::Error>(())
/// ```
#[must_use = "a query does nothing until it is loaded"]
pub fn leader<'a>(id: impl IntoLockId<'a>) -> Leaders {
    locks().filter(is_lock(id)).filter(sql(
        "(pg_locks.granted AND pg_locks.mode OPERATOR(pg_catalog.=) 'ExclusiveLock')",
    ))
}

/// Builds the query for every advisory lock of this database, held or waited for.
///
/// It joins [`pg_locks`] with [`pg_stat_activity`], and selects a [`Lock`]. Locks whose key has a form that
/// no advisory lock function takes, as some extensions have, are left out.
///
/// # Example
///
/// ```
/// # diesel_advisory_sandbox::doctest!(conn);
/// use diesel::prelude::*;
/// use diesel_advisory::inspect::{self, Lock, pg_stat_activity};
///
/// let mine: Vec<Lock> = inspect::locks()
///     .filter(pg_stat_activity::application_name.eq("web-3"))
///     .load(conn)?;
/// # assert!(mine.is_empty());
/// # Ok::<_, diesel::result::Error>(())
/// ```
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

/// Builds the query for the last run of every job that runs
/// [at most once in a while](crate::AdvisoryTransaction::at_most_every).
///
/// It selects [`Run`]s from [`advisory_runs`], which is in the [catalog](crate::catalog).
///
/// # Example
///
/// ```
/// # diesel_advisory_sandbox::doctest!(conn);
/// # diesel_advisory::catalog::install(conn)?;
/// use diesel::prelude::*;
/// use diesel_advisory::inspect::{self, Run, advisory_runs};
/// use diesel_advisory::{AdvisoryConnection, Error};
///
/// let unfinished = inspect::runs().filter(advisory_runs::finished_at.is_null());
/// for run in unfinished.load::<Run>(conn)? {
///     if !conn.is_advisory_locked(&run.name)? {
///         println!("{} has crashed or failed in {:?}", run.name, run.started_by);
///     }
/// }
/// # Ok::<_, Error>(())
/// ```
#[must_use = "a query does nothing until it is loaded"]
pub fn runs() -> Runs {
    advisory_runs::table.select(Run::as_select())
}

/// Builds the condition that a row of [`locks`] is this lock.
///
/// # Example
///
/// ```
/// # diesel_advisory_sandbox::doctest!(conn);
/// use diesel::prelude::*;
/// use diesel_advisory::inspect::{self, Lock};
/// use diesel_advisory::{AdvisoryConnection, Error};
///
/// let mut held = conn.advisory_session(("invoice", 42)).shared().acquire()?;
/// let locks = inspect::locks().filter(inspect::is_lock(("invoice", 42)));
/// let locks: Vec<Lock> = locks.load(&mut held)?;
/// assert!(locks[0].shared && locks[0].granted);
/// # held.release()?;
/// # Ok::<_, Error>(())
/// ```
#[must_use = "a condition does nothing until it filters a query"]
pub fn is_lock<'a>(id: impl IntoLockId<'a>) -> IsLock {
    sql(&is_key_of("pg_locks", &id.into_lock_id()))
}

/// Builds the condition that a row of [`locks`] is a session that waits.
///
/// # Example
///
/// ```
/// # diesel_advisory_sandbox::doctest!(conn);
/// use diesel::prelude::*;
/// use diesel_advisory::inspect::{self, Lock};
///
/// for lock in inspect::locks().filter(inspect::is_waiting()).load::<Lock>(conn)? {
///     println!("{} waits for {:?}", lock.pid.unwrap_or_default(), lock.blocked_by);
/// }
/// # Ok::<_, diesel::result::Error>(())
/// ```
#[must_use = "a condition does nothing until it filters a query"]
pub fn is_waiting() -> IsWaiting {
    sql("(NOT pg_locks.granted)")
}

/// Returns for each of the locks whether any session holds it, in the order of the ids, with one query.
///
/// Otherwise the same as [`is_advisory_locked`](crate::AdvisoryConnection::is_advisory_locked).
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
