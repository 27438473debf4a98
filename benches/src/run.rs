//! A run: each workload in a process of its own, on a server of its own.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::core;
use crate::machine::Machine;
use crate::report::{document, picture, tables, targets};
use crate::results::Measured;
use crate::workloads::Workload;

/// What is kept of the last run.
#[derive(Debug, Serialize, Deserialize)]
struct LastRun {
    machine: Machine,
    /// Whether it is fit to be published.
    is_whole: bool,
    results: Vec<Measured>,
}

pub(crate) fn run(workloads: &[Workload], quick: bool, with_targets: bool) -> Result<(), String> {
    if env::var_os("DIESEL_ADVISORY_DJANGO_PYTHON").is_none() {
        eprintln!("note: django-pglock is left out; script/bench sees to it");
    }
    let is_whole = workloads.is_empty() && !quick;
    let workloads = if workloads.is_empty() {
        &Workload::ALL
    } else {
        workloads
    };
    let machine = Machine::here();
    let mut results = Vec::new();
    for workload in workloads {
        eprintln!("measuring: {}", workload.title());
        results.extend(start(*workload, quick)?);
    }
    let run = LastRun {
        machine,
        is_whole,
        results,
    };
    let json = serde_json::to_string(&run).map_err(|error| error.to_string())?;
    write(&last_run(), &json)?;
    show(&run, with_targets)
}

pub(crate) fn report(with_targets: bool) -> Result<(), String> {
    let path = last_run();
    let json = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let run = serde_json::from_str(&json).map_err(|error| error.to_string())?;
    show(&run, with_targets)
}

/// In the process of its own.
pub(crate) fn measure(workload: Workload, quick: bool) -> Result<(), String> {
    if workload.is_on_one_core() {
        core::pin();
    }
    for measured in workload.measure(quick) {
        let line = serde_json::to_string(&measured).map_err(|error| error.to_string())?;
        println!("{line}");
    }
    Ok(())
}

fn start(workload: Workload, quick: bool) -> Result<Vec<Measured>, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program)
        .arg("measure")
        .arg(workload.argument())
        .args(quick.then_some("--quick"))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{}: {}", workload.title(), output.status));
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).map_err(|error| format!("{error}: {line}")))
        .collect()
}

/// Prints everything that the documents show, and writes them.
fn show(run: &LastRun, with_targets: bool) -> Result<(), String> {
    let mut text = String::new();
    for workload in Workload::ALL {
        for table in tables(&run.results, workload) {
            let _ = writeln!(text, "{}, {}\n\n{table}", workload.title(), table.title);
        }
    }
    if with_targets {
        let _ = writeln!(text, "Targets\n\n{}", targets(&run.results));
    }
    print!("{text}");
    if run.is_whole {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        write(
            &repository.join("BENCHMARKS.md"),
            &document(&run.machine, &run.results),
        )?;
        let picture = picture(&run.results).ok_or("a bar of the picture was not measured")?;
        write(&repository.join("docs/benchmarks.svg"), &picture)?;
    }
    Ok(())
}

fn last_run() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/last-run.json")
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let written = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, text));
    written.map_err(|error| format!("{}: {error}", path.display()))
}
