//! A role that may do nothing but connect.

use diesel_advisory::Error;
use diesel_advisory_sandbox::Sandbox;

use super::side::*;
use crate::support::{self, LEVELS, Wait, at_level, unique};

/// What takes a lock and what releases it need the same rights: none.
#[scenario]
async fn without_plpgsql_a_free_lock_is_taken_and_released() {
    let (url, role) = (support::database(), unique("rights").replace('.', "_"));
    let mut owner = support::connect_to(&url);
    support::execute(&mut owner, "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC");
    support::execute(&mut owner, &format!("CREATE ROLE {role} LOGIN"));
    let database = support::text(&mut owner, "SELECT current_database()::text AS value");
    let mut conn = connect_to(&Sandbox::shared().url_as(&role, &database)).await;
    assert!(conn.batch_execute("DO $$BEGIN END$$").await.is_err());
    for wait in Wait::ALL {
        for level in LEVELS {
            let run = at_level!(Some(level), conn.advisory("rights"));
            let ran = wait.on(run).run(async |_| Ok::<_, Error>(())).await;
            assert!(ran.is_ok(), "{wait:?}, {level:?}: {ran:?}");
        }
        begin(&mut conn).await;
        let acquired = wait.on(conn.advisory_xact("rights")).acquire().await;
        assert!(acquired.is_ok(), "{wait:?}: {acquired:?}");
        roll_back(&mut conn).await;
        let held = wait.on(conn.advisory_session("rights")).acquire().await;
        held.unwrap().release().await.unwrap();
    }
    let pid = pid(&mut conn).await;
    assert_eq!(support::locks_of(pid), 0);
}
