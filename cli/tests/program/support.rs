//! Starts the program, and waits for what it does.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use diesel_advisory_sandbox::Sandbox;
use postgres::{Client, NoTls};

/// Longer than anything takes on a slow machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

const PROGRAM: &str = env!("CARGO_BIN_EXE_pg-advisory");

/// The program, which knows of no server.
pub(crate) fn bare(args: &[&str]) -> Command {
    let mut command = Command::new("env");
    // Tests that run in the background of a script have been given these two to ignore.
    command.args(["--default-signal=INT,QUIT", PROGRAM]);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("PG") || name == "DATABASE_URL" {
            command.env_remove(name);
        }
    }
    // Neither a password file of this machine's user nor certificates.
    command.env("HOME", "/nonexistent").args(args);
    command
}

/// The program, with the server in its environment.
pub(crate) fn program(server: &Sandbox, args: &[&str]) -> Command {
    at(server.url(), args)
}

pub(crate) fn at(url: &str, args: &[&str]) -> Command {
    let mut command = bare(args);
    command.env("DATABASE_URL", url);
    command
}

/// What a process has done that has ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn done(mut command: Command) -> Done {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A process that runs. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// The next line of standard output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(name, self.pid());
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it has ended.
    pub(crate) fn end(mut self) -> Done {
        eventually("the program ends", || !self.is_running());
        let status = self.child.wait().unwrap();
        let (mut out, mut err) = (String::new(), String::new());
        self.out.read_to_string(&mut out).unwrap();
        let stderr = self.child.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut err).unwrap();
        Done {
            code: status.code().unwrap_or(-1),
            out,
            err,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that holds a lock until it is ended.
pub(crate) fn hold(url: &str, name: &str, options: &[&str]) -> Running {
    let script = &["--", "sh", "-c", "echo held; exec sleep 1000"];
    let mut held = Running::start(at(url, &[&["run", name], options, script].concat()));
    assert_eq!(held.line(), "held");
    held
}

/// Sends a signal, or tries whether there is such a process, with `0`.
pub(crate) fn signal(name: &str, pid: i32) -> bool {
    let kill = format!("kill -{name} {pid} 2>/dev/null");
    let status = Command::new("sh").args(["-c", &kill]).status();
    status.unwrap().success()
}

/// Whether a process runs. One that has ended, and whose parent has not been told, does not.
pub(crate) fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "not in {LONG:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn client(server: &Sandbox) -> Client {
    Client::connect(server.url(), NoTls).unwrap()
}

/// The sessions that hold a lock of this name, or wait for it.
pub(crate) fn pids(client: &mut Client, name: &str, granted: bool) -> Vec<i32> {
    let (classid, objid) = halves(name);
    let query = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = $1 AND objid = $2 \
                 AND objsubid = 1 AND granted = $3 ORDER BY waitstart";
    let rows = client.query(query, &[&classid, &objid, &granted]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// `classid` and `objid`, as the program prints them.
fn halves(name: &str) -> (u32, u32) {
    let text = done(bare(&["key", name])).out;
    let line = text
        .lines()
        .find(|line| line.contains("in pg_locks"))
        .unwrap();
    let numbers = line.split(|c: char| !c.is_ascii_digit());
    let numbers: Vec<u32> = numbers.filter_map(|n| n.parse().ok()).collect();
    (numbers[0], numbers[1])
}

/// Waits until somebody holds the lock, and returns who.
pub(crate) fn holder(client: &mut Client, name: &str) -> i32 {
    eventually("the lock is held", || !pids(client, name, true).is_empty());
    pids(client, name, true)[0]
}
