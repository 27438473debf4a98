//! A wait for a lock that another session holds.

use diesel_advisory_sandbox::Sandbox;

use super::actions::{ACTIONS, Inside};
use super::ways::Way;
use super::witness::Witness;
use crate::support::async_pools::Kind;
use crate::support::asynchronous::{connect, table};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_dropped_in_every_way() {
    let mut witness = Witness::new().await;
    let table = table(&mut connect().await).await;
    for kind in Kind::ALL {
        for way in Way::ALL {
            for action in ACTIONS.into_iter().filter(|action| action.can_wait()) {
                let case = format!("{kind:?}, {way:?}, {action:?}");
                let lock = action.unique_lock("cancellation.waits");
                let pool = kind.pool_of_one(Sandbox::shared().url()).await;
                witness.hold(&lock).await;
                let (conn, name, table) = (pool.get().await, lock.clone(), table.clone());
                let inside = Inside::default();
                let waits = async move { action.perform(conn, &name, &table, &inside).await };
                way.drop_after(witness.queued(&lock), waits).await;
                witness.let_go().await;
                witness
                    .assert_nothing_left(kind, pool, &Inside::default(), &lock, &case)
                    .await;
            }
        }
    }
}
