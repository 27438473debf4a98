//! Five processes with a clock each, and one job a night: one of them runs it, and the others say why they do not.
//!
//! `cargo run --example nightly` starts a server, and the program again five times a night, for two nights.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use diesel::prelude::*;
use diesel_advisory::inspect::{self, Run};
use diesel_advisory::{AdvisoryConnection, Error as LockError, catalog};
use diesel_advisory_sandbox::Sandbox;

type Failure = Box<dyn Error + Send + Sync>;

/// How late the clock of each process is, in milliseconds.
const CLOCKS: [(&str, u64); 5] = [
    ("web-1", 0),
    ("web-2", 20),
    ("web-3", 150),
    ("web-4", 900),
    ("web-5", 1_500),
];

/// How long the job takes here.
const WORK: Duration = Duration::from_millis(600);

fn main() -> Result<(), Failure> {
    match env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [name, late, night, url] => ring(name, late.parse()?, night, url),
        _ => two_nights(),
    }
}

/// Prints a line at once, whole.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// What each process does when its clock strikes.
fn ring(name: &str, late: u64, night: &str, url: &str) -> Result<(), Failure> {
    let mut conn = PgConnection::establish(&format!("{url}&application_name={name}"))?;
    sleep(Duration::from_millis(late));
    // Each night is a job of its own, whatever the clocks say of how long the last one is ago.
    let job = conn.advisory_session(("nightly", night)).once().no_wait();
    let done = job.run(|conn| {
        say(&format!("{name} runs the job"));
        sleep(WORK);
        diesel::sql_query("INSERT INTO reports VALUES (now())").execute(conn)?;
        Ok::<_, LockError>(())
    });
    match done {
        Ok(()) => say(&format!("{name} is done")),
        // Another one runs it at this moment.
        Err(LockError::Unavailable(why)) => say(&format!("{name} does not: {why}")),
        // Another one has run it.
        Err(LockError::NotDue(why)) => say(&format!("{name} does not: {why}")),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn two_nights() -> Result<(), Failure> {
    let server = Sandbox::start()?;
    let mut conn = PgConnection::establish(server.url())?;
    catalog::install(&mut conn)?;
    diesel::sql_query("CREATE TABLE reports (written_at timestamptz)").execute(&mut conn)?;
    for night in ["2026-11-24", "2026-11-25"] {
        say(&format!("--- {night}"));
        let mut processes = Vec::new();
        for (name, late) in CLOCKS {
            let late = late.to_string();
            let args = [name, &late, night, server.url()];
            processes.push(Command::new(env::current_exe()?).args(args).spawn()?);
        }
        for mut process in processes {
            if !process.wait()?.success() {
                return Err("a process has failed".into());
            }
        }
    }
    say("--- what the catalog knows");
    let runs: Vec<Run> = inspect::runs().load(&mut conn)?;
    for run in &runs {
        let by = run.started_by.as_deref().unwrap_or("somebody");
        let took = run
            .finished_at
            .and_then(|end| end.duration_since(run.started_at).ok());
        say(&format!(
            "{} by {by}, done in {:.1?}",
            run.name,
            took.unwrap_or_default()
        ));
    }
    let reports = diesel::sql_query("SELECT FROM reports").execute(&mut conn)?;
    if runs.len() != 2 || reports != 2 {
        return Err(format!("{} runs, and {reports} reports", runs.len()).into());
    }
    Ok(())
}
