//! Several locks at once, and shared ones.

use std::time::Duration;

use diesel_advisory::{Error, LockId, LockKey};

use super::side::*;
use crate::support::{Holder, Wait, assert_free, locks_of, unavailable, unique};

#[scenario]
async fn all_or_none() {
    for (wait, wait_in_vain) in [
        (Wait::Inherit, Wait::No),
        (Wait::No, Wait::AtMost(Duration::from_millis(10))),
    ] {
        let names = [(); 3].map(|()| unique("scenario.sets"));
        let [a, b, c] = &names;
        let mut conn = connect().await;
        let pid = pid(&mut conn).await;
        for taken in &names {
            let holder = Holder::of(taken.clone());
            let set = wait_in_vain.on(conn.advisory(a).and(b).and(c));
            let error = set.run(async |_| Ok::<_, Error>(())).await.unwrap_err();
            assert_eq!(unavailable(error).lock.to_string(), *taken);

            let set = wait_in_vain.on(conn.advisory_session(a).and(b).and(c));
            assert!(set.try_acquire().await.unwrap().is_none());

            let result = conn.transaction(async |conn| {
                let set = wait_in_vain.on(conn.advisory_xact(a).and(b).and(c));
                assert!(!set.try_acquire().await?);
                assert_eq!(locks_of(pid), 0);
                Ok::<_, Error>(())
            });
            result.await.unwrap();
            drop(holder);
            assert_clean(&mut conn).await;
        }

        let set = wait.on(conn.advisory(c).and(a).and(b).and(a));
        let held = set.run(async |_| Ok::<_, Error>(locks_of(pid))).await;
        assert_eq!(held.unwrap(), 3);
        let set = wait.on(conn.advisory_session(c).and(a).and(b).and(a));
        let held = set.acquire().await.unwrap();
        assert_eq!(locks_of(pid), 3);
        held.release().await.unwrap();
        for name in &names {
            assert_free(name.clone());
        }
        assert_clean(&mut conn).await;
    }
}

#[scenario]
async fn shared_locks_exclude_exclusive_ones_alone() {
    for wait in Wait::ALL {
        let lock = unique("scenario.shared");
        let mut holder = Holder::of(unique("scenario.other"));
        holder.lock_shared(lock.clone());
        let mut conn = connect().await;

        let shared = wait.on(conn.advisory(&lock).shared());
        shared.run(async |_| Ok::<_, Error>(())).await.unwrap();
        let shared = wait.on(conn.advisory_session(&lock).shared());
        shared.acquire().await.unwrap().release().await.unwrap();
        let result = conn
            .transaction(async |conn| wait.on(conn.advisory_xact(&lock).shared()).acquire().await);
        result.await.unwrap();

        let exclusive = conn.advisory(&lock).no_wait();
        let error = exclusive
            .run(async |_| Ok::<_, Error>(()))
            .await
            .unwrap_err();
        assert_eq!(unavailable(error).holders.len(), 1);
        assert_clean(&mut conn).await;
    }
}

#[scenario]
async fn every_kind_of_id_is_a_lock() {
    let (name, text) = (unique("scenario.ids"), unique("scenario.ids"));
    let hash = LockId::from(&*unique("scenario.ids")).key();
    let mut conn = connect().await;
    let pid = pid(&mut conn).await;
    let ids: [LockId<'_>; 6] = [
        (&*name).into(),
        (&*name, 42).into(),
        (-7, i32::MIN).into(),
        hash.into(),
        LockKey::hashtextextended(&*text),
        LockKey::hashtext_pair(&*text, "row"),
    ];
    for id in ids {
        let lock = conn.advisory(id.clone());
        let held = lock.run(async |_| Ok::<_, Error>(locks_of(pid))).await;
        assert_eq!(held.unwrap(), 1, "{id}");
        let held = conn.advisory_session(id.clone()).acquire().await.unwrap();
        assert_eq!(locks_of(pid), 1, "{id}");
        held.release().await.unwrap();
        assert_clean(&mut conn).await;
    }
}
