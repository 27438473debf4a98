//! Sets of locks, taken together in one transaction or for the session.

use std::fmt::Write;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel_advisory::functions::pg_advisory_xact_lock;
use diesel_advisory::{AdvisoryConnection, AsyncAdvisoryConnection};
use diesel_advisory_sandbox::Sandbox;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

use super::Workload;
use super::latency::one_thread;
use crate::TIMEOUT;
use crate::cases::{Call, Client, Lock, Operation, Who, asynchronous, blocking, key};
use crate::results::{Id, Measured, Part};
use crate::rounds::{Row, interleave, median};

const SIZES: [usize; 5] = [1, 3, 10, 100, 10_000];

/// The names of the locks, and the SQL that takes them all in the order of their keys.
struct Set {
    names: Vec<String>,
    keys: Vec<i64>,
    begin: String,
    session: String,
    release: String,
    one: Lock,
}

impl Set {
    fn of(size: usize) -> Self {
        let names: Vec<String> = (0..size).map(|number| format!("set:{number}")).collect();
        let mut keys: Vec<i64> = names.iter().map(|name| key(name)).collect();
        keys.sort_unstable();
        let array = keys.iter().fold(String::new(), |mut array, key| {
            let _ = write!(array, "{}{key}", if array.is_empty() { "" } else { "," });
            array
        });
        let one = Lock::named("set:0");
        if size == 1 {
            return Self {
                begin: one.begin.clone(),
                session: one.session.clone(),
                release: one.release.clone(),
                one,
                names,
                keys,
            };
        }
        let all = format!("FROM unnest('{{{array}}}'::bigint[]) AS key");
        Self {
            begin: format!("BEGIN; SELECT pg_advisory_xact_lock(key) {all}"),
            session: format!("SELECT pg_advisory_lock(key) {all}"),
            release: format!("SELECT pg_advisory_unlock(key) {all}"),
            one,
            names,
            keys,
        }
    }

    /// All locks but the first.
    fn others(&self) -> impl Iterator<Item = &str> {
        self.names[1..].iter().map(|name| &**name)
    }
}

type Run = fn(&mut PgConnection, &Set) -> QueryResult<()>;
type AsyncRun = for<'a> fn(&'a mut AsyncPgConnection, &'a Set) -> Call<'a, QueryResult<()>>;

const BLOCKING: &[(Operation, Who, Run)] = &[
    (Operation::OwnTransaction, Who::Floor, |conn, set| {
        conn.batch_execute(&set.begin)?;
        conn.batch_execute("COMMIT")
    }),
    (Operation::OneLock, Who::Floor, |conn, set| {
        conn.batch_execute(&set.one.begin)?;
        conn.batch_execute("COMMIT")
    }),
    (Operation::OwnTransaction, Who::Advisory, |conn, set| {
        let first = conn.advisory(&*set.names[0]);
        first.and_all(set.others()).run(|_| Ok(()))
    }),
    (
        Operation::OwnTransactionTimed,
        Who::Advisory,
        |conn, set| {
            let first = conn.advisory(&*set.names[0]).timeout(TIMEOUT);
            first.and_all(set.others()).run(|_| Ok(()))
        },
    ),
    (Operation::OwnTransaction, Who::Select, |conn, set| {
        conn.transaction(|conn| {
            for key in &set.keys {
                diesel::select(pg_advisory_xact_lock(*key)).execute(conn)?;
            }
            Ok(())
        })
    }),
    (Operation::Session, Who::Floor, |conn, set| {
        conn.batch_execute(&set.session)?;
        conn.batch_execute(&set.release)
    }),
    (Operation::Session, Who::Advisory, |conn, set| {
        let first = conn.advisory_session(&*set.names[0]);
        let held = first.and_all(set.others()).acquire()?;
        held.release().map_err(Into::into)
    }),
    (Operation::SessionTimed, Who::Advisory, |conn, set| {
        let first = conn.advisory_session(&*set.names[0]).timeout(TIMEOUT);
        let held = first.and_all(set.others()).acquire()?;
        held.release().map_err(Into::into)
    }),
];

const ASYNC: &[(Operation, Who, AsyncRun)] = &[
    (Operation::OwnTransaction, Who::Floor, |conn, set| {
        Box::pin(async move {
            conn.batch_execute(&set.begin).await?;
            conn.batch_execute("COMMIT").await
        })
    }),
    (Operation::OwnTransaction, Who::Advisory, |conn, set| {
        Box::pin(async move {
            let first = conn.advisory(&*set.names[0]);
            let lock = first.and_all(set.others());
            lock.run(async |_| Ok(())).await
        })
    }),
    (
        Operation::OwnTransactionTimed,
        Who::Advisory,
        |conn, set| {
            Box::pin(async move {
                let first = conn.advisory(&*set.names[0]).timeout(TIMEOUT);
                let lock = first.and_all(set.others());
                lock.run(async |_| Ok(())).await
            })
        },
    ),
];

pub(super) fn measure(sandbox: &Sandbox, quick: bool) -> Vec<Measured> {
    SIZES
        .into_iter()
        .flat_map(|size| {
            let (rounds, times) = match size {
                1..=10 => (400, 20),
                11..=100 => (400, 5),
                _ => (30, 1),
            };
            measure_size(
                sandbox.url(),
                size,
                if quick { rounds / 10 } else { rounds },
                times,
            )
        })
        .collect()
}

fn measure_size(url: &str, size: usize, rounds: usize, times: u32) -> Vec<Measured> {
    let id = |client, operation, who| Id {
        workload: Workload::Sets,
        part: Part::Locks(size),
        client,
        operation,
        who,
    };
    let set = &Set::of(size);
    let runtime = &one_thread();
    let mut rows = Vec::new();
    for &(operation, who, run) in BLOCKING {
        let mut conn = blocking::connect(url);
        let id = id(Client::Blocking, operation, who);
        if let Err(error) = run(&mut conn, set) {
            eprintln!("note: {size} locks, {id:?}: {error}");
            continue;
        }
        rows.push(Row::new(id, move || {
            median((0..times).map(|_| {
                let began = Instant::now();
                run(&mut conn, set).unwrap_or_else(|error| panic!("{size} locks: {error}"));
                began.elapsed()
            }))
        }));
    }
    for &(operation, who, run) in ASYNC {
        let mut conn = runtime.block_on(asynchronous::connect(url));
        let id = id(Client::Async, operation, who);
        if let Err(error) = runtime.block_on(run(&mut conn, set)) {
            eprintln!("note: {size} locks, {id:?}: {error}");
            continue;
        }
        rows.push(Row::new(id, move || {
            runtime.block_on(async {
                let mut calls: Vec<Duration> = Vec::new();
                for _ in 0..times {
                    let began = Instant::now();
                    let done = run(&mut conn, set).await;
                    calls.push(began.elapsed());
                    done.unwrap_or_else(|error| panic!("{size} locks, async: {error}"));
                }
                median(calls)
            })
        }));
    }
    let measured = interleave(rows, rounds).into_iter();
    measured.map(Measured::of).collect()
}
