//! One fault, at one moment.

use std::process::Child;
use std::sync::atomic::{AtomicI64, Ordering};

use diesel_advisory_sandbox::{Direction, Proxy};

use super::client::Colour;
use super::stage::Stage;
use super::strike::as_app;
use super::task::{Heard, Line, Scope, Stop, Task};
use super::{Fault, Moment};
use crate::support::*;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Trial {
    pub(crate) fault: Fault,
    pub(crate) moment: Moment,
    pub(crate) scope: Scope,
    pub(crate) colour: Colour,
    pub(crate) timed: bool,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What the caller got.
    pub(crate) seen: String,
    /// Whether its connection works after that.
    pub(crate) usable: bool,
    /// Whether another session gets the lock when the caller has its answer.
    pub(crate) free_at_once: bool,
    /// What is in the table when all is over.
    pub(crate) rows: Vec<i32>,
}

/// The client, on its way.
struct Run<'a> {
    trial: Trial,
    stage: &'a Stage,
    proxy: Proxy,
    lock: String,
    /// The key of the lock without which a commit does not end.
    stall: i64,
    line: Line,
    process: Option<Child>,
}

impl Trial {
    /// Runs it, with its client on the way through a proxy.
    pub(crate) fn run(self, stage: &Stage) -> Finding {
        static STALLS: AtomicI64 = AtomicI64::new(1);

        let (lock, stall) = (unique("fault"), STALLS.fetch_add(1, Ordering::Relaxed));
        let table = stage.table(stall);
        let proxy = stage.server.proxy();
        let setting = self.fault.setting();
        let task = Task {
            url: as_app(proxy.url()),
            scope: self.scope,
            timed: self.timed,
            lock: lock.clone(),
            table: table.clone(),
            set_at: setting.is_some().then_some(self.set_at()),
            set: setting.unwrap_or_default(),
        };
        if (self.fault, self.moment) == (Fault::Connections, Moment::Asking) {
            let full = self.fault.strike(stage, &proxy, 0);
            let seen = self.colour.start(task).read();
            let free_at_once = stage.is_free(&lock);
            drop(full);
            return stage.find(&table, seen, false, free_at_once);
        }
        let (line, process) = if self.fault == Fault::Client {
            let (line, process) = self.colour.start_process(&task);
            (line, Some(process))
        } else {
            (self.colour.start(task), None)
        };
        let mut run = Run {
            trial: self,
            stage,
            proxy,
            lock,
            stall,
            line,
            process,
        };
        let (seen, usable, free_at_once) = run.finish();
        stage.find(&table, seen, usable, free_at_once)
    }

    /// The last stop before the fault.
    fn set_at(self) -> Stop {
        match self.moment {
            Moment::Asking | Moment::Waiting => Stop::Asking,
            Moment::Holding => Stop::Holding,
            Moment::Committing if self.scope == Scope::Session => Stop::Holding,
            Moment::Ending | Moment::Committing => Stop::Ending,
        }
    }
}

impl Run<'_> {
    /// What the caller sees, whether its connection works after that, and whether the lock is free.
    fn finish(&mut self) -> (String, bool, bool) {
        let Trial { fault, moment, .. } = self.trial;
        let pid = self.line.read().parse().unwrap();
        self.expect(Stop::Asking);
        let url = self.stage.server.url().to_owned();
        let mut in_the_way = None;
        match moment {
            Moment::Asking => {}
            Moment::Waiting => {
                in_the_way = Some(Holder::at(&url, self.lock.clone()));
                self.line.go_on();
                let lock = self.lock.clone();
                wait_until("it waits", || self.stage.queued(lock.clone()) == 1);
            }
            Moment::Holding => self.go_to(Stop::Holding),
            Moment::Ending => {
                self.go_to(Stop::Holding);
                self.go_to(Stop::Ending);
                self.proxy.reset();
                self.proxy.swallow(Direction::ToServer);
                self.line.go_on();
                wait_until("it has sent it", || !self.proxy.sent().is_empty());
            }
            Moment::Committing => {
                self.go_to(Stop::Holding);
                in_the_way = Some(Holder::at(&url, self.stall));
                if self.trial.scope != Scope::Session {
                    self.go_to(Stop::Ending);
                }
                self.line.go_on();
                wait_until("it commits", || self.stage.queued(self.stall) == 1);
            }
        }
        let lasting = fault.strike(self.stage, &self.proxy, pid);
        match fault {
            Fault::Client => {
                let process = self.process.as_mut().unwrap();
                process.kill().unwrap();
                process.wait().unwrap();
                self.proxy.resume();
            }
            Fault::Swallowed => {}
            _ => self.proxy.resume(),
        }
        if matches!(moment, Moment::Asking | Moment::Holding) && fault != Fault::Client {
            self.line.go_on();
        }
        if !self.trial.hits() {
            in_the_way = None;
        }
        let (seen, usable) = match fault {
            Fault::Client => ("nothing".to_owned(), false),
            Fault::Swallowed => self.give_up(),
            _ => self.last_word(),
        };
        drop((lasting, in_the_way));
        let free_at_once = self.stage.is_free(&self.lock);
        self.proxy.resume();
        (seen, usable, free_at_once)
    }

    /// What a client sees whose network swallows everything, when it gives up.
    fn give_up(&mut self) -> (String, bool) {
        wait_until("it has sent something", || {
            self.trial.moment == Moment::Waiting || !self.proxy.sent().is_empty()
        });
        self.proxy.cut_clients();
        self.last_word()
    }

    fn last_word(&mut self) -> (String, bool) {
        loop {
            match self.line.hear() {
                Heard::Stopped(_) => self.line.go_on(),
                Heard::Ended { seen, usable } => return (seen, usable),
            }
        }
    }

    fn go_to(&mut self, stop: Stop) {
        self.line.go_on();
        self.expect(stop);
    }

    #[track_caller]
    fn expect(&mut self, expected: Stop) {
        match self.line.hear() {
            Heard::Stopped(stop) => assert_eq!(stop, expected),
            Heard::Ended { seen, .. } => panic!("{:?}: {seen}", self.trial),
        }
    }
}

impl Stage {
    /// What is left when the client's sessions have ended.
    fn find(&self, table: &str, seen: String, usable: bool, free_at_once: bool) -> Finding {
        const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
        const LOCKS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";

        wait_until("its sessions have ended", || self.ask(SESSIONS) == 0);
        wait_until("the locks are free", || self.ask(LOCKS) == 0);
        Finding {
            seen,
            usable,
            free_at_once,
            rows: self.rows(table),
        }
    }
}
