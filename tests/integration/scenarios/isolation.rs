//! The modes of a transaction: above read committed, no closure reads a snapshot that is older than
//! its lock.

use std::time::Duration;

use diesel::result::Error as DieselError;
use diesel_advisory::Error;
use diesel_advisory_sandbox::Sandbox;

use super::side::*;
use crate::support::{
    self, Failure, Holder, LEVELS, Level, SOURCES, Wait, assert_free, at_level, committed,
    locks_of, unique,
};

#[scenario]
async fn at_every_isolation_level_the_last_holders_work_is_seen() {
    for source in SOURCES {
        for wait in Wait::WAITING {
            let case = format!("{source:?}, {wait:?}");
            let lock = unique("isolation.fresh");
            let mut conn = connect().await;
            let (table, pid) = (table(&mut conn).await, pid(&mut conn).await);
            insert(&mut conn, &table, 1).await.unwrap();
            execute(&mut conn, &source.set()).await;
            let mut holder = Holder::of(lock.clone());
            holder.execute(&format!("BEGIN; UPDATE {table} SET value = value + 1"));
            let committing = holder.when_queued(lock.clone(), |mut holder| {
                holder.execute("COMMIT");
            });

            let run = at_level!(source.builder, conn.advisory(&lock));
            let run = wait.on(run).run(async |conn| {
                let value = values(conn, &table).await[0];
                let level = "SELECT current_setting('transaction_isolation') AS value";
                let level = text(conn, level).await;
                assert_eq!(locks_of(pid), 1, "{case}");
                execute(conn, &format!("UPDATE {table} SET value = {value} + 1")).await;
                Ok::<_, Failure>((value, level))
            });
            let (value, level) = run.await.unwrap();
            let expected = source.level().name();
            assert_eq!((value, level.as_str()), (2, expected), "{case}");
            committing.join().unwrap();
            assert_eq!(committed(&table), [3]);
            assert_clean(&mut conn).await;
            assert_free(lock);
        }
    }
}

/// Above read committed, a session lock beside those that were asked for leads from one transaction into
/// the next. Nobody else may be in the way of that one, nor be taken for its holder.
#[scenario]
async fn whoever_holds_a_pair_with_the_process_id_is_not_in_the_way() {
    for level in [Level::RepeatableRead, Level::Serializable] {
        for wait in Wait::WAITING {
            let case = format!("{level:?}, {wait:?}");
            let lock = unique("isolation.pair");
            let mut conn = connect().await;
            let (table, pid) = (table(&mut conn).await, pid(&mut conn).await);
            let _other = Holder::of((1_685_283_442, pid));
            insert(&mut conn, &table, 1).await.unwrap();
            let mut holder = Holder::of(lock.clone());
            holder.execute(&format!("BEGIN; UPDATE {table} SET value = value + 1"));
            let committing = holder.when_queued(lock.clone(), |mut holder| {
                holder.execute("COMMIT");
            });
            // Whatever is waited for is an error, and no hang.
            execute(&mut conn, "SET statement_timeout = '20s'").await;
            let run = wait.on(at_level!(Some(level), conn.advisory(&lock)));
            let run = run.run(async |conn| Ok::<_, Failure>(values(conn, &table).await));
            assert_eq!(run.await.expect(&case), [2], "{case}");
            let run = at_level!(Some(level), conn.advisory(&lock)).no_wait();
            let run = run.run(async |conn| Ok::<_, Failure>(values(conn, &table).await));
            assert_eq!(run.await.expect(&case), [2], "{case}");
            committing.join().unwrap();
            assert_clean(&mut conn).await;
        }
    }
}

