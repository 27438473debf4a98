//! Many clients at once: on one hot lock, how fast it goes from hand to hand; on locks of their own,
//! how fast they are all together.

use std::cell::RefCell;
use std::sync::{Arc, Barrier};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use ::sqlx::postgres::PgAdvisoryLock;
use diesel::PgConnection;
use diesel_advisory_sandbox::Sandbox;
use diesel_async::AsyncPgConnection;
use tokio::runtime::Runtime;

use super::Workload;
use crate::cases::blocking::{self, BlockingCase};
use crate::cases::django::{self, Django};
use crate::cases::{Client, Lock, Operation, Who, asynchronous, sqlx};
use crate::results::{Id, Measured, Part};
use crate::rounds::{Row, interleave};

const CLIENTS: [usize; 4] = [1, 8, 32, 128];

/// How long clients go on in one row, before it is the turn of the next.
const TURN: Duration = Duration::from_millis(100);

pub(super) fn measure(workload: Workload, sandbox: &Sandbox, quick: bool) -> Vec<Measured> {
    let rounds = if quick { 3 } else { 25 };
    CLIENTS
        .into_iter()
        .flat_map(|clients| measure_clients(workload, sandbox, clients, rounds))
        .collect()
}

fn measure_clients(
    workload: Workload,
    sandbox: &Sandbox,
    clients: usize,
    rounds: usize,
) -> Vec<Measured> {
    let url = sandbox.url();
    let id = |client, operation, who| Id {
        workload,
        part: Part::Clients(clients),
        client,
        operation,
        who,
    };
    let locks: Vec<Arc<Lock>> = (0..clients)
        .map(|number| match workload {
            Workload::Own => Lock::named(format!("own {number}")),
            _ => Lock::named("hot"),
        })
        .map(Arc::new)
        .collect();
    let runtime = &Runtime::new().expect("a runtime");
    // All rows of a kind share the connections of that kind.
    let blocking: Vec<_> = locks
        .iter()
        .map(|lock| (blocking::connect(url), Arc::clone(lock)))
        .collect();
    let asynchronous: Vec<(AsyncPgConnection, _)> = runtime.block_on(async {
        let mut clients = Vec::new();
        for lock in &locks {
            clients.push((asynchronous::connect(url).await, Arc::clone(lock)));
        }
        clients
    });
    let mut sqlx: Vec<(::sqlx::PgConnection, _)> = runtime.block_on(async {
        let mut clients = Vec::new();
        for lock in &locks {
            clients.push((sqlx::connect(url).await, PgAdvisoryLock::new(&lock.name)));
        }
        clients
    });
    let django = Django::start(url).map(RefCell::new);
    let (blocking, asynchronous) = (&RefCell::new(blocking), &RefCell::new(asynchronous));

    let mut rows = Vec::new();
    for case in blocking::CASES
        .iter()
        .filter(|case| is_wanted(case.operation))
    {
        let id = id(Client::Blocking, case.operation, case.who);
        rows.push(Row::new(id, || {
            in_threads(&mut blocking.borrow_mut(), case)
        }));
    }
    for case in asynchronous::CASES
        .iter()
        .filter(|case| is_wanted(case.operation))
    {
        let id = id(Client::Async, case.operation, case.who);
        rows.push(Row::new(id, move || {
            let clients = &mut asynchronous.borrow_mut();
            in_tasks(runtime, clients, move |(mut conn, lock)| async move {
                case.time(&mut conn, &lock).await;
                (conn, lock)
            })
        }));
    }
    let sqlx_id = id(Client::Async, Operation::Session, Who::Sqlx);
    rows.push(Row::new(sqlx_id, || {
        in_tasks(runtime, &mut sqlx, |(mut conn, lock)| async move {
            sqlx::time(&mut conn, &lock).await;
            (conn, lock)
        })
    }));
    if let Some(django) = &django {
        for (operation, name) in django::OPERATIONS {
            if is_wanted(*operation) {
                let id = id(Client::Blocking, *operation, Who::Django);
                let own = workload == Workload::Own;
                rows.push(Row::new(id, move || {
                    1.0 / django.borrow_mut().rate(name, clients, own, TURN)
                }));
            }
        }
    }
    let measured = interleave(rows, rounds).into_iter();
    measured.map(Measured::of).collect()
}

fn is_wanted(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::OwnTransaction
            | Operation::OwnTransactionTimed
            | Operation::Session
            | Operation::SessionTimed
    )
}

/// One client's share of a row's turn.
struct Turn {
    began: Instant,
    elapsed: Duration,
    calls: u32,
}

impl Turn {
    fn begin() -> Self {
        Self {
            began: Instant::now(),
            elapsed: Duration::ZERO,
            calls: 0,
        }
    }

    /// Counts a call, and tells whether there is time for another one.
    fn goes_on(&mut self) -> bool {
        self.calls += 1;
        self.elapsed = self.began.elapsed();
        self.elapsed < TURN
    }

    /// Not all clients stop at the same moment, so each has its own time.
    fn calls_per_second(&self) -> f64 {
        f64::from(self.calls) / self.elapsed.as_secs_f64()
    }
}

/// Seconds from one call to the next, of whichever client.
fn in_threads(clients: &mut [(PgConnection, Arc<Lock>)], case: &BlockingCase) -> f64 {
    let start = &Barrier::new(clients.len());
    let rate: f64 = thread::scope(|scope| {
        let threads: Vec<_> = clients
            .iter_mut()
            .map(|(conn, lock)| {
                scope.spawn(move || {
                    start.wait();
                    let mut turn = Turn::begin();
                    loop {
                        case.time(conn, lock);
                        if !turn.goes_on() {
                            return turn.calls_per_second();
                        }
                    }
                })
            })
            .collect();
        let rates = threads.into_iter().map(ScopedJoinHandle::join);
        rates.map(|rate| rate.expect("a client")).sum()
    });
    1.0 / rate
}

/// The same, on a runtime with a thread for each core.
fn in_tasks<C, F>(
    runtime: &Runtime,
    clients: &mut Vec<C>,
    call: impl Fn(C) -> F + Copy + Send + 'static,
) -> f64
where
    C: Send + 'static,
    F: Future<Output = C> + Send,
{
    let start = Arc::new(tokio::sync::Barrier::new(clients.len()));
    let tasks: Vec<_> = clients
        .drain(..)
        .map(|mut client| {
            let start = Arc::clone(&start);
            runtime.spawn(async move {
                start.wait().await;
                let mut turn = Turn::begin();
                loop {
                    client = call(client).await;
                    if !turn.goes_on() {
                        return (client, turn.calls_per_second());
                    }
                }
            })
        })
        .collect();
    let rate: f64 = runtime.block_on(async {
        let mut sum = 0.0;
        for task in tasks {
            let (client, rate) = task.await.expect("a client");
            clients.push(client);
            sum += rate;
        }
        sum
    });
    1.0 / rate
}
