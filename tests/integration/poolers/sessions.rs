//! Session locks behind a pooler in transaction mode exclude nobody, and that is told.

use std::env;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error};

use super::pgbouncer::{Pooler, Turn};
use crate::support::*;

/// The variable with the pooler of a process that asks for the lock of another.
const URL: &str = "DIESEL_ADVISORY_TEST_POOLER";

const LOCK: &str = "poolers.processes";

/// The other process: this test program again. As a test among the others, it does nothing.
#[test]
fn another_process_behind_the_pooler() {
    let Ok(url) = env::var(URL) else { return };
    let (mut first, mut second) = (connect_to(&url), connect_to(&url));
    let mut shared = 0;
    for round in 0..25 {
        let others = [Wait::No, Wait::AtMost(Duration::from_millis(5))];
        for wait in others {
            // The session of the holder, which the pooler gives first.
            let acquired = wait.on(first.advisory_session(LOCK)).acquire().map(drop);
            assert!(
                matches!(acquired, Err(Error::SharedSession)),
                "{wait:?}, round {round}: {acquired:?}"
            );
            shared += 1;
            // While that one is in use, another session.
            let acquired = first.transaction(|_| {
                let lock = wait.on(second.advisory_session(LOCK));
                Ok::<_, Error>(lock.acquire().map(drop))
            });
            let refused = acquired.unwrap().unwrap_err();
            assert!(
                matches!(refused, Error::SharedSession | Error::Unavailable(_)),
                "{wait:?}, round {round}: {refused:?}"
            );
        }
    }
    assert_eq!(shared, 50);
}

#[test]
fn of_two_processes_the_second_is_always_refused() {
    for pooler in Pooler::of_each_version(Turn::MostRecent) {
        let mut conn = pooler.connect();
        let held = conn.advisory_session(LOCK).acquire().unwrap();
        let name = "poolers::sessions::another_process_behind_the_pooler";
        let other = Command::new(env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(URL, pooler.url())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&other.stderr);
        assert!(other.status.success(), "{said}");
        // Nobody else has held a lock in its session.
        held.release().unwrap();
        pooler.assert_clean();
    }
}

#[test]
fn eight_clients_of_one_process_hear_of_it_within_the_first_ten_locks() {
    const CLIENTS: usize = 8;

    for pooler in Pooler::of_each_version(Turn::MostRecent) {
        for round in 0..5 {
            let (taken, start) = (AtomicUsize::new(0), Barrier::new(CLIENTS));
            let heard = AtomicUsize::new(usize::MAX);
            thread::scope(|scope| {
                for _ in 0..CLIENTS {
                    scope.spawn(|| {
                        let mut conn = pooler.connect();
                        start.wait();
                        while heard.load(Ordering::SeqCst) == usize::MAX {
                            let mut which = usize::MAX;
                            // One that waits for ever keeps the holder from the server.
                            let lock = conn.advisory_session("poolers.eight");
                            let run = lock.timeout(Duration::from_millis(20)).try_run(|conn| {
                                which = taken.fetch_add(1, Ordering::SeqCst) + 1;
                                // Long enough for others to come into the session in the meantime.
                                for _ in 0..5 {
                                    execute(conn, "SELECT 1");
                                }
                                Ok(())
                            });
                            if matches!(run, Err(Error::SharedSession | Error::NotHeld)) {
                                heard.fetch_min(which, Ordering::SeqCst);
                            }
                        }
                    });
                }
            });
            let heard = heard.into_inner();
            assert!(heard <= 10, "round {round}: told of lock {heard}");
            // What is left behind in the sessions ends with them.
            let mut conn = connect_to(pooler.server.url());
            execute(&mut conn, END_OTHERS);
        }
    }
}

const END_OTHERS: &str = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity \
     WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
