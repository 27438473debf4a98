//! One fault at a time.

use std::time::{Duration, Instant};

use diesel_advisory::{Error, HowLost, Lease};
use diesel_advisory_sandbox::{Direction, Sandbox};

use super::{COLOURS, Colour, asynchronous, lease};
use crate::support::*;

const TTL: Duration = Duration::from_secs(1);

/// The time that a busy machine takes to run what is ready.
const SLACK: Duration = Duration::from_secs(1);

/// Nobody says that the connection is gone, so the time tells: at the latest a time to live after the last
/// question that was answered was sent. And `run` does not wait for the network.
#[test]
fn a_black_hole_is_told_in_time() {
    for colour in COLOURS {
        for direction in [Direction::ToServer, Direction::ToClient, Direction::Both] {
            let proxy = std::sync::Arc::new(Sandbox::shared().proxy());
            let (lock, url) = (unique("faults.hole"), proxy.url().to_owned());
            let hole = std::sync::Arc::clone(&proxy);
            let (tell, told) = std::sync::mpsc::channel();
            let ran = lease(colour, &url, &lock, TTL, PATIENCE, move |lease| {
                hole.swallow(direction);
                let began = Instant::now();
                while lease.is_held() {
                    std::thread::sleep(Duration::from_millis(1));
                }
                tell.send((began, began.elapsed())).unwrap();
                lease.check()
            });
            let (began, took) = told.recv().unwrap();
            assert!(
                matches!(&ran, Err(Error::Lost(lost)) if lost.how == HowLost::Time),
                "{colour:?} {direction:?}: {ran:?}"
            );
            assert!(
                took <= TTL + SLACK / 4,
                "{colour:?} {direction:?}: {took:?}"
            );
            let back = began.elapsed();
            assert!(
                back <= 2 * TTL + SLACK,
                "{colour:?} {direction:?}: {back:?}"
            );
            // The server throws out the silent session.
            wait_until_free(lock);
            drop(proxy);
        }
    }
}

/// The work is dropped where it is, without being asked.
#[tokio::test]
async fn asynchronous_work_is_dropped_when_the_lease_is_lost() {
    use diesel_advisory::IntoAsyncAdvisorySession;

    struct Dropped(std::sync::mpsc::Sender<Instant>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.send(Instant::now()).unwrap();
        }
    }

    let proxy = Sandbox::shared().proxy();
    let lock = unique("faults.dropped");
    let conn = Box::new(asynchronous::connect_to(proxy.url()).await);
    let (tell, told) = std::sync::mpsc::channel();
    let run = conn.into_advisory_session(&lock).lease(TTL);
    let ran = run.run(async |lease| -> Result<(), Error> {
        let _dropped = Dropped(tell);
        let task = tokio::spawn(lease.lost());
        proxy.swallow(Direction::Both);
        task.await.unwrap();
        assert!(!lease.is_held());
        std::future::pending().await
    });
    let began = Instant::now();
    let ran = ran.await;
    assert!(matches!(ran, Err(Error::Lost(_))), "{ran:?}");
    let dropped = told.recv().unwrap().duration_since(began);
    assert!(dropped <= TTL + SLACK, "{dropped:?}");
    wait_until_free(lock);
}

/// Dropped in the middle, a lease frees its lock at once.
#[tokio::test]
async fn a_dropped_run_frees_the_lock() {
    use diesel_advisory::IntoAsyncAdvisorySession;

    for _ in 0..20 {
        let lock = unique("faults.cancelled");
        let conn = Box::new(asynchronous::connect().await);
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel::<Lease>();
        let task = tokio::spawn({
            let lock = lock.clone();
            async move {
                let run = conn.into_advisory_session(lock).lease(60 * TTL);
                run.run(async |lease| -> Result<(), Error> {
                    tell.send(lease).unwrap();
                    std::future::pending().await
                })
                .await
            }
        });
        let kept = told.recv().await.unwrap();
        assert!(kept.is_held());
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(!kept.is_held());
        let free = tokio::task::spawn_blocking(|| wait_until_free(lock));
        free.await.unwrap();
    }
}

#[test]
fn a_panic_frees_the_lock() {
    for colour in COLOURS {
        let lock = unique("faults.panic");
        let url = Sandbox::shared().url();
        let panicked = std::panic::catch_unwind(|| {
            lease(colour, url, &lock, 60 * TTL, PATIENCE, |_| {
                panic!("on purpose")
            })
        });
        assert!(panicked.is_err(), "{colour:?}");
        match colour {
            Colour::Blocking => assert_free(lock),
            Colour::Async => wait_until_free(lock),
        }
    }
}

/// A server process that is stopped keeps the lock, and its holder is told all the same.
#[test]
fn a_stopped_backend_is_told_in_time() {
    for colour in COLOURS {
        let lock = unique("faults.backend");
        let url = Sandbox::shared().url();
        let is_lock = is_lock(lock.clone());
        let began = Instant::now();
        let ran = lease(colour, url, &lock, TTL, PATIENCE, move |lease| {
            let holders = format!("SELECT pid AS value FROM pg_locks WHERE {is_lock}");
            let pid = integer(&mut connect(), &holders);
            let frozen = Sandbox::shared().freeze_backend(pid).unwrap();
            while lease.is_held() {
                std::thread::sleep(Duration::from_millis(1));
            }
            drop(frozen);
            lease.check()
        });
        assert!(matches!(ran, Err(Error::Lost(_))), "{colour:?}: {ran:?}");
        let took = began.elapsed();
        assert!(took <= 2 * TTL + 2 * SLACK, "{colour:?}: {took:?}");
        wait_until_free(lock);
    }
}

/// A network that is slow, but not too slow, costs no lease.
#[test]
fn a_slow_network_is_survived() {
    for colour in COLOURS {
        let proxy = Sandbox::shared().proxy();
        let (lock, url) = (unique("faults.slow"), proxy.url().to_owned());
        proxy.delay(Direction::Both, TTL / 20);
        let ran = lease(colour, &url, &lock, TTL, PATIENCE, |lease| {
            let began = Instant::now();
            while lease.is_held() && began.elapsed() < 3 * TTL {
                std::thread::sleep(Duration::from_millis(5));
            }
            lease.check()
        });
        ran.unwrap();
        assert_free(lock);
    }
}
