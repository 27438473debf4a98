//! A row of [`locks`](super::locks).

use std::time::{Duration, SystemTime};

use diesel::deserialize::{self, Queryable};
use diesel::dsl::{AssumeNotNull, Nullable as MakeNullable, sql};
use diesel::expression::SqlLiteral;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Double, Integer, Nullable, Oid, SmallInt, Text};

use super::{Names, pg_locks, pg_stat_activity};
use crate::lock::key::LockKey;

/// An advisory lock that a session holds or waits for.
///
/// A session that holds a lock both shared and exclusive has two rows. PostgreSQL does not show how often
/// a session has acquired a lock.
///
/// # What an ordinary role sees
///
/// An ordinary role sees all locks, with their process, role and application. For sessions of other roles,
/// `client`, `state`, `since` and `query` are `None`, and [`is_hidden`](Self::is_hidden) returns `true`. To
/// show them to a role, `GRANT pg_read_all_stats TO …`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Lock {
    /// The key. [`Names::display`] shows it by name.
    pub key: LockKey,
    /// Whether the lock is shared. Otherwise, it is exclusive.
    pub shared: bool,
    /// Whether the session holds the lock. Otherwise, it waits for it.
    pub granted: bool,
    /// The process id of the server process; `None` if a prepared transaction holds the lock.
    pub pid: Option<i32>,
    /// The role that has logged in.
    pub user: Option<String>,
    /// The session's `application_name`, if set.
    pub application: Option<String>,
    /// The client's address; `None` for a Unix socket.
    pub client: Option<String>,
    /// What the session is doing: `active`, `idle`, `idle in transaction`, …
    pub state: Option<String>,
    /// When the wait began. For a lock that is held, when the session entered its `state`, because
    /// PostgreSQL does not record when a lock was acquired.
    ///
    /// This is a time of this machine's clock.
    pub since: Option<SystemTime>,
    /// For a session that waits, the processes that it waits for: those that hold the lock, and those before
    /// it in the queue. 0 is a prepared transaction.
    pub blocked_by: Vec<i32>,
    /// The statement that the session executes, or its last one if it executes none.
    pub query: Option<String>,
    hidden: bool,
}

impl Lock {
    /// Returns whether the server hides the details of the session from this role.
    #[must_use]
    pub const fn is_hidden(&self) -> bool {
        self.hidden
    }

    /// Returns the name of the lock, or its key if no name is known.
    ///
    /// Otherwise the same as [`Names::display`].
    #[must_use]
    pub fn name(&self, names: &Names) -> String {
        names.display(self.key)
    }
}

/// What PostgreSQL shows in place of a query.
const HIDDEN: &str = "<insufficient privilege>";

/// What [`locks`](super::locks) selects for a [`Lock`].
type Columns = (
    AssumeNotNull<pg_locks::classid>,
    AssumeNotNull<pg_locks::objid>,
    AssumeNotNull<pg_locks::objsubid>,
    pg_locks::mode,
    pg_locks::granted,
    pg_locks::pid,
    MakeNullable<pg_stat_activity::username>,
    MakeNullable<pg_stat_activity::application_name>,
    SqlLiteral<Nullable<Text>>,
    MakeNullable<pg_stat_activity::state>,
    SqlLiteral<Nullable<Double>>,
    SqlLiteral<Nullable<Array<Integer>>>,
    MakeNullable<pg_stat_activity::query>,
);

impl Selectable<Pg> for Lock {
    type SelectExpression = Columns;

    fn construct_selection() -> Columns {
        (
            pg_locks::classid.assume_not_null(),
            pg_locks::objid.assume_not_null(),
            pg_locks::objsubid.assume_not_null(),
            pg_locks::mode,
            pg_locks::granted,
            pg_locks::pid,
            pg_stat_activity::username.nullable(),
            pg_stat_activity::application_name.nullable(),
            sql("pg_catalog.host(pg_stat_activity.client_addr)"),
            pg_stat_activity::state.nullable(),
            // An age, because the clocks of two machines differ.
            sql(
                "extract(epoch FROM pg_catalog.clock_timestamp() - CASE WHEN pg_locks.granted \
                 THEN pg_stat_activity.state_change \
                 ELSE coalesce(pg_locks.waitstart, pg_stat_activity.query_start) END)::float8",
            ),
            // It looks through all locks, while nobody can take any: not for those who do not wait.
            sql("CASE WHEN NOT pg_locks.granted \
                 THEN pg_catalog.pg_blocking_pids(pg_locks.pid) END"),
            pg_stat_activity::query.nullable(),
        )
    }
}

type SqlTypes = (
    Oid,
    Oid,
    SmallInt,
    Text,
    Bool,
    Nullable<Integer>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Double>,
    Nullable<Array<Integer>>,
    Nullable<Text>,
);

impl Queryable<SqlTypes, Pg> for Lock {
    type Row = (
        u32,
        u32,
        i16,
        String,
        bool,
        Option<i32>,
        Option<String>,
        Option<String>,
        Option<String>,
        Option<String>,
        Option<f64>,
        Option<Vec<i32>>,
        Option<String>,
    );

    fn build(row: Self::Row) -> deserialize::Result<Self> {
        let (classid, objid, objsubid, mode, granted, pid, user, application, client, ..) = row;
        let (.., state, age, blocked_by, query) = row;
        let hidden = query.as_deref() == Some(HIDDEN);
        Ok(Self {
            key: LockKey::from_pg_locks(classid, objid, objsubid)
                .ok_or("pg_locks has a new kind of advisory lock")?,
            shared: mode == "ShareLock",
            granted,
            pid,
            user,
            application: application.filter(|name| !name.is_empty()),
            client,
            state,
            since: age
                .and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok())
                .and_then(|age| SystemTime::now().checked_sub(age)),
            blocked_by: blocked_by.unwrap_or_default(),
            query: query.filter(|_| !hidden),
            hidden,
        })
    }
}
