//! `advisory`: what a lock around a transaction shares with it.

use diesel::result::Error as DieselError;
use diesel_advisory::Error;

use super::side::*;
use crate::support::{
    Failure, LEVELS, Language, Wait, assert_free, at_level, committed, locks_of, unique,
};

#[scenario]
async fn what_the_closure_did_is_committed_before_the_lock_ends() {
    for wait in Wait::ALL {
        let lock = unique("transaction.commit");
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
async fn the_error_of_the_closure_comes_before_that_of_the_rollback() {
    for wait in Wait::ALL {
        let lock = unique("transaction.error");
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
    let lock = unique("transaction.aborted");
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

/// A commit that fails is told from one that has nothing to commit, whatever it fails with.
#[scenario]
async fn the_error_of_the_commit_is_the_servers_own() {
    for language in Language::all() {
        for level in LEVELS.map(Some).into_iter().chain([None]) {
            let lock = unique("transaction.commit_error");
            let mut conn = connect().await;
            let table = table(&mut conn).await;
            let failing = format!(
                "CREATE FUNCTION fail_{table}() RETURNS trigger LANGUAGE plpgsql \
                 AS 'BEGIN RAISE EXCEPTION ''on purpose''; END'; \
                 CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON {table} \
                 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail_{table}()"
            );
            execute(&mut conn, &failing).await;
            execute(&mut conn, language.set()).await;
            let run = at_level!(level, conn.advisory(&lock)).run(async |conn| {
                insert(conn, &table, 1).await?;
                Ok::<_, Error>(())
            });
            let error = run.await.unwrap_err();
            assert_eq!(error.to_string(), "on purpose", "{language:?}, {level:?}");
            assert_clean(&mut conn).await;

            for end in ["COMMIT", "ROLLBACK"] {
                let run = at_level!(level, conn.advisory(&lock)).run(async |conn| {
                    execute(conn, end).await;
                    Ok::<_, Error>(())
                });
                let error = run.await.unwrap_err();
                assert!(
                    matches!(error, Error::Database(DieselError::NotInTransaction)),
                    "{language:?}, {level:?}, {end}: {error:?}"
                );
                assert_clean(&mut conn).await;
            }
            assert_eq!(committed(&table), []);
            assert_free(lock);
        }
    }
}

/// What it has done is not what it says: a part was committed early, or nothing at all.
#[scenario]
async fn a_closure_that_ends_the_transaction_itself_is_told() {
    for (raw, rows) in [("COMMIT", &[1][..]), ("ROLLBACK", &[])] {
        for wait in Wait::ALL {
            let case = format!("{raw}, {wait:?}");
            let lock = unique("transaction.raw");
            let mut conn = connect().await;
            let table = table(&mut conn).await;
            let run = wait.on(conn.advisory(&lock)).run(async |conn| {
                insert(conn, &table, 1).await?;
                execute(conn, raw).await;
                Ok::<_, Failure>(())
            });
            assert_ended(&run.await, &case);
            assert_eq!(committed(&table), rows, "{case}");
            assert_clean(&mut conn).await;
            assert_free(lock.clone());

            // Nested, with the transaction around it, whose end is Diesel's to report.
            let transaction = conn.transaction(async |conn| {
                let run = wait.on(conn.advisory(&lock)).run(async |conn| {
                    insert(conn, &table, 1).await?;
                    execute(conn, raw).await;
                    Ok::<_, Failure>(())
                });
                assert_ended(&run.await, &case);
                Err::<(), _>(Failure::OnPurpose)
            });
            transaction.await.unwrap_err();
            assert_eq!(committed(&table), rows.repeat(2), "{case}, nested");
            assert_clean(&mut conn).await;
            assert_free(lock);
        }
    }
}

#[track_caller]
fn assert_ended(result: &Result<(), Failure>, case: &str) {
    assert!(
        matches!(result, Err(Failure::Lock(Error::Database(_)))),
        "{case}: {result:?}"
    );
}
