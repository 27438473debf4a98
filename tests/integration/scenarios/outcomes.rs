//! How a wait can end, in all scopes.

use std::thread;
use std::time::Duration;

use diesel_advisory::Error;

use super::side::*;
use crate::support::{
    Holder, PATIENCE, Wait, assert_free, committed, unavailable, unique, wait_until_queued,
};

const TIMEOUT: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Run,
    RunInTransaction,
    Xact,
    Session,
}

const SCOPES: [Scope; 4] = [
    Scope::Run,
    Scope::RunInTransaction,
    Scope::Xact,
    Scope::Session,
];

impl Scope {
    fn is_in_transaction(self) -> bool {
        matches!(self, Self::RunInTransaction | Self::Xact)
    }

    #[helper]
    async fn begin(self, conn: &mut Conn) {
        if self.is_in_transaction() {
            AnsiTransactionManager::begin_transaction(conn)
                .await
                .unwrap();
        }
    }

    #[helper]
    async fn commit(self, conn: &mut Conn) {
        if self.is_in_transaction() {
            AnsiTransactionManager::commit_transaction(conn)
                .await
                .unwrap();
        }
    }

    #[helper]
    async fn take(self, conn: &mut Conn, lock: &str, wait: Wait) -> Result<(), Error> {
        match self {
            Self::Run | Self::RunInTransaction => {
                wait.on(conn.advisory(lock)).run(async |_| Ok(())).await
            }
            Self::Xact => wait.on(conn.advisory_xact(lock)).acquire().await,
            Self::Session => {
                let held = wait.on(conn.advisory_session(lock)).acquire().await?;
                held.release().await
            }
        }
    }

    /// Whether the lock was to be had, without an error.
    #[helper]
    async fn try_to_take(self, conn: &mut Conn, lock: &str, wait: Wait) -> Result<bool, Error> {
        match self {
            Self::Run | Self::RunInTransaction => {
                let ran = wait
                    .on(conn.advisory(lock))
                    .try_run(async |_| Ok::<_, Error>(7))
                    .await?;
                assert!(matches!(ran, None | Some(7)));
                Ok(ran.is_some())
            }
            Self::Xact => wait.on(conn.advisory_xact(lock)).try_acquire().await,
            Self::Session => {
                let lock_again = wait.on(conn.advisory_session(lock));
                let ran = lock_again.try_run(async |_| Ok::<_, Error>(7)).await?;
                let held = wait.on(conn.advisory_session(lock)).try_acquire().await?;
                assert_eq!(ran, held.is_some().then_some(7));
                let granted = held.is_some();
                if let Some(held) = held {
                    held.release().await?;
                }
                Ok(granted)
            }
        }
    }
}

#[scenario]
async fn a_free_lock_is_granted_and_ends() {
    for scope in SCOPES {
        for wait in Wait::ALL {
            let lock = unique("scenario.free");
            let mut conn = connect().await;
            scope.begin(&mut conn).await;
            scope.take(&mut conn, &lock, wait).await.unwrap();
            assert!(scope.try_to_take(&mut conn, &lock, wait).await.unwrap());
            scope.commit(&mut conn).await;
            assert_free(lock);
            assert_clean(&mut conn).await;
        }
    }
}

#[scenario]
async fn a_lock_is_granted_when_its_holder_ends() {
    for scope in SCOPES {
        for wait in [Wait::Inherit, Wait::AtMost(PATIENCE), Wait::Forever] {
            let lock = unique("scenario.wait");
            let holder = Holder::of(lock.clone()).until_queued(lock.clone());
            let mut conn = connect().await;
            scope.begin(&mut conn).await;
            scope.take(&mut conn, &lock, wait).await.unwrap();
            scope.commit(&mut conn).await;
            holder.join().unwrap();
            assert_free(lock);
            assert_clean(&mut conn).await;
        }
    }
}

#[scenario]
async fn a_wait_in_vain_says_who_holds_the_lock_and_leaves_the_transaction_usable() {
    for scope in SCOPES {
        for (wait, least) in [
            (Wait::AtMost(TIMEOUT), TIMEOUT),
            (Wait::Inherit, TIMEOUT),
            (Wait::No, Duration::ZERO),
        ] {
            let lock = unique("scenario.vain");
            let mut holder = Holder::of(lock.clone());
            let mut conn = connect().await;
            let table = table(&mut conn).await;
            if wait == Wait::Inherit {
                execute(&mut conn, "SET lock_timeout = '20ms'").await;
            }
            scope.begin(&mut conn).await;
            insert(&mut conn, &table, 1).await.unwrap();

            let error = scope.take(&mut conn, &lock, wait).await.unwrap_err();
            let unavailable = unavailable(error);
            assert_eq!(unavailable.lock.to_string(), lock);
            assert!(
                unavailable.waited >= least,
                "{scope:?}, {wait:?}: {unavailable}"
            );
            let pids: Vec<_> = unavailable
                .holders
                .iter()
                .map(|holder| holder.pid)
                .collect();
            assert_eq!(pids, [holder.pid()], "{scope:?}, {wait:?}");

            insert(&mut conn, &table, 2).await.unwrap();
            assert!(!scope.try_to_take(&mut conn, &lock, wait).await.unwrap());
            insert(&mut conn, &table, 3).await.unwrap();
            scope.commit(&mut conn).await;
            assert_eq!(committed(&table), [1, 2, 3], "{scope:?}, {wait:?}");
            assert_clean(&mut conn).await;
            drop(holder);
            assert_free(lock);
        }
    }
}

