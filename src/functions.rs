//! The advisory lock functions of PostgreSQL, for use in queries of your own.
//!
//! They are the bare functions, with all that comes with them: nobody restores a timeout, a session
//! lock stays until it is released, a transaction lock taken in autocommit is gone at once, and a
//! `LIMIT` or a sort does not keep PostgreSQL from locking rows that it then drops. What each of
//! them does is told in [Advisory Lock Functions];
//! [`AdvisoryConnection`](crate::AdvisoryConnection) is the safe way.
//!
//! The functions that take two `int`s have `_pair` at the end of their names here.
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
//!     // Skips the jobs that another worker has locked.
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

/// PostgreSQL's [`void`] type, which a function has that returns nothing. It reads as `()`.
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
        "takes an exclusive lock for the session, and waits for it.";
    pg_advisory_lock_shared / pg_advisory_lock_shared_pair, "pg_advisory_lock_shared" -> Void,
        "takes a shared lock for the session, and waits for it.";
    pg_try_advisory_lock / pg_try_advisory_lock_pair, "pg_try_advisory_lock" -> Bool,
        "takes an exclusive lock for the session, or returns false.";
    pg_try_advisory_lock_shared / pg_try_advisory_lock_shared_pair,
        "pg_try_advisory_lock_shared" -> Bool,
        "takes a shared lock for the session, or returns false.";
    pg_advisory_xact_lock / pg_advisory_xact_lock_pair, "pg_advisory_xact_lock" -> Void,
        "takes an exclusive lock for the transaction, and waits for it.";
    pg_advisory_xact_lock_shared / pg_advisory_xact_lock_shared_pair,
        "pg_advisory_xact_lock_shared" -> Void,
        "takes a shared lock for the transaction, and waits for it.";
    pg_try_advisory_xact_lock / pg_try_advisory_xact_lock_pair, "pg_try_advisory_xact_lock" -> Bool,
        "takes an exclusive lock for the transaction, or returns false.";
    pg_try_advisory_xact_lock_shared / pg_try_advisory_xact_lock_shared_pair,
        "pg_try_advisory_xact_lock_shared" -> Bool,
        "takes a shared lock for the transaction, or returns false.";
    pg_advisory_unlock / pg_advisory_unlock_pair, "pg_advisory_unlock" -> Bool,
        "releases an exclusive lock of the session once, or returns false if it is not held.";
    pg_advisory_unlock_shared / pg_advisory_unlock_shared_pair,
        "pg_advisory_unlock_shared" -> Bool,
        "releases a shared lock of the session once, or returns false if it is not held.";
}

define_sql_function! {
    /// `pg_advisory_unlock_all()`: releases all locks of the session, not those of a transaction.
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
