//! Work in another role that is dropped. That role may end nobody's session by `pg_terminate_backend`.

use std::future::pending;

use diesel_advisory::{AsyncAdvisoryConnection, Error};
use diesel_advisory_sandbox::Sandbox;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use tokio::sync::oneshot;

use super::witness::Witness;
use crate::support::asynchronous::{
    connect, connect_to, execute, insert, pid, table, text, values,
};
use crate::support::{committed, database, state_of, unique, wait_until};

/// Takes on a role by a statement in the transaction, writes, and waits for what never comes.
async fn hang(
    conn: &mut AsyncPgConnection,
    scope: &str,
    lock: &str,
    table: &str,
    set: &str,
    fails: bool,
    entered: oneshot::Sender<()>,
) -> Result<(), Error> {
    let work = async |conn: &mut AsyncPgConnection| {
        execute(conn, set).await;
        insert(conn, table, 1).await?;
        if fails {
            conn.batch_execute("SELECT 1 / 0").await.unwrap_err();
        }
        entered.send(()).unwrap();
        pending::<Result<(), Error>>().await
    };
    match scope {
        "run" => conn.advisory(lock).run(work).await,
        "nested run" => {
            let transaction = conn.transaction(async |conn| conn.advisory(lock).run(work).await);
            transaction.await
        }
        _ => {
            let run = conn
                .advisory_session(lock)
                .run(async |conn| conn.transaction(work).await);
            run.await
        }
    }
}

#[tokio::test]
async fn in_whatever_role_the_work_was_nothing_is_committed_after_it() {
    let mut witness = Witness::new().await;
    let mut owner = connect().await;
    let table = table(&mut owner).await;
    let (login, role) = (unique("login"), unique("role"));
    let (login, role) = (login.replace('.', "_"), role.replace('.', "_"));
    execute(
        &mut owner,
        &format!(
            "CREATE ROLE {login} LOGIN; CREATE ROLE {role}; GRANT {role} TO {login}; \
             GRANT ALL ON {table} TO {login}, {role}"
        ),
    )
    .await;
    for (user, set) in [
        (&*login, "SET ROLE"),
        (&*login, "SET LOCAL ROLE"),
        ("postgres", "SET ROLE"),
        ("postgres", "SET SESSION AUTHORIZATION"),
    ] {
        let set = format!("{set} {role}");
        for scope in ["run", "nested run", "session"] {
            for (before, fails) in [(false, false), (false, true), (true, false), (true, true)] {
                let case = format!("{user}, {set}, before: {before}, {scope}, fails: {fails}");
                let lock = unique("cancellation.role");
                let url = Sandbox::shared().url_as(user, "postgres");
                let mut conn = connect_to(&url).await;
                // A rollback takes back what the transaction has set, and not what was set before.
                let (set_before, set) = if before {
                    (&*set, "SELECT")
                } else {
                    ("SELECT", &*set)
                };
                execute(&mut conn, set_before).await;
                let (entered, has_entered) = oneshot::channel();
                tokio::select! {
                    ended = hang(&mut conn, scope, &lock, &table, set, fails, entered) => {
                        panic!("{case}: {ended:?}")
                    }
                    entered = has_entered => entered.unwrap(),
                }
                // The session has ended, or what follows would be committed statement by statement.
                for value in [2, 3] {
                    assert!(insert(&mut conn, &table, value).await.is_err(), "{case}");
                }
                assert_eq!(committed(&table), [], "{case}");
                witness.assert_soon_free(&lock, &case).await;
            }
        }
    }
}

/// A session can be ended without a right to it.
#[tokio::test]
async fn where_no_role_may_terminate_a_session_it_ends_all_the_same() {
    let url = database();
    let role = unique("powerless").replace('.', "_");
    let mut owner = connect_to(&url).await;
    let table = table(&mut owner).await;
    let rights = format!(
        "REVOKE EXECUTE ON FUNCTION pg_terminate_backend(int, bigint) FROM PUBLIC; \
         CREATE ROLE {role} LOGIN; GRANT ALL ON {table} TO {role}"
    );
    execute(&mut owner, &rights).await;
    let name = text(&mut owner, "SELECT current_database()::text AS value").await;
    for scope in ["run", "nested run", "session"] {
        let lock = unique("cancellation.powerless");
        let mut conn = connect_to(&Sandbox::shared().url_as(&role, &name)).await;
        let pid = pid(&mut conn).await;
        let (entered, has_entered) = oneshot::channel();
        tokio::select! {
            ended = hang(&mut conn, scope, &lock, &table, "SELECT", false, entered) => {
                panic!("{scope}: {ended:?}")
            }
            entered = has_entered => entered.unwrap(),
        }
        for value in [2, 3] {
            let inserted = insert(&mut conn, &table, value).await;
            assert!(inserted.is_err(), "{scope}");
        }
        wait_until("its session has ended", || state_of(pid) == "gone");
        assert_eq!(values(&mut owner, &table).await, [], "{scope}");
    }
}
