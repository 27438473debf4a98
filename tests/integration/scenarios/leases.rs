//! Leases: session locks that are kept alive, and tell when they are lost.

use std::ops::{Deref, DerefMut};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use diesel_advisory::{Error, FencingToken, Lease};
use diesel_advisory_sandbox::Sandbox;

use super::side::*;
use crate::support::{
    self, Failure, HOSTILE, Holder, Wait, assert_free, assert_taken, hostile_database, unique,
    wait_until_free, wait_until_waited,
};

/// Long enough for a busy machine.
const TTL: Duration = Duration::from_secs(3);

/// A short one, of which several pass in a test.
const SHORT: Duration = Duration::from_millis(600);

/// A connection that is given back when it is dropped, as that of a pool.
struct Lent {
    conn: Option<Conn>,
    back: Sender<Conn>,
}

impl Deref for Lent {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        self.conn.as_ref().unwrap()
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Conn {
        self.conn.as_mut().unwrap()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let _ = self.back.send(self.conn.take().unwrap());
    }
}

#[helper]
async fn boxed() -> Box<Conn> {
    Box::new(connect().await)
}

/// The session's `idle_session_timeout`, to the character, and the marks that are left on it.
#[helper]
async fn settings(conn: &mut Conn) -> String {
    let sql = "SELECT concat_ws(' ', current_setting('idle_session_timeout'), \
               current_setting('diesel_advisory.lease', true), \
               current_setting('diesel_advisory.lease_before', true), \
               current_setting('diesel_advisory.guards', true)) AS value";
    text(conn, sql).await.trim_end().to_owned()
}

/// Waits until the lease was renewed so often.
#[helper]
async fn renewed(lease: &Lease, times: usize) {
    let mut last = lease.remaining().unwrap();
    let mut count = 0;
    while count < times {
        pause(5).await;
        let now = lease.remaining().expect("it is held");
        if now > last {
            count += 1;
        }
        last = now;
    }
}

#[scenario]
async fn the_work_runs_under_a_lock_that_is_free_afterwards() {
    for wait in Wait::ALL {
        let lock = unique("leases.run");
        let work = async |lease: Lease| {
            assert!(lease.is_held());
            assert!(lease.remaining().unwrap() <= TTL * 9 / 10);
            lease.check()?;
            assert_taken(lock.clone());
            Ok::<_, Error>(7)
        };
        let builder = wait.on(boxed().await.into_advisory_session(&lock));
        assert_eq!(builder.lease(TTL).run(work).await.unwrap(), 7, "{wait:?}");
        assert_free(lock.clone());
        let builder = wait.on(boxed().await.into_advisory_session(&lock));
        let ran = builder.lease(TTL).try_run(work).await.unwrap();
        assert_eq!(ran, Some(7), "{wait:?}");
        assert_free(lock);
    }
}

#[scenario]
async fn a_lock_that_is_not_available_is_told_and_the_work_is_not_run() {
    for wait in [Wait::No, Wait::AtMost(Duration::from_millis(1))] {
        let lock = unique("leases.unavailable");
        let mut holder = Holder::of(lock.clone());
        let (back, given_back) = channel();
        let lent = |conn| Lent {
            conn: Some(conn),
            back: back.clone(),
        };
        let work = async |_: Lease| -> Result<(), Error> { panic!("it is not run") };
        let conn = lent(connect().await);
        let builder = wait.on(conn.into_advisory_session(&lock)).lease(TTL);
        assert!(builder.try_run(work).await.unwrap().is_none(), "{wait:?}");

        let mut conn = given_back.try_recv().expect("it is given back");
        assert_eq!(settings(&mut conn).await, "0", "{wait:?}");
        let builder = wait.on(lent(conn).into_advisory_session(&lock)).lease(TTL);
        let unavailable = support::unavailable(builder.run(work).await.unwrap_err());
        assert_eq!(unavailable.holders[0].pid, holder.pid(), "{wait:?}");
        let mut conn = given_back.try_recv().expect("it is given back");
        assert_eq!(settings(&mut conn).await, "0", "{wait:?}");
    }
}

