//! `BENCHMARKS.md`.

use std::fmt::Write;

use super::tables::tables;
use crate::machine::{Machine, crate_version, python_version};
use crate::results::Measured;
use crate::workloads::Workload;

const INTRODUCTION: &str = "\
# Benchmarks

What the locks of diesel-advisory cost, compared with plain SQL, with Diesel by hand and with other
libraries. `script/bench` measures all of it, on a PostgreSQL that it starts itself, and writes this
page.

![Time to take and end a lock that is free](docs/benchmarks.svg)

- All rows of a table are measured in turns, in an order that changes from round to round, so that
  whatever else the machine does meets all of them. A cell shows the median over all rounds, and as
  what multiple of plain SQL in the same round: the median, and between what half of the rounds lie.
- *Plain SQL* is the fewest round trips that can take and end such a lock, as literal statements
  through Diesel's `batch_execute`. It keeps no promise beside the lock: no old `lock_timeout`
  afterwards, nothing told from other errors, no snapshot looked at. What is prepared once can be
  faster than it.
- *By hand* is Diesel as it is mostly written: `sql_query(\"SELECT pg_advisory_xact_lock($1)\")`, or
  `select` with the function declared, which Diesel prepares once for each connection. A timeout is
  set before the lock and reset after it.
- sqlx has session locks, and no timeout. django-pglock runs in a Python process of its own that
  measures itself, with one thread for each client.
";

pub(crate) fn document(machine: &Machine, results: &[Measured]) -> String {
    let mut text = String::from(INTRODUCTION);
    let Machine {
        processor,
        cores,
        server,
    } = machine;
    let _ = writeln!(
        text,
        "\nMeasured with PostgreSQL {server}, Diesel {}, diesel-async {}, sqlx {}, django-pglock {} \
         on psycopg {},\nand {cores} cores of {processor}.",
        crate_version("diesel"),
        crate_version("diesel-async"),
        crate_version("sqlx"),
        python_version("django-pglock"),
        python_version("psycopg"),
    );
    for workload in Workload::ALL {
        let tables = tables(results, workload);
        if tables.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n## {}\n\n{}", workload.title(), workload.about());
        for table in &tables {
            if tables.len() > 1 {
                let _ = writeln!(text, "\n### {}, {}", workload.title(), table.title);
            }
            let _ = write!(text, "\n{table}");
        }
    }
    text
}
