//! `advisory_session`: a lock that is counted, and lasts across transactions until it is released.

use std::fmt::Debug;

use diesel_advisory::Error;

use super::round_trips::counted;
use super::side::*;
use crate::support::{
    Failure, Holder, Wait, assert_free, assert_taken, committed, locks_of, unavailable, unique,
};

#[scenario]
async fn a_guard_is_a_connection_whose_statements_commit_on_their_own() {
    for wait in Wait::ALL {
        let lock = unique("session");
        let mut conn = connect().await;
        let table = table(&mut conn).await;
        let pid = pid(&mut conn).await;
        let session = wait.on(conn.advisory_session(&lock));
        let mut held = session.acquire().await.unwrap();
        insert(&mut held, &table, 1).await.unwrap();
        assert_eq!(committed(&table), [1]);
        let undone = held.transaction(async |conn| {
            insert(conn, &table, 2).await?;
            Err::<(), _>(Failure::OnPurpose)
        });
        undone.await.unwrap_err();
        let done = held.transaction(async |conn| insert(conn, &table, 3).await);
        done.await.unwrap();
        assert!(held.is_held().await.unwrap());
        assert_eq!(locks_of(pid), 1);
        assert_taken(lock.clone());
        assert_eq!(committed(&table), [1, 3]);
        held.release().await.unwrap();
        assert_eq!(committed(&table), [1, 3]);
        assert_free(lock);
        assert_clean(&mut conn).await;
    }
}

#[scenario]
async fn run_holds_the_lock_for_the_closure_and_no_longer() {
    for wait in Wait::ALL {
        let lock = unique("session.run");
        let mut conn = connect().await;
        let pid = pid(&mut conn).await;
        let work = async |_: &mut Conn| {
            assert_taken(lock.clone());
            Ok::<_, Error>(locks_of(pid))
        };
        let run = wait.on(conn.advisory_session(&lock));
        assert_eq!(run.run(work).await.unwrap(), 1, "{wait:?}");
        assert_free(lock.clone());
        let run = wait.on(conn.advisory_session(&lock));
        assert_eq!(run.try_run(work).await.unwrap(), Some(1), "{wait:?}");
        assert_free(lock.clone());
        assert_clean(&mut conn).await;
    }
}

/// The release fails as well, for the lock is gone by then.
#[scenario]
async fn the_error_of_the_closure_comes_before_that_of_the_release() {
    for wait in Wait::ALL {
        let lock = unique("session.error");
        let mut conn = connect().await;
        let run = wait.on(conn.advisory_session(&lock)).run(async |conn| {
            execute(conn, "SELECT pg_advisory_unlock_all()").await;
            Err::<(), _>(Failure::OnPurpose)
        });
        let result = run.await;
        assert!(
            matches!(result, Err(Failure::OnPurpose)),
            "{wait:?}: {result:?}"
        );
        assert_free(lock);
        assert_clean(&mut conn).await;
    }
}

#[scenario]
async fn a_lock_that_was_lost_is_told_at_the_release() {
    for wait in Wait::ALL {
        let lock = unique("session.not_held");
        let mut conn = connect().await;
        for shared in [false, true] {
            let session = wait.on(conn.advisory_session(&lock));
            let session = if shared { session.shared() } else { session };
            let mut held = session.acquire().await.unwrap();
            execute(&mut held, "SELECT pg_advisory_unlock_all()").await;
            assert!(!held.is_held().await.unwrap());
            assert_not_held(&held.release().await);
        }

        let lose = async |conn: &mut Conn| {
            execute(conn, "SELECT pg_advisory_unlock_all()").await;
            Ok::<_, Error>(())
        };
        let session = wait.on(conn.advisory_session(&lock));
        assert_not_held(&session.run(lose).await);
        let session = wait.on(conn.advisory_session(&lock));
        assert_not_held(&session.try_run(lose).await);
        // Nothing is wrong with the connection.
        assert!(!AnsiTransactionManager::is_broken_transaction_manager(
            &mut conn
        ));
        assert_clean(&mut conn).await;
    }
}

