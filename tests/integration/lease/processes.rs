//! Whole processes that are stopped and killed. They are this test program again.

use std::env;
use std::io::{BufRead, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use diesel_advisory::{Error, FencingToken};
use diesel_advisory_sandbox::{Sandbox, signal};

use super::{COLOURS, Colour, lease};
use crate::support::*;

const TTL: Duration = Duration::from_millis(800);

/// The variable with the lock that a process is to lease.
const LOCK: &str = "DIESEL_ADVISORY_TEST_LEASE";
const URL: &str = "DIESEL_ADVISORY_TEST_LEASE_URL";
const COLOUR: &str = "DIESEL_ADVISORY_TEST_LEASE_COLOUR";

/// A process that leases the lock, and what it says.
struct Leasing {
    process: Child,
    says: BufReader<ChildStdout>,
}

impl Leasing {
    fn start(colour: Colour, lock: &str) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "lease::processes::leasing_process",
                "--nocapture",
            ])
            .env(LOCK, lock)
            .env(URL, Sandbox::shared().url())
            .env(COLOUR, format!("{colour:?}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let says = BufReader::new(process.stdout.take().unwrap());
        Self { process, says }
    }

    /// Reads on until it says a line that begins so: what comes after it.
    fn hear(&mut self, begins: &str) -> String {
        let lines = self.says.by_ref().lines().map_while(Result::ok);
        let mut said = lines.filter_map(|line| line.strip_prefix(begins).map(str::to_owned));
        said.next().expect("it says it")
    }
}

impl Drop for Leasing {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What such a process does. As a test among the others, it does nothing.
#[test]
fn leasing_process() {
    let Ok(lock) = env::var(LOCK) else { return };
    let colour = COLOURS
        .into_iter()
        .find(|colour| env::var(COLOUR).is_ok_and(|name| name == format!("{colour:?}")));
    let url = env::var(URL).unwrap();
    let ran = lease(colour.unwrap(), &url, &lock, TTL, PATIENCE, |lease| {
        println!("\nbegun {}", lease.token()?);
        while lease.is_held() {
            std::thread::sleep(Duration::from_millis(1));
        }
        lease.check()
    });
    println!("\nended {ran:?}");
}

/// Leases the lock here, and gives the token.
fn lease_here(colour: Colour, lock: &str) -> FencingToken {
    let (tell, told) = std::sync::mpsc::channel();
    let url = Sandbox::shared().url();
    let leased = lease(colour, url, lock, TTL, PATIENCE, move |lease| {
        tell.send(lease.token()?).unwrap();
        lease.check()
    });
    leased.unwrap();
    told.recv().unwrap()
}

/// It is stopped for as long as another holds the lease. When it goes on, it does not believe in its own.
#[test]
fn a_process_that_was_stopped_does_not_go_on() {
    for colour in COLOURS {
        let lock = unique("processes.stopped");
        let mut leasing = Leasing::start(colour, &lock);
        let old: FencingToken = leasing.hear("begun ").parse().unwrap();
        signal(leasing.process.id(), "STOP");
        let began = Instant::now();
        let new = lease_here(colour, &lock);
        let took = began.elapsed();
        assert!(
            took >= TTL / 2,
            "{colour:?}: the server waits for it: {took:?}"
        );
        signal(leasing.process.id(), "CONT");
        let ended = leasing.hear("ended ");
        assert!(ended.starts_with("Err(Lost("), "{colour:?}: {ended}");
        assert!(new > old, "{colour:?}");
    }
}

#[test]
fn a_process_that_was_killed_frees_the_lock() {
    for colour in COLOURS {
        let lock = unique("processes.killed");
        let mut leasing = Leasing::start(colour, &lock);
        let old: FencingToken = leasing.hear("begun ").parse().unwrap();
        signal(leasing.process.id(), "KILL");
        assert!(lease_here(colour, &lock) > old, "{colour:?}");
    }
}

/// Without any fault it goes on.
#[test]
fn a_process_that_is_let_alone_holds_it() {
    for colour in COLOURS {
        let lock = unique("processes.alone");
        let mut leasing = Leasing::start(colour, &lock);
        leasing.hear("begun ");
        let url = Sandbox::shared().url();
        let other = lease(colour, url, &lock, TTL, 3 * TTL, |_| Ok(()));
        assert!(matches!(other, Err(Error::Unavailable(_))), "{other:?}");
    }
}
