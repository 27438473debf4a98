//! Behind a connection pooler in transaction mode, which gives each transaction whatever session is free.

mod pgbouncer;
mod sessions;

use std::time::Duration;

use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error, HowLost, IntoAdvisorySession, Lost};

use self::pgbouncer::{Pooler, Turn};
use crate::support::*;

#[test]
fn a_session_lock_that_was_switched_away_is_told() {
    for pooler in Pooler::of_each_version(Turn::MostRecent) {
        let (mut conn, mut other) = (pooler.connect(), pooler.connect());
        for wait in Wait::ALL {
            let name = unique("poolers.switched");
            let mut held = wait.on(conn.advisory_session(&name)).acquire().unwrap();
            assert!(held.is_held().unwrap());
            let is_lock = is_lock(name.clone());
            let holders = format!("SELECT pid AS value FROM pg_locks WHERE {is_lock}");
            let session = integer(&mut connect_to(pooler.server.url()), &holders);
            // Another client gets the session that has the lock, and keeps it for a while.
            other
                .transaction(|other| {
                    assert_eq!(
                        pid(other),
                        session,
                        "the pooler gives the session used last"
                    );
                    assert!(!held.is_held()?);
                    let released = held.release();
                    assert!(matches!(released, Err(Error::NotHeld)), "{released:?}");
                    // So nobody has the lock, and nobody gets it, until that session ends.
                    execute(other, "SELECT pg_advisory_unlock_all()");
                    Ok::<_, Error>(())
                })
                .unwrap();
        }
        pooler.assert_clean();
    }
}

/// Where the pooler prepares a query anew, in a session that does not know it, a transaction seems to be open.
#[cfg(feature = "async")]
#[tokio::test]
async fn an_asynchronous_session_lock_that_was_switched_away_is_told() {
    for pooler in Pooler::of_each_version(Turn::MostRecent) {
        if !pooler.prepares {
            continue;
        }
        let mut conn = asynchronous::connect_to(pooler.url()).await;
        let mut other = pooler.connect();
        for wait in Wait::ALL.into_iter().cycle().take(12) {
            let name = unique("poolers.switched");
            let lock = diesel_advisory::AsyncAdvisoryConnection::advisory_session(&mut conn, &name);
            let held = wait.on(lock).acquire().await.unwrap();
            execute(&mut other, "BEGIN; SELECT 1");
            let released = held.release().await;
            assert!(
                matches!(released, Err(Error::NotHeld | Error::SharedSession)),
                "{wait:?}: {released:?}"
            );
            execute(
                &mut other,
                "SELECT pg_advisory_unlock_all(), set_config('diesel_advisory.guards', '', false); COMMIT",
            );
        }
        pooler.assert_clean();
    }
}

#[test]
fn a_run_that_was_switched_away_is_told() {
    for pooler in Pooler::of_each_version(Turn::MostRecent) {
        let (mut conn, mut other) = (pooler.connect(), pooler.connect());
        let ran = conn.advisory_session("x").run(|_| {
            execute(&mut other, "BEGIN; SELECT 1");
            Ok(())
        });
        assert!(matches!(ran, Err(Error::NotHeld)), "{ran:?}");
    }
}

/// Lets many clients add one to a row, which only a lock makes right.
fn count_up(pooler: &Pooler, add: impl Fn(&mut PgConnection, Wait, usize) -> usize + Sync) {
    const CLIENTS: usize = 6;
    const ROUNDS: usize = 20;

    let mut conn = pooler.connect();
    execute(&mut conn, "CREATE TABLE counter AS SELECT 0 AS value");
    let added: usize = std::thread::scope(|scope| {
        let clients = [(); CLIENTS].map(|()| {
            scope.spawn(|| {
                let mut conn = pooler.connect();
                let waits = [
                    Wait::Inherit,
                    Wait::AtMost(PATIENCE),
                    Wait::Forever,
                    Wait::No,
                ];
                let waits = waits
                    .into_iter()
                    .chain([Wait::AtMost(Duration::from_millis(2))]);
                let rounds = waits.cycle().take(ROUNDS).enumerate();
                rounds
                    .map(|(round, wait)| add(&mut conn, wait, round))
                    .sum::<usize>()
            })
        });
        clients.map(|client| client.join().unwrap()).iter().sum()
    });
    assert_ne!(added, 0);
    let counted = integer(&mut conn, "SELECT value FROM counter");
    assert_eq!(usize::try_from(counted), Ok(added));
    pooler.assert_clean();
}

/// Reads first, so that one who was not excluded would overwrite what another has added.
fn add_one(conn: &mut PgConnection) -> QueryResult<usize> {
    let value = integer(conn, "SELECT value FROM counter");
    diesel::sql_query(format!("UPDATE counter SET value = {value} + 1")).execute(conn)
}

#[test]
fn own_transactions_work() {
    for pooler in Pooler::of_each_version(Turn::MostRecent) {
        count_up(&pooler, |conn, wait, round| {
            let lock = wait.on(conn.advisory("counter"));
            let lock = match round % 4 {
                0 => lock,
                1 => lock.read_committed(),
                2 => lock.repeatable_read(),
                _ => lock.serializable(),
            };
            lock.try_run(add_one).unwrap().unwrap_or(0)
        });
    }
}

