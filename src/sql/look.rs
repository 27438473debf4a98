//! The SQL that looks without touching.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Double, Integer, Nullable, Text};

use super::answer::refusal_of;
use super::release::HeldLocks;
use crate::error::unavailable::Holder;
use crate::lock::id::{LockId, ServerHash};
use crate::lock::key::LockKey;
use crate::lock::permits::Permits;
use crate::lock::request::Mode;
use crate::lock::set::LockSet;

/// A question whose answer is a short text.
///
/// A connection that can only ask by preparing a query asks by a statement that fails with the answer.
#[cfg_attr(
    not(feature = "async"),
    allow(dead_code, reason = "for asynchronous connections")
)]
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// An expression of type `text`.
    answer: String,
    /// The answer that is no error.
    usual: String,
}

#[cfg_attr(
    not(feature = "async"),
    allow(dead_code, reason = "for asynchronous connections")
)]
impl Look {
    pub(super) fn new(answer: String, usual: String) -> Self {
        Self { answer, usual }
    }

    /// A query that selects the answer.
    pub(crate) fn query(&self) -> String {
        format!("SELECT {} AS answer FOR UPDATE", self.answer)
    }

    /// A statement that fails, by the mark, if the answer is not the usual one.
    pub(crate) fn statement(&self) -> String {
        let Self { answer, usual } = self;
        let refusal = refusal_of("s.answer");
        format!(
            "SELECT FROM (SELECT {answer} AS answer OFFSET 0) AS s \
             WHERE CASE WHEN s.answer OPERATOR(pg_catalog.<>) '{usual}' THEN {refusal} END"
        )
    }

    /// The answer that is no error.
    pub(crate) fn usual(&self) -> &str {
        &self.usual
    }
}

/// The column `answer` of [`Look::query`].
#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub(crate) struct AnswerRow {
    #[diesel(sql_type = Text)]
    pub(crate) answer: String,
}

