//! What a client does: written once, and compiled for both kinds of connection.

use diesel::prelude::QueryableByName;
use diesel::sql_types::{Integer, Text};
use diesel_advisory::Error;

use super::super::plan::{Plan, Scope};
use super::MOST_PREPARED;
use super::side::queries::RunQueryDsl as _;
use super::side::*;
use crate::support::at_level;

#[derive(Debug, QueryableByName)]
struct Guarded {
    #[diesel(sql_type = Integer)]
    id: i32,
    #[diesel(sql_type = Integer)]
    value: i32,
    #[diesel(sql_type = Text)]
    began: String,
}

/// The lock of a plan, as it is wanted.
macro_rules! planned {
    ($plan:expr, $lock:expr) => {{
        let lock = $plan.wait.on($lock);
        if $plan.shared { lock.shared() } else { lock }
    }};
}

/// Carries out a plan: whether the lock was granted.
#[helper]
pub(crate) async fn carry_out(conn: &mut Conn, plan: &Plan) -> Result<bool, Error> {
    match plan.scope {
        Scope::Transaction => {
            let lock = planned!(plan, conn.advisory_all(plan.names()));
            let lock = at_level!(plan.level, lock);
            let done = lock.try_run(async |conn| work(conn, plan).await).await?;
            Ok(done.is_some())
        }
        Scope::Xact => {
            conn.transaction(async |conn| {
                let lock = planned!(plan, conn.advisory_xact_all(plan.names()));
                let granted = lock.try_acquire().await?;
                if granted {
                    work(conn, plan).await?;
                }
                Ok(granted)
            })
            .await
        }
        Scope::Session => {
            let lock = planned!(plan, conn.advisory_session_all(plan.names()));
            let done = lock.try_run(async |conn| work(conn, plan).await).await?;
            Ok(done.is_some())
        }
        Scope::Guard => {
            let lock = planned!(plan, conn.advisory_session_all(plan.names()));
            let Some(mut held) = lock.try_acquire().await? else {
                return Ok(false);
            };
            work(&mut held, plan).await?;
            if plan.released {
                held.release().await?;
            }
            Ok(true)
        }
    }
}

#[helper]
async fn work(conn: &mut Conn, plan: &Plan) -> Result<(), Error> {
    let read: Vec<Guarded> = diesel::sql_query(plan.read()).load(conn).await?;
    let read: Vec<_> = read
        .into_iter()
        .map(|row| (row.id, row.value, row.began))
        .collect();
    diesel::sql_query(plan.write(&read)).execute(conn).await?;
    Ok(())
}

/// Whether the connection works. If it does, its session is outside of any transaction, holds no lock,
/// and has no more prepared statements than this crate has forms of queries.
#[helper]
pub(crate) async fn is_left_clean(conn: &mut Conn) -> bool {
    const LEFT: &str = "SELECT count(*)::int AS value FROM pg_locks \
                        WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
    const PREPARED: &str = "SELECT count(*)::int AS value FROM pg_prepared_statements";

    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Integer)]
        value: i32,
    }
    let savepoint = conn.batch_execute("SAVEPOINT outside").await;
    assert!(savepoint.is_err(), "a transaction is open");
    for (left, at_most) in [(LEFT, 0), (PREPARED, MOST_PREPARED)] {
        let row = diesel::sql_query(left).get_result::<Row>(conn).await;
        let Ok(Row { value }) = row else {
            return false;
        };
        assert!(value <= at_most, "{left}: {value}");
    }
    true
}
