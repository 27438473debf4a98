//! A connection that is lost while it waits, while it holds, and at the commit.

use std::thread;

use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error};
use diesel_advisory_sandbox::Sandbox;

use crate::support::{
    Holder, PoolOfOne, Wait, assert_clean, assert_free, committed, connect_to, execute, insert,
    pid, pool_of_one, table, unique, values, wait_until, wait_until_queued,
};

/// What the pool gives next is clean, and gets the lock.
#[track_caller]
fn assert_next_is_usable(pool: &PoolOfOne, lock: &str, table: &str) {
    assert_free(lock.to_owned());
    let mut conn = pool.get().unwrap();
    assert_clean(&mut conn);
    let run = conn.advisory(lock);
    run.run(|conn| insert(conn, table, 100)).unwrap();
    assert_eq!(committed(table), [100]);
}

#[test]
fn lost_while_waiting() {
    for wait in Wait::WAITING {
        for own in [true, false] {
            let lock = unique("lost.waiting");
            let pool = pool_of_one(Sandbox::shared().url());
            let mut conn = pool.get().unwrap();
            let (table, pid) = (table(&mut conn), pid(&mut conn));
            let holder = Holder::of(lock.clone());
            let holder = holder.when_queued(lock.clone(), move |holder| {
                Sandbox::shared().kill_backend(pid).unwrap();
                holder
            });
            let result = if own {
                wait.on(conn.advisory(&lock)).run(|_| Ok(()))
            } else {
                conn.transaction(|conn| {
                    insert(conn, &table, 1)?;
                    wait.on(conn.advisory_xact(&lock)).acquire()
                })
            };
            assert!(
                matches!(result, Err(Error::Database(_))),
                "{wait:?}: {result:?}"
            );
            drop((conn, holder.join().unwrap()));
            assert_next_is_usable(&pool, &lock, &table);
        }
    }
}

/// The client is gone before the server is done waiting for it.
#[test]
fn lost_on_the_wire_while_waiting() {
    let lock = unique("lost.wire");
    let proxy = Sandbox::shared().proxy();
    let pool = pool_of_one(proxy.url());
    let mut conn = pool.get().unwrap();
    let holder = Holder::of(lock.clone());
    thread::scope(|scope| {
        scope.spawn(|| {
            wait_until_queued(lock.clone(), 1);
            proxy.cut();
        });
        let result = conn.advisory(&lock).run(|_| Ok(()));
        assert!(matches!(result, Err(Error::Database(_))), "{result:?}");
    });
    drop((conn, holder));
    // The backend gets the lock before it finds that nobody is there.
    wait_until("the lock is free", || {
        let mut conn = pool.get().unwrap();
        let free = conn
            .advisory(&lock)
            .no_wait()
            .try_run(|_| Ok::<_, Error>(()));
        free.unwrap().is_some()
    });
    assert_clean(&mut pool.get().unwrap());
}

/// Whether the closure notices or not, and whatever it says then.
#[test]
fn lost_while_holding() {
    for nested in [false, true] {
        for notices in [false, true] {
            let lock = unique("lost.holding");
            let pool = pool_of_one(Sandbox::shared().url());
            let mut conn = pool.get().unwrap();
            let (table, pid) = (table(&mut conn), pid(&mut conn));
            let work = |conn: &mut PgConnection| {
                insert(conn, &table, 1)?;
                Sandbox::shared().kill_backend(pid).unwrap();
                assert_free(lock.clone());
                if notices {
                    insert(conn, &table, 2)?;
                }
                Ok(())
            };
            let result: QueryResult<()> = if nested {
                conn.transaction(|conn| conn.advisory(&lock).run(work))
            } else {
                conn.advisory(&lock).run(work)
            };
            assert!(result.is_err(), "nested: {nested}, notices: {notices}");
            assert_eq!(committed(&table), []);
            drop(conn);
            assert_next_is_usable(&pool, &lock, &table);
        }
    }
}

/// A closure's own error comes first, and not that of the rollback that could not be sent.
#[test]
fn lost_while_holding_does_not_hide_the_closures_error() {
    let lock = unique("lost.error");
    let proxy = Sandbox::shared().proxy();
    let pool = pool_of_one(proxy.url());
    let mut conn = pool.get().unwrap();
    let result = conn.advisory(&lock).run(|_| {
        proxy.cut();
        Err::<(), _>(anyhow::anyhow!("on purpose"))
    });
    assert_eq!(result.unwrap_err().to_string(), "on purpose");
    drop(conn);
    let mut conn = pool.get().unwrap();
    conn.advisory(&lock).run(|_| Ok::<_, Error>(())).unwrap();
    assert_clean(&mut conn);
}

#[test]
fn lost_at_the_commit() {
    for ending in ["pg_terminate_backend(pg_backend_pid())", "1 / 0"] {
        for deep in [false, true] {
            let lock = unique("lost.commit");
            let pool = pool_of_one(Sandbox::shared().url());
            let mut conn = pool.get().unwrap();
            let table = table(&mut conn);
            execute(
                &mut conn,
                &format!(
                    "CREATE FUNCTION {table}() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN \
                     PERFORM {ending}; RETURN NULL; END$$; \
                     CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON {table} \
                     DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.value = 1) \
                     EXECUTE FUNCTION {table}()"
                ),
            );
            let result = if deep {
                conn.transaction(|conn| conn.advisory(&lock).run(|conn| insert(conn, &table, 1)))
            } else {
                conn.advisory(&lock).run(|conn| insert(conn, &table, 1))
            };
            assert!(result.is_err(), "{ending}");
            assert_eq!(committed(&table), []);
            drop(conn);
            assert_next_is_usable(&pool, &lock, &table);
        }
    }
}

#[test]
fn lost_with_the_whole_server() {
    let sandbox = Sandbox::start().unwrap();
    let lock = unique("lost.server");
    let pool = pool_of_one(sandbox.url());
    let mut conn = pool.get().unwrap();
    let table = table(&mut conn);
    for crash in [true, false] {
        let result = conn.advisory(&lock).run(|conn| {
            insert(conn, &table, 1)?;
            if crash {
                sandbox.crash().unwrap();
            } else {
                sandbox.stop().unwrap();
            }
            QueryResult::Ok(())
        });
        assert!(result.is_err());
        drop(conn);
        sandbox.start_again().unwrap();
        let locked = connect_to(sandbox.url()).is_advisory_locked(&lock);
        assert!(!locked.unwrap());
        conn = pool.get().unwrap();
        assert_eq!(values(&mut conn, &table), []);
        conn.advisory(&lock).run(|_| QueryResult::Ok(())).unwrap();
    }
}
