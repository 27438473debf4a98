//! The helpers of the blocking tests, for asynchronous connections.

use diesel::QueryResult;
use diesel::prelude::QueryableByName;
use diesel::sql_types::{Integer, Text};
use diesel_advisory_sandbox::Sandbox;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use crate::support::{locks_of, state_of, unique};

/// A connection to the server that the tests share.
pub(crate) async fn connect() -> AsyncPgConnection {
    connect_to(Sandbox::shared().url()).await
}

pub(crate) async fn connect_to(url: &str) -> AsyncPgConnection {
    AsyncPgConnection::establish(url).await.unwrap()
}

/// The process id of the connection's session.
pub(crate) async fn pid(conn: &mut AsyncPgConnection) -> i32 {
    integer(conn, "SELECT pg_backend_pid() AS value").await
}

/// The session's `lock_timeout`, to the character.
pub(crate) async fn lock_timeout(conn: &mut AsyncPgConnection) -> String {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        value: String,
    }
    let query = diesel::sql_query("SELECT current_setting('lock_timeout') AS value");
    query.get_result::<Row>(conn).await.unwrap().value
}

/// The column `value` of the one row that the query selects.
pub(crate) async fn integer(conn: &mut AsyncPgConnection, sql: &str) -> i32 {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Integer)]
        value: i32,
    }
    let query = diesel::sql_query(sql);
    query.get_result::<Row>(conn).await.unwrap().value
}

/// Sends statements that answer nothing.
pub(crate) async fn execute(conn: &mut AsyncPgConnection, sql: &str) {
    conn.batch_execute(sql).await.unwrap();
}

/// Asserts that a session of the shared server can be given to anyone: it is outside of any
/// transaction, and holds no lock.
pub(crate) async fn assert_clean(conn: &mut AsyncPgConnection) {
    let pid = pid(conn).await;
    assert_eq!(state_of(pid), "idle");
    assert_eq!(locks_of(pid), 0);
}

/// A table of integers that nobody else has.
pub(crate) async fn table(conn: &mut AsyncPgConnection) -> String {
    let table = unique("rows").replace('.', "_");
    execute(conn, &format!("CREATE TABLE {table} (value int NOT NULL)")).await;
    table
}

/// Adds a row to a [`table`].
pub(crate) async fn insert(
    conn: &mut AsyncPgConnection,
    table: &str,
    value: i32,
) -> QueryResult<usize> {
    let query = diesel::sql_query(format!("INSERT INTO {table} VALUES ({value})"));
    query.execute(conn).await
}
