//! What the tests share: connections, names, and bounded waits for what the server shows.

#[cfg(feature = "async")]
pub(crate) mod async_pools;
#[cfg(feature = "async")]
pub(crate) mod asynchronous;

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel::sql_types::{Integer, Text};
use diesel_advisory::functions::{
    pg_advisory_lock, pg_advisory_lock_pair, pg_advisory_lock_shared,
};
use diesel_advisory::{AdvisoryConnection, AdvisoryLock, LockId, LockKey, Unavailable};
use diesel_advisory_sandbox::Sandbox;

/// Longer than anything takes, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to the server that the tests share.
pub(crate) fn connect() -> PgConnection {
    connect_to(Sandbox::shared().url())
}

pub(crate) fn connect_to(url: &str) -> PgConnection {
    PgConnection::establish(url).unwrap()
}

/// A lock name that no other test has.
pub(crate) fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}.{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Waits until something is so.
///
/// # Panics
///
/// If it is not within [`PATIENCE`].
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until `count` sessions wait for the lock.
pub(crate) fn wait_until_queued(id: impl Into<LockId<'static>>, count: i32) {
    wait_until_queued_at(Sandbox::shared().url(), id, count);
}

/// The same, on another server than the shared one.
pub(crate) fn wait_until_queued_at(url: &str, id: impl Into<LockId<'static>>, count: i32) {
    let (classid, objid, objsubid) = id.into().key().to_pg_locks();
    let sql = format!(
        "SELECT count(*)::int AS value FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
         AND classid = '{classid}' AND objid = '{objid}' AND objsubid = {objsubid}"
    );
    let mut conn = connect_to(url);
    wait_until("the lock is waited for", || {
        integer(&mut conn, &sql) >= count
    });
}

/// Asserts that nobody holds the lock: another connection gets it at once.
#[track_caller]
pub(crate) fn assert_free(id: impl Into<LockId<'static>>) {
    let id = id.into();
    let free = connect()
        .transaction(|conn| conn.advisory_xact(id.clone()).no_wait().try_acquire())
        .unwrap();
    assert!(free, "{id} is still held");
}

/// The process id of the connection's session.
pub(crate) fn pid(conn: &mut PgConnection) -> i32 {
    integer(conn, "SELECT pg_backend_pid() AS value")
}

/// The session's `lock_timeout`, to the character.
pub(crate) fn lock_timeout(conn: &mut PgConnection) -> String {
    text(conn, "SELECT current_setting('lock_timeout') AS value")
}

/// The number of advisory locks that the session holds.
pub(crate) fn locks_of(pid: i32) -> i32 {
    let sql = format!(
        "SELECT count(*)::int AS value FROM pg_locks WHERE locktype = 'advisory' AND pid = {pid}"
    );
    integer(&mut connect(), &sql)
}

/// The column `value` of the one row that the query selects.
pub(crate) fn integer(conn: &mut PgConnection, sql: &str) -> i32 {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Integer)]
        value: i32,
    }
    diesel::sql_query(sql)
        .get_result::<Row>(conn)
        .unwrap()
        .value
}

/// The column `value` of the one row that the query selects.
pub(crate) fn text(conn: &mut PgConnection, sql: &str) -> String {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        value: String,
    }
    diesel::sql_query(sql)
        .get_result::<Row>(conn)
        .unwrap()
        .value
}

/// Sends statements that answer nothing.
pub(crate) fn execute(conn: &mut PgConnection, sql: &str) {
    use diesel::connection::SimpleConnection;

    conn.batch_execute(sql).unwrap();
}

/// How to wait, where a test goes through several ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Inherit,
    AtMost(Duration),
    Forever,
    No,
}

impl Wait {
    /// All of them; none that can end in vain does so before [`PATIENCE`], but `No`.
    pub(crate) const ALL: [Self; 4] = [
        Self::Inherit,
        Self::AtMost(PATIENCE),
        Self::Forever,
        Self::No,
    ];

    pub(crate) fn on<C, S>(self, lock: AdvisoryLock<'_, C, S>) -> AdvisoryLock<'_, C, S> {
        match self {
            Self::Inherit => lock,
            Self::AtMost(timeout) => lock.timeout(timeout),
            Self::Forever => lock.timeout(None),
            Self::No => lock.no_wait(),
        }
    }
}

/// Another session, which holds a lock until it is dropped.
pub(crate) struct Holder {
    url: String,
    conn: PgConnection,
}

impl Holder {
    pub(crate) fn of(id: impl Into<LockId<'static>>) -> Self {
        Self::at(Sandbox::shared().url(), id)
    }

    /// Of a lock on another server than the shared one.
    pub(crate) fn at(url: &str, id: impl Into<LockId<'static>>) -> Self {
        let mut conn = connect_to(url);
        lock_session(&mut conn, id);
        let url = url.to_owned();
        Self { url, conn }
    }

    pub(crate) fn pid(&mut self) -> i32 {
        pid(&mut self.conn)
    }

