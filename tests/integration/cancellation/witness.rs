//! Sessions that look at what was left.

use std::time::Duration;

use diesel_advisory::{AsyncAdvisoryConnection, Error};
use diesel_async::AsyncPgConnection;

use super::actions::Inside;
use crate::support::async_pools::{Kind, PoolOfOne};
use crate::support::asynchronous::{connect, execute, integer, lock_session, pid};
use crate::support::{PATIENCE, is_lock};

/// Within which another session has the lock.
const BOUND: Duration = Duration::from_secs(2);

/// Sessions that look on.
pub(crate) struct Witness {
    conn: AsyncPgConnection,
    holder: AsyncPgConnection,
}

impl Witness {
    pub(crate) async fn new() -> Self {
        diesel_advisory::catalog::install(&mut crate::support::connect()).unwrap();
        Self {
            conn: connect().await,
            holder: connect().await,
        }
    }

    /// Holds a lock until [`let_go`](Self::let_go).
    pub(crate) async fn hold(&mut self, lock: &str) {
        lock_session(&mut self.holder, lock.to_owned()).await;
    }

    pub(crate) async fn let_go(&mut self) {
        execute(&mut self.holder, "SELECT pg_advisory_unlock_all()").await;
    }

    /// Waits until somebody waits for the lock.
    pub(crate) async fn queued(&mut self, lock: &str) {
        let is_lock = is_lock(lock.to_owned());
        let sql =
            format!("SELECT count(*)::int AS value FROM pg_locks WHERE {is_lock} AND NOT granted");
        let until_queued = async {
            while integer(&mut self.conn, &sql).await == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, until_queued).await;
        assert!(in_time.is_ok(), "nobody waits");
    }

    /// Another session takes the lock, and soon.
    pub(crate) async fn assert_soon_free(&mut self, lock: &str, case: &str) {
        let lock = self.conn.advisory(lock).timeout(BOUND);
        let taken = lock.run(async |_| Ok::<_, Error>(())).await;
        taken.unwrap_or_else(|error| panic!("{case}: {error}"));
    }

    /// What the pool gives next is as good as new.
    pub(crate) async fn assert_next_is_clean(&mut self, pool: &PoolOfOne, lock: &str, case: &str) {
        let next = async {
            let mut conn = pool.get().await;
            let pid = pid(&mut conn).await;
            let sql = format!(
                "SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = {pid})::int \
                 + (SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND pid = {pid})::int \
                 AS value"
            );
            assert_eq!(integer(&mut self.conn, &sql).await, 0, "{case}: not clean");
            let run = conn.advisory(lock).timeout(BOUND);
            let ran =
                run.run(async |conn| Ok::<_, Error>(integer(conn, "SELECT 7 AS value").await));
            assert_eq!(ran.await.unwrap(), 7, "{case}");
        };
        let in_time = tokio::time::timeout(PATIENCE, next).await;
        assert!(in_time.is_ok(), "{case}: the pool gives no connection");
    }

    /// What holds after every future that was dropped.
    pub(crate) async fn assert_nothing_left(
        &mut self,
        kind: Kind,
        pool: PoolOfOne,
        inside: &Inside,
        lock: &str,
        case: &str,
    ) {
        match kind {
            // It throws away what diesel-async calls broken not before it would give it out again.
            Kind::Deadpool if inside.is_diesel() => {
                self.assert_next_is_clean(&pool, lock, case).await;
                self.assert_soon_free(lock, case).await;
            }
            // It keeps what diesel-async calls broken: `Manager::validate` says the opposite there of what
            // mobc asks.
            Kind::Mobc if inside.is_diesel() => {
                drop(pool);
                self.assert_soon_free(lock, case).await;
            }
            _ => {
                self.assert_soon_free(lock, case).await;
                self.assert_next_is_clean(&pool, lock, case).await;
            }
        }
    }
}
