//! SQL that is not in the library yet, measured against a floor of the same bursts.
//!
//! A file of candidates has sections. The first one is the floor.
//!
//! ```text
//! # A comment.
//! === floor A
//! BEGIN; SELECT pg_advisory_xact_lock(42)
//! ---
//! COMMIT
//!
//! === a query that is prepared once for the connection, with parameters in it
//! BEGIN
//! --- cached
//! SELECT pg_try_advisory_xact_lock({42}), set_config('a.b', {'text'}, true)
//! ---
//! COMMIT
//! ```
//!
//! What stands between two lines of dashes is one message to the server. After the dashes there can
//! be `once` (sent when the connection is made), `untimed` (sent every time, and not measured),
//! `fails` (has to be answered with an error) or `cached`.

use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Text};
use diesel_async::{
    AsyncConnection, AsyncConnectionCore, AsyncPgConnection, SimpleAsyncConnection,
};

use crate::core;
use crate::results::Spread;
use crate::rounds::{Row, interleave, median};

/// The name of each candidate, and what was measured in each round.
type Results = Vec<(String, Vec<f64>)>;

/// How long clients go on with one candidate, before it is the turn of the next.
const TURN: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Candidate {
    name: String,
    messages: Vec<Message>,
}

#[derive(Debug)]
struct Message {
    kind: Kind,
    sql: String,
    query: Query,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Simple,
    Once,
    Untimed,
    Fails,
    Cached,
}

impl Candidate {
    pub(crate) fn read(path: &Path) -> Result<Vec<Self>, String> {
        let text =
            fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut candidates: Vec<Self> = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix("===") {
                candidates.push(Self {
                    name: name.trim().to_owned(),
                    messages: vec![Message::new("")?],
                });
                continue;
            }
            let Some(candidate) = candidates.last_mut() else {
                if line.trim().is_empty() {
                    continue;
                }
                return Err(format!(
                    "{} does not begin with `=== a name`",
                    path.display()
                ));
            };
            if let Some(kind) = line.strip_prefix("---") {
                candidate.messages.push(Message::new(kind.trim())?);
            } else if let Some(message) = candidate.messages.last_mut() {
                message.sql.push_str(line);
                message.sql.push('\n');
            }
        }
        for candidate in &mut candidates {
            for message in &mut candidate.messages {
                message.sql.truncate(message.sql.trim_end().len());
                message.query = Query::parse(&message.sql);
            }
            candidate.messages.retain(|message| !message.sql.is_empty());
        }
        Ok(candidates)
    }

    fn start(&self, conn: &mut PgConnection) {
        for message in self.messages.iter().filter(|m| m.kind == Kind::Once) {
            conn.batch_execute(&message.sql)
                .unwrap_or_else(|error| self.fail(message, &error));
        }
    }

    fn once(&self, conn: &mut PgConnection) -> Duration {
        let mut taken = Duration::ZERO;
        for message in self.messages.iter().filter(|m| m.kind != Kind::Once) {
            let began = Instant::now();
            let answer = match message.kind {
                Kind::Cached => conn.execute_returning_count(&message.query).map(drop),
                _ => conn.batch_execute(&message.sql),
            };
            taken += self.check(message, answer, began.elapsed());
        }
        taken
    }

    async fn once_async(&self, conn: &mut AsyncPgConnection) -> Duration {
        let mut taken = Duration::ZERO;
        for message in self.messages.iter().filter(|m| m.kind != Kind::Once) {
            let began = Instant::now();
            let answer = match message.kind {
                Kind::Cached => conn.execute_returning_count(&message.query).await.map(drop),
                _ => conn.batch_execute(&message.sql).await,
            };
            taken += self.check(message, answer, began.elapsed());
        }
        taken
    }

    fn check(&self, message: &Message, answer: QueryResult<()>, elapsed: Duration) -> Duration {
        match (message.kind, answer) {
            (Kind::Untimed, Ok(())) => Duration::ZERO,
            (Kind::Fails, Ok(())) => panic!("{}: did not fail: {}", self.name, message.sql),
            (Kind::Fails, Err(_)) | (_, Ok(())) => elapsed,
            (_, Err(error)) => self.fail(message, &error),
        }
    }

    fn fail(&self, message: &Message, error: &diesel::result::Error) -> ! {
        panic!("{}: {error}: {}", self.name, message.sql)
    }
}

impl Message {
    fn new(kind: &str) -> Result<Self, String> {
        let kind = match kind.trim_matches('-') {
            "" => Kind::Simple,
            "once" => Kind::Once,
            "untimed" => Kind::Untimed,
            "fails" => Kind::Fails,
            "cached" => Kind::Cached,
            other => return Err(format!("`--- {other}` is not known")),
        };
        Ok(Self {
            kind,
            sql: String::new(),
            query: Query::default(),
        })
    }
}

/// A query that Diesel prepares and keeps, with `{42}` and `{'text'}` as its parameters.
#[derive(Debug, Default)]
struct Query(Vec<Part>);

