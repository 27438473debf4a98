//! Marks on a session that tell when several clients share it.
//!
//! A session lock keeps clients apart only if each has a session of its own. Behind a pooler in
//! transaction mode they have not: each is granted the lock as a re-entrant one, and releases it with
//! success. So taking a lock puts a mark on top of a setting of the session, and releasing takes it off.
//! Guards of one connection nest, so a mark of another process on top, or another mark than the guard's
//! own at its release, is that of another client in the same session.

use std::fmt::{self, Write as _};
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::push;
use super::statement::{Statement, Value};

/// The setting that the marks stand in, the last one first.
///
/// A literal `true` is parsed as a cast, by the name of its type. A bare `'t'` is not.
const MARKS: &str = "pg_catalog.current_setting('diesel_advisory.guards', 't')";

/// Gives it another value, which stands behind this, with `'f'` for "not only in this transaction".
const SET: &str = "pg_catalog.set_config('diesel_advisory.guards', ";

/// What stands there once a session is known to be shared. It is no mark of anybody.
const SHARED: &str = "shared";

/// The mark of one guard: 8 hexadecimal digits of the process, and 8 of the guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    process: u32,
    guard: u32,
}

impl Mark {
    pub(crate) fn new() -> Self {
        static GUARDS: AtomicU32 = AtomicU32::new(0);
        Self {
            process: process(),
            guard: GUARDS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Adds the condition that the mark on top is that of another process. Not true where there is none.
    pub(super) fn push_is_foreign(self, sql: &mut String) {
        let _ = write!(
            sql,
            "NOT pg_catalog.starts_with('{:08x}', pg_catalog.left({MARKS}, 8))",
            self.process
        );
    }

    /// Adds an expression that puts the mark on top: a condition that what is under it is a mark of another
    /// process.
    ///
    /// To look at the setting once and not twice saves a tenth of the lock. A statement that fails leaves
    /// the setting as it was.
    pub(super) fn push_lands_on_foreign(self, sql: &mut String) {
        let mark = self.to_string();
        let process = &mark[..8];
        let pieces = [
            "NOT pg_catalog.starts_with('",
            &mark,
            process,
            "', pg_catalog.left(",
            SET,
            "pg_catalog.concat('",
            &mark,
            "', ",
            MARKS,
            "), 'f'), 24))",
        ];
        push(sql, &pieces);
    }

    /// The condition that the session has any mark: that it holds other locks.
    pub(super) fn is_any() -> String {
        [MARKS, " OPERATOR(pg_catalog.<>) ''"].concat()
    }

    /// An expression that puts the mark on top.
    pub(super) fn push(self) -> Statement {
        Statement::default()
            .sql(SET)
            .sql("pg_catalog.concat(")
            .value(Value::Text(self.to_string()))
            .sql(", ")
            .sql(MARKS)
            .sql("), 'f')")
    }

    /// Adds the condition that the mark is on top.
    pub(super) fn push_is_on_top(self, sql: &mut String) {
        let _ = write!(sql, "pg_catalog.starts_with({MARKS}, '{self}')");
    }

    /// The same condition for a query that can be prepared, which has one text for all marks.
    pub(super) fn is_seen_on_top(self) -> Statement {
        Statement::default()
            .sql("pg_catalog.starts_with(")
            .sql(MARKS)
            .sql(", ")
            .value(Value::Text(self.to_string()))
            .sql(")")
    }

    /// Adds an expression that takes the mark on top off.
    pub(super) fn push_pop(sql: &mut String) {
        push(sql, &[SET, "pg_catalog.substr(", MARKS, ", 17), 'f')"]);
    }

    /// A statement that takes the mark out, wherever it stands.
    pub(crate) fn forget(self) -> String {
        format!("SELECT {SET}pg_catalog.replace({MARKS}, '{self}', ''), 'f') FOR UPDATE")
    }
}

/// A random number that stays the same for this process.
pub(super) fn process() -> u32 {
    static PROCESS: OnceLock<u32> = OnceLock::new();
    *PROCESS.get_or_init(|| {
        let [a, b, c, d, ..] = RandomState::new()
            .hash_one(std::process::id())
            .to_ne_bytes();
        u32::from_ne_bytes([a, b, c, d])
    })
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}{:08x}", self.process, self.guard)
    }
}

/// Tells all clients of the session, whichever it is by now, that it is shared.
///
/// A session without any mark has lost its settings, and is not shared for that.
pub(crate) fn tell_others() -> String {
    let is_any = Mark::is_any();
    format!("SELECT CASE WHEN {is_any} THEN {SET}'{SHARED}', 'f') END FOR UPDATE")
}
