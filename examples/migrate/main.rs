//! Four processes that migrate when they start: one does it, and the others wait and then go on.
//!
//! `cargo run --example migrate --features migrations` uses a throwaway PostgreSQL, or a schema of its
//! own on the server of `DATABASE_URL`.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_advisory::migrations::LockedHarness;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("examples/migrate/migrations");

/// The schema that everything happens in, and that is dropped in the end.
const SCHEMA: &str = "diesel_advisory_example";

/// The variables by which a process learns where to migrate, and since when the clock has been running.
const URL: &str = "EXAMPLE_URL";
const START: &str = "EXAMPLE_START";

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    match env::var(URL) {
        Ok(url) => start_up(&url),
        Err(_) => start_all(&diesel_advisory_sandbox::database_url()),
    }
}

/// What each of the processes does before it serves anybody.
fn start_up(url: &str) -> Result<()> {
    let start = Duration::from_secs_f64(env::var(START)?.parse()?);
    let clock = Clock {
        start: UNIX_EPOCH + start,
        name: env::var("PGAPPNAME")?,
    };
    let mut conn = PgConnection::establish(url)?;
    conn.batch_execute(&format!("SET search_path = {SCHEMA}"))?;

    let mut harness = LockedHarness::new(&mut conn)
        .output(Lines::new(clock.clone()))
        .on_wait({
            let clock = clock.clone();
            move |waiting| clock.say(&waiting.to_string())
        });
    let ran = harness.run_pending_migrations(MIGRATIONS)?.len();
    clock.say(&format!("is up, after {ran} migrations of its own"));
    Ok(())
}

fn start_all(url: &str) -> Result<()> {
    let mut conn = PgConnection::establish(url)?;
    conn.batch_execute(&format!(
        "DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}"
    ))?;
    println!("Four processes start, and the schema is empty.\n");
    let first = start_four(url);
    println!("\nFour more start, and nothing is to be done.\n");
    let second = start_four(url);
    conn.batch_execute(&format!("DROP SCHEMA {SCHEMA} CASCADE"))?;
    first.and(second)
}

/// Starts four processes, which are this program once more, and waits until all are up.
fn start_four(url: &str) -> Result<()> {
    let start = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let mut processes = Vec::new();
    for number in 1..=4 {
        let process = Command::new(env::current_exe()?)
            .env(URL, url)
            .env(START, start.as_secs_f64().to_string())
            .env("PGAPPNAME", format!("web-{number}"))
            .spawn()?;
        processes.push(process);
    }
    let mut all_are_up = true;
    for mut process in processes {
        all_are_up &= process.wait()?.success();
    }
    all_are_up
        .then_some(())
        .ok_or_else(|| "a process has not come up".into())
}

/// Says who does what, and when.
#[derive(Clone)]
struct Clock {
    start: SystemTime,
    name: String,
}

impl Clock {
    fn say(&self, what: &str) {
        let elapsed = self.start.elapsed().unwrap_or_default().as_secs_f64();
        println!("{elapsed:5.2} s  {}  {what}", self.name);
    }
}

/// Says what Diesel writes, line by line.
struct Lines {
    clock: Clock,
    line: Vec<u8>,
}

impl Lines {
    fn new(clock: Clock) -> Self {
        Self {
            clock,
            line: Vec::new(),
        }
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for &byte in bytes {
            if byte == b'\n' {
                self.clock.say(&String::from_utf8_lossy(&self.line));
                self.line.clear();
            } else {
                self.line.push(byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
