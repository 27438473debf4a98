//! What a lock around a transaction, or inside of one, shares with it.

use std::thread;

use diesel_advisory::Error;

use super::side::*;
use crate::support::{
    Holder, PATIENCE, Wait, assert_free, committed, locks_of, unique, wait_until_queued,
};

#[derive(Debug)]
#[expect(dead_code, reason = "shown when a test fails")]
enum Failure {
    OnPurpose,
    Diesel(diesel::result::Error),
    Lock(Error),
}

impl From<diesel::result::Error> for Failure {
    fn from(error: diesel::result::Error) -> Self {
        Self::Diesel(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Lock(error)
    }
}

#[scenario]
async fn what_the_closure_did_is_committed_before_the_lock_ends() {
    for wait in Wait::ALL {
        let lock = unique("scenario.commit");
        let mut conn = connect().await;
        let table = table(&mut conn).await;
        let pid = pid(&mut conn).await;
        let run = wait.on(conn.advisory(&lock)).run(async |conn| {
            insert(conn, &table, 1).await?;
            assert_eq!(locks_of(pid), 1);
            assert_eq!(committed(&table), []);
            Ok::<_, Failure>("done")
        });
        assert!(matches!(run.await, Ok("done")));
        assert_eq!(committed(&table), [1]);
        assert_clean(&mut conn).await;
        assert_free(lock);
    }
}

#[scenario]
async fn the_error_of_the_closure_comes_first() {
    for wait in Wait::ALL {
        let lock = unique("scenario.error");
        let mut conn = connect().await;
        let table = table(&mut conn).await;
        for broken in [false, true] {
            let run = wait.on(conn.advisory(&lock)).run(async |conn| {
                insert(conn, &table, 1).await?;
                if broken {
                    insert(conn, "no_such_table", 1).await.unwrap_err();
                }
                Err::<(), _>(Failure::OnPurpose)
            });
            let result = run.await;
            assert!(
                matches!(result, Err(Failure::OnPurpose)),
                "{wait:?}: {result:?}"
            );
            assert_eq!(committed(&table), []);
            assert_clean(&mut conn).await;
            assert_free(lock.clone());
        }
    }
}

#[scenario]
async fn what_cannot_be_committed_is_an_error() {
    let lock = unique("scenario.aborted");
    let mut conn = connect().await;
    let table = table(&mut conn).await;
    execute(
        &mut conn,
        &format!("ALTER TABLE {table} ADD UNIQUE (value) DEFERRABLE INITIALLY DEFERRED"),
    )
    .await;
    let run = conn.advisory(&lock).run(async |conn| {
        insert(conn, &table, 1).await?;
        insert(conn, &table, 1).await?;
        Ok::<_, Failure>(())
    });
    let result = run.await;
    assert!(
        matches!(result, Err(Failure::Lock(Error::Database(_)))),
        "{result:?}"
    );
    assert_eq!(committed(&table), []);
    assert_clean(&mut conn).await;
    assert_free(lock);
}

#[scenario]
async fn inside_a_transaction_the_lock_lasts_as_long_as_that() {
    for wait in Wait::ALL {
        let lock = unique("scenario.open");
        let mut conn = connect().await;
        let table = table(&mut conn).await;
        let pid = pid(&mut conn).await;
        let transaction = conn.transaction(async |conn| {
            insert(conn, &table, 1).await?;
            let run = wait.on(conn.advisory(&lock));
            run.run(async |conn| insert(conn, &table, 2).await).await?;
            assert_eq!(locks_of(pid), 1, "{wait:?}");
            assert_eq!(committed(&table), []);
            Ok::<_, Failure>(())
        });
        transaction.await.unwrap();
        assert_eq!(committed(&table), [1, 2]);
        assert_free(lock);
        assert_clean(&mut conn).await;
    }
}

#[scenario]
async fn inside_a_transaction_a_closure_that_fails_frees_the_lock_at_once() {
    for wait in Wait::ALL {
        let lock = unique("scenario.open");
        let mut conn = connect().await;
        let table = table(&mut conn).await;
        let transaction = conn.transaction(async |conn| {
            insert(conn, &table, 1).await?;
            let run = wait.on(conn.advisory(&lock)).run(async |conn| {
                insert(conn, &table, 2).await?;
                Ok::<_, Failure>(insert(conn, "no_such_table", 1).await.map(drop)?)
            });
            let result = run.await;
            assert!(
                matches!(result, Err(Failure::Diesel(_))),
                "{wait:?}: {result:?}"
            );
            assert_free(lock.clone());
            insert(conn, &table, 3).await?;
            Ok::<_, Failure>(())
        });
        transaction.await.unwrap();
        assert_eq!(committed(&table), [1, 3]);
        assert_clean(&mut conn).await;
    }
}

#[scenario]
async fn runs_nest() {
    for wait in Wait::ALL {
        let (outer, inner) = (unique("scenario.outer"), unique("scenario.inner"));
        let mut conn = connect().await;
        let table = table(&mut conn).await;
        let pid = pid(&mut conn).await;
        let run = conn.advisory(&outer).run(async |conn| {
            insert(conn, &table, 1).await?;
            let run = wait.on(conn.advisory(&inner));
            run.run(async |conn| insert(conn, &table, 2).await).await?;
            let run = wait.on(conn.advisory(&inner)).run(async |conn| {
                insert(conn, &table, 3).await?;
                let run = wait.on(conn.advisory(&inner));
                run.run(async |conn| insert(conn, &table, 4).await).await?;
                Err::<(), _>(Failure::OnPurpose)
            });
            let failed = run.await;
            assert!(
                matches!(failed, Err(Failure::OnPurpose)),
                "{wait:?}: {failed:?}"
            );
            assert_eq!(locks_of(pid), 2, "{wait:?}");
            insert(conn, &table, 5).await?;
            Ok::<_, Failure>(())
        });
        run.await.unwrap();
        assert_eq!(committed(&table), [1, 2, 5]);
        assert_clean(&mut conn).await;
        assert_free(outer);
        assert_free(inner);
    }
}

#[scenario]
async fn a_savepoint_rolled_back_frees_the_locks_taken_since() {
    for wait in Wait::ALL {
        let (before, since) = (unique("scenario.before"), unique("scenario.since"));
        let mut conn = connect().await;
        let pid = pid(&mut conn).await;
        let transaction = conn.transaction(async |conn| {
            wait.on(conn.advisory_xact(&before)).acquire().await?;
            let nested = conn.transaction(async |conn| {
                wait.on(conn.advisory_xact(&before)).acquire().await?;
                wait.on(conn.advisory_xact(&since)).acquire().await?;
                let run = wait.on(conn.advisory(&since));
                run.run(async |_| Ok::<_, Error>(())).await?;
                assert_eq!(locks_of(pid), 2);
                Err::<(), _>(Failure::OnPurpose)
            });
            let failed = nested.await;
            assert!(matches!(failed, Err(Failure::OnPurpose)), "{failed:?}");
            assert_eq!(locks_of(pid), 1, "{wait:?}");
            assert_free(since.clone());
            Ok::<_, Failure>(())
        });
        transaction.await.unwrap();
        assert_free(before);
    }
}

#[scenario]
async fn the_same_lock_twice_ends_with_the_outermost() {
    for wait in Wait::ALL {
        let lock = unique("scenario.twice");
        let mut conn = connect().await;
        let pid = pid(&mut conn).await;
        let run = wait.on(conn.advisory(&lock)).run(async |conn| {
            let again = wait.on(conn.advisory(&lock));
            again.run(async |_| Ok::<_, Failure>(())).await?;
            let again = wait.on(conn.advisory(&lock)).run(async |conn| {
                conn.advisory_xact(&lock).acquire().await?;
                Err::<(), _>(Failure::OnPurpose)
            });
            assert!(again.await.is_err());
            assert_eq!(locks_of(pid), 1, "{wait:?}");
            Ok::<_, Failure>(())
        });
        run.await.unwrap();
        assert_clean(&mut conn).await;
        assert_free(lock);
    }
}

#[scenario]
async fn at_every_isolation_level_the_last_holders_work_is_seen() {
    for level in ["read committed", "repeatable read", "serializable"] {
        for by_session in [false, true] {
            for wait in [Wait::Inherit, Wait::AtMost(PATIENCE), Wait::Forever] {
                let lock = unique("scenario.isolation");
                let mut conn = connect().await;
                let table = table(&mut conn).await;
                insert(&mut conn, &table, 1).await.unwrap();
                if by_session {
                    let sql = format!("SET default_transaction_isolation = '{level}'");
                    execute(&mut conn, &sql).await;
                }
                let mut holder = Holder::of(lock.clone());
                holder.execute(&format!("BEGIN; UPDATE {table} SET value = value + 1"));
                let committing = {
                    let lock = lock.clone();
                    thread::spawn(move || {
                        wait_until_queued(lock, 1);
                        holder.execute("COMMIT");
                    })
                };

                let lock_at_level = match level {
                    _ if by_session => conn.advisory(&lock),
                    "read committed" => conn.advisory(&lock).read_committed(),
                    "repeatable read" => conn.advisory(&lock).repeatable_read(),
                    _ => conn.advisory(&lock).serializable(),
                };
                let run = wait.on(lock_at_level).run(async |conn| {
                    let level_is = format!(
                        "SELECT (current_setting('transaction_isolation') = '{level}')::int AS value"
                    );
                    assert_eq!(integer(conn, &level_is).await, 1, "{level}");
                    let value = integer(conn, &format!("SELECT value FROM {table}")).await;
                    execute(conn, &format!("UPDATE {table} SET value = {value} + 1")).await;
                    Ok::<_, Failure>(value)
                });
                assert_eq!(
                    run.await.unwrap(),
                    2,
                    "{level}, by session: {by_session}, {wait:?}"
                );
                committing.join().unwrap();
                assert_eq!(committed(&table), [3]);
                assert_clean(&mut conn).await;
                assert_free(lock);
            }
        }
    }
}

#[scenario]
async fn the_modes_of_a_transaction_are_those_of_a_whole_one() {
    let lock = unique("scenario.modes");
    let mut conn = connect().await;
    let table = table(&mut conn).await;
    let read_only = conn.advisory(&lock).read_only();
    let result = read_only
        .run(async |conn| insert(conn, &table, 1).await)
        .await;
    assert!(result.is_err());
    assert_clean(&mut conn).await;
    let transaction = conn.transaction(async |conn| {
        let nested = conn.advisory(&lock).serializable();
        let error = nested.run(async |_| Ok::<_, Error>(())).await.unwrap_err();
        let expected = diesel::result::Error::AlreadyInTransaction;
        assert!(matches!(error, Error::Database(error) if error == expected));
        insert(conn, &table, 2).await
    });
    transaction.await.unwrap();
    assert_eq!(committed(&table), [2]);
    assert_clean(&mut conn).await;
}
