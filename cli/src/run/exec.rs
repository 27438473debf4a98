//! What the new process does before it becomes the command.
//!
//! It is this program once more, because what is to be done between a fork and an exec cannot be done safely
//! by the parent's code.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::unistd::{Pid, getpgrp, getppid};

use super::terminal::Terminal;
use crate::exit::{NOT_EXECUTABLE, NOT_FOUND, SOFTWARE, say};

/// The first argument of such a process. No command of the program is called like this.
const MARK: &str = "__exec";

/// What stands before the command.
pub(super) fn arguments(parent: Pid, takes_terminal: bool) -> [OsString; 3] {
    let terminal = if takes_terminal { "terminal" } else { "-" };
    [MARK.into(), parent.to_string().into(), terminal.into()]
}

/// Becomes the command, if this process was started for it, or tells how it failed.
pub(crate) fn become_command() -> Option<u8> {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [mark, parent, terminal, command, rest @ ..] = args.as_slice() else {
        return None;
    };
    if mark != MARK {
        return None;
    }
    if !die_with(parent) {
        return Some(SOFTWARE);
    }
    if terminal == "terminal" {
        if let Some(terminal) = Terminal::open() {
            terminal.give_to(getpgrp());
        }
    }
    let error = Command::new(command).args(rest).exec();
    say!("{}: {error}", command.to_string_lossy());
    Some(match error.kind() {
        ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    })
}

/// The command does not outlive a `pg-advisory` that is killed. Returns whether that lives.
fn die_with(parent: &OsStr) -> bool {
    #[cfg(target_os = "linux")]
    if nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).is_err() {
        return false;
    }
    parent.to_str() == Some(&getppid().to_string())
}
