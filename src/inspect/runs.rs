//! A row of [`runs`](super::runs()).

use std::time::{Duration, SystemTime};

use diesel::deserialize::{self, Queryable};
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Double, Nullable, Text};

use super::advisory_runs;

/// The last run of a job that runs [at most once in a while](crate::AdvisoryTransaction::at_most_every).
///
/// Times are those of this machine's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Run {
    /// The name of the job, which is that of its lock.
    pub name: String,
    /// When it was started.
    pub started_at: SystemTime,
    /// The session that started it: `pid 4711 (web-3)`, with its `application_name` in parentheses.
    pub started_by: Option<String>,
    /// When it was done. `None` if it runs still, has failed or has crashed: it runs as long as its lock is
    /// [held](crate::AdvisoryConnection::is_advisory_locked).
    pub finished_at: Option<SystemTime>,
    /// Whether the job is never to run again.
    pub once: bool,
}

impl Selectable<Pg> for Run {
    type SelectExpression = (
        advisory_runs::name,
        SqlLiteral<Nullable<Double>>,
        advisory_runs::started_by,
        SqlLiteral<Nullable<Double>>,
        advisory_runs::once,
    );

    fn construct_selection() -> Self::SelectExpression {
        // Ages, because the clocks of two machines differ.
        (
            advisory_runs::name,
            sql(
                "CASE WHEN pg_catalog.isfinite(runs.started_at) THEN extract(epoch FROM \
                 pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) runs.started_at)::pg_catalog.float8 END",
            ),
            advisory_runs::started_by,
            sql(
                "CASE WHEN pg_catalog.isfinite(runs.finished_at) THEN extract(epoch FROM \
                 pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) runs.finished_at)::pg_catalog.float8 END",
            ),
            advisory_runs::once,
        )
    }
}

type SqlTypes = (
    Text,
    Nullable<Double>,
    Nullable<Text>,
    Nullable<Double>,
    Bool,
);

impl Queryable<SqlTypes, Pg> for Run {
    type Row = (String, Option<f64>, Option<String>, Option<f64>, bool);

    fn build(row: Self::Row) -> deserialize::Result<Self> {
        let (name, started, started_by, finished, once) = row;
        let now = SystemTime::now();
        let before = |age: f64| {
            let distance = Duration::try_from_secs_f64(age.abs()).ok()?;
            if age < 0.0 {
                now.checked_add(distance)
            } else {
                now.checked_sub(distance)
            }
        };
        Ok(Self {
            name,
            started_at: started.and_then(before).unwrap_or(now),
            started_by,
            finished_at: finished.and_then(before),
            once,
        })
    }
}
