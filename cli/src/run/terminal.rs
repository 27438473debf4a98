//! The terminal that the command has, and job control.

use std::fs::{File, OpenOptions};

use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::unistd::{Pid, getpgid, getpgrp, getpid, getppid, getsid, tcgetpgrp, tcsetpgrp};

/// The terminal that this process is controlled by.
#[derive(Debug)]
pub(super) struct Terminal(File);

impl Terminal {
    pub(super) fn open() -> Option<Self> {
        let tty = OpenOptions::new().read(true).write(true).open("/dev/tty");
        tty.ok().map(Self)
    }

    /// Whether this process's group has the terminal.
    pub(super) fn is_ours(&self) -> bool {
        self.is_of(getpgrp())
    }

    pub(super) fn is_of(&self, group: Pid) -> bool {
        tcgetpgrp(&self.0) == Ok(group)
    }

    /// Gives the terminal to a group. Whoever does that from the background is stopped, unless the signal is
    /// blocked.
    pub(super) fn give_to(&self, group: Pid) {
        let mut ttou = SigSet::empty();
        ttou.add(Signal::SIGTTOU);
        if ttou.thread_block().is_ok() {
            // The terminal may have been closed: whoever writes to it is told then.
            let _ = tcsetpgrp(&self.0, group);
            let _ = ttou.thread_unblock();
        }
    }

    pub(super) fn take_back_from(&self, group: Pid) {
        if self.is_of(group) {
            self.give_to(getpgrp());
        }
    }
}

/// Whether nobody would continue this process if it were stopped: the shell's job control is what does.
pub(super) fn is_orphaned() -> bool {
    let parent = getppid();
    getsid(Some(parent)) != getsid(None) || getpgid(Some(parent)) == Ok(getpgrp())
}

/// Stops this process and the others of its job, until the shell continues them.
pub(super) fn stop_this_job() {
    // Others of a pipeline first. This process hears of it as well, and takes no notice.
    let _ = killpg(getpgrp(), Signal::SIGTSTP);
    let _ = kill(getpid(), Signal::SIGSTOP);
}
