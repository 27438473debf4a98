//! Migrations over connections of `diesel-async`, on both kinds of runtime.

use diesel_advisory::migrations::LockedHarness;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use diesel_migrations::MigrationHarness;

use super::{FIVE, ran};
use crate::support::*;

async fn migrate_at_once() {
    let url = database();
    let mut processes = Vec::new();
    for _ in 0..4 {
        let conn = AsyncPgConnection::establish(&url).await.unwrap();
        processes.push(tokio::task::spawn_blocking(move || {
            let mut conn = AsyncConnectionWrapper::<AsyncPgConnection>::from(conn);
            let mut harness = LockedHarness::new(&mut conn);
            let versions = harness.run_pending_migrations(FIVE).unwrap();
            versions.len()
        }));
    }
    let mut migrated = 0;
    for process in processes {
        migrated += process.await.unwrap();
    }
    assert_eq!(migrated, 5);
    assert_eq!(ran(&mut connect_to(&url)), [1, 2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_migrate_at_once_on_many_threads() {
    migrate_at_once().await;
}

#[tokio::test(flavor = "current_thread")]
async fn several_migrate_at_once_on_one_thread() {
    migrate_at_once().await;
}
