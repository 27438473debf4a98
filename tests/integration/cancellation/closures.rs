//! Work that is under way when its future is dropped, or that panics.

use std::future::pending;

use diesel_advisory::{AsyncAdvisoryConnection, Error, IntoAsyncAdvisorySession};
use diesel_advisory_sandbox::Sandbox;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use tokio::sync::oneshot;

use super::actions::{Action, Inside};
use super::ways::Way;
use super::witness::Witness;
use crate::support::async_pools::{Kind, Pooled};
use crate::support::{Wait, unique};

/// Holds a lock in some scope, and waits for what never comes.
async fn hang(action: Action, mut conn: Pooled, lock: &str, entered: oneshot::Sender<()>) {
    let never = async |_: &mut AsyncPgConnection| {
        entered.send(()).unwrap();
        pending::<Result<(), Error>>().await
    };
    let conn_ref = &mut *conn;
    let ended = match action {
        Action::RunInTransaction(_) => {
            let transaction =
                conn_ref.transaction(async |conn| conn.advisory(lock).run(never).await);
            transaction.await
        }
        Action::Xact(_) => {
            let transaction = conn_ref.transaction(async |conn| {
                conn.advisory_xact(lock).acquire().await?;
                never(conn).await
            });
            transaction.await
        }
        Action::Session(_) => {
            let mut held = conn_ref.advisory_session(lock).acquire().await.unwrap();
            never(&mut held).await
        }
        Action::SessionRun => conn_ref.advisory_session(lock).run(never).await,
        Action::Owned => {
            let mut held = conn.into_advisory_session(lock).acquire().await.unwrap();
            never(&mut held).await
        }
        _ => conn_ref.advisory(lock).run(never).await,
    };
    panic!("{action:?} has ended: {ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_dropped_in_every_way() {
    let mut witness = Witness::new().await;
    for kind in Kind::ALL {
        for way in Way::ALL {
            for action in [
                Action::Run(Wait::Inherit),
                Action::RunInTransaction(Wait::Inherit),
                Action::Xact(Wait::Inherit),
                Action::Session(Wait::Inherit),
                Action::SessionRun,
                Action::Owned,
            ] {
                let case = format!("{kind:?}, {way:?}, {action:?}");
                let lock = unique("cancellation.hangs");
                let pool = kind.pool_of_one(Sandbox::shared().url()).await;
                let (entered, has_entered) = oneshot::channel();
                let (conn, name) = (pool.get().await, lock.clone());
                let hangs = async move { hang(action, conn, &name, entered).await };
                way.drop_after(async { has_entered.await.unwrap() }, hangs)
                    .await;
                let inside = Inside::default();
                inside.enter_diesel(matches!(action, Action::Xact(_)));
                witness
                    .assert_nothing_left(kind, pool, &inside, &lock, &case)
                    .await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_panics_in_a_task() {
    let mut witness = Witness::new().await;
    for kind in Kind::ALL {
        for action in [Action::Run(Wait::Inherit), Action::SessionRun] {
            let case = format!("{kind:?}, {action:?}");
            let lock = unique("cancellation.panic");
            let pool = kind.pool_of_one(Sandbox::shared().url()).await;
            let (mut conn, name) = (pool.get().await, lock.clone());
            let panics = tokio::spawn(async move {
                let panics = async |_: &mut AsyncPgConnection| -> Result<(), Error> {
                    std::panic::panic_any("on purpose")
                };
                match action {
                    Action::SessionRun => conn.advisory_session(&name).run(panics).await,
                    _ => conn.advisory(&name).run(panics).await,
                }
            });
            let panic = panics.await.unwrap_err().into_panic();
            assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
            witness
                .assert_nothing_left(kind, pool, &Inside::default(), &lock, &case)
                .await;
        }
    }
}
