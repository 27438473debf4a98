//! What is said while a lock is waited for.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use diesel_advisory::LockKey;
use diesel_async::AsyncPgConnection;

use crate::args::RunArgs;
use crate::connect::{self, Settings};
use crate::exit::say;
use crate::locks::{self, Row};
use crate::text::{age, short};

/// Who does not wait longer is told nothing.
const SILENT: Duration = Duration::from_secs(1);
/// How often a terminal is told.
const ON_TERMINAL: Duration = Duration::from_secs(2);
/// How often a log is told.
const IN_LOG: Duration = Duration::from_secs(10);

/// Tells for whom the wait is, again and again. Nobody but this looks, by a session that it opens for it: that
/// of the lock waits in the server, and would lose its place in the queue.
pub(super) async fn tell(settings: &Settings, args: &RunArgs, pid: i32) {
    let name = &args.name;
    if args.quiet {
        return std::future::pending().await;
    }
    let began = Instant::now();
    let terminal = std::io::stderr().is_terminal();
    tokio::time::sleep(SILENT).await;
    loop {
        let who = who(settings, args, pid).await.unwrap_or_default();
        let waited = short(began.elapsed());
        if terminal {
            let _ = write!(
                std::io::stderr(),
                "\r\x1b[Kpg-advisory: waiting for {name:?} for {waited}{who}"
            );
            tokio::time::sleep(ON_TERMINAL).await;
        } else {
            say!("waiting for {name:?} for {waited}{who}");
            tokio::time::sleep(IN_LOG).await;
        }
    }
}

/// Takes away what stands on the terminal.
pub(super) fn clear(quiet: bool) {
    if !quiet && std::io::stderr().is_terminal() {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}

async fn who(settings: &Settings, args: &RunArgs, pid: i32) -> Option<String> {
    let mut conn: AsyncPgConnection = connect::open(settings, "pg-advisory").await.ok()?;
    let rows = locks::load(&mut conn).await.ok()?;
    let keys = match args.permits {
        Some(count) => locks::permits(&args.name, count).collect(),
        None => vec![LockKey::from_name(&args.name)],
    };
    // Who waits for a permit waits at the gate; the first there waits for one permit after the other.
    let queue = match args.permits {
        Some(_) => locks::gate(&args.name)?,
        None => keys[0],
    };
    let own = rows
        .iter()
        .find(|row| row.lock.pid == Some(pid) && row.lock.key == queue)?;
    let is_before = |row: &&Row| {
        let other = row.lock.pid.unwrap_or(0);
        let waits = !row.lock.granted || args.permits.is_some();
        waits && row.lock.key == queue && own.lock.blocked_by.contains(&other)
    };
    let before = rows.iter().filter(is_before).count();
    let holds = |row: &&Row| row.lock.granted && keys.contains(&row.lock.key);
    let holders: Vec<_> = rows.iter().filter(holds).map(holder).collect();
    let held = match holders.as_slice() {
        [] => String::new(),
        holders => format!(": held by {}", holders.join(", by ")),
    };
    Some(match before {
        0 => held,
        1 => format!("{held}; 1 waits before"),
        more => format!("{held}; {more} wait before"),
    })
}

fn holder(row: &Row) -> String {
    let Some(pid) = row.lock.pid else {
        return String::from("a prepared transaction");
    };
    let mut text = format!("pid {pid}");
    if let Some(application) = &row.lock.application {
        text.extend([" (", application, ")"]);
    }
    if let Some(since) = row.since {
        text.extend([" for at most ", &age(since)]);
    }
    text
}
