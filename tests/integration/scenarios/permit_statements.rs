//! What the server is sent for a permit, and how often.

use std::time::Duration;

use diesel_advisory::Error;

use super::permits::{holder, holder_at};
use super::round_trips::{WAITS, count, counted};
use super::side::*;
use crate::support::{HOSTILE, Holder, PATIENCE, Wait, hostile_database, permit, unavailable};

#[scenario]
async fn one_round_trip_for_a_free_permit_and_one_to_release_it() {
    let (proxy, mut conn) = counted().await;
    for wait in WAITS {
        count(&proxy, 2, &format!("{wait:?}"), async |name: &str| {
            let lock = wait.on(conn.advisory_session(name).permits(3));
            lock.acquire().await.unwrap().release().await.unwrap();
            let sent = proxy.sent();
            // A balancer sends it to the primary, and no language has to be loaded.
            assert!(
                sent.iter().all(|sql| sql.ends_with(" FOR UPDATE")),
                "{sent:#?}"
            );
            assert!(!sent.iter().any(|sql| sql.contains("DO $")), "{sent:#?}");
        })
        .await;
        count(
            &proxy,
            3,
            &format!("second, {wait:?}"),
            async |name: &str| {
                let _first = Holder::of(permit(name, 1));
                let lock = wait.on(conn.advisory_session(name).permits(3));
                lock.run(async |conn| {
                    execute(conn, "SELECT 'mine'").await;
                    Ok::<_, Error>(())
                })
                .await
                .unwrap();
            },
        )
        .await;
    }
    for wait in Wait::WAITING {
        count(
            &proxy,
            4,
            &format!("waited, {wait:?}"),
            async |name: &str| {
                let released = holder(name, 2).until_queued(permit(name, 2));
                let lock = wait.on(conn.advisory_session(name).permits(2));
                lock.acquire().await.unwrap().release().await.unwrap();
                released.join().unwrap();
            },
        )
        .await;
    }
    let mut outer = conn
        .advisory_session("permits.outer")
        .acquire()
        .await
        .unwrap();
    count(&proxy, 3, "nested", async |name: &str| {
        let lock = outer.advisory_session(name).permits(3);
        lock.acquire().await.unwrap().release().await.unwrap();
    })
    .await;
    outer.release().await.unwrap();
}

#[scenario]
async fn one_in_vain_and_two_where_it_waits() {
    let (proxy, mut conn) = counted().await;
    for (wait, trips) in [
        (Wait::No, 1),
        (Wait::AtMost(Duration::from_millis(2)), 2 + ERROR),
    ] {
        count(&proxy, trips, &format!("{wait:?}"), async |name: &str| {
            let _holder = holder(name, 2);
            let lock = wait.on(conn.advisory_session(name).permits(2));
            assert!(lock.try_acquire().await.unwrap().is_none());
        })
        .await;
    }
}

#[scenario]
async fn a_hostile_search_path_changes_nothing_about_permits() {
    let url = hostile_database();
    let mut conn = connect_to(&url).await;
    execute(&mut conn, HOSTILE).await;
    for wait in [
        Wait::Inherit,
        Wait::AtMost(PATIENCE),
        Wait::Forever,
        Wait::No,
    ] {
        let lock = wait.on(conn.advisory_session("permits").permits(2));
        let mut outer = lock.acquire().await.unwrap();
        let lock = wait.on(outer.advisory_session("permits").permits(2));
        lock.acquire().await.unwrap().release().await.unwrap();
        outer.release().await.unwrap();
    }
    for wait in Wait::WAITING {
        let released = holder_at(&url, "permits", 2).until_queued(permit("permits", 2));
        let lock = wait.on(conn.advisory_session("permits").permits(2));
        lock.acquire().await.unwrap().release().await.unwrap();
        released.join().unwrap();
    }
    let _holder = holder_at(&url, "permits", 2);
    execute(&mut conn, "SET lock_timeout = '30ms'").await;
    for wait in [
        Wait::Inherit,
        Wait::AtMost(Duration::from_millis(30)),
        Wait::No,
    ] {
        let lock = wait.on(conn.advisory_session("permits").permits(2));
        let error = unavailable(lock.acquire().await.map(drop).unwrap_err());
        assert_eq!(error.holders.len(), 2, "{wait:?}");
    }
}
