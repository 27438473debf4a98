//! The SQL that takes locks, as text.
//!
//! Two ways lead to a lock:
//!
//! - [`try_locks`], a `SELECT` that never waits and answers with an [`Answer`]'s code;
//! - [`wait_block`], a `DO` block that waits. It is there because Diesel hides the SQLSTATE of an error,
//!   and its text is in the server's language: the block catches `lock_not_available` on the server and
//!   raises it again with a mark that travels through Diesel untouched, which [`Answer::of_error`]
//!   recognises. Setting `lock_timeout`, waiting and restoring it are one statement there, so that the
//!   client has nothing to send between the grant and its own work.
//!
//! A `DO` block takes no parameters. Only integers that were formatted here enter it, and the
//! [`label`], which has no character that could end a literal or a comment.

use std::fmt::Write as _;

use diesel::result::Error as DieselError;

use crate::lock_id::ServerHash;
use crate::lock_set::{HeldLocks, LockSet, Mode, Request};
use crate::wait::Wait;
use crate::{LockId, LockKey};

/// The constraint name that marks an error as raised by [`wait_block`].
const MARK: &str = "diesel_advisory";

/// What the server answers to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// All locks are held.
    Granted,
    /// The lock at this index of the set was not to be had.
    Missing(usize),
    /// The transaction keeps the snapshot that the attempt itself has taken: it would be older than
    /// the lock. Only after [`SnapshotCheck::On`].
    SnapshotTooOld,
}

impl Answer {
    /// Reads the number that [`try_locks`] selects: 0, the position of a lock, or -1.
    pub(crate) fn of_code(code: i32) -> Self {
        match usize::try_from(code) {
            Ok(0) => Self::Granted,
            Ok(position) => Self::Missing(position - 1),
            Err(_) => Self::SnapshotTooOld,
        }
    }

    /// Tells the error that [`wait_block`] raises from every other one.
    pub(crate) fn of_error(error: DieselError) -> Result<Self, DieselError> {
        let code = match &error {
            DieselError::DatabaseError(_, info) if info.constraint_name() == Some(MARK) => {
                info.column_name().and_then(|code| code.parse().ok())
            }
            _ => None,
        };
        code.map(Self::of_code).ok_or(error)
    }
}

/// Whether to refuse a transaction above read committed, by [`Answer::SnapshotTooOld`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SnapshotCheck {
    On,
    Off,
}

/// Until when a granted lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Transaction,
    Session,
}

/// A comment with the names of the locks, for those who look into `pg_stat_activity` or the server's
/// log. It belongs at the very front: the server shows the first 1024 bytes of a query by default.
pub(crate) fn comment(set: &LockSet<'_>) -> String {
    format!("/* advisory lock {} */ ", label(set))
}

/// `SELECT`s the code of an [`Answer`], without waiting.
///
/// Of several locks, those before the missing one stay held.
pub(crate) fn try_locks(set: &LockSet<'_>, check: SnapshotCheck) -> String {
    format!(
        "{}SELECT {} AS code",
        comment(set),
        try_expression(set, check)
    )
}

/// `CASE` is what guarantees that the locks are tried in order, and none after the missing one.
fn try_expression(set: &LockSet<'_>, check: SnapshotCheck) -> String {
    let mut sql = String::from("CASE");
    if check == SnapshotCheck::On {
        sql.push_str(
            " WHEN pg_catalog.current_setting('transaction_isolation') NOT LIKE 'read %' THEN -1",
        );
    }
    push_tries(&mut sql, set, "pg_try_advisory_xact_lock");
    sql.push_str(" ELSE 0 END");
    sql
}

fn push_tries(sql: &mut String, set: &LockSet<'_>, function: &str) {
    for (position, lock) in (1..).zip(&set.locks) {
        let call = call(function, set.mode, lock.key);
        let _ = write!(sql, " WHEN NOT {call} THEN {position}");
    }
}

/// A `DO` block that takes all locks, or fails with the mark of an [`Answer`].
///
/// Whatever fails, the transaction around it holds nothing more than before once it has been rolled
/// back (to a savepoint). Session locks are taken last, and only while the same locks are held for the
/// transaction: then they are granted at once. A session lock that is waited for under a timeout can be
/// granted and yet be reported as timed out, and nobody would know that it is held.
pub(crate) fn wait_block(set: &LockSet<'_>, scope: Scope, check: SnapshotCheck) -> String {
    let mut sql = String::from("DO $$DECLARE missing int := ");
    sql.push_str(&try_expression(set, check));
    sql.push_str("; ");
    if set.wait != Wait::No {
        push_wait(&mut sql, set);
    } else {
        sql.push_str("BEGIN ");
    }
    let label = label(set);
    if check == SnapshotCheck::On {
        push_raise(
            &mut sql,
            "missing < 0",
            &format!("advisory lock {label} begins again, for a newer snapshot"),
        );
    }
    push_raise(
        &mut sql,
        "missing > 0",
        &format!("advisory lock {label} is not available"),
    );
    if scope == Scope::Session {
        push_perform(&mut sql, set, "pg_advisory_lock");
    }
    sql.push_str("END$$");
    sql
}

