//! A role that may do nothing but connect.

use std::time::Duration;

use diesel_advisory::Error;
use diesel_advisory_sandbox::Sandbox;

use super::side::*;
use super::waiting::SCOPES;
use crate::support::{self, Holder, LEVELS, Wait, at_level, unique};

/// A role that may not use PL/pgSQL, and may create what it likes: its URL.
fn without_plpgsql() -> String {
    let (url, role) = (support::database(), unique("rights").replace('.', "_"));
    let mut owner = support::connect_to(&url);
    let role_with = format!(
        "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC; CREATE ROLE {role} LOGIN; \
         GRANT ALL ON SCHEMA public TO {role}"
    );
    support::execute(&mut owner, &role_with);
    let database = support::text(&mut owner, "SELECT current_database()::text AS value");
    Sandbox::shared().url_as(&role, &database)
}

/// Acquires and frees a lock in every scope.
#[helper]
async fn in_each_scope(conn: &mut Conn, wait: Wait) {
    for level in LEVELS {
        let run = at_level!(Some(level), conn.advisory("rights"));
        let ran = wait.on(run).run(async |_| Ok::<_, Error>(())).await;
        assert!(ran.is_ok(), "{wait:?}, {level:?}: {ran:?}");
    }
    begin(conn).await;
    let acquired = wait.on(conn.advisory_xact("rights")).acquire().await;
    assert!(acquired.is_ok(), "{wait:?}: {acquired:?}");
    roll_back(conn).await;
    let held = wait.on(conn.advisory_session("rights")).acquire().await;
    held.unwrap().release().await.unwrap();
    let pid = pid(conn).await;
    assert_eq!(support::locks_of(pid), 0);
}

/// What takes a lock and what releases it need the same rights: none.
#[scenario]
async fn without_plpgsql_a_free_lock_is_taken_and_released() {
    let mut conn = connect_to(&without_plpgsql()).await;
    assert!(conn.batch_execute("DO $$BEGIN END$$").await.is_err());
    for wait in Wait::ALL {
        in_each_scope(&mut conn, wait).await;
    }
}

/// Nothing tells then that it was a timeout, so it is the server's error. Nothing is left of it.
#[scenario]
async fn without_plpgsql_a_wait_that_has_timed_out_is_an_error_and_leaves_nothing() {
    let url = without_plpgsql();
    let mut conn = connect_to(&url).await;
    let pid = pid(&mut conn).await;
    let timeout = Wait::AtMost(Duration::from_millis(5));
    for scope in SCOPES {
        let holder = Holder::at(&url, "rights");
        scope.begin(&mut conn).await;
        let taken = scope.take(&mut conn, "rights", timeout).await;
        assert!(
            matches!(taken, Err(Error::Database(_))),
            "{scope:?}: {taken:?}"
        );
        if scope.is_in_transaction() {
            roll_back(&mut conn).await;
        }
        assert_eq!(support::state_of(pid), "idle", "{scope:?}");
        assert_eq!(support::locks_of(pid), 0, "{scope:?}");
        assert_eq!(lock_timeout(&mut conn).await, "0", "{scope:?}");
        drop(holder);
        in_each_scope(&mut conn, timeout).await;
    }
}

#[cfg(feature = "migrations")]
#[scenario]
async fn without_plpgsql_migrations_run_and_leave_nothing() {
    let url = without_plpgsql();
    let mut migrating = support::connect_to(&url);
    let mut harness = diesel_advisory::migrations::LockedHarness::new(&mut migrating);
    harness.locked(|_| Ok(())).unwrap();
    assert_eq!(support::locks_of(support::pid(&mut migrating)), 0);
    // It has the lock in the meantime, and waits for it no longer than it is told.
    let holder = Holder::at(&url, "diesel_advisory.migrations:public");
    let harness = diesel_advisory::migrations::LockedHarness::new(&mut migrating);
    let refused = harness.timeout(Duration::from_millis(5)).locked(|_| Ok(()));
    let refused = refused.unwrap_err();
    assert!(Error::find_in(&*refused).is_some_and(Error::is_unavailable));
    drop(holder);
    let mut conn = connect_to(&url).await;
    in_each_scope(&mut conn, Wait::Inherit).await;
    drop(migrating);
}
