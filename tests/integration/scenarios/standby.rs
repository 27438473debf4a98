//! A standby, whose locks exclude nobody on the primary.

use std::time::Duration;

use diesel_advisory::Error;
use diesel_advisory_sandbox::Sandbox;

use super::side::*;
use crate::support::{Adjustable, Wait};

fn adjusted<L: Adjustable>(lock: L, wait: Wait, allowed: bool) -> L {
    let lock = wait.on(lock);
    if allowed { lock.allow_standby() } else { lock }
}

/// Takes and frees a lock in every scope: what came of each.
#[helper]
async fn run_each(conn: &mut Conn, wait: Wait, allowed: bool) -> [Result<(), Error>; 6] {
    let lock = adjusted(conn.advisory("standby.around"), wait, allowed);
    let around = lock.run(async |_| Ok(())).await;
    let lock = adjusted(conn.advisory("standby.repeatable"), wait, allowed);
    let repeatable = lock.repeatable_read().run(async |_| Ok(())).await;

    begin(conn).await;
    let lock = adjusted(conn.advisory_xact("standby.inside"), wait, allowed);
    let inside = lock.acquire().await;
    let lock = adjusted(conn.advisory("standby.nested"), wait, allowed);
    let nested = lock.run(async |_| Ok(())).await;
    // Refused or not, the transaction is usable.
    assert_eq!(integer(conn, "SELECT 1 AS value").await, 1);
    roll_back(conn).await;

    let lock = adjusted(conn.advisory_session("standby.session"), wait, allowed);
    let session = lock.run(async |_| Ok(())).await;
    let lock = adjusted(conn.advisory_session("standby.permits"), wait, allowed);
    let permits = lock.permits(3).run(async |_| Ok(())).await;
    [around, repeatable, inside, nested, session, permits]
}

/// How many advisory locks the server holds.
const HELD: &str = "SELECT count(*)::int AS value FROM pg_locks WHERE locktype = 'advisory'";

#[scenario]
async fn a_standby_grants_a_lock_only_if_told_to_and_a_promoted_one_always() {
    let primary = Sandbox::start().unwrap();
    let standby = primary.standby().start().unwrap();
    let mut conn = connect_to(standby.url()).await;
    for wait in Wait::ALL {
        for refused in run_each(&mut conn, wait, false).await {
            assert!(
                matches!(refused, Err(Error::Standby)),
                "{wait:?}: {refused:?}"
            );
        }
        assert_eq!(integer(&mut conn, HELD).await, 0, "{wait:?}");
        for taken in run_each(&mut conn, wait, true).await {
            assert!(taken.is_ok(), "{wait:?}: {taken:?}");
        }
        assert_eq!(integer(&mut conn, HELD).await, 0, "{wait:?}");
    }
    assert!(!conn.is_advisory_locked("standby.look").await.unwrap());
    primary.crash().unwrap();
    standby.promote().unwrap();
    for wait in Wait::ALL {
        for taken in run_each(&mut conn, wait, false).await {
            assert!(taken.is_ok(), "{wait:?}: {taken:?}");
        }
    }
}

/// It is that server's own, so it excludes those who come after the promotion, and nobody on the primary.
#[scenario]
async fn a_lock_held_on_a_standby_is_held_by_the_server_that_it_becomes() {
    let primary = Sandbox::start().unwrap();
    let standby = primary.standby().start().unwrap();
    let mut conn = connect_to(standby.url()).await;
    let lock = conn.advisory_session("standby.held").allow_standby();
    let mut held = lock.acquire().await.unwrap();
    let mut on_primary = connect_to(primary.url()).await;
    let other = on_primary.advisory_session("standby.held").no_wait();
    let other = other.try_acquire().await.unwrap().unwrap();
    primary.crash().unwrap();
    standby.promote().unwrap();
    assert!(held.is_held().await.unwrap());
    let mut later = connect_to(standby.url()).await;
    for wait in [Wait::No, Wait::AtMost(Duration::from_millis(5))] {
        for refused in take_one(&mut later, wait, "standby.held").await {
            let refused = refused.unwrap_err();
            assert!(refused.is_unavailable(), "{wait:?}: {refused:?}");
        }
    }
    assert!(matches!(other.release().await, Err(Error::Database(_))));
    held.release().await.unwrap();
    for taken in take_one(&mut later, Wait::No, "standby.held").await {
        taken.unwrap();
    }
}

/// Takes and frees one lock in two scopes.
#[helper]
async fn take_one(conn: &mut Conn, wait: Wait, lock: &str) -> [Result<(), Error>; 2] {
    let around = wait.on(conn.advisory(lock)).run(async |_| Ok(())).await;
    let session = wait
        .on(conn.advisory_session(lock))
        .run(async |_| Ok(()))
        .await;
    [around, session]
}
