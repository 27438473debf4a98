//! The command as a process, and its group.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

use super::exec;
use super::signals::code_of;
use crate::exit::{Failure, SOFTWARE};
use crate::secrets::{HANDED_ON, this_program};

/// The command, in a process group of its own.
#[derive(Debug)]
pub(super) struct Child {
    /// Also the number of the group.
    pub(super) pid: Pid,
}

/// What a child has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Exited(u8),
    Stopped,
}

impl Child {
    /// Starts it, with what is set in its environment (`Some`) and taken out of it (`None`).
    pub(super) fn spawn(
        command: &[OsString],
        environment: &[(&str, Option<String>)],
        takes_terminal: bool,
    ) -> Result<Self, Failure> {
        let mut helper = Command::new(this_program());
        helper
            .arg0("pg-advisory")
            .args(exec::arguments(getpid(), takes_terminal))
            .args(command)
            .env_remove(HANDED_ON)
            .process_group(0);
        for (name, value) in environment {
            match value {
                Some(value) => helper.env(name, value),
                None => helper.env_remove(name),
            };
        }
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(SOFTWARE, format!("the command cannot be started: {error}"))
        };
        let child = helper.spawn().map_err(|error| failed(&error))?;
        let pid = i32::try_from(child.id()).map_err(|error| failed(&error))?;
        Ok(Self {
            pid: Pid::from_raw(pid),
        })
    }

    /// Sends the signal to the command's whole group. Nothing happens if it is gone.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = killpg(self.pid, signal);
    }

    /// Whether no process of the group is left.
    pub(super) fn is_gone(&self) -> bool {
        killpg(self.pid, None) == Err(Errno::ESRCH)
    }

    /// What it has done since this was asked last.
    pub(super) fn change(&self) -> Option<Change> {
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
        match waitpid(self.pid, Some(flags)) {
            Ok(WaitStatus::Exited(_, code)) => {
                Some(Change::Exited(u8::try_from(code).unwrap_or(u8::MAX)))
            }
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(Change::Exited(code_of(signal))),
            Ok(WaitStatus::Stopped(..)) => Some(Change::Stopped),
            _ => None,
        }
    }
}
