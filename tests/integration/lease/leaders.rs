//! Leaders: who leads when, and what is told of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel_advisory::inspect::{self, Lock};
use diesel_advisory::{AsyncLeader, Change, Error, Leader, Lease, Shutdown};
use diesel_advisory_sandbox::{Direction, Sandbox};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, bb8};
use diesel_async::{AsyncConnection, AsyncPgConnection};

use super::{COLOURS, Colour};
use crate::support::*;

const TTL: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(50);

/// The time that a busy machine takes to run what is ready.
const SLACK: Duration = Duration::from_secs(2);

/// A leader that runs in a thread.
struct Running {
    thread: Option<JoinHandle<Result<Option<u32>, Error>>>,
    changes: Arc<Mutex<Vec<(Instant, String)>>>,
    stop: Option<Stop>,
}

enum Stop {
    Blocking(Shutdown),
    Async(tokio::sync::oneshot::Sender<()>),
}

/// How to lead, beside the defaults of the tests.
#[derive(Clone)]
struct Options {
    url: String,
    lock: String,
    identity: String,
    lock_delay: bool,
    /// How often it fails to connect first.
    failures: usize,
}

impl Options {
    fn new(lock: &str, identity: &str) -> Self {
        Self {
            url: Sandbox::shared().url().to_owned(),
            lock: lock.to_owned(),
            identity: identity.to_owned(),
            lock_delay: false,
            failures: 0,
        }
    }
}

impl Running {
    fn start(
        colour: Colour,
        options: Options,
        work: impl Fn(Lease) -> Result<u32, Error> + Clone + Send + 'static,
    ) -> Self {
        let changes = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&changes);
        let on_change = move |change: Change<'_>| {
            heard
                .lock()
                .unwrap()
                .push((Instant::now(), change.to_string()));
        };
        let failed = Arc::new(AtomicUsize::new(0));
        let fails = move || failed.fetch_add(1, Ordering::SeqCst) < options.failures;
        let Options {
            url,
            lock,
            identity,
            lock_delay,
            ..
        } = options;
        let (thread, stop) = match colour {
            Colour::Blocking => {
                let shutdown = Shutdown::default();
                let stop = Stop::Blocking(shutdown.clone());
                let thread = std::thread::spawn(move || {
                    let leader = Leader::new(lock)
                        .time_to_live(TTL)
                        .retry(RETRY)
                        .identity(identity)
                        .lock_delay(lock_delay)
                        .on_change(on_change);
                    let connect = || {
                        if fails() {
                            return Err(ConnectionError::BadConnection("on purpose".into()));
                        }
                        PgConnection::establish(&url).map(Box::new)
                    };
                    leader.run(connect, &shutdown, work)
                });
                (thread, stop)
            }
            Colour::Async => {
                let (stop, stopped) = tokio::sync::oneshot::channel();
                let thread = std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_multi_thread()
                        .worker_threads(1)
                        .enable_all()
                        .build()
                        .unwrap();
                    let leader = AsyncLeader::new(lock)
                        .time_to_live(TTL)
                        .retry(RETRY)
                        .identity(identity)
                        .lock_delay(lock_delay)
                        .on_change(on_change);
                    let run = leader.run(
                        async move || {
                            if fails() {
                                return Err(ConnectionError::BadConnection("on purpose".into()));
                            }
                            AsyncPgConnection::establish(&url).await.map(Box::new)
                        },
                        stopped,
                        async move |lease| {
                            tokio::task::spawn_blocking(move || work(lease))
                                .await
                                .unwrap()
                        },
                    );
                    // It can be spawned.
                    runtime.block_on(async { tokio::spawn(run).await.unwrap() })
                });
                (thread, Stop::Async(stop))
            }
        };
        Self {
            thread: Some(thread),
            changes,
            stop: Some(stop),
        }
    }

    fn changes(&self) -> Vec<String> {
        let changes = self.changes.lock().unwrap();
        changes.iter().map(|(_, change)| change.clone()).collect()
    }

    /// When a change of this kind was told for the n-th time.
    fn wait_for(&self, begins: &str, n: usize) -> Instant {
        let find = || {
            let changes = self.changes.lock().unwrap();
            let mut of_kind = changes
                .iter()
                .filter(|(_, change)| change.starts_with(begins));
            of_kind.nth(n - 1).map(|(at, _)| *at)
        };
        wait_until(begins, || find().is_some());
        find().unwrap()
    }

    fn shut_down(&mut self) {
        match self.stop.take() {
            Some(Stop::Blocking(shutdown)) => shutdown.shut_down(),
            Some(Stop::Async(stop)) => drop(stop.send(())),
            None => {}
        }
    }

    fn join(&mut self) -> Result<Option<u32>, Error> {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shut_down();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Works until it is told that it does not lead.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is called with a lease of its own"
)]
fn work_on(lease: Lease) -> Result<u32, Error> {
    while lease.is_held() {
        std::thread::sleep(Duration::from_millis(1));
    }
    lease.check().map(|()| 0)
}

