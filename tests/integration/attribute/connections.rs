//! What the connection can be.

use super::*;

type Pooled = PooledConnection<ConnectionManager<PgConnection>>;

#[advisory("attribute.named connection", conn = db)]
fn named(first: i32, db: &mut PgConnection, last: i32) -> QueryResult<i32> {
    assert_locked("attribute.named connection");
    diesel::sql_query("SELECT 1").execute(db)?;
    Ok(first + last)
}

#[advisory("attribute.mut connection")]
#[expect(clippy::mut_mut, reason = "something has to need the `mut`")]
fn mutable(mut conn: &mut PgConnection) -> QueryResult<usize> {
    assert_locked("attribute.mut connection");
    let conn = &mut conn;
    diesel::sql_query("SELECT 1").execute(*conn)
}

#[advisory("attribute.generic connection")]
fn generic<C: AdvisoryConnection>(conn: &mut C) -> QueryResult<bool> {
    Ok(conn.is_advisory_locked("attribute.generic connection")?)
}

#[advisory("attribute.impl connection")]
fn anonymous(conn: &mut impl AdvisoryConnection) -> QueryResult<bool> {
    Ok(conn.is_advisory_locked("attribute.impl connection")?)
}

#[advisory("attribute.deref")]
fn deref<C>(conn: &mut C) -> QueryResult<usize>
where
    C: std::ops::DerefMut<Target = PgConnection>,
{
    assert_locked("attribute.deref");
    diesel::sql_query("SELECT 1").execute(conn)
}

#[test]
fn are_found_by_place_or_by_name() {
    let sum = assert_held_by("attribute.named connection", |conn| named(1, conn, 2));
    assert_eq!(sum, 3);
    assert_held_by("attribute.mut connection", mutable);
    assert!(assert_held_by("attribute.generic connection", generic));
    assert!(assert_held_by("attribute.impl connection", anonymous));
    assert_held_by("attribute.deref", |mut conn| deref(&mut conn));
}

#[advisory("attribute.pooled connection", timeout = "1h")]
fn pooled(conn: &mut Pooled, name: &str) -> QueryResult<usize> {
    assert_locked("attribute.pooled connection");
    assert_eq!(text(conn, &format!("SELECT '{name}' AS value")), name);
    diesel::sql_query("SELECT 1").execute(conn)
}

#[advisory("attribute.pooled session", session)]
fn pooled_session(conn: &mut Pooled) -> QueryResult<usize> {
    assert_locked("attribute.pooled session");
    diesel::sql_query("SELECT 1").execute(conn)
}

#[test]
fn can_be_pooled() {
    let pool = pool_of_one(Sandbox::shared().url());
    let conn = &mut pool.get().unwrap();
    assert_eq!(pooled(conn, "name"), Ok(1));
    assert_eq!(pooled_session(conn), Ok(1));
    assert_clean(conn);
}