/// The rest of the declarations, and the wait for those locks that were not free.
fn push_wait(sql: &mut String, set: &LockSet<'_>) {
    const SET: &str = "PERFORM pg_catalog.set_config('lock_timeout', ";
    // `lock_timeout` limits each wait alone. Several locks share one deadline, so that it has to be set
    // anew for each of them, to what is left.
    let deadline = match (set.locks.len(), set.wait) {
        (0 | 1, _) | (_, Wait::Forever | Wait::No) => None,
        (_, Wait::Inherit) => Some(String::from(
            "CASE WHEN before <> '0' THEN pg_catalog.clock_timestamp() + before::interval END",
        )),
        (_, Wait::AtMost(millis)) => Some(format!(
            "pg_catalog.clock_timestamp() + interval '{millis} ms'"
        )),
    };
    let changes_timeout = deadline.is_some() || set.wait != Wait::Inherit;

    if changes_timeout {
        sql.push_str("before text; ");
    }
    if deadline.is_some() {
        sql.push_str("deadline timestamptz; ");
    }
    sql.push_str("BEGIN IF missing > 0 THEN BEGIN ");
    if changes_timeout {
        sql.push_str("before := pg_catalog.current_setting('lock_timeout'); ");
    }
    match (&deadline, set.wait) {
        (Some(deadline), _) => {
            let _ = write!(sql, "deadline := {deadline}; ");
        }
        (None, Wait::AtMost(millis)) => {
            let _ = write!(sql, "{SET}'{millis}', true); ");
        }
        (None, Wait::Forever) => {
            let _ = write!(sql, "{SET}'0', true); ");
        }
        (None, Wait::Inherit | Wait::No) => {}
    }
    for (position, lock) in (1..).zip(&set.locks) {
        if set.locks.len() > 1 {
            let _ = write!(sql, "missing := {position}; ");
        }
        if deadline.is_some() {
            let _ = write!(
                sql,
                "IF deadline IS NOT NULL THEN {SET}greatest(1, pg_catalog.ceil(extract(epoch FROM \
                 deadline - pg_catalog.clock_timestamp()) * 1000))::int::text, true); END IF; "
            );
        }
        let _ = write!(
            sql,
            "PERFORM {}; ",
            call("pg_advisory_xact_lock", set.mode, lock.key)
        );
    }
    if changes_timeout {
        let _ = write!(sql, "{SET}before, true); ");
    }
    sql.push_str("missing := 0; EXCEPTION WHEN lock_not_available THEN NULL; END; END IF; ");
}

/// Raises what [`Answer::of_error`] recognises.
fn push_raise(sql: &mut String, condition: &str, message: &str) {
    let _ = write!(
        sql,
        "IF {condition} THEN RAISE lock_not_available USING MESSAGE = '{message}', \
         CONSTRAINT = '{MARK}', COLUMN = missing::text; END IF; "
    );
}

fn push_perform(sql: &mut String, set: &LockSet<'_>, function: &str) {
    for lock in &set.locks {
        let _ = write!(sql, "PERFORM {}; ", call(function, set.mode, lock.key));
    }
}

/// Turns held session locks into locks of the present transaction.
///
/// The statements wait for nothing, because the session holds the locks already.
pub(crate) fn session_to_transaction(set: &LockSet<'_>) -> String {
    let calls = |function| {
        let calls = set
            .locks
            .iter()
            .map(|lock| call(function, set.mode, lock.key));
        calls.collect::<Vec<_>>().join(", ")
    };
    format!(
        "SELECT {}; SELECT {}",
        calls("pg_advisory_xact_lock"),
        calls("pg_advisory_unlock")
    )
}

/// `SELECT`s the code of an [`Answer`]: session locks, without waiting.
///
/// The same locks are taken for the transaction of this statement first. So if one is missing, those
/// before it end with the statement.
pub(crate) fn try_session_locks(set: &LockSet<'_>) -> String {
    let mut cases = String::new();
    push_tries(&mut cases, set, "pg_try_advisory_xact_lock");
    push_tries(&mut cases, set, "pg_try_advisory_lock");
    format!("{}SELECT CASE{cases} ELSE 0 END AS code", comment(set))
}

