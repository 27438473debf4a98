//! Locks on rows, which PostgreSQL has under the same timeout and reports with the same SQLSTATE.

use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error};

use crate::support::{
    Holder, Language, assert_clean, connect, execute, insert, pid, table, unique, wait_until_waited,
};

#[test]
fn a_row_lock_in_vain_is_not_unavailable() {
    let mut conn = connect();
    let table = table(&mut conn);
    insert(&mut conn, &table, 1).unwrap();
    let mut other = Holder::of(unique("row_locks"));
    other.execute(&format!("BEGIN; SELECT value FROM {table} FOR UPDATE"));
    for language in Language::all() {
        execute(&mut conn, language.set());
        for sql in [
            format!("SELECT value FROM {table} FOR UPDATE NOWAIT"),
            format!("SET LOCAL lock_timeout = '5ms'; SELECT value FROM {table} FOR UPDATE"),
        ] {
            let error = conn.advisory(unique("row_locks")).run(|conn| {
                conn.batch_execute(&sql)?;
                Ok::<_, Error>(())
            });
            assert!(
                matches!(error, Err(Error::Database(_))),
                "{language:?}: {error:?}"
            );
            assert_clean(&mut conn);
        }
    }
}

#[test]
fn the_timeout_of_the_lock_does_not_count_for_row_locks() {
    const TIMEOUT: Duration = Duration::from_millis(1500);

    for nested in [false, true] {
        let lock = unique("row_locks");
        let mut conn = connect();
        let table = table(&mut conn);
        insert(&mut conn, &table, 1).unwrap();
        let lock_row = format!("SELECT value FROM {table} FOR UPDATE");
        let mut row_holder = Holder::of(unique("row_locks"));
        row_holder.execute(&format!("BEGIN; {lock_row}"));
        let pid = pid(&mut conn);
        let waiting = thread::spawn(move || {
            wait_until_waited(pid, "transactionid", 1_600);
            row_holder.execute("COMMIT");
        });

        let released = Holder::of(lock.clone()).until_queued(lock.clone());
        let work = |conn: &mut PgConnection| {
            released.join().unwrap();
            diesel::sql_query(&lock_row).execute(conn)
        };
        let rows = if nested {
            conn.transaction(|conn| {
                conn.advisory_xact(&lock).timeout(TIMEOUT).acquire()?;
                work(conn)
            })
        } else {
            conn.advisory(&lock).timeout(TIMEOUT).run(work)
        };
        assert_eq!(rows, Ok(1));
        waiting.join().unwrap();
    }
}
