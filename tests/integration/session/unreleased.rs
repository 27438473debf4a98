//! A release that fails: the session is ended, and no pool gives the connection out again.

use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool, R2D2Connection};
use diesel_advisory::{AdvisoryConnection, Error};
use diesel_advisory_sandbox::Sandbox;

use crate::support::*;

/// As many session locks as were once found in a pool.
const LOCKS: i32 = 100;

/// A database where a role may take session locks, and not release them: the URL of that role.
fn without_release() -> String {
    let (url, role) = (database(), unique("unreleased").replace('.', "_"));
    let mut owner = connect_to(&url);
    execute(
        &mut owner,
        &format!(
            "REVOKE EXECUTE ON FUNCTION pg_advisory_unlock(int, int) FROM PUBLIC; \
             CREATE ROLE {role} LOGIN"
        ),
    );
    let database = text(&mut owner, "SELECT current_database()::text AS value");
    Sandbox::shared().url_as(&role, &database)
}

fn locks() -> impl Iterator<Item = (i32, i32)> {
    (1..=LOCKS).map(|lock| (2, lock))
}

/// Diesel takes the mark back after the next statement that succeeds, so none may.
#[test]
fn r2d2_gives_another_connection_after_a_release_that_failed() {
    let manager = ConnectionManager::<PgConnection>::new(without_release());
    // What is broken is not found out by asking the server.
    let builder = Pool::builder().max_size(1).test_on_check_out(false);
    let pool = builder.build(manager).unwrap();
    for drops in [false, true] {
        let mut conn = pool.get().unwrap();
        let before = pid(&mut conn);
        let held = conn.advisory_session_all(locks()).acquire().unwrap();
        if drops {
            drop(held);
        } else {
            let released = held.release();
            assert!(matches!(released, Err(Error::Database(_))), "{released:?}");
        }
        assert!(diesel::sql_query("SELECT 1").execute(&mut conn).is_err());
        assert!(conn.is_broken());
        drop(conn);
        wait_until("its session has ended", || state_of(before) == "gone");
        let mut next = pool.get().unwrap();
        assert_ne!(pid(&mut next), before);
        assert_eq!(locks_of(pid(&mut next)), 0);
    }
}

#[cfg(feature = "async")]
#[tokio::test]
async fn async_pools_give_another_connection_after_a_release_that_failed() {
    use diesel_advisory::AsyncAdvisoryConnection;
    use diesel_async::SimpleAsyncConnection;

    use crate::support::async_pools::Kind;
    use crate::support::asynchronous;

    let url = without_release();
    for kind in Kind::ALL {
        for drops in [false, true] {
            let case = format!("{kind:?}, drops: {drops}");
            let pool = kind.pool_of_one(&url).await;
            let mut conn = pool.get().await;
            let before = asynchronous::pid(&mut conn).await;
            let held = AsyncAdvisoryConnection::advisory_session_all(&mut *conn, locks());
            let held = held.acquire().await.unwrap();
            if drops {
                drop(held);
            } else {
                let released = held.release().await;
                let failed = matches!(released, Err(Error::Database(_)));
                assert!(failed, "{case}: {released:?}");
            }
            assert!(conn.batch_execute("SELECT 1").await.is_err(), "{case}");
            drop(conn);
            wait_until("its session has ended", || state_of(before) == "gone");
            let mut next = pool.get().await;
            assert_ne!(asynchronous::pid(&mut next).await, before, "{case}");
        }
    }
}
