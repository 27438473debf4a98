//! What a lock can be named by, and whether it is held.

use diesel_advisory::{Error, LockId};

use super::side::*;
use super::waiting::SCOPES;
use crate::support::{Holder, Wait, assert_free, key, locks_of, unique};

#[scenario]
async fn every_kind_of_id_is_a_lock() {
    let (name, text) = (unique("ids"), unique("ids"));
    let hash = key(unique("ids"));
    let mut conn = connect().await;
    let pid = pid(&mut conn).await;
    let ids: [LockId<'_>; 6] = [
        (&*name).into(),
        (&*name, 42).into(),
        (-7, i32::MIN).into(),
        hash.into(),
        LockId::hashtextextended(&*text),
        LockId::hashtext_pair(&*text, "row"),
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

#[scenario]
async fn an_empty_name_is_refused_in_every_scope() {
    let mut conn = connect().await;
    for scope in SCOPES {
        for wait in Wait::ALL {
            scope.begin(&mut conn).await;
            let error = scope.take(&mut conn, "", wait).await.unwrap_err();
            assert!(matches!(error, Error::EmptyName), "{scope:?}: {error:?}");
            let error = scope.try_to_take(&mut conn, "", wait).await.unwrap_err();
            assert!(matches!(error, Error::EmptyName), "{scope:?}: {error:?}");
            scope.commit(&mut conn).await;
        }
    }
    let error = conn.is_advisory_locked("").await.unwrap_err();
    assert!(matches!(error, Error::EmptyName), "{error:?}");
    let set = conn.advisory_session("x").and("").acquire().await;
    assert!(matches!(set.map(drop), Err(Error::EmptyName)));
    let run = conn.advisory_session("");
    let ran = run.run(async |_| Ok::<_, Error>(())).await;
    assert!(matches!(ran, Err(Error::EmptyName)), "{ran:?}");
    assert_clean(&mut conn).await;
}

#[scenario]
async fn whether_somebody_holds_a_lock_is_seen_without_taking_it() {
    let name = unique("ids.seen");
    for id in [
        LockId::from(name),
        LockId::from(-8_001),
        LockId::from((-8_002, 1)),
    ] {
        let mut conn = connect().await;
        assert!(!conn.is_advisory_locked(id.clone()).await.unwrap());

        let holder = Holder::of(id.clone());
        assert!(conn.is_advisory_locked(id.clone()).await.unwrap());
        drop(holder);
        assert!(!conn.is_advisory_locked(id.clone()).await.unwrap());

        for shared in [false, true] {
            let mut other = connect().await;
            let lock = conn.advisory(id.clone());
            let lock = if shared { lock.shared() } else { lock };
            let run = lock.run(async |conn| {
                assert!(conn.is_advisory_locked(id.clone()).await?);
                other.is_advisory_locked(id.clone()).await
            });
            assert!(run.await.unwrap());
            assert!(!conn.is_advisory_locked(id.clone()).await.unwrap());
        }
        assert_clean(&mut conn).await;
        assert_free(id);
    }
}