fn leader_of(lock: &str) -> Option<Lock> {
    let leader = inspect::leader(lock).first(&mut connect());
    leader.optional().unwrap()
}

#[test]
fn one_leads_and_the_others_follow_it() {
    for colour in COLOURS {
        let lock = unique("leaders.follow");
        let mut one = Running::start(colour, Options::new(&lock, "web-1"), work_on);
        one.wait_for("leading", 1);
        let leader = leader_of(&lock).unwrap();
        assert_eq!(leader.application.as_deref(), Some("web-1"));
        let mut two = Running::start(colour, Options::new(&lock, "web-2"), |_| Ok(2));
        let pid = leader.pid.unwrap();
        two.wait_for(&format!("following pid {pid} (web-1)"), 1);

        one.shut_down();
        let down = Instant::now();
        assert_eq!(one.join().unwrap(), None, "{colour:?}");
        let leads = two.wait_for("leading", 1);
        assert!(leads <= down + RETRY + SLACK, "{colour:?}");
        assert_eq!(two.join().unwrap(), Some(2), "{colour:?}");
        let told = |running: &Running| -> Vec<_> {
            let changes = running.changes().into_iter();
            changes
                .map(|change| change.split(' ').next().unwrap().to_owned())
                .collect()
        };
        assert_eq!(told(&one), ["campaigning", "leading"], "{colour:?}");
        assert_eq!(told(&two), ["campaigning", "following", "leading"]);
        assert_free(lock.clone());
        assert!(leader_of(&lock).is_none());
    }
}

#[test]
fn a_leader_whose_session_was_ended_leads_again_with_a_larger_token() {
    for colour in COLOURS {
        let lock = unique("leaders.killed");
        let tokens = Arc::new(Mutex::new(Vec::new()));
        let of_terms = Arc::clone(&tokens);
        let mut running = Running::start(colour, Options::new(&lock, "web"), move |lease| {
            let token = lease.token()?;
            of_terms.lock().unwrap().push(token);
            if of_terms.lock().unwrap().len() == 3 {
                return Ok(3);
            }
            work_on(lease)
        });
        for term in 1..3 {
            running.wait_for("leading", term);
            let pid = leader_of(&lock).unwrap().pid.unwrap();
            Sandbox::shared().kill_backend(pid).unwrap();
            running.wait_for("lost the lead", term);
        }
        assert_eq!(running.join().unwrap(), Some(3), "{colour:?}");
        let tokens = tokens.lock().unwrap();
        assert!(tokens.is_sorted_by(|a, b| a < b), "{colour:?}: {tokens:?}");
        assert_free(lock);
    }
}

#[test]
fn failing_connects_are_told_with_growing_pauses_and_then_it_leads() {
    for colour in COLOURS {
        let lock = unique("leaders.failing");
        let mut options = Options::new(&lock, "web");
        options.failures = 5;
        let mut running = Running::start(colour, options, |_| Ok(1));
        assert_eq!(running.join().unwrap(), Some(1));
        let changes = running.changes.lock().unwrap().clone();
        let failed: Vec<_> = changes
            .iter()
            .filter(|(_, change)| change.starts_with("failed, and tries again: on purpose"))
            .map(|(at, _)| *at)
            .collect();
        assert_eq!(failed.len(), 5, "{colour:?}: {changes:?}");
        // The last pause is sixteen times the first, but for jitter and a busy machine.
        assert!(failed[4] - failed[3] > failed[1] - failed[0], "{failed:?}");
        assert!(failed[4] - failed[3] >= RETRY * 6, "{failed:?}");
    }
}

#[test]
fn a_leader_that_resigns_lets_another_lead_and_campaigns_again() {
    for colour in COLOURS {
        let lock = unique("leaders.resigns");
        let mut one = Running::start(colour, Options::new(&lock, "one"), |lease| {
            lease.resign();
            work_on(lease)
        });
        one.wait_for("resigned", 1);
        let two = Running::start(colour, Options::new(&lock, "two"), work_on);
        two.wait_for("leading", 1);
        one.wait_for("following", 1);
        one.shut_down();
        assert_eq!(one.join().unwrap(), None);
    }
}

/// The lock is released only then: otherwise the next one would work beside it.
#[test]
fn nobody_leads_before_blocking_work_has_returned_after_a_shutdown() {
    const GOES_ON: Duration = Duration::from_secs(2);

    let lock = unique("leaders.blocking");
    let returned = Arc::new(Mutex::new(None));
    let returns = Arc::clone(&returned);
    let options = Options::new(&lock, "slow");
    let mut slow = Running::start(Colour::Blocking, options, move |lease| {
        work_on(lease).unwrap_err();
        // Longer than the time to live: the questions go on.
        std::thread::sleep(GOES_ON);
        *returns.lock().unwrap() = Some(Instant::now());
        Ok(1)
    });
    slow.wait_for("leading", 1);
    let next = Running::start(Colour::Blocking, Options::new(&lock, "next"), work_on);
    next.wait_for("following", 1);
    slow.shut_down();
    assert_eq!(slow.join().unwrap(), None);
    let leads = next.wait_for("leading", 1);
    let returned = returned.lock().unwrap().unwrap();
    assert!(leads > returned);
    assert!(leads <= returned + RETRY + SLACK);
}

