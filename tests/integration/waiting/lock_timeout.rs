//! The session's `lock_timeout` is the same to the character before and after, wherever it comes from
//! and however the wait ends.

use std::time::Duration;

use diesel::prelude::*;
use diesel_advisory::{AdvisoryConnection, Error};
use diesel_advisory_sandbox::Sandbox;

use crate::support::{
    Adjustable, Holder, PATIENCE, Wait, connect, connect_to, execute, lock_timeout, pid,
    unavailable, unique,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Free,
    Waited,
    TimedOut,
    Failed,
}

impl Ending {
    const ALL: [Self; 4] = [Self::Free, Self::Waited, Self::TimedOut, Self::Failed];

    /// The waits that can end in this way, where `lock_timeout` itself is too long for that.
    fn waits(self) -> &'static [Wait] {
        const SHORT: Wait = Wait::AtMost(Duration::from_millis(5));
        match self {
            Self::Free => &Wait::ALL,
            Self::Waited | Self::Failed => &Wait::WAITING,
            Self::TimedOut => &[SHORT, Wait::No],
        }
    }

    /// Sees to it that the next wait of this session ends in this way. What is returned is called when
    /// it has.
    fn prepare(self, url: &str, conn: &mut PgConnection, lock: &str) -> Box<dyn FnOnce()> {
        let lock = lock.to_owned();
        if self == Self::Free {
            return Box::new(|| ());
        }
        let holder = Holder::at(url, lock.clone());
        let ending = match self {
            Self::Free | Self::TimedOut => return Box::new(|| drop(holder)),
            Self::Waited => holder.until_queued(lock),
            Self::Failed => {
                let cancel = format!("SELECT pg_cancel_backend({})", pid(conn));
                holder.when_queued(lock, move |mut holder| holder.execute(&cancel))
            }
        };
        Box::new(|| ending.join().unwrap())
    }

    #[track_caller]
    fn assert(self, result: Result<(), Error>) {
        match (self, result) {
            (Self::Free | Self::Waited, Ok(())) | (Self::Failed, Err(Error::Database(_))) => {}
            (Self::TimedOut, Err(error)) => drop(unavailable(error)),
            (_, result) => panic!("{self:?}: {result:?}"),
        }
    }
}

/// How the lock is asked for: alone, or among others.
fn build<L: Adjustable>(lock: L, others: &[String], wait: Wait) -> L {
    let others = others.iter().cloned();
    wait.on(others.fold(lock, |set, other| set.and(other.into())))
}

/// Goes through all endings, with a look at `lock_timeout` at every point.
///
/// `local` runs at the beginning of each transaction that is open already.
fn check(url: &str, conn: &mut PgConnection, local: &str, expected: &str, waits: Option<&[Wait]>) {
    let before = lock_timeout(conn);
    let sets = [vec![], vec![unique("timeout.low"), unique("timeout.high")]];
    for ending in Ending::ALL {
        for &wait in waits.unwrap_or(ending.waits()) {
            if waits.is_some() && ending != Ending::TimedOut {
                continue;
            }
            for others in &sets {
                let case = format!("{ending:?}, {wait:?}, {} others", others.len());
                let lock = unique("timeout");

                let ends = ending.prepare(url, conn, &lock);
                let result = build(conn.advisory(&lock), others, wait).run(|conn| {
                    assert_eq!(lock_timeout(conn), before, "inside a run: {case}");
                    Ok(())
                });
                ends();
                ending.assert(result);
                assert_eq!(lock_timeout(conn), before, "after a run: {case}");

                let result = conn.transaction(|conn| {
                    execute(conn, local);
                    assert_eq!(lock_timeout(conn), expected, "{case}");
                    let ends = ending.prepare(url, conn, &lock);
                    let result = build(conn.advisory(&lock), others, wait).run(|conn| {
                        assert_eq!(lock_timeout(conn), expected, "inside a nested run: {case}");
                        Ok(())
                    });
                    ends();
                    ending.assert(result);
                    assert_eq!(lock_timeout(conn), expected, "after a nested run: {case}");
                    Ok::<_, Error>(())
                });
                result.unwrap();
                assert_eq!(lock_timeout(conn), before, "after the transaction: {case}");

                let result = conn.transaction(|conn| {
                    execute(conn, local);
                    let ends = ending.prepare(url, conn, &lock);
                    // A failed statement would take the look at the value with it.
                    let result = conn.transaction(|conn| {
                        let acquired = build(conn.advisory_xact(&lock), others, wait).acquire();
                        if !matches!(acquired, Err(Error::Database(_))) {
                            assert_eq!(lock_timeout(conn), expected, "acquired: {case}");
                        }
                        acquired
                    });
                    ends();
                    ending.assert(result);
                    assert_eq!(lock_timeout(conn), expected, "after acquire: {case}");
                    Ok::<_, Error>(())
                });
                result.unwrap();
                assert_eq!(lock_timeout(conn), before, "after the commit: {case}");
            }
        }
    }
}

