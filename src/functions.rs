//! The advisory lock functions of PostgreSQL, for use in your own queries.
//!
//! Prefer [`AdvisoryConnection`](crate::AdvisoryConnection) where you can. These are the bare functions, as
//! described in [Advisory Lock Functions]:
//!
//! - No timeout applies but the session's `lock_timeout`.
//! - A session lock stays until it is released or the session ends, also in a pool.
//! - A transaction-scoped lock outside of a transaction is released at the end of its statement.
//! - In a `WHERE` clause, PostgreSQL may call a function for rows that other conditions, a `LIMIT` or a sort
//!   then drop. Those locks stay. Select the rows in a subquery first, with `OFFSET 0`.
//! - They work on a standby, where a lock excludes nobody on the primary.
//!
//! Functions with two `int` keys have names that end in `_pair`.
//!
//! # Example
//!
//! ```
//! # diesel_advisory_sandbox::doctest!(conn);
//! use diesel::prelude::*;
//! use diesel_advisory::LockId;
//! use diesel_advisory::functions::{pg_try_advisory_xact_lock, pg_try_advisory_xact_lock_pair};
//!
//! diesel::table! {
//!     jobs (id) {
//!         id -> Integer,
//!     }
//! }
//! # diesel::sql_query("CREATE TEMPORARY TABLE jobs AS SELECT 7 AS id").execute(conn)?;
//!
//! conn.transaction(|conn| {
//!     // Skips the jobs that another worker has locked. There is no other condition here.
//!     let mine: Vec<i32> = jobs::table
//!         .filter(pg_try_advisory_xact_lock_pair(1, jobs::id))
//!         .select(jobs::id)
//!         .load(conn)?;
//!     assert_eq!(mine, [7]);
//!
//!     let one = diesel::select(pg_try_advisory_xact_lock(42)).get_result::<bool>(conn)?;
//!     assert!(one);
//!     diesel::result::QueryResult::Ok(())
//! })?;
//! # Ok::<_, diesel::result::Error>(())
//! ```
//!
//! [Advisory Lock Functions]: https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADVISORY-LOCKS

use diesel::define_sql_function;
use diesel::deserialize::{self, FromSql};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::{BigInt, Integer};

/// PostgreSQL's [`void`] type: the return type of functions that return nothing. It loads as `()`.
///
/// [`void`]: https://www.postgresql.org/docs/current/datatype-pseudo.html
#[derive(
    Debug, Clone, Copy, Default, diesel::sql_types::SqlType, diesel::query_builder::QueryId,
)]
#[diesel(postgres_type(oid = 2278, array_oid = 0))]
pub struct Void;

/// Every advisory lock function, in its `bigint` and its `int, int` form.
macro_rules! advisory_functions {
    ($($name:ident / $pair:ident, $sql_name:literal -> $returns:ty, $does:literal;)*) => {$(
        define_sql_function! {
            #[doc = concat!("`", $sql_name, "(bigint)`: ", $does)]
            #[sql_name = $sql_name]
            fn $name(key: BigInt) -> $returns;
        }
        define_sql_function! {
            #[doc = concat!("`", $sql_name, "(integer, integer)`: ", $does)]
            #[sql_name = $sql_name]
            fn $pair(key1: Integer, key2: Integer) -> $returns;
        }
    )*};
}

advisory_functions! {
    pg_advisory_lock / pg_advisory_lock_pair, "pg_advisory_lock" -> Void,
        "waits for an exclusive lock, and acquires it for the session.";
    pg_advisory_lock_shared / pg_advisory_lock_shared_pair, "pg_advisory_lock_shared" -> Void,
        "waits for a shared lock, and acquires it for the session.";
    pg_try_advisory_lock / pg_try_advisory_lock_pair, "pg_try_advisory_lock" -> Bool,
        "acquires an exclusive lock for the session, or returns `false` if it is unavailable.";
    pg_try_advisory_lock_shared / pg_try_advisory_lock_shared_pair,
        "pg_try_advisory_lock_shared" -> Bool,
        "acquires a shared lock for the session, or returns `false` if it is unavailable.";
    pg_advisory_xact_lock / pg_advisory_xact_lock_pair, "pg_advisory_xact_lock" -> Void,
        "waits for an exclusive lock, and acquires it for the transaction.";
    pg_advisory_xact_lock_shared / pg_advisory_xact_lock_shared_pair,
        "pg_advisory_xact_lock_shared" -> Void,
        "waits for a shared lock, and acquires it for the transaction.";
    pg_try_advisory_xact_lock / pg_try_advisory_xact_lock_pair, "pg_try_advisory_xact_lock" -> Bool,
        "acquires an exclusive lock for the transaction, or returns `false` if it is unavailable.";
    pg_try_advisory_xact_lock_shared / pg_try_advisory_xact_lock_shared_pair,
        "pg_try_advisory_xact_lock_shared" -> Bool,
        "acquires a shared lock for the transaction, or returns `false` if it is unavailable.";
    pg_advisory_unlock / pg_advisory_unlock_pair, "pg_advisory_unlock" -> Bool,
        "releases an exclusive lock of the session once, or returns `false` if it is not held.";
    pg_advisory_unlock_shared / pg_advisory_unlock_shared_pair,
        "pg_advisory_unlock_shared" -> Bool,
        "releases a shared lock of the session once, or returns `false` if it is not held.";
}

define_sql_function! {
    /// `pg_advisory_unlock_all()`: releases all session locks, and no transaction-scoped ones.
    fn pg_advisory_unlock_all() -> Void;
}

impl FromSql<Void, Pg> for () {
    fn from_sql(_: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(())
    }
}

impl diesel::Queryable<Void, Pg> for () {
    type Row = ();

    fn build((): ()) -> deserialize::Result<Self> {
        Ok(())
    }
}
