//! `pg-advisory kill`: ends the sessions that hold a lock.

use std::collections::BTreeMap;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use diesel::sql_types::{Array, Bool, Integer};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use crate::args::KillArgs;
use crate::connect::{self, Settings};
use crate::exit::{Failure, say};
use crate::locks;
use crate::output::out;
use crate::who::entry::{self, Entry, Who};
use crate::who::table::{self, Style};

/// How often it is looked whether they are gone.
const LOOK: Duration = Duration::from_millis(50);

/// Not all of them are gone.
const NOT_DONE: u8 = 1;

pub(crate) async fn kill(args: &KillArgs) -> Result<u8, Failure> {
    let settings = Settings::of(&args.connect)?;
    let (pids, names) = targets(args);
    let mut conn: AsyncPgConnection = connect::open(&settings, "pg-advisory kill").await?;
    let all = entry::load(&mut conn, &names).await?;
    let chosen = choose(&all, &pids, &names, args.waiters);
    let mut code = 0;
    for pid in &pids {
        if !all.iter().any(|entry| entry.pid() == Some(*pid)) {
            say!("process {pid} neither holds nor awaits an advisory lock of this database");
            code = NOT_DONE;
        }
    }
    if chosen.is_empty() {
        for name in &names {
            say!("nobody holds {name:?}");
        }
        return Ok(NOT_DONE);
    }
    let lines = table::lines(&chosen, Style::of_stdout(false));
    out(&(lines.join("\n") + "\n"))?;
    for entry in &chosen {
        if let Who::Prepared(gid) = &entry.who {
            let gid = gid.as_deref().unwrap_or("…").replace('\'', "''");
            say!("no session holds it: see ROLLBACK PREPARED '{gid}'");
            code = NOT_DONE;
        }
    }
    let mut victims: Vec<i32> = chosen.iter().filter_map(Entry::pid).collect();
    victims.sort_unstable();
    victims.dedup();
    if victims.is_empty() || !(args.yes || is_meant(victims.len())?) {
        return Ok(NOT_DONE);
    }
    if !end(&mut conn, &victims, args.wait).await? {
        code = NOT_DONE;
    }
    Ok(code)
}

/// What is all digits is the number of a process.
fn targets(args: &KillArgs) -> (Vec<i32>, Vec<String>) {
    let mut pids = Vec::new();
    let mut names = args.names.clone();
    for target in &args.targets {
        match target.parse() {
            Ok(pid) if target.bytes().all(|byte| byte.is_ascii_digit()) => pids.push(pid),
            _ => names.push(target.clone()),
        }
    }
    (pids, names)
}

/// The rows of those who are to be ended.
fn choose(all: &[Entry], pids: &[i32], names: &[String], waiters: bool) -> Vec<Entry> {
    let keys: Vec<_> = names.iter().flat_map(|name| locks::keys(name)).collect();
    let is_meant = |entry: &Entry| entry.pid().is_some_and(|pid| pids.contains(&pid));
    let mut wanted: Vec<(u32, u32, i16)> = Vec::new();
    for entry in all {
        let by_name = entry.key().is_some_and(|key| keys.contains(&key));
        if by_name || (entry.granted && is_meant(entry)) {
            wanted.push(entry.parts);
        }
    }
    let by_name = |entry: &Entry| entry.key().is_some_and(|key| keys.contains(&key));
    // Who holds the gate of a lock with permits waits for one.
    let gates: Vec<_> = names.iter().filter_map(|name| locks::gate(name)).collect();
    let at_gate = |entry: &Entry| entry.key().is_some_and(|key| gates.contains(&key));
    let is_chosen = |entry: &&Entry| {
        is_meant(entry)
            || (by_name(entry) && entry.granted && (waiters || !at_gate(entry)))
            || (waiters && !entry.granted && wanted.contains(&entry.parts))
    };
    all.iter().filter(is_chosen).cloned().collect()
}

fn is_meant(count: usize) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "there is no terminal to ask on: --yes ends them without a question",
        ));
    }
    let what = match count {
        1 => String::from("this session"),
        count => format!("these {count} sessions"),
    };
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "End {what}? [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let _ = std::io::stdin().lock().read_line(&mut answer);
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[derive(QueryableByName)]
struct Ended {
    #[diesel(sql_type = Bool)]
    ended: bool,
}

