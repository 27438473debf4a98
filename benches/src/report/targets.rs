//! What the library has set itself, as ratios within one run.

use super::table::Table;
use crate::cases::{Client, Operation, Who};
use crate::results::{Id, Measured, Part, Spread, find};
use crate::workloads::Workload;

struct Target {
    title: &'static str,
    workload: Workload,
    part: Part,
    client: Client,
    operation: Operation,
    /// With what it is compared.
    other: (Operation, Who),
    limit: Limit,
}

#[derive(Clone, Copy)]
enum Limit {
    /// Of the time.
    AtMost(f64),
    /// Of the rate.
    AtLeast(f64),
}

/// The targets whose rows were measured, and whether they are reached.
pub(crate) fn targets(results: &[Measured]) -> Table {
    let lines = all().into_iter().filter_map(|target| {
        let id = |operation, who| Id {
            workload: target.workload,
            part: target.part,
            client: target.client,
            operation,
            who,
        };
        let this = find(results, &id(target.operation, Who::Advisory))?;
        let other = find(results, &id(target.other.0, target.other.1))?;
        let (ratio, limit, is_reached) = match target.limit {
            Limit::AtMost(limit) => {
                let ratio = Spread::ratio(&this.rounds, &other.rounds);
                (ratio, format!("at most {limit:.2}"), ratio.median <= limit)
            }
            Limit::AtLeast(limit) => {
                let ratio = Spread::ratio(&other.rounds, &this.rounds);
                (ratio, format!("at least {limit:.2}"), ratio.median >= limit)
            }
        };
        let Spread { low, median, high } = ratio;
        Some(vec![
            target.title.to_owned(),
            limit,
            format!("{median:.3} ({low:.3}–{high:.3})"),
            String::from(if is_reached { "yes" } else { "NO" }),
        ])
    });
    Table {
        title: String::from("targets"),
        head: ["target", "limit", "ratio", "reached"]
            .map(str::to_owned)
            .to_vec(),
        lines: lines.collect(),
    }
}

fn all() -> Vec<Target> {
    use self::Limit::{AtLeast, AtMost};
    use crate::cases::Client::{Async, Blocking};
    use crate::cases::Operation::{
        InsideAlone, InsideTimedAlone, OneLock, OpenTransaction, OpenTransactionTimed,
        OwnTransaction, OwnTransactionNoWait, OwnTransactionTimed, Session, SessionTimed,
    };

    let floor = |operation: Operation| (operation.floor(), Who::Floor);
    let latency = |title, client, operation, other, limit| Target {
        title,
        workload: Workload::Latency,
        part: Part::All,
        client,
        operation,
        other,
        limit: AtMost(limit),
    };
    let free = |title, client, operation, limit| {
        latency(title, client, operation, floor(operation), limit)
    };
    let hot = |title, client, operation, limit| Target {
        workload: Workload::Hot,
        part: Part::Clients(8),
        limit: AtLeast(limit),
        ..free(title, client, operation, limit)
    };
    vec![
        free("own transaction", Blocking, OwnTransaction, 1.15),
        free(
            "own transaction, timed",
            Blocking,
            OwnTransactionTimed,
            1.30,
        ),
        free(
            "own transaction, no wait",
            Blocking,
            OwnTransactionNoWait,
            1.10,
        ),
        free("open transaction", Blocking, OpenTransaction, 1.10),
        free(
            "open transaction, timed",
            Blocking,
            OpenTransactionTimed,
            1.30,
        ),
        free("the lock alone", Blocking, InsideAlone, 1.10),
        free("the lock alone, timed", Blocking, InsideTimedAlone, 1.30),
        free("session", Blocking, Session, 1.35),
        free("session, timed", Blocking, SessionTimed, 1.60),
        free("async, own transaction", Async, OwnTransaction, 1.15),
        latency(
            "async session, of sqlx",
            Async,
            Session,
            (Session, Who::Sqlx),
            1.40,
        ),
        hot("hot lock, 8 clients", Blocking, OwnTransaction, 0.95),
        hot(
            "hot lock, 8 clients, timed",
            Blocking,
            OwnTransactionTimed,
            0.80,
        ),
        hot("async hot lock, 8 clients", Async, OwnTransaction, 0.95),
        hot(
            "async hot lock, 8 clients, timed",
            Async,
            OwnTransactionTimed,
            0.80,
        ),
        Target {
            workload: Workload::Sets,
            part: Part::Locks(3),
            other: (OneLock, Who::Floor),
            ..free(
                "three locks, timed, of one",
                Blocking,
                OwnTransactionTimed,
                1.60,
            )
        },
    ]
}
