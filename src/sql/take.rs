//! The SQL that takes locks in a transaction.

use std::fmt::Display;

use super::answer::{MARK, NOT_FREE, SNAPSHOT, SNAPSHOT_CODE, STANDBY, STANDBY_CODE};
use super::keys::{Keys, first_refused, function_name};
use super::label_comment;
use super::statement::{Statement, Value};
use crate::lock::key::LockKey;
use crate::lock::request::Mode;
use crate::lock::set::LockSet;
use crate::lock::wait::Wait;

/// Whether to refuse a transaction above read committed, whose snapshot would be older than the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SnapshotCheck {
    On,
    Off,
}

/// What has to be true before a lock is taken: conditions that refuse it, with their number and text.
#[derive(Debug)]
pub(super) struct Guards(Vec<(String, i32, &'static str)>);

impl Guards {
    pub(super) fn of(set: &LockSet<'_>) -> Self {
        let mut guards = Vec::new();
        if !set.on_standby {
            let standby = String::from("pg_catalog.pg_is_in_recovery()");
            guards.push((standby, STANDBY_CODE, STANDBY));
        }
        Self(guards)
    }

    fn with_snapshot(mut self, check: SnapshotCheck) -> Self {
        if check == SnapshotCheck::On {
            let isolated = "pg_catalog.current_setting('transaction_isolation') \
                            OPERATOR(pg_catalog.!~~) 'read %'";
            self.0.push((isolated.to_owned(), SNAPSHOT_CODE, SNAPSHOT));
        }
        self
    }

    pub(super) fn and(mut self, condition: String, code: i32, text: &'static str) -> Self {
        self.0.push((condition, code, text));
        self
    }

    /// A text that is a number unless a guard refuses: reading it as one fails with the guard's mark.
    ///
    /// The cast stands around the whole `CASE`. Inside of it, the planner would evaluate the cast of a
    /// constant, and fail always.
    fn or_number(&self, number: impl Display) -> String {
        if self.0.is_empty() {
            return format!("'{number}'");
        }
        let whens = self
            .0
            .iter()
            .map(|(condition, _, text)| format!(" WHEN {condition} THEN '{MARK}{text}'"));
        let whens = whens.collect::<Vec<_>>().concat();
        format!("(CASE{whens} ELSE '{number}' END)")
    }

    /// A statement that fails if a guard refuses.
    pub(super) fn statement(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        format!("SELECT {}::int; ", self.or_number(0))
    }

    /// The branches of a `CASE` that answer with numbers.
    pub(super) fn codes(&self) -> String {
        let whens = self
            .0
            .iter()
            .map(|(condition, code, _)| format!(" WHEN {condition} THEN {code}"));
        whens.collect::<Vec<_>>().concat()
    }

    /// A call that waits for a lock, and whose key cannot be read if a guard refuses.
    pub(super) fn guarded_lock(&self, key: LockKey, mode: Mode) -> String {
        let open = function_name("pg_advisory_xact_lock", mode);
        match key {
            LockKey::BigInt(key) if self.0.is_empty() => format!("{open}{})", Value::BigInt(key)),
            LockKey::BigInt(key) => format!("{open}{}::bigint)", self.or_number(key)),
            LockKey::Pair(first, second) => {
                format!("{open}{}::int, '{second}'::int)", self.or_number(first))
            }
        }
    }
}

/// Statements that begin a transaction, and fail unless it is one at read committed on a primary.
///
/// The options say what is the default, and are a check: after a query in the same transaction, which
/// the empty one before is, PostgreSQL accepts no isolation level but the present one, and no `READ WRITE`
/// in a transaction that is read only, as every one on a standby is. It costs half of asking for the
/// settings in the query that takes the lock. Why it fails, [`why_refused`] tells.
pub(crate) fn begin_checked(set: &LockSet<'_>) -> &'static str {
    if set.on_standby {
        "SELECT; BEGIN ISOLATION LEVEL READ COMMITTED"
    } else {
        "SELECT; BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
    }
}

/// A statement that fails with a mark if [`begin_checked`] cannot succeed in this session.
pub(crate) fn why_refused(set: &LockSet<'_>) -> String {
    let other = "pg_catalog.current_setting('default_transaction_isolation') \
                 OPERATOR(pg_catalog.<>) 'read committed' \
                 OR pg_catalog.current_setting('default_transaction_read_only') \
                 OPERATOR(pg_catalog.=) 'on'";
    Guards::of(set)
        .and(other.to_owned(), SNAPSHOT_CODE, SNAPSHOT)
        .statement()
}

/// What is looked at in the statements that take the locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing: [`begin_checked`] has looked at all.
    Nothing,
    /// Whether the server is a standby.
    Standby,
    /// That, and whether the snapshot would be older than the lock.
    Snapshot,
}

/// Statements that take all locks in the open transaction, waiting for them as long as they may.
///
/// Whatever fails, the transaction holds nothing more than before once it has been rolled back (to a
/// savepoint). Behind them, `lock_timeout` is what it was.
pub(crate) fn take(set: &LockSet<'_>, look: Look) -> String {
    let guards = match look {
        Look::Nothing => Guards(Vec::new()),
        Look::Standby => Guards::of(set),
        Look::Snapshot => Guards::of(set).with_snapshot(SnapshotCheck::On),
    };
    let label = label_comment(set);
    match (&Keys::of(&set.keys())[..], Timeout::of(set)) {
        ([Keys::One(key)], None) => {
            let lock = guards.guarded_lock(*key, set.mode);
            format!("{label}SELECT WHERE {lock} IS NULL")
        }
        ([Keys::One(key)], Some(timeout)) => {
            let lock = guards.guarded_lock(*key, set.mode);
            format!("{label}SELECT WHERE {} IS NULL", timeout.around(&lock))
        }
        (all, timeout) => {
            let takes = wait_for_all(all, set, timeout.as_ref());
            let (save, restore) = match timeout {
                None => (String::new(), String::new()),
                Some(_) => (format!("SELECT {SAVE}; "), format!("; SELECT {RESTORE}")),
            };
            format!("{}{save}{label}{takes}{restore}", guards.statement())
        }
    }
}

/// `SELECT`s that wait for all locks of a set, in order. They answer with no rows: `void` is never null.
pub(super) fn wait_for_all(all: &[Keys], set: &LockSet<'_>, timeout: Option<&Timeout>) -> String {
    let selects = all.iter().map(|keys| {
        let call = keys.call("pg_advisory_xact_lock", set.mode);
        let from = keys.from();
        match timeout {
            None => format!("SELECT{from} WHERE {call} IS NULL"),
            // `CASE` keeps to its order, so the timeout is set before the lock is waited for.
            Some(timeout) => format!(
                "SELECT{from} WHERE CASE WHEN {} THEN {call} IS NULL END",
                timeout.renew()
            ),
        }
    });
    selects.collect::<Vec<_>>().join("; ")
}

/// Keeps the value of `lock_timeout` in a setting of the transaction.
pub(super) const SAVE: &str = "pg_catalog.set_config('diesel_advisory.lock_timeout', \
                               pg_catalog.current_setting('lock_timeout'), true)";

/// Gives `lock_timeout` its value back.
const RESTORE: &str = "pg_catalog.set_config('lock_timeout', \
                       pg_catalog.current_setting('diesel_advisory.lock_timeout'), true)";

/// A limit that has to be set for the wait.
#[derive(Debug)]
pub(super) enum Timeout {
    Forever,
    Millis(i32),
    /// `lock_timeout` limits each wait alone. A set has one deadline, so that even the session's own
    /// timeout has to be set anew for each lock.
    Session,
}

impl Timeout {
    pub(super) fn of(set: &LockSet<'_>) -> Option<Self> {
        match set.wait {
            Wait::No => None,
            Wait::Inherit if set.locks.len() == 1 => None,
            Wait::Inherit => Some(Self::Session),
            Wait::Forever => Some(Self::Forever),
            Wait::AtMost(millis) => Some(Self::Millis(millis)),
        }
    }

    /// Waits for a single lock under the timeout, and gives `lock_timeout` its value back.
    ///
    /// The arguments of a function are evaluated in their order: the old value is read, the timeout is
    /// set, the lock is waited for, and at last the function puts the old value back.
    fn around(&self, lock: &str) -> String {
        format!(
            "pg_catalog.set_config('lock_timeout', pg_catalog.current_setting('lock_timeout'), \
             {} IS NOT NULL AND {lock} IS NOT NULL)",
            self.start()
        )
    }

    /// Sets the timeout of a single lock.
    pub(super) fn start(&self) -> String {
        match self {
            Self::Forever | Self::Session => set_timeout("'0'"),
            Self::Millis(millis) => set_timeout(&format!("'{millis}'")),
        }
    }

    /// Sets, before each lock of a set, the timeout to what is left of it. A condition that is true.
    fn renew(&self) -> String {
        /// Milliseconds since the server received the message.
        const GONE: &str = "pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() \
                            OPERATOR(pg_catalog.-) pg_catalog.statement_timestamp()) \
                            OPERATOR(pg_catalog.*) 1000";
        const SAVED: &str = "pg_catalog.current_setting('diesel_advisory.lock_timeout')";
        let left = |millis: &str| {
            set_timeout(&format!(
                "GREATEST(1, pg_catalog.ceil({millis} OPERATOR(pg_catalog.-) ({GONE})))\
                 ::int::pg_catalog.text"
            ))
        };
        match self {
            Self::Forever => format!("{} IS NOT NULL", set_timeout("'0'")),
            Self::Millis(millis) => format!("{} IS NOT NULL", left(&millis.to_string())),
            Self::Session => format!(
                "CASE WHEN {SAVED} OPERATOR(pg_catalog.<>) '0' THEN {} IS NOT NULL ELSE true END",
                left(&format!(
                    "pg_catalog.date_part('epoch', {SAVED}::interval) OPERATOR(pg_catalog.*) 1000"
                ))
            ),
        }
    }
}

fn set_timeout(value: &str) -> String {
    format!("pg_catalog.set_config('lock_timeout', {value}, true)")
}

/// `SELECT`s the [code](super::answer::Taking::of_code) of taking locks without waiting for them.
///
/// Of several locks, those before the missing one stay held.
pub(crate) fn try_take(set: &LockSet<'_>, check: SnapshotCheck) -> Statement {
    let guards = Guards::of(set).with_snapshot(check);
    let all = Keys::of(&set.keys());
    Statement::default()
        .sql(&format!("SELECT CASE{}", guards.codes()))
        .add(match &all[..] {
            [key @ Keys::One(_)] => Statement::default()
                .sql(" WHEN ")
                .add(key.call("pg_try_advisory_xact_lock", set.mode))
                .sql(" THEN 0 ELSE 1"),
            all => Statement::default()
                .sql(" WHEN true THEN ")
                .add(first_refused(
                    all,
                    "pg_try_advisory_xact_lock",
                    set.mode,
                    None,
                )),
        })
        .sql(" END AS code FOR UPDATE")
}

/// The same as [`try_take`], as a statement that fails with the position of the lock that is not free.
pub(crate) fn try_take_or_fail(set: &LockSet<'_>) -> String {
    let code = code_expression(set);
    format!(
        "{}SELECT (CASE WHEN s.code OPERATOR(pg_catalog.=) 0 THEN '0' \
         ELSE pg_catalog.concat('{MARK}{NOT_FREE}', s.code) END)::int \
         FROM (SELECT {code} AS code OFFSET 0) AS s",
        Guards::of(set).statement()
    )
}

/// What [`try_take`] selects where nothing is looked at, as an expression.
fn code_expression(set: &LockSet<'_>) -> Statement {
    first_refused(
        &Keys::of(&set.keys()),
        "pg_try_advisory_xact_lock",
        set.mode,
        None,
    )
}

/// Up to how many locks are taken for the session by one row of calls, which nothing interrupts: all of
/// them are held, or none. PostgreSQL limits a row to 1,664 columns.
pub(crate) const AT_ONCE: usize = 1_000;

/// `SELECT`s that take locks for the session.
pub(super) fn keep(set: &LockSet<'_>) -> String {
    if set.locks.len() > AT_ONCE {
        return for_all(set, "pg_advisory_lock", "");
    }
    let calls = set.locks.iter().map(|lock| {
        Keys::One(lock.key)
            .call("pg_advisory_lock", set.mode)
            .to_string()
    });
    format!("SELECT {}", calls.collect::<Vec<_>>().join(", "))
}

/// Statements that take locks for the session which the transaction holds already: they are granted at
/// once, and outlive the transaction.
pub(crate) fn carry_out(set: &LockSet<'_>) -> String {
    format!(
        "SELECT pg_catalog.pg_advisory_lock({CARRIED}); {}",
        keep(set)
    )
}

/// Statements that turn the locks of [`carry_out`] into locks of the present transaction. They wait for
/// nothing, because the session holds the locks already.
pub(crate) fn carry_in(set: &LockSet<'_>) -> String {
    let take = for_all(set, "pg_advisory_xact_lock", "");
    format!("{take}; {}", put_down(set, ""))
}

/// The key of a session lock that says: this session has taken others in [`carry_out`].
///
/// A session may have held the same locks before, and PostgreSQL does not tell how often it holds
/// them. This one it holds only for that, and has its own process id in it.
const CARRIED: &str = "'1685283442'::int, pg_catalog.pg_backend_pid()";

/// Statements that release the session locks of [`carry_out`], if they are still there.
pub(crate) fn drop_carried(set: &LockSet<'_>) -> String {
    put_down(
        set,
        "EXISTS (SELECT FROM pg_catalog.pg_locks AS c \
         WHERE c.locktype OPERATOR(pg_catalog.=) 'advisory' \
         AND c.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() \
         AND c.classid OPERATOR(pg_catalog.=) '1685283442'::pg_catalog.oid \
         AND c.objid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()::pg_catalog.oid \
         AND c.objsubid OPERATOR(pg_catalog.=) 2)",
    )
}

/// Releases the locks that were carried, and at last the one that says so.
fn put_down(set: &LockSet<'_>, condition: &str) -> String {
    let last = when(
        condition,
        &format!("pg_catalog.pg_advisory_unlock({CARRIED})"),
    );
    format!(
        "{}; SELECT {last}",
        for_all(set, "pg_advisory_unlock", condition)
    )
}

/// `SELECT`s that call a function for all locks, where the condition is true.
fn for_all(set: &LockSet<'_>, function: &str, condition: &str) -> String {
    let selects = Keys::of(&set.keys())
        .iter()
        .map(|keys| {
            let call = keys.call(function, set.mode).to_string();
            format!("SELECT {}{}", when(condition, &call), keys.from())
        })
        .collect::<Vec<_>>();
    selects.join("; ")
}

fn when(condition: &str, call: &str) -> String {
    if condition.is_empty() {
        call.to_owned()
    } else {
        format!("CASE WHEN {condition} THEN {call} END")
    }
}

/// The same as [`carry_out`] without waiting: it keeps what [`try_take`] selects in a setting of the
/// session, and takes the locks for the session if they were all free.
pub(crate) fn try_carry_out(set: &LockSet<'_>) -> String {
    let code = code_expression(set);
    let mark = when(GRANTED, &format!("pg_catalog.pg_advisory_lock({CARRIED})"));
    format!(
        "{}SELECT pg_catalog.set_config('{CODE_SETTING}', ({code})::pg_catalog.text, false); \
         SELECT {mark}; {}",
        Guards::of(set).statement(),
        for_all(set, "pg_advisory_lock", GRANTED)
    )
}

const CODE_SETTING: &str = "diesel_advisory.code";
const CODE: &str = "pg_catalog.current_setting('diesel_advisory.code')";
const GRANTED: &str =
    "pg_catalog.current_setting('diesel_advisory.code') OPERATOR(pg_catalog.=) '0'";

/// The same as [`carry_in`], if [`try_carry_out`] has taken the locks.
pub(crate) fn try_carry_in(set: &LockSet<'_>) -> String {
    let take = for_all(set, "pg_advisory_xact_lock", GRANTED);
    format!("{take}; {}", put_down(set, GRANTED))
}

/// `SELECT`s what [`try_carry_out`] has kept.
pub(crate) fn carried_code() -> Statement {
    Statement::default().sql(&format!("SELECT {CODE}::int AS code FOR UPDATE"))
}
