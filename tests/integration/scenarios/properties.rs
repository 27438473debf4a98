//! Whatever locks are called, and however they are asked for: the server can parse what is sent, and
//! holds the keys that were meant.

use diesel_advisory::Error;
use diesel_advisory_sandbox::Sandbox;

use super::side::*;
use crate::support::any_locks::{AnyLocks, keys_of};
use crate::support::{at_level, blocking};

#[scenario]
async fn any_locks_are_taken_under_their_keys_and_freed() {
    const CASES: usize = 50;

    // Any key can be one that other tests take.
    let server = Sandbox::start().unwrap();
    let proxy = server.proxy();
    let mut observer = blocking::connection::connect_to(server.url());
    let mut conn = connect_to(proxy.url()).await;
    let pid = pid(&mut conn).await;
    for case in AnyLocks::some(CASES, &mut observer) {
        let on = if case.standard_strings { "on" } else { "off" };
        execute(
            &mut conn,
            &format!("SET standard_conforming_strings = {on}"),
        )
        .await;
        proxy.reset();

        let lock = case.wait.on(conn.advisory_all(case.ids.clone()));
        let lock = if case.shared { lock.shared() } else { lock };
        let run =
            at_level!(case.level, lock).run(async |_| Ok::<_, Error>(keys_of(pid, &mut observer)));
        assert_eq!(run.await.unwrap(), case.keys, "{case:?}");
        assert_eq!(keys_of(pid, &mut observer), [], "{case:?}");

        begin(&mut conn).await;
        let lock = case.wait.on(conn.advisory_xact_all(case.ids.clone()));
        let lock = if case.shared { lock.shared() } else { lock };
        lock.acquire().await.unwrap();
        assert_eq!(keys_of(pid, &mut observer), case.keys, "{case:?}");
        roll_back(&mut conn).await;

        let lock = case.wait.on(conn.advisory_session_all(case.ids.clone()));
        let lock = if case.shared { lock.shared() } else { lock };
        let mut held = lock.acquire().await.unwrap();
        assert_eq!(keys_of(pid, &mut observer), case.keys, "{case:?}");
        assert!(held.is_held().await.unwrap(), "{case:?}");
        held.release().await.unwrap();
        assert_eq!(keys_of(pid, &mut observer), [], "{case:?}");
        for id in &case.ids {
            let locked = conn.is_advisory_locked(id.clone()).await;
            assert!(!locked.unwrap(), "{case:?}");
        }

        // A name that the server does not hash is not sent.
        let sent = proxy.sent().concat();
        for hidden in &case.hidden {
            assert!(!sent.contains(hidden.as_str()), "{hidden:?}: {case:?}");
        }
    }
}
