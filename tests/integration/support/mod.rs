//! What the tests share: connections, names, and bounded waits for what the server shows.

#![allow(
    clippy::duplicate_mod,
    reason = "what is done on a connection is compiled for both kinds"
)]

pub(crate) mod any_locks;
#[cfg(feature = "async")]
pub(crate) mod async_pools;
mod holder;
mod isolation;
mod language;
mod search_path;
#[cfg(feature = "tracing")]
pub(crate) mod spans;
mod wait;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel_advisory::{AdvisoryConnection, LockId, LockKey, Unavailable};
use diesel_advisory_sandbox::Sandbox;

pub(crate) use blocking::connection::*;
pub(crate) use holder::Holder;
pub(crate) use isolation::{LEVELS, Level, SOURCES, Source, at_level};
pub(crate) use language::Language;
pub(crate) use search_path::{HOSTILE, hostile_database};
pub(crate) use wait::{Adjustable, Wait};

/// The helpers for asynchronous connections.
#[cfg(feature = "async")]
#[path = "."]
pub(crate) mod asynchronous {
    pub(crate) mod connection;

    pub(crate) use connection::*;

    mod side {
        pub(crate) use diesel_advisory_test_macros::keep as helper;
        pub(crate) use diesel_async::{
            AnsiTransactionManager, AsyncConnection as _, AsyncPgConnection as Conn,
            RunQueryDsl as _, SimpleAsyncConnection as _, TransactionManager,
        };
    }
}

#[path = "."]
pub(crate) mod blocking {
    pub(crate) mod connection;

    mod side {
        pub(crate) use diesel::connection::{
            AnsiTransactionManager, SimpleConnection as _, TransactionManager,
        };
        pub(crate) use diesel::{Connection as _, PgConnection as Conn, RunQueryDsl as _};
        pub(crate) use diesel_advisory_test_macros::blocking as helper;
    }
}

/// Longer than anything takes, on a busy machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What the work of a test fails with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("on purpose")]
    OnPurpose,
    #[error(transparent)]
    Diesel(#[from] diesel::result::Error),
    #[error("the lock: {0}")]
    Lock(#[from] diesel_advisory::Error),
}

/// A lock name that no other test has.
pub(crate) fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}.{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Lock names that no other test has, in the order in which their locks are taken.
pub(crate) fn in_order<const COUNT: usize>() -> [String; COUNT] {
    let mut names = [(); COUNT].map(|()| unique("in_order"));
    names.sort_by_key(|name| key(name.clone()));
    names
}

/// An empty database of one's own: its URL.
pub(crate) fn database() -> String {
    let name = unique("database").replace('.', "_");
    execute(&mut connect(), &format!("CREATE DATABASE {name}"));
    Sandbox::shared().url_as("postgres", &name)
}

/// The key of a lock, for ids that are not hashed by the server.
pub(crate) fn key(id: impl Into<LockId<'static>>) -> LockKey {
    id.into().key().unwrap()
}

/// The key of a permit of the lock, counted from 1.
pub(crate) fn permit(name: &str, number: u32) -> LockKey {
    LockKey::from_name(&format!("{name}\0#{number}"))
}

/// The key of the gate, where whoever waits for a permit queues.
pub(crate) fn gate(name: &str) -> LockKey {
    permit(name, 0)
}

/// The condition for the rows of `pg_locks` that are about the lock.
pub(crate) fn is_lock(id: impl Into<LockId<'static>>) -> String {
    let (classid, objid, objsubid) = key(id).to_pg_locks();
    format!(
        "locktype = 'advisory' AND (classid, objid, objsubid) = ({classid}, {objid}, {objsubid})"
    )
}

/// A call of one of PostgreSQL's own functions on the lock.
pub(crate) fn function_call(function: &str, id: impl Into<LockId<'static>>) -> String {
    match key(id) {
        LockKey::BigInt(key) => format!("SELECT {function}({key})"),
        LockKey::Pair(first, second) => format!("SELECT {function}({first}, {second})"),
    }
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
    let is_lock = is_lock(id);
    let sql =
        format!("SELECT count(*)::int AS value FROM pg_locks WHERE {is_lock} AND NOT granted");
    let mut conn = connect_to(url);
    wait_until("the lock is waited for", || {
        integer(&mut conn, &sql) >= count
    });
}

/// Waits until the session has waited so long in its statement, for an event of that name.
pub(crate) fn wait_until_waited(pid: i32, event: &str, millis: u32) {
    let sql = format!(
        "SELECT count(*)::int AS value FROM pg_stat_activity WHERE pid = {pid} AND \
         wait_event = '{event}' AND clock_timestamp() - query_start > interval '{millis} ms'"
    );
    let mut conn = connect();
    wait_until("it has waited so long", || integer(&mut conn, &sql) == 1);
}

/// Waits until nobody holds the lock: a backend notices later that its client is gone.
pub(crate) fn wait_until_free(id: impl Into<LockId<'static>>) {
    let (id, mut conn) = (id.into(), connect());
    wait_until("the session that held the lock has ended", || {
        !conn.is_advisory_locked(id.clone()).unwrap()
    });
}

/// Whether another session gets the lock now.
fn is_free(id: impl Into<LockId<'static>>) -> bool {
    let lock = connect().transaction(|conn| conn.advisory_xact(id).no_wait().try_acquire());
    lock.unwrap()
}

/// Asserts that nobody holds the lock: another connection gets it at once.
#[track_caller]
pub(crate) fn assert_free(id: impl Into<LockId<'static>>) {
    let id = id.into();
    assert!(is_free(id.clone()), "{id} is still held");
}

/// Asserts that somebody holds the lock: another connection does not get it.
#[track_caller]
pub(crate) fn assert_taken(id: impl Into<LockId<'static>>) {
    let id = id.into();
    assert!(!is_free(id.clone()), "{id} is not held");
}

/// The number of advisory locks that the session holds.
pub(crate) fn locks_of(pid: i32) -> i32 {
    let sql = format!(
        "SELECT count(*)::int AS value FROM pg_locks WHERE locktype = 'advisory' AND pid = {pid}"
    );
    integer(&mut connect(), &sql)
}

/// The modes in which this session holds the lock, in PostgreSQL's own words.
pub(crate) fn modes(conn: &mut PgConnection, id: impl Into<LockId<'static>>) -> String {
    let is_lock = is_lock(id);
    let sql = format!(
        "SELECT coalesce(string_agg(mode, ' ' ORDER BY mode), '') AS value FROM pg_locks \
         WHERE {is_lock} AND granted AND pid = pg_backend_pid()"
    );
    text(conn, &sql)
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

/// A pool that has only one connection to give.
pub(crate) type PoolOfOne = Pool<ConnectionManager<PgConnection>>;

pub(crate) fn pool_of_one(url: &str) -> PoolOfOne {
    let manager = ConnectionManager::new(url);
    Pool::builder().max_size(1).build(manager).unwrap()
}

/// The rows of a [`table`] that another session sees.
pub(crate) fn committed(table: &str) -> Vec<i32> {
    values(&mut connect(), table)
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