#[scenario]
async fn lock_timeout_is_what_it_was() {
    for scope in SCOPES {
        for wait in [
            Wait::Inherit,
            Wait::AtMost(PATIENCE),
            Wait::AtMost(TIMEOUT),
            Wait::Forever,
            Wait::No,
        ] {
            let lock = unique("scenario.lock_timeout");
            let mut conn = connect().await;
            execute(&mut conn, "SET lock_timeout = '61s'").await;
            scope.begin(&mut conn).await;
            if scope.is_in_transaction() {
                execute(&mut conn, "SET LOCAL lock_timeout = '1234567ms'").await;
            }
            let inside = lock_timeout(&mut conn).await;
            if wait == Wait::AtMost(TIMEOUT) {
                let _holder = Holder::of(lock.clone());
                scope.take(&mut conn, &lock, wait).await.unwrap_err();
            } else {
                let holder = Holder::of(lock.clone());
                if wait == Wait::No {
                    drop(holder);
                    scope.take(&mut conn, &lock, wait).await.unwrap();
                } else {
                    let holder = holder.until_queued(lock.clone());
                    scope.take(&mut conn, &lock, wait).await.unwrap();
                    holder.join().unwrap();
                }
            }
            assert_eq!(lock_timeout(&mut conn).await, inside, "{scope:?}, {wait:?}");
            scope.commit(&mut conn).await;
            assert_eq!(lock_timeout(&mut conn).await, "61s", "{scope:?}, {wait:?}");
        }
    }
}

#[scenario]
async fn a_statement_that_is_cancelled_is_a_database_error() {
    for scope in SCOPES {
        for wait in [Wait::Inherit, Wait::AtMost(PATIENCE), Wait::Forever] {
            let lock = unique("scenario.cancelled");
            let mut conn = connect().await;
            let pid = pid(&mut conn).await;
            let mut holder = Holder::of(lock.clone());
            scope.begin(&mut conn).await;
            let cancelling = {
                let lock = lock.clone();
                thread::spawn(move || {
                    wait_until_queued(lock, 1);
                    holder.execute(&format!("SELECT pg_cancel_backend({pid})"));
                })
            };
            let error = scope.take(&mut conn, &lock, wait).await.unwrap_err();
            assert!(
                matches!(error, Error::Database(_)),
                "{scope:?}, {wait:?}: {error:?}"
            );
            cancelling.join().unwrap();
            if scope.is_in_transaction() {
                AnsiTransactionManager::rollback_transaction(&mut conn)
                    .await
                    .unwrap();
            }
            assert_clean(&mut conn).await;
            assert_free(lock);
        }
    }
}

#[scenario]
async fn what_cannot_work_is_refused() {
    let lock = unique("scenario.refused");
    let mut conn = connect().await;
    for scope in SCOPES {
        for wait in Wait::ALL {
            scope.begin(&mut conn).await;
            let error = scope.take(&mut conn, "", wait).await.unwrap_err();
            assert!(matches!(error, Error::EmptyName), "{scope:?}: {error:?}");
            let error = scope.try_to_take(&mut conn, "", wait).await.unwrap_err();
            assert!(matches!(error, Error::EmptyName), "{scope:?}: {error:?}");
            scope.commit(&mut conn).await;
        }
    }
    for wait in Wait::ALL {
        let error = Scope::Xact.take(&mut conn, &lock, wait).await.unwrap_err();
        assert!(
            matches!(error, Error::NotInTransaction),
            "{wait:?}: {error:?}"
        );
        Scope::Xact.begin(&mut conn).await;
        let error = Scope::Session
            .take(&mut conn, &lock, wait)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::InTransaction), "{wait:?}: {error:?}");
        Scope::Xact.commit(&mut conn).await;
    }
    let error = conn.is_advisory_locked("").await.unwrap_err();
    assert!(matches!(error, Error::EmptyName), "{error:?}");
    assert_clean(&mut conn).await;
}

#[scenario]
async fn whether_somebody_holds_a_lock_is_seen_without_taking_it() {
    let lock = unique("scenario.look");
    let mut conn = connect().await;
    assert!(!conn.is_advisory_locked(&lock).await.unwrap());
    let holder = Holder::of(lock.clone());
    assert!(conn.is_advisory_locked(&lock).await.unwrap());
    drop(holder);
    assert!(!conn.is_advisory_locked(&lock).await.unwrap());
    assert_clean(&mut conn).await;
}