#[test]
fn lock_timeout_from_the_server_is_kept() {
    let sandbox = Sandbox::builder()
        .setting("lock_timeout", "31500ms")
        .start()
        .unwrap();
    let mut conn = connect_to(sandbox.url());
    check(sandbox.url(), &mut conn, "SELECT", "31500ms", None);
}

#[test]
fn lock_timeout_from_the_role_is_kept() {
    let sandbox = Sandbox::shared();
    let role = unique("patient");
    execute(
        &mut connect(),
        &format!(
            "CREATE ROLE \"{role}\" LOGIN SUPERUSER; \
             ALTER ROLE \"{role}\" SET lock_timeout = '120s'"
        ),
    );
    let mut conn = connect_to(&sandbox.url_as(&role, "postgres"));
    check(sandbox.url(), &mut conn, "SELECT", "2min", None);
}

#[test]
fn lock_timeout_from_set_is_kept() {
    for value in ["0", "31500ms", "2min", "1h"] {
        let mut conn = connect();
        execute(&mut conn, &format!("SET lock_timeout = '{value}'"));
        check(Sandbox::shared().url(), &mut conn, "SELECT", value, None);
    }
}

#[test]
fn lock_timeout_from_set_local_is_kept() {
    for (session, local) in [("0", "31500ms"), ("2min", "0"), ("31500ms", "90s")] {
        let mut conn = connect();
        execute(&mut conn, &format!("SET lock_timeout = '{session}'"));
        let set_local = format!("SET LOCAL lock_timeout = '{local}'");
        check(Sandbox::shared().url(), &mut conn, &set_local, local, None);
    }
}

/// The default wait ends by it, and leaves it alone.
#[test]
fn lock_timeout_that_ends_the_default_wait_is_kept() {
    let mut conn = connect();
    execute(&mut conn, "SET lock_timeout = '7ms'");
    let url = Sandbox::shared().url();
    check(url, &mut conn, "SELECT", "7ms", Some(&[Wait::Inherit]));
    let set_local = "SET LOCAL lock_timeout = '0.011s'";
    check(url, &mut conn, set_local, "11ms", Some(&[Wait::Inherit]));
}

/// What the user sets in a transaction that has waited is what the commit makes of it.
#[test]
fn lock_timeout_set_in_the_transaction_lasts_as_without_a_lock() {
    for (set, after) in [("SET", "42s"), ("SET LOCAL", "9s")] {
        for first in [true, false] {
            let lock = unique("timeout.set");
            let mut conn = connect();
            execute(&mut conn, "SET lock_timeout = '9s'");
            let set = format!("{set} lock_timeout = '42s'");
            let result = conn.transaction(|conn| {
                if first {
                    execute(conn, &set);
                }
                let released = Holder::of(lock.clone()).until_queued(lock.clone());
                conn.advisory_xact(&lock).timeout(PATIENCE).acquire()?;
                released.join().unwrap();
                if !first {
                    execute(conn, &set);
                }
                assert_eq!(lock_timeout(conn), "42s");
                Ok::<_, Error>(())
            });
            result.unwrap();
            assert_eq!(lock_timeout(&mut conn), after, "{set}, first: {first}");
        }
    }
}
