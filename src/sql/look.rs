//! The SQL that looks without touching.

use std::fmt::Write as _;

use super::granted;
use crate::lock_id::ServerHash;
use crate::lock_set::Request;
use crate::{LockId, LockKey};

/// `SELECT`s a [`HashRow`] for each [`ServerHash`] of the request, or nothing if there are none.
pub(crate) fn server_hashes(request: &Request<'_>) -> Option<String> {
    let hashes = request.ids.iter().filter_map(LockId::server_hash);
    let rows = hashes.enumerate().map(|(position, hash)| {
        let (first, second) = match hash {
            ServerHash::Pair(namespace, text) => (
                format!("pg_catalog.hashtext({})::bigint", text_literal(namespace)),
                format!("pg_catalog.hashtext({})", text_literal(text)),
            ),
            ServerHash::Extended(text) => (
                format!("pg_catalog.hashtextextended({}, 0)", text_literal(text)),
                String::from("NULL::int"),
            ),
        };
        format!("SELECT {position} AS position, {first} AS first, {second} AS second")
    });
    let rows = rows.collect::<Vec<_>>();
    (!rows.is_empty()).then(|| format!("{} ORDER BY position", rows.join(" UNION ALL ")))
}

/// A text as an expression that holds nothing but its hex digits, which cannot end any literal.
fn text_literal(text: &str) -> String {
    let mut sql = String::from("pg_catalog.convert_from(pg_catalog.decode('");
    for byte in text.bytes() {
        let _ = write!(sql, "{byte:02x}");
    }
    sql.push_str("', 'hex'), 'UTF8')");
    sql
}

/// The key of a [`ServerHash`].
#[derive(Debug, diesel::QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub(crate) struct HashRow {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    first: i64,
    #[diesel(sql_type = diesel::sql_types::Nullable<diesel::sql_types::Integer>)]
    second: Option<i32>,
}

impl From<HashRow> for LockKey {
    fn from(row: HashRow) -> Self {
        match (i32::try_from(row.first), row.second) {
            (Ok(first), Some(second)) => Self::Pair(first, second),
            _ => Self::BigInt(row.first),
        }
    }
}

/// `SELECT`s 1 if any session holds the lock, else 0.
pub(crate) fn is_locked(key: LockKey) -> String {
    format!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE {})::int AS code",
        granted(key)
    )
}

/// `SELECT`s the other sessions that hold the lock, as
/// [`HolderRow`](crate::unavailable::HolderRow)s.
///
/// `pg_locks.pid` is null for a prepared transaction; `pg_blocking_pids` shows it as 0.
pub(crate) fn holders(key: LockKey) -> String {
    format!(
        "SELECT coalesce(pid, 0) AS pid, nullif(application_name, '') AS application_name, state, \
         extract(epoch FROM pg_catalog.clock_timestamp() - state_change)::float8 AS seconds_in_state \
         FROM pg_catalog.pg_locks LEFT JOIN pg_catalog.pg_stat_activity USING (pid) \
         WHERE {} AND pid IS DISTINCT FROM pg_catalog.pg_backend_pid() \
         ORDER BY state_change, pid",
        granted(key)
    )
}
