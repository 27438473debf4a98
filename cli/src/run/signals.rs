//! The signals that are for the command.

use std::future::poll_fn;
use std::task::Poll;

use nix::sys::signal::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::exit::{Failure, SOFTWARE};

/// Those that end a wait.
const ENDING: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

/// Those that only a command has a use for.
const OTHERS: [Signal; 5] = [
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGTSTP,
    Signal::SIGCONT,
];

/// Signals that this process gets.
#[derive(Debug)]
pub(crate) struct Signals(Vec<(Signal, Stream)>);

impl Signals {
    pub(crate) fn that_end() -> Result<Self, Failure> {
        let mut signals = Self(Vec::new());
        signals.listen(&ENDING)?;
        Ok(signals)
    }

    /// From now on, all that a command is told of.
    pub(super) fn add_others(&mut self) -> Result<(), Failure> {
        self.listen(&OTHERS)
    }

    /// What is ignored stays so, for the command too: `nohup` ignores a signal for what it starts.
    fn listen(&mut self, signals: &[Signal]) -> Result<(), Failure> {
        let ignored = ignored();
        for wanted in signals {
            let number = *wanted as i32;
            if ignored & (1 << (number - 1)) == 0 {
                self.0
                    .push((*wanted, stream(SignalKind::from_raw(number))?));
            }
        }
        Ok(())
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Signal {
        poll_fn(|cx| {
            for (signal, stream) in &mut self.0 {
                if stream.poll_recv(cx) == Poll::Ready(Some(())) {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The exit code of who is ended by this signal, as shells say it.
pub(crate) fn code_of(signal: Signal) -> u8 {
    128_u8.saturating_add(u8::try_from(signal as i32).unwrap_or(0))
}

/// Tells when the state of a child has changed.
pub(super) fn of_children() -> Result<Stream, Failure> {
    stream(SignalKind::child())
}

fn stream(kind: SignalKind) -> Result<Stream, Failure> {
    signal(kind).map_err(|error| Failure::new(SOFTWARE, format!("signals: {error}")))
}

/// The signals that this process was started with as ignored, a bit for each. Only Linux tells.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
