//! The keys of a set, as the advisory lock functions take them.

use std::fmt::Write as _;

use super::push;
use super::statement::{Statement, Value};
use crate::lock::key::LockKey;
use crate::lock::request::Mode;
use crate::lock::set::LockSet;

/// Keys that one expression takes: a single key, or all keys of one form.
///
/// A set is an array, and not as many calls: PostgreSQL has limits for those, of 1,664 columns and of the
/// depth of an expression.
#[derive(Debug)]
pub(super) enum Keys {
    One(LockKey),
    /// Rows that `FROM` yields, one for each key, in order.
    Rows {
        rows: Statement,
        arguments: &'static str,
        len: usize,
    },
}

impl Keys {
    /// All keys of a set, in its order: those of one number come before those of two.
    pub(super) fn of(keys: &[LockKey]) -> Vec<Self> {
        if let [key] = keys {
            return vec![Self::One(*key)];
        }
        let mut singles = Vec::new();
        let (mut firsts, mut seconds) = (Vec::new(), Vec::new());
        for key in keys {
            match *key {
                LockKey::BigInt(key) => singles.push(key),
                LockKey::Pair(first, second) => {
                    firsts.push(first);
                    seconds.push(second);
                }
            }
        }
        let mut all = Vec::new();
        if !singles.is_empty() {
            all.push(Self::Rows {
                len: singles.len(),
                rows: Statement::default()
                    .sql("pg_catalog.unnest(")
                    .value(Value::BigInts(singles))
                    .sql(") WITH ORDINALITY AS l (k, i)"),
                arguments: "l.k",
            });
        }
        if !firsts.is_empty() {
            all.push(Self::Rows {
                len: firsts.len(),
                // With two arguments `unnest` is syntax, which no `search_path` changes, and which must
                // not be qualified.
                rows: Statement::default()
                    .sql("unnest(")
                    .value(Value::Integers(firsts))
                    .sql(", ")
                    .value(Value::Integers(seconds))
                    .sql(") WITH ORDINALITY AS l (a, b, i)"),
                arguments: "l.a, l.b",
            });
        }
        all
    }

    fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Rows { len, .. } => *len,
        }
    }

    /// The call of one of the advisory lock functions.
    pub(super) fn call(&self, function: &str, mode: Mode) -> Statement {
        let open = Statement::default()
            .sql("pg_catalog.")
            .sql(function)
            .sql(open_arguments(mode));
        let call = match self {
            Self::One(LockKey::BigInt(key)) => open.value(Value::BigInt(*key)),
            Self::One(LockKey::Pair(first, second)) => open
                .value(Value::Integer(*first))
                .sql(", ")
                .value(Value::Integer(*second)),
            Self::Rows { arguments, .. } => open.sql(arguments),
        };
        call.sql(")")
    }

    /// `FROM` and what yields the keys, or nothing for a single key.
    pub(super) fn from(&self) -> Statement {
        match self {
            Self::One(_) => Statement::default(),
            Self::Rows { rows, .. } => Statement::default().sql(" FROM ").add(rows.clone()),
        }
    }

    /// `SELECT`s the position of the first key for which a function returns false, or nothing. It is
    /// called for no key after that one.
    pub(super) fn first_refused(&self, function: &str, mode: Mode, before: usize) -> Statement {
        let call = self.call(function, mode);
        if let Self::One(_) = self {
            return Statement::default()
                .sql("CASE WHEN NOT ")
                .add(call)
                .sql(&format!(" THEN {} END", before + 1));
        }
        Statement::default()
            .sql(&format!(
                "(SELECT (l.i OPERATOR(pg_catalog.+) {before})::int"
            ))
            .add(self.from())
            .sql(" WHERE NOT ")
            .add(call)
            .sql(" LIMIT 1)")
    }
}

/// The position of the first key of all for which a function returns false, as an expression; else what
/// `then` is, unless that is null; else 0.
///
/// `COALESCE` evaluates its arguments in order, and none after the first that is not null.
pub(super) fn first_refused(
    all: &[Keys],
    function: &str,
    mode: Mode,
    then: Option<Statement>,
) -> Statement {
    let mut before = 0;
    let mut expression = Statement::default().sql("COALESCE(");
    for keys in all {
        expression = expression
            .add(keys.first_refused(function, mode, before))
            .sql(", ");
        before += keys.len();
    }
    if let Some(then) = then {
        expression = expression.add(then).sql(", ");
    }
    expression.sql("0)")
}

/// Adds the text of a call for a single key, which is written for each lock.
pub(super) fn push_call(sql: &mut String, key: LockKey, function: &str, mode: Mode) {
    push(sql, &["pg_catalog.", function, open_arguments(mode)]);
    match key {
        LockKey::BigInt(key) => push_value(sql, &Value::BigInt(key)),
        LockKey::Pair(first, second) => {
            push_value(sql, &Value::Integer(first));
            sql.push_str(", ");
            push_value(sql, &Value::Integer(second));
        }
    }
    sql.push(')');
}

/// Adds the calls for all locks of a set, with something between them.
pub(super) fn push_calls(sql: &mut String, set: &LockSet<'_>, function: &str, between: &str) {
    for (index, lock) in set.locks.iter().enumerate() {
        if index > 0 {
            sql.push_str(between);
        }
        push_call(sql, lock.key, function, set.mode);
    }
}

fn push_value(sql: &mut String, value: &Value) {
    let _ = write!(sql, "{value}");
}

/// What follows the name of an advisory lock function, up to its arguments.
fn open_arguments(mode: Mode) -> &'static str {
    match mode {
        Mode::Exclusive => "(",
        Mode::Share => "_shared(",
    }
}
