//! Which statements the server gets to see.

use diesel_advisory::Error;
use diesel_advisory_sandbox::Sandbox;

use super::round_trips::counted;
use super::side::*;
use crate::support::{Holder, Wait, permit, unique};

/// Acquires and releases the lock in every scope.
#[helper]
async fn in_each_scope(conn: &mut Conn, wait: Wait, name: &str) {
    let run = wait.on(conn.advisory(name));
    run.run(async |_| Ok::<_, Error>(())).await.unwrap();
    let run = wait.on(conn.advisory(name)).serializable();
    run.run(async |_| Ok::<_, Error>(())).await.unwrap();
    begin(conn).await;
    wait.on(conn.advisory_xact(name)).acquire().await.unwrap();
    let run = wait.on(conn.advisory(name));
    run.run(async |_| Ok::<_, Error>(())).await.unwrap();
    commit(conn).await;
    let acquire = wait.on(conn.advisory_session(name)).acquire();
    acquire.await.unwrap().release().await.unwrap();
    let acquire = wait.on(conn.advisory_session(name).permits(3)).acquire();
    acquire.await.unwrap().release().await.unwrap();
}

/// Waits for one of two permits.
#[helper]
async fn after_waiting(conn: &mut Conn, url: &str, name: &str) {
    let _first = Holder::at(url, permit(name, 1));
    let second = Holder::at(url, permit(name, 2)).until_queued(permit(name, 2));
    let acquire = conn.advisory_session(name).permits(2).acquire();
    acquire.await.unwrap().release().await.unwrap();
    second.join().unwrap();
}

/// A `DO` block is parsed on each call, and needs the library of PL/pgSQL, which a server loses when
/// its files are replaced below it.
#[scenario]
async fn a_free_lock_without_a_timeout_needs_no_block() {
    let (proxy, mut conn) = counted().await;
    for wait in [Wait::Inherit, Wait::Forever, Wait::No] {
        proxy.reset();
        in_each_scope(&mut conn, wait, &unique("no_block")).await;
        let sent = proxy.sent();
        assert!(sent.len() >= 8, "{wait:?}: {sent:#?}");
        let block = sent.iter().find(|sql| sql.contains("DO $"));
        assert_eq!(block, None, "{wait:?}");
    }
}

#[scenario]
async fn a_thousand_names_are_one_row_of_pg_stat_statements_for_each_form() {
    let builder = Sandbox::builder()
        .setting("shared_preload_libraries", "pg_stat_statements")
        .setting("pg_stat_statements.track", "all");
    let server = builder.start().unwrap();
    let mut conn = connect_to(server.url()).await;
    execute(&mut conn, "CREATE EXTENSION pg_stat_statements").await;
    for wait in Wait::ALL {
        in_each_scope(&mut conn, wait, "the first").await;
        in_each_scope(&mut conn, wait, "the second").await;
    }
    after_waiting(&mut conn, server.url(), "the first").await;
    let forms = text(&mut conn, FORMS).await;
    assert!(forms.contains("pg_advisory_lock"), "{forms}");
    for index in 0..1_000 {
        let wait = Wait::ALL[index % Wait::ALL.len()];
        in_each_scope(&mut conn, wait, &format!("name {index}")).await;
    }
    for index in 0..10 {
        after_waiting(&mut conn, server.url(), &format!("name {index}")).await;
    }
    let now = text(&mut conn, FORMS).await;
    let new = now.lines().filter(|form| !forms.contains(form));
    assert_eq!(new.collect::<Vec<_>>(), [""; 0]);
}

/// The rows of `pg_stat_statements`, but for those of the tests themselves, and for a step of a wait that is
/// there only when it has succeeded.
const FORMS: &str = "SELECT string_agg(query || ' ' || queryid, E'\\n' ORDER BY query) AS value \
     FROM pg_stat_statements \
     WHERE query NOT LIKE '%pg_stat_statements%' AND query NOT LIKE '%FROM pg_locks %' \
     AND query NOT LIKE '%(permits[i])%'";
