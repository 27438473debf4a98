//! How often the server is asked for a lock around a transaction, or inside of one.

use std::time::Duration;

use diesel_advisory::{Error, catalog};
use diesel_advisory_sandbox::{Proxy, Sandbox};

use super::side::*;
use crate::support::{PATIENCE, Wait, unique};

pub(crate) const WAITS: [Wait; 5] = [
    Wait::Inherit,
    Wait::AtMost(PATIENCE),
    Wait::AtMost(Duration::from_millis(500)),
    Wait::Forever,
    Wait::No,
];

/// A connection whose round trips can be counted, with a proxy of its own.
#[helper]
pub(crate) async fn counted() -> (Proxy, Conn) {
    let proxy = Sandbox::shared().proxy();
    let mut conn = connect_to(proxy.url()).await;
    // Whatever a connection does once only.
    execute(&mut conn, "SELECT").await;
    (proxy, conn)
}

/// Counts for a lock that has been asked for before, and for one that has not.
#[helper]
pub(crate) async fn count(
    proxy: &Proxy,
    expected: usize,
    case: &str,
    mut ask: impl AsyncFnMut(&str),
) {
    let known = unique("round_trips");
    // A query with parameters is prepared once for each connection.
    proxy.reset();
    ask(&known).await;
    for name in [known.clone(), known, unique("round_trips")] {
        proxy.reset();
        ask(&name).await;
        let sent = proxy.sent();
        assert_eq!(proxy.round_trips(), expected, "{case}: {sent:#?}");
    }
}

/// What a run takes at most, around a transaction and nested.
fn of_a_run(wait: Wait) -> usize {
    if wait == Wait::No {
        RUN_WITHOUT_WAIT
    } else {
        2
    }
}

#[scenario]
async fn a_lock_around_a_transaction_takes_two() {
    let (proxy, mut conn) = counted().await;
    for wait in WAITS {
        let trips = of_a_run(wait);
        let case = |what: &str| format!("{what}, {wait:?}");
        let run = async |name: &str| {
            let run = wait.on(conn.advisory(name));
            run.run(async |_| Ok::<_, Error>(())).await.unwrap();
        };
        count(&proxy, trips, &case("run"), run).await;
        let run = async |name: &str| {
            let run = wait.on(conn.advisory(name));
            let ran = run.try_run(async |_| Ok::<_, Error>(())).await;
            assert!(ran.unwrap().is_some());
        };
        count(&proxy, trips, &case("try_run"), run).await;
        let run = async |name: &str| {
            let run = wait.on(conn.advisory(name)).shared();
            run.run(async |_| Ok::<_, Error>(())).await.unwrap();
        };
        count(&proxy, trips, &case("shared"), run).await;
        let run = async |name: &str| {
            let run = wait.on(conn.advisory(name)).and((name, 2)).and((name, 3));
            run.run(async |_| Ok::<_, Error>(())).await.unwrap();
        };
        count(&proxy, trips, &case("a set of three"), run).await;
        let run = async |name: &str| {
            let run = wait.on(conn.advisory(name)).read_committed();
            run.run(async |_| Ok::<_, Error>(())).await.unwrap();
        };
        count(&proxy, trips, &case("read committed"), run).await;
        let run = async |name: &str| {
            let run = wait.on(conn.advisory(name)).serializable();
            run.run(async |_| Ok::<_, Error>(())).await.unwrap();
        };
        count(&proxy, trips, &case("serializable"), run).await;
        let run = async |name: &str| {
            let run = wait.on(conn.advisory(name));
            let failed = run.run(async |_| Err::<(), _>(Error::Database(diesel::NotFound)));
            failed.await.unwrap_err();
        };
        count(&proxy, trips, &case("fails"), run).await;
    }
}

