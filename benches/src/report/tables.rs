//! The tables of each workload.

use super::table::Table;
use crate::cases::{Client, Operation, Who};
use crate::results::{Id, Measured, Part, Spread, find};
use crate::workloads::Workload;

/// What a cell shows beside the ratio.
#[derive(Clone, Copy)]
enum Unit {
    Microseconds,
    Milliseconds,
    PerSecond,
}

/// All tables for a workload that was measured.
pub(crate) fn tables(results: &[Measured], workload: Workload) -> Vec<Table> {
    let (unit, first) = match workload {
        Workload::Latency => (Unit::Microseconds, "lock"),
        Workload::Network => (Unit::Milliseconds, "lock"),
        Workload::Hot | Workload::Own => (Unit::PerSecond, "clients, lock"),
        Workload::Sets => (Unit::Microseconds, "locks"),
        Workload::Names => return names(results).into_iter().collect(),
    };
    [Client::Blocking, Client::Async]
        .into_iter()
        .filter_map(|client| compare(results, workload, client, unit, first))
        .collect()
}

const WHO: [Who; 6] = [
    Who::Floor,
    Who::Advisory,
    Who::SqlQuery,
    Who::Select,
    Who::Sqlx,
    Who::Django,
];

fn compare(
    results: &[Measured],
    workload: Workload,
    client: Client,
    unit: Unit,
    first: &str,
) -> Option<Table> {
    let mut lines: Vec<Vec<String>> = Vec::new();
    let mut seen: Vec<(Part, Operation)> = Vec::new();
    for Measured { id, .. } in results {
        let line = (id.part, id.operation);
        if id.workload != workload || id.client != client || seen.contains(&line) {
            continue;
        }
        seen.push(line);
        let who = |who| Id { who, ..id.clone() };
        let cells = WHO.iter().map(|&column| match column {
            Who::Floor => floor_cell(results, &id.floor(), unit),
            column => cell(results, &who(column), unit),
        });
        let title = title(id.part, id.operation);
        lines.push([title].into_iter().chain(cells).collect());
    }
    if lines.is_empty() {
        return None;
    }
    let head = WHO.iter().map(|who| who.title().to_owned());
    let table = Table {
        title: client.title().to_owned(),
        head: [first.to_owned()].into_iter().chain(head).collect(),
        lines,
    };
    Some(table.trimmed())
}

fn title(part: Part, operation: Operation) -> String {
    let operation = operation.title();
    match part {
        Part::Clients(clients) => format!("{clients}, {operation}"),
        Part::Locks(locks) => format!("{locks}, {operation}"),
        _ => operation.to_owned(),
    }
}

fn floor_cell(results: &[Measured], id: &Id, unit: Unit) -> String {
    find(results, id).map_or_else(String::new, |measured| value(measured, unit))
}

fn cell(results: &[Measured], id: &Id, unit: Unit) -> String {
    let Some(measured) = find(results, id) else {
        return String::new();
    };
    let value = value(measured, unit);
    let Some(floor) = find(results, &id.floor()) else {
        return value;
    };
    let Spread { low, median, high } = match unit {
        Unit::PerSecond => Spread::ratio(&floor.rounds, &measured.rounds),
        _ => Spread::ratio(&measured.rounds, &floor.rounds),
    };
    format!("{value}: {median:.2} ({low:.2}–{high:.2})")
}

fn value(measured: &Measured, unit: Unit) -> String {
    let seconds = Spread::of(measured.rounds.iter().copied()).median;
    match unit {
        Unit::Microseconds if seconds < 0.01 => format!("{:.1} µs", seconds * 1e6),
        Unit::Microseconds => format!("{:.1} ms", seconds * 1e3),
        Unit::Milliseconds => format!("{:.2} ms", seconds * 1e3),
        Unit::PerSecond => format!("{:.0}/s", 1.0 / seconds),
    }
}

fn names(results: &[Measured]) -> Option<Table> {
    let lines: Vec<Vec<String>> = results
        .iter()
        .filter(|measured| measured.id.part == Part::NewNames)
        .filter_map(|new| {
            let id = Id {
                part: Part::OneName,
                ..new.id.clone()
            };
            let one = find(results, &id)?;
            let growth = new.growth?;
            let Spread { low, median, high } = Spread::ratio(&new.rounds, &one.rounds);
            let who = match id.who {
                Who::Advisory => id.client.title(),
                other => other.title(),
            };
            Some(vec![
                format!("{who}, {}", id.operation.title()),
                value(one, Unit::Microseconds),
                format!(
                    "{}: {median:.2} ({low:.2}–{high:.2})",
                    value(new, Unit::Microseconds)
                ),
                growth.prepared_statements.to_string(),
                format!("{} B", growth.bytes),
            ])
        })
        .collect();
    let head = [
        "lock",
        "the same name always",
        "each name once",
        "prepared statements more",
        "server memory more",
    ];
    (!lines.is_empty()).then(|| Table {
        title: String::from("names"),
        head: head.map(str::to_owned).to_vec(),
        lines,
    })
}
