//! The edges of `timeout`: nothing short becomes "forever", and nothing long becomes short.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error};

use crate::support::{
    Holder, PATIENCE, assert_free, connect, execute, integer, pid, unavailable, unique, wait_until,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Both scopes wait in the same way.
fn lock(
    conn: &mut PgConnection,
    lock: &str,
    timeout: Option<Duration>,
    own: bool,
) -> Result<(), Error> {
    if own {
        conn.advisory(lock).timeout(timeout).run(|_| Ok(()))
    } else {
        conn.transaction(|conn| conn.advisory_xact(lock).timeout(timeout).acquire())
    }
}

#[test]
fn short_ones_end_after_that_time() {
    for timeout in [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_micros(1_001),
        Duration::from_secs(2),
    ] {
        for own in [true, false] {
            let name = unique("timeouts.short");
            let holder = Holder::of(name.clone());
            let mut conn = connect();
            // A timeout of the lock's own counts instead of that of the session.
            execute(&mut conn, "SET lock_timeout = '1ms'");
            let began = Instant::now();
            let error = lock(&mut conn, &name, Some(timeout), own).unwrap_err();
            let took = began.elapsed();
            let unavailable = unavailable(error);
            assert_eq!(unavailable.lock.to_string(), name);
            assert!(unavailable.waited >= timeout, "{timeout:?}: {unavailable}");
            assert!(took >= unavailable.waited, "{timeout:?}: {took:?}");
            assert!(took < timeout + PATIENCE / 2, "{timeout:?}: {took:?}");
            drop(holder);
            assert_free(name);
        }
    }
}

#[test]
fn zero_does_not_wait() {
    let name = unique("timeouts.zero");
    let _holder = Holder::of(name.clone());
    let mut conn = connect();
    // This would end a wait, but not as unavailable.
    execute(
        &mut conn,
        "SET deadlock_timeout = '1ms'; SET log_lock_waits = on",
    );
    execute(&mut conn, "SET statement_timeout = '30s'");
    for own in [true, false] {
        let error = lock(&mut conn, &name, Some(Duration::ZERO), own).unwrap_err();
        assert!(unavailable(error).waited < PATIENCE / 2);
    }
}

#[test]
fn none_and_long_ones_wait_on_past_the_sessions_own() {
    for timeout in [None, Some(20 * DAY), Some(60 * DAY), Some(Duration::MAX)] {
        for own in [true, false] {
            let name = unique("timeouts.long");
            let holder = Holder::of(name.clone());
            let mut conn = connect();
            execute(&mut conn, "SET lock_timeout = '1ms'");
            let waits_on = format!(
                "SELECT count(*)::int AS value FROM pg_stat_activity WHERE pid = {} AND \
                 wait_event = 'advisory' AND clock_timestamp() - query_start > interval '100 ms'",
                pid(&mut conn)
            );
            let releasing = std::thread::spawn(move || {
                let mut conn = connect();
                wait_until("it waits on", || integer(&mut conn, &waits_on) == 1);
                drop(holder);
            });
            lock(&mut conn, &name, timeout, own).unwrap();
            releasing.join().unwrap();
            assert_free(name);
        }
    }
}
