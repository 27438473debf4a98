//! Who holds which advisory lock, and who waits for whom.
//!
//! `cargo run --example who` takes some locks for show, on a throwaway PostgreSQL.
//!
//! With `DATABASE_URL`, it shows those of that database, and nothing else. Arguments are names of
//! locks, to be shown in place of their keys; names in the catalog are known anyway. `--watch` shows
//! them again every second.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_advisory::inspect::{self, Lock, Names, pg_locks};
use diesel_advisory::{AdvisoryConnection, catalog};

const HEADER: [&str; 9] = [
    "LOCK",
    "MODE",
    "STATUS",
    "PID",
    "USER",
    "APPLICATION",
    "STATE",
    "SINCE",
    "BLOCKED BY",
];

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let is_alone = env::var("DATABASE_URL").map_or(true, |url| url.is_empty());
    let url = diesel_advisory_sandbox::database_url();
    let mut conn = PgConnection::establish(&url)?;
    if is_alone {
        return show(&url, &mut conn);
    }
    let mut args: Vec<String> = env::args().skip(1).collect();
    let watch = args.iter().any(|arg| arg == "--watch");
    args.retain(|arg| arg != "--watch");
    loop {
        let mut names = catalog::names(&mut conn)?;
        names.extend(&args);
        print(&mut conn, &names)?;
        if !watch {
            return Ok(());
        }
        thread::sleep(Duration::from_secs(1));
        println!();
    }
}

/// Prints the table of locks, those that are waited for below the one that holds them.
fn print(conn: &mut PgConnection, names: &Names) -> Result<()> {
    let locks: Vec<Lock> = inspect::locks()
        .order((
            pg_locks::classid,
            pg_locks::objid,
            pg_locks::objsubid,
            pg_locks::granted.desc(),
            pg_locks::waitstart,
        ))
        .load(conn)?;
    if locks.is_empty() {
        println!("No advisory lock is held in this database.");
        return Ok(());
    }
    let rows: Vec<_> = locks.iter().map(|lock| row(lock, names)).collect();
    let header = HEADER.map(String::from);
    let table = || std::iter::once(&header).chain(&rows);
    let mut widths = [0; HEADER.len()];
    for row in table() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in table() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            write!(line, "{cell:width$}  ")?;
        }
        println!("{}", line.trim_end());
    }
    if locks.iter().any(Lock::is_hidden) {
        println!(
            "What sessions of other roles do is not shown to this one: it wants pg_read_all_stats."
        );
    }
    Ok(())
}

fn row(lock: &Lock, names: &Names) -> [String; HEADER.len()] {
    let since = lock.since.and_then(|since| since.elapsed().ok());
    let blocked_by: Vec<_> = lock.blocked_by.iter().map(ToString::to_string).collect();
    [
        lock.name(names),
        String::from(if lock.shared { "shared" } else { "exclusive" }),
        String::from(if lock.granted { "held" } else { "waiting" }),
        lock.pid.map_or("prepared".into(), |pid| pid.to_string()),
        lock.user.clone().unwrap_or_default(),
        lock.application.clone().unwrap_or_default(),
        lock.state.clone().unwrap_or_default(),
        since.map_or(String::new(), |since| {
            format!("{:.1} s", since.as_secs_f64())
        }),
        blocked_by.join(" "),
    ]
}

/// Prints the locks of a few sessions that are there for show.
fn show(url: &str, conn: &mut PgConnection) -> Result<()> {
    let names = Names::from_iter(["billing.close_month", "price list", "reports.nightly"]);

    let mut holder = connect(url, "web-3")?;
    let held = holder.advisory_session("billing.close_month").acquire()?;
    let mut readers = [connect(url, "shop-1")?, connect(url, "shop-2")?];
    let mut shared = Vec::new();
    for reader in &mut readers {
        shared.push(reader.advisory_session("price list").shared().acquire()?);
    }
    let mut older = connect(url, "nobody knows the name")?;
    let unnamed = older.advisory_session((2019, -7)).acquire()?;

    let mut waiter = connect(url, "web-1")?;
    let waiting = thread::spawn(move || {
        let closed = waiter
            .advisory("billing.close_month")
            .run(|_conn| Result::Ok(()));
        (waiter, closed)
    });
    until_someone_waits(conn)?;
    println!("web-1 waits for web-3:\n");
    print(conn, &names)?;

    held.release()?;
    drop(shared);
    let (_waiter, closed) = waiting.join().map_err(|_| "a thread has panicked")?;
    closed?;
    println!("\nBoth are done, and so are the readers:\n");
    print(conn, &names)?;

    unnamed.release()?;
    println!();
    print(conn, &names)
}

fn until_someone_waits(conn: &mut PgConnection) -> Result<()> {
    loop {
        let waiting: Vec<Lock> = inspect::locks().filter(inspect::is_waiting()).load(conn)?;
        // Long enough to be seen in the table.
        let long = Duration::from_millis(300);
        let has_waited = |lock: &Lock| lock.since?.elapsed().ok();
        if waiting
            .iter()
            .filter_map(has_waited)
            .any(|waited| waited >= long)
        {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn connect(url: &str, name: &str) -> Result<PgConnection> {
    let mut conn = PgConnection::establish(url)?;
    diesel::sql_query("SELECT set_config('application_name', $1, false)")
        .bind::<Text, _>(name)
        .execute(&mut conn)?;
    Ok(conn)
}
