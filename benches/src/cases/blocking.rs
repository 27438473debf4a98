//! Blocking connections of Diesel.

use std::time::{Duration, Instant};

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool};
use diesel_advisory::functions::{
    pg_advisory_lock, pg_advisory_unlock, pg_advisory_xact_lock, pg_try_advisory_lock,
    pg_try_advisory_xact_lock,
};
use diesel_advisory::{AdvisoryConnection, Error};

use super::{Case, Lock, Operation, Who};
use crate::TIMEOUT;

type Run = fn(&mut PgConnection, &Lock) -> QueryResult<()>;
pub(crate) type BlockingCase = Case<Run>;

pub(crate) fn connect(url: &str) -> PgConnection {
    PgConnection::establish(url).expect("PostgreSQL answers")
}

impl BlockingCase {
    /// Takes the lock and ends it, and tells how long that took.
    pub(crate) fn time(&self, conn: &mut PgConnection, lock: &Lock) -> Duration {
        let inside = self.operation.is_inside();
        if inside {
            AnsiTransactionManager::begin_transaction(conn).expect("BEGIN");
        }
        let began = Instant::now();
        let done = (self.run)(conn, lock);
        let elapsed = began.elapsed();
        done.unwrap_or_else(|error| panic!("{self:?}: {error}"));
        if inside {
            AnsiTransactionManager::commit_transaction(conn).expect("COMMIT");
        }
        elapsed
    }
}

pub(crate) const CASES: &[BlockingCase] = &[
    case(Operation::OwnTransaction, Who::Floor, |conn, lock| {
        conn.batch_execute(&lock.begin)?;
        conn.batch_execute("COMMIT")
    }),
    case(Operation::OwnTransaction, Who::Advisory, |conn, lock| {
        conn.advisory(&*lock.name).run(|_| Ok(()))
    }),
    case(Operation::OwnTransaction, Who::SqlQuery, |conn, lock| {
        conn.transaction(|conn| take_by_hand(conn, lock))
    }),
    case(Operation::OwnTransaction, Who::Select, |conn, lock| {
        conn.transaction(|conn| select_take(conn, lock))
    }),
    case(
        Operation::OwnTransactionTimed,
        Who::Advisory,
        |conn, lock| {
            let lock = conn.advisory(&*lock.name).timeout(TIMEOUT);
            lock.run(|_| Ok(()))
        },
    ),
    case(
        Operation::OwnTransactionTimed,
        Who::SqlQuery,
        |conn, lock| conn.transaction(|conn| within_timeout(conn, |conn| take_by_hand(conn, lock))),
    ),
    case(Operation::OwnTransactionTimed, Who::Select, |conn, lock| {
        conn.transaction(|conn| within_timeout(conn, |conn| select_take(conn, lock)))
    }),
    case(Operation::OwnTransactionNoWait, Who::Floor, |conn, lock| {
        conn.batch_execute("BEGIN")?;
        conn.batch_execute(&lock.try_take)?;
        conn.batch_execute("COMMIT")
    }),
    case(
        Operation::OwnTransactionNoWait,
        Who::Advisory,
        |conn, lock| {
            let ran = conn.advisory(&*lock.name).no_wait().try_run(|_| Ok(()));
            taken(ran.map(|ran: Option<()>| ran.is_some()))
        },
    ),
    case(
        Operation::OwnTransactionNoWait,
        Who::SqlQuery,
        |conn, lock| {
            conn.transaction(|conn| {
                let row: Taken = sql_query("SELECT pg_try_advisory_xact_lock($1) AS taken")
                    .bind::<BigInt, _>(lock.key)
                    .get_result(conn)?;
                taken(Ok(row.taken))
            })
        },
    ),
    case(
        Operation::OwnTransactionNoWait,
        Who::Select,
        |conn, lock| {
            conn.transaction(|conn| {
                taken(diesel::select(pg_try_advisory_xact_lock(lock.key)).get_result(conn))
            })
        },
    ),
    case(Operation::Serializable, Who::Advisory, |conn, lock| {
        conn.advisory(&*lock.name).serializable().run(|_| Ok(()))
    }),
    case(Operation::OpenTransaction, Who::Floor, |conn, lock| {
        conn.batch_execute("BEGIN")?;
        conn.batch_execute(&lock.take)?;
        conn.batch_execute("COMMIT")
    }),
    case(Operation::OpenTransaction, Who::Advisory, |conn, lock| {
        plain(conn.transaction(|conn| conn.advisory_xact(&*lock.name).acquire()))
    }),
    case(
        Operation::OpenTransactionTimed,
        Who::Advisory,
        |conn, lock| {
            plain(conn.transaction(|conn| {
                let lock = conn.advisory_xact(&*lock.name).timeout(TIMEOUT);
                lock.acquire()
            }))
        },
    ),
    case(Operation::InsideAlone, Who::Floor, |conn, lock| {
        conn.batch_execute(&lock.take)
    }),
    case(Operation::InsideAlone, Who::Advisory, |conn, lock| {
        plain(conn.advisory_xact(&*lock.name).acquire())
    }),
    case(Operation::InsideAlone, Who::SqlQuery, take_by_hand),
    case(Operation::InsideAlone, Who::Select, select_take),
    case(Operation::InsideTimedAlone, Who::Advisory, |conn, lock| {
        let lock = conn.advisory_xact(&*lock.name).timeout(TIMEOUT);
        plain(lock.acquire())
    }),
    case(Operation::InsideTimedAlone, Who::SqlQuery, |conn, lock| {
        within_timeout(conn, |conn| take_by_hand(conn, lock))
    }),
    case(Operation::InsideTimedAlone, Who::Select, |conn, lock| {
        within_timeout(conn, |conn| select_take(conn, lock))
    }),
    case(Operation::Session, Who::Floor, |conn, lock| {
        conn.batch_execute(&lock.session)?;
        conn.batch_execute(&lock.release)
    }),
    case(Operation::Session, Who::Advisory, |conn, lock| {
        plain(conn.advisory_session(&*lock.name).acquire()?.release())
    }),
    case(Operation::Session, Who::SqlQuery, |conn, lock| {
        session_by_hand(conn, lock)?;
        release_by_hand(conn, lock)
    }),
    case(Operation::Session, Who::Select, |conn, lock| {
        select_session(conn, lock)?;
        select_release(conn, lock)
    }),
    case(Operation::SessionTimed, Who::Advisory, |conn, lock| {
        let lock = conn.advisory_session(&*lock.name).timeout(TIMEOUT);
        plain(lock.acquire()?.release())
    }),
    case(Operation::SessionTimed, Who::SqlQuery, |conn, lock| {
        within_session_timeout(conn, |conn| session_by_hand(conn, lock))?;
        release_by_hand(conn, lock)
    }),
    case(Operation::SessionTimed, Who::Select, |conn, lock| {
        within_session_timeout(conn, |conn| select_session(conn, lock))?;
        select_release(conn, lock)
    }),
    case(Operation::SessionNoWait, Who::Floor, |conn, lock| {
        conn.batch_execute(&lock.try_session)?;
        conn.batch_execute(&lock.release)
    }),
    case(Operation::SessionNoWait, Who::Advisory, |conn, lock| {
        let lock = conn.advisory_session(&*lock.name).no_wait();
        plain(lock.try_acquire()?.expect("a free lock").release())
    }),
    case(Operation::SessionNoWait, Who::Select, |conn, lock| {
        taken(diesel::select(pg_try_advisory_lock(lock.key)).get_result(conn))?;
        select_release(conn, lock)
    }),
];

