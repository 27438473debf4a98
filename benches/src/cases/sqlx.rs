//! Connections of sqlx. It has session locks only, and no timeout.

use std::time::{Duration, Instant};

use sqlx::postgres::PgAdvisoryLock;
use sqlx::{Connection, PgConnection};

pub(crate) async fn connect(url: &str) -> PgConnection {
    // It insists on a host there, even if a parameter names the folder of a socket.
    let url = url.replace("@/", "@localhost/");
    let conn = PgConnection::connect(&url).await;
    conn.expect("PostgreSQL answers")
}

/// Takes the lock and releases it, and tells how long that took.
pub(crate) async fn time(conn: &mut PgConnection, lock: &PgAdvisoryLock) -> Duration {
    let began = Instant::now();
    let held = lock.acquire(&mut *conn).await.expect("the lock");
    held.release_now().await.expect("the release");
    began.elapsed()
}
