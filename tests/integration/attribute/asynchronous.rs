//! The same on `async fn`.

use diesel_advisory::AsyncAdvisoryConnection;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::bb8::{Pool, PooledConnection};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::{
    DieselError, Duration, Error, Holder, LockId, QueryResult, Sandbox, advisory, assert_free,
    assert_locked, committed,
};
use crate::support::asynchronous::{connect, insert, table};

/// Calls it on a task of its own, where its future has to be `Send`.
async fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    tokio::spawn(work).await.unwrap()
}

struct Ledger {
    name: String,
    closed: u32,
}

impl Ledger {
    #[advisory("attribute.async:{month}")]
    async fn close(&mut self, conn: &mut AsyncPgConnection, month: u32) -> QueryResult<usize> {
        assert_locked(("attribute.async", month));
        if month == 0 {
            return Err(DieselError::NotFound);
        }
        let rows = diesel::sql_query("SELECT 1").execute(conn).await?;
        self.closed = month;
        Ok(rows)
    }

    #[advisory(("attribute.async", &self.name), session, timeout = Duration::from_secs(60))]
    async fn report(self, conn: &mut AsyncPgConnection, text: &str) -> Result<String, Error> {
        assert_locked("attribute.async:books");
        diesel::sql_query("SELECT 1").execute(conn).await?;
        Ok(self.name + text)
    }
}

#[tokio::test]
async fn functions_run_under_a_lock() {
    let (name, closed) = ("books".to_owned(), 0);
    let report = spawn(async move {
        let mut conn = connect().await;
        let mut ledger = Ledger { name, closed };
        let failed = ledger.close(&mut conn, 0).await;
        assert_eq!(failed, Err(DieselError::NotFound));
        assert_eq!(ledger.close(&mut conn, 7).await, Ok(1));
        assert_eq!(ledger.closed, 7);
        ledger.report(&mut conn, " closed").await.unwrap()
    });
    assert_eq!(report.await, "books closed");
    assert_free(("attribute.async", 7));
    assert_free("attribute.async:books");
}

#[advisory("attribute.async, generic")]
async fn generic<C, T>(conn: &mut C, value: T) -> QueryResult<(T, bool)>
where
    C: AsyncAdvisoryConnection,
    T: Send,
{
    let locked = conn.is_advisory_locked("attribute.async, generic").await?;
    Ok((value, locked))
}

#[advisory(id, no_wait, skip, shared, read_only)]
#[expect(clippy::mut_mut, reason = "something has to need the `mut`")]
async fn pooled(
    mut conn: &mut PooledConnection<'_, AsyncPgConnection>,
    id: LockId<'_>,
) -> QueryResult<Option<usize>> {
    let conn = &mut conn;
    diesel::sql_query("SELECT 1").execute(*conn).await.map(Some)
}

#[tokio::test]
async fn connections_can_be_generic_or_pooled() {
    let value = generic(&mut connect().await, "value").await;
    assert_eq!(value, Ok(("value", true)));

    let id = || LockId::from("attribute.async, pooled");
    let manager = AsyncDieselConnectionManager::new(Sandbox::shared().url());
    let pool = Pool::builder().build(manager).await.unwrap();
    let mut conn = pool.get().await.unwrap();
    assert_eq!(pooled(&mut conn, id()).await, Ok(Some(1)));
    let holder = Holder::of(id());
    assert_eq!(pooled(&mut conn, id()).await, Ok(None));
    drop(holder);
}

#[advisory("attribute.async, skip", no_wait, skip)]
async fn import(
    conn: &mut AsyncPgConnection,
    table: &str,
    row: Option<i32>,
) -> QueryResult<Option<i32>> {
    assert_locked("attribute.async, skip");
    insert(conn, table, row.unwrap_or(3)).await?;
    Ok(row)
}

#[tokio::test]
async fn an_option_tells_skipped_from_done_asynchronously() {
    let conn = &mut connect().await;
    let table = &table(conn).await;
    assert_eq!(import(conn, table, Some(1)).await, Ok(Some(1)));

    let holder = Holder::of("attribute.async, skip");
    assert_eq!(import(conn, table, Some(2)).await, Ok(None));
    drop(holder);
    assert_eq!(committed(table), [1]);

    assert_eq!(import(conn, table, None).await, Ok(None));
    assert_eq!(committed(table), [1, 3]);
}
