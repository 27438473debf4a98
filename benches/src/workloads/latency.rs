//! How long it takes to take and end a lock that is free.

use std::time::Duration;

use ::sqlx::postgres::PgAdvisoryLock;
use diesel_advisory_sandbox::{Direction, Sandbox};
use tokio::runtime::{Builder, Runtime};

use super::Workload;
use crate::cases::django::{self, Django};
use crate::cases::{Client, Lock, Operation, Who, asynchronous, blocking, sqlx};
use crate::results::{Id, Measured, Part};
use crate::rounds::{Row, interleave, median};

pub(super) fn latency(sandbox: &Sandbox, quick: bool) -> Vec<Measured> {
    // Short turns: what else the machine does lasts longer than one of them, and so meets all rows.
    measure(
        Workload::Latency,
        sandbox.url(),
        if quick { 50 } else { 600 },
        20,
    )
}

pub(super) fn network(sandbox: &Sandbox, quick: bool) -> Vec<Measured> {
    let proxy = sandbox.proxy();
    proxy.delay(Direction::Both, Duration::from_micros(500));
    measure(
        Workload::Network,
        proxy.url(),
        if quick { 5 } else { 40 },
        3,
    )
}

fn measure(workload: Workload, url: &str, rounds: usize, times: u32) -> Vec<Measured> {
    let id = |client, operation, who| Id {
        workload,
        part: Part::All,
        client,
        operation,
        who,
    };
    let runtime = &one_thread();
    let lock = &Lock::named("bench");
    let mut rows = Vec::new();
    for case in blocking::CASES {
        let mut conn = blocking::connect(url);
        let id = id(Client::Blocking, case.operation, case.who);
        rows.push(Row::new(id, move || {
            median((0..times).map(|_| case.time(&mut conn, lock)))
        }));
    }
    for case in asynchronous::CASES {
        let mut conn = runtime.block_on(asynchronous::connect(url));
        let id = id(Client::Async, case.operation, case.who);
        rows.push(Row::new(id, move || {
            runtime.block_on(async {
                let mut calls = Vec::new();
                for _ in 0..times {
                    calls.push(case.time(&mut conn, lock).await);
                }
                median(calls)
            })
        }));
    }
    let mut conn = runtime.block_on(sqlx::connect(url));
    let sqlx_lock = PgAdvisoryLock::new("bench");
    let sqlx_id = id(Client::Async, Operation::Session, Who::Sqlx);
    rows.push(Row::new(sqlx_id, move || {
        runtime.block_on(async {
            let mut calls = Vec::new();
            for _ in 0..times {
                calls.push(sqlx::time(&mut conn, &sqlx_lock).await);
            }
            median(calls)
        })
    }));
    for (operation, name) in django::OPERATIONS {
        if let Some(mut django) = Django::start(url) {
            let id = id(Client::Blocking, *operation, Who::Django);
            rows.push(Row::new(id, move || median(django.time(name, times))));
        }
    }
    let measured = interleave(rows, rounds).into_iter();
    measured.map(Measured::of).collect()
}

pub(super) fn one_thread() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}