#[test]
fn open_transactions_work() {
    for pooler in Pooler::of_each_version(Turn::MostRecent) {
        count_up(&pooler, |conn, wait, _| {
            let added = conn.transaction(|conn| {
                let lock = wait.on(conn.advisory_xact("counter").and("another"));
                let held = lock.try_acquire()?;
                Ok::<_, Error>(if held { add_one(conn)? } else { 0 })
            });
            added.unwrap()
        });
    }
}

/// An isolated transaction has the lock as one of the session until it has its snapshot. If it fails
/// before that, the session must not go back to the pooler with the lock.
#[test]
fn own_transactions_that_fail_leave_nothing_in_the_pooler() {
    for pooler in Pooler::of_each_version(Turn::LeastRecent) {
        // Opens all of its sessions, so that it has others to choose from.
        pooler.assert_clean();
        let mut observer = connect_to(pooler.server.url());
        let mut writer = connect_to(pooler.server.url());
        execute(&mut writer, "CREATE TABLE written ()");
        let mut holder = connect_to(pooler.server.url());
        let held = holder.advisory_session("x").acquire().unwrap();

        let mut conn = pooler.connect();
        std::thread::scope(|scope| {
            let run = scope.spawn(move || {
                let lock = conn.advisory("x").serializable().read_only().deferrable();
                lock.run(|_| Ok::<_, Error>(())).unwrap_err()
            });
            let queued = "SELECT count(*)::int AS value FROM pg_locks WHERE NOT granted";
            wait_until("the lock is waited for", || {
                integer(&mut observer, queued) == 1
            });
            // From now on nobody has a safe snapshot, because this one may still write.
            execute(
                &mut writer,
                "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT FROM written",
            );
            held.release().unwrap();
            let bridged = "SELECT count(*)::int AS value FROM pg_stat_activity \
                           JOIN pg_locks USING (pid) \
                           WHERE wait_event = 'SafeSnapshot' AND locktype = 'advisory'";
            wait_until("the session has the lock", || {
                integer(&mut observer, bridged) >= 1
            });
            let cancel = "SELECT count(pg_cancel_backend(pid))::int AS value FROM pg_stat_activity \
                          WHERE wait_event = 'SafeSnapshot'";
            assert_eq!(integer(&mut observer, cancel), 1);
            let error = run.join().unwrap();
            assert!(matches!(error, Error::Database(_)), "{error:?}");
        });
        pooler.assert_clean();
    }
}

/// Leases a lock, lets another client have its session and do something there, and waits until the lease is
/// lost.
fn lose_a_lease(pooler: &Pooler, lock: &str, act: impl FnOnce(&mut PgConnection)) -> Lost {
    let (conn, mut other) = (Box::new(pooler.connect()), pooler.connect());
    let run = conn
        .into_advisory_session(lock)
        .lease(Duration::from_secs(3));
    let ran = run.run(|lease| {
        let is_lock = is_lock(lock.to_owned());
        let holders = format!("SELECT pid AS value FROM pg_locks WHERE {is_lock}");
        let session = integer(&mut connect_to(pooler.server.url()), &holders);
        // The pooler gives the session used last.
        execute(&mut other, "BEGIN");
        assert_eq!(pid(&mut other), session);
        act(&mut other);
        while lease.is_held() {
            std::thread::sleep(Duration::from_millis(1));
        }
        execute(&mut other, "ROLLBACK");
        lease.check()
    });
    match ran {
        Err(Error::Lost(lost)) => lost,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lease_that_was_switched_away_is_lost_at_the_first_question() {
    for pooler in Pooler::of_each_version(Turn::MostRecent) {
        let lost = lose_a_lease(&pooler, "switched", |_| ());
        assert_eq!(lost.how, HowLost::Mark);
    }
}

/// With it, the lock would outlive a silent client.
#[test]
fn a_lease_whose_timeout_was_changed_is_lost_at_the_first_question() {
    for pooler in Pooler::of_each_version(Turn::MostRecent) {
        let lost = lose_a_lease(&pooler, "changed", |other| {
            execute(other, "SET idle_session_timeout = 0; COMMIT");
        });
        assert_eq!(lost.how, HowLost::Setting);
    }
}

#[test]
fn a_second_lease_on_one_session_is_refused() {
    for pooler in Pooler::of_each_version(Turn::MostRecent) {
        let ttl = Duration::from_secs(30);
        let run = Box::new(pooler.connect()).into_advisory_session("one");
        let ran = run.lease(ttl).run(|_| {
            let other = Box::new(pooler.connect()).into_advisory_session("two");
            let refused = other.lease(ttl).run(|_| Ok::<_, Error>(()));
            assert!(matches!(refused, Err(Error::SharedSession)), "{refused:?}");
            Ok::<_, Error>(())
        });
        ran.unwrap();
        pooler.assert_clean();
    }
}
