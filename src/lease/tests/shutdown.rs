//! What stops leaders, and what they do meanwhile.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::MINUTE;
use crate::lease::shutdown::Shutdown;

#[test]
fn a_shutdown_stops_what_runs_and_nothing_that_has_ended() {
    let shutdown = Shutdown::default();
    let stopped = |count: &Arc<AtomicU32>| {
        let count = Arc::clone(count);
        move || {
            count.fetch_add(1, Ordering::Relaxed);
        }
    };
    let counts = [(); 4].map(|()| Arc::new(AtomicU32::new(0)));
    let count = |index: usize| counts[index].load(Ordering::Relaxed);
    shutdown.during(stopped(&counts[0]), || ());
    let seven = shutdown.during(stopped(&counts[1]), || {
        shutdown.during(stopped(&counts[2]), || ());
        assert!(!shutdown.is_shut_down());
        assert!(!shutdown.pause(Duration::ZERO));
        shutdown.clone().shut_down();
        7
    });
    assert_eq!(seven, 7);
    assert!(shutdown.is_shut_down());
    assert_eq!([count(0), count(1), count(2)], [0, 1, 0]);
    // Too late: it is stopped at once, and once.
    shutdown.during(stopped(&counts[3]), || assert_eq!(count(3), 1));
    assert!(format!("{shutdown:?}").starts_with("Shutdown { is_shut_down: true"));
}

#[test]
fn a_shutdown_ends_a_pause() {
    let shutdown = Shutdown::default();
    let of_the_leader = shutdown.clone();
    let (ended, hears) = mpsc::channel();
    let pausing = thread::spawn(move || {
        let is_over = of_the_leader.pause(Duration::from_secs(3_600));
        ended.send(is_over)
    });
    shutdown.shut_down();
    assert_eq!(hears.recv_timeout(MINUTE / 3), Ok(true));
    pausing.join().unwrap().unwrap();
    assert!(shutdown.pause(Duration::from_secs(3_600)));
}