/// Asks which of the locks any session holds: a 1 or a 0 for each.
pub(crate) fn are_locked(ids: &[LockId<'_>]) -> Look {
    let keys = rows(ids.iter().map(halves));
    Look {
        answer: format!(
            "(SELECT pg_catalog.string_agg((EXISTS (SELECT FROM pg_catalog.pg_locks AS l \
             WHERE {OF_LOCK} AND l.granted))::int::pg_catalog.text, '' ORDER BY k.i) FROM {keys})"
        ),
        usual: "0".repeat(ids.len()),
    }
}

/// Asks how many locks of the set this session holds, in whatever scope.
pub(crate) fn held_here(held: &HeldLocks) -> Look {
    Look {
        answer: format!("{}::pg_catalog.text", count_held_here(held)),
        usual: held.keys.len().to_string(),
    }
}

/// How many locks of the set this session holds, as an expression.
pub(super) fn count_held_here(held: &HeldLocks) -> String {
    let mode = match held.mode {
        Mode::Exclusive => "ExclusiveLock",
        Mode::Share => "ShareLock",
    };
    let keys = rows(held.keys.iter().map(|key| key_halves(*key)));
    format!(
        "(SELECT pg_catalog.count(*) FROM {keys} JOIN pg_catalog.pg_locks AS l ON {OF_LOCK} \
         WHERE l.granted AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() \
         AND l.mode OPERATOR(pg_catalog.=) '{mode}')"
    )
}

/// The condition that `l`, a row of `pg_locks`, is of the lock `k`, which somebody holds or waits for.
///
/// Advisory locks belong to a database; `pg_locks` shows those of the whole cluster.
const OF_LOCK: &str = "l.locktype OPERATOR(pg_catalog.=) 'advisory' \
     AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database AS d \
     WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) \
     AND l.classid OPERATOR(pg_catalog.=) k.classid AND l.objid OPERATOR(pg_catalog.=) k.objid \
     AND l.objsubid OPERATOR(pg_catalog.=) k.objsubid";

/// The condition that a row of `pg_locks` is of the lock.
pub(crate) fn is_key_of(row: &str, id: &LockId<'_>) -> String {
    let (classid, objid, objsubid) = halves(id);
    format!(
        "({row}.classid OPERATOR(pg_catalog.=) ({classid})::pg_catalog.oid \
         AND {row}.objid OPERATOR(pg_catalog.=) ({objid})::pg_catalog.oid \
         AND {row}.objsubid OPERATOR(pg_catalog.=) {objsubid})"
    )
}

/// `classid`, `objid` and `objsubid` of a lock, as expressions.
type Halves = (String, String, String);

/// Rows `k` of locks, as they stand in `pg_locks`, and their position, counted from 1.
fn rows(locks: impl Iterator<Item = Halves>) -> String {
    let (mut classids, mut objids, mut objsubids) = (Vec::new(), Vec::new(), Vec::new());
    for (classid, objid, objsubid) in locks {
        classids.push(classid);
        objids.push(objid);
        objsubids.push(objsubid);
    }
    format!(
        "unnest(ARRAY[{}]::pg_catalog.oid[], ARRAY[{}]::pg_catalog.oid[], ARRAY[{}]::smallint[]) \
         WITH ORDINALITY AS k (classid, objid, objsubid, i)",
        classids.join(","),
        objids.join(","),
        objsubids.join(",")
    )
}

fn key_halves(key: LockKey) -> Halves {
    let (classid, objid, objsubid) = key.to_pg_locks();
    (classid.to_string(), objid.to_string(), objsubid.to_string())
}

fn halves(id: &LockId<'_>) -> Halves {
    match (id.server_hash(), id.key()) {
        (Some(ServerHash::Pair(namespace, text)), _) => (
            format!("{}::pg_catalog.oid", hashtext(namespace)),
            format!("{}::pg_catalog.oid", hashtext(text)),
            String::from("2"),
        ),
        (Some(ServerHash::Extended(text)), _) => {
            let hash = hashtextextended(text);
            let half =
                |half: String| format!("pg_catalog.int8and({half}, 4294967295)::pg_catalog.oid");
            (
                half(format!("pg_catalog.int8shr({hash}, 32)")),
                half(hash),
                String::from("1"),
            )
        }
        (None, key) => key_halves(key.unwrap_or(LockKey::BigInt(0))),
    }
}

/// `SELECT`s a [`HashRow`] for each [`ServerHash`] of the ids, or nothing if there are none.
pub(crate) fn server_hashes(ids: &[LockId<'_>]) -> Option<String> {
    let hashes = ids.iter().filter_map(LockId::server_hash);
    let rows = hashes.enumerate().map(|(position, hash)| {
        let (first, second) = match hash {
            ServerHash::Pair(namespace, text) => {
                (format!("{}::bigint", hashtext(namespace)), hashtext(text))
            }
            ServerHash::Extended(text) => (hashtextextended(text), String::from("NULL::int")),
        };
        format!("SELECT {position} AS position, {first} AS first, {second} AS second")
    });
    let rows = rows.collect::<Vec<_>>();
    (!rows.is_empty()).then(|| format!("{} ORDER BY position", rows.join(" UNION ALL ")))
}

fn hashtext(text: &str) -> String {
    format!("pg_catalog.hashtext({})", text_literal(text))
}

fn hashtextextended(text: &str) -> String {
    format!("pg_catalog.hashtextextended({}, 0)", text_literal(text))
}

/// A text as an expression that holds nothing but its hex digits, which cannot end any literal.
pub(crate) fn text_literal(text: &str) -> String {
    let mut sql = String::from("pg_catalog.convert_from(pg_catalog.decode('");
    for byte in text.bytes() {
        let _ = write!(sql, "{byte:02x}");
    }
    sql.push_str("', 'hex'), 'UTF8')");
    sql
}

/// The key of a [`ServerHash`].
#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub(crate) struct HashRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) first: i64,
    #[diesel(sql_type = Nullable<Integer>)]
    pub(crate) second: Option<i32>,
}

impl From<HashRow> for LockKey {
    fn from(row: HashRow) -> Self {
        match (i32::try_from(row.first), row.second) {
            (Ok(first), Some(second)) => Self::Pair(first, second),
            _ => Self::BigInt(row.first),
        }
    }
}

/// Makes the transaction see the activity of sessions as it is now. It keeps what it has seen first.
pub(crate) const FORGET_ACTIVITY: &str = "SELECT pg_catalog.pg_stat_clear_snapshot()";

/// `SELECT`s the other sessions that hold a lock of the set, or the one at this index, as
/// [`HolderRow`]s in the order of the set.
pub(crate) fn holders(set: &LockSet<'_>, index: Option<usize>) -> String {
    let first = index.unwrap_or(0);
    let count = index.map_or(set.locks.len(), |_| 1);
    let locks = set.locks.iter().skip(first).take(count);
    sessions(locks.map(|lock| lock.key), first, "l.granted")
}

/// `SELECT`s the other sessions that hold a permit, and behind them those that hold or wait for the gate, as
/// [`HolderRow`]s.
pub(crate) fn permit_holders(permits: &Permits) -> String {
    let gate = permits.keys.len() + 1;
    sessions(
        permits.keys.iter().copied().chain([permits.gate]),
        0,
        &format!("(l.granted OR k.i OPERATOR(pg_catalog.=) {gate})"),
    )
}

/// `SELECT`s the other sessions that hold or wait for locks, as the condition says. Those that wait come in
/// the order of the queue.
///
/// It asks for the activity of those sessions alone: `pg_stat_activity` would collect that of all.
/// `pg_locks.pid` is null for a prepared transaction; the function takes -1, but not 0, for all sessions.
fn sessions(keys: impl Iterator<Item = LockKey>, before: usize, condition: &str) -> String {
    let keys = rows(keys.map(key_halves));
    format!(
        "SELECT k.i OPERATOR(pg_catalog.+) {before} AS position, COALESCE(l.pid, 0) AS pid, \
         CASE WHEN a.application_name OPERATOR(pg_catalog.<>) '' THEN a.application_name END \
         AS application_name, a.state, pg_catalog.date_part('epoch', \
         pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) a.state_change) AS seconds_in_state \
         FROM {keys} JOIN pg_catalog.pg_locks AS l ON {OF_LOCK} \
         LEFT JOIN LATERAL pg_catalog.pg_stat_get_activity(COALESCE(l.pid, 0)) AS a ON true \
         WHERE {condition} \
         AND COALESCE(l.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid(), true) \
         ORDER BY k.i, l.granted DESC, l.waitstart, a.state_change, l.pid"
    )
}

/// A row of [`holders`].
#[derive(Debug, QueryableByName)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub(crate) struct HolderRow {
    #[diesel(sql_type = BigInt)]
    pub(crate) position: i64,
    #[diesel(sql_type = Integer)]
    pub(crate) pid: i32,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) application_name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub(crate) state: Option<String>,
    #[diesel(sql_type = Nullable<Double>)]
    pub(crate) seconds_in_state: Option<f64>,
}

impl HolderRow {
    /// The index of the lock in the set.
    pub(crate) fn index(&self) -> usize {
        usize::try_from(self.position - 1).unwrap_or(0)
    }
}

impl From<HolderRow> for Holder {
    fn from(row: HolderRow) -> Self {
        let since = row
            .seconds_in_state
            .and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok())
            .and_then(|in_state| SystemTime::now().checked_sub(in_state));
        let mut holder = Self::new(row.pid);
        holder.application_name = row.application_name;
        holder.state = row.state;
        holder.since = since;
        holder
    }
}
