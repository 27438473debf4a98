//! What is dropped: everything that can be done with a lock.

use std::sync::atomic::{AtomicBool, Ordering};

use diesel_advisory::{AsyncAdvisoryConnection, Error, IntoAsyncAdvisorySession};
use diesel_async::{AsyncConnection, AsyncPgConnection};

use crate::support::async_pools::Pooled;
use crate::support::asynchronous::insert;
use crate::support::{PATIENCE, Wait, unique};

/// Something to do with a lock, from its beginning to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Run(Wait),
    TryRun,
    RunSerializable,
    RunInTransaction(Wait),
    RunFails,
    Xact(Wait),
    TryXact,
    Session(Wait),
    SessionInTransaction,
    SessionRun,
    TrySessionRun,
    Owned,
    /// Of one permit, which is the lock.
    Permits(Wait),
    Every,
    EverySession,
    EverySessionFails,
}

/// What follows the name of a lock in that of its first permit.
const PERMIT: &str = "\0#1";

impl Action {
    /// The name of a lock that no other test has.
    pub(crate) fn unique_lock(self, prefix: &str) -> String {
        match self {
            Self::Permits(_) => format!("{}{PERMIT}", unique(prefix)),
            _ => unique(prefix),
        }
    }

    pub(crate) fn can_wait(self) -> bool {
        !matches!(self, Self::TryRun | Self::TryXact | Self::TrySessionRun)
    }

    pub(crate) async fn perform(
        self,
        mut conn: Pooled,
        lock: &str,
        table: &str,
        inside: &Inside,
    ) -> Result<(), Error> {
        let work = async |conn: &mut AsyncPgConnection| work(conn, table).await;
        let conn_ref = &mut *conn;
        match self {
            Self::Run(wait) => wait.on(conn_ref.advisory(lock)).run(work).await,
            Self::TryRun => {
                let ran = conn_ref.advisory(lock).no_wait().try_run(work).await?;
                assert!(ran.is_some());
                Ok(())
            }
            Self::RunSerializable => conn_ref.advisory(lock).serializable().run(work).await,
            Self::RunFails => {
                let run = conn_ref.advisory(lock).run(async |conn| {
                    insert(conn, table, 1).await?;
                    Err::<(), _>(Error::Database(diesel::NotFound))
                });
                run.await.unwrap_err();
                Ok(())
            }
            Self::RunInTransaction(wait) => {
                let transaction = conn_ref.transaction(async |conn| {
                    inside.enter_diesel(false);
                    let ran = wait.on(conn.advisory(lock)).run(work).await;
                    inside.enter_diesel(true);
                    ran
                });
                inside.enter_diesel(true);
                transaction.await
            }
            Self::Xact(wait) => {
                let transaction = conn_ref.transaction(async |conn| {
                    inside.enter_diesel(false);
                    wait.on(conn.advisory_xact(lock)).acquire().await?;
                    inside.enter_diesel(true);
                    work(conn).await
                });
                inside.enter_diesel(true);
                transaction.await
            }
            Self::TryXact => {
                let transaction = conn_ref.transaction(async |conn| {
                    inside.enter_diesel(false);
                    assert!(conn.advisory_xact(lock).no_wait().try_acquire().await?);
                    inside.enter_diesel(true);
                    work(conn).await
                });
                inside.enter_diesel(true);
                transaction.await
            }
            Self::Session(wait) => {
                let mut held = wait.on(conn_ref.advisory_session(lock)).acquire().await?;
                work(&mut held).await?;
                held.release().await
            }
            Self::SessionInTransaction => {
                let mut held = conn_ref.advisory_session(lock).acquire().await?;
                (*held).transaction(work).await?;
                held.release().await
            }
            Self::SessionRun => conn_ref.advisory_session(lock).run(work).await,
            Self::TrySessionRun => {
                let ran = conn_ref.advisory_session(lock).no_wait();
                assert!(ran.try_run(work).await?.is_some());
                Ok(())
            }
            Self::Permits(wait) => {
                let name = lock.strip_suffix(PERMIT).unwrap();
                let lock = wait.on(conn_ref.advisory_session(name).permits(1));
                lock.run(work).await
            }
            Self::Every => {
                let run = conn_ref.advisory(lock).at_most_every(PATIENCE);
                run.run(work).await
            }
            Self::EverySession => {
                let run = conn_ref.advisory_session(lock).at_most_every(PATIENCE);
                run.run(work).await
            }
            Self::EverySessionFails => {
                let run = conn.into_advisory_session(lock).once().retry_failed();
                let run = run.run(async |conn| {
                    insert(conn, table, 1).await?;
                    Err::<(), _>(Error::Database(diesel::NotFound))
                });
                run.await.unwrap_err();
                Ok(())
            }
            Self::Owned => {
                let mut held = conn.into_advisory_session(lock).acquire().await?;
                assert!(held.is_held().await?);
                work(&mut held).await?;
                held.release().await
            }
        }
    }
}

pub(crate) const ACTIONS: [Action; 20] = [
    Action::Run(Wait::Inherit),
    Action::Run(Wait::AtMost(PATIENCE)),
    Action::TryRun,
    Action::RunSerializable,
    Action::RunInTransaction(Wait::Inherit),
    Action::RunInTransaction(Wait::AtMost(PATIENCE)),
    Action::RunFails,
    Action::Xact(Wait::Inherit),
    Action::Xact(Wait::AtMost(PATIENCE)),
    Action::TryXact,
    Action::Session(Wait::Inherit),
    Action::SessionInTransaction,
    Action::SessionRun,
    Action::TrySessionRun,
    Action::Owned,
    Action::Permits(Wait::Inherit),
    Action::Permits(Wait::AtMost(PATIENCE)),
    Action::Every,
    Action::EverySession,
    Action::EverySessionFails,
];

/// Whether the future that is dropped is one of a transaction that diesel-async has opened, and none of
/// ours inside of it.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    diesel: AtomicBool,
}

impl Inside {
    pub(crate) fn enter_diesel(&self, is_inside: bool) {
        self.diesel.store(is_inside, Ordering::SeqCst);
    }

    pub(crate) fn is_diesel(&self) -> bool {
        self.diesel.load(Ordering::SeqCst)
    }
}

/// Waits for the server, and for something else.
async fn work(conn: &mut AsyncPgConnection, table: &str) -> Result<(), Error> {
    insert(conn, table, 1).await?;
    tokio::task::yield_now().await;
    Ok(())
}
