//! The SQL that takes locks in a transaction.

use std::fmt::Display;

use super::answer::{MARK, SNAPSHOT, SNAPSHOT_CODE, STANDBY, STANDBY_CODE};
use super::keys::{Keys, first_refused, function_name};
use super::label_comment;
use super::statement::Statement;
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
        let whens: String = self
            .0
            .iter()
            .map(|(condition, _, text)| format!(" WHEN {condition} THEN '{MARK}{text}'"))
            .collect();
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
        self.0
            .iter()
            .map(|(condition, code, _)| format!(" WHEN {condition} THEN {code}"))
            .collect()
    }

    /// A call that waits for a lock, and whose key cannot be read if a guard refuses.
    pub(super) fn guarded_lock(&self, key: LockKey, mode: Mode) -> String {
        let open = function_name("pg_advisory_xact_lock", mode);
        match key {
            LockKey::BigInt(key) => format!("{open}{}::bigint)", self.or_number(key)),
            LockKey::Pair(first, second) => {
                format!("{open}{}::int, '{second}'::int)", self.or_number(first))
            }
        }
    }
}

/// Statements that take all locks in the open transaction, waiting for them as long as they may.
///
/// Whatever fails, the transaction holds nothing more than before once it has been rolled back (to a
/// savepoint). Behind them, `lock_timeout` is what it was.
pub(crate) fn take(set: &LockSet<'_>, check: SnapshotCheck) -> String {
    let guards = Guards::of(set).with_snapshot(check);
    let label = label_comment(set);
    match (&Keys::of(&set.keys())[..], Timeout::of(set)) {
        ([Keys::One(key)], None) => {
            format!("{label}SELECT {}", guards.guarded_lock(*key, set.mode))
        }
        ([Keys::One(key)], Some(timeout)) => {
            let (start, lock) = (timeout.start(), guards.guarded_lock(*key, set.mode));
            format!("{label}SELECT {SAVE}, {start}, {lock}, {RESTORE}")
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

/// `SELECT`s that wait for all locks of a set, in order.
pub(super) fn wait_for_all(all: &[Keys], set: &LockSet<'_>, timeout: Option<&Timeout>) -> String {
    let selects = all.iter().map(|keys| {
        let renew = timeout.map(|timeout| format!("{}, ", timeout.renew()));
        format!(
            "SELECT {}{}{}",
            renew.unwrap_or_default(),
            keys.call("pg_advisory_xact_lock", set.mode),
            keys.from()
        )
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

    /// Sets the timeout of a single lock.
    pub(super) fn start(&self) -> String {
        match self {
            Self::Forever | Self::Session => set_timeout("'0'"),
            Self::Millis(millis) => set_timeout(&format!("'{millis}'")),
        }
    }

    /// Sets, before each lock of a set, the timeout to what is left of it.
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
            Self::Forever => set_timeout("'0'"),
            Self::Millis(millis) => left(&millis.to_string()),
            Self::Session => format!(
                "CASE WHEN {SAVED} OPERATOR(pg_catalog.<>) '0' THEN {} END",
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

/// Statements that take locks for the session which the transaction holds already: they are granted at
/// once, and outlive the transaction.
pub(crate) fn carry_out(set: &LockSet<'_>) -> String {
    for_all(set, "pg_advisory_lock", "; ")
}

/// Statements that turn the locks of [`carry_out`] into locks of the present transaction. They wait for
/// nothing, because the session holds the locks already.
pub(crate) fn carry_in(set: &LockSet<'_>) -> String {
    let take = for_all(set, "pg_advisory_xact_lock", "; ");
    format!("{take}; {}", for_all(set, "pg_advisory_unlock", "; "))
}

fn for_all(set: &LockSet<'_>, function: &str, separator: &str) -> String {
    let selects = Keys::of(&set.keys())
        .iter()
        .map(|keys| format!("SELECT {}{}", keys.call(function, set.mode), keys.from()))
        .collect::<Vec<_>>();
    selects.join(separator)
}

/// Keeps what [`try_take`] selects in a setting of the session, and takes the locks for the session if
/// they were all free.
pub(crate) fn try_carry_out(set: &LockSet<'_>) -> String {
    let mut code = try_take(set, SnapshotCheck::Off).to_string();
    code.truncate(code.rfind(" AS code").unwrap_or(code.len()));
    let keep = Keys::of(&set.keys())
        .iter()
        .map(|keys| {
            format!(
                "SELECT CASE WHEN {CODE} OPERATOR(pg_catalog.=) '0' THEN {} END{}",
                keys.call("pg_try_advisory_lock", set.mode),
                keys.from()
            )
        })
        .collect::<Vec<_>>();
    format!(
        "SELECT pg_catalog.set_config('{CODE_SETTING}', (({code})::int)::pg_catalog.text, false); {}",
        keep.join("; ")
    )
}

const CODE_SETTING: &str = "diesel_advisory.code";
const CODE: &str = "pg_catalog.current_setting('diesel_advisory.code')";

/// The same as [`carry_in`], if [`try_carry_out`] has taken the locks.
pub(crate) fn try_carry_in(set: &LockSet<'_>) -> String {
    let pieces = |function| {
        Keys::of(&set.keys())
            .iter()
            .map(|keys| {
                format!(
                    "SELECT CASE WHEN {CODE} OPERATOR(pg_catalog.=) '0' THEN {} END{}",
                    keys.call(function, set.mode),
                    keys.from()
                )
            })
            .collect::<Vec<_>>()
            .join("; ")
    };
    format!(
        "{}; {}",
        pieces("pg_try_advisory_xact_lock"),
        pieces("pg_advisory_unlock")
    )
}

/// `SELECT`s what [`try_carry_out`] has kept.
pub(crate) fn carried_code() -> Statement {
    Statement::default().sql(&format!("SELECT {CODE}::int AS code FOR UPDATE"))
}
