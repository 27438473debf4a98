//! What a wait for a session lock leaves as it was, however it ends.

use std::time::Duration;

use diesel_advisory::{AdvisoryConnection, Error};

use crate::support::*;

#[track_caller]
fn assert_database(result: &Result<(), Error>) {
    assert!(matches!(result, Err(Error::Database(_))), "{result:?}");
}

#[test]
fn a_deadlock_leaves_what_was_held_before() {
    for wait in Wait::WAITING {
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
fn a_session_lock_leaves_lock_timeout_as_it_was() {
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
