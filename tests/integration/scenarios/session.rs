//! Locks of the session: they are counted, and last across transactions until they are released.

use diesel_advisory::Error;

use super::side::*;
use crate::support::{Holder, Wait, assert_free, committed, locks_of, unique};

#[derive(Debug)]
#[expect(dead_code, reason = "shown when a test fails")]
enum Failure {
    OnPurpose,
    Lock(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Lock(error)
    }
}

impl From<diesel::result::Error> for Failure {
    fn from(error: diesel::result::Error) -> Self {
        Self::Lock(error.into())
    }
}

#[scenario]
async fn the_lock_lasts_across_transactions() {
    for wait in Wait::ALL {
        let lock = unique("scenario.session");
        let mut conn = connect().await;
        let table = table(&mut conn).await;
        let pid = pid(&mut conn).await;
        let mut held = wait
            .on(conn.advisory_session(&lock))
            .acquire()
            .await
            .unwrap();
        insert(&mut held, &table, 1).await.unwrap();
        assert_eq!(committed(&table), [1]);
        let transaction = held.transaction(async |conn| {
            insert(conn, &table, 2).await?;
            Err::<(), _>(Failure::OnPurpose)
        });
        transaction.await.unwrap_err();
        assert!(held.is_held().await.unwrap());
        assert_eq!(locks_of(pid), 1);
        held.release().await.unwrap();
        assert_eq!(committed(&table), [1]);
        assert_free(lock);
        assert_clean(&mut conn).await;
    }
}

#[scenario]
async fn run_releases_and_the_error_of_the_closure_comes_first() {
    for wait in Wait::ALL {
        let lock = unique("scenario.session_run");
        let mut conn = connect().await;
        let pid = pid(&mut conn).await;
        let run = wait.on(conn.advisory_session(&lock));
        let held = run.run(async |_| Ok::<_, Failure>(locks_of(pid))).await;
        assert_eq!(held.unwrap(), 1);
        assert_free(lock.clone());

        // The release would fail as well, for the lock is gone by then.
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
        let lock = unique("scenario.not_held");
        let mut conn = connect().await;
        let mut held = wait
            .on(conn.advisory_session(&lock))
            .acquire()
            .await
            .unwrap();
        execute(&mut held, "SELECT pg_advisory_unlock_all()").await;
        assert!(!held.is_held().await.unwrap());
        let error = held.release().await.unwrap_err();
        assert!(matches!(error, Error::NotHeld), "{error:?}");

        let run = wait.on(conn.advisory_session(&lock)).run(async |conn| {
            execute(conn, "SELECT pg_advisory_unlock_all()").await;
            Ok::<_, Error>(())
        });
        let error = run.await.unwrap_err();
        assert!(matches!(error, Error::NotHeld), "{error:?}");
        assert_clean(&mut conn).await;
    }
}

#[scenario]
async fn a_transaction_left_open_is_rolled_back_by_the_release() {
    for depth in [1, 2] {
        let lock = unique("scenario.left_open");
        let mut conn = connect().await;
        let table = table(&mut conn).await;
        let mut held = conn.advisory_session(&lock).acquire().await.unwrap();
        for _ in 0..depth {
            AnsiTransactionManager::begin_transaction(&mut *held)
                .await
                .unwrap();
            insert(&mut held, &table, 1).await.unwrap();
        }
        let error = held.release().await.unwrap_err();
        assert!(matches!(error, Error::InTransaction), "{error:?}");
        assert_eq!(committed(&table), []);
        assert_free(lock);
        assert_clean(&mut conn).await;
    }
}

#[scenario]
async fn a_lock_is_free_when_it_was_released_as_often_as_taken() {
    for wait in Wait::ALL {
        let lock = unique("scenario.count");
        let mut conn = connect().await;
        let mut other = connect().await;
        let mut outer = wait
            .on(conn.advisory_session(&lock))
            .acquire()
            .await
            .unwrap();
        let inner = wait
            .on(outer.advisory_session(&lock))
            .acquire()
            .await
            .unwrap();
        inner.release().await.unwrap();
        // The other scopes are counted apart.
        let run = wait.on(outer.advisory(&lock));
        run.run(async |_| Ok::<_, Error>(())).await.unwrap();
        assert!(outer.is_held().await.unwrap());
        let taken = other.advisory_session(&lock).no_wait();
        assert!(taken.try_acquire().await.unwrap().is_none());
        outer.release().await.unwrap();
        assert_free(lock);
        assert_clean(&mut conn).await;
    }
}

#[scenario]
async fn a_guard_can_own_its_connection() {
    let lock = unique("scenario.own");
    let conn = Box::new(connect().await);
    let mut held = conn.into_advisory_session(&lock).acquire().await.unwrap();
    assert!(held.is_held().await.unwrap());
    let pid = pid(&mut held).await;
    assert_eq!(locks_of(pid), 1);
    held.release().await.unwrap();
    assert_free(lock.clone());

    let _holder = Holder::of(lock.clone());
    let conn = Box::new(connect().await);
    let lock = conn.into_advisory_session(&lock).no_wait();
    assert!(lock.try_acquire().await.unwrap().is_none());
}
