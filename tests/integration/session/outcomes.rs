//! How a wait for a session lock can end, and that the outcomes are told from each other.

use std::time::Duration;

use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error};
use diesel_advisory_sandbox::Sandbox;

use crate::support::*;

/// Those that wait, if the lock is not free.
const WAITING: [Wait; 3] = [Wait::Inherit, Wait::AtMost(PATIENCE), Wait::Forever];

/// Waits for a lock that another session holds, and has something done to the wait meanwhile.
fn end_the_wait(
    conn: &mut PgConnection,
    wait: Wait,
    end: impl FnOnce(i32) + Send,
) -> Result<(), Error> {
    let name = unique("outcomes.wait");
    let _holder = Holder::of(name.clone());
    let pid = pid(conn);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_until_queued(name.clone(), 1);
            end(pid);
        });
        wait.on(conn.advisory_session(&name)).acquire()?.release()
    })
}

#[track_caller]
fn assert_database(result: &Result<(), Error>) {
    assert!(matches!(result, Err(Error::Database(_))), "{result:?}");
}

#[test]
fn a_cancelled_wait_is_a_database_error() {
    let mut conn = connect();
    execute(&mut conn, "SET lock_timeout = '61s'");
    for wait in WAITING {
        assert_database(&end_the_wait(&mut conn, wait, |pid| {
            execute(&mut connect(), &format!("SELECT pg_cancel_backend({pid})"));
        }));
        assert_clean(&mut conn);
        assert_eq!(lock_timeout(&mut conn), "61s");
    }
}

#[test]
fn a_statement_timeout_is_a_database_error() {
    let (mut conn, name) = (connect(), unique("outcomes.statement_timeout"));
    let _holder = Holder::of(name.clone());
    execute(&mut conn, "SET lock_timeout = '61s'");
    for wait in WAITING {
        execute(&mut conn, "SET statement_timeout = '200ms'");
        let result = wait.on(conn.advisory_session(&name)).try_acquire();
        assert_database(&result.map(drop));
        execute(&mut conn, "RESET statement_timeout");
        assert_clean(&mut conn);
        assert_eq!(lock_timeout(&mut conn), "61s");
    }
}

#[test]
fn a_killed_backend_is_a_database_error() {
    for wait in WAITING {
        let mut conn = connect();
        let own_pid = pid(&mut conn);
        assert_database(&end_the_wait(&mut conn, wait, |pid| {
            Sandbox::shared().kill_backend(pid).unwrap();
        }));
        assert_eq!(locks_of(own_pid), 0);
    }
}

#[test]
fn a_deadlock_is_a_database_error() {
    for wait in WAITING {
        let (mut conn, mut other) = (connect(), connect());
        let (ours, theirs) = (unique("outcomes.ours"), unique("outcomes.theirs"));
        // The session that looks first is the one that is broken off.
        execute(
            &mut conn,
            "SET deadlock_timeout = '10ms'; SET lock_timeout = '61s'",
        );
        execute(&mut other, "SET deadlock_timeout = '10min'");
        let mut held = conn.advisory_session(&ours).acquire().unwrap();
        std::thread::scope(|scope| {
            let (ready, is_ready) = std::sync::mpsc::channel();
            let (ours, theirs) = (&ours, &theirs);
            let crossed = scope.spawn(move || {
                let mut held = other.advisory_session(theirs).acquire().unwrap();
                ready.send(()).unwrap();
                held.advisory_session(ours).acquire().unwrap().release()
            });
            is_ready.recv().unwrap();
            wait_until_queued(ours.clone(), 1);
            let result = wait.on(held.advisory_session(theirs)).acquire();
            assert_database(&result.map(drop));
            // What it held before is not the less held.
            assert!(held.is_held().unwrap());
            assert_eq!(lock_timeout(&mut held), "61s");
            held.release().unwrap();
            crossed.join().unwrap().unwrap();
        });
        assert_clean(&mut conn);
        assert_free(ours);
        assert_free(theirs);
    }
}

