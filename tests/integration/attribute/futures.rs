//! The same on functions that return a future: methods under `#[async_trait]`, `impl Future`, boxes.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use diesel_advisory::AsyncAdvisoryConnection;
use diesel_async::AsyncPgConnection;

use super::{
    DieselError, Error, Holder, QueryResult, advisory, assert_free, assert_locked, committed,
    unavailable,
};
use crate::support::asynchronous::{assert_clean, connect, insert, table};

/// As the crate `futures` has it.
type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

#[async_trait]
trait Job: Send + Sync {
    async fn write(&mut self, conn: &mut AsyncPgConnection, row: i32) -> QueryResult<usize>;

    async fn generic<C, T>(conn: &mut C, value: T) -> Result<Option<T>, Error>
    where
        Self: Sized,
        C: AsyncAdvisoryConnection + 'static,
        T: ToString + Send + Sync;

    #[advisory("attribute.async_trait, provided", no_wait)]
    async fn provided<'a>(
        &'a self,
        _conn: &mut AsyncPgConnection,
        words: &'a [String],
    ) -> Result<&'a str, Box<dyn std::error::Error + Send + Sync>> {
        assert_locked("attribute.async_trait, provided");
        Ok(&words[self.index()?])
    }

    fn index(&self) -> Result<usize, std::num::ParseIntError>;
}

struct Import {
    table: String,
    rows: Vec<i32>,
}

#[async_trait]
impl Job for Import {
    #[advisory("attribute.async_trait:{row:02}")]
    async fn write(&mut self, conn: &mut AsyncPgConnection, row: i32) -> QueryResult<usize> {
        assert_locked(format!("attribute.async_trait:{row:02}"));
        let rows = insert(conn, &self.table, row).await?;
        self.rows.push(row);
        if row < 0 {
            return Err(DieselError::NotFound);
        }
        Ok(rows)
    }

    #[advisory(("attribute.async_trait", value.to_string()), session, no_wait, skip)]
    async fn generic<C, T>(conn: &mut C, value: T) -> Result<Option<T>, Error>
    where
        C: AsyncAdvisoryConnection + 'static,
        T: ToString + Send + Sync,
    {
        assert!(conn.is_advisory_locked("attribute.async_trait:x").await?);
        Ok(Some(value))
    }

    fn index(&self) -> Result<usize, std::num::ParseIntError> {
        self.table.parse()
    }
}

/// Calls it on a task of its own, where its future has to be `Send`.
async fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    tokio::spawn(work).await.unwrap()
}

#[tokio::test]
async fn methods_of_async_traits_run_under_a_lock() {
    let table = spawn(async {
        let conn = &mut connect().await;
        let table = table(conn).await;
        let rows = Vec::new();
        let mut job: Box<dyn Job> = Box::new(Import {
            table: table.clone(),
            rows,
        });
        assert_eq!(job.write(conn, 7).await, Ok(1));
        assert_eq!(job.write(conn, -7).await, Err(DieselError::NotFound));
        assert_clean(conn).await;
        table
    });
    assert_eq!(committed(&table.await), [7]);
    assert_free("attribute.async_trait:07");
    assert_free("attribute.async_trait:-7");
}

#[tokio::test]
async fn methods_of_async_traits_have_every_option() {
    let conn = &mut connect().await;
    assert_eq!(Import::generic(conn, "x").await.unwrap(), Some("x"));
    let holder = Holder::of("attribute.async_trait:x");
    assert_eq!(Import::generic(conn, "x").await.unwrap(), None);
    drop(holder);

    let job = |table: &str| Import {
        table: table.to_owned(),
        rows: Vec::new(),
    };
    let (second, none) = (job("1"), job("x"));
    let words = ["a".to_owned(), "b".to_owned()];
    assert_eq!(second.provided(conn, &words).await.unwrap(), "b");
    let error = none.provided(conn, &words).await.unwrap_err();
    assert!(error.is::<std::num::ParseIntError>());
    let holder = Holder::of("attribute.async_trait, provided");
    let error = second.provided(conn, &words).await.unwrap_err();
    assert!(Error::find_in(&*error).is_some_and(Error::is_unavailable));
    drop(holder);
    assert_clean(conn).await;
}