/// There is nothing left to release, and nothing wrong with the session.
#[scenario]
async fn a_guard_that_is_dropped_after_its_lock_was_lost_leaves_the_session_as_it_was() {
    for wait in Wait::ALL {
        let lock = unique("session.dropped");
        let mut conn = connect().await;
        let pid = pid(&mut conn).await;
        let session = wait.on(conn.advisory_session(&lock));
        let mut held = session.acquire().await.unwrap();
        execute(&mut held, "SELECT pg_advisory_unlock_all()").await;
        drop(held);
        let session = wait.on(conn.advisory_session(&lock));
        session.acquire().await.unwrap().release().await.unwrap();
        assert_eq!(self::pid(&mut conn).await, pid, "{wait:?}");
        assert_clean(&mut conn).await;
    }
}

#[track_caller]
fn assert_not_held<T: Debug>(result: &Result<T, Error>) {
    assert!(matches!(result, Err(Error::NotHeld)), "{result:?}");
}

#[scenario]
async fn inside_a_transaction_session_locks_are_refused() {
    let lock = unique("session.refused");
    let mut conn = connect().await;
    let table = table(&mut conn).await;
    let called = async |_: &mut Conn| -> Result<(), Error> { panic!("inside a transaction") };
    let transaction = conn.transaction(async |conn| {
        insert(conn, &table, 1).await?;
        for wait in Wait::ALL {
            let session = wait.on(conn.advisory_session(&lock));
            assert_refused(&session.acquire().await.map(drop));
            let session = wait.on(conn.advisory_session(&lock));
            assert_refused(&session.try_acquire().await.map(drop));
            let session = wait.on(conn.advisory_session(&lock));
            assert_refused(&session.run(called).await);
            let session = wait.on(conn.advisory_session(&lock));
            assert_refused(&session.try_run(called).await);
        }
        // A savepoint is as much of a transaction.
        let savepoint = conn.transaction(async |conn| {
            let acquired = conn.advisory_session(&lock).acquire().await;
            assert_refused(&acquired.map(drop));
            insert(conn, &table, 2).await
        });
        savepoint.await?;
        Ok::<_, Failure>(())
    });
    transaction.await.unwrap();
    assert_eq!(committed(&table), [1, 2]);
    assert_clean(&mut conn).await;
    assert_free(lock);
}

/// Diesel does not know of it. The server does, in the message that takes the lock.
#[scenario]
async fn inside_a_raw_transaction_session_locks_are_refused() {
    let lock = unique("session.raw");
    let (proxy, mut conn) = counted().await;
    for wait in Wait::WAITING {
        let free = wait.on(conn.advisory_session(&lock)).acquire().await;
        free.unwrap().release().await.unwrap();
        execute(&mut conn, "BEGIN").await;
        proxy.reset();
        let acquired = wait.on(conn.advisory_session(&lock)).acquire().await;
        assert_refused(&acquired.map(drop));
        // What a prepared query suspects, a message makes sure of.
        assert_eq!(proxy.round_trips(), 1 + 2 * ERROR, "{wait:?}");
        execute(&mut conn, "ROLLBACK").await;
        assert_clean(&mut conn).await;
        assert_free(lock.clone());
    }
}

/// A query with parameters cannot see it, but its release does.
#[scenario]
async fn inside_a_raw_transaction_a_session_lock_without_waiting_is_told_at_its_end() {
    let lock = unique("session.raw");
    let mut conn = connect().await;
    let table = table(&mut conn).await;
    execute(&mut conn, "BEGIN").await;
    let run = conn.advisory_session(&lock).no_wait();
    assert_left_open(
        &run.run(async |conn| Ok(insert(conn, &table, 1).await?))
            .await,
    );
    assert_eq!(committed(&table), []);
    assert_clean(&mut conn).await;
    assert_free(lock);
}

#[track_caller]
fn assert_refused<T: Debug>(result: &Result<T, Error>) {
    assert!(matches!(result, Err(Error::InTransaction)), "{result:?}");
}

