//! How often the server is asked for a lock of the session.

use std::time::Duration;

use diesel_advisory::{Error, LockId};

use super::round_trips::{WAITS, count, counted};
use super::side::*;
use crate::support::{Holder, Wait, unique};

#[scenario]
async fn one_to_acquire_and_one_to_release() {
    let (proxy, mut conn) = counted().await;
    for wait in WAITS {
        let mut is_known = false;
        count(&proxy, 2, &format!("{wait:?}"), async |name: &str| {
            let lock = wait.on(conn.advisory_session(name));
            let held = lock.acquire().await.unwrap();
            // The first time, a query may have to be prepared.
            let trips = proxy.round_trips();
            assert!(
                trips == 1 || (!is_known && trips == 1 + TRY_FIRST),
                "{wait:?}: {trips}"
            );
            is_known = true;
            held.release().await.unwrap();
        })
        .await;
        let mut is_known = false;
        count(&proxy, 2, &format!("try, {wait:?}"), async |name: &str| {
            let lock = wait.on(conn.advisory_session(name).shared());
            let held = lock.try_acquire().await.unwrap().unwrap();
            let trips = proxy.round_trips();
            assert!(
                trips == 1 || (!is_known && trips == 1 + TRY_FIRST),
                "{wait:?}: {trips}"
            );
            is_known = true;
            held.release().await.unwrap();
        })
        .await;
    }
}

#[scenario]
async fn two_and_its_own_to_run_a_closure() {
    let (proxy, mut conn) = counted().await;
    for wait in WAITS {
        count(&proxy, 2, &format!("run, {wait:?}"), async |name: &str| {
            let lock = wait.on(conn.advisory_session(name));
            lock.run(async |_| Ok::<_, Error>(())).await.unwrap();
        })
        .await;
        count(&proxy, 4, &format!("work, {wait:?}"), async |name: &str| {
            let lock = wait.on(conn.advisory_session(name));
            let run = lock.try_run(async |conn| {
                execute(conn, "SELECT 'one part'").await;
                execute(conn, "SELECT 'the next'").await;
                Ok::<_, Error>(())
            });
            assert_eq!(run.await.unwrap(), Some(()));
        })
        .await;
        count(
            &proxy,
            2,
            &format!("fails, {wait:?}"),
            async |name: &str| {
                let lock = wait.on(conn.advisory_session(name));
                let run = lock.run(async |_| Err::<(), _>(Error::NotHeld));
                run.await.unwrap_err();
            },
        )
        .await;
    }
}

#[scenario]
async fn a_set_is_no_dearer_than_one_lock() {
    let (proxy, mut conn) = counted().await;
    for wait in WAITS {
        count(&proxy, 2, &format!("{wait:?}"), async |name: &str| {
            let set = conn.advisory_session(name).and((name, 2)).and((name, 3));
            let held = wait.on(set).acquire().await.unwrap();
            held.release().await.unwrap();
        })
        .await;
    }
}

#[scenario]
async fn a_lock_that_is_waited_for_takes_no_more_than_to_try_it_first() {
    let (proxy, mut conn) = counted().await;
    for wait in Wait::WAITING {
        let trips = TRY_FIRST + 2;
        count(&proxy, trips, &format!("{wait:?}"), async |name: &str| {
            let released = Holder::of(name.to_owned()).until_queued(name.to_owned());
            let lock = wait.on(conn.advisory_session(name));
            lock.acquire().await.unwrap().release().await.unwrap();
            released.join().unwrap();
        })
        .await;
    }
}