#[scenario]
async fn access_modes_are_those_of_the_transaction() {
    const SETTINGS: &str = "SELECT concat_ws(' ', current_setting('transaction_isolation'), \
                            current_setting('transaction_read_only'), \
                            current_setting('transaction_deferrable')) AS value";
    for wait in Wait::ALL {
        let lock = unique("isolation.modes");
        let mut conn = connect().await;
        let table = table(&mut conn).await;
        let settings = async |conn: &mut Conn| Ok::<_, Error>(text(conn, SETTINGS).await);

        let run = wait.on(conn.advisory(&lock).read_only());
        assert_eq!(run.run(settings).await.unwrap(), "read committed on off");
        let run = wait.on(conn.advisory(&lock).read_only());
        let written = run.run(async |conn| insert(conn, &table, 1).await);
        assert!(written.await.is_err());
        assert_clean(&mut conn).await;
        let run = wait.on(conn.advisory(&lock).serializable().read_only().deferrable());
        let ran = run.run(settings).await;
        if matches!(wait, Wait::No | Wait::AtMost(_)) {
            // It would wait for a safe snapshot without any limit.
            assert!(matches!(ran, Err(Error::Unsupported(_))), "{ran:?}");
        } else {
            assert_eq!(ran.unwrap(), "serializable on on");
        }
        let defaults =
            "SET default_transaction_read_only = on; SET default_transaction_deferrable = on";
        execute(&mut conn, defaults).await;
        let run = conn.advisory(&lock).repeatable_read().read_write();
        let run = wait.on(run.not_deferrable());
        assert_eq!(run.run(settings).await.unwrap(), "repeatable read off off");
        let run = wait.on(conn.advisory(&lock));
        assert_eq!(run.run(settings).await.unwrap(), "read committed on on");
        assert_eq!(committed(&table), []);
        assert_clean(&mut conn).await;
        assert_free(lock);
    }
}

/// A safe snapshot, for which PostgreSQL waits as long as it takes, is none of the lock's.
#[scenario]
async fn a_limit_holds_where_the_session_would_wait_for_a_safe_snapshot() {
    let server = Sandbox::start().unwrap();
    let mut writer = support::connect_to(server.url());
    support::execute(&mut writer, "CREATE TABLE written ()");
    // As long as this one may still write, no snapshot is safe.
    let write = "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT FROM written";
    support::execute(&mut writer, write);
    let mut conn = connect_to(server.url()).await;
    let defaults = "SET default_transaction_isolation = serializable; \
                    SET default_transaction_read_only = on; \
                    SET default_transaction_deferrable = on; SET statement_timeout = '10s'";
    execute(&mut conn, defaults).await;
    for wait in [Wait::No, Wait::AtMost(Duration::from_secs(5))] {
        for level in LEVELS {
            let run = at_level!(Some(level), conn.advisory("snapshot"));
            let isolation = wait.on(run).run(async |conn| {
                let isolation = "SELECT current_setting('transaction_isolation') AS value";
                Ok::<_, Error>(text(conn, isolation).await)
            });
            assert_eq!(isolation.await.unwrap(), level.name(), "{wait:?}");
        }
        for explicit in 0..3 {
            let run = conn.advisory("snapshot").deferrable();
            let run = match explicit {
                0 => run,
                1 => run.serializable(),
                _ => run.read_only(),
            };
            let refused = wait.on(run).run(async |_| Ok::<_, Error>(())).await;
            assert!(matches!(refused, Err(Error::Unsupported(_))), "{refused:?}");
        }
    }
}

/// They are those of a whole transaction, and cannot be had for a part of one.
#[scenario]
async fn modes_inside_an_open_transaction_are_an_error() {
    let lock = unique("isolation.open");
    let mut conn = connect().await;
    let table = table(&mut conn).await;
    for mode in 1..=7 {
        let transaction = conn.transaction(async |conn| {
            insert(conn, &table, mode).await?;
            let nested = conn.advisory(&lock);
            let nested = match mode {
                1 => nested.read_committed(),
                2 => nested.repeatable_read(),
                3 => nested.serializable(),
                4 => nested.read_only(),
                5 => nested.read_write(),
                6 => nested.deferrable(),
                _ => nested.not_deferrable(),
            };
            let error = nested.run(async |_| Ok::<_, Error>(())).await.unwrap_err();
            let expected = DieselError::AlreadyInTransaction;
            assert!(matches!(error, Error::Database(error) if error == expected));
            assert_free(lock.clone());
            Ok::<_, Failure>(())
        });
        transaction.await.unwrap();
    }
    assert_eq!(committed(&table), [1, 2, 3, 4, 5, 6, 7]);
    assert_clean(&mut conn).await;
}