#[scenario]
async fn the_settings_of_a_pooled_connection_are_what_they_were() {
    for before in ["0", "75min", "12345ms"] {
        let (lock, (back, given_back)) = (unique("leases.pooled"), channel());
        let mut conn = connect().await;
        execute(&mut conn, &format!("SET idle_session_timeout = '{before}'")).await;
        let pid = pid(&mut conn).await;
        for fails in [false, true] {
            let lent = Lent {
                conn: Some(conn),
                back: back.clone(),
            };
            let run = lent.into_advisory_session(&lock).lease(TTL);
            let ran = run.run(async |_| {
                if fails {
                    return Err(Failure::OnPurpose);
                }
                Ok(())
            });
            assert_eq!(ran.await.is_err(), fails);
            conn = given_back.try_recv().expect("it is given back by now");
            assert_eq!(settings(&mut conn).await, before);
            assert_eq!(self::pid(&mut conn).await, pid);
            assert_clean(&mut conn).await;
        }
    }
}

#[scenario]
async fn a_lease_that_was_renewed_often_is_freed_by_one_release() {
    let (lock, (back, given_back)) = (unique("leases.renewed"), channel());
    let lent = Lent {
        conn: Some(connect().await),
        back,
    };
    let run = lent.into_advisory_session(&lock).lease(SHORT);
    let ran = run.run(async |lease| {
        renewed(&lease, 9).await;
        Ok::<_, Error>(())
    });
    ran.await.unwrap();
    let mut conn = given_back.try_recv().unwrap();
    assert_free(lock);
    assert_clean(&mut conn).await;
}

/// The request that was granted had waited for longer than the time to live.
#[scenario]
async fn a_lease_is_whole_after_a_long_wait() {
    let lock = unique("leases.waited");
    let mut conn = boxed().await;
    let pid = pid(&mut conn).await;
    let holder = Holder::of(lock.clone());
    let thread = std::thread::spawn(move || {
        wait_until_waited(
            pid,
            "advisory",
            3 * u32::try_from(SHORT.as_millis()).unwrap(),
        );
        drop(holder);
    });
    let run = conn.into_advisory_session(&lock).lease(SHORT);
    let ran = run.run(async |lease| {
        assert!(lease.remaining().unwrap() > SHORT / 2);
        renewed(&lease, 6).await;
        Ok::<_, Error>(())
    });
    ran.await.unwrap();
    thread.join().unwrap();
    assert_free(lock);
}

#[scenario]
async fn a_session_that_is_ended_is_lost() {
    let lock = unique("leases.killed");
    let mut conn = boxed().await;
    let pid = pid(&mut conn).await;
    let run = conn.into_advisory_session(&lock).lease(SHORT);
    let began = Instant::now();
    let ran = run.run(async |lease| {
        Sandbox::shared().kill_backend(pid).unwrap();
        while lease.is_held() {
            pause(1).await;
        }
        assert!(matches!(lease.check(), Err(Error::Lost(_))));
        assert_eq!(lease.remaining(), None);
        Ok::<_, Error>(())
    });
    match ran.await {
        Err(Error::Lost(lost)) => assert_eq!(lost.lock.to_string(), lock),
        other => panic!("{other:?}"),
    }
    let took = began.elapsed();
    assert!(took < SHORT * 2 + Duration::from_secs(2), "{took:?}");
    assert_free(lock);
}

#[scenario]
async fn the_error_of_the_work_comes_first() {
    let lock = unique("leases.error");
    let mut conn = boxed().await;
    let pid = pid(&mut conn).await;
    let run = conn.into_advisory_session(&lock).lease(TTL);
    let ran = run.run(async |_| -> Result<(), Failure> {
        Sandbox::shared().kill_backend(pid).unwrap();
        Err(Failure::OnPurpose)
    });
    assert!(matches!(ran.await, Err(Failure::OnPurpose)));
    assert_free(lock);
}