#[derive(Debug)]
enum Part {
    Sql(String),
    Number(i64),
    Text(String),
}

impl Query {
    fn parse(sql: &str) -> Self {
        let parts = sql.split('{').enumerate().flat_map(|(index, piece)| {
            let Some((parameter, rest)) = (index > 0).then(|| piece.split_once('}')).flatten()
            else {
                return vec![Part::Sql(piece.to_owned())];
            };
            let parameter = parameter.parse().map_or_else(
                |_| Part::Text(parameter.trim_matches('\'').to_owned()),
                Part::Number,
            );
            vec![parameter, Part::Sql(rest.to_owned())]
        });
        Self(parts.collect())
    }
}

impl QueryFragment<Pg> for Query {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for part in &self.0 {
            match part {
                Part::Sql(sql) => out.push_sql(sql),
                Part::Number(number) => out.push_bind_param::<BigInt, _>(number)?,
                Part::Text(text) => out.push_bind_param::<Text, _>(text)?,
            }
        }
        Ok(())
    }
}

impl QueryId for Query {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// Measures and prints them.
pub(crate) fn compare(
    candidates: &[Candidate],
    asynchronous: bool,
    clients: Option<usize>,
    rounds: usize,
    times: u32,
) {
    if clients.is_none() {
        core::pin();
    }
    let url = diesel_advisory_sandbox::database_url();
    let results = match clients {
        Some(clients) => contended(candidates, &url, clients, rounds),
        None if asynchronous => latency_async(candidates, &url, rounds, times),
        None => latency(candidates, &url, rounds, times),
    };
    print(&results);
}

/// The latency of each candidate, one connection each.
fn latency(candidates: &[Candidate], url: &str, rounds: usize, times: u32) -> Results {
    let rows = candidates.iter().map(|candidate| {
        let mut conn = connect(url);
        candidate.start(&mut conn);
        Row::new(candidate.name.clone(), move || {
            median((0..times).map(|_| candidate.once(&mut conn)))
        })
    });
    interleave(rows.collect(), rounds)
}

/// The same on connections of diesel-async, on a runtime of one thread.
fn latency_async(candidates: &[Candidate], url: &str, rounds: usize, times: u32) -> Results {
    let runtime = &tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let rows = candidates.iter().map(|candidate| {
        let mut conn = runtime.block_on(start_async(candidate, url));
        Row::new(candidate.name.clone(), move || {
            runtime.block_on(async {
                let mut calls = Vec::new();
                for _ in 0..times {
                    calls.push(candidate.once_async(&mut conn).await);
                }
                median(calls)
            })
        })
    });
    interleave(rows.collect(), rounds)
}

/// How long it takes from one of many clients to the next, all with the same candidate.
fn contended(candidates: &[Candidate], url: &str, clients: usize, rounds: usize) -> Results {
    let rows = candidates.iter().map(|candidate| {
        let mut conns: Vec<_> = (0..clients).map(|_| connect(url)).collect();
        for conn in &mut conns {
            candidate.start(conn);
        }
        Row::new(candidate.name.clone(), move || {
            hand_over(candidate, &mut conns, TURN)
        })
    });
    interleave(rows.collect(), rounds)
}

fn hand_over(candidate: &Candidate, conns: &mut [PgConnection], round: Duration) -> f64 {
    let start = &Barrier::new(conns.len());
    let done: Vec<(u32, Duration)> = thread::scope(|scope| {
        let threads: Vec<_> = conns
            .iter_mut()
            .map(|conn| {
                scope.spawn(move || {
                    start.wait();
                    let began = Instant::now();
                    let mut times = 0;
                    while began.elapsed() < round {
                        candidate.once(conn);
                        times += 1;
                    }
                    (times, began.elapsed())
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a client"))
            .collect()
    });
    // Per client, because not all of them stop at the same moment.
    let rate: f64 = done
        .iter()
        .map(|(times, elapsed)| f64::from(*times) / elapsed.as_secs_f64())
        .sum();
    1.0 / rate
}

fn print(results: &Results) {
    println!("{:>10}  {:>6}  {:^13}", "µs", "ratio", "half within");
    for (name, rounds) in results {
        let micros = Spread::of(rounds.iter().copied()).median * 1e6;
        let Spread { low, median, high } = Spread::ratio(rounds, &results[0].1);
        println!("{micros:>10.1}  {median:>6.3}  {low:>5.3} - {high:>5.3}  {name}");
    }
}

fn connect(url: &str) -> PgConnection {
    PgConnection::establish(url).expect("PostgreSQL answers")
}

async fn start_async(candidate: &Candidate, url: &str) -> AsyncPgConnection {
    let mut conn = AsyncPgConnection::establish(url)
        .await
        .expect("PostgreSQL answers");
    for message in candidate.messages.iter().filter(|m| m.kind == Kind::Once) {
        let answer = conn.batch_execute(&message.sql).await;
        answer.unwrap_or_else(|error| candidate.fail(message, &error));
    }
    conn
}
