//! `#[advisory]` on async functions: every key there is.

use std::time::Duration;

use diesel::QueryResult;
use diesel_advisory::{AdvisoryConnection, Error, LockId, advisory};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};

use crate::support::asynchronous::{assert_clean, connect, insert, integer, table};
use crate::support::{self, Holder, assert_free, committed, unavailable};

/// Whether somebody holds it, and whether another would be let in to share it.
fn look(id: impl Into<LockId<'static>>) -> (bool, bool) {
    let (id, mut other) = (id.into(), support::connect());
    let held = other.is_advisory_locked(id.clone()).unwrap();
    let lock = other.advisory(id).shared().no_wait();
    let shared = lock.try_run(|_| Ok::<_, Error>(())).unwrap();
    (held, shared.is_some())
}

fn depth(conn: &mut AsyncPgConnection) -> u32 {
    let status = AnsiTransactionManager::transaction_manager_status_mut(conn);
    status.transaction_depth().unwrap().map_or(0, u32::from)
}

const EXCLUSIVE: (bool, bool) = (true, false);
const SHARED: (bool, bool) = (true, true);

#[advisory]
async fn by_default(conn: &mut AsyncPgConnection) -> QueryResult<u32> {
    assert_eq!(look("integration::attribute_async::by_default"), EXCLUSIVE);
    Ok(depth(conn))
}

#[advisory("async attribute:{number:03}", timeout = "2s")]
async fn formatted(conn: &mut AsyncPgConnection, number: u8) -> QueryResult<u32> {
    assert_eq!(look(format!("async attribute:{number:03}")), EXCLUSIVE);
    Ok(depth(conn))
}

#[advisory((7_411, number), timeout = None, shared)]
async fn pair(conn: &mut AsyncPgConnection, number: i32) -> QueryResult<u32> {
    assert_eq!(look((7_411, number)), SHARED);
    Ok(depth(conn))
}

#[advisory("async attribute, session", session, timeout = patience)]
async fn session(conn: &mut AsyncPgConnection, patience: Duration) -> Result<u32, Error> {
    assert_eq!(look("async attribute, session"), EXCLUSIVE);
    Ok(depth(conn))
}

#[advisory("async attribute, conn", conn = db)]
async fn named(first: u32, db: &mut AsyncPgConnection, last: u32) -> QueryResult<u32> {
    assert_eq!(look("async attribute, conn"), EXCLUSIVE);
    Ok(first + depth(db) + last)
}

#[tokio::test]
async fn an_async_function_has_the_lock_of_its_keys() {
    let conn = &mut connect().await;
    assert_eq!(by_default(conn).await, Ok(1));
    assert_eq!(formatted(conn, 7).await, Ok(1));
    assert_eq!(pair(conn, -1).await, Ok(1));
    assert_eq!(session(conn, Duration::from_secs(60)).await.unwrap(), 0);
    assert_eq!(named(10, conn, 100).await, Ok(111));
    assert_clean(conn).await;
    assert_free("async attribute, session");
}

#[advisory("async attribute, modes", read_committed, read_only)]
async fn read_committed(conn: &mut AsyncPgConnection, sql: &str) -> QueryResult<i32> {
    Ok(integer(conn, sql).await)
}

#[advisory("async attribute, modes", repeatable_read, read_write)]
async fn repeatable_read(conn: &mut AsyncPgConnection, sql: &str) -> QueryResult<i32> {
    Ok(integer(conn, sql).await)
}

#[advisory("async attribute, modes", serializable, read_only, deferrable)]
async fn serializable(conn: &mut AsyncPgConnection, sql: &str) -> QueryResult<i32> {
    Ok(integer(conn, sql).await)
}

#[advisory("async attribute, modes", not_deferrable)]
async fn not_deferrable(conn: &mut AsyncPgConnection, sql: &str) -> QueryResult<i32> {
    Ok(integer(conn, sql).await)
}

#[tokio::test]
async fn an_async_function_has_the_modes_of_its_keys() {
    /// A digit for each of the modes.
    const MODES: &str = "SELECT 100 * array_position( \
        '{read committed, repeatable read, serializable}', current_setting('transaction_isolation')) \
        + 10 * current_setting('transaction_read_only')::bool::int \
        + current_setting('transaction_deferrable')::bool::int AS value";

    let conn = &mut connect().await;
    assert_eq!(read_committed(conn, MODES).await, Ok(110));
    assert_eq!(repeatable_read(conn, MODES).await, Ok(200));
    assert_eq!(serializable(conn, MODES).await, Ok(311));
    assert_eq!(not_deferrable(conn, MODES).await, Ok(100));
    assert_clean(conn).await;
}

const HELD: &str = "async attribute, held";

#[advisory(HELD, no_wait)]
async fn no_wait(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    panic!("{HELD}, at depth {}", depth(conn));
}

#[advisory(HELD, timeout = "20ms")]
async fn in_vain(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    panic!("{HELD}, at depth {}", depth(conn));
}

#[advisory(HELD, no_wait, skip)]
async fn skipped(conn: &mut AsyncPgConnection) -> QueryResult<Option<u32>> {
    Ok(Some(depth(conn)))
}

#[advisory(HELD, timeout = "1ms", skip, session)]
async fn skipped_session(conn: &mut AsyncPgConnection) -> Result<Vec<u32>, Error> {
    Ok(vec![depth(conn)])
}

#[tokio::test]
async fn an_async_function_is_skipped_or_fails_without_its_lock() {
    let conn = &mut connect().await;
    let holder = Holder::of(HELD);
    assert_eq!(
        unavailable(no_wait(conn).await.unwrap_err())
            .lock
            .to_string(),
        HELD
    );
    let error = in_vain(conn).await.unwrap_err();
    assert!(
        Error::find_in(&error).is_some_and(Error::is_unavailable),
        "{error}"
    );
    assert_eq!(skipped(conn).await, Ok(None));
    assert_eq!(skipped_session(conn).await.unwrap(), []);
    drop(holder);
    assert_eq!(skipped(conn).await, Ok(Some(1)));
    assert_eq!(skipped_session(conn).await.unwrap(), [0]);
    assert_clean(conn).await;
}

#[advisory("async attribute, fate")]
async fn write(conn: &mut AsyncPgConnection, table: &str, value: i32) -> QueryResult<()> {
    insert(conn, table, value).await?;
    if value < 0 {
        return Err(diesel::NotFound);
    }
    Ok(())
}

#[tokio::test]
async fn an_async_function_that_fails_is_rolled_back_and_frees_its_lock() {
    let conn = &mut connect().await;
    let table = table(conn).await;
    assert_eq!(write(conn, &table, 1).await, Ok(()));
    assert_eq!(write(conn, &table, -1).await, Err(diesel::NotFound));
    assert_eq!(committed(&table), [1]);
    assert_clean(conn).await;
    assert_free("async attribute, fate");
}
