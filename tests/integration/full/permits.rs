//! How fast permits go from hand to hand: compared with what would be ideal, and with a client that stands
//! still.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use diesel_advisory::{AdvisoryConnection, AsyncAdvisoryConnection};
use diesel_advisory_sandbox::{Sandbox, is_full_run};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::support::*;

/// Clients that hold a permit for 20 ms, again and again.
#[derive(Debug, Default)]
struct Clients {
    grants: AtomicUsize,
    over: AtomicBool,
}

impl Clients {
    fn client(&self, name: &str, permits: u32) {
        let mut conn = connect();
        while !self.over.load(Ordering::Relaxed) {
            let lock = conn.advisory_session(name).permits(permits);
            let mut held = lock.acquire().unwrap();
            execute(&mut held, "SELECT pg_sleep(0.02)");
            held.release().unwrap();
            self.grants.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How long so many grants take.
    fn time(&self, grants: usize) -> Duration {
        let until = self.grants.load(Ordering::Relaxed) + grants;
        let began = Instant::now();
        wait_until("so many permits were granted", || {
            self.grants.load(Ordering::Relaxed) >= until
        });
        began.elapsed()
    }
}

#[test]
fn three_permits_for_thirty_two_clients_are_seldom_idle() {
    const GRANTS: u32 = 300;

    if !is_full_run() {
        return;
    }
    let (name, clients) = (unique("permits.rate"), Clients::default());
    let took = thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| clients.client(&name, 3));
        }
        // All have connected.
        clients.time(64);
        let took = clients.time(GRANTS.try_into().unwrap());
        clients.over.store(true, Ordering::Relaxed);
        took
    });
    let ideal = Duration::from_millis(20) * GRANTS / 3;
    eprintln!("{GRANTS} grants took {took:?}, ideally {ideal:?}");
    assert!(took.as_secs_f64() <= 1.3 * ideal.as_secs_f64(), "{took:?}");
}

/// It keeps the permit that the server gives it, and nothing else.
#[test]
fn a_client_that_stands_still_at_the_gate_is_in_nobodys_way() {
    const GRANTS: usize = 100;

    if !is_full_run() {
        return;
    }
    let (name, clients) = (unique("permits.stopped"), Clients::default());
    let (mut without, mut with) = (Duration::ZERO, Duration::ZERO);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| clients.client(&name, 4));
        }
        clients.time(32);
        for _ in 0..3 {
            without += clients.time(GRANTS);
            let stopped = Stopped::at_the_gate(&name);
            with += clients.time(GRANTS);
            drop(stopped);
            wait_until("its session has ended", || sessions(&name) == 0);
        }
        clients.over.store(true, Ordering::Relaxed);
    });
    eprintln!("alone {without:?}, beside one that stands still {with:?}");
    assert!(with.as_secs_f64() * 0.6 <= without.as_secs_f64());
}

/// A client nothing of which runs any more, not even its driver.
struct Stopped {
    _runtime: Runtime,
    _acquire: Pin<Box<dyn Future<Output = ()>>>,
}

impl Stopped {
    fn at_the_gate(name: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let url = format!("{}&application_name={name}", Sandbox::shared().url());
        let lock = name.to_owned();
        let mut acquire: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
            let mut conn = AsyncPgConnection::establish(&url).await.unwrap();
            let held = conn.advisory_session(&lock).permits(4).acquire().await;
            let _held = held.unwrap();
            std::future::pending::<()>().await;
        });
        runtime.block_on(async {
            while waiting(name) == 0 {
                let _ = timeout(Duration::from_millis(1), &mut acquire).await;
            }
        });
        Self {
            _acquire: acquire,
            _runtime: runtime,
        }
    }
}

/// How many sessions of that name there are.
fn sessions(name: &str) -> i32 {
    let sql = format!(
        "SELECT count(*)::int AS value FROM pg_stat_activity WHERE application_name = '{name}'"
    );
    integer(&mut connect(), &sql)
}

/// How many of them wait for a lock.
fn waiting(name: &str) -> i32 {
    let sql = format!(
        "SELECT count(*)::int AS value FROM pg_stat_activity \
         WHERE application_name = '{name}' AND wait_event_type = 'Lock'"
    );
    integer(&mut connect(), &sql)
}
