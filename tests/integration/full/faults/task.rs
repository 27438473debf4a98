//! What a client is told to do, and where it stops until it is told to go on.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use crate::support::{PATIENCE, Wait};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Transaction,
    /// As [`Self::Transaction`], but its lock is carried from one transaction to the next.
    RepeatableRead,
    Xact,
    Session,
}

impl Scope {
    pub(crate) const ALL: [Self; 4] = [
        Self::Transaction,
        Self::RepeatableRead,
        Self::Xact,
        Self::Session,
    ];
}

/// Where a client stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Before it asks for the lock.
    Asking,
    /// Halfway through its work.
    Holding,
    /// When its work is done.
    Ending,
}

impl Stop {
    const ALL: [Self; 3] = [Self::Asking, Self::Holding, Self::Ending];
}

#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) url: String,
    pub(crate) scope: Scope,
    /// Whether it waits with a timeout, which is longer than any test.
    pub(crate) timed: bool,
    pub(crate) lock: String,
    pub(crate) table: String,
    /// A setting of the session, and the stop before which it is set.
    pub(crate) set: String,
    pub(crate) set_at: Option<Stop>,
}

impl Task {
    pub(crate) fn wait(&self) -> Wait {
        if self.timed {
            Wait::AtMost(PATIENCE)
        } else {
            Wait::Inherit
        }
    }

    /// For a process of its own. Only what never has a setting is killed.
    pub(crate) fn to_text(&self) -> String {
        let (url, scope, timed) = (&self.url, self.scope, self.timed);
        format!("{url}\n{scope:?}\n{timed}\n{}\n{}", self.lock, self.table)
    }

    pub(crate) fn from_text(text: &str) -> Self {
        let fields: Vec<_> = text.split('\n').collect();
        let [url, scope, timed, lock, table] = fields[..] else {
            panic!("not a task: {text}");
        };
        let scope = Scope::ALL
            .into_iter()
            .find(|known| format!("{known:?}") == scope);
        Self {
            url: url.to_owned(),
            scope: scope.unwrap(),
            timed: timed == "true",
            lock: lock.to_owned(),
            table: table.to_owned(),
            set: String::new(),
            set_at: None,
        }
    }
}

/// The client's end of its line to the test.
pub(crate) struct Gates(UnixStream);

impl Gates {
    pub(crate) fn new(line: UnixStream) -> Self {
        Self(line)
    }

    /// Waits here until the test lets it go on.
    pub(crate) fn stop(&self, stop: Stop) {
        self.tell(&format!("{stop:?}"));
        (&self.0).read_exact(&mut [0]).unwrap();
    }

    pub(crate) fn tell(&self, line: &str) {
        writeln!(&self.0, "{line}").unwrap();
    }
}

/// What the test hears of a client.
#[derive(Debug)]
pub(crate) enum Heard {
    Stopped(Stop),
    /// Its last word, and whether its connection could be used after that.
    Ended {
        seen: String,
        usable: bool,
    },
}

/// The test's end.
pub(crate) struct Line(BufReader<UnixStream>);

impl Line {
    pub(crate) fn new(line: UnixStream) -> Self {
        line.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(line))
    }

    pub(crate) fn read(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn hear(&mut self) -> Heard {
        let line = self.read();
        if let Some((seen, usable)) = line.split_once('|') {
            return Heard::Ended {
                seen: seen.to_owned(),
                usable: usable == "true",
            };
        }
        let stop = Stop::ALL
            .into_iter()
            .find(|stop| format!("{stop:?}") == line);
        Heard::Stopped(stop.unwrap_or_else(|| panic!("not a stop: {line:?}")))
    }

    pub(crate) fn go_on(&self) {
        let mut line = self.0.get_ref();
        line.write_all(b"\n").unwrap();
    }
}