#[derive(QueryableByName)]
struct Pid {
    #[diesel(sql_type = Integer)]
    pid: i32,
}

/// Ends them, and says which are not gone in time, or may not be ended. Returns whether all are gone.
async fn end(conn: &mut AsyncPgConnection, pids: &[i32], wait: Duration) -> Result<bool, Failure> {
    let mut refused: BTreeMap<i32, String> = BTreeMap::new();
    for pid in pids {
        // A number that was given to another process meanwhile has no such lock, as a rule.
        let query = sql_query(
            "SELECT pg_catalog.pg_terminate_backend($1) AS ended WHERE $1 OPERATOR(pg_catalog.<>) \
             pg_catalog.pg_backend_pid() AND EXISTS (SELECT FROM pg_catalog.pg_locks AS l \
             WHERE l.pid OPERATOR(pg_catalog.=) $1 AND l.locktype OPERATOR(pg_catalog.=) 'advisory')",
        );
        let ended: Result<Vec<Ended>, _> = query.bind::<Integer, _>(*pid).load(conn).await;
        match ended {
            Ok(rows) if rows.iter().all(|row| row.ended) => {}
            Ok(_) => _ = refused.insert(*pid, String::from("the server could not signal it")),
            Err(error @ diesel::result::Error::DatabaseError(..)) => {
                refused.insert(*pid, error.to_string());
            }
            Err(error) => return Err(error.into()),
        }
    }
    let asked: Vec<i32> = pids
        .iter()
        .copied()
        .filter(|pid| !refused.contains_key(pid))
        .collect();
    let deadline = Instant::now() + wait;
    let left = loop {
        let left = alive(conn, &asked).await?;
        if left.is_empty() || Instant::now() >= deadline {
            break left;
        }
        tokio::time::sleep(LOOK).await;
    };
    for pid in pids {
        if let Some(why) = refused.get(pid) {
            say!("process {pid} was not ended: {why}");
        } else if left.contains(pid) {
            say!(
                "process {pid} is still there after {}",
                humantime::format_duration(wait)
            );
        } else {
            say!("process {pid} is gone");
        }
    }
    Ok(refused.is_empty() && left.is_empty())
}

async fn alive(conn: &mut AsyncPgConnection, pids: &[i32]) -> Result<Vec<i32>, Failure> {
    let query = sql_query(
        "SELECT a.pid FROM pg_catalog.pg_stat_activity AS a WHERE a.pid OPERATOR(pg_catalog.=) ANY ($1)",
    );
    let rows: Vec<Pid> = query.bind::<Array<Integer>, _>(pids).load(conn).await?;
    Ok(rows.into_iter().map(|row| row.pid).collect())
}

#[cfg(test)]
mod tests {
    use diesel_advisory::LockKey;

    use super::choose;
    use crate::who::entry::{Entry, Session, Who};

    fn entry(name: &str, pid: i32, granted: bool) -> Entry {
        Entry {
            parts: LockKey::from_name(name).to_pg_locks(),
            name: None,
            shared: false,
            granted,
            who: Who::Session(Session {
                pid,
                ..Session::default()
            }),
            user: None,
            since: None,
        }
    }

    #[test]
    fn those_who_wait_are_spared_unless_asked_for() {
        let all = [
            entry("a", 1, true),
            entry("a", 2, false),
            entry("b", 3, true),
            entry("b", 4, false),
        ];
        let chosen = |pids: &[i32], names: &[&str], waiters| -> Vec<i32> {
            let names: Vec<_> = names.iter().map(|name| String::from(*name)).collect();
            choose(&all, pids, &names, waiters)
                .iter()
                .filter_map(Entry::pid)
                .collect()
        };
        assert_eq!(chosen(&[], &["a"], false), [1]);
        assert_eq!(chosen(&[], &["a"], true), [1, 2]);
        assert_eq!(chosen(&[3], &[], false), [3]);
        assert_eq!(chosen(&[3], &[], true), [3, 4]);
        assert_eq!(chosen(&[4], &[], true), [4]);
        assert!(chosen(&[5], &["c"], true).is_empty());
    }
}
