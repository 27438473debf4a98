//! Waits that end at the very moment when the lock is granted: the session must not keep what nobody
//! knows of.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use diesel_advisory::Error;

use super::side::*;
use crate::support::{self, unique, wait_until_free};

const CLIENTS: usize = 12;

/// What ends the waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Timeout,
    Cancel,
    StatementTimeout,
}

/// Sessions that crowd around a few locks.
#[derive(Debug)]
struct Crowd {
    end: End,
    locks: [String; 3],
    granted: AtomicUsize,
    failed: AtomicUsize,
    /// Sessions that said themselves that their state is not known, so that a pool would end them.
    broken: AtomicUsize,
    leaked: AtomicUsize,
    /// Whether one of them has met what it should not, so that the others need not go on.
    stopped: AtomicBool,
}

/// Lets the sessions crowd until so many waits have failed, and asserts that none of them left anything.
#[track_caller]
fn crowd(end: End, failures: usize) {
    let crowd = Crowd {
        end,
        locks: [(); 3].map(|()| unique("races.hot")),
        granted: AtomicUsize::new(0),
        failed: AtomicUsize::new(0),
        broken: AtomicUsize::new(0),
        leaked: AtomicUsize::new(0),
        stopped: AtomicBool::new(false),
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients = [(); CLIENTS].map(|()| scope.spawn(|| complete(client(&crowd, failures))));
        if end == End::Cancel {
            scope.spawn(|| cancel_until(&over));
        }
        let results = clients.map(std::thread::ScopedJoinHandle::join);
        over.store(true, Ordering::Relaxed);
        for result in results {
            result.unwrap();
        }
    });
    eprintln!("{crowd:?}");
    assert_eq!(crowd.leaked.into_inner(), 0);
    // Of a timeout nothing is lost, be it ever so late.
    if end == End::Timeout {
        assert_eq!(crowd.broken.into_inner(), 0);
    }
    assert!(crowd.failed.into_inner() >= failures);
    assert_ne!(crowd.granted.into_inner(), 0);
    for lock in crowd.locks {
        wait_until_free(lock);
    }
}

/// Cancels whoever waits for a lock of [`Crowd`], again and again.
fn cancel_until(over: &AtomicBool) {
    let mut conn = support::connect();
    while !over.load(Ordering::Relaxed) {
        support::execute(
            &mut conn,
            "SELECT pg_sleep(0.002); \
             SELECT pg_cancel_backend(pid) FROM pg_stat_activity \
             WHERE wait_event_type = 'Lock' AND application_name = 'races.cancelled'",
        );
    }
}

/// How often it has asked for a lock.
#[helper]
async fn client(crowd: &Crowd, failures: usize) -> usize {
    let mut observer = support::connect();
    let (mut conn, mut session) = member(crowd).await;
    let mut round = 0;
    while crowd.failed.load(Ordering::Relaxed) < failures && !crowd.stopped.load(Ordering::Relaxed)
    {
        round += 1;
        let attempt = attempt(crowd, &mut conn, usize::try_from(session).unwrap() + round).await;
        match (attempt, crowd.end) {
            (Ok(true), _) => {
                crowd.granted.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            (Ok(false) | Err(Error::Unavailable(_)), End::Timeout)
            | (Err(Error::Database(_)), End::Cancel | End::StatementTimeout) => {}
            (other, end) => {
                crowd.stopped.store(true, Ordering::Relaxed);
                panic!("{other:?} by {end:?}");
            }
        }
        crowd.failed.fetch_add(1, Ordering::Relaxed);
        if is_broken(&mut conn) {
            crowd.broken.fetch_add(1, Ordering::Relaxed);
            (conn, session) = member(crowd).await;
            continue;
        }
        // A guard that was dropped may have handed over its release.
        let _ = conn.batch_execute("SELECT").await;
        let held = format!(
            "SELECT count(*)::int AS value FROM pg_locks \
             WHERE locktype = 'advisory' AND pid = {session}"
        );
        if support::integer(&mut observer, &held) != 0 {
            crowd.leaked.fetch_add(1, Ordering::Relaxed);
            (conn, session) = member(crowd).await;
        }
    }
    round
}

/// A connection, and the id of its session.
#[helper]
async fn member(crowd: &Crowd) -> (Conn, i32) {
    let mut conn = connect().await;
    let session = pid(&mut conn).await;
    let setting = match crowd.end {
        End::Timeout => "SELECT",
        End::Cancel => "SET application_name = 'races.cancelled'",
        End::StatementTimeout => "SET statement_timeout = '4ms'",
    };
    execute(&mut conn, setting).await;
    (conn, session)
}

/// Whether the lock was granted.
#[helper]
async fn attempt(crowd: &Crowd, conn: &mut Conn, round: usize) -> Result<bool, Error> {
    let pick = |round: usize| &crowd.locks[round % crowd.locks.len()];
    let mut lock = conn.advisory_session(pick(round));
    if round % 4 == 0 {
        lock = lock.and(pick(round + 1));
    } else if round % 4 == 1 {
        lock = lock.permits(2);
    }
    if crowd.end == End::Timeout {
        lock = lock.timeout(Duration::from_millis([1, 2, 3, 5][round % 4]));
    }
    let held = if round % 2 == 0 {
        Some(lock.acquire().await?)
    } else {
        lock.try_acquire().await?
    };
    let Some(mut held) = held else {
        return Ok(false);
    };
    // About as long as others wait, so that many waits end just when the lock is granted.
    held.batch_execute("SELECT pg_sleep(0.002)").await?;
    held.release().await?;
    Ok(true)
}

#[test]
fn nothing_is_left_after_a_timeout() {
    crowd(End::Timeout, 4000);
}

#[test]
fn nothing_is_left_after_a_cancelled_wait() {
    crowd(End::Cancel, 2000);
}

#[test]
fn nothing_is_left_after_a_statement_timeout() {
    crowd(End::StatementTimeout, 2000);
}
