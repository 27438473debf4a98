//! What the locks of diesel-advisory cost, side by side with plain SQL and with its peers.

mod candidates;
mod cases;
mod core;
mod machine;
mod report;
mod results;
mod rounds;
mod run;
mod workloads;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::candidates::Candidate;
use crate::workloads::Workload;

/// Longer than any wait in here, so that it only shows what a timeout costs.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Measures what the locks cost, and writes BENCHMARKS.md and docs/benchmarks.svg if everything was
/// measured.
#[derive(Debug, Parser)]
#[command(name = "script/bench", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Args)]
struct Run {
    /// What to measure, instead of everything.
    workloads: Vec<Workload>,
    /// To try it out: few rounds, and no document is written.
    #[arg(long)]
    quick: bool,
    /// Tells also whether what the library has set itself is reached.
    #[arg(long)]
    targets: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures one workload, and prints what was measured as lines of JSON.
    #[command(hide = true)]
    Measure {
        workload: Workload,
        #[arg(long)]
        quick: bool,
    },
    /// Prints the tables of the last run again, and writes the documents if it was a whole one.
    Report {
        /// Tells also whether what the library has set itself is reached.
        #[arg(long)]
        targets: bool,
    },
    /// Compares SQL that is not in the library with a floor: the first section of the file.
    Candidates {
        file: PathBuf,
        /// On connections of diesel-async.
        #[arg(long = "async", conflicts_with = "clients")]
        asynchronous: bool,
        /// So many clients at once, which use all cores; the time is that from one to the next.
        #[arg(long)]
        clients: Option<usize>,
        /// 600, or 20 with `--clients`.
        #[arg(long)]
        rounds: Option<usize>,
        /// How often each is done in a round.
        #[arg(long, default_value_t = 20)]
        times: u32,
    },
}

fn main() -> ExitCode {
    let Arguments { command, run } = Arguments::parse();
    let done = match command {
        None => run::run(&run.workloads, run.quick, run.targets),
        Some(Command::Report { targets }) => run::report(targets),
        Some(Command::Measure { workload, quick }) => run::measure(workload, quick),
        Some(Command::Candidates {
            file,
            asynchronous,
            clients,
            rounds,
            times,
        }) => Candidate::read(&file).map(|candidates| {
            let rounds = rounds.unwrap_or(if clients.is_some() { 20 } else { 600 });
            candidates::compare(&candidates, asynchronous, clients, rounds, times);
        }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
