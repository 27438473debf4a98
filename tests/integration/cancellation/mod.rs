//! A future that is dropped, at whatever point, leaves nothing behind.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use diesel::QueryResult;
use diesel_advisory::{
    AsyncAdvisoryConnection, AsyncAdvisoryGuard, Error, IntoAsyncAdvisorySession, LockId, LockKey,
};
use diesel_advisory_sandbox::Sandbox;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use tokio::sync::oneshot;

use crate::support::async_pools::{Kind, PoolOfOne, Pooled};
use crate::support::asynchronous::{connect, execute, insert, integer, table};
use crate::support::{PATIENCE, Wait, committed, unique};

/// Within which another session has the lock.
const BOUND: Duration = Duration::from_secs(2);

/// Something to do with a lock, from its beginning to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
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
}

const ACTIONS: [Action; 15] = [
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
];

impl Action {
    fn can_wait(self) -> bool {
        !matches!(self, Self::TryRun | Self::TryXact | Self::TrySessionRun)
    }

    async fn perform(
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
            Self::Owned => {
                let mut held = conn.into_advisory_session(lock).acquire().await?;
                assert!(held.is_held().await?);
                work(&mut held).await?;
                held.release().await
            }
        }
    }
}

/// Whether the future that is dropped is one of a transaction that diesel-async has opened, and none of
/// ours inside of it.
#[derive(Debug, Default)]
struct Inside {
    diesel: AtomicBool,
}

impl Inside {
    fn enter_diesel(&self, is_inside: bool) {
        self.diesel.store(is_inside, Ordering::SeqCst);
    }

    fn is_diesel(&self) -> bool {
        self.diesel.load(Ordering::SeqCst)
    }
}

/// Waits for the server, and for something else.
async fn work(conn: &mut AsyncPgConnection, table: &str) -> Result<(), Error> {
    insert(conn, table, 1).await?;
    tokio::task::yield_now().await;
    Ok(())
}

/// When a future that has been polled often enough is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// While the server has just been asked.
    AtOnce,
    /// When it could go on.
    Woken,
}

/// Polls a future so many times at most, and answers `None` if that is not enough.
struct Polls<F> {
    future: Pin<Box<F>>,
    left: usize,
    moment: Moment,
}

impl<F: Future> Polls<F> {
    fn at_most(polls: usize, moment: Moment, future: F) -> Self {
        Self {
            future: Box::pin(future),
            left: polls,
            moment,
        }
    }
}

impl<F: Future> Future for Polls<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        match self.future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.left == 0 && self.moment == Moment::AtOnce => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Sessions that look on.
struct Witness {
    conn: AsyncPgConnection,
    holder: AsyncPgConnection,
}

impl Witness {
    async fn new() -> Self {
        Self {
            conn: connect().await,
            holder: connect().await,
        }
    }

    /// Holds a lock until [`let_go`](Self::let_go).
    async fn hold(&mut self, lock: &str) {
        let Some(LockKey::BigInt(key)) = LockId::from(lock).key() else {
            panic!("it has a name");
        };
        execute(&mut self.holder, &format!("SELECT pg_advisory_lock({key})")).await;
    }

    async fn let_go(&mut self) {
        execute(&mut self.holder, "SELECT pg_advisory_unlock_all()").await;
    }

    /// Waits until somebody waits for the lock.
    async fn queued(&mut self, lock: &str) {
        let (classid, objid, objsubid) = LockId::from(lock).key().unwrap().to_pg_locks();
        let sql = format!(
            "SELECT count(*)::int AS value FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
             AND classid = '{classid}' AND objid = '{objid}' AND objsubid = {objsubid}"
        );
        let until_queued = async {
            while integer(&mut self.conn, &sql).await == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, until_queued).await;
        assert!(in_time.is_ok(), "nobody waits");
    }

    /// Another session takes the lock, and soon.
    async fn assert_soon_free(&mut self, lock: &str, case: &str) {
        let lock = self.conn.advisory(lock).timeout(BOUND);
        let taken = lock.run(async |_| Ok::<_, Error>(())).await;
        taken.unwrap_or_else(|error| panic!("{case}: {error}"));
    }