    pub(crate) fn execute(&mut self, sql: &str) {
        execute(&mut self.conn, sql);
    }

    /// Takes one more lock.
    pub(crate) fn lock(&mut self, id: impl Into<LockId<'static>>) {
        lock_session(&mut self.conn, id);
    }

    /// Takes one more lock, a shared one.
    pub(crate) fn lock_shared(&mut self, id: impl Into<LockId<'static>>) {
        let LockKey::BigInt(key) = id.into().key() else {
            panic!("shared locks of the tests have names");
        };
        let locked = diesel::select(pg_advisory_lock_shared(key)).execute(&mut self.conn);
        locked.unwrap();
    }

    /// Waits in the background until somebody waits for the lock, and is dropped then.
    pub(crate) fn until_queued(self, id: impl Into<LockId<'static>>) -> JoinHandle<()> {
        let id = id.into();
        std::thread::spawn(move || {
            wait_until_queued_at(&self.url, id, 1);
        })
    }
}

impl Drop for Holder {
    /// A backend notices later that its client is gone.
    fn drop(&mut self) {
        let released = diesel::sql_query("SELECT pg_advisory_unlock_all()").execute(&mut self.conn);
        drop(released);
    }
}

/// Takes a session lock with nothing but PostgreSQL's own function.
pub(crate) fn lock_session(conn: &mut PgConnection, id: impl Into<LockId<'static>>) {
    let locked = match id.into().key() {
        LockKey::BigInt(key) => diesel::select(pg_advisory_lock(key)).execute(conn),
        LockKey::Pair(first, second) => {
            diesel::select(pg_advisory_lock_pair(first, second)).execute(conn)
        }
    };
    locked.unwrap();
}

/// What an error says about a wait that ended without the lock.
#[track_caller]
pub(crate) fn unavailable(error: diesel_advisory::Error) -> Unavailable {
    match error {
        diesel_advisory::Error::Unavailable(unavailable) => unavailable,
        other => panic!("unavailable is what it should be: {other:?}"),
    }
}

/// What the server says that a session is doing: `idle`, `idle in transaction`, …
pub(crate) fn state_of(pid: i32) -> String {
    let sql = format!(
        "SELECT coalesce(max(state), 'gone') AS value FROM pg_stat_activity WHERE pid = {pid}"
    );
    text(&mut connect(), &sql)
}

/// Asserts that a session of the shared server can be given to anyone: it is outside of any
/// transaction, and holds no lock.
#[track_caller]
pub(crate) fn assert_clean(conn: &mut PgConnection) {
    let pid = pid(conn);
    assert_eq!(state_of(pid), "idle");
    assert_eq!(locks_of(pid), 0);
}

/// A pool that has only one connection to give.
pub(crate) type PoolOfOne = Pool<ConnectionManager<PgConnection>>;

pub(crate) fn pool_of_one(url: &str) -> PoolOfOne {
    let manager = ConnectionManager::new(url);
    Pool::builder().max_size(1).build(manager).unwrap()
}

/// A table of integers that nobody else has.
pub(crate) fn table(conn: &mut PgConnection) -> String {
    let table = unique("rows").replace('.', "_");
    execute(conn, &format!("CREATE TABLE {table} (value int NOT NULL)"));
    table
}

/// Adds a row to a [`table`].
pub(crate) fn insert(conn: &mut PgConnection, table: &str, value: i32) -> QueryResult<usize> {
    diesel::sql_query(format!("INSERT INTO {table} VALUES ({value})")).execute(conn)
}

/// The rows of a [`table`] that another session sees.
pub(crate) fn committed(table: &str) -> Vec<i32> {
    values(&mut connect(), table)
}

/// The rows of a [`table`] that this session sees.
pub(crate) fn values(conn: &mut PgConnection, table: &str) -> Vec<i32> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Integer)]
        value: i32,
    }
    let rows = diesel::sql_query(format!("SELECT value FROM {table} ORDER BY value"));
    let rows = rows.load::<Row>(conn).unwrap();
    rows.into_iter().map(|row| row.value).collect()
}

/// Says that something is not tried, because something else is missing here.
///
/// # Panics
///
/// In a full run, where nothing may be missing.
pub(crate) fn skip(missing: &str) {
    let is_full = std::env::var_os("DIESEL_ADVISORY_FULL").is_some();
    assert!(!is_full, "{missing}");
    eprintln!("notice: {missing}, so this is not tried");
}

/// Has the server speak German to the session, if it can.
pub(crate) fn speak_german(conn: &mut PgConnection) -> bool {
    let is_set = diesel::sql_query("SET lc_messages = 'de_DE.UTF-8'").execute(conn);
    let error = diesel::sql_query("SELECT 1 / 0").execute(conn).unwrap_err();
    let speaks = is_set.is_ok() && error.to_string() == "Division durch Null";
    if !speaks {
        skip("the server does not speak German");
    }
    speaks
}
