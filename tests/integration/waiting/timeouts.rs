//! The edges of `timeout`: nothing short becomes "forever", and nothing long becomes short.

use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error};
use diesel_advisory_sandbox::Sandbox;

use crate::support::{
    Holder, assert_free, connect, connect_to, execute, lock_timeout, pid, unavailable, unique,
    wait_until_waited,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

type Lock = fn(&mut PgConnection, &str, Option<Duration>) -> Result<(), Error>;

/// All of them wait in the same way.
const SCOPES: [Lock; 5] = [
    |conn, lock, timeout| conn.advisory(lock).timeout(timeout).run(|_| Ok(())),
    |conn, lock, timeout| {
        let lock = conn.advisory(lock).serializable().timeout(timeout);
        lock.run(|_| Ok(()))
    },
    |conn, lock, timeout| {
        conn.transaction(|conn| conn.advisory_xact(lock).timeout(timeout).acquire())
    },
    |conn, lock, timeout| {
        let held = conn.advisory_session(lock).timeout(timeout).acquire()?;
        held.release()
    },
    |conn, lock, timeout| {
        let set = conn.advisory(lock).and((lock, 1)).and((lock, 2));
        set.timeout(timeout).run(|_| Ok(()))
    },
];

#[test]
fn short_timeouts_end_after_that_time() {
    for timeout in [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_micros(1_001),
        Duration::from_secs(2),
    ] {
        for lock in SCOPES {
            let name = unique("timeouts.short");
            let holder = Holder::of(name.clone());
            let mut conn = connect();
            // A timeout of the lock's own counts instead of that of the session, and no wait that has
            // become an endless one ends as unavailable.
            execute(
                &mut conn,
                "SET lock_timeout = '1ms'; SET statement_timeout = '30s'",
            );
            let began = Instant::now();
            let error = lock(&mut conn, &name, Some(timeout)).unwrap_err();
            let took = began.elapsed();
            let unavailable = unavailable(error);
            assert_eq!(unavailable.lock.to_string(), name);
            assert!(unavailable.waited >= timeout, "{timeout:?}: {unavailable}");
            assert!(took >= unavailable.waited, "{timeout:?}: {took:?}");
            assert_eq!(lock_timeout(&mut conn), "1ms");
            drop(holder);
            assert_free(name);
        }
    }
}

#[test]
fn a_timeout_of_zero_is_the_same_as_no_wait() {
    let name = unique("timeouts.zero");
    let _holder = Holder::of(name.clone());
    let proxy = Sandbox::shared().proxy();
    let mut conn = connect_to(proxy.url());
    let no_wait: Lock = |conn, lock, _| conn.advisory(lock).no_wait().run(|_| Ok(()));
    let sent = [no_wait, SCOPES[0]].map(|lock| {
        proxy.reset();
        unavailable(lock(&mut conn, &name, Some(Duration::ZERO)).unwrap_err());
        proxy.sent()
    });
    assert_eq!(sent[0], sent[1]);
}

#[test]
fn no_timeout_and_long_ones_wait_on_past_the_sessions_own() {
    for timeout in [None, Some(20 * DAY), Some(60 * DAY), Some(Duration::MAX)] {
        for lock in SCOPES {
            let name = unique("timeouts.long");
            let holder = Holder::of(name.clone());
            let mut conn = connect();
            execute(&mut conn, "SET lock_timeout = '1ms'");
            let pid = pid(&mut conn);
            let releasing = std::thread::spawn(move || {
                wait_until_waited(pid, "advisory", 100);
                drop(holder);
            });
            lock(&mut conn, &name, timeout).unwrap();
            releasing.join().unwrap();
            assert_eq!(lock_timeout(&mut conn), "1ms");
            assert_free(name);
        }
    }
}
