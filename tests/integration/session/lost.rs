//! Session locks that were lost before they were released: that is told, and never passed over.

use diesel::prelude::*;
use diesel::r2d2::R2D2Connection;
use diesel_advisory::{AdvisoryConnection, Error, IntoAdvisorySession};
use diesel_advisory_sandbox::Sandbox;

use crate::support::*;

fn unlock_all(conn: &mut PgConnection) -> QueryResult<usize> {
    diesel::sql_query("SELECT pg_advisory_unlock_all()").execute(conn)
}

#[track_caller]
fn assert_not_held(result: &Result<(), Error>) {
    assert!(matches!(result, Err(Error::NotHeld)), "{result:?}");
}

#[test]
fn a_dropped_guard_is_silent_about_it() {
    let (mut conn, name) = (connect(), unique("loss.dropped"));
    let mut held = conn.advisory_session(&name).acquire().unwrap();
    unlock_all(&mut held).unwrap();
    drop(held);
    assert_clean(&mut conn);
}

#[test]
fn what_is_left_of_a_set_is_released() {
    let (mut conn, lost, kept) = (connect(), unique("loss.set"), unique("loss.set"));
    let mut held = conn.advisory_session(&lost).and(&kept).acquire().unwrap();
    unlock_all(&mut held).unwrap();
    lock_session(&mut held, kept.clone());
    assert!(!held.is_held().unwrap());
    assert_not_held(&held.release());
    assert_clean(&mut conn);
    assert_free(kept);
}

/// What somebody else has taken since must not be released.
#[test]
fn what_others_have_taken_since_is_left_to_them() {
    let (mut conn, name) = (connect(), unique("loss.taken"));
    let mut held = conn.advisory_session(&name).acquire().unwrap();
    unlock_all(&mut held).unwrap();
    let mut other = connect();
    let mut taken = other.advisory_session(&name).no_wait().acquire().unwrap();
    assert!(!held.is_held().unwrap());
    assert_not_held(&held.release());
    assert!(taken.is_held().unwrap());
    taken.release().unwrap();
}

/// A guard is as good as the connection in it.
#[test]
fn lost_with_the_connection_of_another() {
    let (mut conn, mut other, name) = (connect(), connect(), unique("loss.swapped"));
    let mut held = conn.advisory_session(&name).acquire().unwrap();
    std::mem::swap(&mut *held, &mut other);
    assert!(!held.is_held().unwrap());
    assert_not_held(&held.release());
    assert!(conn.is_advisory_locked(&name).unwrap());
}

/// Loses the session of a pooled guard in some way, and asserts that it is told and replaced.
#[track_caller]
fn lose(server: &Sandbox, lose: impl Fn(i32)) {
    let pool = pool_of_one(server.url());
    let name = unique("loss.session");
    for ask_first in [true, false] {
        let mut conn = pool.get().unwrap();
        let before = pid(&mut conn);
        let mut held = conn.into_advisory_session(&name).acquire().unwrap();
        lose(before);
        if ask_first {
            let answer = held.is_held();
            assert!(matches!(answer, Err(Error::Database(_))), "{answer:?}");
        }
        let released = held.release();
        assert!(matches!(released, Err(Error::Database(_))), "{released:?}");

        let mut next = pool.get().unwrap();
        assert_ne!(pid(&mut next), before);
        next.advisory_session(&name)
            .no_wait()
            .acquire()
            .unwrap()
            .release()
            .unwrap();
    }

    let mut conn = pool.get().unwrap();
    let before = pid(&mut conn);
    let ran = conn.advisory_session(&name).run(|_| {
        lose(before);
        Ok(())
    });
    assert!(matches!(ran, Err(Error::Database(_))), "{ran:?}");
    assert!(conn.is_broken());
    drop(conn);

    let conn = pool.get().unwrap();
    let mut held = conn.into_advisory_session(&name).acquire().unwrap();
    let before = pid(&mut held);
    lose(before);
    drop(held);
    assert_ne!(pid(&mut pool.get().unwrap()), before);
}

#[test]
fn lost_with_a_killed_backend() {
    let server = Sandbox::start().unwrap();
    lose(&server, |pid| server.kill_backend(pid).unwrap());
}

#[test]
fn lost_with_a_restarted_server() {
    let server = Sandbox::start().unwrap();
    lose(&server, |_| server.restart().unwrap());
}

#[test]
fn lost_with_a_crashed_server() {
    let server = Sandbox::start().unwrap();
    lose(&server, |_| {
        server.crash().unwrap();
        server.start_again().unwrap();
    });
}

/// The server does not know yet that it is alone.
#[test]
fn lost_with_a_cut_connection() {
    let proxy = Sandbox::shared().proxy();
    let name = unique("loss.cut");
    let mut conn = connect_to(proxy.url());
    let mut held = conn.advisory_session(&name).acquire().unwrap();
    proxy.cut();
    assert!(matches!(held.is_held(), Err(Error::Database(_))));
    assert!(matches!(held.release(), Err(Error::Database(_))));
    assert!(conn.is_broken());
    wait_until_free(name);
}

#[test]
fn lost_with_a_connection_cut_during_the_wait() {
    for wait in Wait::WAITING {
        let proxy = Sandbox::shared().proxy();
        let name = unique("loss.waiting");
        let mut conn = connect_to(proxy.url());
        let holder = Holder::of(name.clone());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let lock = wait.on(conn.advisory_session(&name));
                lock.acquire().map(drop).unwrap_err()
            });
            wait_until_queued(name.clone(), 1);
            proxy.cut();
            let error = waiting.join().unwrap();
            assert!(matches!(error, Error::Database(_)), "{error:?}");
        });
        assert!(conn.is_broken());
        // The backend gets the lock, finds nobody to tell, and ends.
        drop(holder);
        wait_until_free(name);
    }
}
