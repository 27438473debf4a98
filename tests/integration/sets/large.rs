//! Sets as large as the server's lock table.

use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error};
use diesel_advisory_sandbox::Sandbox;

use crate::support::*;

const MANY: i32 = 10_000;

#[test]
fn ten_thousand_locks_in_every_scope_and_at_every_level() {
    let sandbox = Sandbox::builder()
        .setting("max_locks_per_transaction", "256")
        .start()
        .unwrap();
    let mut conn = connect_to(sandbox.url());
    let ids = || (0..MANY).map(|id| ("many", id)).chain([("few", 1)]);
    let held = "SELECT count(*)::int AS value FROM pg_locks WHERE locktype = 'advisory'";
    let all_are_held = |conn: &mut PgConnection| {
        assert_eq!(integer(conn, held), MANY + 1);
        Ok::<_, Error>(())
    };
    for wait in Wait::ALL {
        wait.on(conn.advisory_all(ids())).run(all_are_held).unwrap();
        let serializable = conn.advisory_all(ids()).serializable();
        wait.on(serializable).run(all_are_held).unwrap();
        conn.transaction(|conn| {
            wait.on(conn.advisory_xact_all(ids())).acquire()?;
            all_are_held(conn)
        })
        .unwrap();
        let session = conn.advisory_session_all(ids());
        wait.on(session).run(all_are_held).unwrap();
        assert_eq!(integer(&mut conn, held), 0, "{wait:?}");
    }
}
