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

use diesel::dsl::{And, AsSelect, Eq, Filter, LeftJoinOn, Select};
use diesel::expression::SqlLiteral;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Bool;

pub use self::lock::Lock;
pub use self::names::{LockName, Names};
pub use self::tables::{pg_locks, pg_stat_activity};
use crate::connection::Blocking;
use crate::link::{Link, ready};
use crate::lock_set::Request;
use crate::sql::{self, HashRow};
use crate::{AdvisoryConnection, Error, LockId, LockKey};

/// What [`locks`] returns.
pub type Locks = Select<
    Filter<
        LeftJoinOn<
            pg_locks::table,
            pg_stat_activity::table,
            Eq<pg_locks::pid, diesel::dsl::Nullable<pg_stat_activity::pid>>,
        >,
        SqlLiteral<Bool>,
    >,
    AsSelect<Lock, Pg>,
>;

/// What [`is_lock`] returns.
pub type IsLock =
    And<And<Eq<pg_locks::classid, u32>, Eq<pg_locks::objid, u32>>, Eq<pg_locks::objsubid, i16>>;

/// What [`is_waiting`] returns.
pub type IsWaiting = Eq<pg_locks::granted, bool>;

/// Every advisory lock in this database that is held or waited for, as a query.
///
/// It joins [`pg_locks`] with [`pg_stat_activity`], and selects a [`Lock`].
#[must_use = "a query does nothing until it is loaded"]
pub fn locks() -> Locks {
    pg_locks::table
        .left_join(pg_stat_activity::table.on(pg_locks::pid.eq(pg_stat_activity::pid.nullable())))
        .filter(diesel::dsl::sql(
            "pg_locks.locktype = 'advisory' AND pg_locks.database = (SELECT oid FROM \
             pg_catalog.pg_database WHERE datname = pg_catalog.current_database())",
        ))
        .select(Lock::as_select())
}

/// The condition that it is this lock.
///
/// # Panics
///
/// As [`LockId::key`], if it is a key that only the server can compute.
#[must_use = "a condition does nothing until it filters a query"]
pub fn is_lock<'a>(id: impl Into<LockId<'a>>) -> IsLock {
    let (classid, objid, objsubid) = id.into().key().to_pg_locks();
    pg_locks::classid
        .eq(classid)
        .and(pg_locks::objid.eq(objid))
        .and(pg_locks::objsubid.eq(objsubid))
}

/// The condition that the lock is waited for.
#[must_use = "a condition does nothing until it filters a query"]
pub fn is_waiting() -> IsWaiting {
    pg_locks::granted.eq(false)
}

/// Whether any session holds each of the locks, in the order of the ids, with one query.
///
/// Otherwise the same as [`is_advisory_locked`](AdvisoryConnection::is_advisory_locked) for one.
///
/// # Errors
///
/// [`Error::EmptyName`], or [`Error::Database`].
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
    C: AdvisoryConnection,
    I: IntoIterator<Item: Into<LockId<'a>>>,
{
    let ids: Vec<LockId<'a>> = ids.into_iter().map(Into::into).collect();
    if ids.iter().any(LockId::is_empty_name) {
        return Err(Error::EmptyName);
    }
    let keys = keys(conn, &ids)?;
    let objids = keys.iter().map(|key| key.to_pg_locks().1);
    // One half of the key is enough to leave most of the others out; the whole of it decides below.
    let held = locks()
        .filter(pg_locks::granted)
        .filter(pg_locks::objid.eq_any(objids.collect::<Vec<_>>()))
        .select((
            pg_locks::classid.assume_not_null(),
            pg_locks::objid.assume_not_null(),
            pg_locks::objsubid.assume_not_null(),
        ))
        .load::<(u32, u32, i16)>(conn)?;
    Ok(keys
        .into_iter()
        .map(|key| held.contains(&key.to_pg_locks()))
        .collect())
}

/// The keys, in the order of the ids.
fn keys<C: AdvisoryConnection>(conn: &mut C, ids: &[LockId<'_>]) -> Result<Vec<LockKey>, Error> {
    let Some((first, rest)) = ids.split_first() else {
        return Ok(Vec::new());
    };
    let mut request = Request::new(first.clone());
    request.ids.extend_from_slice(rest);
    let mut hashed = Vec::new();
    if let Some(sql) = sql::server_hashes(&request) {
        hashed = ready(Blocking(conn).rows::<HashRow>(sql))?;
    }
    let mut hashed = hashed.into_iter().map(LockKey::from);
    let key = |id: &LockId<'_>| match id.server_hash() {
        Some(_) => hashed.next().ok_or(diesel::NotFound),
        None => Ok(id.key()),
    };
    Ok(ids.iter().map(key).collect::<QueryResult<_>>()?)
}
