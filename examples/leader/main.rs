//! Three processes, of which one leads. Every few seconds something happens to the leader, and another takes over.
//!
//! `cargo run --example leader` starts a server, and the program again three times. The leader counts in a table,
//! and every write is guarded by its fencing token, so that no number is missing or written twice.

use std::env;
use std::error::Error;
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Text};
use diesel_advisory::inspect::{self, Lock};
use diesel_advisory::{FencingToken, Leader, Lease, Shutdown};
use diesel_advisory_sandbox::{Direction, Proxy, Sandbox, signal};

type Failure = Box<dyn Error + Send + Sync>;

const LOCK: &str = "counter";
const TIME_TO_LIVE: Duration = Duration::from_secs(1);
const NAMES: [&str; 3] = ["web-1", "web-2", "web-3"];

fn main() -> Result<(), Failure> {
    match env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [name, url] => count(name, url),
        _ => watch(),
    }
}

/// Prints a line at once, whole.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

// What each of the three processes does.

/// Leads whenever it gets the lock, until its standard input is closed.
fn count(name: &str, url: &str) -> Result<(), Failure> {
    let shutdown = Shutdown::default();
    let parent_has_gone = shutdown.clone();
    std::thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        parent_has_gone.shut_down();
    });
    let leader = Leader::new(LOCK)
        .time_to_live(TIME_TO_LIVE)
        .retry(Duration::from_millis(200))
        .identity(name)
        .on_change(|change| say(&format!("{name}: {change}")));
    let connect = || PgConnection::establish(url).map(Box::new);
    leader.run(connect, &shutdown, |lease| {
        lead(url, &lease);
        Ok::<_, Failure>(())
    })?;
    Ok(())
}

/// Goes on counting where the last leader was.
fn lead(url: &str, lease: &Lease) {
    if count_on(url, lease).is_err() && lease.is_held() {
        // A newer token has written, or the network is gone: another one may try.
        lease.resign();
    }
}

fn count_on(url: &str, lease: &Lease) -> Result<(), Failure> {
    let token = lease.token()?;
    // The lease has a connection of its own.
    let mut conn = PgConnection::establish(url)?;
    let mut value = claim(&mut conn, token)?;
    while lease.is_held() {
        value += 1;
        write(&mut conn, value, token)?;
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[derive(QueryableByName)]
struct Value {
    #[diesel(sql_type = Integer)]
    value: i32,
}

/// Leaves the token in the table, so that whatever an older leader still writes is refused, and reads where it was.
fn claim(conn: &mut PgConnection, token: FencingToken) -> QueryResult<i32> {
    let claimed =
        diesel::sql_query("UPDATE counter SET token = $1 WHERE token <= $1 RETURNING value")
            .bind::<Text, _>(token)
            .get_result::<Value>(conn)?;
    Ok(claimed.value)
}

/// Writes the next number, unless a larger token has written before.
fn write(conn: &mut PgConnection, value: i32, token: FencingToken) -> QueryResult<()> {
    conn.transaction(|conn| {
        diesel::sql_query("UPDATE counter SET value = $1 WHERE token = $2 RETURNING value")
            .bind::<Integer, _>(value)
            .bind::<Text, _>(token)
            .get_result::<Value>(conn)?;
        diesel::sql_query("INSERT INTO written VALUES ($1, $2)")
            .bind::<Integer, _>(value)
            .bind::<Text, _>(token)
            .execute(conn)?;
        Ok(())
    })
}

// What the first process does: it starts the others, and is unkind to them.

struct Process {
    name: &'static str,
    child: Child,
    network: Proxy,
}

impl Process {
    fn start(name: &'static str, network: Proxy) -> io::Result<Self> {
        let child = Command::new(env::current_exe()?)
            .args([name, network.url()])
            .stdin(Stdio::piped())
            .spawn()?;
        Ok(Self {
            name,
            child,
            network,
        })
    }
}

fn watch() -> Result<(), Failure> {
    let server = Sandbox::start()?;
    let mut conn = PgConnection::establish(server.url())?;
    for sql in [
        "CREATE TABLE counter (value int NOT NULL, token text NOT NULL)",
        "INSERT INTO counter VALUES (0, '')",
        "CREATE TABLE written (value int PRIMARY KEY, token text NOT NULL)",
    ] {
        diesel::sql_query(sql).execute(&mut conn)?;
    }
    let mut processes = Vec::new();
    for name in NAMES {
        processes.push(Process::start(name, server.proxy())?);
    }
    for fault in ["SIGKILL", "SIGSTOP", "its backend", "its network"] {
        let leader = wait_for_leader(&mut conn, None)?;
        sleep(Duration::from_secs(2));
        let index = NAMES.iter().position(|name| *name == leader.name);
        let process = &mut processes[index.ok_or("somebody else leads")?];
        say(&format!("--- {fault}: {}", process.name));
        match fault {
            "SIGKILL" => {
                process.child.kill()?;
                process.child.wait()?;
            }
            "SIGSTOP" => signal(process.child.id(), "STOP"),
            "its backend" => server.kill_backend(leader.pid)?,
            _ => process.network.swallow(Direction::Both),
        }
        wait_for_leader(&mut conn, Some(leader.pid))?;
        sleep(Duration::from_secs(1));
        match fault {
            "SIGKILL" => *process = Process::start(process.name, server.proxy())?,
            "SIGSTOP" => signal(process.child.id(), "CONT"),
            "its backend" => {}
            _ => process.network.resume(),
        }
    }
    sleep(Duration::from_secs(1));
    say("--- shutdown");
    for process in &mut processes {
        drop(process.child.stdin.take());
    }
    for process in &mut processes {
        process.child.wait()?;
    }
    check(&mut conn)
}

struct Leading {
    name: String,
    pid: i32,
}

/// Waits until a session leads, another one than before.
fn wait_for_leader(conn: &mut PgConnection, before: Option<i32>) -> Result<Leading, Failure> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        let leader = inspect::leader(LOCK).first::<Lock>(conn).optional()?;
        if let Some(leader) = leader.filter(|leader| leader.pid != before) {
            return Ok(Leading {
                name: leader.application.unwrap_or_default(),
                pid: leader.pid.unwrap_or_default(),
            });
        }
        sleep(Duration::from_millis(20));
    }
    Err("nobody leads".into())
}

/// Whether each number was written once, and by terms that follow each other.
fn check(conn: &mut PgConnection) -> Result<(), Failure> {
    #[derive(QueryableByName)]
    struct Sum {
        #[diesel(sql_type = Integer)]
        value: i32,
        #[diesel(sql_type = BigInt)]
        rows: i64,
        #[diesel(sql_type = BigInt)]
        terms: i64,
        #[diesel(sql_type = Bool)]
        in_order: bool,
    }

    let sum = diesel::sql_query(
        "SELECT (SELECT value FROM counter) AS value, count(*) AS rows, count(DISTINCT token) AS terms, \
         coalesce(bool_and(token >= before), false) AS in_order \
         FROM (SELECT value, token, lag(token, 1, '') OVER (ORDER BY value) AS before FROM written) AS w",
    )
    .get_result::<Sum>(conn)?;
    say(&format!("counted to {} in {} terms", sum.value, sum.terms));
    if i64::from(sum.value) != sum.rows || !sum.in_order || sum.terms < 4 {
        return Err("a number is missing, or was written by an old leader".into());
    }
    Ok(())
}
