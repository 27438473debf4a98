//! Locks that no session of an application has: those of prepared transactions, and of extensions.

use std::time::{Duration, SystemTime};

use diesel::sql_types::{Array, Bool, Double, Integer, Nullable, Oid, SmallInt, Text};
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::entry::{Entry, Session, Who};
use crate::exit::Failure;

/// A prepared transaction has no process. It is known by the lock on its own number, which bears the same mark
/// as its other locks.
const QUERY: &str = "\
SELECT l.classid, l.objid, l.objsubid, l.mode OPERATOR(pg_catalog.=) 'ShareLock' AS shared, l.granted, l.pid, \
p.gid, COALESCE(p.owner, a.usename)::pg_catalog.text AS username, a.application_name, \
pg_catalog.host(a.client_addr) AS client, a.state, a.query, \
CASE WHEN NOT l.granted THEN pg_catalog.pg_blocking_pids(l.pid) END AS waits_for, \
extract(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) \
COALESCE(p.prepared, l.waitstart, a.xact_start, a.backend_start))::pg_catalog.float8 AS age \
FROM pg_catalog.pg_locks AS l \
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid OPERATOR(pg_catalog.=) l.pid \
LEFT JOIN LATERAL (SELECT x.gid, x.owner, x.prepared FROM pg_catalog.pg_locks AS t \
JOIN pg_catalog.pg_prepared_xacts AS x ON x.transaction OPERATOR(pg_catalog.=) t.transactionid \
WHERE t.pid IS NULL AND t.locktype OPERATOR(pg_catalog.=) 'transactionid' \
AND t.virtualtransaction OPERATOR(pg_catalog.=) l.virtualtransaction) AS p ON l.pid IS NULL \
WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' \
AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database AS d \
WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) \
AND (l.pid IS NULL OR l.objsubid OPERATOR(pg_catalog.<>) ALL ('{1,2}'::smallint[])) \
ORDER BY l.classid, l.objid, l.objsubid, l.granted DESC, l.waitstart";

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Oid)]
    classid: u32,
    #[diesel(sql_type = Oid)]
    objid: u32,
    #[diesel(sql_type = SmallInt)]
    objsubid: i16,
    #[diesel(sql_type = Bool)]
    shared: bool,
    #[diesel(sql_type = Bool)]
    granted: bool,
    #[diesel(sql_type = Nullable<Integer>)]
    pid: Option<i32>,
    #[diesel(sql_type = Nullable<Text>)]
    gid: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    username: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    application_name: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    client: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    state: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    query: Option<String>,
    #[diesel(sql_type = Nullable<Array<Integer>>)]
    waits_for: Option<Vec<i32>>,
    #[diesel(sql_type = Nullable<Double>)]
    age: Option<f64>,
}

pub(super) async fn load(conn: &mut AsyncPgConnection) -> Result<Vec<Entry>, Failure> {
    let rows: Vec<Row> = sql_query(QUERY).load(conn).await?;
    Ok(rows.into_iter().map(Entry::from).collect())
}

impl From<Row> for Entry {
    fn from(row: Row) -> Self {
        let hidden = row.query.as_deref() == Some("<insufficient privilege>");
        let age = row.age.map(|age| age.max(0.0));
        let age = age.and_then(|age| Duration::try_from_secs_f64(age).ok());
        Self {
            parts: (row.classid, row.objid, row.objsubid),
            name: None,
            shared: row.shared,
            granted: row.granted,
            user: row.username,
            since: age.and_then(|age| SystemTime::now().checked_sub(age)),
            who: match row.pid {
                None => Who::Prepared(row.gid),
                Some(pid) => Who::Session(Session {
                    pid,
                    application: row.application_name.filter(|name| !name.is_empty()),
                    client: row.client,
                    state: row.state,
                    waits_for: row.waits_for.unwrap_or_default(),
                    query: row.query.filter(|_| !hidden),
                    hidden,
                }),
            },
        }
    }
}
