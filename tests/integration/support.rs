//! What the tests share: connections, names, and bounded waits for what the server shows.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::{Integer, Text};
use diesel_advisory::{AdvisoryConnection, LockId};
use diesel_advisory_sandbox::Sandbox;

/// Longer than anything takes, on a busy machine too.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to the server that the tests share.
pub fn connect() -> PgConnection {
    connect_to(Sandbox::shared().url())
}

pub fn connect_to(url: &str) -> PgConnection {
    PgConnection::establish(url).unwrap()
}

/// A lock name that no other test has.
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}.{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Waits until something is so.
///
/// # Panics
///
/// If it is not within [`PATIENCE`].
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until `count` sessions wait for the lock.
pub fn wait_until_queued(id: impl Into<LockId<'static>>, count: i32) {
    let (classid, objid, objsubid) = id.into().key().to_pg_locks();
    let sql = format!(
        "SELECT count(*)::int AS value FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
         AND classid = '{classid}' AND objid = '{objid}' AND objsubid = {objsubid}"
    );
    let mut conn = connect();
    wait_until("the lock is waited for", || integer(&mut conn, &sql) >= count);
}

/// Asserts that nobody holds the lock: another connection gets it at once.
#[track_caller]
pub fn assert_free(id: impl Into<LockId<'static>>) {
    let id = id.into();
    let free = connect()
        .transaction(|conn| conn.advisory_xact(id.clone()).no_wait().try_acquire())
        .unwrap();
    assert!(free, "{id} is still held");
}

/// The process id of the connection's session.
pub fn pid(conn: &mut PgConnection) -> i32 {
    integer(conn, "SELECT pg_backend_pid() AS value")
}

/// The session's `lock_timeout`, to the character.
pub fn lock_timeout(conn: &mut PgConnection) -> String {
    text(conn, "SELECT current_setting('lock_timeout') AS value")
}

/// The number of advisory locks that the session holds.
pub fn locks_of(pid: i32) -> i32 {
    let sql = format!(
        "SELECT count(*)::int AS value FROM pg_locks WHERE locktype = 'advisory' AND pid = {pid}"
    );
    integer(&mut connect(), &sql)
}

/// The column `value` of the one row that the query selects.
pub fn integer(conn: &mut PgConnection, sql: &str) -> i32 {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Integer)]
        value: i32,
    }
    diesel::sql_query(sql).get_result::<Row>(conn).unwrap().value
}

/// The column `value` of the one row that the query selects.
pub fn text(conn: &mut PgConnection, sql: &str) -> String {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        value: String,
    }
    diesel::sql_query(sql).get_result::<Row>(conn).unwrap().value
}

/// Sends statements that answer nothing.
pub fn execute(conn: &mut PgConnection, sql: &str) {
    use diesel::connection::SimpleConnection;

    conn.batch_execute(sql).unwrap();
}
