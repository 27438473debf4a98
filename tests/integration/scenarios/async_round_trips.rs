//! How often the server is asked for a lock that is free.

use std::time::Duration;

use diesel_advisory::{AsyncAdvisoryConnection, Error};
use diesel_advisory_sandbox::{Proxy, Sandbox};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};

use crate::support::asynchronous::connect_to;
use crate::support::{PATIENCE, Wait, unique};

const WAITS: [Wait; 5] = [
    Wait::Inherit,
    Wait::AtMost(PATIENCE),
    Wait::AtMost(Duration::from_millis(500)),
    Wait::Forever,
    Wait::No,
];

async fn through_a_proxy() -> (Proxy, AsyncPgConnection) {
    let proxy = Sandbox::shared().proxy();
    let conn = connect_to(proxy.url()).await;
    (proxy, conn)
}

/// One that has been taken before, and one that has not.
async fn count(proxy: &Proxy, expected: usize, case: &str, mut ask: impl AsyncFnMut(&str)) {
    let known = unique("round_trips");
    for name in [known.clone(), known, unique("round_trips")] {
        proxy.reset();
        ask(&name).await;
        let sent = proxy.sent();
        assert_eq!(proxy.round_trips(), expected, "{case}: {sent:#?}");
    }
}

#[tokio::test]
async fn a_lock_around_a_transaction_takes_two() {
    let (proxy, mut conn) = through_a_proxy().await;
    for wait in WAITS {
        count(&proxy, 2, &format!("{wait:?}"), async |name| {
            let run = wait.on(conn.advisory(name));
            run.run(async |_| Ok::<_, Error>(())).await.unwrap();
        })
        .await;
        count(&proxy, 2, &format!("try, {wait:?}"), async |name| {
            let run = wait.on(conn.advisory(name));
            let ran = run.try_run(async |_| Ok::<_, Error>(())).await;
            assert!(ran.unwrap().is_some());
        })
        .await;
        count(
            &proxy,
            2,
            &format!("serializable, {wait:?}"),
            async |name| {
                let run = wait.on(conn.advisory(name)).serializable();
                run.run(async |_| Ok::<_, Error>(())).await.unwrap();
            },
        )
        .await;
        count(&proxy, 2, &format!("set, {wait:?}"), async |name| {
            let run = wait.on(conn.advisory(name)).and("a").and(42);
            run.run(async |_| Ok::<_, Error>(())).await.unwrap();
        })
        .await;
        count(&proxy, 2, &format!("fails, {wait:?}"), async |name| {
            let run = wait.on(conn.advisory(name));
            let failed = run.run(async |_| Err::<(), _>(Error::Database(diesel::NotFound)));
            failed.await.unwrap_err();
        })
        .await;
    }
}

#[tokio::test]
async fn a_lock_inside_a_transaction_takes_one() {
    let (proxy, mut conn) = through_a_proxy().await;
    AnsiTransactionManager::begin_transaction(&mut conn)
        .await
        .unwrap();
    for wait in WAITS {
        count(&proxy, 1, &format!("{wait:?}"), async |name| {
            wait.on(conn.advisory_xact(name)).acquire().await.unwrap();
        })
        .await;
        count(&proxy, 1, &format!("try, {wait:?}"), async |name| {
            assert!(
                wait.on(conn.advisory_xact(name))
                    .try_acquire()
                    .await
                    .unwrap()
            );
        })
        .await;
        count(&proxy, 2, &format!("nested, {wait:?}"), async |name| {
            let run = wait.on(conn.advisory(name));
            run.run(async |_| Ok::<_, Error>(())).await.unwrap();
        })
        .await;
    }
}

#[tokio::test]
async fn a_lock_of_the_session_takes_one_and_its_release_another() {
    let (proxy, mut conn) = through_a_proxy().await;
    for wait in WAITS {
        count(&proxy, 2, &format!("{wait:?}"), async |name| {
            let held = wait
                .on(conn.advisory_session(name))
                .acquire()
                .await
                .unwrap();
            assert_eq!(proxy.round_trips(), 1, "{wait:?}");
            held.release().await.unwrap();
        })
        .await;
        count(&proxy, 2, &format!("run, {wait:?}"), async |name| {
            let run = wait.on(conn.advisory_session(name));
            run.run(async |_| Ok::<_, Error>(())).await.unwrap();
        })
        .await;
    }
}

/// Others wait for it: nothing is sent between the grant and the release but the user's statements.
#[tokio::test]
async fn nothing_else_is_sent_while_the_lock_is_held() {
    let (proxy, mut conn) = through_a_proxy().await;
    for wait in WAITS {
        let run = wait.on(conn.advisory("round_trips.held")).run(async |_| {
            proxy.reset();
            Ok::<_, Error>(())
        });
        run.await.unwrap();
        assert_eq!(proxy.sent(), ["COMMIT"], "{wait:?}");
        assert_eq!(proxy.round_trips(), 1, "{wait:?}");
    }
}
