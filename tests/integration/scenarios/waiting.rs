//! How a wait can end, in all scopes. What makes one fail is in `failed_wait`.

use std::time::Duration;

use diesel_advisory::Error;

use super::side::*;
use crate::support::{
    Holder, Language, PATIENCE, Wait, assert_free, committed, unavailable, unique,
};

const TIMEOUT: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Run,
    RunSerializable,
    RunInTransaction,
    Xact,
    Session,
}

pub(crate) const SCOPES: [Scope; 5] = [
    Scope::Run,
    Scope::RunSerializable,
    Scope::RunInTransaction,
    Scope::Xact,
    Scope::Session,
];

impl Scope {
    pub(crate) fn is_in_transaction(self) -> bool {
        matches!(self, Self::RunInTransaction | Self::Xact)
    }

    #[helper]
    pub(crate) async fn begin(self, conn: &mut Conn) {
        if self.is_in_transaction() {
            begin(conn).await;
        }
    }

    #[helper]
    pub(crate) async fn commit(self, conn: &mut Conn) {
        if self.is_in_transaction() {
            commit(conn).await;
        }
    }

    #[helper]
    pub(crate) async fn take(self, conn: &mut Conn, lock: &str, wait: Wait) -> Result<(), Error> {
        match self {
            Self::Run | Self::RunInTransaction => {
                wait.on(conn.advisory(lock)).run(async |_| Ok(())).await
            }
            Self::RunSerializable => {
                let lock = wait.on(conn.advisory(lock).serializable());
                lock.run(async |_| Ok(())).await
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
    pub(crate) async fn try_to_take(
        self,
        conn: &mut Conn,
        lock: &str,
        wait: Wait,
    ) -> Result<bool, Error> {
        match self {
            Self::Run | Self::RunInTransaction => {
                let lock = wait.on(conn.advisory(lock));
                let ran = lock.try_run(async |_| Ok::<_, Error>(7)).await?;
                assert!(matches!(ran, None | Some(7)));
                Ok(ran.is_some())
            }
            Self::RunSerializable => {
                let lock = wait.on(conn.advisory(lock).serializable());
                let ran = lock.try_run(async |_| Ok::<_, Error>(7)).await?;
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
            let lock = unique("waiting.free");
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
        for wait in Wait::WAITING {
            let lock = unique("waiting.granted");
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
    for language in Language::all() {
        for scope in SCOPES {
            for (wait, least) in [
                (Wait::AtMost(TIMEOUT), TIMEOUT),
                (Wait::Inherit, TIMEOUT),
                (Wait::No, Duration::ZERO),
            ] {
                check_wait_in_vain(language, scope, wait, least).await;
            }
        }
    }
}

#[helper]
async fn check_wait_in_vain(language: Language, scope: Scope, wait: Wait, least: Duration) {
    let case = format!("{language:?}, {scope:?}, {wait:?}");
    let lock = unique("waiting.vain");
    let mut holder = Holder::of(lock.clone());
    let mut conn = connect().await;
    let table = table(&mut conn).await;
    execute(&mut conn, language.set()).await;
    if wait == Wait::Inherit {
        execute(&mut conn, "SET lock_timeout = '20ms'").await;
    }
    let before = lock_timeout(&mut conn).await;
    scope.begin(&mut conn).await;
    insert(&mut conn, &table, 1).await.unwrap();

    let error = scope.take(&mut conn, &lock, wait).await.unwrap_err();
    let unavailable = unavailable(error);
    assert_eq!(unavailable.lock.to_string(), lock);
    assert!(unavailable.waited >= least, "{case}: {unavailable}");
    let holders = unavailable.holders.iter();
    let pids: Vec<_> = holders.map(|holder| holder.pid).collect();
    assert_eq!(pids, [holder.pid()], "{case}");

    insert(&mut conn, &table, 2).await.unwrap();
    assert!(!scope.try_to_take(&mut conn, &lock, wait).await.unwrap());
    insert(&mut conn, &table, 3).await.unwrap();
    scope.commit(&mut conn).await;
    assert_eq!(committed(&table), [1, 2, 3], "{case}");
    assert_eq!(lock_timeout(&mut conn).await, before, "{case}");
    assert_clean(&mut conn).await;
    drop(holder);
    assert_free(lock);
}

#[scenario]
async fn no_closure_is_called_without_the_lock() {
    let lock = unique("waiting.not_called");
    let _holder = Holder::of(lock.clone());
    let mut conn = connect().await;
    let called = async |_: &mut Conn| -> Result<(), Error> { panic!("without the lock") };
    for wait in [Wait::No, Wait::AtMost(Duration::from_millis(5))] {
        let error = wait.on(conn.advisory(&lock)).run(called).await.unwrap_err();
        unavailable(error);
        let ran = wait.on(conn.advisory(&lock)).try_run(called).await.unwrap();
        assert_eq!(ran, None);
        let transaction = conn.transaction(async |conn| {
            let error = wait.on(conn.advisory(&lock)).run(called).await.unwrap_err();
            unavailable(error);
            wait.on(conn.advisory(&lock)).try_run(called).await
        });
        assert_eq!(transaction.await.unwrap(), None);
        let session = wait.on(conn.advisory_session(&lock));
        unavailable(session.run(called).await.unwrap_err());
        let session = wait.on(conn.advisory_session(&lock));
        assert_eq!(session.try_run(called).await.unwrap(), None);
        assert_clean(&mut conn).await;
    }
}

#[scenario]
async fn unavailable_says_what_it_knows_of_each_holder() {
    for scope in SCOPES {
        let lock = unique("waiting.holders");
        let mut first = Holder::of(unique("waiting.other"));
        first.execute("SET application_name = 'first'");
        first.lock_shared(lock.clone());
        first.execute("BEGIN");
        let mut second = Holder::of(unique("waiting.other"));
        second.execute("SET application_name = ''");
        second.lock_shared(lock.clone());

        let mut conn = connect().await;
        scope.begin(&mut conn).await;
        let error = scope.take(&mut conn, &lock, Wait::No).await.unwrap_err();
        let mut holders = unavailable(error).holders;
        holders.sort_by_key(|holder| holder.application_name.is_none());
        assert_eq!(holders.len(), 2, "{scope:?}: {holders:?}");
        assert_eq!(holders[0].pid, first.pid());
        assert_eq!(holders[0].application_name.as_deref(), Some("first"));
        assert_eq!(holders[0].state.as_deref(), Some("idle in transaction"));
        assert_eq!(holders[1].pid, second.pid());
        assert_eq!(holders[1].application_name, None);
        assert_eq!(holders[1].state.as_deref(), Some("idle"));
        for holder in holders {
            let in_state = holder.since.unwrap().elapsed().unwrap_or_default();
            assert!(in_state < PATIENCE, "{holder}");
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
            let lock = unique("waiting.lock_timeout");
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