#[advisory]
#[expect(
    clippy::manual_async_fn,
    reason = "people write it, as `Send` is part of it"
)]
fn by_default<'a>(
    _conn: &'a mut AsyncPgConnection,
    words: &'a [&'a str],
) -> impl Future<Output = QueryResult<&'a str>> + Send {
    async move {
        assert_locked("integration::attribute::futures::by_default");
        words.first().copied().ok_or(DieselError::NotFound)
    }
}

#[advisory("attribute.future:{table}", conn = db)]
fn boxed<'a>(
    table: &'a str,
    db: &'a mut AsyncPgConnection,
    row: i32,
) -> Pin<Box<dyn Future<Output = Result<impl Iterator<Item = i32> + use<>, Error>> + Send + 'a>> {
    Box::pin(async move {
        assert_locked(format!("attribute.future:{table}"));
        insert(db, table, row).await?;
        if row < 0 {
            return Err(Error::from(DieselError::NotFound));
        }
        Ok(std::iter::once(row))
    })
}

#[advisory("attribute.alias", timeout = "60s", shared)]
fn alias<'a, C>(_conn: &'a mut C, value: &'a str) -> BoxFuture<'a, Result<String, Error>>
where
    C: AsyncAdvisoryConnection,
{
    Box::pin(async { Ok(value.to_owned()) })
}

#[tokio::test]
async fn futures_run_under_a_lock() {
    let table = spawn(async {
        let conn = &mut connect().await;
        assert_eq!(by_default(conn, &["a", "b"]).await, Ok("a"));
        assert_eq!(by_default(conn, &[]).await, Err(DieselError::NotFound));
        let table = table(conn).await;
        let rows = boxed(&table, conn, 1).await.unwrap();
        assert_eq!(rows.collect::<Vec<_>>(), [1]);
        assert!(boxed(&table, conn, -1).await.is_err());
        assert_eq!(alias(conn, "value").await.unwrap(), "value");
        assert_clean(conn).await;
        table
    });
    let table = table.await;
    assert_eq!(committed(&table), [1]);
    assert_free(format!("attribute.future:{table}"));
    assert_free("integration::attribute::futures::by_default");
}

#[advisory("attribute.statements before", no_wait)]
fn counted<'a>(
    conn: &'a mut AsyncPgConnection,
    count: &'a AtomicU32,
) -> impl Future<Output = Result<u32, Error>> + Send + 'a {
    let conn = &mut *conn;
    count.fetch_add(1, Ordering::Relaxed);
    async move {
        assert!(
            conn.is_advisory_locked("attribute.statements before")
                .await?
        );
        count.fetch_add(10, Ordering::Relaxed);
        Ok(count.load(Ordering::Relaxed))
    }
}

#[tokio::test]
async fn what_stands_before_the_future_runs_without_the_lock() {
    let (conn, count) = (&mut connect().await, AtomicU32::new(0));
    let holder = Holder::of("attribute.statements before");
    let refused = counted(conn, &count);
    assert_eq!(count.load(Ordering::Relaxed), 1);
    assert!(unavailable(refused.await.unwrap_err()).holders.len() == 1);
    drop(holder);
    assert_eq!(counted(conn, &count).await.unwrap(), 12);
}

macro_rules! later {
    ($name:ident, $conn:ident: $connection:ty => $returns:ty, async move $body:block) => {
        #[advisory("attribute.later, block")]
        fn $name($conn: $connection) -> $returns {
            Box::pin(async move $body)
        }
    };
    ($name:ident, $conn:ident: $connection:ty => $returns:ty, $future:expr) => {
        #[advisory("attribute.later, expression")]
        fn $name($conn: $connection) -> $returns {
            $future
        }
    };
}

later!(by_block, conn: &mut AsyncPgConnection => BoxFuture<'_, Result<bool, Error>>, async move {
    conn.is_advisory_locked("attribute.later, block").await
});
later!(
    by_expression,
    conn: &mut AsyncPgConnection => BoxFuture<'_, Result<bool, Error>>,
    Box::pin(async { conn.is_advisory_locked("attribute.later, expression").await })
);

#[tokio::test]
async fn parts_of_a_future_can_be_fragments() {
    let conn = &mut connect().await;
    assert!(by_block(conn).await.unwrap());
    assert!(by_expression(conn).await.unwrap());
    assert_free("attribute.later, block");
    assert_free("attribute.later, expression");
}