/// Releases session locks, and `SELECT`s how many of them were not held.
pub(crate) fn release(held: &HeldLocks) -> String {
    format!("SELECT {} AS code", release_expression(held))
}

/// A `DO` block that releases session locks, and raises how many of them were not held, if any.
pub(crate) fn release_block(held: &HeldLocks) -> String {
    let mut sql = format!(
        "DO $$DECLARE missing int := {}; BEGIN ",
        release_expression(held)
    );
    push_raise(
        &mut sql,
        "missing > 0",
        "advisory lock was not held when it was released",
    );
    sql.push_str("END$$");
    sql
}

fn release_expression(held: &HeldLocks) -> String {
    let missed = held
        .keys
        .iter()
        .map(|key| format!("(NOT {})::int", call("pg_advisory_unlock", held.mode, *key)));
    missed.collect::<Vec<_>>().join(" + ")
}

/// `SELECT`s how many locks of the set this session holds.
pub(crate) fn held_by_this_session(held: &HeldLocks) -> String {
    let held = held.keys.iter().map(|key| held_here(held.mode, *key));
    format!(
        "SELECT count(*)::int AS code FROM pg_catalog.pg_locks WHERE ({})",
        held.collect::<Vec<_>>().join(") OR (")
    )
}

/// Releases the session locks of the set that are held, and is silent about the others.
pub(crate) fn release_held(set: &LockSet<'_>) -> String {
    let releases = set.locks.iter().map(|lock| {
        format!(
            "SELECT {} FROM pg_catalog.pg_locks WHERE {}",
            call("pg_advisory_unlock", set.mode, lock.key),
            held_here(set.mode, lock.key),
        )
    });
    releases.collect::<Vec<_>>().join("; ")
}

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

/// `SELECT`s the other sessions that hold the lock, as [`HolderRow`](crate::unavailable::HolderRow)s.
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

/// The condition on `pg_locks` that this session holds the lock, in whatever scope.
fn held_here(mode: Mode, key: LockKey) -> String {
    let mode = match mode {
        Mode::Exclusive => "ExclusiveLock",
        Mode::Share => "ShareLock",
    };
    format!(
        "{} AND pid = pg_catalog.pg_backend_pid() AND mode = '{mode}'",
        granted(key)
    )
}

/// The condition on `pg_locks` that somebody holds the lock.
///
/// Advisory locks belong to a database; `pg_locks` shows those of the whole cluster.
fn granted(key: LockKey) -> String {
    let (classid, objid, objsubid) = key.to_pg_locks();
    format!(
        "locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_catalog.pg_database \
         WHERE datname = pg_catalog.current_database()) AND classid = '{classid}'::oid \
         AND objid = '{objid}'::oid AND objsubid = {objsubid}"
    )
}

/// The call of one of the advisory lock functions, in the given mode.
///
/// The key is quoted and cast: a bare `-9223372036854775808` would be a `numeric`.
fn call(function: &str, mode: Mode, key: LockKey) -> String {
    let suffix = match mode {
        Mode::Exclusive => "",
        Mode::Share => "_shared",
    };
    match key {
        LockKey::BigInt(key) => format!("pg_catalog.{function}{suffix}('{key}'::bigint)"),
        LockKey::Pair(first, second) => {
            format!("pg_catalog.{function}{suffix}('{first}'::int, '{second}'::int)")
        }
    }
}

/// The names of the locks, shortened, with every character outside `[A-Za-z0-9_.:-]` replaced.
fn label(set: &LockSet<'_>) -> String {
    /// Enough for a name that is fit to be read; the rest of the query wants to be seen as well.
    const CHARS: usize = 100;
    /// Names that follow each other.
    const SEPARATOR: char = ' ';

    let mut label = String::new();
    let mut room = CHARS;
    for (index, lock) in set.locks.iter().enumerate() {
        if index > 0 {
            label.push(SEPARATOR);
        }
        let name = match lock.key {
            LockKey::Pair(first, second) => format!("{first}:{second}"),
            LockKey::BigInt(_) => lock.id.to_string(),
        };
        for (taken, char) in name.chars().enumerate() {
            if taken == room {
                label.push_str("...");
                return label;
            }
            let harmless = char.is_ascii_alphanumeric() || "_.:-".contains(char);
            label.push(if harmless { char } else { '_' });
        }
        room = CHARS.saturating_sub(label.len());
    }
    label
}
