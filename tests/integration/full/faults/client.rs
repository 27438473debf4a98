//! The client that a fault strikes: a thread, or a process that is this test program again.

use std::env;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;

use diesel_advisory_sandbox::is_full_run;

use super::stage::Stage;
use super::strike::as_app;
use super::task::{Gates, Heard, Line, Scope, Stop, Task};
use super::{Fault, asynchronous, blocking};
use crate::support::*;

/// The variable with the colour of a process that is to be killed.
const COLOUR: &str = "DIESEL_ADVISORY_TEST_COLOUR";
/// The variable with its task.
const TASK: &str = "DIESEL_ADVISORY_TEST_TASK";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Blocking,
    Async,
}

impl Colour {
    pub(crate) const ALL: [Self; 2] = [Self::Blocking, Self::Async];

    fn act(self, task: &Task, gates: &Gates) {
        match self {
            Self::Blocking => blocking::victim::act(task, gates),
            // The connection has a thread of its own, so that a client can be stopped.
            Self::Async => tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap()
                .block_on(asynchronous::victim::act(task, gates)),
        }
    }

    pub(crate) fn start(self, task: Task) -> Line {
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::spawn(move || self.act(&task, &Gates::new(theirs)));
        Line::new(ours)
    }

    pub(crate) fn start_process(self, task: &Task) -> (Line, Child) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "full::faults::client::process", "--nocapture"])
            .env(COLOUR, format!("{self:?}"))
            .env(TASK, task.to_text())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        (Line::new(ours), child)
    }
}

/// What such a process does. As a test among the others, it does nothing.
#[test]
fn process() {
    let (Ok(colour), Ok(task)) = (env::var(COLOUR), env::var(TASK)) else {
        return;
    };
    let line = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let colour = Colour::ALL
        .into_iter()
        .find(|known| format!("{known:?}") == colour);
    let gates = Gates::new(UnixStream::from(line));
    colour.unwrap().act(&Task::from_text(&task), &gates);
}

/// What the guide says of a client that is killed while it waits.
#[test]
fn the_server_notices_that_a_waiting_client_was_killed_if_it_looks() {
    if !is_full_run() {
        return;
    }
    for looks in [false, true] {
        let stage = Stage::new(Fault::Client);
        if looks {
            let mut conn = connect_to(stage.server.url());
            execute(
                &mut conn,
                "ALTER ROLE app SET client_connection_check_interval = '50ms'",
            );
        }
        for colour in Colour::ALL {
            let lock = unique("fault");
            let task = Task {
                url: as_app(stage.server.url()),
                scope: Scope::Transaction,
                timed: false,
                lock: lock.clone(),
                table: String::new(),
                set: String::new(),
                set_at: None,
            };
            let holder = Holder::at(stage.server.url(), lock.clone());
            let (mut line, mut process) = colour.start_process(&task);
            let pid = line.read().parse().unwrap();
            assert!(matches!(line.hear(), Heard::Stopped(Stop::Asking)));
            line.go_on();
            wait_until_queued_at(stage.server.url(), lock.clone(), 1);
            process.kill().unwrap();
            process.wait().unwrap();
            if looks {
                wait_until("the server has noticed", || stage.is_gone(pid));
            } else {
                assert_eq!(stage.queued(lock.clone()), 1);
            }
            drop(holder);
            wait_until("its session has ended", || stage.is_gone(pid));
            assert!(stage.is_free(&lock));
        }
    }
}
