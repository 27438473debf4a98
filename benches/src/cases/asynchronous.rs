//! Connections of diesel-async.

use std::time::{Duration, Instant};

use diesel::sql_query;
use diesel::sql_types::BigInt;
use diesel::{QueryResult, select};
use diesel_advisory::functions::{pg_advisory_lock, pg_advisory_unlock, pg_advisory_xact_lock};
use diesel_advisory::{AsyncAdvisoryConnection, Error};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
    TransactionManager,
};

use super::{Call, Case, Lock, Operation, Who};
use crate::TIMEOUT;

type Run = for<'a> fn(&'a mut AsyncPgConnection, &'a Lock) -> Call<'a, QueryResult<()>>;
pub(crate) type AsyncCase = Case<Run>;

pub(crate) async fn connect(url: &str) -> AsyncPgConnection {
    let conn = AsyncPgConnection::establish(url).await;
    conn.expect("PostgreSQL answers")
}

impl AsyncCase {
    /// Takes the lock and ends it, and tells how long that took.
    pub(crate) async fn time(&self, conn: &mut AsyncPgConnection, lock: &Lock) -> Duration {
        let inside = self.operation.is_inside();
        if inside {
            let begun = AnsiTransactionManager::begin_transaction(conn).await;
            begun.expect("BEGIN");
        }
        let began = Instant::now();
        let done = (self.run)(conn, lock).await;
        let elapsed = began.elapsed();
        done.unwrap_or_else(|error| panic!("{self:?}: {error}"));
        if inside {
            let committed = AnsiTransactionManager::commit_transaction(conn).await;
            committed.expect("COMMIT");
        }
        elapsed
    }
}

/// A case whose steps are awaited one after the other.
macro_rules! case {
    ($operation:ident, $who:ident, |$conn:ident, $lock:ident| $steps:expr) => {
        Case {
            operation: Operation::$operation,
            who: Who::$who,
            run: |$conn, $lock| Box::pin(async move { $steps }),
        }
    };
}

pub(crate) const CASES: &[AsyncCase] = &[
    case!(OwnTransaction, Floor, |conn, lock| {
        conn.batch_execute(&lock.begin).await?;
        conn.batch_execute("COMMIT").await
    }),
    case!(OwnTransaction, Advisory, |conn, lock| {
        conn.advisory(&*lock.name).run(async |_| Ok(())).await
    }),
    case!(OwnTransaction, SqlQuery, |conn, lock| {
        let work = async |conn: &mut AsyncPgConnection| take_by_hand(conn, lock).await;
        conn.transaction(work).await
    }),
    case!(OwnTransaction, Select, |conn, lock| {
        let work = async |conn: &mut AsyncPgConnection| select_take(conn, lock).await;
        conn.transaction(work).await
    }),
    case!(OwnTransactionTimed, Advisory, |conn, lock| {
        let lock = conn.advisory(&*lock.name).timeout(TIMEOUT);
        lock.run(async |_| Ok(())).await
    }),
    case!(OwnTransactionTimed, Select, |conn, lock| {
        let work = async |conn: &mut AsyncPgConnection| {
            let set = "SET LOCAL lock_timeout = '10s'";
            conn.batch_execute(set).await?;
            select_take(conn, lock).await?;
            let reset = "SET LOCAL lock_timeout TO DEFAULT";
            conn.batch_execute(reset).await
        };
        conn.transaction(work).await
    }),
    case!(OwnTransactionNoWait, Floor, |conn, lock| {
        conn.batch_execute("BEGIN").await?;
        conn.batch_execute(&lock.try_take).await?;
        conn.batch_execute("COMMIT").await
    }),
    case!(OwnTransactionNoWait, Advisory, |conn, lock| {
        let lock = conn.advisory(&*lock.name).no_wait();
        let ran = lock.try_run(async |_| QueryResult::Ok(())).await?;
        ran.ok_or(diesel::NotFound)
    }),
    case!(OpenTransaction, Floor, |conn, lock| {
        conn.batch_execute("BEGIN").await?;
        conn.batch_execute(&lock.take).await?;
        conn.batch_execute("COMMIT").await
    }),
    case!(OpenTransaction, Advisory, |conn, lock| {
        let work = async |conn: &mut AsyncPgConnection| {
            plain(conn.advisory_xact(&*lock.name).acquire().await)
        };
        conn.transaction(work).await
    }),
    case!(InsideAlone, Floor, |conn, lock| {
        conn.batch_execute(&lock.take).await
    }),
    case!(InsideAlone, Advisory, |conn, lock| {
        plain(conn.advisory_xact(&*lock.name).acquire().await)
    }),
    case!(InsideAlone, Select, |conn, lock| {
        select_take(conn, lock).await
    }),
    case!(InsideTimedAlone, Advisory, |conn, lock| {
        let lock = conn.advisory_xact(&*lock.name).timeout(TIMEOUT);
        plain(lock.acquire().await)
    }),
    case!(Session, Floor, |conn, lock| {
        conn.batch_execute(&lock.session).await?;
        conn.batch_execute(&lock.release).await
    }),
    case!(Session, Advisory, |conn, lock| {
        let held = conn.advisory_session(&*lock.name).acquire().await?;
        plain(held.release().await)
    }),
    case!(Session, SqlQuery, |conn, lock| {
        let take = sql_query("SELECT pg_advisory_lock($1)").bind::<BigInt, _>(lock.key);
        take.execute(conn).await?;
        let release = sql_query("SELECT pg_advisory_unlock($1)").bind::<BigInt, _>(lock.key);
        release.execute(conn).await.map(drop)
    }),
    case!(Session, Select, |conn, lock| {
        let take = select(pg_advisory_lock(lock.key));
        take.execute(conn).await?;
        let released = select(pg_advisory_unlock(lock.key));
        let released: bool = released.get_result(conn).await?;
        released.then_some(()).ok_or(diesel::NotFound)
    }),
    case!(SessionTimed, Advisory, |conn, lock| {
        let lock = conn.advisory_session(&*lock.name).timeout(TIMEOUT);
        plain(lock.acquire().await?.release().await)
    }),
];

fn plain(result: Result<(), Error>) -> QueryResult<()> {
    result.map_err(Into::into)
}

async fn take_by_hand(conn: &mut AsyncPgConnection, lock: &Lock) -> QueryResult<()> {
    let take = sql_query("SELECT pg_advisory_xact_lock($1)").bind::<BigInt, _>(lock.key);
    take.execute(conn).await.map(drop)
}

async fn select_take(conn: &mut AsyncPgConnection, lock: &Lock) -> QueryResult<()> {
    let take = select(pg_advisory_xact_lock(lock.key));
    take.execute(conn).await.map(drop)
}