#[scenario]
async fn a_transaction_left_open_is_rolled_back() {
    for depth in 1..=3 {
        let lock = unique("session.left_open");
        let mut conn = connect().await;
        let table = table(&mut conn).await;
        let mut held = conn.advisory_session(&lock).acquire().await.unwrap();
        for _ in 0..depth {
            begin(&mut held).await;
            insert(&mut held, &table, 1).await.unwrap();
        }
        assert!(held.is_held().await.unwrap());
        assert_left_open(&held.release().await);
        assert_free(lock.clone());
        assert_clean(&mut conn).await;

        let run = conn.advisory_session(&lock).run(async |conn| {
            for _ in 0..depth {
                begin(conn).await;
            }
            insert(conn, &table, 1).await?;
            Ok(())
        });
        assert_left_open(&run.await);
        assert_free(lock);
        assert_clean(&mut conn).await;

        assert_eq!(committed(&table), []);
        let next = conn.transaction(async |conn| insert(conn, &table, 2).await);
        next.await.unwrap();
        assert_eq!(committed(&table), [2]);
    }
}

#[scenario]
async fn a_failed_transaction_left_open_is_rolled_back() {
    let lock = unique("session.left_failed");
    let mut conn = connect().await;
    let run = conn.advisory_session(&lock).run(async |conn| {
        begin(conn).await;
        insert(conn, "no_such_table", 1).await.unwrap_err();
        Ok(())
    });
    assert_left_open(&run.await);
    assert_clean(&mut conn).await;
    assert_free(lock);
}

#[track_caller]
fn assert_left_open<T: Debug>(result: &Result<T, Error>) {
    assert!(
        matches!(result, Err(Error::TransactionLeftOpen)),
        "{result:?}"
    );
}

#[scenario]
async fn a_lock_is_free_when_it_was_released_as_often_as_taken() {
    for wait in Wait::ALL {
        let lock = unique("session.count");
        let mut conn = connect().await;
        let session = wait.on(conn.advisory_session(&lock));
        let mut outer = session.acquire().await.unwrap();
        let session = wait.on(outer.advisory_session(&lock));
        let mut middle = session.acquire().await.unwrap();
        let session = wait.on(middle.advisory_session(&lock));
        session.acquire().await.unwrap().release().await.unwrap();
        assert_taken(lock.clone());
        assert!(middle.is_held().await.unwrap());
        middle.release().await.unwrap();
        assert_taken(lock.clone());
        // The other scopes are counted apart.
        let run = wait.on(outer.advisory(&lock));
        run.run(async |_| Ok::<_, Error>(())).await.unwrap();
        assert!(outer.is_held().await.unwrap());
        assert_taken(lock.clone());
        outer.release().await.unwrap();
        assert_free(lock);
        assert_clean(&mut conn).await;
    }
}

#[scenario]
async fn run_inside_run_does_not_wait_for_itself() {
    let lock = unique("session.run");
    let mut conn = connect().await;
    let run = conn.advisory_session(&lock).run(async |conn| {
        let run = conn.advisory_session(&lock).run(async |conn| {
            let run = conn.advisory(&lock);
            run.run(async |_| Ok::<_, Error>(7)).await
        });
        let value = run.await?;
        assert_taken(lock.clone());
        Ok::<_, Error>(value)
    });
    assert_eq!(run.await.unwrap(), 7);
    assert_free(lock);
}

#[scenario]
async fn everything_that_derefs_to_a_connection_can_be_owned() {
    let lock = unique("session.own");
    let conn = Box::new(connect().await);
    let mut held = conn.into_advisory_session(&lock).acquire().await.unwrap();
    assert!(held.is_held().await.unwrap());
    let pid = pid(&mut held).await;
    assert_eq!(locks_of(pid), 1);
    assert_taken(lock.clone());
    held.release().await.unwrap();
    assert_free(lock.clone());

    let mut conn = connect().await;
    let borrowed = (&mut conn).into_advisory_session(&lock).no_wait();
    let held = borrowed.try_acquire().await.unwrap().unwrap();
    assert_taken(lock.clone());
    held.release().await.unwrap();
    assert_free(lock.clone());

    let _holder = Holder::of(lock.clone());
    let boxed = Box::new(connect().await);
    let in_vain = boxed.into_advisory_session(&lock).no_wait();
    assert!(in_vain.try_acquire().await.unwrap().is_none());
    let in_vain = (&mut conn).into_advisory_session(&lock).no_wait();
    unavailable(in_vain.acquire().await.map(drop).unwrap_err());
}