#[scenario]
async fn a_work_that_resigns_and_returns_is_done() {
    let lock = unique("leases.resigned");
    let run = boxed().await.into_advisory_session(&lock).lease(TTL);
    let ran = run.run(async |lease| {
        let clone = lease.clone();
        lease.resign();
        assert!(!clone.is_held());
        assert_eq!(clone.remaining(), None);
        assert!(matches!(clone.check(), Err(Error::ShutDown)));
        // The lock is held until the work has returned.
        assert_taken(lock.clone());
        Ok::<_, Error>(5)
    });
    assert_eq!(ran.await.unwrap(), 5);
    assert_free(lock);
}

/// The next holder can begin at once, so whoever has kept the lease must not believe in it any longer.
#[scenario]
async fn a_lease_that_outlives_its_work_is_not_held() {
    let lock = unique("leases.kept");
    for fails in [false, true] {
        let mut kept = None;
        let run = boxed().await.into_advisory_session(&lock).lease(TTL);
        let ran = run.run(async |lease| {
            assert!(lease.is_held());
            kept = Some(lease);
            if fails {
                return Err(Failure::OnPurpose);
            }
            Ok(())
        });
        assert_eq!(ran.await.is_err(), fails);
        let kept = kept.unwrap();
        assert!(!kept.is_held());
        assert_eq!(kept.remaining(), None);
        assert!(matches!(kept.check(), Err(Error::ShutDown)));
        // What it has written stays its own.
        kept.token().unwrap();
    }
}

#[scenario]
async fn what_is_refused_leaves_the_session_as_it_was() {
    let (back, given_back) = channel();
    let mut conn = connect().await;
    for raw in [false, true] {
        if raw {
            execute(&mut conn, "BEGIN").await;
        } else {
            begin(&mut conn).await;
        }
        let lent = Lent {
            conn: Some(conn),
            back: back.clone(),
        };
        let run = lent.into_advisory_session(unique("leases.refused"));
        let ran = run.lease(TTL).run(async |_| Ok::<_, Error>(())).await;
        assert!(matches!(ran, Err(Error::InTransaction)), "{ran:?}");
        conn = given_back.try_recv().unwrap();
        if raw {
            execute(&mut conn, "ROLLBACK").await;
        } else {
            roll_back(&mut conn).await;
        }
        assert_eq!(settings(&mut conn).await, "0");
        assert_clean(&mut conn).await;
    }
    let run = boxed().await.into_advisory_session("").lease(TTL);
    let ran = run.run(async |_| Ok::<_, Error>(())).await;
    assert!(matches!(ran, Err(Error::EmptyName)), "{ran:?}");
    let none: [&str; 0] = [];
    let run = boxed().await.into_advisory_session_all(none).lease(TTL);
    let ran = run.run(async |_| Ok::<_, Error>(())).await;
    assert!(matches!(ran, Err(Error::EmptySet)), "{ran:?}");
}

#[scenario]
async fn a_standby_is_refused_always() {
    let primary = Sandbox::start().unwrap();
    let standby = primary.standby().start().unwrap();
    for wait in Wait::ALL {
        let conn = Box::new(connect_to(standby.url()).await);
        let run = wait.on(conn.into_advisory_session("leases.standby"));
        let run = run.allow_standby().lease(TTL);
        let ran = run.run(async |_| Ok::<_, Error>(())).await;
        assert!(matches!(ran, Err(Error::Standby)), "{wait:?}: {ran:?}");
    }
}

#[scenario]
async fn terms_have_tokens_that_grow_whatever_the_session_is_like() {
    let url = hostile_database();
    let mut last: Option<FencingToken> = None;
    for set in [
        HOSTILE,
        "SET synchronous_commit = off",
        "SET default_transaction_read_only = on",
        "SET default_transaction_isolation = serializable",
    ] {
        let mut conn = Box::new(connect_to(&url).await);
        execute(&mut conn, set).await;
        let run = conn.into_advisory_session("leases.tokens").lease(SHORT);
        let token = run.run(async |lease| {
            renewed(&lease, 2).await;
            lease.token()
        });
        let token = token.await.unwrap();
        assert!(Some(token) > last, "{set}");
        last = Some(token);
    }
}