#[scenario]
async fn a_lock_in_an_open_transaction_takes_one() {
    let (proxy, mut conn) = counted().await;
    begin(&mut conn).await;
    for wait in WAITS {
        let case = |what: &str| format!("{what}, {wait:?}");
        let acquire = async |name: &str| {
            wait.on(conn.advisory_xact(name)).acquire().await.unwrap();
        };
        count(&proxy, 1, &case("acquire"), acquire).await;
        let acquire = async |name: &str| {
            let acquired = wait.on(conn.advisory_xact(name)).try_acquire().await;
            assert!(acquired.unwrap());
        };
        count(&proxy, 1, &case("try_acquire"), acquire).await;
        let acquire = async |name: &str| {
            let lock = wait.on(conn.advisory_xact(name)).shared();
            lock.acquire().await.unwrap();
        };
        count(&proxy, 1, &case("shared"), acquire).await;
        let acquire = async |name: &str| {
            let set = conn.advisory_xact(name).and((name, 2)).and((name, 3));
            wait.on(set).acquire().await.unwrap();
        };
        count(&proxy, 1, &case("a set of three"), acquire).await;
        let run = async |name: &str| {
            let run = wait.on(conn.advisory(name));
            run.run(async |_| Ok::<_, Error>(())).await.unwrap();
        };
        count(&proxy, of_a_run(wait), &case("a nested run"), run).await;
    }
}

#[scenario]
async fn a_look_whether_it_is_locked_takes_one_question() {
    let (proxy, mut conn) = counted().await;
    let look = async |name: &str| {
        assert!(!conn.is_advisory_locked(name).await.unwrap());
    };
    count(&proxy, 1, "look", look).await;
}

#[scenario]
async fn the_wrong_scope_takes_none() {
    let (proxy, mut conn) = counted().await;
    for wait in WAITS {
        let acquire = async |name: &str| {
            let result = wait.on(conn.advisory_xact(name)).acquire().await;
            assert!(matches!(result, Err(Error::NotInTransaction)), "{result:?}");
        };
        count(&proxy, 0, "outside of a transaction", acquire).await;
    }
    begin(&mut conn).await;
    let run = async |name: &str| {
        let run = conn.advisory(name).serializable();
        run.run(async |_| Ok::<_, Error>(())).await.unwrap_err();
    };
    count(&proxy, 0, "in an open transaction", run).await;
}

/// Others wait for it: the work between the grant and the commit goes to the server as the user wrote
/// it, and nothing else.
#[scenario]
async fn nothing_else_is_sent_while_the_lock_is_held() {
    let (proxy, mut conn) = counted().await;
    for wait in WAITS {
        let lock = unique("round_trips.held");
        let run = wait.on(conn.advisory(&lock)).run(async |conn| {
            proxy.reset();
            execute(conn, "SELECT 'work'").await;
            Ok::<_, Error>(())
        });
        run.await.unwrap();
        assert_eq!(proxy.sent(), ["SELECT 'work'", COMMIT], "{wait:?}");
        assert_eq!(proxy.round_trips(), 2, "{wait:?}");
    }
}

/// The run is claimed before the work, and finished after it.
#[scenario]
async fn a_job_that_starts_at_most_once_in_a_while_takes_a_few_more() {
    let (proxy, mut conn) = counted().await;
    catalog::install(&mut crate::support::connect()).unwrap();
    let run = async |name: &str| {
        let job = unique(name);
        let run = conn.advisory(&job).once();
        run.run(async |_| Ok::<_, Error>(())).await.unwrap();
    };
    count(&proxy, 3 + QUESTION, "run", run).await;
    let run = async |name: &str| {
        let job = unique(name);
        let run = conn.advisory_session(&job).once();
        run.run(async |_| Ok::<_, Error>(())).await.unwrap();
    };
    count(&proxy, 5 + QUESTION, "session", run).await;
    let job = unique("round_trips.refused");
    let run = conn.advisory(&job).once();
    run.run(async |_| Ok::<_, Error>(())).await.unwrap();
    let refused = async |_: &str| {
        let run = conn.advisory(&job).once();
        let ran = run.try_run(async |_| Ok::<_, Error>(())).await;
        assert_eq!(ran.unwrap(), None);
    };
    count(&proxy, 2 + QUESTION, "refused", refused).await;
}