    /// What the pool gives next is as good as new.
    async fn assert_next_is_clean(&mut self, pool: &PoolOfOne, lock: &str, case: &str) {
        let next = async {
            let mut conn = pool.get().await;
            let pid = integer(&mut conn, "SELECT pg_backend_pid() AS value").await;
            let sql = format!(
                "SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = {pid})::int \
                 + (SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND pid = {pid})::int \
                 AS value"
            );
            assert_eq!(integer(&mut self.conn, &sql).await, 0, "{case}: not clean");
            let run = conn.advisory(lock).timeout(BOUND);
            let ran =
                run.run(async |conn| Ok::<_, Error>(integer(conn, "SELECT 7 AS value").await));
            assert_eq!(ran.await.unwrap(), 7, "{case}");
        };
        let in_time = tokio::time::timeout(PATIENCE, next).await;
        assert!(in_time.is_ok(), "{case}: the pool gives no connection");
    }

    /// What holds after every future that was dropped.
    async fn assert_nothing_left(
        &mut self,
        kind: Kind,
        pool: PoolOfOne,
        inside: &Inside,
        lock: &str,
        case: &str,
    ) {
        match kind {
            // It throws away what diesel-async calls broken not before it would give it out again.
            Kind::Deadpool if inside.is_diesel() => {
                self.assert_next_is_clean(&pool, lock, case).await;
                self.assert_soon_free(lock, case).await;
            }
            // It keeps what diesel-async calls broken: `Manager::validate` says the opposite there of what
            // mobc asks.
            Kind::Mobc if inside.is_diesel() => {
                drop(pool);
                self.assert_soon_free(lock, case).await;
            }
            _ => {
                self.assert_soon_free(lock, case).await;
                self.assert_next_is_clean(&pool, lock, case).await;
            }
        }
    }
}

async fn drop_at_every_point(kind: Kind) {
    let mut witness = Witness::new().await;
    let table = table(&mut connect().await).await;
    for action in ACTIONS {
        for moment in [Moment::AtOnce, Moment::Woken] {
            let mut polls = 0;
            loop {
                let case = format!("{kind:?}, {action:?}, {moment:?}, {polls} polls");
                let (lock, inside) = (unique("cancellation.free"), Inside::default());
                let pool = kind.pool_of_one(Sandbox::shared().url()).await;
                let whole = async {
                    let conn = pool.get().await;
                    action.perform(conn, &lock, &table, &inside).await
                };
                let done = Polls::at_most(polls, moment, whole).await;
                witness
                    .assert_nothing_left(kind, pool, &inside, &lock, &case)
                    .await;
                if let Some(result) = done {
                    result.unwrap_or_else(|error| panic!("{case}: {error}"));
                    break;
                }
                polls += 1;
            }
            // It has waited for the lock and for the end of it, at least.
            assert!(
                polls >= 3,
                "{kind:?}, {action:?}, {moment:?}: {polls} polls"
            );
        }
    }
}

async fn drop_at_every_point_before_the_grant(kind: Kind) {
    let mut witness = Witness::new().await;
    let table = table(&mut connect().await).await;
    for action in ACTIONS.into_iter().filter(|action| action.can_wait()) {
        for polls in 0.. {
            let case = format!("{kind:?}, {action:?}, {polls} polls");
            let (lock, inside) = (unique("cancellation.held"), Inside::default());
            witness.hold(&lock).await;
            let pool = kind.pool_of_one(Sandbox::shared().url()).await;
            let whole = async {
                let conn = pool.get().await;
                action.perform(conn, &lock, &table, &inside).await
            };
            let waits = tokio::select! {
                done = Polls::at_most(polls, Moment::AtOnce, whole) => {
                    assert!(done.is_none(), "{case}: granted");
                    false
                }
                () = witness.queued(&lock) => true,
            };
            witness.let_go().await;
            witness
                .assert_nothing_left(kind, pool, &inside, &lock, &case)
                .await;
            if waits {
                break;
            }
        }
    }
}

#[tokio::test]
async fn at_every_point_with_bb8() {
    drop_at_every_point(Kind::Bb8).await;
}

