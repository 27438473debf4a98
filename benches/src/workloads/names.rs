//! Names that nobody has used before: nothing may pile up on their account.

use std::cell::RefCell;
use std::time::Duration;

use ::sqlx::postgres::PgAdvisoryLock;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use diesel_advisory_sandbox::Sandbox;
use diesel_async::AsyncPgConnection;
use tokio::runtime::Runtime;

use super::Workload;
use super::latency::one_thread;
use crate::cases::asynchronous::{self, AsyncCase};
use crate::cases::blocking::{self, BlockingCase};
use crate::cases::{Client, Lock, Operation, Who, sqlx};
use crate::results::{Growth, Id, Measured, Part};
use crate::rounds::{Row, interleave, median};

const NAMES: usize = 100_000;

/// How many of them in one turn.
const TIMES: usize = 20;

pub(super) fn measure(sandbox: &Sandbox, quick: bool) -> Vec<Measured> {
    let rounds = if quick { 100 } else { NAMES / TIMES };
    let url = sandbox.url();
    let runtime = &one_thread();
    let clients: Vec<_> = [Part::OneName, Part::NewNames]
        .into_iter()
        .flat_map(|part| clients(url, runtime).map(move |client| (part, client)))
        .map(|(part, (id, session))| {
            let id = Id { part, ..id };
            (id, RefCell::new(Watched::new(session)))
        })
        .collect();
    let mut rows = Vec::new();
    for (id, watched) in &clients {
        rows.push(Row::new(id.clone(), move || {
            watched.borrow_mut().turn(runtime, id.part)
        }));
    }
    let measured = interleave(rows, rounds);
    measured
        .into_iter()
        .zip(&clients)
        .map(|(measured, (_, watched))| Measured {
            growth: Some(watched.borrow_mut().growth(runtime)),
            ..Measured::of(measured)
        })
        .collect()
}

/// Who is measured, each with a session of its own.
fn clients(url: &str, runtime: &Runtime) -> impl Iterator<Item = (Id, Session)> {
    let id = |client, operation, who| Id {
        workload: Workload::Names,
        part: Part::All,
        client,
        operation,
        who,
    };
    let is_wanted = |operation, who| {
        let takes_a_free_lock = !matches!(
            operation,
            Operation::OpenTransaction | Operation::OpenTransactionTimed | Operation::Serializable
        );
        who == Who::Advisory && takes_a_free_lock
    };
    let blocking = blocking::CASES
        .iter()
        .filter(move |case| is_wanted(case.operation, case.who))
        .map(move |case| {
            let session = Session::Blocking(blocking::connect(url), case);
            (id(Client::Blocking, case.operation, case.who), session)
        });
    let asynchronous = asynchronous::CASES
        .iter()
        .filter(move |case| is_wanted(case.operation, case.who))
        .map(move |case| {
            let conn = runtime.block_on(asynchronous::connect(url));
            let session = Session::Async(Box::new(conn), case);
            (id(Client::Async, case.operation, case.who), session)
        });
    let sqlx = Session::Sqlx(Box::new(runtime.block_on(sqlx::connect(url))));
    let sqlx_id = id(Client::Async, Operation::Session, Who::Sqlx);
    blocking.chain(asynchronous).chain([(sqlx_id, sqlx)])
}

enum Session {
    Blocking(PgConnection, &'static BlockingCase),
    Async(Box<AsyncPgConnection>, &'static AsyncCase),
    Sqlx(Box<::sqlx::PgConnection>),
}

impl Session {
    fn time(&mut self, runtime: &Runtime, lock: &Lock) -> Duration {
        match self {
            Self::Blocking(conn, case) => case.time(conn, lock),
            Self::Async(conn, case) => runtime.block_on(case.time(conn, lock)),
            Self::Sqlx(conn) => {
                let lock = PgAdvisoryLock::new(&lock.name);
                runtime.block_on(sqlx::time(conn, &lock))
            }
        }
    }

    fn size(&mut self, runtime: &Runtime) -> Growth {
        let mut ask = |sql: &str| -> i64 {
            match self {
                Self::Blocking(conn, _) => {
                    let answer: Answer = sql_query(sql).get_result(conn).expect("an answer");
                    answer.answer
                }
                Self::Async(conn, _) => {
                    let answer = diesel_async::RunQueryDsl::get_result(sql_query(sql), &mut **conn);
                    let answer: Answer = runtime.block_on(answer).expect("an answer");
                    answer.answer
                }
                Self::Sqlx(conn) => {
                    let query = ::sqlx::query_scalar(::sqlx::AssertSqlSafe(sql));
                    let query = query.persistent(false).fetch_one(&mut **conn);
                    runtime.block_on(query).expect("an answer")
                }
            }
        };
        Growth {
            prepared_statements: ask(
                "SELECT count(*) AS answer FROM pg_prepared_statements WHERE name <> ''",
            ),
            bytes: ask("SELECT sum(total_bytes)::bigint AS answer FROM pg_backend_memory_contexts"),
        }
    }
}

#[derive(Debug, QueryableByName)]
struct Answer {
    #[diesel(sql_type = BigInt)]
    answer: i64,
}

struct Watched {
    session: Session,
    /// After the first turn.
    size: Option<Growth>,
    names: usize,
}

impl Watched {
    fn new(session: Session) -> Self {
        Self {
            session,
            size: None,
            names: 0,
        }
    }

    fn turn(&mut self, runtime: &Runtime, part: Part) -> f64 {
        let calls: Vec<Duration> = (0..TIMES)
            .map(|_| {
                if part == Part::NewNames {
                    self.names += 1;
                }
                let lock = Lock::named(format!("name:{}", self.names));
                self.session.time(runtime, &lock)
            })
            .collect();
        if self.size.is_none() {
            // Twice, because asking needs some memory too.
            self.session.size(runtime);
            self.size = Some(self.session.size(runtime));
        }
        median(calls)
    }

    fn growth(&mut self, runtime: &Runtime) -> Growth {
        let before = self.size.expect("there was a turn");
        let now = self.session.size(runtime);
        Growth {
            prepared_statements: now.prepared_statements - before.prepared_statements,
            bytes: now.bytes - before.bytes,
        }
    }
}