const fn case(operation: Operation, who: Who, run: Run) -> BlockingCase {
    Case {
        operation,
        who,
        run,
    }
}

fn plain(result: Result<(), Error>) -> QueryResult<()> {
    result.map_err(Into::into)
}

fn taken(taken: QueryResult<bool>) -> QueryResult<()> {
    taken?.then_some(()).ok_or(diesel::NotFound)
}

#[derive(Debug, QueryableByName)]
struct Taken {
    #[diesel(sql_type = Bool)]
    taken: bool,
}

fn take_by_hand(conn: &mut PgConnection, lock: &Lock) -> QueryResult<()> {
    let take = sql_query("SELECT pg_advisory_xact_lock($1)").bind::<BigInt, _>(lock.key);
    take.execute(conn).map(drop)
}

fn select_take(conn: &mut PgConnection, lock: &Lock) -> QueryResult<()> {
    let take = diesel::select(pg_advisory_xact_lock(lock.key));
    take.execute(conn).map(drop)
}

fn session_by_hand(conn: &mut PgConnection, lock: &Lock) -> QueryResult<()> {
    let take = sql_query("SELECT pg_advisory_lock($1)").bind::<BigInt, _>(lock.key);
    take.execute(conn).map(drop)
}

fn select_session(conn: &mut PgConnection, lock: &Lock) -> QueryResult<()> {
    let take = diesel::select(pg_advisory_lock(lock.key));
    take.execute(conn).map(drop)
}

fn release_by_hand(conn: &mut PgConnection, lock: &Lock) -> QueryResult<()> {
    let release = sql_query("SELECT pg_advisory_unlock($1)").bind::<BigInt, _>(lock.key);
    release.execute(conn).map(drop)
}

fn select_release(conn: &mut PgConnection, lock: &Lock) -> QueryResult<()> {
    let release = diesel::select(pg_advisory_unlock(lock.key));
    taken(release.get_result(conn))
}

fn within_timeout(
    conn: &mut PgConnection,
    take: impl FnOnce(&mut PgConnection) -> QueryResult<()>,
) -> QueryResult<()> {
    conn.batch_execute("SET LOCAL lock_timeout = '10s'")?;
    take(conn)?;
    conn.batch_execute("SET LOCAL lock_timeout TO DEFAULT")
}

fn within_session_timeout(
    conn: &mut PgConnection,
    take: impl FnOnce(&mut PgConnection) -> QueryResult<()>,
) -> QueryResult<()> {
    conn.batch_execute("SET lock_timeout = '10s'")?;
    take(conn)?;
    conn.batch_execute("RESET lock_timeout")
}
