//! Above read committed, where the lock is that of the session for a moment: it is not lost, nor left.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error};

use crate::support::{
    Holder, LEVELS, SOURCES, Source, Wait, assert_clean, assert_free, assert_taken, at_level,
    committed, connect, execute, insert, integer, table, unavailable, unique,
};

fn connect_as(source: Source) -> PgConnection {
    let mut conn = connect();
    execute(&mut conn, &source.set());
    conn
}

#[test]
fn two_writers_never_lose_an_update_or_fail() {
    const ROUNDS: usize = 200;

    for source in SOURCES {
        for wait in Wait::ALL {
            let lock = unique("isolation");
            let table = table(&mut connect());
            insert(&mut connect(), &table, 0).unwrap();
            let start = Barrier::new(2);
            let add_one = |conn: &mut PgConnection| {
                let value = integer(conn, &format!("SELECT value FROM {table}"));
                diesel::sql_query(format!("UPDATE {table} SET value = {value} + 1")).execute(conn)
            };
            let write = || {
                let mut conn = connect_as(source);
                start.wait();
                let mut rounds = 0;
                while rounds < ROUNDS {
                    let lock = wait.on(at_level!(source.builder, conn.advisory(&lock)));
                    let done = match wait {
                        Wait::No => lock.try_run(add_one),
                        _ => lock.run(add_one).map(Some),
                    };
                    match done.unwrap_or_else(|error| panic!("{source:?}, {wait:?}: {error}")) {
                        Some(_) => rounds += 1,
                        None => thread::yield_now(),
                    }
                }
                assert_clean(&mut conn);
            };
            thread::scope(|scope| {
                scope.spawn(write);
                scope.spawn(write);
            });
            assert_eq!(committed(&table), [400], "{source:?}, {wait:?}");
        }
    }
}

#[test]
fn a_wait_in_vain_leaves_no_session_lock() {
    for source in SOURCES {
        for wait in [Wait::No, Wait::AtMost(Duration::from_millis(3))] {
            let (lock, free) = (unique("isolation.vain"), unique("isolation.free"));
            let _holder = Holder::of(lock.clone());
            let mut conn = connect_as(source);
            let set = wait
                .on(at_level!(source.builder, conn.advisory(&lock)))
                .and(&free);
            let error = set.run(|_| Ok::<_, Error>(())).unwrap_err();
            assert_eq!(unavailable(error).lock.to_string(), lock);
            assert_clean(&mut conn);
            assert_free(free);
        }
    }
}

#[test]
fn a_failure_of_the_closure_leaves_no_session_lock() {
    for level in LEVELS {
        let lock = unique("isolation.fail");
        let mut conn = connect();
        let result = at_level!(Some(level), conn.advisory(&lock))
            .and(7_001)
            .run(|_| Err::<(), _>(diesel::NotFound));
        assert_eq!(result, Err(diesel::NotFound));
        assert_clean(&mut conn);
        assert_free(lock);
    }
}

#[test]
fn a_session_lock_that_was_held_before_stays() {
    for level in LEVELS {
        let lock = unique("isolation.held");
        let mut holder = connect();
        let mut held = holder.advisory_session(&lock).acquire().unwrap();
        let run = at_level!(Some(level), held.advisory(&lock));
        run.run(|_| QueryResult::Ok(())).unwrap();
        assert_taken(lock.clone());
        held.release().unwrap();
        assert_free(lock);
    }
}
