//! A guard that is dropped, and one that is dropped while it is being made.

use diesel_advisory::{AsyncAdvisoryConnection, IntoAsyncAdvisorySession};
use diesel_advisory_sandbox::Sandbox;
use diesel_async::SimpleAsyncConnection;

use super::actions::Inside;
use super::polls::{Moment, Polls};
use super::witness::Witness;
use crate::support::async_pools::Kind;
use crate::support::asynchronous::{begin, connect, execute, insert, table};
use crate::support::{committed, unique};

#[tokio::test]
async fn a_guard_that_is_dropped() {
    let mut witness = Witness::new().await;
    for kind in Kind::ALL {
        for depth in 0..=2 {
            for fails in [false, true] {
                let case = format!("{kind:?}, {depth} transactions, fails: {fails}");
                let lock = unique("cancellation.guard");
                let pool = kind.pool_of_one(Sandbox::shared().url()).await;
                let lock_of_pool = pool.get().await.into_advisory_session(&lock);
                let mut held = lock_of_pool.acquire().await.unwrap();
                for _ in 0..depth {
                    begin(&mut held).await;
                }
                if fails {
                    let failed = held.batch_execute("SELECT 1 / 0").await;
                    failed.unwrap_err();
                }
                drop(held);
                witness
                    .assert_nothing_left(kind, pool, &Inside::default(), &lock, &case)
                    .await;
            }
        }
    }
}

/// Diesel knows nothing of it: only the server does.
#[tokio::test]
async fn a_guard_that_is_dropped_in_a_raw_transaction() {
    let mut witness = Witness::new().await;
    let table = table(&mut connect().await).await;
    for kind in Kind::ALL {
        for fails in [false, true] {
            let case = format!("{kind:?}, fails: {fails}");
            let lock = unique("cancellation.raw");
            let pool = kind.pool_of_one(Sandbox::shared().url()).await;
            let lock_of_pool = pool.get().await.into_advisory_session(&lock);
            let mut held = lock_of_pool.acquire().await.unwrap();
            execute(&mut held, "BEGIN").await;
            insert(&mut held, &table, 1).await.unwrap();
            if fails {
                held.batch_execute("SELECT 1 / 0").await.unwrap_err();
            }
            drop(held);
            witness
                .assert_nothing_left(kind, pool, &Inside::default(), &lock, &case)
                .await;
            assert_eq!(committed(&table), [], "{case}");
        }
    }
}

/// PostgreSQL counts session locks: what was taken once must not be released twice, behind the back of
/// a guard that holds it still.
#[tokio::test]
async fn of_a_lock_taken_twice_both_are_left_or_the_session_ends() {
    let mut witness = Witness::new().await;
    for moment in [Moment::AtOnce, Moment::Woken] {
        for polls in 0.. {
            let case = format!("{moment:?}, {polls} polls");
            let lock = unique("cancellation.twice");
            let mut conn = connect().await;
            let mut outer = conn.advisory_session(&lock).acquire().await.unwrap();
            let inner = async {
                let inner = outer.advisory_session(&lock).acquire().await?;
                inner.release().await
            };
            let done = Polls::at_most(polls, moment, inner).await;
            if done.is_some() || polls == 0 {
                assert!(outer.is_held().await.unwrap(), "{case}");
                outer.release().await.unwrap();
            } else {
                outer.is_held().await.unwrap_err();
                outer.release().await.unwrap_err();
            }
            witness.assert_soon_free(&lock, &case).await;
            if done.is_some() {
                break;
            }
        }
    }
}