/// The hand-over is what limits a hot lock.
#[scenario]
async fn while_it_is_held_only_the_users_statements_are_sent() {
    let (proxy, mut conn) = counted().await;
    let mut is_known = false;
    for wait in WAITS {
        count(&proxy, 2, &format!("{wait:?}"), async |name: &str| {
            let lock = wait.on(conn.advisory_session(name));
            let run = lock.run(async |conn| {
                proxy.reset();
                execute(conn, "SELECT 'mine'").await;
                Ok::<_, Error>(())
            });
            run.await.unwrap();
            let sent = proxy.sent();
            assert_eq!(sent[0], "SELECT 'mine'");
            // Of what is prepared already, there is no text.
            let texts = if is_known { 2 - TRY_FIRST } else { 2 };
            assert_eq!(sent.len(), texts, "{sent:?}");
            let release = &sent[1..];
            assert!(
                release.iter().all(|sql| sql.contains("pg_advisory_unlock")),
                "{sent:?}"
            );
            is_known = true;
        })
        .await;
    }
}

#[scenario]
async fn one_in_vain_and_one_question_who_holds_it() {
    let (proxy, mut conn) = counted().await;
    for wait in [Wait::No, Wait::AtMost(Duration::from_millis(2))] {
        // Why a wait has failed is a question of its own.
        let trips = match wait {
            Wait::No => 1,
            _ => TRY_FIRST + 2 + ERROR,
        };
        count(
            &proxy,
            trips,
            &format!("try, {wait:?}"),
            async |name: &str| {
                let _holder = Holder::of(name.to_owned());
                let lock = wait.on(conn.advisory_session(name));
                assert!(lock.try_acquire().await.unwrap().is_none());
            },
        )
        .await;
        count(
            &proxy,
            trips + QUESTION,
            &format!("{wait:?}"),
            async |name: &str| {
                let _holder = Holder::of(name.to_owned());
                let lock = wait.on(conn.advisory_session(name));
                let error = lock.acquire().await.map(drop).unwrap_err();
                assert!(error.is_unavailable());
            },
        )
        .await;
    }
}

#[scenario]
async fn one_question_whether_it_is_held() {
    let (proxy, mut conn) = counted().await;
    let name = unique("trips.is_held");
    let mut held = conn.advisory_session(&name).acquire().await.unwrap();
    count(&proxy, 1, "is_held", async |_: &str| {
        assert!(held.is_held().await.unwrap());
    })
    .await;
    held.release().await.unwrap();
}

#[scenario]
async fn one_question_more_for_keys_that_the_server_hashes() {
    let (proxy, mut conn) = counted().await;
    for wait in WAITS {
        count(
            &proxy,
            2 + QUESTION,
            &format!("{wait:?}"),
            async |name: &str| {
                let lock = conn.advisory_session(LockId::hashtextextended(name));
                let held = wait.on(lock).acquire().await.unwrap();
                held.release().await.unwrap();
            },
        )
        .await;
        count(
            &proxy,
            2 + QUESTION,
            &format!("set, {wait:?}"),
            async |name: &str| {
                let set = conn
                    .advisory_session(LockId::hashtextextended(name))
                    .and(LockId::hashtext_pair(name, "one"))
                    .and(name)
                    .and(LockId::hashtext_pair(name, "two"));
                let held = wait.on(set).acquire().await.unwrap();
                held.release().await.unwrap();
            },
        )
        .await;
    }
}

#[scenario]
async fn none_for_what_is_refused() {
    let (proxy, mut conn) = counted().await;
    for wait in WAITS {
        count(&proxy, 0, &format!("{wait:?}"), async |name: &str| {
            let lock = wait.on(conn.advisory_session(name).and(""));
            let error = lock.acquire().await.map(drop).unwrap_err();
            assert!(matches!(error, Error::EmptyName), "{error:?}");
            assert_eq!(proxy.sent().len(), 0);
        })
        .await;
    }
    begin(&mut conn).await;
    for wait in WAITS {
        count(&proxy, 0, &format!("{wait:?}"), async |name: &str| {
            let hashed = LockId::hashtextextended(name);
            let lock = wait.on(conn.advisory_session(name).and(hashed));
            let error = lock.acquire().await.map(drop).unwrap_err();
            assert!(matches!(error, Error::InTransaction), "{error:?}");
            assert_eq!(proxy.sent().len(), 0);
        })
        .await;
    }
}