#[tokio::test]
async fn at_every_point_with_deadpool() {
    drop_at_every_point(Kind::Deadpool).await;
}

#[tokio::test]
async fn at_every_point_with_mobc() {
    drop_at_every_point(Kind::Mobc).await;
}

#[tokio::test]
async fn at_every_point_before_the_grant_with_bb8() {
    drop_at_every_point_before_the_grant(Kind::Bb8).await;
}

#[tokio::test]
async fn at_every_point_before_the_grant_with_deadpool() {
    drop_at_every_point_before_the_grant(Kind::Deadpool).await;
}

#[tokio::test]
async fn at_every_point_before_the_grant_with_mobc() {
    drop_at_every_point_before_the_grant(Kind::Mobc).await;
}

/// The ways in which programs drop futures.
#[derive(Debug, Clone, Copy)]
enum Way {
    Timeout,
    Select,
    Abort,
}

impl Way {
    const ALL: [Self; 3] = [Self::Timeout, Self::Select, Self::Abort];

    /// Drops the future when the other one is done.
    async fn drop_after<T: Send + 'static>(
        self,
        done: impl Future<Output = ()>,
        future: impl Future<Output = T> + Send + 'static,
    ) {
        match self {
            Self::Timeout => {
                let mut timeout =
                    Box::pin(tokio::time::timeout(Duration::from_millis(300), future));
                tokio::select! {
                    result = &mut timeout => assert!(result.is_err()),
                    () = done => assert!(timeout.await.is_err()),
                }
            }
            Self::Select => tokio::select! {
                _ = future => panic!("it should wait"),
                () = done => {}
            },
            Self::Abort => {
                let task = tokio::spawn(future);
                done.await;
                task.abort();
                let Err(error) = task.await else {
                    panic!("it should wait");
                };
                assert!(error.is_cancelled());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_every_way_while_it_waits() {
    let mut witness = Witness::new().await;
    let table = table(&mut connect().await).await;
    for kind in Kind::ALL {
        for way in Way::ALL {
            for action in ACTIONS.into_iter().filter(|action| action.can_wait()) {
                let case = format!("{kind:?}, {way:?}, {action:?}");
                let lock = unique("cancellation.waits");
                let pool = kind.pool_of_one(Sandbox::shared().url()).await;
                witness.hold(&lock).await;
                let (conn, name, table) = (pool.get().await, lock.clone(), table.clone());
                let inside = Inside::default();
                let waits = async move { action.perform(conn, &name, &table, &inside).await };
                way.drop_after(witness.queued(&lock), waits).await;
                witness.let_go().await;
                witness
                    .assert_nothing_left(kind, pool, &Inside::default(), &lock, &case)
                    .await;
            }
        }
    }
}

/// Holds a lock in some scope, and waits for what never comes.
async fn hang(action: Action, mut conn: Pooled, lock: &str, entered: oneshot::Sender<()>) {
    let never = async |_: &mut AsyncPgConnection| {
        entered.send(()).unwrap();
        pending::<Result<(), Error>>().await
    };
    let conn_ref = &mut *conn;
    let ended = match action {
        Action::RunInTransaction(_) => {
            let transaction =
                conn_ref.transaction(async |conn| conn.advisory(lock).run(never).await);
            transaction.await
        }
        Action::Xact(_) => {
            let transaction = conn_ref.transaction(async |conn| {
                conn.advisory_xact(lock).acquire().await?;
                never(conn).await
            });
            transaction.await
        }
        Action::Session(_) => {
            let mut held = conn_ref.advisory_session(lock).acquire().await.unwrap();
            never(&mut held).await
        }
        Action::SessionRun => conn_ref.advisory_session(lock).run(never).await,
        Action::Owned => {
            let mut held = conn.into_advisory_session(lock).acquire().await.unwrap();
            never(&mut held).await
        }
        _ => conn_ref.advisory(lock).run(never).await,
    };
    panic!("{action:?} has ended: {ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_every_way_while_the_closure_hangs() {
    let mut witness = Witness::new().await;
    for kind in Kind::ALL {
        for way in Way::ALL {
            for action in [
                Action::Run(Wait::Inherit),
                Action::RunInTransaction(Wait::Inherit),
                Action::Xact(Wait::Inherit),
                Action::Session(Wait::Inherit),
                Action::SessionRun,
                Action::Owned,
            ] {
                let case = format!("{kind:?}, {way:?}, {action:?}");
                let lock = unique("cancellation.hangs");
                let pool = kind.pool_of_one(Sandbox::shared().url()).await;
                let (entered, has_entered) = oneshot::channel();
                let (conn, name) = (pool.get().await, lock.clone());
                let hangs = async move { hang(action, conn, &name, entered).await };
                way.drop_after(async { has_entered.await.unwrap() }, hangs)
                    .await;
                let inside = Inside::default();
                inside.enter_diesel(matches!(action, Action::Xact(_)));
                witness
                    .assert_nothing_left(kind, pool, &inside, &lock, &case)
                    .await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_the_closure() {
    let mut witness = Witness::new().await;
    for kind in Kind::ALL {
        for action in [Action::Run(Wait::Inherit), Action::SessionRun] {
            let case = format!("{kind:?}, {action:?}");
            let lock = unique("cancellation.panic");
            let pool = kind.pool_of_one(Sandbox::shared().url()).await;
            let (mut conn, name) = (pool.get().await, lock.clone());
            let panics = tokio::spawn(async move {
                let panics = async |_: &mut AsyncPgConnection| -> Result<(), Error> {
                    std::panic::panic_any("on purpose")
                };
                match action {
                    Action::SessionRun => conn.advisory_session(&name).run(panics).await,
                    _ => conn.advisory(&name).run(panics).await,
                }
            });
            let panic = panics.await.unwrap_err().into_panic();
            assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
            witness
                .assert_nothing_left(kind, pool, &Inside::default(), &lock, &case)
                .await;
        }
    }
}

#[tokio::test]
async fn a_guard_that_is_dropped() {
    let mut witness = Witness::new().await;
    for kind in Kind::ALL {
        for in_transaction in ["", "BEGIN", "BEGIN; SAVEPOINT a"] {
            for fails in [false, true] {
                let case = format!("{kind:?}, {in_transaction:?}, fails: {fails}");
                let lock = unique("cancellation.guard");
                let pool = kind.pool_of_one(Sandbox::shared().url()).await;
                let lock_of_pool = pool.get().await.into_advisory_session(&lock);
                let mut held = lock_of_pool.acquire().await.unwrap();
                begin_through_diesel(&mut held, in_transaction).await;
                if fails {
                    let failed = held.batch_execute("SELECT 1 / 0").await;
                    failed.unwrap_err();
                }
                drop(held);
                witness
                    .assert_nothing_left(kind, pool, &Inside::default(), &lock, &case)
                    .await;
            }
        }
    }
}

async fn begin_through_diesel<D>(held: &mut AsyncAdvisoryGuard<D>, sql: &str)
where
    D: std::ops::DerefMut<Target = AsyncPgConnection> + Send,
{
    use diesel_async::{AnsiTransactionManager, TransactionManager};

    for _ in sql.split_terminator(';') {
        let begun = AnsiTransactionManager::begin_transaction(&mut **held).await;
        begun.unwrap();
    }
}

#[tokio::test]
async fn a_connection_outside_of_any_pool_ends_its_locks_when_it_is_dropped() {
    let mut witness = Witness::new().await;
    for hold in ["run", "session", "wait"] {
        let lock = unique("cancellation.plain");
        let mut conn = connect().await;
        if hold == "wait" {
            witness.hold(&lock).await;
        }
        let (entered, has_entered) = oneshot::channel();
        let never = async |_: &mut AsyncPgConnection| {
            entered.send(()).unwrap();
            pending::<Result<(), Error>>().await
        };
        let hangs = async {
            if hold == "session" {
                conn.advisory_session(&lock).run(never).await
            } else {
                conn.advisory(&lock).run(never).await
            }
        };
        let dropped_when = async {
            if hold == "wait" {
                witness.queued(&lock).await;
            } else {
                has_entered.await.unwrap();
            }
        };
        tokio::select! {
            result = hangs => panic!("{hold}: {result:?}"),
            () = dropped_when => {}
        }
        drop(conn);
        witness.let_go().await;
        witness.assert_soon_free(&lock, hold).await;
    }
}

/// The code around it may not know that something inside of it was dropped.
#[tokio::test]
async fn inside_of_a_transaction_nothing_can_be_committed_any_more() {
    let mut witness = Witness::new().await;
    for scope in ["run", "xact"] {
        for moment in [Moment::AtOnce, Moment::Woken] {
            for polls in 1.. {
                let case = format!("{scope}, {moment:?}, {polls} polls");
                let (before, lock) = (unique("cancellation.before"), unique("cancellation.inner"));
                let mut conn = connect().await;
                let table = table(&mut conn).await;
                let mut completed = false;
                let transaction = conn.transaction(async |conn| {
                    conn.advisory_xact(&before).acquire().await?;
                    insert(conn, &table, 1).await?;
                    completed = if scope == "run" {
                        let run = conn
                            .advisory(&lock)
                            .run(async |conn| insert(conn, &table, 2).await);
                        Polls::at_most(polls, moment, run).await.is_some()
                    } else {
                        let acquire = conn.advisory_xact(&lock).acquire();
                        Polls::at_most(polls, moment, acquire).await.is_some()
                    };
                    // One that ignores errors too.
                    drop(insert(conn, &table, 3).await);
                    drop(insert(conn, &table, 4).await);
                    QueryResult::Ok(())
                });
                let result = transaction.await;
                if completed {
                    result.unwrap_or_else(|error| panic!("{case}: {error}"));
                    break;
                }
                assert!(result.is_err(), "{case}");
                assert_eq!(committed(&table), [], "{case}");
                witness.assert_soon_free(&before, &case).await;
                witness.assert_soon_free(&lock, &case).await;
            }
        }
    }
}

/// PostgreSQL counts session locks: what was taken once must not be released twice, behind the back of
/// a guard that holds it still.
#[tokio::test]
async fn of_a_lock_taken_twice_both_are_left_or_the_session_ends() {
    let mut witness = Witness::new().await;
    for moment in [Moment::AtOnce, Moment::Woken] {
        for polls in 0.. {
            let case = format!("{moment:?}, {polls} polls");
            let lock = unique("cancellation.twice");
            let mut conn = connect().await;
            let mut outer = conn.advisory_session(&lock).acquire().await.unwrap();
            let inner = async {
                let inner = outer.advisory_session(&lock).acquire().await?;
                inner.release().await
            };
            let done = Polls::at_most(polls, moment, inner).await;
            if done.is_some() || polls == 0 {
                assert!(outer.is_held().await.unwrap(), "{case}");
                outer.release().await.unwrap();
            } else {
                outer.is_held().await.unwrap_err();
                outer.release().await.unwrap_err();
            }
            witness.assert_soon_free(&lock, &case).await;
            if done.is_some() {
                break;
            }
        }
    }
}

/// So what is sent on it after that is not taken for a part of what was dropped.
#[tokio::test]
async fn a_connection_outside_of_any_pool_is_closed() {
    let mut witness = Witness::new().await;
    for scope in ["run", "session"] {
        for moment in [Moment::AtOnce, Moment::Woken] {
            for polls in 1.. {
                let case = format!("{scope}, {moment:?}, {polls} polls");
                let lock = unique("cancellation.closed");
                let mut conn = connect().await;
                let table = table(&mut conn).await;
                let work = async |conn: &mut AsyncPgConnection| insert(conn, &table, 1).await;
                let done = if scope == "run" {
                    let run = conn.advisory(&lock).run(work);
                    Polls::at_most(polls, moment, run).await.is_some()
                } else {
                    let acquire = conn.advisory_session(&lock).acquire();
                    Polls::at_most(polls, moment, acquire).await.is_some()
                };
                let closed = insert(&mut conn, &table, 2).await.is_err();
                assert_eq!(closed, !done, "{case}");
                witness.assert_soon_free(&lock, &case).await;
                if done {
                    break;
                }
            }
        }
    }
}
