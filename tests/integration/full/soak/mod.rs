//! Many clients at once, of all kinds, for a while, with sessions that are killed at random: no two
//! have a lock that excludes the other, and nothing is left in the end.

#![allow(
    clippy::duplicate_mod,
    reason = "the client is compiled for both kinds"
)]

mod plan;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use diesel::{Connection, PgConnection};
use diesel_advisory::Error;
use diesel_advisory_sandbox::{Sandbox, is_full_run};
use diesel_async::{AsyncConnection, AsyncPgConnection};

use self::plan::{LOCKS, Plan};
use crate::support::{connect_to, execute, integer, wait_until};

#[path = "."]
mod asynchronous {
    pub(crate) mod client;

    use crate::scenarios::asynchronous::side;

    /// The driver prepares what is asked, and the connection keeps what can be asked again.
    const MOST_PREPARED: i32 = 16;
}

#[path = "."]
mod blocking {
    pub(crate) mod client;

    use crate::scenarios::blocking::side;

    const MOST_PREPARED: i32 = 0;
}

/// How long it takes.
const DURATION: Duration = Duration::from_secs(60);

/// Half of them are asynchronous.
const CLIENTS: u64 = 32;

/// What came of it.
#[derive(Debug, Default)]
struct Count {
    granted: AtomicU32,
    unavailable: AtomicU32,
    failed: AtomicU32,
    dropped: AtomicU32,
    struck: AtomicU32,
}

impl Count {
    fn add(&self, plan: &Plan, came: &Result<bool, Error>) {
        let counted = match came {
            Ok(true) => &self.granted,
            Ok(false) => &self.unavailable,
            Err(Error::Database(error)) => {
                // Whose snapshot is as new as its lock never hits upon a newer row, and sets are taken
                // in one order.
                let text = error.to_string();
                let is_ours = text.contains("serialize") || text.contains("deadlock");
                assert!(!is_ours, "{plan:?}: {text}");
                &self.failed
            }
            Err(error) => panic!("{plan:?}: {error:?}"),
        };
        counted.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn nothing_overlaps_and_nothing_is_left() {
    if !is_full_run() {
        return;
    }
    let server = Sandbox::start().unwrap();
    let mut observer = connect_to(server.url());
    execute(
        &mut observer,
        &format!(
            "CREATE ROLE app LOGIN; \
             CREATE TABLE counters (id int PRIMARY KEY, value int NOT NULL); \
             CREATE TABLE intervals (id int NOT NULL, exclusive bool NOT NULL, \
                 unchanged bool NOT NULL, began timestamptz NOT NULL, ended timestamptz NOT NULL); \
             INSERT INTO counters SELECT id, 0 FROM generate_series(0, {LOCKS} - 1) AS id; \
             GRANT ALL ON counters, intervals TO app"
        ),
    );
    let url = &server.url_as("app", "postgres");
    let (count, over) = (&Count::default(), &AtomicBool::new(false));
    let until = Instant::now() + DURATION;
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let random = fastrand::Rng::with_seed(seed.wrapping_add(client));
                scope.spawn(move || {
                    if client % 2 == 0 {
                        go_on_blocking(url, until, random, count);
                    } else {
                        go_on_asynchronously(url, until, random, count);
                    }
                })
            })
            .collect();
        scope.spawn(|| strike(server.url(), over, count));
        let ended: Vec<_> = clients.into_iter().map(ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        for client in ended {
            client.unwrap();
        }
    });
    eprintln!("{count:?}");
    for counter in [
        &count.granted,
        &count.unavailable,
        &count.failed,
        &count.dropped,
        &count.struck,
    ] {
        assert!(counter.load(Ordering::Relaxed) > 100, "{count:?}");
    }
    assert_nothing_overlaps(&mut observer);
    assert_nothing_is_left(&mut observer);
}

