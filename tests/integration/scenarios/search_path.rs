//! A `search_path` on which every function, operator and type of PostgreSQL has a double that fails.

use std::time::Duration;

use diesel_advisory::{AdvisoryConnection, Error, LockId, inspect};

use super::side::*;
use crate::support::{self, Holder, LEVELS, Wait, at_level};

#[scenario]
async fn a_hostile_search_path_changes_nothing_about_a_lock() {
    let url = support::hostile_database();
    let mut conn = connect_to(&url).await;
    execute(&mut conn, support::HOSTILE).await;
    for sql in [
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT current_setting('lock_timeout')",
        "SELECT 1 = 1",
        "SELECT 1::pg_catalog.text::text",
    ] {
        let failed = conn.batch_execute(sql).await;
        assert!(failed.is_err(), "nothing is hostile about {sql}");
    }
    let ids = [
        LockId::from("search_path"),
        LockId::from(7),
        LockId::from((7, 7)),
        LockId::hashtext_pair("search", "path"),
        LockId::hashtextextended("search_path"),
    ];
    let waits = [
        Wait::Inherit,
        Wait::AtMost(Duration::from_secs(60)),
        Wait::Forever,
        Wait::No,
    ];
    let mut holder = support::connect_to(&url);
    for id in ids {
        for wait in waits {
            take_each(&mut conn, wait, &id).await;
        }
        assert!(!conn.is_advisory_locked(id.clone()).await.unwrap(), "{id}");
        let held = AdvisoryConnection::advisory_session(&mut holder, id.clone()).acquire();
        let held = held.unwrap();
        assert!(conn.is_advisory_locked(id.clone()).await.unwrap(), "{id}");
        for wait in [Wait::No, Wait::AtMost(Duration::from_millis(5))] {
            refused_each(&mut conn, wait, &id).await;
        }
        held.release().unwrap();
    }
    let _holder = Holder::at(&url, "search_path");
    assert!(conn.is_advisory_locked("search_path").await.unwrap());
    let mut other = support::connect_to(&url);
    support::execute(&mut other, support::HOSTILE);
    let locks = diesel::RunQueryDsl::load::<inspect::Lock>(inspect::locks(), &mut other);
    assert!(!locks.unwrap().is_empty());
}

/// Acquires and frees the lock, and a set of three, in every scope and at every level.
#[helper]
async fn take_each(conn: &mut Conn, wait: Wait, id: &LockId<'static>) {
    let case = format!("{id}, {wait:?}");
    for level in LEVELS {
        let run = at_level!(Some(level), conn.advisory(id.clone()));
        let ran = wait.on(run).run(async |_| Ok::<_, Error>(())).await;
        ran.expect(&case);
        let run = at_level!(Some(level), conn.advisory(id.clone()).and("two").and(3));
        let ran = wait.on(run).run(async |_| Ok::<_, Error>(())).await;
        ran.expect(&case);
    }
    begin(conn).await;
    let set = conn.advisory_xact(id.clone()).and("two").and(3);
    wait.on(set).acquire().await.expect(&case);
    let run = wait.on(conn.advisory(id.clone()).shared());
    let ran = run.run(async |_| Ok::<_, Error>(())).await;
    ran.expect(&case);
    commit(conn).await;
    let set = wait.on(conn.advisory_session(id.clone()).and("two").and(3));
    let mut held = set.acquire().await.expect(&case);
    assert!(held.is_held().await.expect(&case));
    held.release().await.expect(&case);
}

/// Asks for a lock that another session holds, alone and in a set.
#[helper]
async fn refused_each(conn: &mut Conn, wait: Wait, id: &LockId<'static>) {
    for level in LEVELS {
        let run = at_level!(Some(level), conn.advisory(id.clone()));
        let ran = wait.on(run).run(async |_| Ok::<_, Error>(())).await;
        assert!(ran.is_err_and(|error| error.is_unavailable()), "{level:?}");
    }
    begin(conn).await;
    let acquired = wait.on(conn.advisory_xact(id.clone())).acquire().await;
    assert!(acquired.is_err_and(|error| error.is_unavailable()));
    let set = conn.advisory(id.clone()).and("two").and((3, 3));
    let ran = wait.on(set).run(async |_| Ok::<_, Error>(())).await;
    assert!(ran.is_err_and(|error| error.is_unavailable()));
    roll_back(conn).await;
    let set = conn.advisory_session(id.clone()).and("two").and((3, 3));
    let ran = wait.on(set).run(async |_| Ok::<_, Error>(())).await;
    assert!(ran.is_err_and(|error| error.is_unavailable()));
    let run = wait.on(conn.advisory_session(id.clone()));
    let ran = run.run(async |_| Ok::<_, Error>(())).await;
    assert!(ran.is_err_and(|error| error.is_unavailable()));
}
