//! The client that a fault strikes: a thread, or a process that is this test program again.

use std::env;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;

use super::task::{Gates, Line, Task};
use super::{asynchronous, blocking};

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