/// Also while it fails to connect, follows, or waits for the lock delay.
#[test]
fn a_candidate_is_shut_down_at_once() {
    for colour in COLOURS {
        let lock = unique("leaders.shutdown");
        let mut delayed = Options::new(&lock, "web");
        delayed.lock_delay = true;
        let mut running = Running::start(colour, delayed, |_| Ok(1));
        wait_until("it has the lock", || leader_of(&lock).is_some());
        running.shut_down();
        let began = Instant::now();
        assert_eq!(running.join().unwrap(), None, "{colour:?}");
        assert!(began.elapsed() < SLACK);
        wait_until_free(lock.clone());

        let mut failing = Options::new(&lock, "web");
        failing.failures = usize::MAX;
        let mut running = Running::start(colour, failing, |_| Ok(1));
        running.wait_for("failed", 4);
        running.shut_down();
        assert_eq!(running.join().unwrap(), None, "{colour:?}");

        let _holder = Holder::of(lock.clone());
        let mut running = Running::start(colour, Options::new(&lock, "web"), |_| Ok(1));
        running.wait_for("following", 1);
        running.shut_down();
        assert_eq!(running.join().unwrap(), None, "{colour:?}");
    }
}

/// The server's crash ends the leader's session, and the leader is cut off and does not hear of it.
#[test]
fn with_the_lock_delay_nobody_leads_beside_a_leader_that_missed_a_crash() {
    const CRASHES: usize = 6;

    let server = Sandbox::start().unwrap();
    for colour in COLOURS {
        for crash in 0..CRASHES {
            let lock = unique("leaders.crash");
            let proxy = server.proxy();
            let believed = Arc::new(Mutex::new(Instant::now()));
            let believes = Arc::clone(&believed);
            let mut old = Options::new(&lock, "old");
            proxy.url().clone_into(&mut old.url);
            let old = Running::start(colour, old, move |lease| {
                loop {
                    // Taken before the look, it is not later than what the lease said.
                    let now = Instant::now();
                    if !lease.is_held() {
                        return lease.check().map(|()| 0);
                    }
                    *believes.lock().unwrap() = now;
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            old.wait_for("leading", 1);
            let mut new = Options::new(&lock, "new");
            server.url().clone_into(&mut new.url);
            new.lock_delay = true;
            let new = Running::start(colour, new, work_on);
            new.wait_for("following", 1);
            proxy.swallow(Direction::Both);
            server.crash().unwrap();
            server.start_again().unwrap();
            let leads = new.wait_for("leading", 1);
            let believed = *believed.lock().unwrap();
            assert!(believed < leads, "{colour:?}, crash {crash}");
            proxy.resume();
            proxy.cut();
        }
    }
}

/// What the leader set on the connection is undone before it goes back to its pool.
#[tokio::test]
async fn a_leader_is_spawned_with_a_pool() {
    let lock = unique("leaders.pool");
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(Sandbox::shared().url());
    let pool = bb8::Pool::builder().max_size(1).build(manager);
    let pool = pool.await.unwrap();
    let (of_leader, name) = (pool.clone(), String::from("web-3"));
    let task = tokio::spawn(
        AsyncLeader::new(lock.clone())
            .time_to_live(TTL)
            .identity(name.clone())
            .lock_delay(false)
            .run(
                async move || of_leader.get_owned().await,
                std::future::pending::<()>(),
                async move |lease| {
                    tokio::task::yield_now().await;
                    lease.check()?;
                    Ok::<_, Error>(name)
                },
            ),
    );
    assert_eq!(task.await.unwrap().unwrap().as_deref(), Some("web-3"));
    let mut conn = pool.get().await.unwrap();
    let sql = "SELECT concat(current_setting('application_name'), \
               current_setting('idle_session_timeout')) AS value";
    let settings = crate::support::asynchronous::text(&mut conn, sql).await;
    assert_eq!(settings, "0");
    assert_free(lock);

    // By reference, where it is not spawned.
    let url = Sandbox::shared().url().to_owned();
    let outcome = AsyncLeader::new("leaders.borrowed")
        .lock_delay(false)
        .run(
            async || PoolError::of(AsyncPgConnection::establish(&url).await),
            tokio::time::sleep(PATIENCE),
            async |lease| lease.token(),
        )
        .await;
    assert!(outcome.unwrap().is_some());
}

/// An error that is not `Clone`, and nothing but an error.
#[derive(Debug, thiserror::Error)]
#[error("no connection")]
struct PoolError;

impl PoolError {
    fn of(conn: ConnectionResult<AsyncPgConnection>) -> Result<Box<AsyncPgConnection>, Self> {
        conn.map(Box::new).map_err(|_| Self)
    }
}