#[scenario]
async fn without_the_right_to_a_token_the_lease_works() {
    let url = support::database();
    let mut owner = support::connect_to(&url);
    let role = unique("leases").replace('.', "_");
    support::execute(&mut owner, &format!("CREATE ROLE {role} LOGIN"));
    let revoke = "REVOKE EXECUTE ON FUNCTION pg_walfile_name(pg_lsn) FROM PUBLIC";
    support::execute(&mut owner, revoke);
    let database = support::text(&mut owner, "SELECT current_database()::text AS value");
    let url = Sandbox::shared().url_as(&role, &database);
    let conn = Box::new(connect_to(&url).await);
    let run = conn.into_advisory_session("leases.rights").lease(TTL);
    let ran = run.run(async |lease| {
        assert!(lease.is_held());
        match lease.token() {
            Err(Error::NoToken(why)) => Ok::<_, Error>(why),
            other => panic!("{other:?}"),
        }
    });
    assert!(ran.await.unwrap().contains("pg_walfile_name"));
}

/// The token comes after the lock.
#[scenario]
async fn a_token_step_that_fails_leaves_no_lock_behind() {
    let url = support::database();
    let mut owner = support::connect_to(&url);
    let role = unique("leases").replace('.', "_");
    support::execute(&mut owner, &format!("CREATE ROLE {role} LOGIN"));
    support::execute(
        &mut owner,
        "REVOKE SELECT ON pg_catalog.pg_proc FROM PUBLIC",
    );
    let database = support::text(&mut owner, "SELECT current_database()::text AS value");
    let (back, given_back) = channel();
    let conn = connect_to(&Sandbox::shared().url_as(&role, &database)).await;
    let lent = Lent {
        conn: Some(conn),
        back,
    };
    let run = lent.into_advisory_session("leases.failing").lease(TTL);
    let ran = run.run(async |_| -> Result<(), Error> { panic!("it is not run") });
    let ran = ran.await;
    assert!(matches!(ran, Err(Error::Database(_))), "{ran:?}");
    let mut conn = given_back.try_recv().unwrap();
    assert_eq!(settings(&mut conn).await, "0");
    assert_clean(&mut conn).await;
}

/// Shared leases go beside each other, and a set is leased as one.
#[scenario]
async fn modes_and_sets_are_as_in_other_session_locks() {
    let [one, two] = support::in_order();
    let run = boxed().await.into_advisory_session(&one).and(&two);
    let ran = run.shared().lease(TTL).run(async |lease| {
        let other = boxed().await.into_advisory_session(&two).shared();
        let beside = other.no_wait().lease(TTL).try_run(async |other| {
            assert!(lease.is_held() && other.is_held());
            Ok::<_, Error>(())
        });
        assert!(beside.await.unwrap().is_some());
        for lock in [&one, &two] {
            assert_taken(lock.clone());
        }
        Ok::<_, Error>(())
    });
    ran.await.unwrap();
    wait_until_free(one);
    wait_until_free(two);
}

/// The settings, the lock, whether a token may be given, the token, the first question; then the release, and
/// the settings again.
#[scenario]
async fn a_lease_and_a_token_take_few_round_trips() {
    let (proxy, lock) = (Sandbox::shared().proxy(), unique("leases.trips"));
    let conn = Box::new(connect_to(proxy.url()).await);
    proxy.reset();
    let run = conn.into_advisory_session(&lock).lease(20 * TTL);
    run.run(async |_| Ok::<_, Error>(())).await.unwrap();
    assert_eq!(proxy.round_trips(), 6 + QUESTION, "{:#?}", proxy.sent());

    let mut conn = connect_to(proxy.url()).await;
    let mut held = conn.advisory_session(&lock).acquire().await.unwrap();
    proxy.reset();
    held.fencing_token().await.unwrap();
    assert_eq!(proxy.round_trips(), 1 + QUESTION, "{:#?}", proxy.sent());
    held.release().await.unwrap();
}
