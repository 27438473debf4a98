//! Locks that are shared with a Django application: the real django-pglock, in both directions.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use diesel_advisory::{AdvisoryConnection, Error, LockKey};
use diesel_advisory_sandbox::Sandbox;

use crate::support::*;

/// The Python of an environment that has `tests/django/requirements.txt` installed.
const PYTHON: &str = "DIESEL_ADVISORY_DJANGO_PYTHON";

/// A running `tests/django/peer.py`.
struct Django {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Django {
    /// `None` if there is no such Python, which is an error in a full run only.
    fn start() -> Option<Self> {
        let Some(python) = std::env::var_os(PYTHON).filter(|python| !python.is_empty()) else {
            skip(&format!("{PYTHON} is not set"));
            return None;
        };
        let mut conn = connect_to(Sandbox::shared().url());
        let setting = |name| format!("SELECT current_setting('{name}') AS value");
        let mut process = Command::new(python)
            .args(["-X", "utf8"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/django/peer.py"))
            .arg(text(&mut conn, &setting("unix_socket_directories")))
            .arg(text(&mut conn, &setting("port")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Some(Self {
            orders: process.stdin.take(),
            answers: BufReader::new(process.stdout.take().unwrap()),
            process,
        })
    }

    fn order(&mut self, order: &str, name: &str) {
        writeln!(self.orders.as_ref().unwrap(), "{order} {name}").unwrap();
    }

    #[track_caller]
    fn answer(&mut self) -> bool {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        match answer.trim_end() {
            "True" => true,
            "False" => false,
            other => panic!("not an answer: {other:?}"),
        }
    }

    #[track_caller]
    fn ask(&mut self, order: &str, name: &str) -> bool {
        self.order(order, name);
        self.answer()
    }

    #[track_caller]
    fn release(&mut self) {
        assert!(self.ask("release", ""));
    }
}

impl Drop for Django {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.process.wait();
    }
}

/// Names that would be different ones if either side had another encoding or byte order.
fn names() -> [String; 4] {
    ["billing.close_month", "réunion", "🔒", r#"it's "quoted" \"#].map(unique)
}

#[test]
fn what_django_holds_is_not_to_be_had() {
    let Some(mut django) = Django::start() else {
        return;
    };
    let mut conn = connect();
    for name in names() {
        let key = LockKey::django_pglock(&name);
        assert!(!conn.is_advisory_locked(key).unwrap());
        assert!(django.ask("try", &name));
        assert!(conn.is_advisory_locked(key).unwrap());
        let error = conn.advisory_session(key).no_wait().acquire().unwrap_err();
        assert_eq!(unavailable(error).holders.len(), 1);
        let run = conn.advisory(key).no_wait();
        assert!(run.try_run(|_| Ok::<_, Error>(())).unwrap().is_none());

        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| conn.advisory(key).run(|_| Ok::<_, Error>(())));
            wait_until_queued(key, 1);
            django.release();
            waiting.join().unwrap().unwrap();
        });
    }
}

#[test]
fn what_is_held_here_django_does_not_get() {
    let Some(mut django) = Django::start() else {
        return;
    };
    let mut conn = connect();
    for name in names() {
        let key = LockKey::django_pglock(&name);
        let held = conn.advisory_session(key).acquire().unwrap();
        assert!(!django.ask("try", &name));
        django.order("wait", &name);
        wait_until_queued(key, 1);
        held.release().unwrap();
        assert!(django.answer());
        django.release();

        let ran = conn
            .advisory(key)
            .run(|_| Ok::<_, Error>(django.ask("try", &name)));
        assert!(!ran.unwrap());
    }
}

#[test]
fn shared_locks_are_shared_with_django() {
    let Some(mut django) = Django::start() else {
        return;
    };
    let (mut conn, name) = (connect(), unique("django.shared"));
    let key = LockKey::django_pglock(&name);
    assert!(django.ask("share", &name));
    let held = conn
        .advisory_session(key)
        .shared()
        .no_wait()
        .acquire()
        .unwrap();
    django.release();
    assert!(!django.ask("try", &name));
    assert!(django.ask("share", &name));
    held.release().unwrap();
    let exclusive = conn.advisory_session(key).no_wait().try_acquire().unwrap();
    assert!(exclusive.is_none());
    django.release();
    assert_free(key);
}

#[test]
fn django_has_the_golden_key() {
    let Some(mut django) = Django::start() else {
        return;
    };
    assert!(django.ask("share", "hello"));
    let sql = "SELECT count(*)::int AS value FROM pg_locks WHERE locktype = 'advisory' \
               AND classid = 245608543 AND objid = 3125670444 AND objsubid = 1";
    assert_eq!(integer(&mut connect(), sql), 1);
    django.release();
    let (classid, objid, objsubid) = LockKey::django_pglock("hello").to_pg_locks();
    assert_eq!((classid, objid, objsubid), (245_608_543, 3_125_670_444, 1));
}
