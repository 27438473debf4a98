//! `advisory` inside of an open transaction, its own or another.

use super::side::*;
use crate::support::{Failure, Wait, assert_free, committed, locks_of, unique};

#[scenario]
async fn inside_a_transaction_the_lock_lasts_as_long_as_that() {
    for wait in Wait::ALL {
        let lock = unique("nesting.open");
        let mut conn = connect().await;
        let table = table(&mut conn).await;
        let pid = pid(&mut conn).await;
        let transaction = conn.transaction(async |conn| {
            insert(conn, &table, 1).await?;
            let run = wait.on(conn.advisory(&lock));
            run.run(async |conn| insert(conn, &table, 2).await).await?;
            assert_eq!(locks_of(pid), 1, "{wait:?}");
            assert_eq!(committed(&table), []);
            Ok::<_, Failure>(())
        });
        transaction.await.unwrap();
        assert_eq!(committed(&table), [1, 2]);
        assert_free(lock);
        assert_clean(&mut conn).await;
    }
}

#[scenario]
async fn inside_a_transaction_a_closure_that_fails_frees_the_lock_at_once() {
    for wait in Wait::ALL {
        let lock = unique("nesting.open");
        let mut conn = connect().await;
        let table = table(&mut conn).await;
        let transaction = conn.transaction(async |conn| {
            insert(conn, &table, 1).await?;
            let run = wait.on(conn.advisory(&lock)).run(async |conn| {
                insert(conn, &table, 2).await?;
                Ok::<_, Failure>(insert(conn, "no_such_table", 1).await.map(drop)?)
            });
            let result = run.await;
            assert!(
                matches!(result, Err(Failure::Diesel(_))),
                "{wait:?}: {result:?}"
            );
            assert_free(lock.clone());
            insert(conn, &table, 3).await?;
            Ok::<_, Failure>(())
        });
        transaction.await.unwrap();
        assert_eq!(committed(&table), [1, 3]);
        assert_clean(&mut conn).await;
    }
}

#[scenario]
async fn runs_nest() {
    for wait in Wait::ALL {
        let (outer, inner) = (unique("nesting.outer"), unique("nesting.inner"));
        let mut conn = connect().await;
        let table = table(&mut conn).await;
        let pid = pid(&mut conn).await;
        let run = conn.advisory(&outer).run(async |conn| {
            insert(conn, &table, 1).await?;
            let run = wait.on(conn.advisory(&inner));
            run.run(async |conn| insert(conn, &table, 2).await).await?;
            let run = wait.on(conn.advisory(&inner)).run(async |conn| {
                insert(conn, &table, 3).await?;
                let run = wait.on(conn.advisory(&inner));
                run.run(async |conn| insert(conn, &table, 4).await).await?;
                Err::<(), _>(Failure::OnPurpose)
            });
            let failed = run.await;
            assert!(
                matches!(failed, Err(Failure::OnPurpose)),
                "{wait:?}: {failed:?}"
            );
            assert_eq!(locks_of(pid), 2, "{wait:?}");
            insert(conn, &table, 5).await?;
            Ok::<_, Failure>(())
        });
        run.await.unwrap();
        assert_eq!(committed(&table), [1, 2, 5]);
        assert_clean(&mut conn).await;
        assert_free(outer);
        assert_free(inner);
    }
}

#[scenario]
async fn the_same_lock_twice_ends_with_the_outermost() {
    for wait in Wait::ALL {
        let lock = unique("nesting.twice");
        let mut conn = connect().await;
        let pid = pid(&mut conn).await;
        let run = wait.on(conn.advisory(&lock)).run(async |conn| {
            let again = wait.on(conn.advisory(&lock));
            again.run(async |_| Ok::<_, Failure>(())).await?;
            let again = wait.on(conn.advisory(&lock)).run(async |conn| {
                conn.advisory_xact(&lock).acquire().await?;
                Err::<(), _>(Failure::OnPurpose)
            });
            assert!(again.await.is_err());
            assert_eq!(locks_of(pid), 1, "{wait:?}");
            Ok::<_, Failure>(())
        });
        run.await.unwrap();
        assert_clean(&mut conn).await;
        assert_free(lock);
    }
}
