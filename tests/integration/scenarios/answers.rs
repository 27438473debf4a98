//! When an answer arrives, what it says is true: another session can act on it at once.
//!
//! An error is reported before the server undoes what has failed. That takes the longer the more locks
//! there are.

use std::time::Duration;

use diesel_advisory::Error;

use super::side::*;
use crate::support::{Holder, LEVELS, Wait, at_level};

/// How many locks are asked for at once.
const LOCKS: i32 = 2_000;

const ROUNDS: usize = 20;

/// Asserts that this session gets each of the locks now.
#[helper]
async fn assert_all_are_free(conn: &mut Conn, number: i32, case: &str) {
    let locks = format!(
        "SELECT count(*)::int AS value FROM generate_series(1, {LOCKS}) AS l \
         WHERE NOT pg_try_advisory_xact_lock({number}, l)"
    );
    assert_eq!(integer(conn, &locks).await, 0, "{case}: still held");
}

#[scenario]
async fn when_a_set_is_refused_its_free_part_is_free() {
    let (mut conn, mut other) = (connect().await, connect().await);
    let pid = pid(&mut conn).await;
    // The last one in order.
    let _holder = Holder::of((pid, LOCKS + 1));
    for wait in [Wait::No, Wait::AtMost(Duration::from_millis(1))] {
        for round in 0..ROUNDS {
            let case = format!("{wait:?}, round {round}");
            let set = (1..=LOCKS + 1).map(|lock| (pid, lock));
            let set = wait.on(conn.advisory_session_all(set));
            assert!(set.try_acquire().await.unwrap().is_none(), "{case}");
            assert_all_are_free(&mut other, pid, &case).await;
        }
    }
}

#[scenario]
async fn when_a_commit_has_failed_the_lock_is_free() {
    let (mut conn, mut other) = (connect().await, connect().await);
    let (table, pid) = (table(&mut conn).await, pid(&mut conn).await);
    let deferred = format!("ALTER TABLE {table} ADD UNIQUE (value) DEFERRABLE INITIALLY DEFERRED");
    execute(&mut conn, &deferred).await;
    for level in LEVELS {
        for round in 0..ROUNDS {
            let case = format!("{level:?}, round {round}");
            let set = conn.advisory_all((1..=LOCKS).map(|lock| (pid, lock)));
            let run = at_level!(Some(level), set).run(async |conn| {
                insert(conn, &table, 1).await?;
                insert(conn, &table, 1).await?;
                Ok::<_, Error>(())
            });
            let failed = run.await;
            assert!(matches!(failed, Err(Error::Database(_))), "{failed:?}");
            assert_all_are_free(&mut other, pid, &case).await;
        }
    }
}
