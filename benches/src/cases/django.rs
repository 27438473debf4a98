//! django-pglock on psycopg 3, in a Python process of its own that measures itself.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::Operation;

/// The operations that it has, and their names in the Python program.
pub(crate) const OPERATIONS: &[(Operation, &str)] = &[
    (Operation::OwnTransaction, "transaction"),
    (Operation::OwnTransactionTimed, "transaction_timed"),
    (Operation::OwnTransactionNoWait, "transaction_no_wait"),
    (Operation::Session, "session"),
    (Operation::SessionTimed, "session_timed"),
    (Operation::SessionNoWait, "session_no_wait"),
];

#[derive(Debug)]
pub(crate) struct Django {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Django {
    /// Starts it, where the Python of `DIESEL_ADVISORY_DJANGO_PYTHON` has what it needs.
    pub(crate) fn start(url: &str) -> Option<Self> {
        let python = env::var_os("DIESEL_ADVISORY_DJANGO_PYTHON")?;
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("django_pglock.py");
        let mut process = Command::new(python)
            .arg(program)
            .arg(url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the Python of DIESEL_ADVISORY_DJANGO_PYTHON");
        Some(Self {
            input: process.stdin.take(),
            output: BufReader::new(process.stdout.take().expect("it is piped")),
            process,
        })
    }

    /// How long each of so many calls took.
    pub(crate) fn time(&mut self, operation: &str, times: u32) -> Vec<Duration> {
        let answer = self.ask(&format!("time {operation} {times}"));
        answer
            .split_whitespace()
            .map(|nanos| Duration::from_nanos(nanos.parse().expect("a number")))
            .collect()
    }

    /// How many calls per second so many threads have done, on one lock or each on its own.
    pub(crate) fn rate(
        &mut self,
        operation: &str,
        threads: usize,
        own: bool,
        round: Duration,
    ) -> f64 {
        let locks = if own { "own" } else { "hot" };
        let seconds = round.as_secs_f64();
        let answer = self.ask(&format!("rate {operation} {threads} {locks} {seconds}"));
        answer.trim().parse().expect("a number")
    }

    fn ask(&mut self, question: &str) -> String {
        let input = self.input.as_mut().expect("it is open until the end");
        writeln!(input, "{question}").expect("it listens");
        let mut answer = String::new();
        let read = self.output.read_line(&mut answer);
        assert!(read.is_ok_and(|read| read > 0), "{question}: no answer");
        answer
    }
}

impl Drop for Django {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}
