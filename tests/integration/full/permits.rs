//! How fast permits go from hand to hand: compared with clients that never wait, and beside a client that
//! stands still. What has to be noticed is a permit that nobody is told of; a busy machine is not.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use diesel::PgConnection;
use diesel_advisory::{AdvisoryConnection, AsyncAdvisoryConnection};
use diesel_advisory_sandbox::{Sandbox, is_full_run};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::support::*;

/// Clients that hold a permit for 20 ms, again and again, until it is over.
#[derive(Debug, Default)]
struct Clients {
    grants: AtomicUsize,
    over: AtomicBool,
}

impl Clients {
    /// Does something while so many clients share so many permits.
    fn during<T>(name: &str, clients: usize, permits: u32, work: impl FnOnce(&Self) -> T) -> T {
        let all = Self::default();
        thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| all.client(name, permits));
            }
            // However the work ends, so do the clients.
            let _ended = EndOf(&all);
            all.time(clients * 2);
            work(&all)
        })
    }

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

struct EndOf<'a>(&'a Clients);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

#[test]
fn three_permits_for_thirty_two_clients_are_seldom_idle() {
    const GRANTS: usize = 100;

    if !is_full_run() {
        return;
    }
    let (mut three, mut many) = (Duration::ZERO, Duration::ZERO);
    for round in 0..3 {
        let name = unique(&format!("permits.rate.{round}"));
        three += Clients::during(&name, 3, 3, |clients| clients.time(GRANTS));
        many += Clients::during(&name, 32, 3, |clients| clients.time(GRANTS));
    }
    eprintln!("by three clients {three:?}, by thirty-two {many:?}");
    assert!(many < 2 * three, "{many:?} to {three:?}");
}

/// It keeps the permit that the server gives it, and nothing else.
#[test]
fn a_client_that_stands_still_at_the_gate_is_in_nobodys_way() {
    const GRANTS: usize = 100;

    if !is_full_run() {
        return;
    }
    let name = unique("permits.stopped");
    let (mut without, mut with) = (Duration::ZERO, Duration::ZERO);
    Clients::during(&name, 8, 4, |clients| {
        for _ in 0..3 {
            without += clients.time(GRANTS);
            let stopped = Stopped::at_the_gate(&name);
            with += clients.time(GRANTS);
            drop(stopped);
            wait_until("its session has ended", || sessions(&name) == 0);
        }
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
            // Until it has to wait.
            loop {
                let held = conn.advisory_session(&lock).permits(4).acquire().await;
                held.unwrap().release().await.unwrap();
            }
        });
        let mut conn = connect();
        runtime.block_on(async {
            while waiting(&mut conn, name) == 0 {
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
fn waiting(conn: &mut PgConnection, name: &str) -> i32 {
    let sql = format!(
        "SELECT count(*)::int AS value FROM pg_stat_activity \
         WHERE application_name = '{name}' AND wait_event_type = 'Lock'"
    );
    integer(conn, &sql)
}