#[test]
fn the_sessions_own_timeout_is_unavailable() {
    let (mut conn, name) = (connect(), unique("outcomes.own_timeout"));
    let _holder = Holder::of(name.clone());
    execute(&mut conn, "SET lock_timeout = '20ms'");
    let error = unavailable(conn.advisory_session(&name).acquire().unwrap_err());
    assert!(error.waited >= Duration::from_millis(20), "{error}");
    assert!(
        conn.advisory_session(&name)
            .try_acquire()
            .unwrap()
            .is_none()
    );
    assert_eq!(lock_timeout(&mut conn), "20ms");
    assert_clean(&mut conn);
}

#[test]
fn a_timeout_of_ones_own_overrules_that_of_the_session() {
    let (mut conn, name) = (connect(), unique("outcomes.overruled"));
    execute(&mut conn, "SET lock_timeout = '1ms'");
    for wait in [Wait::AtMost(PATIENCE), Wait::Forever] {
        // Longer than the session's own one would last.
        let released = Holder::of(name.clone()).until_queued(name.clone());
        wait.on(conn.advisory_session(&name))
            .acquire()
            .unwrap()
            .release()
            .unwrap();
        released.join().unwrap();
        assert_eq!(lock_timeout(&mut conn), "1ms");
    }
    let _holder = Holder::of(name.clone());
    execute(&mut conn, "SET lock_timeout = 0");
    let lock = conn
        .advisory_session(&name)
        .timeout(Duration::from_millis(1));
    unavailable(lock.acquire().unwrap_err());
    assert_eq!(lock_timeout(&mut conn), "0");
}

#[test]
fn the_sessions_timeout_is_as_before_whatever_the_wait() {
    let mut conn = connect();
    let rows = table(&mut conn);
    for before in ["0", "1234ms", "2s"] {
        execute(&mut conn, &format!("SET lock_timeout = '{before}'"));
        for wait in Wait::ALL {
            let (name, other) = (unique("outcomes.before"), unique("outcomes.before"));
            let mut held = wait
                .on(conn.advisory_session(&name).and(&other))
                .acquire()
                .unwrap();
            assert_eq!(lock_timeout(&mut held), before, "{wait:?}");
            // Set by the user, it is the user's: the release does not take it back.
            execute(&mut held, "SET lock_timeout = '77ms'");
            insert(&mut held, &rows, 1).unwrap();
            held.release().unwrap();
            assert_eq!(lock_timeout(&mut conn), "77ms", "{wait:?}");
            execute(&mut conn, &format!("SET lock_timeout = '{before}'"));

            if wait != Wait::No {
                let released = Holder::of(name.clone()).until_queued(name.clone());
                let mut held = wait.on(conn.advisory_session(&name)).acquire().unwrap();
                assert_eq!(lock_timeout(&mut held), before, "{wait:?}, waited");
                held.release().unwrap();
                released.join().unwrap();
            }
        }
        let name = unique("outcomes.before");
        let _holder = Holder::of(name.clone());
        for timeout in [Duration::ZERO, Duration::from_millis(3)] {
            let lock = conn.advisory_session(&name).timeout(timeout);
            unavailable(lock.acquire().unwrap_err());
            assert_eq!(lock_timeout(&mut conn), before, "{timeout:?}, in vain");
        }
    }
}

/// The text of the error is another one then, and nothing else says what it was.
#[test]
fn a_timeout_is_told_in_german_too() {
    let (mut conn, name) = (connect(), unique("outcomes.german"));
    if !speak_german(&mut conn) {
        return;
    }
    let _holder = Holder::of(name.clone());
    let lock = conn
        .advisory_session(&name)
        .timeout(Duration::from_millis(5));
    unavailable(lock.acquire().unwrap_err());

    execute(&mut conn, "SET statement_timeout = '200ms'");
    let error = conn.advisory_session(&name).acquire().unwrap_err();
    let Error::Database(error) = error else {
        panic!("a database error is what it should be: {error:?}");
    };
    assert!(error.to_string().contains("storniere Anfrage"), "{error}");
}
