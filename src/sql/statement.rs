//! A query whose keys are literals on a blocking connection, and parameters on an asynchronous one.

use std::fmt;

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
pub(crate) struct Statement(Vec<Piece>);

#[derive(Debug, Clone)]
enum Piece {
    Sql(String),
    Value(Value),
}

/// A value that stands in a statement.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    BigInt(i64),
    Integer(i32),
    /// Of digits, hexadecimal or decimal.
    Text(String),
    BigInts(Vec<i64>),
    Integers(Vec<i32>),
}

impl Statement {
    pub(super) fn sql(mut self, sql: &str) -> Self {
        if let Some(Piece::Sql(last)) = self.0.last_mut() {
            last.push_str(sql);
        } else {
            // Room for what follows, so that it is seldom moved.
            let mut piece = String::with_capacity(256);
            piece.push_str(sql);
            self.0.push(Piece::Sql(piece));
        }
        self
    }

    pub(super) fn value(mut self, value: Value) -> Self {
        self.0.push(Piece::Value(value));
        self
    }

    pub(super) fn add(self, other: Self) -> Self {
        other.0.into_iter().fold(self, |all, piece| match piece {
            Piece::Sql(sql) => all.sql(&sql),
            Piece::Value(value) => all.value(value),
        })
    }
}

/// The text with literals.
impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Sql(sql) => f.write_str(sql),
            Piece::Value(value) => value.fmt(f),
        })
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
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Sql(sql) => {
                out.push_sql(sql);
                Ok(())
            }
            Piece::Value(Value::BigInt(key)) => out.push_bind_param::<BigInt, _>(key),
            Piece::Value(Value::Integer(key)) => out.push_bind_param::<Integer, _>(key),
            Piece::Value(Value::Text(digits)) => out.push_bind_param::<Text, _>(digits),
            Piece::Value(Value::BigInts(keys)) => out.push_bind_param::<Array<BigInt>, _>(keys),
            Piece::Value(Value::Integers(keys)) => out.push_bind_param::<Array<Integer>, _>(keys),
        })
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
