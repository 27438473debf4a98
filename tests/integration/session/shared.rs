//! Sessions that several clients use, found out by their marks.

use diesel_advisory::{AdvisoryConnection, Error};

use crate::support::*;

/// The setting that the marks of a session stand in.
const GUARDS: &str = "diesel_advisory.guards";

fn guards(conn: &mut diesel::PgConnection) -> String {
    text(
        conn,
        &format!("SELECT coalesce(current_setting('{GUARDS}', true), '') AS value"),
    )
}

#[test]
fn another_process_in_the_session_is_refused_before_the_lock_is_taken() {
    for wait in Wait::ALL {
        let (mut conn, name) = (connect(), unique("shared.foreign"));
        execute(&mut conn, &format!("SET {GUARDS} = 'ffffffff00000001'"));
        let acquired = wait.on(conn.advisory_session(&name)).acquire().map(drop);
        assert!(
            matches!(acquired, Err(Error::SharedSession)),
            "{acquired:?}"
        );
        assert_clean(&mut conn);
        assert_free(name);
    }
}

#[test]
fn another_guard_on_top_is_told_at_the_release_and_to_all_who_come_later() {
    let (mut conn, name) = (connect(), unique("shared.on_top"));
    let run = conn.advisory_session(&name).run(|conn| {
        execute(conn, &format!("SET {GUARDS} = 'ffffffff00000001'"));
        Ok::<_, Error>(())
    });
    assert!(matches!(run, Err(Error::SharedSession)), "{run:?}");
    assert_free(name.clone());
    let next = conn.advisory_session(&name).acquire().map(drop);
    assert!(matches!(next, Err(Error::SharedSession)), "{next:?}");
}

#[test]
fn guards_of_one_connection_nest_and_leave_no_mark() {
    let (mut conn, name) = (connect(), unique("shared.nested"));
    let mut outer = conn.advisory_session(&name).acquire().unwrap();
    assert_eq!(guards(&mut outer).len(), 16);
    let mut inner = outer.advisory_session(&name).acquire().unwrap();
    assert_eq!(guards(&mut inner).len(), 32);
    inner.release().unwrap();
    std::mem::forget(outer.advisory_session((&name, 1)).acquire().unwrap());
    let inner = outer
        .advisory_session((&name, 2))
        .no_wait()
        .acquire()
        .unwrap();
    inner.release().unwrap();
    assert_eq!(guards(&mut outer).len(), 32);
    drop(outer);
    assert_free(name);
}
