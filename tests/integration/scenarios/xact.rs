//! `advisory_xact`: a lock in a transaction that is open already.

use diesel_advisory::Error;

use super::side::*;
use crate::support::{Failure, Wait, assert_free, locks_of, unique};

#[scenario]
async fn a_savepoint_rolled_back_frees_the_locks_taken_since() {
    for wait in Wait::ALL {
        let (before, since) = (unique("xact.before"), unique("xact.since"));
        let mut conn = connect().await;
        let pid = pid(&mut conn).await;
        let transaction = conn.transaction(async |conn| {
            wait.on(conn.advisory_xact(&before)).acquire().await?;
            let nested = conn.transaction(async |conn| {
                wait.on(conn.advisory_xact(&before)).acquire().await?;
                wait.on(conn.advisory_xact(&since)).acquire().await?;
                let run = wait.on(conn.advisory(&since));
                run.run(async |_| Ok::<_, Error>(())).await?;
                assert_eq!(locks_of(pid), 2);
                Err::<(), _>(Failure::OnPurpose)
            });
            let failed = nested.await;
            assert!(matches!(failed, Err(Failure::OnPurpose)), "{failed:?}");
            assert_eq!(locks_of(pid), 1, "{wait:?}");
            assert_free(since.clone());
            Ok::<_, Failure>(())
        });
        transaction.await.unwrap();
        assert_free(before);
    }
}

#[scenario]
async fn outside_of_a_transaction_it_is_refused() {
    let lock = unique("xact.refused");
    let mut conn = connect().await;
    for wait in Wait::ALL {
        let acquired = wait.on(conn.advisory_xact(&lock)).acquire().await;
        assert!(
            matches!(acquired, Err(Error::NotInTransaction)),
            "{wait:?}: {acquired:?}"
        );
        let acquired = wait.on(conn.advisory_xact(&lock)).try_acquire().await;
        assert!(
            matches!(acquired, Err(Error::NotInTransaction)),
            "{wait:?}: {acquired:?}"
        );
    }
    assert_clean(&mut conn).await;
    assert_free(lock);
}
