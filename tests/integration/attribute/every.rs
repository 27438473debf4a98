//! `every` and `once`: when the function is not due.

use std::time::Duration;

use diesel_advisory::catalog;

use super::*;

#[advisory("attribute.every:{table}", every = "20h")]
fn every(conn: &mut PgConnection, table: &str) -> Result<usize, Error> {
    assert_locked(format!("attribute.every:{table}"));
    Ok(insert(conn, table, 1)?)
}

#[advisory("attribute.every:{table}", every = period, no_wait, skip)]
fn skipped(conn: &mut PgConnection, table: &str, period: Duration) -> QueryResult<Option<usize>> {
    insert(conn, table, 2).map(Some)
}

#[advisory(("attribute.once", day, table), session, once, skip)]
fn once(conn: &mut PgConnection, day: u32, table: &str) -> QueryResult<Option<usize>> {
    insert(conn, table, 3).map(Some)
}

#[test]
fn a_function_that_is_not_due_fails_or_is_skipped() {
    let conn = &mut connect();
    catalog::install(conn).unwrap();
    let table = &table(conn);
    assert_eq!(every(conn, table).unwrap(), 1);
    let refused = every(conn, table).unwrap_err();
    assert!(matches!(refused, Error::NotDue(_)), "{refused}");
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(skipped(conn, table, day), Ok(None));
    assert_eq!(skipped(conn, table, Duration::ZERO), Ok(Some(1)));
    for day in [1, 2] {
        assert_eq!(once(conn, day, table), Ok(Some(1)));
        assert_eq!(once(conn, day, table), Ok(None));
    }
    assert_eq!(committed(table), [1, 2, 3, 3]);
    assert_clean(conn);
}

#[cfg(feature = "async")]
#[tokio::test]
async fn an_async_function_that_is_not_due_is_skipped() {
    use diesel_async::AsyncPgConnection;

    use crate::support::asynchronous;

    #[advisory(
        "attribute.every_async:{table}",
        session,
        timeout = "10s",
        every = "15m",
        skip
    )]
    async fn every(conn: &mut AsyncPgConnection, table: &str) -> QueryResult<Option<usize>> {
        asynchronous::insert(conn, table, 1).await.map(Some)
    }

    let conn = &mut asynchronous::connect().await;
    catalog::install_async(conn).await.unwrap();
    let table = &asynchronous::table(conn).await;
    assert_eq!(every(conn, table).await, Ok(Some(1)));
    assert_eq!(every(conn, table).await, Ok(None));
    assert_eq!(committed(table), [1]);
}
