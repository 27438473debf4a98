//! Everything, dropped at every point at which it waits for the server.

use diesel_advisory_sandbox::Sandbox;

use super::actions::{ACTIONS, Inside};
use super::polls::{Moment, Polls};
use super::witness::Witness;
use crate::support::async_pools::Kind;
use crate::support::asynchronous::{connect, table};

async fn drop_at_every_point(kind: Kind) {
    let mut witness = Witness::new().await;
    let table = table(&mut connect().await).await;
    for action in ACTIONS {
        for moment in [Moment::AtOnce, Moment::Woken] {
            let mut polls = 0;
            loop {
                let case = format!("{kind:?}, {action:?}, {moment:?}, {polls} polls");
                let (lock, inside) = (action.unique_lock("cancellation.free"), Inside::default());
                let pool = kind.pool_of_one(Sandbox::shared().url()).await;
                let whole = async {
                    let conn = pool.get().await;
                    action.perform(conn, &lock, &table, &inside).await
                };
                let done = Polls::at_most(polls, moment, whole).await;
                witness
                    .assert_nothing_left(kind, pool, &inside, &lock, &case)
                    .await;
                if let Some(result) = done {
                    result.unwrap_or_else(|error| panic!("{case}: {error}"));
                    break;
                }
                polls += 1;
            }
            // It has waited for the lock and for the end of it, at least.
            assert!(
                polls >= 3,
                "{kind:?}, {action:?}, {moment:?}: {polls} polls"
            );
        }
    }
}

async fn drop_at_every_point_before_the_grant(kind: Kind) {
    let mut witness = Witness::new().await;
    let table = table(&mut connect().await).await;
    for action in ACTIONS.into_iter().filter(|action| action.can_wait()) {
        for polls in 0.. {
            let case = format!("{kind:?}, {action:?}, {polls} polls");
            let (lock, inside) = (action.unique_lock("cancellation.held"), Inside::default());
            witness.hold(&lock).await;
            let pool = kind.pool_of_one(Sandbox::shared().url()).await;
            let whole = async {
                let conn = pool.get().await;
                action.perform(conn, &lock, &table, &inside).await
            };
            let waits = tokio::select! {
                done = Polls::at_most(polls, Moment::AtOnce, whole) => {
                    assert!(done.is_none(), "{case}: granted");
                    false
                }
                () = witness.queued(&lock) => true,
            };
            witness.let_go().await;
            witness
                .assert_nothing_left(kind, pool, &inside, &lock, &case)
                .await;
            if waits {
                break;
            }
        }
    }
}

#[tokio::test]
async fn at_every_point_with_bb8() {
    drop_at_every_point(Kind::Bb8).await;
}

#[tokio::test]
async fn at_every_point_with_deadpool() {
    drop_at_every_point(Kind::Deadpool).await;
}

#[tokio::test]
async fn at_every_point_with_mobc() {
    drop_at_every_point(Kind::Mobc).await;
}

#[tokio::test]
async fn at_every_point_before_the_grant_with_bb8() {
    drop_at_every_point_before_the_grant(Kind::Bb8).await;
}

#[tokio::test]
async fn at_every_point_before_the_grant_with_deadpool() {
    drop_at_every_point_before_the_grant(Kind::Deadpool).await;
}

#[tokio::test]
async fn at_every_point_before_the_grant_with_mobc() {
    drop_at_every_point_before_the_grant(Kind::Mobc).await;
}
