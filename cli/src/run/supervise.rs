//! The command while the lease is held, and its end when the lease is lost.

use std::time::Duration;

use diesel_advisory::{Error, Lease};
use nix::sys::signal::Signal;
use tokio::signal::unix::Signal as Stream;
use tokio::time::{Instant, interval, sleep_until};

use super::child::{Change, Child};
use super::hold::Held;
use super::signals::{self, Signals};
use super::terminal::{self, Terminal};
use crate::args::RunArgs;
use crate::exit::{Failure, LOST};

/// How often it is looked whether processes of the group are left, of which nobody tells.
const LOOK: Duration = Duration::from_millis(20);

/// A command that runs.
#[derive(Debug)]
pub(super) struct Job {
    child: Child,
    lease: Lease,
    signals: Signals,
    children: Stream,
    terminal: Option<Terminal>,
    /// This process has stopped itself by a signal that it hears of as well.
    has_stopped_itself: bool,
}

/// How the work under a lease has ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The command has ended with this code.
    Exited(u8),
    /// The lease is lost, and the command runs.
    Lost(Failure),
}

impl Job {
    pub(super) fn start(
        args: &RunArgs,
        lease: &Lease,
        environment: &[(&str, Option<String>)],
        mut signals: Signals,
    ) -> Result<Self, Failure> {
        signals.add_others()?;
        let children = signals::of_children()?;
        let terminal = Terminal::open();
        let takes_terminal = terminal.as_ref().is_some_and(Terminal::is_ours);
        Ok(Self {
            child: Child::spawn(&args.command, environment, takes_terminal)?,
            lease: lease.clone(),
            signals,
            children,
            terminal,
            has_stopped_itself: false,
        })
    }

    /// Hands signals on until the command or the lease ends.
    pub(super) async fn supervise(&mut self, lease: &mut Held<'_>) -> Outcome {
        let mut is_lost = Box::pin(self.lease.lost());
        loop {
            tokio::select! {
                biased;
                ended = &mut *lease => return Outcome::Lost(lost(ended)),
                // What comes after a lease may wait for a server that does not answer any more.
                () = &mut is_lost => return Outcome::Lost(lost(self.lease.check())),
                signal = self.signals.next() => self.hand_on(signal),
                _ = self.children.recv() => match self.child.change() {
                    Some(Change::Exited(code)) => {
                        self.take_terminal_back();
                        return Outcome::Exited(code);
                    }
                    Some(Change::Stopped) => self.stop_too(),
                    None => {}
                },
            }
        }
    }

    /// SIGTERM to the command's group, and SIGKILL if it is not gone after the grace.
    pub(super) async fn end(&mut self, grace: Duration) {
        self.child.signal(Signal::SIGTERM);
        self.child.signal(Signal::SIGCONT);
        let deadline = Instant::now() + grace;
        let mut look = interval(LOOK);
        let mut has_exited = false;
        while !(has_exited && self.child.is_gone()) {
            tokio::select! {
                biased;
                () = sleep_until(deadline) => break,
                signal = self.signals.next() => self.child.signal(signal),
                _ = self.children.recv() => {}
                _ = look.tick() => {}
            }
            has_exited |= matches!(self.child.change(), Some(Change::Exited(_)));
        }
        self.child.signal(Signal::SIGKILL);
        while !has_exited {
            look.tick().await;
            has_exited = matches!(self.child.change(), Some(Change::Exited(_)));
        }
        self.take_terminal_back();
    }

    fn hand_on(&mut self, signal: Signal) {
        match signal {
            Signal::SIGTSTP if std::mem::take(&mut self.has_stopped_itself) => {}
            Signal::SIGCONT => self.go_on(),
            signal => self.child.signal(signal),
        }
    }

    /// The command was stopped: the shell is to see that its job is.
    fn stop_too(&mut self) {
        let Some(terminal) = &self.terminal else {
            return;
        };
        if terminal::is_orphaned() {
            return;
        }
        terminal.take_back_from(self.child.pid);
        self.has_stopped_itself = true;
        terminal::stop_this_job();
        // Here it was continued.
        self.go_on();
    }

    /// Continues the command, unless the lease was lost while it was stopped.
    fn go_on(&self) {
        if !self.lease.is_held() {
            return;
        }
        if let Some(terminal) = self.terminal.as_ref().filter(|terminal| terminal.is_ours()) {
            terminal.give_to(self.child.pid);
        }
        self.child.signal(Signal::SIGCONT);
    }

    fn take_terminal_back(&self) {
        if let Some(terminal) = &self.terminal {
            terminal.take_back_from(self.child.pid);
        }
    }
}

/// Whatever the lease says in the middle of the work, it is not held any more.
fn lost(ended: Result<(), Error>) -> Failure {
    let mut failure = match ended {
        Ok(()) => Failure::new(LOST, "the lease has ended"),
        Err(error) => Failure::from(error),
    };
    failure.code = LOST;
    failure
}
