//! A query whose keys are literals on a blocking connection, and parameters on an asynchronous one.

use std::{fmt, iter};

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Integer, Text};
use diesel::{QueryResult, RunQueryDsl};

/// A `SELECT` of one number.
///
/// With parameters it has the same text for all locks, so that `diesel-async` prepares it once for each
/// connection. A blocking connection prepares nothing, which a pooler in transaction mode might not know
/// of, and gets literals.
#[derive(Debug, Clone, Default)]
pub(crate) struct Statement {
    /// The text without the values.
    sql: String,
    /// Each with its place in the text, in order.
    values: Vec<(usize, Value)>,
}

/// A value that stands in a statement.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    BigInt(i64),
    Integer(i32),
    /// Of hexadecimal digits.
    Text(String),
    BigInts(Vec<i64>),
    Integers(Vec<i32>),
}

impl Statement {
    pub(super) fn sql(mut self, sql: &str) -> Self {
        if self.sql.is_empty() {
            // Room for what follows, so that it is seldom moved.
            self.sql.reserve(512);
        }
        self.sql.push_str(sql);
        self
    }

    pub(super) fn value(mut self, value: Value) -> Self {
        self.values.push((self.sql.len(), value));
        self
    }

    pub(super) fn add(self, other: Self) -> Self {
        let mut all = self.sql(&other.sql);
        let moved = all.sql.len() - other.sql.len();
        let values = other.values.into_iter();
        all.values
            .extend(values.map(|(at, value)| (moved + at, value)));
        all
    }

    /// The text before each value, with the value, and the text behind the last one.
    fn pieces(&self) -> (impl Iterator<Item = (&str, &Value)>, &str) {
        let begins = iter::once(0).chain(self.values.iter().map(|(at, _)| *at));
        let pieces = begins.zip(&self.values);
        let rest = self.values.last().map_or(0, |(at, _)| *at);
        (
            pieces.map(|(begin, (end, value))| (&self.sql[begin..*end], value)),
            &self.sql[rest..],
        )
    }
}

/// The text with literals.
impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pieces, rest) = self.pieces();
        for (sql, value) in pieces {
            f.write_str(sql)?;
            value.fmt(f)?;
        }
        f.write_str(rest)
    }
}

/// Quoted and cast: a bare `-9223372036854775808` would be a `numeric`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A number that is no `int` is read as a `bigint`, which is cheaper than a cast.
            Self::BigInt(key) if i32::try_from(*key).is_err() && *key > i64::MIN => {
                write!(f, "{key}")
            }
            Self::BigInt(key) => write!(f, "'{key}'::bigint"),
            Self::Integer(key) => write!(f, "'{key}'::int"),
            Self::Text(digits) => write!(f, "'{digits}'::pg_catalog.text"),
            Self::BigInts(keys) => write!(f, "'{{{}}}'::bigint[]", Commas(keys)),
            Self::Integers(keys) => write!(f, "'{{{}}}'::int[]", Commas(keys)),
        }
    }
}

struct Commas<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Commas<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            item.fmt(f)?;
        }
        Ok(())
    }
}

/// The text with parameters.
impl QueryFragment<Pg> for Statement {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let (pieces, rest) = self.pieces();
        for (sql, value) in pieces {
            out.push_sql(sql);
            match value {
                Value::BigInt(key) => out.push_bind_param::<BigInt, _>(key)?,
                Value::Integer(key) => out.push_bind_param::<Integer, _>(key)?,
                Value::Text(digits) => out.push_bind_param::<Text, _>(digits)?,
                Value::BigInts(keys) => out.push_bind_param::<Array<BigInt>, _>(keys)?,
                Value::Integers(keys) => out.push_bind_param::<Array<Integer>, _>(keys)?,
            }
        }
        out.push_sql(rest);
        Ok(())
    }
}

impl QueryId for Statement {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Statement {
    type SqlType = Integer;
}

impl<Conn> RunQueryDsl<Conn> for Statement {}