fn go_on_blocking(url: &str, until: Instant, mut random: fastrand::Rng, count: &Count) {
    let mut conn = None;
    while Instant::now() < until {
        let plan = Plan::next(&mut random);
        let open = match &mut conn {
            Some(conn) => conn,
            // What connects is struck as well.
            None => match PgConnection::establish(url) {
                Ok(connected) => conn.insert(connected),
                Err(_) => continue,
            },
        };
        count.add(&plan, &blocking::client::carry_out(open, &plan));
        if !blocking::client::is_left_clean(open) {
            conn = None;
        }
    }
}

/// A runtime for each client, so that none has to wait for another's thread.
#[tokio::main(flavor = "current_thread")]
async fn go_on_asynchronously(url: &str, until: Instant, mut random: fastrand::Rng, count: &Count) {
    let mut conn: Option<AsyncPgConnection> = None;
    while Instant::now() < until {
        let plan = Plan::next(&mut random);
        let open = match &mut conn {
            Some(conn) => conn,
            None => match AsyncPgConnection::establish(url).await {
                Ok(connected) => conn.insert(connected),
                Err(_) => continue,
            },
        };
        let round = asynchronous::client::carry_out(open, &plan);
        let Some(patience) = plan.patience else {
            count.add(&plan, &round.await);
            if !asynchronous::client::is_left_clean(open).await {
                conn = None;
            }
            continue;
        };
        if let Ok(came) = tokio::time::timeout(patience, round).await {
            count.add(&plan, &came);
        } else {
            count.dropped.fetch_add(1, Ordering::Relaxed);
            conn = None;
        }
    }
}

/// Ends sessions and cancels statements, at random.
fn strike(url: &str, over: &AtomicBool, count: &Count) {
    let mut conn = connect_to(url);
    while !over.load(Ordering::Relaxed) {
        let sql = "SELECT count(CASE WHEN random() < 0.5 THEN pg_terminate_backend(pid) \
                   ELSE pg_cancel_backend(pid) END)::int AS value \
                   FROM (SELECT pid FROM pg_stat_activity WHERE usename = 'app' \
                       ORDER BY random() LIMIT 1) AS struck, LATERAL (SELECT pg_sleep(0.02)) AS after";
        let struck = integer(&mut conn, sql);
        count
            .struck
            .fetch_add(struck.unsigned_abs(), Ordering::Relaxed);
    }
}

fn assert_nothing_overlaps(observer: &mut PgConnection) {
    let lost = "SELECT count(*)::int AS value FROM counters WHERE value <> (SELECT count(*) \
                FROM intervals WHERE exclusive AND intervals.id = counters.id)";
    assert_eq!(integer(observer, lost), 0, "an update was lost");
    let changed = "SELECT count(*)::int AS value FROM intervals WHERE NOT unchanged";
    assert_eq!(integer(observer, changed), 0, "something changed");
    // Each against the one that began last before it, and against the one that ended last.
    let overlapping = "SELECT count(*)::int AS value FROM ( \
                           SELECT began, exclusive, \
                               max(ended) OVER others AS last_end, \
                               max(ended) FILTER (WHERE exclusive) OVER others AS last_exclusive_end \
                           FROM intervals \
                           WINDOW others AS (PARTITION BY id ORDER BY began \
                               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) \
                       ) AS one \
                       WHERE CASE WHEN exclusive THEN last_end ELSE last_exclusive_end END > began";
    assert_eq!(integer(observer, overlapping), 0, "intervals overlap");
}

/// When all clients have gone, there is nothing of them.
fn assert_nothing_is_left(observer: &mut PgConnection) {
    let backends = "SELECT count(*)::int AS value FROM pg_stat_activity WHERE usename = 'app'";
    wait_until("all sessions have ended", || {
        integer(observer, backends) == 0
    });
    for left in [
        "SELECT count(*)::int AS value FROM pg_locks WHERE locktype = 'advisory'",
        "SELECT count(*)::int AS value FROM pg_prepared_xacts",
    ] {
        assert_eq!(integer(observer, left), 0, "{left}");
    }
}
