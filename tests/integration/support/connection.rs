//! What a test does on a connection: written once, and compiled for both kinds.

use diesel::prelude::{QueryResult, QueryableByName};
use diesel::sql_types::{Integer, Text};
use diesel_advisory::LockId;
use diesel_advisory_sandbox::Sandbox;

use super::side::*;
use crate::support::{function_call, locks_of, state_of, unique};

/// A connection to the server that the tests share.
#[helper]
pub(crate) async fn connect() -> Conn {
    connect_to(Sandbox::shared().url()).await
}

#[helper]
pub(crate) async fn connect_to(url: &str) -> Conn {
    Conn::establish(url).await.unwrap()
}

/// The process id of the connection's session.
#[helper]
pub(crate) async fn pid(conn: &mut Conn) -> i32 {
    integer(conn, "SELECT pg_backend_pid() AS value").await
}

/// The session's `lock_timeout`, to the character.
#[helper]
pub(crate) async fn lock_timeout(conn: &mut Conn) -> String {
    text(conn, "SELECT current_setting('lock_timeout') AS value").await
}

/// The column `value` of the one row that the query selects.
#[helper]
pub(crate) async fn integer(conn: &mut Conn, sql: &str) -> i32 {
    let row = diesel::sql_query(sql).get_result::<IntegerRow>(conn);
    row.await.unwrap().value
}

/// The column `value` of the one row that the query selects.
#[helper]
pub(crate) async fn text(conn: &mut Conn, sql: &str) -> String {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        value: String,
    }
    let row = diesel::sql_query(sql).get_result::<Row>(conn);
    row.await.unwrap().value
}

#[derive(QueryableByName)]
struct IntegerRow {
    #[diesel(sql_type = Integer)]
    value: i32,
}

/// Sends statements that answer nothing.
#[helper]
pub(crate) async fn execute(conn: &mut Conn, sql: &str) {
    conn.batch_execute(sql).await.unwrap();
}

/// Begins a transaction, or a savepoint, that Diesel knows of.
#[helper]
pub(crate) async fn begin(conn: &mut Conn) {
    AnsiTransactionManager::begin_transaction(conn)
        .await
        .unwrap();
}

/// Commits what [`begin`] has begun.
#[helper]
pub(crate) async fn commit(conn: &mut Conn) {
    AnsiTransactionManager::commit_transaction(conn)
        .await
        .unwrap();
}

/// Undoes what came after [`begin`].
#[helper]
pub(crate) async fn roll_back(conn: &mut Conn) {
    AnsiTransactionManager::rollback_transaction(conn)
        .await
        .unwrap();
}

/// Takes a session lock with nothing but PostgreSQL's own function.
#[helper]
pub(crate) async fn lock_session(conn: &mut Conn, id: impl Into<LockId<'static>>) {
    execute(conn, &function_call("pg_advisory_lock", id)).await;
}

/// Asserts that a session of the shared server can be given to anyone: it is outside of any
/// transaction, and holds no lock.
#[helper]
pub(crate) async fn assert_clean(conn: &mut Conn) {
    let pid = pid(conn).await;
    assert_eq!(state_of(pid), "idle");
    assert_eq!(locks_of(pid), 0);
}

/// A table of integers that nobody else has.
#[helper]
pub(crate) async fn table(conn: &mut Conn) -> String {
    let table = unique("rows").replace('.', "_");
    execute(conn, &format!("CREATE TABLE {table} (value int NOT NULL)")).await;
    table
}

/// Adds a row to a [`table`].
#[helper]
pub(crate) async fn insert(conn: &mut Conn, table: &str, value: i32) -> QueryResult<usize> {
    let query = diesel::sql_query(format!("INSERT INTO {table} VALUES ({value})"));
    query.execute(conn).await
}

/// The rows of a [`table`] that this session sees.
#[helper]
pub(crate) async fn values(conn: &mut Conn, table: &str) -> Vec<i32> {
    let rows = diesel::sql_query(format!("SELECT value FROM {table} ORDER BY value"));
    let rows = rows.load::<IntegerRow>(conn).await.unwrap();
    rows.into_iter().map(|row| row.value).collect()
}
