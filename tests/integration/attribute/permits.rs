//! `permits = 3`: several may run the function at once.

use diesel::PgConnection;
use diesel_advisory::{Error, advisory};

use crate::support::*;

#[advisory("attribute.permits", session, permits = 2)]
fn one_of_two(conn: &mut PgConnection) -> Result<i32, Error> {
    assert_taken(permit("attribute.permits", 2));
    Ok(pid(conn))
}

#[advisory("attribute.permits.some", session, permits = count, no_wait, skip)]
fn one_of_some(conn: &mut PgConnection, count: u32) -> Result<Option<i32>, Error> {
    Ok(Some(pid(conn)))
}

#[test]
fn a_function_can_have_permits() {
    let _first = Holder::of(permit("attribute.permits", 1));
    let mut conn = connect();
    let pid = pid(&mut conn);
    assert_eq!(one_of_two(&mut conn).unwrap(), pid);
    assert_free(permit("attribute.permits", 2));

    let _first = Holder::of(permit("attribute.permits.some", 1));
    assert_eq!(one_of_some(&mut conn, 1).unwrap(), None);
    assert_eq!(one_of_some(&mut conn, 2).unwrap(), Some(pid));
    assert_clean(&mut conn);
}

#[cfg(feature = "async")]
mod asynchronous {
    use diesel_advisory::{Error, advisory};
    use diesel_async::AsyncPgConnection;

    use crate::support::asynchronous::{connect, pid};
    use crate::support::{Holder, assert_free, assert_taken, permit};

    #[advisory("attribute.permits.async", session, permits = 2, timeout = "60s")]
    async fn one_of_two(conn: &mut AsyncPgConnection) -> Result<i32, Error> {
        assert_taken(permit("attribute.permits.async", 2));
        Ok(pid(conn).await)
    }

    #[tokio::test]
    async fn an_async_function_can_have_permits() {
        let _first = Holder::of(permit("attribute.permits.async", 1));
        let mut conn = connect().await;
        one_of_two(&mut conn).await.unwrap();
        assert_free(permit("attribute.permits.async", 2));
    }
}
