//! A guard tells when its session has lost the lock, and not before.

use std::time::{Duration, Instant};

use diesel_advisory::{AsyncAdvisoryConnection, AsyncAdvisoryGuard, IntoAsyncAdvisorySession};
use diesel_advisory_sandbox::{Direction, Proxy, Sandbox};
use diesel_async::AsyncPgConnection;

use crate::support::asynchronous::{connect, connect_to, execute, pid, text};
use crate::support::{HOSTILE, PATIENCE, assert_free, hostile_database, unique};

/// Within which a loss has to be told.
const BOUND: Duration = Duration::from_secs(2);

/// The time that a busy machine takes to run what is ready.
const SLACK: Duration = Duration::from_secs(2);

/// How the lock is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    Kill,
    Crash,
    Stop,
    Cut,
    Release,
}

type Held = AsyncAdvisoryGuard<Box<AsyncPgConnection>>;

async fn acquire(url: &str, lock: &str) -> Held {
    let conn = Box::new(connect_to(url).await);
    conn.into_advisory_session(lock).acquire().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_told_within_the_bound() {
    for loss in [
        Loss::Kill,
        Loss::Crash,
        Loss::Stop,
        Loss::Cut,
        Loss::Release,
    ] {
        let own = Sandbox::start().unwrap();
        let proxy = own.proxy();
        let url = if loss == Loss::Cut {
            proxy.url()
        } else {
            own.url()
        };
        let lock = unique("lost");
        let mut held = acquire(url, &lock).await;
        let pid = pid(&mut held).await;
        if loss == Loss::Release {
            execute(&mut held, "SELECT pg_advisory_unlock_all()").await;
        }

        let watching = tokio::spawn(async move {
            held.lost(BOUND).await;
            (held, Instant::now())
        });
        tokio::task::block_in_place(|| match loss {
            Loss::Kill => own.kill_backend(pid).unwrap(),
            Loss::Crash => own.crash().unwrap(),
            Loss::Stop => own.stop().unwrap(),
            Loss::Cut => proxy.cut(),
            Loss::Release => {}
        });
        let happened = Instant::now();
        let (mut held, told) = watching.await.unwrap();
        let took = told.saturating_duration_since(happened);
        assert!(took <= BOUND + SLACK, "{loss:?}: {took:?}");
        assert!(!held.is_held().await.is_ok_and(|held| held), "{loss:?}");
        assert!(held.release().await.is_err(), "{loss:?}");
    }
}

/// A connection that goes silent is as good as none: nobody says that it is gone.
#[tokio::test]
async fn a_server_that_does_not_answer_counts_as_lost() {
    let lock = unique("lost.silent");
    let mut held = acquire(Sandbox::shared().url(), &lock).await;
    let pid = pid(&mut held).await;
    let backend = Sandbox::shared().freeze_backend(pid).unwrap();
    let began = Instant::now();
    held.lost(BOUND).await;
    let took = began.elapsed();
    assert!(took <= BOUND + SLACK, "{took:?}");
    drop(backend);
    held.release().await.unwrap();
    assert_free(lock);
}

#[tokio::test]
async fn as_long_as_the_lock_is_held_nothing_is_told() {
    let lock = unique("lost.not");
    let mut conn = connect().await;
    let mut held = conn.advisory_session(&lock).acquire().await.unwrap();
    // Some ten questions are asked meanwhile, each with a second to be answered.
    let lost = async {
        tokio::select! {
            () = held.lost(Duration::from_secs(2)) => true,
            () = tokio::time::sleep(Duration::from_secs(3)) => false,
        }
    };
    assert!(!lost.await);
    // Dropped at whatever point, it does no harm.
    for polls in 0..20 {
        let dropped = tokio::time::timeout(
            Duration::from_micros(200 * polls),
            held.lost(Duration::from_secs(60)),
        );
        dropped.await.unwrap_err();
    }
    assert!(held.is_held().await.unwrap());
    held.release().await.unwrap();
    assert_free(lock);
}

/// Waits until so many questions were sent, and tells when that was.
async fn asked(proxy: &Proxy, count: usize) -> Instant {
    let asked = async {
        while proxy.sent().len() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Instant::now()
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_is_slower_than_the_bound_is_no_loss() {
    let (proxy, lock) = (Sandbox::shared().proxy(), unique("lost.slow"));
    let mut held = acquire(proxy.url(), &lock).await;
    // Longer than the bound, and than what it is rounded up to.
    proxy.delay(Direction::Both, Duration::from_millis(150));
    proxy.reset();
    tokio::select! {
        () = held.lost(Duration::from_millis(1)) => panic!("told after {} questions", proxy.sent().len()),
        _ = asked(&proxy, 8) => {}
    }
    proxy.delay(Direction::Both, Duration::ZERO);
    held.release().await.unwrap();
    assert_free(lock);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bound_counts_from_the_last_question_that_was_answered() {
    /// Less than a round trip, which an answer comes later than its question.
    const SLACK: Duration = Duration::from_millis(500);

    let (proxy, lock) = (Sandbox::shared().proxy(), unique("lost.bound"));
    let mut held = acquire(proxy.url(), &lock).await;
    proxy.delay(Direction::Both, Duration::from_millis(300));
    proxy.reset();
    let watching = tokio::spawn(async move {
        held.lost(BOUND).await;
        Instant::now()
    });
    let last_answered = asked(&proxy, 2).await;
    asked(&proxy, 3).await;
    proxy.swallow(Direction::ToClient);
    let took = watching.await.unwrap() - last_answered;
    assert!(took <= BOUND + SLACK, "{took:?}");
}

/// Every function, operator and type has a double that comes first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_hostile_search_path_no_loss_is_told_but_a_true_one() {
    let url = hostile_database();
    let mut held = acquire(&url, "lost.hostile").await;
    let pid = pid(&mut held).await;
    execute(&mut held, HOSTILE).await;
    // When the session has last been asked, and has answered.
    let since = format!(
        "SELECT coalesce(max(state_change), 'epoch')::text AS value FROM pg_stat_activity \
         WHERE pid = {pid} AND state = 'idle' AND query LIKE '%pg_locks%'"
    );
    let mut other = connect_to(&url).await;
    let three_answers = async {
        let mut answers = std::collections::BTreeSet::new();
        while answers.len() < 4 {
            answers.insert(text(&mut other, &since).await);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = held.lost(Duration::from_secs(1)) => panic!("no loss"),
        () = three_answers => {}
    }
    execute(&mut held, "SELECT pg_catalog.pg_advisory_unlock_all()").await;
    tokio::time::timeout(PATIENCE, held.lost(BOUND))
        .await
        .unwrap();
}

/// What it is for: work that is stopped when it is not protected any more.
#[tokio::test]
async fn work_in_the_other_branch_is_stopped() {
    let lock = unique("lost.select");
    let mut held = acquire(Sandbox::shared().url(), &lock).await;
    let pid = pid(&mut held).await;
    let task = tokio::spawn(async move {
        tokio::select! {
            () = held.lost(BOUND) => "stopped",
            () = std::future::pending() => "done",
        }
    });
    let kill = tokio::task::spawn_blocking(move || Sandbox::shared().kill_backend(pid));
    kill.await.unwrap().unwrap();
    assert_eq!(task.await.unwrap(), "stopped");
    assert_free(lock);
}
