//! Many short leases under random faults.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use diesel_advisory::Error;
use diesel_advisory_sandbox::{Direction, Proxy, Sandbox};

use super::{COLOURS, Colour, lease};
use crate::support::*;

const TTL: Duration = Duration::from_millis(200);
const LEASES: usize = 400;
const LOCKS: usize = 8;
/// For each lock.
const HOLDERS: usize = 3;

/// From the first to the last look at which a holder believed in its lease.
#[derive(Debug, Clone, Copy)]
struct Belief {
    from: Instant,
    to: Instant,
}

/// Small numbers that look random, the same ones for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }

    fn millis(&mut self, below: u64) -> Duration {
        Duration::from_millis(self.roll(below))
    }
}

/// The network of one holder, until all is over. A session that is ended before its time is no fault of this
/// kind: nobody can tell its holder in time.
fn disturb(proxy: &Proxy, dice: &mut Dice, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        let direction = match dice.roll(3) {
            0 => Direction::ToServer,
            1 => Direction::ToClient,
            _ => Direction::Both,
        };
        match dice.roll(4) {
            0 => proxy.delay(direction, dice.millis(120)),
            1 => proxy.swallow(direction),
            2 => {
                proxy.cut_clients();
                // Once the server hears of it, the session ends.
                std::thread::sleep(TTL);
            }
            _ => {}
        }
        std::thread::sleep(dice.millis(400));
        proxy.delay(Direction::Both, Duration::ZERO);
        proxy.resume();
        std::thread::sleep(dice.millis(400));
    }
}

/// Stops server processes that hold one of the locks, for a while each.
fn stop_backends(locks: &[String], dice: &mut Dice, is_over: &AtomicBool) {
    let server = Sandbox::shared();
    let mut conn = connect();
    while !is_over.load(Ordering::Relaxed) {
        std::thread::sleep(dice.millis(300));
        let lock = &locks[usize::try_from(dice.roll(locks.len() as u64)).unwrap()];
        let is_lock = is_lock(lock.clone());
        let sql = format!(
            "SELECT coalesce(max(pid), 0) AS value FROM pg_locks WHERE granted AND {is_lock}"
        );
        let pid = integer(&mut conn, &sql);
        if pid == 0 {
            continue;
        }
        // It may have ended meanwhile.
        if let Ok(frozen) = server.freeze_backend(pid) {
            std::thread::sleep(dice.millis(300));
            drop(frozen);
        }
    }
}

/// Leases the lock again and again.
fn hold(
    colour: Colour,
    url: &str,
    lock: &str,
    dice: &mut Dice,
    beliefs: &Arc<Mutex<Vec<Belief>>>,
    is_enough: impl Fn() -> bool,
) -> usize {
    let mut lost = 0;
    while !is_enough() {
        let beliefs = Arc::clone(beliefs);
        let (length, pause) = (dice.millis(600), dice.millis(8));
        let ran = lease(colour, url, lock, TTL, 10 * TTL, move |lease| {
            let began = Instant::now();
            let mut last = None;
            while began.elapsed() < length {
                // Taken before the look, it is not later than what the lease said.
                let now = Instant::now();
                if !lease.is_held() {
                    break;
                }
                last = Some(now);
                std::thread::sleep(pause);
            }
            if let Some(to) = last {
                let belief = Belief { from: began, to };
                beliefs.lock().unwrap().push(belief);
            }
            lease.check()
        });
        match ran {
            Ok(()) | Err(Error::Unavailable(_) | Error::Database(_)) => {}
            Err(Error::Lost(_)) => lost += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    lost
}

#[test]
fn no_two_of_many_leases_overlap() {
    let seed = u64::from(std::process::id()) << 20 | 0x5_eed0;
    eprintln!("seed {seed}");
    let locks = [(); LOCKS].map(|()| unique("overlaps"));
    let is_over = AtomicBool::new(false);
    let beliefs = [(); LOCKS].map(|()| Arc::new(Mutex::new(Vec::new())));
    let count = || -> usize { beliefs.iter().map(|all| all.lock().unwrap().len()).sum() };
    let lost = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| stop_backends(&locks, &mut Dice(seed), &is_over));
        let holders: Vec<_> = (0..LOCKS * HOLDERS)
            .map(|holder| {
                let (lock, beliefs) = (&locks[holder % LOCKS], &beliefs[holder % LOCKS]);
                let (count, lost) = (&count, &lost);
                scope.spawn(move || {
                    let proxy = Sandbox::shared().proxy();
                    let ended = AtomicBool::new(false);
                    std::thread::scope(|scope| {
                        let seed = seed ^ (holder as u64 + 1) << 40;
                        let (proxy, ended) = (&proxy, &ended);
                        scope.spawn(move || disturb(proxy, &mut Dice(seed), ended));
                        let url = proxy.url();
                        let is_enough = || count() >= LEASES;
                        let dice = &mut Dice(seed ^ 0xbad_cafe);
                        let own = hold(
                            COLOURS[holder / LOCKS % 2],
                            url,
                            lock,
                            dice,
                            beliefs,
                            is_enough,
                        );
                        lost.fetch_add(own, Ordering::Relaxed);
                        ended.store(true, Ordering::Relaxed);
                        proxy.resume();
                    });
                })
            })
            .collect();
        for holder in holders {
            holder.join().unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(count() >= LEASES);
    eprintln!("{} leases, {} lost", count(), lost.load(Ordering::Relaxed));
    // Otherwise nothing was tried.
    assert!(lost.load(Ordering::Relaxed) > 10);
    for beliefs in beliefs {
        let mut beliefs = beliefs.lock().unwrap().clone();
        beliefs.sort_by_key(|belief| belief.from);
        for pair in beliefs.windows(2) {
            assert!(pair[0].to < pair[1].from, "{pair:?}");
        }
    }
    for lock in locks {
        wait_until_free(lock);
    }
}
